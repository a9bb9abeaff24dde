"""page_house.py - a relay with mail in every state, and a real browser that looks at its page: what the tests of the page share.

Debian's Chromium is driven by Playwright, which lives in the venv of Tests/tools.sh. Whatever the browser complains about
fails the test: a message of the console, a report of the CSP, a request to another origin, a file that is not there.
`TEST_SCREENSHOTS` names a folder for pictures; `TEST_PAGE_FILES` takes the page's files from the tree instead of from the
executable, for whoever works on them.
"""

import contextlib
import glob
import os
import sys
from pathlib import Path

import pytest
from api import Api
from harness import ROOT
from smtp_client import send_mail
from waiting import wait_until

VENV = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "martlet-tests-venv"
sys.path += [path for path in glob.glob(f"{VENV}/lib/python3*/site-packages") if path not in sys.path]

CHROMIUM = "/usr/bin/chromium"
VIEWS = [
    "now",
    "queue",
    "history",
    "live",
    "bulk",
    "routes",
    "addresses",
    "dkim",
    "staging",
    "webhooks",
    "outbound",
    "limits",
    "reactions",
    "pauses",
    "suppressions",
    "nodes",
    "changes",
    "explain",
    "sessions",
]

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    sync_playwright = expect = None

needs_browser = pytest.mark.skipif(
    sync_playwright is None or not os.path.exists(CHROMIUM),
    reason="Chromium or Playwright is not installed; Tests/run.sh installs them",
)


class Browser:
    """One Chromium; `page()` opens a tab whose complaints are kept."""

    def __init__(self):
        self._driver = sync_playwright().start()
        self.chromium = self._driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        expect.set_options(timeout=15_000)
        self.complaints = []
        self.requests = []

    def context(self, url, **how):
        context = self.chromium.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **how}
        )
        context.set_default_timeout(15_000)
        context.on("console", lambda message: self.complain(f"console: {message.type} {message.text}"))
        context.on("weberror", lambda error: self.complain(f"error: {error.error}"))
        context.on("request", lambda request: self.check(request, url))
        context.on("requestfailed", self.failed)
        if os.environ.get("TEST_PAGE_FILES"):
            context.route("**/page/*/*", self.from_tree)
        return context

    def complain(self, text):
        # A refusal that the page expects and shows is told by the console as well.
        if (
            "the server responded with a status of 4" not in text
            and "the server responded with a status of 503" not in text
        ):
            self.complaints.append(text)

    def check(self, request, url):
        self.requests.append(request.url)
        if not request.url.startswith(url) and not request.url.startswith(("data:", "blob:")):
            self.complaints.append(f"foreign: {request.url}")

    def failed(self, request):
        if "/page/" in request.url and request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")

    @staticmethod
    def from_tree(route):
        name = route.request.url.rpartition("/")[2]
        answer = route.fetch()
        headers = {k: v for k, v in answer.headers.items() if k not in ("content-encoding", "content-length")}
        route.fulfill(status=200, headers=headers, body=(ROOT / "Sources/CPage/page" / name).read_bytes())

    def calm(self):
        found, self.complaints = self.complaints, []
        assert not found, "\n".join(found)

    def close(self):
        with contextlib.suppress(Exception):
            self.chromium.close()
        self._driver.stop()


def ready(page, view):
    """The view that an address names stands, and all that it asks for has come."""
    expect(page.locator(f'html:not([data-asking]) main[data-view="{view}"]')).to_be_attached()
    if view == "now":
        expect(page.locator(".heat h2")).to_be_attached()


def picture(page, name):
    """A picture for the eye, where somebody wants one; of what stands, and not of what is about to come."""
    folder = os.environ.get("TEST_SCREENSHOTS")
    if folder:
        page.wait_for_selector("html:not([data-asking])", state="attached")
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def mail(subject, body="body", sender="shop@shop.example", to="a@a.test", more=""):
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\n{body}\r\n".encode()


class Relays:
    """A relay whose destinations take, put off, refuse, and are away."""

    ROUTES = ("good.example", "later.example", "bad.example", "away.example")

    def __init__(self, make_relay, make_server, make_dns, sink, admin="", **how):
        self.sink = sink
        self.later = make_server({"RCPT": "451 4.7.1 <ann@later.example>: try later, greylisted for 300 seconds"})
        self.bad = make_server({"RCPT": "550 5.1.1 no such mailbox here"})
        routes = {
            "good.example": sink.address,
            "later.example": self.later.address,
            "bad.example": self.bad.address,
            "away.example": "127.0.0.1:1",
            **how.pop("routes", {}),
        }
        files = {"admin.ini": f"listen = 127.0.0.1:0\n{admin}", **how.pop("files", {})}
        outbound = {"temp_fail_intervals": "300s*100", **how.pop("outbound", {})}
        # No name is looked up outside this machine.
        how = {"resolver": make_dns().forward, **how}
        self.relay = make_relay(routes=routes, files=files, outbound=outbound, **how)
        self.api = Api(self.relay)
        self.url = f"http://127.0.0.1:{self.api.address[1]}/"

    def send(self, recipient, subject="hello", sender="shop@shop.example", **how):
        return send_mail(self.relay, sender, [recipient], mail(subject, sender=sender, to=recipient, **how))

    def fill(self, count=3):
        """Some mail everywhere; done when each was tried once."""
        ids = {domain: [self.send(f"u{n}@{domain}", f"mail {n}") for n in range(count)] for domain in self.ROUTES}
        wait_until(lambda: self.stats()["waiting"] + self.stats()["in_progress"] == 0, what="each to be tried once")
        return ids

    def stats(self):
        return self.api.ask("GET", "/v1/stats")[2]


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def page_relays(make_relay, make_server, make_dns, sink):
    return lambda **how: Relays(make_relay, make_server, make_dns, sink, **how)


@pytest.fixture
def opened(browser, page_relays):
    """`opened(path, **context)`: a relay with mail, and a tab."""

    def make(path="#/now", fill=2, admin="", **how):
        relays = page_relays(admin=admin)
        relays.ids = relays.fill(fill)
        context = browser.context(relays.url, **how)
        contexts.append(context)
        page = context.new_page()
        page.goto(relays.url + path)
        return relays, page

    contexts = []
    yield make
    for context in contexts:
        context.close()
    browser.calm()
