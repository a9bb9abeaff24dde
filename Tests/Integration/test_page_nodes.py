"""test_page_nodes.py - the page of two relays that share a queue in PostgreSQL: how many there are, how each is, and one of them
that gives its mail away by a click.
"""

import pytest
from api import Api
from page_house import expect, needs_browser, picture
from postgres import Postgres
from smtp_client import send_mail
from waiting import wait_until

pytestmark = needs_browser


@pytest.fixture
def nodes(make_relay, closing):
    """Two relays, of which neither has anywhere to deliver to."""
    database = closing(Postgres()).start()

    def node(name):
        files = {"storage.ini": database.ini(name), "admin.ini": "listen = 127.0.0.1:0\n"}
        return make_relay(files=files, routes={"*": "127.0.0.1:1"}, outbound={"temp_fail_intervals": "1h*10"})

    return {name: node(name) for name in ("ash", "elm")}


def states(api):
    return {one["name"]: one["state"] for one in api.ask("GET", "/v1/nodes")[2]["items"]}


def test_two_nodes_are_shown_and_one_is_drained_by_the_page(nodes, browser):
    ash, elm = nodes["ash"], nodes["elm"]
    for number in range(3):
        send_mail(elm, "a@a.test", [f"b{number}@b.test"], b"Subject: waits\r\n\r\nx\r\n")
    api = Api(ash)
    wait_until(lambda: states(api) == {"ash": "alive", "elm": "alive"}, what="both nodes")
    own = Api(elm)
    wait_until(lambda: own.ask("GET", "/v1/stats")[2]["temp_failed"] == 3, what="the mail to be tried")
    url = f"http://127.0.0.1:{api.address[1]}/"
    context = browser.context(url)
    page = context.new_page()
    page.goto(f"{url}#/now")
    tile = page.locator(".tile", has_text="Nodes")
    expect(tile).to_contain_text("2")
    picture(page, "now-nodes")
    page.get_by_role("navigation").get_by_role("link", name="Nodes", exact=True).click()
    row = page.get_by_role("row", name="elm")
    expect(row).to_contain_text("alive")
    picture(page, "nodes-two")
    row.get_by_role("button", name="Give its mail away…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("of elm to the other nodes")
    page.get_by_text("The same by hand").click()
    expect(dialog.locator("code")).to_contain_text("/v1/nodes/elm/drain")
    dialog.get_by_role("button", name="Give it away").click()
    expect(page.get_by_text("elm gives its mail away.")).to_be_visible()
    expect(page.get_by_role("row", name="elm")).to_contain_text("draining")
    wait_until(lambda: own.ask("GET", "/v1/nodes")[2]["items"] and moved(api), what="its mail to be the other's")
    page.goto(f"{url}#/now")
    expect(page.locator(".tile", has_text="Nodes")).to_contain_text("1 gives its mail away")
    # And back.
    page.goto(f"{url}#/nodes")
    page.get_by_role("row", name="elm").get_by_role("button", name="Let it deliver…").click()
    page.get_by_role("dialog").get_by_role("button", name="Deliver", exact=True).click()
    expect(page.get_by_role("row", name="elm")).to_contain_text("alive")
    wait_until(lambda: states(api) == {"ash": "alive", "elm": "alive"}, what="both nodes again")
    context.close()
    browser.calm()


def moved(api):
    return {one["name"]: one["messages"] for one in api.ask("GET", "/v1/nodes")[2]["items"]} == {"ash": 3, "elm": 0}
