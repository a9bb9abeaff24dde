"""test_cluster_pooler.py - several relays behind PgBouncer in transaction mode: commands at other nodes, grants, draining, a takeover."""

import time

from api import Api
from ledger import Ledger, LedgerSink, submit
from postgres import Pooler
from test_cluster import database, drained, make_node, waiting  # noqa: F401
from waiting import PATIENCE, wait_until

ADMIN = {"admin.ini": "listen = 127.0.0.1:0\n"}


def test_everything_goes_behind_a_pooler(make_node, database, lab, closing):  # noqa: F811
    """Two server sessions for two nodes, each cleared behind its transaction: what relied on one would show."""
    pooler = closing(Pooler(database, size=2))
    ledger = Ledger()
    sink = LedgerSink(lab, ledger, dot_delay=0.02)
    closing(sink)
    how = {"routes": {"*": sink.address}, "files": ADMIN, "keys": {"uri": pooler.uri}}
    outbound = {"concurrency_per_lane": 2, "temp_fail_intervals": "2s*100", "lane_rest_max": 1}
    relays = [make_node(name, me=f"{name}.test", outbound=outbound, **how) for name in "ab"]
    apis = [Api(relay) for relay in relays]
    for relay in relays:
        submit(lab, ledger, relay, [ledger.make() for _ in range(30)])
    # One list of both, and a command for a message that the other node has.
    rows = apis[0].ask("GET", "/v1/queue?limit=100")[2]["items"]
    assert {row["node"] for row in rows} == {"a", "b"} and len(rows) == 60
    theirs = next(row["id"] for row in rows if row["node"] == "b")
    assert apis[0].ask("POST", f"/v1/queue/{theirs}/hold", {"reason": "look"})[0] == 200
    assert apis[1].ask("GET", f"/v1/queue/{theirs}")[2]["held"]["reason"] == "look"
    assert apis[0].ask("POST", f"/v1/queue/{theirs}/release")[0] == 200
    assert apis[1].ask("POST", "/v1/pauses", {"scope": "all", "reason": "now"})[0] == 201
    assert [p["reason"] for p in apis[0].ask("GET", "/v1/pauses")[2]["items"]] == ["now"]
    assert apis[0].ask("DELETE", "/v1/pauses/all")[0] == 204
    sink.start()
    # Two sessions for both nodes together.
    for relay in relays:
        submit(lab, ledger, relay, [ledger.make() for _ in range(100)])
    ledger.wait_delivered(120 * PATIENCE)
    assert sink.most_open <= 2
    ledger.check(duplicates=0)
    drained(database)
    # One is emptied, one dies.
    assert apis[0].ask("POST", "/v1/nodes/a/drain")[2]["state"] == "draining"
    wait_until(lambda: apis[0].ask("GET", "/readyz")[0] == 503, 30, "a node that is drained")
    assert apis[0].ask("POST", "/v1/nodes/a/resume")[0] == 200
    wait_until(lambda: apis[0].ask("GET", "/readyz")[0] == 200, 30, "a node that takes part")
    sink.close()
    submit(lab, ledger, relays[1], [ledger.make() for _ in range(50)])
    relays[1].kill()
    died = time.monotonic()
    again = closing(LedgerSink(lab, ledger, port=sink.port)).start()
    ledger.wait_delivered(60 * PATIENCE)
    print(f"\ntaken over behind a pooler in {time.monotonic() - died:.1f} s; {ledger.summary()}")
    assert again.received >= 50
    ledger.check(duplicates=4)
    drained(database)
