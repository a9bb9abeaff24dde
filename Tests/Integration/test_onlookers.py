"""test_onlookers.py - fifty open pages, and two hundred readers of events: what they make the relay do is bounded, and the same
whatever waits in the queue.

`Tests/Bench/api_load.py pages` and `readers` measure what that costs mail; here it is counted: what was asked and answered, walks
through the index, reads of the history.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import ROOT
from peers import need
from waiting import host_port, wait_until

sys.path.insert(0, str(ROOT / "Tests/Bench"))
from onlookers import HOW_MANY, followed, topics


class Onlookers:
    """The program, as the measurement starts it."""

    def __init__(self, kind, api):
        program = [sys.executable, str(ROOT / "Tests/Bench/onlookers.py"), kind, host_port(api.address), "-v"]
        self.run = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.run.stdout.readline() == "ready\n"

    def close(self):
        """What it counted."""
        out, _ = self.run.communicate(timeout=60)
        return json.loads(out)


def counted(api, name):
    page = wait_until(lambda: (got := api.ask("GET", "/metrics"))[0] == 200 and got[2], what="a scrape").decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.M))


def switches(relay):
    """How often threads of the relay have given up a processor to wait: wakes, with what went to sleep again."""
    total = 0
    for status in Path(f"/proc/{relay.pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.M)[1])
    return total


def asked(api):
    """Requests that the API has answered."""
    return counted(api, "martlet_http_requests_total")


def queued(relay, count):
    source = [
        need("smtp-source"),
        "-d",
        "-s",
        "10",
        "-m",
        str(count),
        "-l",
        "512",
        "-N",
        "-f",
        "a@a.test",
        "-t",
        "b@b.test",
    ]
    subprocess.run([*source, host_port(relay.address)], check=True, timeout=600)


def test_the_measurement_asks_what_the_page_asks():
    periods = {path.partition("?")[0]: seconds for seconds, path in topics()}
    assert periods == {
        "/v1/stats": 2,
        "/v1/stats/waiting": 4,
        "/v1/stats/day": 60,
        "/readyz": 10,
        "/v1/pauses": 10,
        "/v1/nodes": 10,
    }
    assert followed() == "/v1/live?topic=stats&topic=waiting&topic=day&topic=ready&topic=pauses&topic=nodes&events="
    assert HOW_MANY == {"pages": 50, "polls": 50, "readers": 200}


def test_fifty_pages_are_told_the_same_sheets(make_api, closing, sink):
    """A piece a second for each at most, of the same bytes, however much mail there is; and no questions."""
    relay, api = make_api(routes={"*": sink.address})
    crowd = Onlookers("pages", api)
    wait_until(lambda: counted(api, "martlet_live_streams") == 50, what="fifty streams")
    before, woken = asked(api), switches(relay)
    began = time.monotonic()
    queued(relay, 2000)
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["totals"]["delivered"] == 2000, 120, "the mail to leave")
    wait_until(lambda: api.ask("GET", "/v1/events?limit=1")[2]["newest"] == 6000, what="the history to know")
    wait_until(lambda: time.monotonic() - began > 5, what="some seconds")
    told = crowd.close()
    # Their own questions: none but what this test asks.
    assert asked(api) - before < 20 * told["seconds"], told
    # The first time each topic by itself; a piece may arrive in parts of 32 KiB.
    assert told["reads"] <= 50 * (2 * told["seconds"] + 10), told
    # Of six thousand events each was told fifty a second at most.
    assert told["streams"] <= 50 * told["seconds"] * 64_000, told
    assert told["streams"] > 50 * 2000, told
    print(told, switches(relay) - woken)


@pytest.mark.parametrize("count", [10, 5000])
def test_fifty_pages_ask_as_much_whatever_waits(make_api, closing, count):
    """Where browsers have no locks: so many questions a second as the periods say, answered all, of a size that does not grow
    with the queue."""
    relay, api = make_api(routes={"*": "127.0.0.1:1"}, outbound={"disabled": "true"})
    queued(relay, count)
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["messages"] == count, what="the mail to wait")
    sizes = [len(json.dumps(api.ask("GET", path)[2])) for _, path in topics()]
    assert sum(sizes) < 64_000, sizes
    crowd = Onlookers("polls", api)
    # More connections are kept than there are seats, and whoever comes is answered.
    for _ in range(40):
        assert api.ask("GET", "/v1/stats")[0] == 200
    wait_until(lambda: asked(api) > 400, what="many questions")
    told = crowd.close()
    # What is asked is bounded by the clock of those who ask: no answer asks for another one.
    most = sum(1 + told["seconds"] / seconds for seconds, _ in topics()) * 50
    assert told["refused"] == 0 and told["asked"] <= most, (told, most)


def test_two_hundred_readers_are_served_in_pieces(make_api, sink):
    """However many events come, all readers together get at most two hundred pieces a second and 4 MiB, and all of them what
    there is; the relay sends each of them with one call or two."""
    relay, api = make_api(routes={"*": sink.address})
    crowd = Onlookers("readers", api)
    wait_until(lambda: counted(api, "martlet_event_streams") == 200, what="the streams")
    queued(relay, 1000)
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["totals"]["delivered"] == 1000, 120, "the mail to leave")
    wait_until(lambda: api.ask("GET", "/v1/events?limit=1")[2]["newest"] == 3000, what="the history to know")
    told = crowd.close()
    # They go at once, so that as many others find room.
    wait_until(lambda: counted(api, "martlet_event_streams") == 0, what="nobody")
    assert Onlookers("readers", api).close()["reads"] >= 0
    assert told["streams"] > 0
    assert told["streams"] <= (told["seconds"] + 2) * (5 << 20), told
    # The first piece comes at once; a piece is up to 20 KiB and an event, and may arrive in two parts.
    assert told["reads"] <= 2 * 200 * (told["seconds"] + 3), told
