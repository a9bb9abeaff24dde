"""test_cluster_reports.py - several relays over one queue: the report of a failure and the failure are one transaction."""

import asyncio
import collections
import random
import re
import threading
import time

from harness import SOAK
from ledger import Ledger, LedgerSink, Load, start_anew
from scripted import ScriptedServer, Sink
from smtp_client import send_mail
from test_cluster import database, drained, make_node, tool, waiting  # noqa: F401
from waiting import PATIENCE, free_port, wait_until

MESSAGE_ID = re.compile(rb"^Message-ID: *(<[^>]+>)", re.M | re.I)
TOKEN = re.compile(rb"^X-Token: ([0-9a-z-]+)", re.M)


def reports(sink):
    """{token of what failed: {Message-ID of each report about it}}"""
    found = collections.defaultdict(set)
    for transaction in list(sink.messages):
        head, _, rest = transaction.data.partition(b"\r\n\r\n")
        token, name = TOKEN.search(rest), MESSAGE_ID.search(head)
        if token and name:
            found[token[1].decode()].add(name[1])
    return found


def test_a_report_is_written_once(make_node, database, lab, closing):  # noqa: F811
    """Two nodes are killed while all mail fails for good: of each message there is one report, none is missing and none is two."""
    ledger = Ledger()
    refuser = closing(LedgerSink(lab, ledger, refuse=b"550 5.1.1 nobody")).start()
    sink = closing(Sink())
    relays = [
        make_node(n, me=f"{n}.test", routes={"no.test": refuser.address, "*": sink.address}, started=False)
        for n in "ab"
    ]
    for relay in relays:
        start_anew(relay)
    loads = [Load(lab, ledger, relay, clients=4, domains=("no.test",), pace=0.01).start() for relay in relays]
    pick, cycles = random.Random(ledger.seed), 50 if SOAK else 6
    for number in range(cycles):
        relay = relays[number % 2]
        time.sleep(pick.uniform(0.3, 1.0))
        relay.process.kill()
        relay.process.wait()
        time.sleep(12 if number == 3 else pick.uniform(0, 0.3))
        start_anew(relay)
    for load in loads:
        load.stop()
    drained(database, 120)
    known = set(ledger.acknowledged)
    wait_until(lambda: known <= set(reports(sink)), 30 * PATIENCE, "a report about every message")
    twice = {token: names for token, names in reports(sink).items() if len(names) > 1}
    print(f"\n{cycles} kills: {len(known)} failures acknowledged, {len(twice)} reported twice")
    assert not twice, twice


def test_a_report_waits_for_the_database(make_node, database, closing):  # noqa: F811
    """The database dies at the moment of the failure: the report goes out once it is back, once, and nothing is lost."""
    away = threading.Event()

    async def refuse(*_):
        while not away.is_set():
            await asyncio.sleep(0.02)
        return b"550 5.1.1 nobody\r\n"

    peer = closing(ScriptedServer({"RCPT": refuse}))
    sink = closing(Sink())
    relay = make_node("a", keys={"commit": "2s"}, routes={"no.test": peer.address, "*": sink.address}, me="a.test")
    for number in range(5):
        body = b"X-Token: t-%d\r\nSubject: x\r\n\r\nx\r\n" % number
        send_mail(relay, "from@sender.test", ["b@no.test"], body)
    wait_until(lambda: len(peer.sessions) == 5, 30, "five sessions in flight")
    database.stop()
    relay.wait_log("database is away, mail waits or is refused for now")
    away.set()
    wait_until(lambda: len(relay.log_lines("bounced")) == 5, 30, "five failures")
    database.start()
    wait_until(lambda: len(reports(sink)) == 5, 60 * PATIENCE, "five reports")
    drained(database)
    assert all(len(names) == 1 for names in reports(sink).values())


def test_holds_are_rows_of_their_messages(make_node, database, closing):  # noqa: F811
    """Holds, new words for one, and releases are written one by one, and stand after kill -9 as they were said."""
    port = free_port()
    relay = make_node("a", routes={"*": ("127.0.0.1", port)}, outbound={"temp_fail_intervals": "1h*10"})
    ids = [send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: %d\r\n\r\nx\r\n" % n) for n in range(4)]
    for number in ids[:3]:
        tool(relay, "queue", "hold", number, "--because", "first")
    assert database.number("SELECT count(*) FROM martlet.hold") == 3
    tool(relay, "queue", "hold", ids[0], "--because", "again")
    tool(relay, "queue", "release", ids[1])
    assert database.number("SELECT count(*) FROM martlet.hold") == 2
    relay.process.kill()
    relay.process.wait()
    relay.start()
    assert "again" in tool(relay, "queue", "show", ids[0])
    assert "first" in tool(relay, "queue", "show", ids[2])
    sink = closing(Sink(port=port))
    relay.hup()
    sink.wait_for(2)
    wait_until(lambda: waiting(database) == 2, 30, "everything but what is held")
