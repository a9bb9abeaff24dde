"""test_hostile.py — remote servers that misbehave in every way at every stage (A1–A7, A11, A12).

Each row of `hostile_table` has a peer, a domain and a message of its own; a family of rows shares one relay. Every recipient
must be classified as its row says, nothing may count as delivered that the peer did not take, each failure is reported
once, and when the peers have become honest every deferred recipient is delivered with at most one extra copy.
"""

import contextlib
import re
import threading
import time

import pytest
import reports
from harness import Relay
from hostile_table import BOUNCE, DEFER, FAILED, FALLBACK, FAMILIES, OK, UNSURE
from scripted import ScriptedServer, Sink
from smtp_client import SmtpClient
from waiting import wait_until

FIRST = {
    OK: {"delivered"},
    DEFER: {"deferred"},
    BOUNCE: {"bounced"},
    FAILED: {"deferred", "bounced"},
    UNSURE: {"delivered", "deferred"},
    FALLBACK: {"delivered", "deferred"},
}
EVENTS = {"delivered": "delivered", "delivery deferred": "deferred", "bounced": "bounced"}
OUTBOUND = {
    "temp_fail_intervals": "3s, 1s*60",
    "lane_rest_max": 1,
    "concurrency_max": 2000,
    "concurrency_per_lane": 1,
    "connect_timeout": 3,
    "greeting_timeout": 3,
    "helo_timeout": 3,
    "mail_timeout": 3,
    "rcpt_timeout": 3,
    "data_init_timeout": 3,
    "data_block_timeout": 3,
    "data_done_timeout": 3,
    "quit_timeout": 1,
    "transaction_deadline": 8,
    "pool_timeout": 1,
}
MEMORY = 400 << 20  # bytes resident at most, whatever the peers pour in
FLOOD = 24 << 20  # octets that one peer gets rid of at most: our caps plus the kernel's buffers


class Case:
    """One row while it runs."""

    def __init__(self, row, family, number, peer):
        self.row, self.peer = row, peer
        self.domain = f"{family}-{number:03}.test"
        self.sender = f"{family}-{number:03}@report.test"
        self.recipients = [f"u{n}@{self.domain}" for n in range(row.recipients)]
        self.ids = []
        self.marks = []
        self.events = {}  # (id, recipient) -> [event]
        self.lines = {}

    def content(self, mark):
        padding = b"".join(b"%070d\r\n" % n for n in range(self.row.body // 72))
        return b"From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nX-Mark: %s\r\n\r\n.dots\r\n..\r\n%sthe end of %s\r\n" % (
            self.sender.encode(),
            self.recipients[0].encode(),
            mark.encode(),
            mark.encode(),
            padding,
            mark.encode(),
        )

    @property
    def keys(self):
        return [(i, r) for i in self.ids for r in self.recipients]

    @property
    def is_classified(self):
        return all(self.events.get(key) for key in self.keys)

    @property
    def is_settled(self):
        return all({"delivered", "bounced"} & set(self.events.get(key, ())) for key in self.keys)

    def wanted(self, key):
        number = self.ids.index(key[0])
        if number and self.row.second:
            return self.row.second if isinstance(self.row.second, str) else self.row.second[number - 1]
        return self.row.expected(self.recipients.index(key[1]))


class Watcher(threading.Thread):
    """Reads the log while the table runs; makes a peer honest as soon as its row is classified."""

    def __init__(self, relay, cases):
        super().__init__(daemon=True)
        self.relay, self.cases, self.seen, self.ended = relay, cases, 0, False
        self.by_id = {}

    def run(self):
        while not self.ended:
            self.look()
            time.sleep(0.02)

    def look(self):
        lines = self.relay.log
        for line in lines[self.seen :]:
            event = EVENTS.get(line.message)
            case = self.by_id.get(line["id"])
            if event and case:
                for recipient in re.split(r"[,\s]+", line["to"] or ""):
                    key = (line["id"], recipient.strip("<>"))
                    case.events.setdefault(key, []).append(event)
                    case.lines.setdefault(key, []).append(line.raw)
        self.seen = len(lines)
        for case in self.cases:
            if case.peer.script and case.is_classified:
                case.peer.heal()


def submit(relay, watcher, cases):
    with SmtpClient(relay.address, timeout=60) as client:
        client.expect(220)
        client.ehlo()
        for case in cases:
            for number in range(case.row.messages):
                mark = f"{case.sender.split('@')[0]}-{number}"
                queue_id = client.message(case.sender, case.recipients, case.content(mark))
                case.marks.append(mark)
                case.ids.append(queue_id)
                watcher.by_id[queue_id] = case
        client.quit()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_behaviour_is_classified(family, tmp_path):
    rows = FAMILIES[family]()
    problems = []
    with contextlib.ExitStack() as peers:
        sink = peers.enter_context(Sink())
        cases = []
        for number, row in enumerate(rows):
            peer = ScriptedServer(row.script, lmtp=row.lmtp, capabilities=row.keywords, port=0)
            cases.append(Case(row, family, number, peers.enter_context(peer)))
        routes = {case.domain: case.peer.route for case in cases}
        routes["report.test"] = sink.route
        # Sessions with several messages need them all at once, or nothing would follow a dot.
        outbound = {**OUTBOUND, "disabled": family in ("pipeline", "counting")}
        relay = Relay(tmp_path, routes=routes, outbound=outbound, log_format="text" if family == "text" else "json")
        with relay:
            watcher = Watcher(relay, cases)
            submit(relay, watcher, cases)
            watcher.start()
            relay.outbound["disabled"] = False
            relay.write_config()
            try:
                wait_until(lambda: all(case.is_classified for case in cases), 40, "classification", 0.05)
                wait_until(lambda: all(case.is_settled for case in cases), 40, "settlement", 0.05)
                ids = [i for case in cases for i in case.ids]
                wait_until(
                    lambda: {line["id"] for line in relay.log_lines("message finished")} >= set(ids), 5, "ends", 0.05
                )
            except AssertionError as error:
                problems.append(str(error))
            failed = {case.sender for case in cases for events in case.events.values() if "bounced" in events}
            try:
                wait_until(
                    lambda: {m.recipients[0] for m in sink.messages if m.recipients} >= failed, 10, "reports", 0.05
                )
            except AssertionError as error:
                problems.append(str(error))
            memory = relay.rss_peak
            watcher.ended = True
            watcher.join()
            watcher.look()
            assert relay.is_running, relay.log_tail()
            relay.stop(timeout=30)
        for case in cases:
            problems += examine(case, sink)
        problems += examine_log(relay, cases)
        if memory > MEMORY:
            problems.append(f"resident memory reached {memory >> 20} MiB")
    assert not problems, f"{len(problems)} problems in {len(rows)} rows:\n" + "\n".join(problems)


def examine(case, sink):
    """Everything that is wrong with one row, in words."""
    row, peer, problems = case.row, case.peer, []

    def problem(text, key=None):
        more = "".join(f"\n      {line}" for line in case.lines.get(key, [])[:3])
        problems.append(f"  [{row.name}] {text}{more}")

    marks = dict(zip(case.ids, case.marks))
    for key in case.keys:
        events = case.events.get(key, [])
        wanted = case.wanted(key)
        if not events:
            problem(f"{key[1]} unaccounted for")
            continue
        if events[0] not in FIRST[wanted]:
            problem(f"{key[1]} wanted {wanted}, first event {events[0]}", key)
        ends = [e for e in events if e != "deferred"]
        if len(ends) != 1:
            problem(f"{key[1]} ended {len(ends)} times: {events}", key)
        came = [t for t in peer.transactions if t.mark == marks[key[0]]]
        taken = sum(t.accepted.count(key[1]) for t in came)
        copies = taken + sum(t.doubtful.count(key[1]) for t in came)
        if "delivered" in ends and not taken:
            problem(f"{key[1]} counted as delivered, but the peer never took it", key)
        # Where a session carries several messages, the first may be tried again before the last is classified.
        doubts = events.count("deferred") if row.messages > 1 else min(1, events.count("deferred"))
        if copies > 1 + doubts:
            problem(f"{key[1]} got {copies} copies, events {events}", key)
    attempts = sum(max(len(case.events.get((i, r), ())) for r in case.recipients) for i in case.ids)
    if peer.connections > (row.connections or 2 * attempts + 1):
        problem(f"{peer.connections} connections for {len(case.ids)} messages in {attempts} attempts")
    whole = {mark: case.content(mark) for mark in case.marks}
    for message in peer.transactions:
        if not message.data:
            continue  # the lone dot after a DATA that should not have been accepted
        if message.mark not in whole:
            problem(f"an unknown or partial message arrived: {message.data[-200:]!r}")
        elif not message.data.endswith(whole[message.mark]):
            problem(f"content changed, it ends with {message.data[-80:]!r}")
    if peer.flooded > FLOOD:
        problem(f"{peer.flooded >> 20} MiB were read from a flooding peer")
    bounced = sorted(key[1] for key, events in case.events.items() if "bounced" in events)
    arrived = [m for m in sink.messages if m.recipients == [case.sender]]
    named = []
    for message in arrived:
        if message.sender:
            problem(f"report with the sender {message.sender!r}")
        try:
            report = reports.parse(message.data)
            named += report.failed
            reports.check(report, small=row.body < 10_000)
            if row.hostile_text:
                reports.check_unharmed(report)
        except AssertionError as error:
            problem(f"report: {error}")
    if sorted(named) != bounced:
        problem(f"bounced {bounced}, reports name {sorted(named)}")
    if row.expect == BOUNCE and row.messages == 1 and len(arrived) != 1:
        problem(f"{len(arrived)} reports for one set of failed recipients")
    return problems


def examine_log(relay, cases):
    problems = []
    wanted = {i for case in cases for i in case.ids}
    accepted, finished = {}, {}
    for line in relay.log:
        if not line.message:
            problems.append(f"  unreadable log line {line.raw[:200]!r}")
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line.raw):
            problems.append(f"  control character in the log: {line.raw[:200]!r}")
        if len(line.raw) > 8192:
            problems.append(f"  log line of {len(line.raw)} octets")
        if line.level in ("error", "critical"):
            problems.append(f"  a peer made us say {line.raw[:200]!r}")
        for message, count in (("message accepted", accepted), ("message finished", finished)):
            if line.message == message and line["id"] in wanted:
                count[line["id"]] = count.get(line["id"], 0) + 1
    for name, count in (("accepted", accepted), ("finished", finished)):
        wrong = {i: count.get(i, 0) for i in wanted if count.get(i, 0) != 1}
        if wrong:
            problems.append(f"  'message {name}' not exactly once: {dict(list(wrong.items())[:5])}")
    return problems


def test_the_table_is_large_enough():
    assert sum(len(family()) for family in FAMILIES.values()) >= 200


def test_refused_connection_is_deferred_and_heals(make_relay, make_server):
    server = make_server(listening=False)
    relay = make_relay(routes={"*": server.route}, outbound={"temp_fail_intervals": "1s*60", "lane_rest_max": 1})
    with relay.session() as client:
        queue_id = client.message("a@a.test", "b@b.test", b"Subject: x\r\n\r\nx\r\n")
    line = relay.wait_log("delivery deferred", id=queue_id)
    assert line["to"] == "b@b.test"
    server.listen()
    server.wait_for(1)
    relay.wait_log("delivered", id=queue_id)
    relay.wait_log("message finished", id=queue_id)
    assert server.copies() == {"b@b.test": 1}
