#!/usr/bin/env python3
"""onlookers.py - open pages, or readers of the stream of events, without a browser: they ask what a page asks, as often as it does.

  onlookers.py pages ADDRESS      fifty browsers: each reads one stream of the topics of `live.js`, and of events
  onlookers.py polls ADDRESS      the same where browsers have no locks: each polls the topics at the periods of `live.js`
  onlookers.py readers ADDRESS    two hundred streams of every event

Says `ready` when all stand and ends with its standard input. What came is thrown away unread; `-v` tells how much it was.
"""

import argparse
import contextlib
import json
import pathlib
import re
import selectors
import socket
import sys
import time

PAGE = pathlib.Path(__file__).resolve().parents[2] / "Sources/CPage/page/live.js"
HOW_MANY = {"pages": 50, "polls": 50, "readers": 200}


def topics():
    """Seconds between two questions, and the question, of what the first view follows: as the page's own source says."""
    text = PAGE.read_text()
    periods = json.loads(re.sub(r"(\w+):", r'"\1":', re.search(r"PERIOD = (\{.*?\})", text)[1].replace("_", "")))
    paths = dict(re.findall(r"(\w+): \['(/[^']+)'", re.search(r"PATHS = (.*)", text)[1]))
    queries = {"stats": "?top=20", "day": "?step_s=900"}
    return [(periods[name] / 1000, paths[name] + queries.get(name, "")) for name in paths]


def connect(address, number):
    """From an address of its own, as another browser's."""
    return socket.create_connection(address, timeout=20, source_address=(f"127.0.2.{number + 1}", 0))


def followed():
    """What the first view's stream is of, and, as the worst, the view of all that happens."""
    names = re.findall(r"(\w+): \['/", re.search(r"PATHS = (.*)", PAGE.read_text())[1])
    return "/v1/live?" + "".join(f"topic={name}&" for name in names) + "events="


class Stream:
    """One connection that follows what happens."""

    def __init__(self, address, ways, number, path):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nX-Martlet-Page: 1\r\n\r\n"
        # Those who went a moment ago are counted until the relay has looked for them: who is refused comes again.
        for _ in range(100):
            self.socket = connect(address, number)
            with contextlib.suppress(OSError):
                self.socket.sendall(request.encode())
                if b" 200 " in self.socket.recv(4096).split(b"\r\n", 1)[0]:
                    break
            self.socket.close()
            time.sleep(0.1)
        else:
            raise ConnectionError("no stream")
        self.socket.setblocking(False)
        self.bytes = self.reads = 0
        ways.register(self.socket, selectors.EVENT_READ, self.take)

    def take(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the stream ended")
        self.bytes, self.reads = self.bytes + len(data), self.reads + 1


class Polls:
    """A page's questions, one after the other, on a connection that is kept as long as the relay keeps it."""

    def __init__(self, address, ways, number, offset):
        self.address, self.ways, self.number = address, ways, number
        self.due = [[time.monotonic() + offset * period, period, path] for period, path in topics()]
        self.socket, self.path, self.left, self.head = None, None, None, b""
        self.asked = self.refused = self.bytes = 0

    def turn(self, now):
        due = min(self.due)
        if self.path or due[0] > now:
            return
        due[0] = now + due[1]
        self.asked += 1
        self.ask(due[2])

    def ask(self, path):
        if self.socket is None:
            self.socket = connect(self.address, self.number)
            self.socket.setblocking(False)
            self.ways.register(self.socket, selectors.EVENT_READ, self.take)
        self.path, self.left, self.head = path, None, b""
        # A connection that was closed meanwhile says so to `take`, which asks on another one, as a browser does.
        with contextlib.suppress(OSError):
            self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Martlet-Page: 1\r\n\r\n".encode())

    def take(self):
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.ways.unregister(self.socket)
            self.socket.close()
            self.socket, again, self.path = None, self.path, None
            return self.ask(again) if again else None
        self.bytes += len(data)
        if self.left is None:
            self.head += data
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return None
            length = re.search(rb"(?i)content-length: (\d+)", head)
            self.left, data = int(length[1]) if length else 0, body
            self.refused += b" 503 " in head.split(b"\r\n", 1)[0]
        self.left -= len(data)
        if self.left <= 0:
            self.path = None
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=HOW_MANY)
    parser.add_argument("address")
    parser.add_argument("-v", action="store_true")
    given = parser.parse_args()
    host, _, port = given.address.rpartition(":")
    address, count = (host, int(port)), HOW_MANY[given.kind]
    ways = selectors.DefaultSelector()
    path = {"pages": followed(), "readers": "/v1/events"}.get(given.kind)
    streams = [Stream(address, ways, number, path) for number in range(count)] if path else []
    pages = [Polls(address, ways, number, number / count) for number in range(count)] if given.kind == "polls" else []
    ways.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    began = time.monotonic()
    while True:
        for key, _ in ways.select(0.05):
            if key.data is None:
                if given.v:
                    told = {"seconds": round(time.monotonic() - began, 2), "streams": sum(one.bytes for one in streams)}
                    told |= {"reads": sum(one.reads for one in streams), "asked": sum(one.asked for one in pages)}
                    told |= {"refused": sum(one.refused for one in pages)}
                    print(json.dumps(told))
                return
            key.data()
        now = time.monotonic()
        for page in pages:
            page.turn(now)


if __name__ == "__main__":
    main()
