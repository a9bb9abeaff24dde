"""test_cluster_trials.py - a database that does not do what it should: each way has an answer, and is over by itself.

The same is asked of every way: mail is refused within `commit` and none is taken without a commit, nothing spins, `/readyz` says so and
does not take it back, it ends without anybody's help, nothing is lost, and nothing is told twice.
"""

import contextlib
import json
import random
import subprocess
import threading
import time

import pytest
from api import Api
from harness import SOAK
from ledger import Ledger, LedgerSink, Load, submit, try_one
from postgres import Cutter, Postgres
from test_cluster import database, drained, make_node, tool  # noqa: F401
from test_system import clock  # noqa: F401
from waiting import PATIENCE, wait_until

ADMIN = {"admin.ini": "listen = 127.0.0.1:0\n"}
COMMIT = 3


class Trial:
    """A node whose mail is taken and delivered, and a way to trouble its database."""

    def __init__(self, make_node, database, lab, closing, **keys):  # noqa: F811
        self.lab, self.database, self.ledger = lab, database, Ledger()
        sink = closing(LedgerSink(lab, self.ledger)).start()
        keys = {"commit": f"{COMMIT}s", **keys}
        self.relay = make_node("a", keys=keys, routes={"*": sink.address}, files=ADMIN, me="a.test")
        self.api = Api(self.relay)
        self.refused = []
        submit(lab, self.ledger, self.relay, [self.ledger.make() for _ in range(20)])

    def ready(self):
        return self.api.ask("GET", "/readyz")[0] == 200

    def refuses(self, code):
        """A message is refused with this, in time; it is not to be delivered any more."""
        mail = self.ledger.make(20_000)
        began = time.monotonic()
        reply = try_one(self.lab, self.ledger, self.relay, mail, timeout=60)
        assert reply and reply.startswith(code), reply
        assert time.monotonic() - began < (COMMIT + 5) * PATIENCE
        self.refused.append(mail.token)

    def lasts(self, code, seconds=4):
        """While it goes on: refusals, never ready, and no more transactions than a node at rest has and some."""
        self.refuses(code)
        wait_until(lambda: not self.ready(), 20, "not ready")
        before, began = self.database.transactions(), time.monotonic()
        while time.monotonic() - began < seconds:
            assert not self.ready(), "it says that it is ready, and refuses mail"
            self.refuses(code)
            time.sleep(0.3)
        rate = (self.database.transactions() - before) / (time.monotonic() - began)
        print(f"\n{rate:.0f} transactions a second meanwhile")
        assert rate < 100

    def connections(self):
        return self.database.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'martlet'")

    def is_over(self):
        """Ready again, mail goes, nothing that was refused is delivered, and history tells of each once."""
        wait_until(self.ready, 60, "ready again")
        submit(self.lab, self.ledger, self.relay, [self.ledger.make() for _ in range(20)])
        self.ledger.wait_delivered(60 * PATIENCE)
        drained(self.database)
        self.ledger.check(duplicates=0)
        assert not [key for key in self.ledger.delivered if key[0] in self.refused]
        told = wait_until(self.told, 30, "an event for each")
        assert len(told) == len(set(told)), "an event is there twice"

    def told(self):
        text = tool(self.relay, "events", "--after", "0", "--limit", "100000", "--json", "--type", "delivery.delivered")
        found = [json.loads(line)["data"] for line in text.splitlines() if line]
        told = [(event["message_id"], event["recipient"]) for event in found]
        return told if len(set(told)) >= len(self.ledger.acknowledged) else None


@pytest.fixture
def trial(make_node, database, lab, closing):  # noqa: F811
    return Trial(make_node, database, lab, closing)


def test_a_full_disk(closing, make_relay, lab):
    """No page can be had for a table: 452. The disk is one of the server's own, in a mount namespace."""
    database = closing(Postgres(small=60)).start()  # noqa: F811

    def make(name, keys=None, files=None, **how):
        return make_relay(files={"storage.ini": database.ini(name, **(keys or {})), **(files or {})}, **how)

    trial = Trial(make, database, lab, closing)
    database.fill()
    trial.lasts(b"452")
    database.clear()
    trial.is_over()


def test_a_right_that_is_revoked(closing, make_relay, lab):
    """Nobody may insert: 451."""
    database = closing(Postgres()).start()  # noqa: F811
    database.ask("CREATE ROLE martlet LOGIN")
    database.ask("GRANT CREATE ON DATABASE postgres TO martlet")
    uri = database.uri.replace("postgres@", "martlet@")

    def make(name, keys=None, files=None, **how):
        return make_relay(files={"storage.ini": database.ini(name, uri, **(keys or {})), **(files or {})}, **how)

    trial = Trial(make, database, lab, closing)
    database.ask("REVOKE INSERT ON martlet.mail FROM martlet")
    trial.lasts(b"451")
    database.ask("GRANT INSERT ON martlet.mail TO martlet")
    trial.is_over()


def test_read_only_after_a_failover(trial):
    """The server takes no changes: 451, and each try asks for another server, which may be the primary."""
    trial.database.set("default_transaction_read_only", "on")
    trial.lasts(b"451")
    trial.database.set("default_transaction_read_only", "off")
    trial.is_over()


def test_a_commit_that_waits_for_a_standby(trial):
    """No standby confirms: a COMMIT is not answered. 451 in time; what was refused and is committed all the same is ended."""
    trial.database.set("synchronous_standby_names", "nobody")
    trial.lasts(b"451", seconds=12)
    # Each kind of transaction may be left waiting once; none of them a second time.
    assert trial.connections() < 16
    trial.database.set("synchronous_standby_names", "")
    trial.is_over()
    wait_until(lambda: trial.connections() < 10, 30, "what waited to be gone")


def test_a_lock_that_somebody_keeps(trial):
    """A backup tool or a person locks the tables: mail waits as long as `commit`, then 451."""
    held, free = threading.Event(), threading.Event()

    def hold():
        words = trial.database._command("psql", "-X", "-q", "-d", trial.database.uri)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as session:
            session.stdin.write("BEGIN; LOCK TABLE martlet.message IN EXCLUSIVE MODE; SELECT 'locked';\n")
            session.stdin.flush()
            while "locked" not in session.stdout.readline():
                pass
            held.set()
            free.wait(120)
            session.stdin.write("ROLLBACK;\n")

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60)
        trial.lasts(b"451")
        assert trial.connections() < 16
    finally:
        free.set()
        thread.join()
    trial.is_over()


def test_a_connection_that_is_cut_in_every_phase(make_node, database, lab, closing):  # noqa: F811
    """A batch is cut off behind its first message of the protocol, the second, and so on: no 250 without a commit, nothing twice."""
    pick = random.Random(20_261_130)
    # A batch of one message is some twenty messages in both directions; behind them comes what follows it.
    order = [number for number in range(24) for _ in range(20 if SOAK else 2)]
    pick.shuffle(order)
    left = list(order)
    cutter = closing(Cutter(database.port, lambda: left.pop() if left else None, b"COPY martlet.mail"))
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    keys = {"uri": cutter.uri, "commit": "5s"}
    relay = make_node("a", keys=keys, routes={"*": sink.address}, files=ADMIN, me="a.test")
    load = Load(lab, ledger, relay, clients=3, backlog=300, pace=0.01).start()
    wait_until(lambda: not left, 900 if SOAK else 200, lambda: f"all cuts: {cutter.cut} of {len(order)}")
    before = len(ledger.acknowledged)
    wait_until(lambda: len(ledger.acknowledged) > before + 20, 60, "mail that is taken again")
    load.stop()
    wait_until(lambda: Api(relay).ask("GET", "/readyz")[0] == 200, 60, "ready again")
    relay.hup()
    ledger.wait_delivered(90 * PATIENCE)
    print(f"\n{cutter.cut} cuts: {ledger.summary()}")
    assert cutter.cut >= len(order) - 2
    assert not [reply for _, _, reply in load.refusals if not reply.startswith(b"45")]
    drained(database)
    assert not relay.log_lines("others took this node for dead, what waits here is theirs")
    ledger.check(duplicates=0)
    text = tool(relay, "events", "--after", "0", "--limit", "100000", "--json", "--type", "message.accepted")
    ids = [json.loads(line)["data"]["message_id"] for line in text.splitlines() if line]
    assert len(ids) == len(set(ids)), "an event is there twice"


def test_a_clock_that_jumps(make_node, database, lab, closing, clock):  # noqa: F811
    """A day ahead and a day back on one of two nodes under load: leases are judged by the server, so nothing happens."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    first = make_node("a", started=False, routes={"*": sink.address}, me="a.test")
    off = clock(first)
    first.start()
    second = make_node("b", routes={"*": sink.address}, me="b.test")
    loads = [Load(lab, ledger, relay, clients=3, backlog=300, pace=0.01).start() for relay in (first, second)]
    for seconds in (86_400, -86_400, 0):
        off(seconds)
        time.sleep(4)
    for load in loads:
        load.stop()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\nclock: {ledger.summary()}")
    ledger.check(duplicates=0)
    drained(database)
    for relay in (first, second):
        for words in (
            "others took this node for dead, what waits here is theirs",
            "node is gone, others take its mail over",
        ):
            assert not relay.log_lines(words), words


def test_events_of_what_a_node_does_are_once(trial):
    """The database is cut again and again while mail goes: each delivery is told once."""
    load = Load(trial.lab, trial.ledger, trial.relay, clients=3, backlog=200, pace=0.01).start()
    for _ in range(8):
        time.sleep(0.4)
        with contextlib.suppress(AssertionError):
            trial.database.end_backends()
    load.stop()
    trial.is_over()
