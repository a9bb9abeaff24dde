"""test_cluster_soak.py - everything at once: three relays under load, each killed again and again, the primary restarted, and a failover.

With `TEST_SOAK=1` each relay is killed fifty times.
"""

import random
import time

from harness import SOAK
from ledger import Ledger, LedgerSink, Load, crashed, start_anew
from postgres import Postgres
from scripted import Sink
from test_cluster import database, delivered, make_node, once_by_each  # noqa: F401
from test_cluster_reports import reports
from waiting import PATIENCE, wait_until

KILLS = 50 if SOAK else 2


def test_kills_restarts_and_a_failover(make_node, database, lab, closing):  # noqa: F811
    """Nothing is lost; of each failure there is one report; each node's history has each event once."""
    standby = closing(Postgres(follows=database)).start()
    database.set("synchronous_standby_names", "*")
    sync = "SELECT sync_state FROM pg_stat_replication"
    wait_until(lambda: database.ask(sync) == "sync", 30, "a synchronous standby")
    ledger, failures = Ledger(), Ledger()
    hop = closing(LedgerSink(lab, ledger)).start()
    refuser = closing(LedgerSink(lab, failures, refuse=b"550 5.1.1 nobody")).start()
    told = closing(Sink())
    uri = f"postgresql://postgres@127.0.0.1:{database.port},127.0.0.1:{standby.port}/postgres"
    # Reports go to the senders, of whom there is one.
    routes = {"ledger.test": hop.address, "no.test": refuser.address, "*": told.address}
    relays = [make_node(n, me=f"{n}-0.test", keys={"uri": uri}, routes=routes, started=False) for n in "abc"]
    for relay in relays:
        start_anew(relay)
    loads = [Load(lab, ledger, relay, clients=2, backlog=300, pace=0.01).start() for relay in relays]
    loads += [Load(lab, failures, relay, clients=1, domains=("no.test",), pace=0.1).start() for relay in relays]
    pick = random.Random(ledger.seed)
    left = [number for number in range(3) for _ in range(KILLS)]
    pick.shuffle(left)
    for number, which in enumerate(left):
        time.sleep(pick.uniform(0.3, 1.5))
        if number % max(2, len(left) // 5) == 1:
            database.stop("immediate" if number % 2 else "fast")
            database.start()
        relay = relays[which]
        relay.kill()
        # Now and then it stays away for longer than its lease.
        time.sleep(11 if number % 10 == 4 else pick.uniform(0, 0.5))
        relay.write("me", f"{relay.me.split('-')[0]}-{number + 1}.test\n")
        start_anew(relay)
    wait_until(lambda: database.ask(sync) == "sync", 60, "the standby again")
    before = len(ledger.acknowledged)
    database.kill()
    standby.promote()
    wait_until(lambda: len(ledger.acknowledged) > before + 50, 90, "mail that is accepted again")
    for load in loads:
        load.stop()
    for relay in relays:
        relay.hup()
    ledger.wait_delivered(120 * PATIENCE)
    print(f"\n{len(left)} kills, restarts, a failover: {ledger.summary()}")
    ledger.check(duplicates=(len(left) + 1) * 60)
    once_by_each(ledger)
    known = set(failures.acknowledged)
    wait_until(lambda: known <= set(reports(told)), 60 * PATIENCE, "a report about every failure")
    twice = {token: names for token, names in reports(told).items() if len(names) > 1}
    assert not twice, twice
    wait_until(lambda: standby.number("SELECT count(*) FROM martlet.message") == 0, 60 * PATIENCE, "an empty queue")
    for relay in relays:
        found = [(e["data"]["message_id"], e["data"]["recipient"], e["time"]) for e in delivered(relay)]
        assert len(found) == len(set(found)), "an event is there twice"
        assert crashed(relay) == []
