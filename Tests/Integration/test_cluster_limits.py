"""test_cluster_limits.py - several relays over one queue: limits at the peer, and mail for those who have a part of them."""

import random
import signal
import time

from api import Api
from harness import SOAK
from ledger import Ledger, LedgerSink, Load, start_anew, submit
from test_cluster import database, drained, make_node  # noqa: F401
from waiting import PATIENCE, wait_until

TWO = {"concurrency_per_lane": 2}


def cluster(make_node, lab, closing, count, outbound, **sink_how):  # noqa: F811
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, **sink_how)).start()
    relays = [
        make_node(name, started=False, routes={"*": sink.address}, me=f"{name}-0.test", outbound=outbound)
        for name in "abcdefgh"[:count]
    ]
    for relay in relays:
        start_anew(relay)
    return ledger, sink, relays


def test_never_three_sessions(make_node, database, lab, closing):  # noqa: F811
    """Four nodes, two sessions: the peer never sees a third one, while nodes are killed and one stands still."""
    ledger, sink, relays = cluster(make_node, lab, closing, 4, TWO, dot_delay=0.02)
    loads = [Load(lab, ledger, relay, clients=2, backlog=150, pace=0.02).start() for relay in relays]
    pick, cycles = random.Random(ledger.seed), 50 if SOAK else 6
    for number in range(cycles):
        relay = pick.choice(relays)
        time.sleep(pick.uniform(0.5, 2.0))
        if number == 2:
            relay.signal(signal.SIGSTOP)
            time.sleep(13)
            relay.signal(signal.SIGCONT)
            continue
        relay.process.kill()
        relay.process.wait()
        time.sleep(12 if number == 4 else pick.uniform(0, 0.5))
        relay.write("me", f"{relay.me.split('-')[0]}-{number + 1}.test\n")
        start_anew(relay)
    for load in loads:
        load.stop()
    ledger.wait_delivered(120 * PATIENCE)
    print(f"\n{cycles} faults: most sessions at once {sink.most_open}; {ledger.summary()}")
    assert sink.most_open <= 2
    ledger.check(duplicates=cycles * 20)
    drained(database)


def test_one_lane_uses_all_nodes(make_node, database, lab, closing):  # noqa: F811
    """All mail comes in at one node and leaves through one smart host: the others take part, within one limit."""
    ledger, sink, relays = cluster(make_node, lab, closing, 3, {"concurrency_per_lane": 6}, dot_delay=0.05)
    submit(lab, ledger, relays[0], [ledger.make() for _ in range(1500)])
    ledger.wait_delivered(120 * PATIENCE)
    by = {copies[0][2] for copies in ledger.delivered.values()}
    print(f"\nby {by}, most sessions at once {sink.most_open}")
    assert by == {"a-0.test", "b-0.test", "c-0.test"}
    assert sink.most_open <= 6
    ledger.check(duplicates=0)
    drained(database)


def test_mail_goes_to_who_has_a_part(make_node, database, lab, closing):  # noqa: F811
    """One session for two nodes: what the other one accepts is given to the one that has it, and goes out."""
    ledger, sink, relays = cluster(make_node, lab, closing, 2, {"concurrency_per_lane": 1}, dot_delay=0.05)
    loads = [Load(lab, ledger, relay, clients=1, backlog=60, pace=0.03).start() for relay in relays]
    time.sleep(8)
    for load in loads:
        load.stop()
    ledger.wait_delivered(60 * PATIENCE)
    assert sink.most_open == 1
    ledger.check(duplicates=0)
    wait_until(lambda: database.number("SELECT count(*) FROM martlet.message") == 0, 30, "an empty queue")


def test_limits_of_a_provider_hold_over_four_nodes(make_node, database, lab, closing):  # noqa: F811
    """`limits.ini` at four nodes of which one is killed: any window at the peer has rate × window + burst at most, no third session."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=0.02)).start()
    limits = "[route *]\nrate = 240/m burst 4\nconnections = 2\n"
    relays = [
        make_node(n, started=False, routes={"*": sink.address}, me=f"{n}-0.test", files={"limits.ini": limits})
        for n in "abcd"
    ]
    for relay in relays:
        start_anew(relay)
    for relay in relays:
        submit(lab, ledger, relay, [ledger.make() for _ in range(25)])
    wait_until(lambda: len(ledger.delivered) >= 30, 60 * PATIENCE, "thirty of them")
    relays[1].process.kill()
    relays[1].process.wait()
    ledger.wait_delivered(120 * PATIENCE)
    times = sorted(seconds for copies in ledger.delivered.values() for seconds, *_ in copies)
    worst = max(j - i + 1 - 4 * (times[j] - times[i]) for i in range(len(times)) for j in range(i, len(times)))
    print(
        f"\n{len(times)} in {times[-1] - times[0]:.1f} s, at worst {worst:.2f} beyond the rate; {sink.most_open} sessions"
    )
    assert sink.most_open <= 2
    # The burst, and what a busy machine moves between the relay's clock and the peer's.
    assert worst <= 4 + 2
    by = {copies[0][2] for copies in ledger.delivered.values()}
    assert len(by) >= 3, by
    drained(database)


def test_a_day_holds_over_nodes(make_node, database, lab, closing):  # noqa: F811
    """`daily = 20` at three nodes with ten messages each, one of which is killed: twenty go, and the rest says until when it waits."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    files = {"limits.ini": "[route *]\ndaily = 20\n", "admin.ini": "listen = 127.0.0.1:0\n"}
    relays = [make_node(n, started=False, routes={"*": sink.address}, me=f"{n}-0.test", files=files) for n in "abc"]
    for relay in relays:
        start_anew(relay)
        submit(lab, ledger, relay, [ledger.make() for _ in range(10)])
    counted = "SELECT coalesce(sum(count), 0) FROM martlet.day"
    wait_until(lambda: database.number(counted) == 20, 60 * PATIENCE, "the whole day")
    wait_until(lambda: len(ledger.delivered) == 20, 60 * PATIENCE, "twenty of them")
    relays[0].process.kill()
    relays[0].process.wait()
    start_anew(relays[0])
    time.sleep(3)
    assert len(ledger.delivered) == 20 and database.number(counted) == 20
    rows = Api(relays[0]).ask("GET", "/v1/queue?limit=100")[2]["items"]
    assert len(rows) == 10
    row = Api(relays[0]).ask("GET", f"/v1/queue/{rows[0]['id']}")[2]
    assert any("daily" in str(reason) for reason in row["waiting_because"]), row["waiting_because"]
