"""test_cluster_queue.py - several relays over one queue: any of them shows all of it, and acts on all of it."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from api import Api
from harness import environment
from ledger import Ledger, LedgerSink, submit
from scripted import Sink
from smtp_client import send_mail
from test_cluster import database, make_node, tool, waiting  # noqa: F401
from waiting import PATIENCE, free_port, wait_until

ADMIN = {"admin.ini": "listen = 127.0.0.1:0\n"}


@pytest.fixture
def pair(make_node):  # noqa: F811
    """Two nodes whose next hop is away, and mail that waits on both: `(apis, ids by node, port)`."""
    port = free_port()
    how = {"routes": {"*": ("127.0.0.1", port)}, "outbound": {"temp_fail_intervals": "1h*10"}, "files": ADMIN}
    relays = [make_node(name, me=f"{name}.test", **how) for name in "ab"]
    ids = {"a": [], "b": []}
    for number in range(12):
        name = "ab"[number % 2]
        body = b"Subject: %d\r\n\r\n" % number + b"x" * (100 * number) + b"\r\n"
        ids[name].append(send_mail(relays["ab".index(name)], "a@a.test", [f"u{number}@b.test"], body))
    apis = [Api(relay) for relay in relays]
    wait_until(lambda: apis[0].ask("GET", "/v1/stats")[2]["temp_failed"] == 12, 30 * PATIENCE, "twelve that wait")
    return apis, ids, port


def pages(api, query, limit):
    rows, cursor, pages = [], "", 0
    while True:
        status, _, page = api.ask("GET", f"/v1/queue?limit={limit}" + (f"&cursor={cursor}" if cursor else query))
        assert status == 200, page
        rows += page["items"]
        pages += 1
        assert len(page["items"]) <= limit and page["total"] == 12 and page["total_exact"]
        cursor = page["next"]
        if not cursor:
            return rows, pages


def test_any_node_lists_the_whole_queue(pair):
    """In one order, page by page, each message once with its node; sorted by size in both directions too."""
    apis, ids, _ = pair
    for api in apis:
        rows, count = pages(api, "", 5)
        assert [row["id"] for row in rows] == sorted(ids["a"] + ids["b"]) and count >= 3
        assert all(row["id"] in ids[row["node"]] for row in rows)
    rows, _ = pages(apis[0], "&sort=size", 5)
    assert [r["size_bytes"] for r in rows] == sorted(r["size_bytes"] for r in rows)
    rows, _ = pages(apis[1], "&sort=-size", 4)
    assert [r["size_bytes"] for r in rows] == sorted((r["size_bytes"] for r in rows), reverse=True)
    # A page of one node's listing may be asked for at the other one.
    _, _, first = apis[0].ask("GET", "/v1/queue?limit=4")
    _, _, second = apis[1].ask("GET", f"/v1/queue?limit=4&cursor={first['next']}")
    assert [r["id"] for r in first["items"] + second["items"]] == sorted(ids["a"] + ids["b"])[:8]


def test_a_command_reaches_the_node_that_has_the_message(pair, database):  # noqa: F811
    apis, ids, _ = pair
    mine, theirs = ids["a"][0], ids["b"][0]
    for api in apis:
        status, _, report = api.ask("GET", f"/v1/queue/{theirs}")
        assert (status, report["node"], report["recipients"][0]["state"]) == (200, "b", "temp_failed")
        assert api.ask("GET", f"/v1/queue/{mine}")[2]["node"] == "a"
    status, _, answer = apis[0].ask("POST", f"/v1/queue/{theirs}/hold", {"reason": "look"})
    assert (status, answer) == (200, {"id": theirs, "changed": True})
    assert apis[1].ask("GET", f"/v1/queue/{theirs}")[2]["held"]["reason"] == "look"
    assert apis[0].ask("POST", f"/v1/queue/{theirs}/retry")[0] == 409
    assert apis[0].ask("POST", f"/v1/queue/{theirs}/release")[0] == 200
    assert apis[1].ask("DELETE", f"/v1/queue/{mine}")[0] == 204
    assert waiting(database) == 11
    assert apis[1].ask("GET", f"/v1/queue/{mine}")[0] == 404
    assert database.number("SELECT count(*) FROM martlet.errand") == 0


def test_one_flush_and_one_bulk_action_are_for_all(pair, closing, database):  # noqa: F811
    apis, _, port = pair
    status, _, plan = apis[0].ask("POST", "/v1/queue/actions", {"action": "hold", "all": True, "dry_run": True})
    assert (status, plan["matched"]) == (200, 12), plan
    assert {row["node"] for row in plan["sample"]} == {"a", "b"}
    # A plan that one node made is carried out by whoever is asked.
    status, _, job = apis[1].ask("POST", "/v1/queue/actions", {"plan": plan["plan"]})
    assert (status, job["matched"]) == (202, 12), job
    end = apis[0].ask("GET", f"/v1/jobs/{job['id']}?wait_s=10")[2]
    assert (end["state"], end["done"], end["failed"]) == ("done", 12, 0), end
    assert apis[1].ask("GET", "/v1/stats")[2]["held"] == 12
    status, _, job = apis[1].ask("POST", "/v1/queue/actions", {"action": "release", "filter": {"state": ["held"]}})
    assert status == 202 and apis[0].ask("GET", f"/v1/jobs/{job['id']}?wait_s=10")[2]["done"] == 12
    sink = closing(Sink(port=port))
    status, _, _ = apis[0].ask("POST", "/v1/queue/flush")
    assert status == 202
    sink.wait_for(12)
    wait_until(lambda: waiting(database) == 0, 30 * PATIENCE, "an empty queue")


def test_a_pause_and_the_switch_are_said_to_all(make_node, lab, closing, database):  # noqa: F811
    """Said at one node, mail of the other stops too; and goes on when the other one says so."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relays = [make_node(n, me=f"{n}.test", routes={"*": sink.address}, files=ADMIN) for n in "ab"]
    apis = [Api(relay) for relay in relays]
    assert apis[0].ask("POST", "/v1/pauses", {"scope": "all", "reason": "now"})[0] == 201
    for relay in relays:
        submit(lab, ledger, relay, [ledger.make() for _ in range(5)])
    assert [p["reason"] for p in apis[1].ask("GET", "/v1/pauses")[2]["items"]] == ["now"]
    assert waiting(database) == 10
    assert apis[1].ask("DELETE", "/v1/pauses/all")[0] == 204
    ledger.wait_delivered(60 * PATIENCE)
    assert apis[1].ask("PATCH", "/v1/outbound", {"disabled": True})[0] == 200
    assert apis[0].ask("GET", "/v1/stats")[2]["disabled"] is True
    submit(lab, ledger, relays[0], [ledger.make()])
    assert len(ledger.waiting) == 1
    assert apis[0].ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    ledger.wait_delivered(60 * PATIENCE)


def test_what_was_said_binds_a_node_that_was_away(make_node, lab, closing, database):  # noqa: F811
    """A pause, its end and the switch, said while a node was dead or stood still, hold there before it delivers anything."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    a, b = (make_node(n, me=f"{n}.test", routes={"*": sink.address}, files=ADMIN) for n in "ab")
    here = Api(a)
    gone = "SELECT count(*) FROM martlet.node WHERE name = 'b' AND NOT is_dead"
    b.signal(signal.SIGSTOP)
    wait_until(lambda: database.number(gone) == 0, 60 * PATIENCE, "the end of its lease")
    assert here.ask("POST", "/v1/pauses", {"scope": "sender sender.test", "reason": "look"})[0] == 201
    b.signal(signal.SIGCONT)
    wait_until(lambda: database.number(gone) == 1, 60 * PATIENCE, "its return")
    submit(lab, ledger, b, [ledger.make() for _ in range(5)])
    pauses = Api(b).ask("GET", "/v1/pauses")[2]["items"]
    assert [(p["scope"], p["reason"]) for p in pauses] == [("sender sender.test", "look")]
    b.process.kill()
    b.process.wait()
    wait_until(lambda: database.number(gone) == 0, 60 * PATIENCE, "the end of its lease")
    assert here.ask("PATCH", "/v1/outbound", {"disabled": True, "reason": "all of it"})[0] == 200
    assert here.ask("DELETE", "/v1/pauses/sender%20sender.test")[0] == 204
    b.start()
    there = Api(b)
    assert there.ask("GET", "/v1/pauses")[2]["items"] == []
    outbound = there.ask("GET", "/v1/outbound")[2]
    assert (outbound["disabled"], outbound["disabled_reason"]) == (True, "all of it")
    submit(lab, ledger, b, [ledger.make() for _ in range(5)])
    wait_until(lambda: there.ask("GET", "/v1/stats")[2]["waiting"] == 10, 30 * PATIENCE, "ten that wait")
    assert not ledger.delivered
    assert there.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)


def test_a_key_is_one_for_all_nodes(make_node, database, lab, closing):  # noqa: F811
    """One `Idempotency-Key` at two nodes, one after the other and at once: one message, and the same answer."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relays = [make_node(n, me=f"{n}.test", routes={"*": sink.address}, files=ADMIN) for n in "ab"]
    apis = [Api(relay) for relay in relays]
    body = {"from": "a@a.test", "to": ["b@b.test"], "subject": "once", "text": "x"}
    first = apis[0].ask("POST", "/v1/messages", body, Idempotency_Key="one")
    second = apis[1].ask("POST", "/v1/messages", body, Idempotency_Key="one")
    assert (first[0], second[0]) == (202, 202) and first[2] == second[2]
    assert second[1].get("idempotency-replayed") == "true" or second[1].get("Idempotency-Replayed") == "true"
    other = apis[1].ask("POST", "/v1/messages", {**body, "subject": "two"}, Idempotency_Key="one")
    assert other[0] == 422, other
    # A refusal is none that stays.
    wrong = apis[0].ask("POST", "/v1/messages", {**body, "to": []}, Idempotency_Key="two")
    assert wrong[0] == 422 and database.number("SELECT count(*) FROM martlet.once") == 1
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(apis[n % 2].ask, "POST", "/v1/messages", body, Idempotency_Key="three") for n in range(8)]
        answers = [a.result() for a in asked]
    assert {a[0] for a in answers} <= {202, 409} and len({a[2]["id"] for a in answers if a[0] == 202}) == 1, answers
    assert apis[1].ask("POST", "/v1/messages", body, Idempotency_Key="three")[0] == 202
    wait_until(lambda: waiting(database) == 0, 30 * PATIENCE, "an empty queue")
    assert database.number("SELECT count(DISTINCT id) FROM martlet.mail") == 2


def test_a_key_of_a_node_that_died_before_it_answered(make_node, database, closing):  # noqa: F811
    """The message is there and the answer is not: asked again elsewhere it is the same message; without the message it is a new one."""
    port = free_port()
    how = {"routes": {"*": ("127.0.0.1", port)}, "outbound": {"temp_fail_intervals": "1h*10"}, "files": ADMIN}
    a, b = (make_node(n, me=f"{n}.test", **how) for n in "ab")
    body = {"from": "a@a.test", "to": ["b@b.test"], "subject": "once", "text": "x"}
    first = Api(a).ask("POST", "/v1/messages", body, Idempotency_Key="one")[2]
    a.process.kill()
    a.process.wait()
    name = database.ask("SELECT name FROM martlet.once")
    # As if it had died a moment earlier.
    database.ask("UPDATE martlet.once SET answer = NULL")
    there = Api(b)
    assert there.ask("POST", "/v1/messages", body, Idempotency_Key="one")[0] in (202, 409)
    wait_until(
        lambda: there.ask("POST", "/v1/messages", body, Idempotency_Key="one")[0] == 202, 60 * PATIENCE, "its end"
    )
    assert there.ask("POST", "/v1/messages", body, Idempotency_Key="one")[2] == first
    assert database.number("SELECT count(DISTINCT id) FROM martlet.mail") == 1
    # A key whose message never came is anybody's.
    lost = there.ask("POST", "/v1/messages", body, Idempotency_Key="two")[2]
    database.ask(f"UPDATE martlet.once SET node = 4000000000, message = 1, answer = NULL WHERE name <> '{name}'")
    a.start()
    again = Api(a).ask("POST", "/v1/messages", body, Idempotency_Key="two")
    assert again[0] == 202 and again[2]["id"] != lost["id"]


def test_the_past_of_all_nodes(make_node, closing, database):  # noqa: F811
    """What one node delivered another one tells of: page by page, by id, by `trace`; a message that changed hands is one message."""
    port = free_port()
    how = {"outbound": {"temp_fail_intervals": "1s*100"}, "files": ADMIN}
    a, b = (make_node(n, me=f"{n}.test", routes={"*": ("127.0.0.1", port)}, **how) for n in "ab")
    apis = [Api(a), Api(b)]
    ids = [
        send_mail(relay, "a@a.test", [f"u{n}@b.test"], b"Subject: x\r\n\r\nx\r\n") for n in range(3) for relay in (a, b)
    ]
    tried = "/v1/history?status=deferred"
    wait_until(lambda: len(apis[0].ask("GET", tried)[2]["items"]) == 6, 60 * PATIENCE, "six that were tried")
    a.process.kill()
    a.process.wait()
    gone = "SELECT count(*) FROM martlet.node WHERE name = 'a' AND NOT is_dead"
    wait_until(lambda: database.number(gone) == 0, 60 * PATIENCE, "the end of its lease")
    sink = closing(Sink(port=port))
    sink.wait_for(6)
    # The one that took the mail over finds it, and what became of it, while the other one is dead.
    done = "/v1/history?status=delivered"
    wait_until(lambda: len(apis[1].ask("GET", done)[2]["items"]) == 6, 60 * PATIENCE, "six that were delivered")
    a.start()
    apis = [Api(a), Api(b)]

    def finished(api):
        return [row["id"] for row in api.ask("GET", "/v1/history")[2]["items"] if row["finished_at"]]

    wait_until(lambda: len(finished(apis[0])) == len(finished(apis[1])) == 6, 60 * PATIENCE, "six that are done")
    for api in apis:
        rows, query = [], "/v1/history?limit=2"
        while query:
            page = api.ask("GET", query)[2]
            assert len(page["items"]) <= 2, page
            rows += page["items"]
            query = page["next"] and f"/v1/history?limit=2&cursor={page['next']}"
        assert {row["id"] for row in rows} == set(ids)
        # The first was accepted by the node that died, and delivered by the one that took it over.
        story = api.ask("GET", f"/v1/messages/{ids[0]}")[2]
        assert sorted(story["nodes"]) == ["a", "b"], story
        assert story["recipients"][0]["status"] == "delivered" and story["queue"] is None
        types = [(event["type"], event["node"]) for event in story["timeline"]]
        assert ("message.accepted", "a.test") in types and ("delivery.delivered", "b.test") in types, types
        assert api.ask("GET", "/v1/messages/1-1")[0] in (404, 422)
    assert "known to" in tool(a, "trace", ids[1]) and "delivered" in tool(a, "trace", ids[1])
    assert apis[0].ask("DELETE", "/v1/history?recipient=u0@b.test")[2]["messages"] >= 2
    assert apis[1].ask("GET", "/v1/history?recipient=u0@b.test")[2]["items"] == []
    assert "u0@b.test" not in str(apis[1].ask("GET", f"/v1/messages/{ids[0]}")[2])


def test_doctor_looks_at_the_database(make_node, database, sink):  # noqa: F811
    nobody = {"resolver.ini": f"forward = 127.0.0.1@{free_port()}\n"}
    relay = make_node("a", routes={"*": sink.address}, files=nobody)
    command = [relay.binary, "doctor", "--config", str(relay.config), "--data", str(relay.data), "--probe", "none"]

    def findings():
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment()).stdout

    assert "PostgreSQL" in findings()
    database.set("synchronous_commit", "off")
    wait_until(lambda: "synchronous_commit is off" in findings(), 30 * PATIENCE, "what is wrong")


def test_nodes_say_how_they_are_set(make_node, sink):  # noqa: F811
    """Each node's configuration has a hash; what differs is named by its file, at the list, at the command and by doctor."""
    nobody = {"resolver.ini": f"forward = 127.0.0.1@{free_port()}\n"}
    relays = [make_node(n, routes={"*": sink.address}, files={**ADMIN, **nobody}, me=f"{n}.test") for n in "ab"]
    api = Api(relays[0])

    def differs():
        found = {node["name"]: node for node in api.ask("GET", "/v1/nodes")[2]["items"] if node["state"] == "alive"}
        return all(node["config_hash"] for node in found.values()) and found["b"]["config_differs"]

    # Each listens at a port of its own here.
    assert wait_until(differs, 30 * PATIENCE, "both to have said so") == ["smtp.ini"]
    relays[1].write("limits.ini", "[lane *]\nrate = 5/s\n")
    relays[1].hup()
    wait_until(lambda: differs() == ["limits.ini", "smtp.ini"], 30 * PATIENCE, "a difference")
    relays[0].write("limits.ini", "; the same, said otherwise\n[lane *]\nrate=5/s\n")
    relays[0].hup()
    wait_until(lambda: differs() == ["smtp.ini"], 30 * PATIENCE, "no difference any more")
    (relays[0].config / "limits.ini").unlink()
    relays[0].hup()
    wait_until(lambda: differs() == ["limits.ini", "smtp.ini"], 30 * PATIENCE, "a difference")
    assert "limits.ini" in tool(relays[0], "nodes")
    command = [relays[0].binary, "doctor", "--config", str(relays[0].config), "--data", str(relays[0].data)]
    run = subprocess.run([*command, "--probe", "none"], capture_output=True, text=True, timeout=120, env=environment())
    assert "b in limits.ini" in run.stdout, run.stdout
