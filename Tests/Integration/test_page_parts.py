"""test_page_parts.py - the views of limits, pauses, breakers, reactions, suppressions.

Their answers here are written by the forms of `openapi.yaml`, so that every state is seen, and what was asked is known.
"""

import json
import urllib.parse

import yaml
from harness import ROOT
from page_house import expect, needs_browser, picture

pytestmark = needs_browser

PATHS = yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"]
PARTS = {
    "/v1/limits": "Limits",
    "/v1/reactions": "Reactions",
    "/v1/dkim-keys": "DKIM",
    "/v1/staging": "Staging",
    "/v1/pauses": "Pauses",
    "/v1/suppressions": "Suppressions",
    "/v1/nodes": "Nodes",
}


def test_what_there_is_has_its_view(opened, browser):
    """The page and the contract are of one program: nothing is asked about what there is."""
    _, page = opened()
    views = page.get_by_role("navigation")
    expect(views.get_by_role("link", name="Sessions")).to_be_visible()
    for path, name in PARTS.items():
        assert path in PATHS
        expect(views.get_by_role("link", name=name, exact=True)).to_have_count(1)
    assert not [url for url in browser.requests if url.endswith("openapi.yaml")]


class Stand:
    """Answers for the parts, and what was asked of them."""

    def __init__(self, page):
        self.asked = []
        self.pauses = [
            {"scope": "domain slow.example", "reason": "<b>ticket</b>", "by": "ann", "since": None, "until": None}
        ]
        self.breaker = "open"
        page.route("**/v1/limits**", self.answer)
        page.route("**/v1/pauses**", self.answer)
        page.route("**/v1/destinations/**", self.answer)
        page.route("**/v1/suppressions**", self.answer)
        self.suppressed = [{"target": "<i>ann</i>@a.test", "sender_domain": "s.test", "reason": "hard_bounce"}]

    def answer(self, route):
        request = route.request
        url = urllib.parse.urlsplit(request.url)
        path = urllib.parse.unquote(url.path)
        body = json.loads(request.post_data) if request.post_data else None
        if request.method != "GET":
            self.asked.append((request.method, path, url.query, body))
        status, data = self.say(request.method, path, url.query, body)
        route.fulfill(status=status, content_type="application/json", body=json.dumps(data) if data is not None else "")

    def say(self, method, path, query, body):
        if path == "/v1/pauses":
            if method == "POST":
                self.pauses.append({"by": "me", "since": None, **body})
                return 201, {**self.pauses[-1], "persisted": True}
            return 200, {"items": self.pauses, "next": None, "total": 1, "total_exact": True}
        if path.startswith("/v1/pauses/"):
            self.pauses = [one for one in self.pauses if one["scope"] != path.removeprefix("/v1/pauses/")]
            return 204, None
        if path.startswith("/v1/suppressions"):
            if method == "GET":
                return 200, {"items": self.suppressed, "next": None, "total": len(self.suppressed), "total_exact": True}
            self.suppressed = body["items"] if body else []
            return (200, {"added": 1, "replaced": 0}) if body else (204, None)
        if path.startswith("/v1/limits"):
            section = {
                "scope": "lane later.example",
                "origin": "limits.ini:3",
                "mx": [],
                "rate": "20/m",
                "connections": "5",
            }
            if "dry_run" in query:
                return 200, {"dry_run": True, "changed": True, "diff": "-rate = 20/m\n+rate = 5/m"}
            return 200, section if path != "/v1/limits" else {"items": [section], "next": None, "total": 1}
        if path.endswith("/reset"):
            self.breaker = "closed"
            return 200, {"route": "later.example", "reset": 1}
        breaker = {
            "state": self.breaker,
            "failures": 3,
            "since": None,
            "next_probe_at": None,
            "said": "<i>no</i> route",
        }
        lane = {
            "route": "later.example",
            "lane": "later.example",
            "parcels": 2,
            "breaker": breaker,
            "estimated_send_at": None,
        }
        limit = {
            "key": "rate",
            "value": "20/m",
            "scope": "lane later.example",
            "origin": "limits.ini:3",
            "applies": True,
        }
        mine = [one for one in self.pauses if one["scope"] == "lane later.example"]
        return 200, {"route": "later.example", "lanes": [{**lane, "limits": [limit], "pauses": mine}]}


def confirm(page, question, verb):
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(question)
    dialog.get_by_role("button", name=verb, exact=True).click()


def test_a_destination_is_paused_slowed_and_reset(opened):
    relays, page = opened()
    stand = Stand(page)
    page.goto("about:blank")
    page.goto(f"{relays.url}#/destination/later.example")
    expect(page.get_by_text("limits.ini:3")).to_be_visible()
    expect(page.get_by_text("<i>no</i> route")).to_be_visible()
    picture(page, "destination-limits")
    page.get_by_role("button", name="Reset…").click()
    confirm(page, "Try later.example again at once?", "Try it")
    expect(page.get_by_role("button", name="Reset…")).to_have_count(0)
    page.get_by_role("button", name="Pause…").click()
    page.get_by_label("Reason").fill("look")
    confirm(page, "Pause lane later.example? 2 parcels", "Pause")
    expect(page.get_by_text("Paused: lane later.example, by me. look")).to_be_visible()
    expect(page.get_by_text("It is paused.")).to_be_visible()
    page.get_by_role("button", name="Resume…").click()
    confirm(page, "Let lane later.example go on?", "Resume")
    expect(page.get_by_role("button", name="Resume…")).to_have_count(0)
    page.get_by_role("button", name="Slow…").click()
    page.get_by_label("Messages (20/m, 5/s, 1k/h)").fill("5/m")
    confirm(page, "Slow later.example down?", "See what changes")
    expect(page.get_by_role("dialog").locator(".plus")).to_have_text("+rate = 5/m")
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.get_by_text("later.example gets 5/m from now on.")).to_be_visible()
    pause = {"scope": "lane later.example", "reason": "look", "until": None}
    assert stand.asked == [
        ("POST", "/v1/destinations/later.example/reset", "", {}),
        ("POST", "/v1/pauses", "", pause),
        ("DELETE", "/v1/pauses/lane later.example", "", None),
        ("PATCH", "/v1/limits/lane later.example", "dry_run=true", {"rate": "5/m"}),
        ("PATCH", "/v1/limits/lane later.example", "", {"rate": "5/m"}),
    ]


def test_limits_and_pauses_are_listed_and_changed(opened):
    relays, page = opened()
    relays.api.ask("POST", "/v1/pauses", {"scope": "domain slow.example", "reason": "<b>ticket</b>"})
    expect(page.get_by_text("Paused: domain slow.example, by loopback. <b>ticket</b>")).to_be_visible()
    stand = Stand(page)
    page.goto("about:blank")
    page.goto(f"{relays.url}#/pauses")
    expect(page.get_by_text("<b>ticket</b>")).to_be_visible()
    picture(page, "pauses")
    page.get_by_role("button", name="Resume…").click()
    confirm(page, "Let domain slow.example go on?", "Resume")
    expect(page.get_by_text("Nothing.")).to_be_visible()
    page.goto(f"{relays.url}#/limits")
    page.get_by_role("link", name="lane later.example").click()
    page.get_by_label("Rate").fill("5/m")
    page.get_by_role("button", name="Save…").first.click()
    confirm(page, "Save this? These lines change:", "Save")
    expect(page.locator("main h1")).to_have_text("Limits")
    assert stand.asked[-1] == ("PATCH", "/v1/limits/lane later.example", "", {"rate": "5/m"})


def test_addresses_are_suppressed_and_taken_off(opened):
    relays, page = opened()
    stand = Stand(page)
    page.goto("about:blank")
    page.goto(f"{relays.url}#/suppressions")
    expect(page.get_by_text("<i>ann</i>@a.test")).to_be_visible()
    picture(page, "suppressions")
    page.get_by_role("button", name="Remove…").click()
    confirm(page, "Remove <i>ann</i>@a.test?", "Remove")
    expect(page.get_by_text("Nothing.")).to_be_visible()
    page.get_by_role("button", name="Add…").click()
    page.get_by_label("Address or domain").fill("bob@b.test")
    confirm(page, "Suppress whom?", "Suppress")
    expect(page.get_by_role("cell", name="bob@b.test")).to_be_visible()
    assert stand.asked == [
        ("DELETE", "/v1/suppressions/<i>ann</i>@a.test", "sender_domain=s.test", None),
        ("POST", "/v1/suppressions", "", {"items": [{"target": "bob@b.test", "reason": "manual"}]}),
    ]


def test_short_words_mean_here_what_they_mean_in_the_api(opened):
    """The rows of `Tests/Tables/filters.table`, which the API's reader is held to as well."""
    _, page = opened()
    for line in (ROOT / "Tests/Tables/filters.table").read_text().splitlines():
        if line.startswith("#"):
            continue
        kind, text, meaning = (cell.strip() for cell in line.split("|"))
        found = page.evaluate(
            "async ([text, kind]) => (await import(new URL('filter.js', document.querySelector('script').src))).parse(text, kind)",
            [text, kind],
        )
        if meaning.startswith("!"):
            assert found["wrong"] == meaning[1:], line
            continue
        assert found["wrong"] is None, line
        wanted = {}
        for pair in meaning.split():
            name, value = pair.split("=", 1)
            wanted.setdefault(name, []).append(value.replace("+", " "))
        for name, value in found["query"].items():
            values = value if isinstance(value, list) else [value]
            expected = wanted.pop(name)
            assert expected == ["*"] or values == expected, line
        assert not wanted, line
