"""test_page_acts.py - what people do in the page happens, is asked with its number, and is shown as a line of curl."""

import json

from page_house import expect, needs_browser, picture
from waiting import wait_until

pytestmark = needs_browser


def confirm(page, question, verb):
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(question)
    expect(dialog.get_by_text("The same by hand")).to_be_visible()
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(dialog).to_have_count(0)


def test_delivery_is_stopped_and_started(opened):
    relays, page = opened()
    page.get_by_role("button", name="Stop delivery…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("maintenance's end")
    dialog.get_by_text("The same by hand").click()
    expect(dialog.locator("code")).to_contain_text("curl -s -X PATCH")
    expect(dialog.locator("code")).to_contain_text('"disabled_reason":"maintenance')
    picture(page, "dialog-stop")
    confirm(page, "Stop all delivery? Mail is still taken, and 4 messages and all that come wait.", "Stop delivery")
    expect(page.get_by_text("Delivery is switched off: mail is taken and waits.")).to_be_visible()
    expect(page.get_by_text("maintenance's end")).to_be_visible()
    outbound = relays.api.ask("GET", "/v1/outbound")[2]
    assert outbound["disabled"] and outbound["disabled_reason"] == "maintenance's end"
    picture(page, "now-stopped")
    # The way back stands beside what is said.
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    confirm(page, "Start delivery again? 4 messages wait.", "Start delivery")
    expect(page.get_by_text("Delivering.", exact=True)).to_be_visible()
    assert not relays.api.ask("GET", "/v1/outbound")[2]["disabled"]


def test_everything_is_retried(opened):
    relays, page = opened()
    before = relays.stats()["totals"]["deferred"]
    page.get_by_role("button", name="Retry everything…").click()
    confirm(page, "Make 4 messages that were put off due now?", "Retry now")
    expect(page.get_by_text("4 messages are due now.")).to_be_visible()
    # A flush that fails does not count as a try of a message.
    wait_until(lambda: relays.stats()["totals"]["deferred"] >= before + 2, what="another try of each")


def rows(relays, query=""):
    return relays.api.ask("GET", f"/v1/queue{query}")[2]["items"]


def test_one_message_is_held_released_retried_and_removed(opened):
    relays, page = opened("#/queue")
    one = relays.ids["later.example"][0]
    page.goto(f"{relays.url}#/message/{one}")
    expect(page.get_by_text("Why it waits")).to_be_visible()
    page.get_by_role("button", name="Hold…").click()
    confirm(page, "Hold 1 message until somebody releases it?", "Hold 1")
    expect(page.get_by_role("button", name="Release…")).to_be_visible()
    assert [row["id"] for row in rows(relays, "?state=held")] == [one]
    page.get_by_role("button", name="Release…").click()
    confirm(page, "Release 1 message?", "Release 1")
    expect(page.get_by_role("button", name="Hold…")).to_be_visible()
    page.get_by_role("button", name="Show headers and body").click()
    expect(page.locator("pre").first).to_contain_text("Subject: mail 0")
    expect(page.get_by_role("link", name="Download as it is")).to_have_attribute("download", f"{one}.eml")
    page.get_by_role("button", name="Remove…").click()
    confirm(page, "Remove 1 message from the queue? It cannot be brought back.", "Remove 1")
    expect(page.get_by_text("It has left the queue.")).to_be_visible()
    assert one not in [row["id"] for row in rows(relays)]
    expect(page.get_by_text("message.removed")).to_be_visible()


def test_all_that_a_filter_finds_are_held_and_released(opened):
    relays, page = opened("#/queue?domain=away.example", fill=4)
    expect(page.locator("tbody tr")).to_have_count(4)
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_role("button", name="Select all that fit (4)").click()
    expect(page.get_by_text("4 messages, ")).to_be_visible()
    picture(page, "bulk-preview")
    page.get_by_label("Reason").fill("a look")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Hold 4").click()
    confirm(page, "Hold 4 messages until somebody releases them?", "Hold 4")
    expect(page.get_by_text("4 of 4 done, 0 passed over, 0 failed").first).to_be_visible()
    assert {row["held"]["reason"] for row in rows(relays, "?state=held")} == {"a look"}
    page.get_by_role("button", name="Take it back…").first.click()
    confirm(page, "Let the 4 messages that this held go on?", "Take it back…")
    expect(page.get_by_text("Release: done")).to_be_visible()
    expect(page.get_by_text("4 of 4 done, 0 passed over, 0 failed").first).to_be_visible()
    assert rows(relays, "?state=held") == []


def test_a_route_is_changed_looked_at_and_removed(opened):
    relays, page = opened("#/routes/away.example")
    hosts = page.get_by_label("Next hops")
    expect(hosts).to_have_value("127.0.0.1:1")
    hosts.fill(f"127.0.0.1:{relays.sink.address[1]}")
    page.get_by_role("button", name="Save…").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".minus")).to_contain_text("127.0.0.1:1")
    expect(dialog.locator(".plus")).to_contain_text(f"127.0.0.1:{relays.sink.address[1]}")
    picture(page, "route-diff")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.locator("main h1")).to_have_text("Routes")
    assert relays.api.ask("GET", "/v1/routes/away.example")[2]["mx"][0]["port"] == relays.sink.address[1]
    page.get_by_role("link", name="Add…").click()
    page.get_by_label("For", exact=True).fill("new.example")
    page.get_by_label("Next hops").fill("127.0.0.1:2")
    page.get_by_role("button", name="Save…").first.click()
    confirm(page, "Save this? These lines change:", "Save")
    page.get_by_role("link", name="new.example").click()
    page.get_by_role("button", name="Remove…").click()
    confirm(page, "Remove new.example?", "Remove")
    expect(page.get_by_text("new.example is removed.")).to_be_visible()
    assert relays.api.ask("GET", "/v1/routes/new.example")[0] == 404
    page.goto(f"{relays.url}#/changes")
    expect(page.locator("ol.time li").first).to_be_visible()
    picture(page, "changes-some")


def test_settings_addresses_and_webhooks_are_changed(opened):
    relays, page = opened("#/outbound")
    page.get_by_label("concurrency_max").fill("7")
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("dialog").locator(".plus")).to_have_text("+concurrency_max = 7")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("Saved, and in force.")).to_be_visible()
    assert relays.api.ask("GET", "/v1/outbound")[2]["concurrency_max"] == 7
    page.goto(f"{relays.url}#/addresses/+")
    page.get_by_label("For", exact=True).fill("good.example")
    page.get_by_label("Addresses").fill("127.0.0.1")
    page.get_by_role("button", name="Save…").first.click()
    confirm(page, "Save this? These lines change:", "Save")
    assert relays.api.ask("GET", "/v1/outbound-ips/good.example")[2]["ip"] == ["127.0.0.1"]
    page.goto(f"{relays.url}#/webhooks/+")
    # The form before has a name too.
    expect(page.get_by_role("heading", name="New webhook")).to_be_visible()
    page.get_by_label("Name").fill("shop")
    page.get_by_label("URL").fill("http://127.0.0.1:9/hook")
    page.get_by_label("May be at a private address").check()
    page.get_by_role("button", name="Save…").first.click()
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("Its secret, shown this once: whsec_")).to_be_visible()
    page.get_by_role("link", name="shop").click()
    page.get_by_role("button", name="Test…").click()
    confirm(page, "Send a test event to shop now?", "Send it")
    expect(page.get_by_text("It did not take the test event: cannot connect")).to_be_visible()
    picture(page, "webhook-one")


def test_somebody_else_changed_it_meanwhile(opened):
    relays, page = opened("#/routes/away.example")
    page.get_by_label("Next hops").fill("127.0.0.1:3")
    assert relays.api.ask("PATCH", "/v1/routes/bad.example", {"mx": ["127.0.0.1:4"]})[0] == 200
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("alert")).to_contain_text("That did not work")
    assert relays.api.ask("GET", "/v1/routes/away.example")[2]["mx"][0]["port"] == 1


def test_a_way_is_explained_and_a_test_is_followed(opened):
    relays, page = opened("#/explain")
    page.get_by_label("To").fill("ann@good.example")
    page.get_by_label("From").fill("bob@shop.example")
    page.keyboard.press("Enter")
    expect(page.get_by_text("good.example", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Send a test…").click()
    confirm(page, "Send 1 test message to ann@good.example?", "Send it")
    expect(page.locator('[data-step="end"]')).to_contain_text("It is delivered.")
    assert any("ann@good.example" in message.accepted for message in relays.sink.messages)
    picture(page, "explain-test")


def test_what_may_not_be_written_is_said(opened):
    """A file that cannot be written: the answer has the lines, and the page shows them."""
    _, page = opened("#/routes/away.example")

    def refuse(route):
        body = {"title": "x", "status": 409, "detail": "routes.ini cannot be written", "diff": "-mx = a\n+mx = b"}
        route.fulfill(status=409, content_type="application/problem+json", body=json.dumps(body))

    page.route("**/v1/routes/*dry_run*", refuse)
    page.get_by_label("Next hops").fill("127.0.0.1:3")
    page.get_by_role("button", name="Save…").first.click()
    expect(page.get_by_role("alert")).to_contain_text("routes.ini cannot be written")
    expect(page.get_by_role("alert").locator(".plus")).to_have_text("+mx = b")
