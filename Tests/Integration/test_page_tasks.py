"""test_page_tasks.py - what a newcomer has to do, counted in clicks and keys; and the same without a browser."""

import re
import subprocess

from harness import MARTLET
from page_house import expect, needs_browser
from waiting import wait_until

# What the same takes with the tools of others, as their manuals have it (none was run here): the comparison that belongs to our
# numbers.
OTHERS = {
    "find why mail to one domain waits": {
        "mailcow": "its queue manager lists messages with their last words; nothing sums them up by domain: read the list",
        "Postal": "open the message among all; no sum by domain or reply",
        "KumoMTA": "kcli queue-summary --domain D names the queue; why is in the logs (zstd, JSON)",
    },
    "hold everything of one sender": {
        "mailcow": "tick each message in the list, or postsuper -h by a shell loop over postqueue -j",
        "Postal": "not there for a sender; suspend the whole mail server",
        "KumoMTA": "kcli suspend takes domain, campaign, tenant; a sender only where the policy made it one of these",
    },
    "move a smart host": {
        "mailcow": "edit the transport or sender-dependent relay in the admin's routing form, then retry the queue",
        "Postal": "postal.yml (smtp_relays) in an editor, and a restart",
        "KumoMTA": "the policy in Lua in an editor; kcli rebind for what waits",
    },
    "find out if one mail arrived": {
        "mailcow": "filter the last lines of Postfix's log in the page",
        "Postal": "search the messages of its server by to:",
        "KumoMTA": "zstdcat and jq over its logs, or tailer",
    },
    "stop everything and start it again": {
        "mailcow": "a shell: postsuper -h ALL, or stop the container, which refuses new mail as well",
        "Postal": "a shell: postal stop, which refuses new mail as well",
        "KumoMTA": "kcli suspend without criteria, and kcli suspend-cancel with the id that it gave",
    },
}


class Hand:
    """Clicks, keys, and words that are typed, each counted."""

    def __init__(self, page):
        self.page, self.clicks, self.keys, self.words = page, 0, 0, 0

    def click(self, role, name, within=None):
        self.clicks += 1
        (within or self.page).get_by_role(role, name=name, exact=True).first.click()

    def press(self, *keys):
        for key in keys:
            self.keys += 1
            self.page.keyboard.press(key)

    def type(self, text):
        self.words += 1
        self.page.keyboard.type(text)

    def tell(self, task):
        print(f"{task}: {self.clicks} clicks, {self.keys} keys, {self.words} words typed")
        for name, way in OTHERS[task].items():
            print(f"    {name}: {way}")
        effort = self.clicks + self.keys + self.words
        self.clicks = self.keys = self.words = 0
        return effort


@needs_browser
def test_a_newcomer_gets_there_soon(opened):
    relays, page = opened()
    hand = Hand(page)

    # Why does mail to one domain wait?
    expect(page.locator("li.problem", has_text="later.example")).to_contain_text("try later, greylisted")
    assert hand.tell("find why mail to one domain waits") == 0

    # Hold everything of one sender.
    hand.press("g", "b")
    hand.click("searchbox", "Filter")
    hand.type("from:shop@shop.example")
    hand.press("Enter")
    hand.click("button", "Hold 4")
    hand.click("button", "Hold 4", within=page.get_by_role("dialog"))
    wait_until(lambda: relays.stats()["held"] == 4, what="all of the sender's mail to be held")
    assert hand.tell("hold everything of one sender") <= 7

    # Move a smart host.
    hand.click("link", "Routes")
    hand.click("link", "away.example")
    page.get_by_label("Next hops").select_text()
    hand.type(f"127.0.0.1:{relays.sink.address[1]}")
    hand.click("button", "Save…")
    hand.click("button", "Save", within=page.get_by_role("dialog"))
    expect(page.locator("main h1")).to_have_text("Routes")
    assert relays.api.ask("GET", "/v1/routes/away.example")[2]["mx"][0]["port"] == relays.sink.address[1]
    assert hand.tell("move a smart host") <= 5

    # Did one mail arrive?
    hand.press("g", "h")
    expect(page.get_by_text("Ask for an address")).to_be_visible()
    hand.press("/")
    hand.type("to:u1@good.example")
    hand.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("delivered")
    assert hand.tell("find out if one mail arrived") <= 5

    # Stop everything, and start it again.
    hand.press("g", "n")
    for button, word in (("Stop delivery…", "Stop delivery"), ("Start delivery…", "Start delivery")):
        hand.click("button", button)
        hand.click("button", word, within=page.get_by_role("dialog"))
    expect(page.get_by_role("button", name="Stop delivery…")).to_be_visible()
    assert not relays.api.ask("GET", "/v1/outbound")[2]["disabled"]
    assert hand.tell("stop everything and start it again") <= 6


def test_top_and_qshape_show_the_same_without_a_browser(page_relays):
    relays = page_relays()
    relays.fill(2)

    def parcels():
        return sum(row["parcels"] for row in relays.api.ask("GET", "/v1/stats/waiting")[2]["routes"])

    # The picture may be two seconds old.
    wait_until(lambda: parcels() == 4, what="a picture of what waits")

    def run(*arguments):
        words = [MARTLET, *arguments, "--data", str(relays.relay.data)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shape = run("qshape")
    assert re.search(r"^TOTAL +4 +4 ", shape, re.M) and re.search(r"^later\.example +2 +2 ", shape, re.M), shape
    top = run("top")
    assert top.startswith("Delivering.") and shape.strip() in top
    assert re.search(r"^2 .* later\.example +greylisted +451 4\.7\.1 ", top, re.M), top
    assert '"routes"' in run("qshape", "--json")
