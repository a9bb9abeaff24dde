"""test_page_scale.py - the page of a relay where very much waits: as quick as where little does; ten thousand in one act.

Ten thousand messages in every run, a million with TEST_SOAK=1. Times are compared with those of a small queue on the same
machine at the same moment, and printed.
"""

import os
import statistics
import subprocess
import time
from pathlib import Path

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


def load(context, url, view, seen):
    """Seconds from asking for the page in a fresh tab to what its view shows."""
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(f"{url}#/{view}", wait_until="commit")
    page.wait_for_selector(seen)
    took = time.perf_counter() - begin
    page.close()
    return took


STORY = """
    () => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
      .filter((one) => !one.name.endsWith('icon.svg'))
      .map((one) => ({ name: one.name, start: one.startTime, end: one.responseEnd || Infinity }))
"""


def depth(story):
    """Of what waits for each other: the longest chain in which one was asked when the other had been answered."""
    longest = []
    for one in sorted(story, key=lambda one: one["start"]):
        before = [deep for other, deep in longest if other["end"] <= one["start"]]
        longest.append((one, 1 + max(before, default=0)))
    return max(deep for _, deep in longest)


@pytest.mark.parametrize(
    "view,seen,asked",
    [("now", ".tiles .tile", ["v1/live", "v1/session"]), ("queue", "tbody tr", ["v1/live", "v1/queue", "v1/session"])],
)
def test_a_view_stands_after_few_questions(opened, view, seen, asked):
    """What a view waits for is counted: which questions, each once, and how many of all one behind the other."""
    relays, page = opened(f"#/{view}")
    page.wait_for_selector(seen)
    story = page.evaluate(STORY)
    questions = [one["name"].removeprefix(relays.url).partition("?")[0] for one in story if "/v1/" in one["name"]]
    print(view, depth(story), len(story), questions)
    assert set(questions) <= set(asked) and len(questions) == len(set(questions)), questions
    # The document, what it is made of beside who is there, and what the view asks.
    assert depth(story) <= 4, story


def processor(relay):
    """Seconds of the relay's processor time."""
    fields = Path(f"/proc/{relay.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_long_queue_opens_as_quickly_as_a_short_one(filled, browser, record_property):
    """In turns, so that a machine whose speed drifts says the same of both; and what it costs the relay is counted."""
    both = {"short": filled(100), "long": filled(MANY)}
    contexts = {name: browser.context(relays.url) for name, relays in both.items()}
    took, used = {}, {}
    # The picture of what waits is made by a walk that takes its time on a long queue: the sentence and the numbers do not wait.
    for view, seen in (("now", ".tiles .tile"), ("queue", "tbody tr")):
        for name, relays in both.items():
            load(contexts[name], relays.url, view, seen)
        for _ in range(LOADS):
            for name, relays in both.items():
                before = processor(relays.relay)
                took.setdefault((view, name), []).append(load(contexts[name], relays.url, view, seen))
                used[view, name] = used.get((view, name), 0) + processor(relays.relay) - before
    for context in contexts.values():
        context.close()
    browser.calm()
    middle = {key: statistics.median(all) for key, all in took.items()}
    words = {
        f"{view}, {name}": f"median {middle[view, name] * 1000:.0f} ms, p95 {sorted(took[view, name])[-2] * 1000:.0f} ms, "
        f"{used[view, name] / LOADS * 1000:.0f} ms of the relay's processor"
        for view, name in took
    }
    for name, value in words.items():
        record_property(name, value)
    print(MANY, words)
    for view in ("now", "queue"):
        assert middle[view, "long"] < 1.5 * middle[view, "short"] + 0.1, words
        # Ticks are of ten milliseconds, and a walk may use a hundredth of a processor beside.
        assert used[view, "long"] / LOADS < 1.5 * used[view, "short"] / LOADS + 0.05, words


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
