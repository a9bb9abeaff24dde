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


def failing(make_node, lab, closing, names, dot):  # noqa: F811
    """Nodes whose mail to no.test fails, and a next hop for the reports that answers the dot with `dot()`."""
    refuser = closing(LedgerSink(lab, Ledger(), refuse=b"550 5.1.1 nobody")).start()

    async def answer(*_):
        return await asyncio.get_running_loop().run_in_executor(None, dot)

    sink = closing(ScriptedServer({"DOT": answer}))
    routes = {"no.test": refuser.address, "*": sink.address}
    outbound = {"temp_fail_intervals": "1s*100", "lane_rest_max": 1}
    return [make_node(n, me=f"{n}.test", routes=routes, outbound=outbound) for n in names], sink


def fail(relay, token):
    body = b"X-Token: %s\r\nSubject: x\r\n\r\nx\r\n" % token.encode()
    return send_mail(relay, "from@sender.test", ["b@no.test"], body)


def copies(sink, token):
    return [t for t in list(sink.messages) if (found := TOKEN.search(t.data)) and found[1].decode() == token]


def test_the_node_dies_at_the_dot_of_a_report(make_node, database, lab, closing):  # noqa: F811
    """Its end is not noted, so another node sends it again: the same report, not a second one, and none about it."""
    once, relays = threading.Event(), []

    def dot():
        if not once.is_set():
            once.set()
            relays[0].process.kill()
            relays[0].process.wait()
        return b"250 2.0.0 Ok\r\n"

    found, sink = failing(make_node, lab, closing, "ab", dot)
    relays += found
    fail(relays[0], "r-1")
    assert once.wait(60)
    drained(database, 60)
    wait_until(lambda: len(copies(sink, "r-1")) >= 1, 30, "the report")
    assert len(copies(sink, "r-1")) <= 2
    assert {len(names) for names in reports(sink).values()} == {1}
    assert set(reports(sink)) == {"r-1"}


def test_the_database_is_cut_at_the_dot_of_a_report(make_node, database, lab, closing):  # noqa: F811
    """Its end waits for the database and is noted then: one report, one copy of it."""

    def dot():
        database.end_backends()
        return b"250 2.0.0 Ok\r\n"

    relays, sink = failing(make_node, lab, closing, "a", dot)
    for number in range(4):
        fail(relays[0], f"r-{number}")
    wait_until(lambda: len(reports(sink)) == 4, 60 * PATIENCE, "four reports")
    drained(database)
    for number in range(4):
        assert len(copies(sink, f"r-{number}")) == 1
    assert all(len(names) == 1 for names in reports(sink).values())


def test_a_report_that_fails_ends_there(make_node, database, lab, closing):  # noqa: F811
    """A report that is refused for good is not reported, whichever node has it; one that is put off is sent by the other node."""
    answers = iter([b"451 4.2.0 later\r\n", b"554 5.7.1 no\r\n"])
    relays, sink = failing(make_node, lab, closing, "ab", lambda: next(answers, b"554 5.7.1 no\r\n"))
    fail(relays[0], "r-9")
    relays[0].wait_log("delivery deferred")
    relays[0].stop()
    relays[1].wait_log("mail taken over from nodes that are gone", timeout=30)
    drained(database, 60)
    assert len({name for names in reports(sink).values() for name in names}) <= 1
    assert not relays[1].log_lines("report withdrawn, its message is another node's")
