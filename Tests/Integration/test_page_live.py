"""test_page_live.py - what changes by itself: seven tabs that live by one stream, a relay that goes and comes back."""

import re

from page_house import expect, needs_browser, picture
from waiting import free_port, wait_until

pytestmark = needs_browser


def test_seven_tabs_share_one_stream(opened, browser):
    relays, first = opened("#/live")
    tabs = [first]
    for _ in range(6):
        tabs.append(first.context.new_page())
        tabs[-1].goto(relays.url + "#/live")
    for tab in tabs:
        expect(tab.get_by_text("message.accepted").first).to_be_visible()
    relays.send("news@good.example")
    for tab in tabs:
        expect(tab.get_by_text("news@good.example").first).to_be_visible()
    streams = [url for url in browser.requests if url.startswith(relays.url) and "/v1/live?" in url]
    assert len(streams) == 1, streams
    picture(first, "live-some")
    # The one that led goes; another leads, and nothing is missed.
    tabs[0].close()
    relays.send("more@good.example")
    for tab in tabs[1:]:
        expect(tab.get_by_text("more@good.example").first).to_be_visible()
    polls = [url for url in browser.requests if url.startswith(f"{relays.url}v1/stats")]
    assert polls == [], "what the stream brings is asked for"


def test_live_is_filtered_and_paused(opened):
    relays, page = opened("#/live")
    expect(page.get_by_text("message.accepted").first).to_be_visible()
    page.get_by_label("Only with").fill("bob@")
    relays.send("ann@good.example")
    relays.send("bob@good.example")
    expect(page.get_by_text("bob@good.example").first).to_be_visible()
    expect(page.get_by_text("ann@good.example")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    relays.send("bob@good.example")
    expect(page.get_by_text("Paused, ")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Paused, ")).to_have_count(0)


def test_a_relay_that_is_away_is_said_to_be(page_relays, browser):
    relays = page_relays(files={"admin.ini": f"listen = 127.0.0.1:{free_port()}\n"})
    context = browser.context(relays.url)
    page = context.new_page()
    page.goto(relays.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    relays.relay.stop()
    expect(page.get_by_text("no answer, trying again")).to_be_visible()
    relays.relay.start()
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=60_000)
    browser.complaints = [text for text in browser.complaints if "ERR_" not in text]
    context.close()


def test_without_locks_a_page_polls(opened):
    relays, page = opened("#/queue")
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })")
    page.goto("about:blank")
    page.goto(relays.url + "#/live")
    expect(page.get_by_text("message.accepted").first).to_be_visible()
    relays.send("poll@good.example")
    expect(page.get_by_text("poll@good.example").first).to_be_visible(timeout=10_000)
    page.goto(relays.url + "#/now")
    expect(page.get_by_text("every few seconds")).to_be_visible()


COUNTED = """
    const running = new Set();
    const [begin, end] = [globalThis.setInterval, globalThis.clearInterval];
    globalThis.setInterval = (...all) => { const id = begin(...all); running.add(id); return id; };
    globalThis.clearInterval = (id) => { running.delete(id); end(id); };
    globalThis.intervals = () => running.size;
    // An hour that is over in a moment must not time out what was asked in that moment.
    AbortSignal.timeout = () => new AbortController().signal;
"""


class Week:
    """A page whose clock is ours, and what it holds: nodes, listeners, memory, intervals, streams."""

    def __init__(self, relays, page):
        self.relays, self.page, self.streams, self.most = relays, page, set(), 0
        self.session = page.context.new_cdp_session(page)
        page.on("request", self.begun)
        for over in ("requestfinished", "requestfailed"):
            page.on(over, lambda request: self.streams.discard(request))
        page.clock.install()
        page.add_init_script(COUNTED)
        page.goto("about:blank")
        page.goto(f"{relays.url}#/now")

    def begun(self, request):
        if "/v1/live?" in request.url:
            self.streams.add(request)
            self.most = max(self.most, len(self.streams))

    def day(self, number):
        """Hours that pass, mail, every view, an hour without the relay, a while in the background."""
        page = self.page
        for mail in range(20):
            self.relays.send(f"d{number}m{mail}@good.example")
        for view in (
            "now",
            "queue",
            "live",
            "destination/later.example",
            "history",
            "routes",
            "explain",
            "dkim",
            "live",
        ):
            page.goto(f"{self.relays.url}#/{view}")
            expect(page.locator("main h1").first).to_be_attached()
            for _ in range(3):
                page.clock.fast_forward(3_600_000)
        expect(page.get_by_text(f"d{number}m19@good.example").first).to_be_visible()
        page.context.set_offline(True)
        page.goto(f"{self.relays.url}#/now")
        page.clock.fast_forward(60_000)
        expect(page.get_by_text("no answer, trying again")).to_be_visible()
        page.context.set_offline(False)
        page.clock.fast_forward(60_000)
        expect(page.get_by_text("live", exact=True)).to_be_visible()

    def held(self):
        for _ in range(2):
            self.session.send("HeapProfiler.collectGarbage")
        counters = self.session.send("Memory.getDOMCounters")
        heap = self.session.send("Runtime.getHeapUsage")["usedSize"]
        intervals = self.page.evaluate("intervals()")
        return {
            "nodes": counters["nodes"],
            "listeners": counters["jsEventListeners"],
            "heap": heap,
            "intervals": intervals,
            "streams": len(self.streams),
        }


def test_a_page_that_is_open_for_a_week_holds_what_it_held(opened, browser):
    """Seven days of its own clock: nothing that a day makes is left behind by it, and nothing is there twice."""
    relays, page = opened()
    week = Week(relays, page)
    held = []
    for number in range(7):
        week.day(number)
        held.append(week.held())
    print(held)
    # The first days fill what is bounded: five hundred rows, the past of the charts.
    settled, last = held[2], held[-1]
    assert last["nodes"] <= settled["nodes"] * 1.05 + 100, held
    assert last["listeners"] <= settled["listeners"] + 10, held
    assert last["heap"] <= settled["heap"] * 1.1 + 200_000, held
    assert len({one["intervals"] for one in held}) == 1, held
    # One that was hung up is told to be over a moment later.
    assert last["streams"] <= 1 and week.most <= 3, (week.most, held)
    # The relay hears of it with the next signs of life.
    gauge = lambda: re.search(rb"^martlet_live_streams (\d+)$", relays.api.ask("GET", "/metrics")[2], re.M)[1]
    wait_until(lambda: gauge() == b"1", 60, lambda: f"one stream, of {gauge()}")
    # Nothing is asked on the last day but what the stream does not bring, as on the first.
    page.goto(f"{relays.url}#/now")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    before = len(browser.requests)
    for _ in range(10):
        page.clock.run_for(2000)
    asked = [url for url in browser.requests[before:] if "/v1/" in url]
    assert len(asked) <= 2, asked
    browser.complaints = [text for text in browser.complaints if "ERR_INTERNET_DISCONNECTED" not in text]
