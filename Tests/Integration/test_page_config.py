"""test_page_config.py - keys that sign and the change of a domain's keys, mail that goes nowhere real, what reactions hold down: in
the page, by its forms, with what changes shown before it is saved; and a test whose steps come one by one."""

import json
import subprocess

from dns_server import DnsServer
from harness import MARTLET
from page_house import expect, needs_browser, picture
from scripted import Wait
from waiting import wait_until

pytestmark = needs_browser

SLOW = "[reaction busy]\nwhen = /come back later/\nthreshold = 2/1h\ndo = slow 50% floor 1/h recover 10% every 1h\n"


def confirm(page, question, verb):
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(question)
    dialog.get_by_role("button", name=verb, exact=True).click()


def fit(page, name):
    """Axe finds nothing, light and dark and narrow, and nothing is wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, name
        picture(page, f"{name}-{scheme}-{width}")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_destination_is_tested_where_it_is_shown(opened):
    relays, page = opened("#/destination/good.example", fill=0)
    page.get_by_role("button", name="Test now…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("To")).to_have_value("postmaster@good.example")
    dialog.get_by_label("From").fill("bob@shop.example")
    page.get_by_text("The same by hand").click()
    expect(dialog.locator("code")).to_contain_text("/v1/tests")
    expect(dialog.locator("code")).to_contain_text("bob@shop.example")
    confirm(page, "Send 1 test message here?", "Send it")
    expect(page.locator('[data-step="end"]')).to_contain_text("It is delivered.")
    kinds = page.locator("[data-step]").evaluate_all("all => all.map((one) => one.dataset.step)")
    assert kinds == ["accepted", "hosts", "connecting", "session", "offered", "answered", "end"]
    assert "#/destination/" in page.url
    [sent] = relays.sink.messages
    assert sent.recipients == ["postmaster@good.example"]
    fit(page, "destination-test")


def test_staging_is_listed_changed_and_removed(opened):
    relays, page = opened("#/staging/+", fill=0)
    page.get_by_label("For (all, listener test, client 10.0.0.0/8, login shop)").fill("login shop")
    page.get_by_label("All of it goes to").fill("team@good.example")
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("dialog").locator(".plus").first).to_contain_text("[staging login shop]")
    page.get_by_text("The same by hand").click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("/v1/staging/login%20shop")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.locator("main h1")).to_have_text("Staging")
    expect(page.get_by_role("cell", name="team@good.example")).to_be_visible()
    fit(page, "staging")
    path = "/v1/staging/login%20shop"
    found = relays.api.ask("GET", path)[2]
    assert found["redirect"] == "team@good.example" and not found["sink"] and found["senders"] == []
    # By the keyboard: the row, its form, a domain.
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_label("All of it goes to")).to_have_value("team@good.example")
    fit(page, "staging-one")
    page.get_by_label("Only from domains").fill("shop.example")
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("dialog").locator(".plus")).to_contain_text("senders = shop.example")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_role("cell", name="shop.example", exact=True)).to_be_visible()
    assert relays.api.ask("GET", path)[2]["senders"] == ["shop.example"]
    page.get_by_role("link", name="login shop").click()
    page.get_by_label("It is taken, and nobody gets it").check()
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("alert")).to_contain_text("needs redirect = ADDRESS, or sink = true")
    page.get_by_role("button", name="Remove…").click()
    confirm(page, "Remove login shop?", "Remove")
    expect(page.get_by_text("All mail is real.")).to_be_visible()
    assert relays.api.ask("GET", path)[0] == 404
    assert relays.api.ask("GET", "/v1/staging/moon")[0] == 422


def test_keys_of_a_domain_are_made_and_change_places(browser, page_relays, closing):
    dns = closing(DnsServer({}))
    relays = page_relays(resolver=dns.forward)
    words = [MARTLET, "dkim", "generate", "a.test", "--selector", "old", "--type", "ed25519"]
    subprocess.run([*words, "--config", str(relays.relay.config)], check=True, capture_output=True, timeout=300)
    turn = lambda: relays.api.ask("GET", "/v1/dkim-rotations/a.test")[2]
    wait_until(lambda: turn().get("signing") == ["old"], what="the key to be read")
    context = browser.context(relays.url)
    page = context.new_page()
    page.goto(f"{relays.url}#/dkim")
    expect(page.get_by_role("cell", name="old")).to_be_visible()
    fit(page, "dkim")
    page.get_by_role("link", name="a.test").click()
    expect(page.get_by_text("None is under way.")).to_be_visible()
    expect(page.get_by_text("old._domainkey.a.test. TXT v=DKIM1")).to_be_visible()
    page.get_by_role("button", name="New key…").click()
    page.get_by_label("Selector of the new key").fill("new")
    page.get_by_label("Kind: rsa or ed25519").fill("ed25519")
    expect(page.get_by_role("dialog").locator("code")).to_contain_text(
        '"step":"prepare","selector":"new","type":"ed25519"'
    )
    confirm(page, "Make a new key for a.test?", "See what changes")
    expect(page.get_by_role("dialog").locator(".plus").first).to_contain_text("new")
    picture(page, "dkim-diff")
    # To look is to change nothing.
    assert turn()["stage"] == "none" and not (relays.relay.config / "dkim/a.test/new.pem").exists()
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("The new key is made. Publish its record, then switch.")).to_be_visible()
    expect(page.get_by_text("not in the DNS", exact=True)).to_be_visible()
    fit(page, "dkim-one")
    record = turn()["next"][0]["record"]
    dns.records[(record["name"], "TXT")] = [record["value"]]
    wait_until(lambda: turn()["next"][0]["publication"] == "published", what="the record to be seen")
    page.keyboard.press("r")
    expect(page.get_by_text("in the DNS", exact=True)).to_be_visible()
    page.get_by_role("button", name="Switch…").click()
    confirm(page, "Sign mail of a.test with the new key?", "See what changes")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("The new key signs. The record of the old one stays in the DNS")).to_be_visible()
    assert turn()["signing"] == ["new"]
    page.get_by_role("button", name="Add…").click()
    page.get_by_label("Selector", exact=True).fill("third")
    confirm(page, "Make a new key?", "See what changes")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("third._domainkey.a.test. TXT")).to_be_visible()
    page.locator("li", has_text="third").get_by_role("button", name="Remove…").click()
    confirm(page, "Remove third._domainkey.a.test?", "Remove")
    expect(page.get_by_text("third._domainkey.a.test. TXT")).to_have_count(0)
    context.close()
    browser.calm()


def test_what_a_reaction_holds_down_is_let_go(browser, page_relays):
    relays = page_relays(files={"limits.ini": SLOW})
    relays.later.script = {"RCPT": "451 4.7.1 <b>come back later</b>"}
    for number in range(2):
        relays.send(f"u{number}@later.example")
    wait_until(lambda: relays.api.ask("GET", "/v1/reactions")[2]["items"], what="the next hop to be slowed")
    context = browser.context(relays.url)
    page = context.new_page()
    page.goto(f"{relays.url}#/reactions")
    expect(page.get_by_role("cell", name="lane later.example", exact=True)).to_be_visible()
    expect(page.get_by_text("<b>come back later</b>")).to_be_visible()
    fit(page, "reactions")
    page.get_by_role("button", name="Let it go…").click()
    page.get_by_text("The same by hand").click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("-X DELETE")
    confirm(page, "Let lane later.example go as fast as before its reaction?", "Let it go")
    expect(page.get_by_text("No reaction holds anything down.")).to_be_visible()
    assert relays.api.ask("GET", "/v1/reactions")[2]["items"] == []
    context.close()
    browser.calm()


def steps(api, to, **more):
    body = {"from": "a@shop.example", "to": to, "wait_s": 60, **more}
    status, headers, data = api.ask(
        "POST", "/v1/tests", body, Content_Type="application/json", Accept="application/x-ndjson"
    )
    assert status == 200 and headers["Content-Type"] == "application/x-ndjson", data
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return [json.loads(line) for line in text.splitlines() if line]


def test_a_test_tells_each_step(page_relays):
    relays = page_relays()
    found = steps(relays.api, "ann@good.example")
    names = [one["step"] for one in found]
    assert names == ["accepted", "hosts", "connecting", "session", "offered", "answered", "end"], found
    assert {"connect", "session"} == set(found[3]["stage_ms"]) and {"envelope", "data"} == set(found[5]["stage_ms"])
    assert found[5]["text"].startswith("250 ") and found[-1]["state"] == "delivered"
    found = steps(relays.api, "ann@away.example")
    assert "cannot connect" in next(one["text"] for one in found if one["step"] == "trouble"), found
    assert found[-1]["step"] == "end" and found[-1]["state"] == "waiting" and found[-1]["until"], found
    found = steps(relays.api, "ann@bad.example")
    assert found[-2]["text"] == "550 5.1.1 no such mailbox here" and found[-1]["state"] == "bounced", found
    found = steps(relays.api, "ann@later.example")
    assert "greylisted" in found[-2]["text"] and found[-1]["state"] == "waiting", found
    relays.api.ask("PATCH", "/v1/outbound", {"disabled": True}, Content_Type="application/json")
    found = steps(relays.api, "ann@good.example")
    assert [one["step"] for one in found] == ["accepted", "end"] and found[-1]["state"] == "waiting", found


def test_the_steps_of_a_test_come_while_it_runs(opened):
    """A host that does not answer: the page says that the mail was offered to it, long before there is an outcome."""
    relays, page = opened("#/explain?recipient=ann@later.example", fill=0)
    relays.later.script = {"RCPT": Wait(3600)}
    page.get_by_label("From").fill("bob@shop.example")
    page.get_by_role("button", name="Send a test…").click()
    page.get_by_text("The same by hand").click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("/v1/tests")
    confirm(page, "Send 1 test message to ann@later.example?", "Send it")
    expect(page.locator('[data-step="offered"]')).to_be_visible()
    expect(page.locator('[data-step="session"]')).to_contain_text("connect ")
    expect(page.locator('[data-step="answered"], [data-step="end"]')).to_have_count(0)
    relays.later.heal()
    expect(page.locator('[data-step="end"]')).to_contain_text("It is delivered.")
    kinds = page.locator("[data-step]").evaluate_all("all => all.map((one) => one.dataset.step)")
    assert kinds == ["accepted", "hosts", "connecting", "session", "offered", "answered", "end"]
    fit(page, "test-steps")
