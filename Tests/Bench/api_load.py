#!/usr/bin/env python3
"""api_load.py - what the admin API costs: on a full queue, and for mail while hostile clients keep it busy.

  api_load.py queue [-n 100000]       listing as NDJSON (time, memory), /v1/stats, a page, a scrape
  api_load.py hostile [-n 20]         delivered/s without and with 64 slow, oversized, malformed and ambiguous clients, in -n rounds
  api_load.py pages [-n 20]           the same with 50 open pages; polls, with 50 in browsers without locks; readers, with 200 streams
                                      of events: less than 2 % is to be proved

MARTLET names a release build; mail comes from smtp-source and goes to smtp-sink (Debian's postfix). One JSON line each.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Integration"))
from harness import Relay
from waiting import free_port, wait_listening


def make_relay(folder, sink, **outbound):
    # A connection from every address of loopback may be a client's: 16 of one address would be refused first.
    return Relay(
        folder,
        routes={"*": f"127.0.0.1:{sink}"},
        outbound=outbound,
        smtp={"limits.connections_per_client": 1000},
        files={"admin.ini": "listen = 127.0.0.1:0\n"},
    ).start()


def api_address(relay):
    line = [line for line in relay.log if line.message == "ready"][-1]
    return "127.0.0.1", int(line["api"].split(",")[0].rpartition(":")[2])


def source(relay, count, sessions=20):
    return subprocess.Popen(
        [
            "smtp-source",
            "-d",
            "-s",
            str(sessions),
            "-m",
            str(count),
            "-l",
            "2048",
            "-f",
            "a@a.test",
            "-t",
            "b@b.test",
            f"inet:127.0.0.1:{relay.address[1]}",
        ],
        stderr=subprocess.PIPE,
    )


def cpu(relay):
    """Microseconds of the relay's processor time."""
    fields = pathlib.Path(f"/proc/{relay.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 / os.sysconf("SC_CLK_TCK")


def resident(relay):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{relay.pid}/status").read_text())[1]) / 1024


def ask(address, path, accept="*/*"):
    """Time, lines and bytes of one GET on a connection of its own."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(*address, timeout=300)
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    lines = size = 0
    while piece := answer.read(1 << 20):
        lines, size = lines + piece.count(b"\n"), size + len(piece)
    connection.close()
    assert answer.status == 200, answer.status
    return time.perf_counter() - began, lines, size


def get(address, path):
    """The body of a GET; ConnectionError when it is refused."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ConnectionError(answer.status)
        return answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError from error
    finally:
        connection.close()


def queue(folder, count):
    relay = make_relay(folder, free_port(), disabled=True)
    try:
        began = time.time()
        assert source(relay, count).wait() == 0
        result = {"queued": count, "accepted_per_s": round(count / (time.time() - began))}
        address = api_address(relay)
        before, peak, stop = resident(relay), [0.0], threading.Event()

        def watch():
            while not stop.wait(0.02):
                peak[0] = max(peak[0], resident(relay))

        watcher = threading.Thread(target=watch)
        watcher.start()
        listings = [ask(address, "/v1/queue", "application/x-ndjson") for _ in range(5)]
        stop.set()
        watcher.join()
        assert {lines for _, lines, _ in listings} == {count}, listings
        result["ndjson_s"] = [round(seconds, 2) for seconds, _, _ in listings]
        result["ndjson_mb"] = round(listings[0][2] / 1e6, 1)
        result["memory_mb"] = {"before": round(before, 1), "peak_of_five_listings": round(peak[0], 1)}
        for name, path in [("stats", "/v1/stats"), ("page", "/v1/queue?limit=100"), ("metrics", "/metrics")]:
            times = sorted(ask(address, path)[0] * 1000 for _ in range(50))
            result[f"{name}_ms"] = {"median": round(times[25], 2), "worst": round(times[-1], 2)}
        return result
    finally:
        relay.close()


def hostile_clients(address, stop):
    """64 threads, each from an address of its own: 16 send a byte at a time, 48 a bad request each second."""
    head = b"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    slow, big = b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nX: ", head + b"Content-Length: 900000000\r\n\r\n"
    double = head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
    kinds = [(slow, True), (big, False), (b"\0\xff GET\r\n\r\n", False), (double, False)]

    def one(number):
        data, isSlow = kinds[number % 4]
        while not stop.is_set():
            try:
                with socket.create_connection(
                    address, timeout=5, source_address=(f"127.0.1.{number + 1}", 0)
                ) as client:
                    client.sendall(data)
                    while isSlow and not stop.wait(0.5):
                        client.sendall(b"x")
                    client.settimeout(1)
                    while client.recv(65536):
                        pass
            except OSError:
                pass
            stop.wait(1)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(64)]
    for thread in threads:
        thread.start()
    return threads


def hostile(folder, rounds):
    """What hostile clients cost mail."""
    return crowded(folder, rounds, hostile_clients)


def onlookers(kind):
    """Those who look on, in a process of their own (`onlookers.py`), which is counted with the machine and not with the relay."""

    def start(address, stop):
        program = [
            sys.executable,
            str(pathlib.Path(__file__).with_name("onlookers.py")),
            kind,
            f"{address[0]}:{address[1]}",
        ]
        run = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert run.stdout.readline() == b"ready\n", f"the {kind} do not stand"

        def end():
            stop.wait()
            run.stdin.close()
            run.wait(20)

        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        return [thread]

    return start


def pages(folder, rounds):
    """What fifty open pages cost mail."""
    return crowded(folder, rounds, onlookers("pages"), settle=4)


def polls(folder, rounds):
    """What fifty open pages cost mail in browsers without locks, which poll."""
    return crowded(folder, rounds, onlookers("polls"), settle=4)


def readers(folder, rounds):
    """What two hundred readers of the stream of events cost mail."""
    return crowded(folder, rounds, onlookers("readers"), settle=4)


def crowded(folder, rounds, crowd, settle=0.5):
    """Delivered/s of one flow of mail that never stops, second by second, while the clients come and go.

    Slices of two seconds in the order A B C C B A: nobody; the clients at another relay, which shows what they use of the
    machine; the clients here. A fall is that of a round, so that a machine whose speed drifts falls in every slice alike;
    told are the median over all rounds and how sure it is (the standard error of a median, from the spread of the middle half).

    crowd: starts the clients of an address, until an event is set; gives their threads. settle: seconds until they are there.
    """
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    sink = subprocess.Popen(
        ["smtp-sink", *user, "-c", f"127.0.0.1:{port}", "4096"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    relay, other = make_relay(folder, port), make_relay(folder, port)
    here = api_address(relay)
    victims = {"alone": None, "elsewhere": api_address(other), "here": here}

    def delivered():
        while True:  # the limit on connections may have been reached
            try:
                return json.loads(get(here, "/v1/stats"))["totals"]["delivered"]
            except ConnectionError:
                time.sleep(0.02)

    def slice_of(victim):
        stop = threading.Event()
        threads = crowd(victim, stop) if victim else []
        time.sleep(settle)
        start, began, used = delivered(), time.perf_counter(), cpu(relay)
        time.sleep(2)
        count, seconds, used = delivered() - start, time.perf_counter() - began, cpu(relay) - used
        stop.set()
        for thread in threads:
            thread.join()
        return count / seconds, used / count

    results = []
    try:
        wait_listening(("127.0.0.1", port))
        flow = source(relay, 100_000_000)
        time.sleep(3)
        for _ in range(rounds):
            seen = {name: [] for name in victims}
            for name in [*victims, *reversed(victims)]:
                seen[name].append(slice_of(victims[name]))
            results.append({name: tuple(sum(pair) / 2 for pair in zip(*pairs)) for name, pairs in seen.items()})
            assert flow.poll() is None, "smtp-source has ended"
        flow.kill()
    finally:
        sink.kill()
        relay.close()
        other.close()

    def fall(name):
        falls = [100 * (1 - result["here"][0] / result[name][0]) for result in results]
        quarters = statistics.quantiles(falls, n=4)
        return {
            "median": round(quarters[1], 2),
            "error": round(0.93 * (quarters[2] - quarters[0]) / len(falls) ** 0.5, 2),
        }

    def middle(place):
        return {name: round(statistics.median(result[name][place] for result in results), 1) for name in victims}

    return {
        "rounds": rounds,
        "delivered_per_s": middle(0),
        "cpu_us_per_message": middle(1),
        "fall_percent": {name: fall(name) for name in ("alone", "elsewhere")},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["queue", "hostile", "pages", "polls", "readers"])
    parser.add_argument("-n", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"queue": (queue, 100_000), "hostile": (hostile, 20), "pages": (pages, 20)}
        kinds |= {"polls": (polls, 20), "readers": (readers, 20)}
        measure, count = kinds[given.what]
        result = measure(folder, given.n or count)
        print(json.dumps(result))
        # A measure that is too rough to tell proves nothing.
        falls, most = result.get("fall_percent", {}), 5 if given.what == "hostile" else 2
        # Beside nobody at all, the own use of those who look on is in it, which is not the relay's: told, and not judged.
        judged = falls.values() if given.what == "hostile" else [falls["elsewhere"]] if falls else []
        return any(fall["median"] + 2 * fall["error"] > most for fall in judged)


if __name__ == "__main__":
    sys.exit(main())
