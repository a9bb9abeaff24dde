"""test_onlookers.py - fifty open pages, and two hundred readers of events: what they make the relay do is bounded, and the same
whatever waits in the queue.

`Tests/Bench/api_load.py pages` and `readers` measure what that costs mail; here it is counted: what was asked and answered, walks
through the index, reads of the history.
"""

import json
import re
import subprocess
import sys

import pytest
from harness import ROOT
from peers import need
from waiting import host_port, wait_until

sys.path.insert(0, str(ROOT / "Tests/Bench"))
from onlookers import HOW_MANY, topics


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
    assert periods == {"/v1/stats": 2, "/v1/stats/waiting": 4, "/v1/stats/day": 60, "/readyz": 10, "/v1/pauses": 10}
    assert HOW_MANY == {"pages": 50, "readers": 200}


@pytest.mark.parametrize("count", [10, 5000])
def test_fifty_pages_ask_as_much_whatever_waits(make_api, closing, count):
    """So many questions a second as the periods say, answered all, of a size that does not grow with the queue."""
    relay, api = make_api(routes={"*": "127.0.0.1:1"}, outbound={"disabled": "true"})
    queued(relay, count)
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["messages"] == count, what="the mail to wait")
    sizes = [len(json.dumps(api.ask("GET", path)[2])) for _, path in topics()]
    assert sum(sizes) < 64_000, sizes
    crowd = Onlookers("pages", api)
    wait_until(lambda: counted(api, "martlet_event_streams") == 50, what="fifty streams")
    # More connections are kept than there are seats, and whoever comes is answered.
    for _ in range(40):
        assert api.ask("GET", "/v1/stats")[0] == 200
    wait_until(lambda: asked(api) > 400, what="many questions")
    told = crowd.close()
    # What is asked is bounded by the clock of those who ask: no answer asks for another one.
    most = sum(1 + told["seconds"] / seconds for seconds, _ in topics()) * 50
    assert told["refused"] == 0 and told["asked"] <= most, (told, most)


def test_two_hundred_readers_are_served_in_pieces(make_api, sink):
    """However many events come, a reader gets at most four pieces a second, and all of them what there is."""
    relay, api = make_api(routes={"*": sink.address})
    crowd = Onlookers("readers", api)
    wait_until(lambda: counted(api, "martlet_event_streams") == 200, what="the streams")
    queued(relay, 1000)
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["totals"]["delivered"] == 1000, 120, "the mail to leave")
    wait_until(lambda: api.ask("GET", "/v1/events?limit=1")[2]["newest"] == 3000, what="the history to know")
    told = crowd.close()
    assert told["streams"] > 0
    # A piece may arrive in several parts: it is up to 4 KiB and an event where two hundred read.
    assert told["reads"] <= 200 * (4 * told["seconds"] + 2) * 2, told
