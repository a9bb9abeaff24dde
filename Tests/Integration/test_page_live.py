"""test_page_live.py - what changes by itself: seven tabs that live by one stream, a relay that goes and comes back."""

from page_house import expect, needs_browser, picture

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
    streams = [url for url in browser.requests if url.startswith(relays.url) and url.endswith("/v1/events")]
    assert len(streams) == 1, streams
    picture(first, "live-some")
    # The one that led goes; another leads, and nothing is missed.
    tabs[0].close()
    relays.send("more@good.example")
    for tab in tabs[1:]:
        expect(tab.get_by_text("more@good.example").first).to_be_visible()
    polls = [url for url in browser.requests if url.startswith(f"{relays.url}v1/stats?")]
    assert len(polls) < 60, f"{len(polls)} polls of seven tabs"


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


def test_a_relay_that_is_away_is_said_to_be(opened, browser):
    _, page = opened()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.route("**/v1/**", lambda route: route.abort())
    expect(page.get_by_text("no answer, trying again")).to_be_visible()
    page.unroute("**/v1/**")
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=20_000)
    browser.complaints = [text for text in browser.complaints if "ERR_FAILED" not in text]


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


def test_a_page_that_stays_open_does_not_grow(opened):
    """Views come and go: what they made goes with them."""
    relays, page = opened()
    session = page.context.new_cdp_session(page)

    def around():
        for view in ("now", "queue", "live", "destination/later.example", "history", "routes", "now"):
            page.goto(f"{relays.url}#/{view}")
            expect(page.get_by_text("later.example").first).to_be_visible()
        session.send("HeapProfiler.collectGarbage")
        counters = session.send("Memory.getDOMCounters")
        return counters["nodes"], counters["jsEventListeners"]

    around()
    nodes, listeners = around()
    for _ in range(4):
        later = around()
    assert later[0] < nodes * 1.2 + 200 and later[1] < listeners * 1.2 + 50, (nodes, listeners, later)
