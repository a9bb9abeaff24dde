"""test_cluster.py - one queue in PostgreSQL: what one relay promises with it, and several."""

import json
import random
import subprocess
import time

import pytest
import yaml
from api import Api
from harness import MARTLET, ROOT, SOAK, environment
from ledger import Ledger, LedgerSink, Load, crashed, start_anew, submit, try_one
from postgres import Pooler, Postgres
from scripted import Sink
from smtp_client import send_mail
from waiting import PATIENCE, free_port, wait_until


@pytest.fixture
def database(closing):
    return closing(Postgres()).start()


@pytest.fixture
def make_node(make_relay, database):
    """`make_node("a", routes=…)` is a relay that shares the queue."""

    def make(name, keys=None, files=None, **how):
        files = {"storage.ini": database.ini(name, **(keys or {})), **(files or {})}
        return make_relay(files=files, **how)

    return make


def tool(relay, *arguments):
    command = [relay.binary, *arguments, "--data", str(relay.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment()).stdout


def delivered(relay):
    text = tool(relay, "events", "--after", "0", "--limit", "100000", "--json", "--type", "delivery.delivered")
    return [json.loads(line) for line in text.splitlines() if line]


def waiting(database):
    return database.number("SELECT count(*) FROM martlet.message")


def drained(database, seconds=60):
    wait_until(lambda: waiting(database) == 0, seconds * PATIENCE, "an empty queue")


def test_mail_goes_through_the_database(make_node, database, sink):
    """One message, one of 700 kB, one of 3 MB: they come in, are rows, and leave as they came."""
    relay = make_node("a", routes={"*": sink.address}, smtp={"memory_for_mail": "64M"})
    for size in (20, 700_000, 3_000_000):
        body = b"Subject: size %d\r\n\r\n" % size + b"0123456789abcdef\r\n" * (size // 18) + b"end\r\n"
        send_mail(relay, "a@a.test", ["b@b.test"], body)
    sink.wait_for(3)
    for message in sink.messages:
        assert message.data.endswith(b"end\r\n")
    drained(database)
    assert database.ask("SELECT name FROM martlet.node WHERE NOT is_dead") == "a"
    relay.stop()
    assert database.number("SELECT count(*) FROM martlet.node WHERE NOT is_dead") == 0


def test_what_waits_survives_and_is_read_back(make_node, database, closing):
    """Deferred mail, a long body and a hold come back after kill -9 with their state, from the rows alone."""
    port = free_port()
    outbound = {"temp_fail_intervals": "1h*10", "bounce_grace": "1h"}
    relay = make_node("a", routes={"*": ("127.0.0.1", port)}, outbound=outbound)
    sent = []
    for size in (10, 2_500_000):
        body = b"Subject: %d\r\n\r\n" % size + b"line of text, line of text\r\n" * (size // 28) + b"end\r\n"
        sent.append(send_mail(relay, "a@a.test", ["b@b.test"], body))
    wait_until(
        lambda: database.number("SELECT count(*) FROM martlet.message WHERE state IS NOT NULL") == 2, what="states"
    )
    held = send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: held\r\n\r\nend\r\n")
    dying = send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: dying\r\n\r\nend\r\n")
    for message in (held, dying):
        tool(relay, "queue", "hold", message)
        wait_until(lambda: message in tool(relay, "queue", "list", "--state", "held"), what=f"{message} to be held")
    tool(relay, "queue", "remove", dying, "--dsn")
    relay.process.kill()
    relay.process.wait()
    relay.start()
    assert waiting(database) == 4
    assert dying in tool(relay, "queue", "list", "--state", "dying")
    sink = closing(Sink(port=port))
    relay.hup()
    sink.wait_for(2)
    wait_until(lambda: waiting(database) == 2, 30, "everything but what is held, or is to bounce")
    assert all(m.data.endswith(b"end\r\n") for m in sink.messages)
    assert sorted(m.data.count(b"line of text") // 2 for m in sink.messages) == [0, 2_500_000 // 28]
    tool(relay, "queue", "revive", dying)
    assert dying in tool(relay, "queue", "list", "--state", "held"), "it was held before"
    tool(relay, "queue", "release", held, dying)
    # It may have been tried before it was held, and wait for its time.
    relay.hup()
    sink.wait_for(4)
    drained(database)


def nodes(make_node, lab, closing, count, **sink_how):
    """So many relays with one next hop, whose ledger knows by EHLO which process sent what."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, **sink_how)).start()
    relays = [
        make_node(name, started=False, routes={"*": sink.address}, me=f"{name}-0.test") for name in "abcdefgh"[:count]
    ]
    for relay in relays:
        start_anew(relay)
    return ledger, relays


def once_by_each(ledger):
    """Each copy of a message that went twice is another process's: no failure makes three of one."""
    for key, copies in ledger.duplicates:
        assert len({by for _, _, by in copies}) == len(copies), (key, copies)


def test_one_node_killed_under_load(make_node, database, lab, closing):
    """kill -9 and start again, the same node and queue: nothing lost, no more copies than were in flight."""
    ledger, [relay] = nodes(make_node, lab, closing, 1)
    load = Load(lab, ledger, relay, large=0.01, abandon=0.02, domains=("a.test", "b.test")).start()
    pick, cycles = random.Random(ledger.seed), 50 if SOAK else 5
    for number in range(cycles):
        time.sleep(pick.uniform(0.2, 1.2))
        relay.process.kill()
        relay.process.wait()
        relay.write("me", f"a-{number + 1}.test\n")
        start_anew(relay)
    load.stop()
    relay.hup()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\n{cycles} kills: {ledger.summary()}")
    ledger.check(duplicates=cycles * 100)
    once_by_each(ledger)
    drained(database)
    assert crashed(relay) == []


def test_three_nodes_killed_at_random(make_node, database, lab, closing):
    """Whoever dies, the others take its mail over and go on; who returns takes part again."""
    ledger, relays = nodes(make_node, lab, closing, 3)
    loads = [Load(lab, ledger, relay, clients=3, backlog=500, pace=0.01).start() for relay in relays]
    pick, cycles = random.Random(ledger.seed), 150 if SOAK else 6
    for number in range(cycles):
        relay = pick.choice(relays)
        time.sleep(pick.uniform(0.3, 1.5))
        relay.process.kill()
        relay.process.wait()
        # Now and then it stays away for longer than its lease.
        time.sleep(11 if number % 5 == 2 else pick.uniform(0, 0.5))
        relay.write("me", f"{relay.me.split('-')[0]}-{number + 1}.test\n")
        start_anew(relay)
    for load in loads:
        load.stop()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\n{cycles} kills of 3 nodes: {ledger.summary()}")
    ledger.check(duplicates=cycles * 60)
    once_by_each(ledger)
    drained(database)


def test_a_dead_node_is_taken_over(make_node, database, lab, closing):
    """What waits on a node that dies goes out from another within 15 s, with its holds."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"routes": {"*": sink.address}, "outbound": {"temp_fail_intervals": "2s*100", "lane_rest_max": 1}}
    first, second = (make_node(name, me=f"{name}.test", **how) for name in "ab")
    submit(lab, ledger, first, [ledger.make() for _ in range(300)])
    assert waiting(database) == 300
    first.process.kill()
    first.process.wait()
    died = time.monotonic()
    sink.start()
    ledger.wait_delivered(40 * PATIENCE)
    took = time.monotonic() - died
    print(f"\ntaken over and delivered in {took:.1f} s")
    assert took < 15 * PATIENCE
    ledger.check(duplicates=0)
    assert {copies[0][2] for copies in ledger.delivered.values()} == {"b.test"}
    second.wait_log("node is gone, others take its mail over")
    second.wait_log("mail taken over from nodes that are gone")
    wait_until(lambda: len(delivered(second)) == 300, 30, "the events")
    assert all(e["data"]["sender"] == "from@sender.test" and e["data"]["recipient"] for e in delivered(second))

    def told():
        text = tool(second, "events", "--after", "0", "--limit", "100000", "--json")
        return [e for e in map(json.loads, filter(None, text.splitlines())) if e["type"].startswith("node.")]

    def taken_over():
        return sum(e["data"]["count"] for e in told() if e["type"] == "node.taken_over")

    # What is delivered may be told before that it was taken over.
    wait_until(lambda: taken_over() == 300, 30, lambda: f"word of the takeover: {told()}")
    words = [(e["type"], e["data"].get("subject")) for e in told()]
    assert words[:2] == [("node.joined", "b"), ("node.left", "a")], words


def test_clean_stop_gives_mail_away(make_node, database, lab, closing):
    """SIGTERM under load: no copy too many, and what waited is delivered by the other within seconds."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=0.05)).start()
    how = {"routes": {"*": sink.address}, "outbound": {"concurrency_per_lane": 3, "concurrency_max": 3}}
    first, _ = (make_node(name, me=f"{name}.test", **how) for name in "ab")
    submit(lab, ledger, first, [ledger.make() for _ in range(400)])
    assert len(ledger.waiting) > 100
    first.stop()
    stopped = time.monotonic()
    wait_until(
        lambda: any("b.test" == c[-1][2] for c in ledger.delivered.copy().values()), 10, "a delivery by the other"
    )
    assert time.monotonic() - stopped < 5 * PATIENCE
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)
    drained(database)


def test_a_zombie_does_nothing(make_node, database, lab, closing):
    """A node that stands still for longer than its lease was given up; when it goes on, it begins nothing that is others'."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=0.05)).start()
    how = {"routes": {"*": sink.address}, "outbound": {"concurrency_per_lane": 5, "concurrency_max": 5}}
    first, second = (make_node(name, me=f"{name}.test", **how) for name in "ab")
    submit(lab, ledger, first, [ledger.make() for _ in range(1500)])
    first.signal(19)  # SIGSTOP
    try:
        second.wait_log("mail taken over from nodes that are gone", timeout=30)
    finally:
        first.signal(18)  # SIGCONT
    first.wait_log("others took this node for dead, what waits here is theirs")
    ledger.wait_delivered(120 * PATIENCE)
    print(f"\nzombie: {ledger.summary()}")
    # Five sessions, each with a dot that is not answered and commands of the next message behind it.
    ledger.check(duplicates=2 * 5)
    drained(database)
    # It is a node like any other again.
    submit(lab, ledger, first, [ledger.make() for _ in range(10)])
    ledger.wait_delivered(60)


def test_no_two_nodes_of_one_name(make_node, database, sink):
    make_node("same", routes={"*": sink.address})
    other = make_node("same", started=False, routes={"*": sink.address})
    other.start(wait=False)
    assert other.process.wait(30) == 1
    assert "another process is node same of this queue" in other.log_tail()
    other.process = None


def test_newer_tables_refuse_the_start(make_node, database, sink):
    """`martlet storage migrate` makes them; what a newer martlet made is left alone."""
    relay = make_node("a", keys={"migrate": "false"}, started=False, routes={"*": sink.address})
    relay.start(wait=False)
    assert relay.process.wait(30) == 1
    assert "run: martlet storage migrate" in relay.log_tail()

    def migrate():
        command = [relay.binary, "storage", "migrate", "--config", str(relay.config)]
        return subprocess.run(command, capture_output=True, text=True, env=environment())

    assert migrate().stdout == "version 0 became version 3\n"
    assert migrate().stdout == "version 3: nothing to do\n"
    relay.start()
    relay.stop()
    database.ask("UPDATE martlet.schema SET version = 99")
    relay.start(wait=False)
    assert relay.process.wait(30) == 1
    assert "made by a newer martlet" in relay.log_tail()
    assert migrate().returncode == 1
    relay.process = None


def test_database_away_and_back(make_node, database, lab, closing):
    """Killed, stopped, its connections cut, under load: 451 or an answer to come, never a 250 without a commit."""
    ledger, [relay] = nodes(make_node, lab, closing, 1)
    relay.write("storage.ini", database.ini("a", commit="2s"))
    relay.stop()
    start_anew(relay)
    load = Load(lab, ledger, relay, clients=6, backlog=300).start()
    for _ in range(20 if SOAK else 2):
        time.sleep(0.7)
        database.end_backends()
        time.sleep(0.7)
        database.kill()
        time.sleep(0.5)
        database.start()
        time.sleep(0.5)
        database.stop()
        wait_until(lambda: any(stage == "dot" for _, stage, _ in load.refusals), 30, "a message that is refused")
        database.start()
        load.refusals.clear()
    load.stop()
    relay.hup()
    ledger.wait_delivered(90 * PATIENCE)
    print(f"\ndatabase away: {ledger.summary()}")
    ledger.check()
    once_by_each(ledger)
    assert not [r for r in load.refusals if not r[2].startswith(b"45")]
    relay.wait_log("database is back")
    drained(database)


def test_readiness_follows_the_database(make_node, database, make_api, sink):
    relay = make_node(
        "a", routes={"*": sink.address}, files={"admin.ini": "listen = 127.0.0.1:0\n"}, keys={"commit": "2s"}
    )
    api = Api(relay)
    assert api.ask("GET", "/readyz")[0] == 200
    database.stop()
    wait_until(lambda: api.ask("GET", "/readyz")[0] == 503, 30, "not ready")
    database.start()
    wait_until(lambda: api.ask("GET", "/readyz")[0] == 200, 30, "ready again")


def test_events_stand_in_the_same_transaction(make_node, database, sink):
    """Each node follows its own journal: every event once, also when it is killed in between, and the rows go."""
    relay = make_node("a", routes={"*": sink.address})
    for number in range(40):
        send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: %d\r\n\r\nx\r\n" % number)
        if number == 20:
            relay.process.kill()
            relay.process.wait()
            relay.start()
    drained(database)

    def finished():
        text = tool(relay, "events", "--after", "0", "--limit", "100000", "--json")
        events = [json.loads(line) for line in text.splitlines() if line]
        return events if sum(e["type"] == "message.finished" for e in events) >= 40 else None

    events = wait_until(finished, 30, "the end of every message")
    for kind in ("message.accepted", "message.finished"):
        ids = [e["data"]["message_id"] for e in events if e["type"] == kind]
        assert len(ids) == len(set(ids)) == 40, (kind, len(ids))
    relay.stop()
    assert database.number("SELECT count(*) FROM martlet.journal") <= 400


def test_nodes_are_listed_and_drained(make_node, database, lab, closing):
    """Any node tells of all; one that is drained takes nothing and gives what waits away, until it is resumed."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"routes": {"*": sink.address}, "outbound": {"temp_fail_intervals": "2s*100", "lane_rest_max": 1}}
    how["files"] = {"admin.ini": "listen = 127.0.0.1:0\n"}
    first, second = (make_node(name, me=f"{name}.test", **how) for name in "ab")
    submit(lab, ledger, first, [ledger.make() for _ in range(50)])
    status, _, page = Api(second).ask("GET", "/v1/nodes")
    assert status == 200 and page["total"] == 2
    assert [(n["name"], n["state"], n["is_this"], n["messages"]) for n in page["items"]] == [
        ("b", "alive", True, 0),
        ("a", "alive", False, 50),
    ]
    assert Api(second).ask("POST", "/v1/nodes/nobody/drain")[0] == 404
    status, _, node = Api(second).ask("POST", "/v1/nodes/a/drain")
    assert (status, node["name"], node["state"]) == (200, "a", "draining")
    wait_until(lambda: Api(second).ask("GET", "/v1/nodes")[2]["items"][0]["messages"] == 50, 30, "b to have it all")
    assert Api(first).ask("GET", "/readyz")[0] == 503
    reply = try_one(lab, ledger, first, ledger.make())
    assert reply.startswith(b"452"), reply
    table = tool(first, "nodes")
    assert "draining" in table and "alive" in table
    tool(first, "nodes", "resume", "a")
    wait_until(lambda: Api(first).ask("GET", "/readyz")[0] == 200, 30, "ready again")
    sink.start()
    ledger.wait_delivered(60 * PATIENCE)
    assert {copies[0][2] for copies in ledger.delivered.values()} == {"b.test"}
    ledger.check(duplicates=0)


def test_a_spool_moves_into_the_database(make_node, make_relay, database, lab, closing):
    """Everything that waits, long bodies, state and holds too; run again it finds nothing, and nothing goes twice."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"routes": {"*": sink.address}, "outbound": {"temp_fail_intervals": "2s*100", "lane_rest_max": 1}}
    old = make_relay(**how)
    mails = [ledger.make(recipients=1 + n % 3) for n in range(300)] + [ledger.make(2_000_000) for _ in range(3)]
    submit(lab, ledger, old, mails)
    held = min(queue_id for queue_id, *_ in ledger.acknowledged.values())
    tool(old, "queue", "hold", held, "--because", "look at it")
    old.stop()
    old.write("storage.ini", database.ini("a"))
    command = [old.binary, "storage", "import", "--config", str(old.config), "--data", str(old.data)]

    def move():
        return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)

    assert move().stdout == "303 messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert move().stdout == "0 messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert waiting(database) == 303
    sink.start()
    node = make_node("b", **how)
    wait_until(lambda: waiting(database) == 1, 60 * PATIENCE, "everything but what is held")
    assert "look at it" in tool(node, "queue", "show", held)
    tool(node, "queue", "release", held)
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)


def test_a_database_moves_into_a_spool(make_node, make_relay, database, lab, closing):
    """Everything that waits on nodes that are stopped, long bodies, state and holds too; not while one of them runs."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"routes": {"*": sink.address}, "outbound": {"temp_fail_intervals": "2s*100", "lane_rest_max": 1}}
    nodes = [make_node(name, **how) for name in "ab"]
    for node in nodes:
        submit(lab, ledger, node, [ledger.make(recipients=1 + n % 3) for n in range(150)] + [ledger.make(2_000_000)])
    held = min(queue_id for queue_id, *_ in ledger.acknowledged.values())
    tool(nodes[0], "queue", "hold", held, "--because", "look at it")
    nodes[0].stop()
    spool = make_relay(started=False, **how)
    config, data = str(nodes[0].config), str(spool.data)
    command = [spool.binary, "storage", "export", "--config", config, "--data", data]

    def move():
        return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)

    refused = move()
    assert refused.returncode == 1 and "stop these nodes first: b" in refused.stdout
    nodes[1].stop()
    assert move().stdout == "302 messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert move().stdout == "0 messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert waiting(database) == 0
    sink.start()
    spool.start()
    wait_until(lambda: len(ledger.waiting) <= 3, 60 * PATIENCE, "everything but what is held")
    assert "look at it" in tool(spool, "queue", "show", held)
    tool(spool, "queue", "release", held)
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)


def test_the_compose_file_of_two_relays(tmp_path):
    whole = yaml.safe_load((ROOT / "deploy/compose.cluster.yaml").read_text())
    relay = whole["services"]["relay-1"]
    assert relay["read_only"] is True and relay["cap_drop"] == ["ALL"]
    assert whole["services"]["relay-2"]["environment"]["MARTLET_STORAGE_NODE"] == "relay-2"
    variables = dict(relay["environment"])
    (tmp_path / "queue").write_text("postgresql://martlet:secret@database/martlet\n")
    variables["MARTLET_STORAGE_QUEUE_FILE"] = str(tmp_path / "queue")
    command = [MARTLET, "check", "--config", str(ROOT / "config")]
    result = subprocess.run(command, capture_output=True, text=True, env={**environment(), **variables})
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(port.startswith("127.0.0.1:") for port in whole["services"]["balancer"]["ports"])


def test_behind_a_pooler(make_node, database, lab, closing):
    """PgBouncer gives each transaction another session, fewer than the nodes have connections, and clears it behind each."""
    pooler = closing(Pooler(database))
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relays = [make_node(n, me=f"{n}.test", keys={"uri": pooler.uri}, routes={"*": sink.address}) for n in "ab"]
    loads = [Load(lab, ledger, relay, clients=4, backlog=300, large=0.02).start() for relay in relays]
    time.sleep(2)
    relays[0].process.kill()
    relays[0].process.wait()
    time.sleep(0.5)
    relays[0].start()
    time.sleep(1)
    for load in loads:
        load.stop()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\nbehind a pooler: {ledger.summary()}")
    ledger.check(duplicates=60)
    assert len(ledger.acknowledged) > 50
    drained(database)


def test_failover_to_a_standby(make_node, database, lab, closing):
    """The primary dies under load and its synchronous standby takes over: what was acknowledged is there, on the other host."""
    standby = closing(Postgres(follows=database)).start()
    database.set("synchronous_standby_names", "*")
    wait_until(
        lambda: database.ask("SELECT sync_state FROM pg_stat_replication") == "sync", 30, "a synchronous standby"
    )
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    uri = f"postgresql://postgres@127.0.0.1:{database.port},127.0.0.1:{standby.port}/postgres"
    relays = [make_node(n, me=f"{n}.test", keys={"uri": uri}, routes={"*": sink.address}) for n in "ab"]
    loads = [Load(lab, ledger, relay, clients=4, backlog=300).start() for relay in relays]
    time.sleep(2)
    before = len(ledger.acknowledged)
    database.kill()
    standby.promote()
    wait_until(lambda: len(ledger.acknowledged) > before + 100, 60, "mail that is accepted again")
    for load in loads:
        load.stop()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\nfailover: {ledger.summary()}")
    ledger.check(duplicates=100)
    # What was delivered and stands there still would go out again one day.
    drained(standby)
