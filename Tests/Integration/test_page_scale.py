"""test_page_scale.py - the page of a relay where very much waits: as quick as where little does; ten thousand in one act.

Ten thousand messages in every run, a million with TEST_SOAK=1. Times are compared with those of a small queue on the same
machine at the same moment, and printed.
"""

import statistics
import subprocess
import time

import pytest
from harness import SOAK
from page_house import expect, needs_browser, picture
from peers import need
from waiting import host_port, wait_until

pytestmark = needs_browser

MANY = 1_000_000 if SOAK else 10_000
LOADS = 20 if SOAK else 5


@pytest.fixture
def filled(page_relays):
    """`filled(count)`: a relay where so many messages wait, of one sender, and none leaves."""

    def make(count):
        relays = page_relays(outbound={"disabled": True})
        source = [need("smtp-source"), "-d", "-s", "10", "-m", str(count), "-l", "512", "-N"]
        source += ["-f", "shop@shop.example", "-t", "u@away.example", host_port(relays.relay.address)]
        subprocess.run(source, check=True, timeout=1800)
        wait_until(lambda: relays.stats()["messages"] == count, 60, lambda: f"{relays.stats()['messages']} wait")
        return relays

    return make


def loads(context, url, view, seen):
    """Seconds from asking for the page in a fresh tab to what its view shows, sorted."""
    took = []
    for _ in range(LOADS):
        page = context.new_page()
        begin = time.perf_counter()
        page.goto(f"{url}#/{view}", wait_until="commit")
        page.wait_for_selector(seen)
        took.append(time.perf_counter() - begin)
        page.close()
    return sorted(took)


def test_a_long_queue_opens_as_quickly_as_a_short_one(filled, browser, record_property):
    short, long = filled(100), filled(MANY)
    figures = {}
    # The picture of what waits is made by a walk that takes its time on a long queue: the sentence and the numbers do not wait.
    for view, seen in (("now", ".tiles .tile"), ("queue", "tbody tr")):
        for name, relays in (("short", short), ("long", long)):
            context = browser.context(relays.url)
            took = loads(context, relays.url, view, seen)
            context.close()
            figures[view, name] = (statistics.median(took), took[-2])
    browser.calm()
    words = {
        f"{view}, {name}": f"median {m * 1000:.0f} ms, p95 {p * 1000:.0f} ms"
        for (view, name), (m, p) in figures.items()
    }
    for name, value in words.items():
        record_property(name, value)
    print(MANY, words)
    for view in ("now", "queue"):
        assert figures[view, "long"][0] < 2 * figures[view, "short"][0] + 0.1, words


def test_ten_thousand_are_held_and_released_by_the_page(filled, browser):
    relays = filled(10_000)
    context = browser.context(relays.url)
    page = context.new_page()
    page.goto(f"{relays.url}#/queue?sender=shop@shop.example")
    page.get_by_role("checkbox").nth(1).check()
    page.get_by_role("button", name="Select all that fit (10,000)").click()
    expect(page.get_by_text("10,000 messages, ")).to_be_visible()
    picture(page, "bulk-many")
    page.get_by_role("button", name="Hold 10,000").click()
    page.get_by_role("dialog").get_by_role("button", name="Hold 10,000").click()
    expect(page.get_by_text("10,000 of 10,000 done, 0 passed over, 0 failed").first).to_be_visible(timeout=60_000)
    assert relays.stats()["held"] == 10_000
    page.get_by_role("button", name="Take it back…").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Take it back…").click()
    expect(page.get_by_text("Release: done").or_(page.get_by_text("release: done"))).to_be_visible(timeout=60_000)
    assert relays.stats()["held"] == 0
    context.close()
    browser.calm()
