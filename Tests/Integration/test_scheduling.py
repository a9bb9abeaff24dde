"""test_scheduling.py — when mail leaves: fairness, limits, retries, flush, `disabled`, reuse of sessions, and what the log says."""

import json
import re
import threading
import time

import pytest
import reports
from api import Api
from scripted import ByRecipient, Drop, Stall, Wait
from smtp_client import SmtpClient
from story import events, first_event, submit, text, wait_event
from waiting import PATIENCE, host_port, wait_until

MARKED = b"From: <a@report.test>\r\nSubject: x\r\nX-Mark: %s\r\n\r\nhello\r\n"


def pour(relay, recipient, count, sender="a@report.test", mark="m", sessions=4):
    """Submits many messages quickly, pipelined, over a few sessions; returns their ids."""
    ids, lock, problems = [], threading.Lock(), []

    def work(share):
        try:
            with SmtpClient(relay.address, timeout=60) as client:
                client.expect(220)
                client.ehlo()
                for number in share:
                    address = recipient(number) if callable(recipient) else recipient
                    client.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{address}>\r\nDATA\r\n")
                    client.expect(250)
                    client.expect(250)
                    client.expect(354)
                    client.send(MARKED % f"{mark}-{number}".encode() + b".\r\n")
                    queue_id = client.expect(250).queue_id
                    with lock:
                        ids.append(queue_id)
                client.quit()
        except (AssertionError, OSError) as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(range(n, count, sessions),)) for n in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems
    return ids


# ------------------------------------------------------------------------------------------------ fairness (A16)

DEAD = {
    "refused": None,
    "silent banner": {"BANNER": Wait(60, b"")},
    "silent dot": {"DOT": Wait(60, b"")},
    "421": {"BANNER": "421 4.3.2 no"},
    "close": {"BANNER": Drop()},
    "451 at RCPT": {"RCPT": "451 4.2.1 later"},
    "slow dot": {"DOT": Wait(2, b"")},
}


@pytest.mark.parametrize("kind", DEAD)
def test_a_dead_destination_delays_nobody(make_relay, make_server, kind):
    """2000 messages for a place that takes none; mail for another arrives within 3 s (A16)."""
    dead, live = make_server(DEAD[kind]), make_server()
    if kind == "refused":
        dead.stop()
    relay = make_relay(
        routes={"dead.test": dead.route, "live.test": live.route},
        log_format="json",
        outbound={"temp_fail_intervals": "60s*10", "lane_rest_max": 60},
    )
    pour(relay, "u@dead.test", 1000, mark="dead")
    late = []
    for number in range(10):
        pour(relay, "u@dead.test", 100, mark="dead")
        sent = time.monotonic()
        pour(relay, "u@live.test", 1, mark=f"live{number}", sessions=1)
        wait_until(lambda: any(t.mark == f"live{number}-0" for t in live.messages), 10, "live mail", 0.005)
        late.append(time.monotonic() - sent)
    assert max(late) < 3 * PATIENCE, [round(x, 2) for x in late]
    assert len(live.messages) == 10


def test_a_dead_destination_is_not_hammered(make_relay, make_server):
    """2000 messages for a place that hangs up: the lane rests, it is not called 2000 times."""
    dead = make_server({"BANNER": Drop()})
    relay = make_relay(routes={"dead.test": dead.route}, outbound={"temp_fail_intervals": "3s*50", "lane_rest_max": 60})
    pour(relay, "u@dead.test", 2000)
    wait_until(lambda: len(relay.log_lines("delivery deferred")) >= 2000, 30, "2000 deferrals")
    assert dead.connections <= 100, f"{dead.connections} connections"


def test_many_dead_destinations_leave_room(make_relay, make_server):
    """Lanes that hang are limited one by one: 4 of them at 20 sessions leave 20 of the 100."""
    dead = [make_server({"BANNER": Wait(60, b"")}) for _ in range(4)]
    live = make_server()
    routes = {f"dead{n}.test": peer.route for n, peer in enumerate(dead)}
    relay = make_relay(routes={**routes, "live.test": live.route})
    for number in range(4):
        pour(relay, f"u@dead{number}.test", 100)
    wait_until(lambda: all(p.open for p in dead), 10, "the hanging sessions")
    sent = time.monotonic()
    pour(relay, "u@live.test", 50)
    wait_until(lambda: len(live.messages) == 50, 10, "live mail")
    assert time.monotonic() - sent < 3 * PATIENCE


def test_lanes_take_turns(make_relay, make_server):
    """A lane with a thousand messages waits its turn like one with ten when there are few sessions."""
    big, small = make_server(delay=0.002), make_server(delay=0.002)
    relay = make_relay(
        routes={"big.test": big.route, "small.test": small.route},
        outbound={"concurrency_max": 2, "concurrency_per_lane": 2, "disabled": True},
    )
    pour(relay, "u@big.test", 1000)
    pour(relay, "u@small.test", 10)
    relay.outbound["disabled"] = False
    relay.write_config()
    wait_until(lambda: len(small.messages) == 10, 30, "the small lane")
    assert len(big.messages) < 900, "the small lane had to wait for the big one"
    wait_until(lambda: len(big.messages) == 1000, 60, "the big lane")


# ------------------------------------------------------------------------------------------------ disabled


def test_disabled_holds_and_the_file_starts_delivery(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, outbound={"disabled": True})
    ids = [submit(relay, f"u{n}@d.test") for n in range(5)]
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert sink.sessions == [], "delivery although disabled"
        time.sleep(0.05)
    relay.outbound["disabled"] = False
    relay.write_config()
    changed = time.monotonic()
    sink.wait_for(5, timeout=5)
    assert time.monotonic() - changed < 2.0 * PATIENCE, time.monotonic() - changed
    for queue_id in ids:
        relay.wait_log("message finished", id=queue_id)

    relay.outbound["disabled"] = True
    relay.write_config()
    time.sleep(1.5)  # the file is looked at once a second
    held = submit(relay, "later@d.test")
    time.sleep(1.0)
    assert len(sink.messages) == 5 and events(relay, held) == []
    relay.outbound["disabled"] = False
    relay.write_config()
    sink.wait_for(6, timeout=5)


def test_flush_does_not_overrule_disabled(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, outbound={"disabled": True})
    submit(relay, "u@d.test")
    relay.hup()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert sink.sessions == [], "SIGHUP delivered although disabled"
        time.sleep(0.05)


def test_a_broken_file_keeps_the_last_good_one(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    relay.write("outbound.ini", "concurrency_max = banana\ntemp_fail_intervals = 1s\n")
    line = wait_until(
        lambda: next((l for l in relay.log if "outbound.ini" in l.raw and l.level in ("warning", "error")), None),
        5,
        lambda: f"a complaint about outbound.ini:\n{relay.log_tail()}",
    )
    assert ":1" in line.raw or '"line"' in line.raw or "line=1" in line.raw, line.raw
    submit(relay, "u@d.test")
    sink.wait_for(1)


def test_route_change_is_taken_up(make_relay, make_server, sink):
    other = make_server()
    relay = make_relay(routes={"d.test": sink.route})
    submit(relay, "u1@d.test")
    sink.wait_for(1)
    relay.routes = {"d.test": other.route}
    relay.write_config()
    time.sleep(1.5)
    submit(relay, "u2@d.test")
    wait_until(lambda: other.messages, 5, "mail by the new route")
    assert other.copies() == {"u2@d.test": 1} and sink.copies() == {"u1@d.test": 1}


def test_waiting_mail_takes_the_new_route(make_relay, make_server, sink):
    dead = make_server({"MAIL": "451 4.3.0 later"})
    relay = make_relay(routes={"d.test": dead.route}, outbound={"temp_fail_intervals": "1h*5"})
    queue_id = submit(relay, "u@d.test")
    wait_event(relay, queue_id, "deferred")
    relay.routes = {"d.test": sink.route}
    relay.write_config()
    relay.hup()
    sink.wait_for(1, timeout=5)


# ------------------------------------------------------------------------------------------------ flush and retries


@pytest.mark.parametrize("fault", ["451", "refused"])
def test_sighup_makes_deferred_mail_due(make_relay, make_server, fault):
    server = make_server({"MAIL": "451 4.3.0 later"}) if fault == "451" else make_server(listening=False)
    relay = make_relay(routes={"*": server.route}, outbound={"temp_fail_intervals": "1h*5", "lane_rest_max": 3600})
    ids = [submit(relay, f"u{n}@d.test") for n in range(10)]
    for queue_id in ids:
        wait_event(relay, queue_id, "deferred")
    server.heal()
    server.listen()
    relay.hup()
    begun = time.monotonic()
    server.wait_for(10, timeout=5)
    assert time.monotonic() - begun < 2 * PATIENCE
    wait_until(lambda: len(relay.log_lines("message finished")) == 10, 5, "ten ends")
    assert set(server.copies().values()) == {1}


def test_retry_intervals_are_obeyed(make_relay, make_server, sink):
    """`1s, 3s, 1s*2`: five attempts with those gaps, then the report."""
    at = []

    def later(*_):
        at.append(time.monotonic())
        return "451 4.3.0 later"

    peer = make_server({"MAIL": later, "QUIT": Drop()})
    relay = make_relay(
        routes={"d.test": peer.route, "report.test": sink.route},
        outbound={"temp_fail_intervals": "1s, 3s, 1s*2", "pool_timeout": 1},
    )
    queue_id = submit(relay, "u@d.test")
    line = wait_event(relay, queue_id, "bounced", timeout=20)
    gaps = [b - a for a, b in zip(at, at[1:])]
    assert len(gaps) == 4, gaps
    for gap, wanted in zip(gaps, (1, 3, 1, 1)):
        assert wanted - 0.15 <= gap <= wanted + 1.2 * PATIENCE, gaps
    assert [e for e, _ in events(relay, queue_id)] == ["deferred"] * 4 + ["bounced"]
    assert [int(float(l["delay_s"])) for e, l in events(relay, queue_id) if e == "deferred"] == [1, 3, 1, 1]
    assert "4.4.7" in line.raw or "451" in line.raw
    report = reports.parse(sink.wait_for(1)[0].data)
    reports.check(report)
    assert report.failed == ["u@d.test"]


def test_default_schedule_begins_with_64_seconds(make_relay, make_server):
    """And a flush neither counts as a failure nor moves it, though the second one would bounce."""
    server = make_server({"MAIL": "451 4.3.0 later"})
    relay = make_relay(started=False, routes={"*": server.route})
    del relay.outbound["temp_fail_intervals"]
    relay.outbound["maxTempFailures"] = 2
    relay.write_config()
    relay.start()
    queue_id = submit(relay, "u@d.test")
    for attempt in range(1, 5):
        wait_until(lambda want=attempt: len(events(relay, queue_id)) == want, 10, f"attempt {attempt}")
        event, line = events(relay, queue_id)[-1]
        assert event == "deferred" and 64 - 20 * PATIENCE < float(line["delay_s"]) <= 64, line.raw
        assert (float(line["delay_s"]) == 64) == (attempt == 1), line.raw
        relay.hup()


@pytest.mark.parametrize("outbound", [{"maxTempFailures": 1, "temp_fail_intervals": None}], ids=["maxTempFailures=1"])
def test_the_first_failure_may_be_the_last(make_relay, make_server, sink, outbound):
    server = make_server({"RCPT": ByRecipient({"no@d.test": "450 4.2.1 busy"})})
    relay = make_relay(started=False, routes={"report.test": sink.route, "*": server.route})
    relay.outbound = {k: v for k, v in {**relay.outbound, **outbound}.items() if v is not None}
    relay.write_config()
    relay.start()
    queue_id = submit(relay, ["no@d.test", "u@d.test"])
    wait_event(relay, queue_id, "bounced", "no@d.test")
    wait_event(relay, queue_id, "delivered", "u@d.test")
    sink.wait_for(1)


def test_deferral_of_one_recipient_keeps_the_others_done(make_relay, make_server):
    server = make_server({"RCPT": ByRecipient({"later@d.test": "450 4.2.1 busy"})})
    relay = make_relay(routes={"*": server.route})
    queue_id = submit(relay, ["u1@d.test", "later@d.test", "u2@d.test"])
    wait_event(relay, queue_id, "deferred", "later@d.test")
    server.heal()
    wait_event(relay, queue_id, "delivered", "later@d.test")
    assert server.copies() == {"u1@d.test": 1, "u2@d.test": 1, "later@d.test": 1}
    assert server.messages[-1].recipients == ["later@d.test"]


# ------------------------------------------------------------------------------------------------ limits


def test_concurrency_max(make_relay, make_server):
    peer = make_server(delay=0.05)
    relay = make_relay(
        routes={f"d{n}.test": peer.route for n in range(30)},
        outbound={"concurrency_max": 5, "concurrency_per_lane": 3, "pool_timeout": 1},
    )
    pour(relay, lambda n: f"u@d{n % 30}.test", 120)
    wait_until(lambda: len(peer.messages) == 120, 60, lambda: f"120 messages: {len(peer.messages)}")
    assert peer.most_open <= 5, peer.most_open
    assert peer.most_busy >= 2, "the limit was not used"


def test_idle_sessions_make_room(make_relay, make_server):
    """Sessions that are kept for later do not keep other destinations waiting when there are no more to be had."""
    peer = make_server()
    relay = make_relay(
        routes={f"d{n}.test": peer.route for n in range(30)}, outbound={"concurrency_max": 3, "pool_timeout": 50}
    )
    pour(relay, lambda n: f"u@d{n}.test", 30)
    wait_until(lambda: len(peer.messages) == 30, 5, lambda: f"30 messages: {len(peer.messages)}")
    assert peer.most_open <= 3, peer.most_open
    assert relay.log_lines("delivery deferred") == []


def test_concurrency_per_lane(make_relay, make_server):
    peer, other = make_server(delay=0.05), make_server(delay=0.05)
    relay = make_relay(routes={"d.test": peer.route, "e.test": other.route}, outbound={"concurrency_per_lane": 3})
    pour(relay, lambda n: f"u@{'de'[n % 2]}.test", 120)
    wait_until(lambda: len(peer.messages) + len(other.messages) == 120, 60, "120 messages")
    for one in (peer, other):
        assert 2 <= one.most_open <= 3, one.most_open


def test_limits_are_hot(make_relay, make_server):
    peer = make_server(delay=0.1)
    relay = make_relay(routes={"d.test": peer.route}, outbound={"concurrency_per_lane": 1})
    pour(relay, "u@d.test", 20)
    wait_until(lambda: peer.messages, 10, "a message")
    assert peer.most_open == 1
    relay.outbound["concurrency_per_lane"] = 4
    relay.write_config()
    time.sleep(1.2)
    pour(relay, "u@d.test", 80)
    wait_until(lambda: len(peer.messages) == 100, 60, "100 messages")
    assert 2 <= peer.most_open <= 4, peer.most_open


# ------------------------------------------------------------------------------------------------ sessions are reused


def test_sessions_are_reused_under_load(make_relay, make_server):
    peer = make_server()
    relay = make_relay(routes={"*": peer.route})
    pour(relay, "u@d.test", 1000)
    wait_until(lambda: len(peer.messages) == 1000, 30, "1000 messages")
    assert peer.connections <= 20, f"{peer.connections} connections for 1000 messages"


def test_sessions_are_reused_one_after_another(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    with relay.session() as client:
        for number in range(30):
            client.message("a@a.test", "u@d.test", text())
            sink.wait_for(number + 1)
    assert len(sink.sessions) <= 2, f"{len(sink.sessions)} connections for 30 messages in a row"


def test_messages_per_session(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, outbound={"messages_per_session": 5, "concurrency_per_lane": 1})
    with relay.session() as client:
        for _ in range(22):
            client.message("a@a.test", "u@d.test", text())
    sink.wait_for(22)
    counts = [len([t for t in s.transactions if t.is_complete]) for s in sink.sessions]
    assert max(counts) <= 5 and sum(counts) == 22, counts
    assert len(counts) <= 7, counts
    wait_until(
        lambda: sum(s.ended == "quit" for s in sink.sessions) >= len(counts) - 1, 5, "QUIT at the end of each session"
    )


def test_idle_session_is_closed_in_time(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, outbound={"pool_timeout": 2})
    submit(relay, "u@d.test")
    sink.wait_for(1)
    begun = time.monotonic()
    [session] = sink.sessions
    wait_until(lambda: session.ended, 10, "the end of the session")
    idle = time.monotonic() - begun
    assert session.ended == "quit" and 1.0 <= idle <= 4.0 * PATIENCE, (session.ended, idle)


def test_a_session_closed_by_the_peer_costs_nothing(make_relay, make_server):
    """The peer hangs up while idle; the next message goes over a new session, without a deferral."""
    server = make_server()
    relay = make_relay(routes={"*": server.route}, outbound={"temp_fail_intervals": "1h*5"})
    for number in range(5):
        queue_id = submit(relay, "u@d.test")
        server.wait_for(number + 1)
        wait_event(relay, queue_id, "delivered")
        for session in server.sessions:
            if session.is_open:
                session.socket.shutdown(2)
        wait_until(lambda: not any(s.is_open for s in server.sessions), 5, "closed sessions")
    assert relay.log_lines("delivery deferred") == []
    assert server.copies() == {"u@d.test": 5}


# ------------------------------------------------------------------------------------------------ splitting


@pytest.mark.parametrize("split", [True, False])
def test_always_split(make_relay, sink, split):
    relay = make_relay(routes={"*": sink.route}, outbound={"always_split": split})
    submit(relay, [f"u{n}@d.test" for n in range(5)])
    messages = sink.wait_for(5 if split else 1)
    assert sorted(len(m.recipients) for m in messages) == ([1] * 5 if split else [5])
    assert sink.copies() == {f"u{n}@d.test": 1 for n in range(5)}


def test_always_split_makes_each_recipient_a_message(make_api, make_server, sink):
    """Listed, held, retried, removed and bounced by itself; big bodies too, and over a kill."""
    answers = {"u0@d.test": "550 5.1.1 nobody", "u1@d.test": "451 4.2.1 later", "u2@d.test": "451 4.2.1 later"}
    server = make_server({"RCPT": lambda _, address: answers.get(address)})
    relay, api = make_api(
        routes={"report.test": sink.route, "*": server.route},
        outbound={"always_split": True, "temp_fail_intervals": "1h*5"},
        smtp={"limits.in_memory_bytes": "64K"},
    )
    big = b"line of a body that is too big for memory\r\n" * 5000
    first = submit(relay, [f"u{n}@d.test" for n in range(5)] + ["u4@d.test"], content=text(body=big))
    accepted = wait_until(lambda: (l := relay.log_lines("message accepted", part_of=first)) and len(l) == 5 and l, 10)
    ids = {line["to"]: line["id"] for line in accepted}
    assert len(set(ids.values())) == 5 and ids["u0@d.test"] == first
    assert [m.recipients for m in sink.wait_for(1)] == [["a@report.test"]]
    assert b"u0@d.test" in sink.messages[0].data and b"u1@d.test" not in sink.messages[0].data
    assert {m.recipients[0] for m in server.wait_for(2)} == {"u3@d.test", "u4@d.test"}
    waiting = {ids["u1@d.test"], ids["u2@d.test"]}
    wait_until(lambda: {row["id"] for row in api.ask("GET", "/v1/queue")[2]["items"]} == waiting, 10)
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("POST", f"/v1/queue/{ids['u1@d.test']}/hold", {"reason": "x"})[0] == 200
    answers.clear()
    assert api.ask("POST", f"/v1/queue/{ids['u2@d.test']}/retry")[0] == 202
    server.wait_for(3)
    assert api.ask("GET", f"/v1/queue/{ids['u1@d.test']}")[2]["state"] == "held"
    assert api.ask("DELETE", f"/v1/queue/{ids['u1@d.test']}")[0] == 204
    assert server.copies() == {f"u{n}@d.test": 1 for n in (2, 3, 4)}
    assert all(big in m.data for m in server.messages)


def test_recipients_per_transaction(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, outbound={"recipients_per_transaction": 2})
    submit(relay, [f"u{n}@d.test" for n in range(5)])
    messages = sink.wait_for(3)
    assert sorted(len(m.recipients) for m in messages) == [1, 2, 2]
    assert sink.copies() == {f"u{n}@d.test": 1 for n in range(5)}


def test_one_transaction_per_domain(make_relay, sink):
    relay = make_relay(routes={"d.test": sink.route, "e.test": sink.route})
    submit(relay, ["u1@d.test", "u2@d.test", "u1@e.test", "u3@d.test", "u2@e.test"])
    wait_until(lambda: len(sink.copies()) == 5, 10, "five recipients")
    assert sorted(sorted(m.recipients) for m in sink.messages) == [
        ["u1@d.test", "u2@d.test", "u3@d.test"],
        ["u1@e.test", "u2@e.test"],
    ]


# ------------------------------------------------------------------------------------------------ title and log


def triple(relay):
    found = re.search(r"\b(\d+)/(\d+)/(\d+)\b", relay.title)
    return tuple(int(x) for x in found.groups()) if found else None


def test_process_title_shows_the_triple(make_relay, make_server):
    server = make_server({"MAIL": "451 4.3.0 later"})
    relay = make_relay(routes={"*": server.route}, outbound={"temp_fail_intervals": "1h*5", "concurrency_per_lane": 2})
    wait_until(lambda: triple(relay) == (0, 0, 0), 5, lambda: relay.title)
    assert "martlet" in relay.title
    for number in range(3):
        submit(relay, f"u{number}@d.test")
    wait_until(lambda: triple(relay) == (0, 0, 3), 10, lambda: relay.title)
    server.script["MAIL"] = Stall(60)
    relay.hup()
    wait_until(lambda: triple(relay) and triple(relay)[0] >= 1, 10, lambda: relay.title)
    assert sum(triple(relay)) == 3, relay.title
    server.heal()


LIFE = ("message accepted", "delivered", "delivery deferred", "bounced", "message finished")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_each_event_of_a_life_is_told_once(make_relay, make_server, sink, log_format):
    server = make_server(
        {"RCPT": ByRecipient({"no@d.test": "550 5.1.1 no", "later@d.test": '450 4.2.1 "so" busy=yes'})},
        name="peer.test",
    )
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, log_format=log_format)
    queue_id = submit(relay, ["u@d.test", "no@d.test", "later@d.test"])
    wait_event(relay, queue_id, "deferred", "later@d.test")
    server.heal()
    relay.wait_log("message finished", id=queue_id)
    sink.wait_for(1)
    wait_until(lambda: len(relay.log_lines("message finished")) == 2, 10, "both ends")
    told = {name: relay.log_lines(name, id=queue_id) for name in LIFE}
    assert len(told["message accepted"]) == 1 and len(told["message finished"]) == 1
    assert sorted(l["to"] for l in told["delivered"]) == ["later@d.test", "u@d.test"]
    assert [l["to"] for l in told["bounced"]] == ["no@d.test"]
    assert {l["to"] for l in told["delivery deferred"]} == {"later@d.test"}
    attempts = [int(l["attempt"]) for l in told["delivery deferred"]]
    assert attempts == sorted(set(attempts)) and attempts[0] == 1, attempts
    for name in LIFE:
        for line in told[name]:
            assert line.level == "notice", line.raw
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.time), line.raw
    assert told["message accepted"][0]["from"] == "a@report.test" and int(told["message accepted"][0]["size"]) > 50
    delivered = told["delivered"][0]
    assert delivered["reply"].startswith("250") and str(server.port) in delivered["mx"], delivered.raw
    deferred = told["delivery deferred"][0]
    assert '"so" busy=yes' in deferred["reply"] and int(float(deferred["delay_s"])) == 1, deferred.raw
    assert deferred["stage"] and deferred["scope"], deferred.raw
    ids = [l["id"] for l in relay.log_lines("message accepted")]
    assert len(ids) == len(set(ids)) == 2, "the message and its report"


def test_json_lines_parse(make_relay, make_server, sink):
    server = make_server({"RCPT": ByRecipient({"no@d.test": 'a"\\b'.join(["550 5.1.1 ", "\t{}[]", "é\u2028"])})})
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, log_format="json")
    submit(relay, ["u@d.test", "no@d.test"])
    submit(relay, '"odd \\" {}, name"@d.test')
    sink.wait_for(1)
    relay.hup()
    wait_until(lambda: len(relay.log_lines("message finished")) == 3, 10, "three ends")
    relay.stop()
    for raw in relay.log_path.read_bytes().split(b"\n"):
        if raw:
            line = json.loads(raw.decode("utf-8"))
            assert {"time", "level", "message"} <= set(line), raw
            assert line["level"] in ("trace", "debug", "info", "notice", "warning", "error", "critical")


def test_ready_names_the_listening_addresses(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    [line] = relay.log_lines("ready")
    assert host_port(relay.listen[0]) in line.raw


def test_grep_for_an_id_tells_the_story(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    queue_id = submit(relay, "u@d.test")
    relay.wait_log("message finished", id=queue_id)
    story = [l.message for l in relay.log if queue_id in l.raw and l.level == "notice"]
    assert story == ["message accepted", "delivered", "message finished"], story
    assert first_event(relay, queue_id)[0] == "delivered"
