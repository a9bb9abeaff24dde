"""test_shares.py - nobody takes another's share (G9): silent hops, full houses, load that is told, and the time after an outage."""

import datetime
import time

from scripted import ScriptedServer, Wait
from story import submit, wait_event
from test_scheduling import pour
from waiting import PATIENCE, wait_until

SILENT = {"BANNER": Wait(300, b"")}


def moment(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def peers(count, closing, script=None, **how):
    return [closing(ScriptedServer(dict(script or {}), **how)) for _ in range(count)]


def test_silent_hops_stop_nobody(make_relay, closing):
    """Thirty hops that never greet, twenty messages each, twenty slots: mail for another arrives within seconds."""
    silent, live = peers(30, closing, SILENT), closing(ScriptedServer())
    routes = {f"s{n}.test": peer.route for n, peer in enumerate(silent)}
    relay = make_relay(
        routes={**routes, "live.test": live.route}, outbound={"concurrency_max": 20, "concurrency_per_lane": 20}
    )
    pour(relay, lambda n: f"u@s{n % 30}.test", 600)
    sent = time.monotonic()
    pour(relay, "u@live.test", 20)
    wait_until(lambda: len(live.messages) == 20, 30, "live mail")
    assert time.monotonic() - sent < 6 * PATIENCE


def test_no_session_is_opened_in_vain(make_relay, closing):
    """Three slots, a lane slow at the dot, one deferred message in another: no storm of connections."""
    slow = closing(ScriptedServer({"DOT": Wait(0.4)}))
    busy = closing(ScriptedServer({"RCPT": "451 4.2.1 later"}))
    relay = make_relay(
        routes={"slow.test": slow.route, "busy.test": busy.route},
        outbound={"concurrency_max": 3, "temp_fail_intervals": "1h*5"},
    )
    wait_event(relay, submit(relay, "u@busy.test"), "deferred")
    pour(relay, "u@slow.test", 12)
    wait_until(lambda: len(slow.messages) == 12, 30, "slow mail")
    assert len(slow.sessions) <= 13 and len(busy.sessions) <= 2
    assert slow.most_open <= 3


def test_a_lowered_limit_ends_idle_sessions(make_relay, closing):
    peer = closing(ScriptedServer({"DOT": Wait(0.2)}))
    relay = make_relay(routes={"*": peer.route}, outbound={"concurrency_max": 8, "concurrency_per_lane": 8})
    pour(relay, "u@d.test", 40)
    wait_until(lambda: len(peer.messages) == 40, 30, "the mail")
    assert peer.open > 2
    relay.outbound["concurrency_max"] = 2
    relay.write_config()
    wait_until(lambda: peer.open <= 2, 10, "fewer sessions")


def test_a_session_in_quit_counts(make_relay, closing):
    """One message a session and a peer that takes its time over QUIT: never more connections than may be."""
    peer = closing(ScriptedServer({"QUIT": Wait(0.05)}))
    relay = make_relay(
        routes={"*": peer.route}, outbound={"concurrency_max": 4, "concurrency_per_lane": 4, "messages_per_session": 1}
    )
    pour(relay, "u@d.test", 60)
    wait_until(lambda: len(peer.messages) == 60, 30, "the mail")
    assert peer.most_open <= 4


def test_who_is_turned_away_waits(make_relay, closing):
    """200 messages to a hop that says 421 to each MAIL: one finds out, the others wait and count no failure."""
    peer = closing(ScriptedServer({"MAIL": "421 4.7.0 [TSS04] deferred"}))
    relay = make_relay(routes={"*": peer.route}, outbound={"temp_fail_intervals": "1h*5"})
    pour(relay, "u@d.test", 200)
    wait_until(lambda: relay.log_lines("delivery deferred"), 10, "a deferral")
    # A first handful at once, then one for each rest while the others are still being handed in.
    assert len(peer.sessions) <= 20 and len(relay.log_lines("delivery deferred")) <= 20
    peer.heal()
    relay.hup()
    wait_until(lambda: len(peer.messages) == 200, 30, "the mail")


def test_surplus_sessions_refused_defer_nobody(make_relay, closing):
    """A peer that takes two sessions and greets further ones with 554."""
    peer = closing(ScriptedServer({"DOT": Wait(0.05)}))
    usual = peer.script

    admitted = []

    class Full(Wait):
        async def perform(self, session, usual, argument):
            # Those that came first, and not all because one more came before the first was greeted.
            admitted[:] = [one for one in admitted if one.ended is None]
            full = len(admitted) == 2
            if not full:
                admitted.append(session)
            await session.perform("554 5.7.0 too many" if full else None, usual, argument)

    usual["BANNER"] = Full(0)
    relay = make_relay(routes={"*": peer.route}, outbound={"temp_fail_intervals": "1h*5"})
    pour(relay, "u@d.test", 60)
    wait_until(lambda: len(peer.messages) == 60, 30, lambda: f"the mail: {len(peer.messages)}")
    assert relay.log_lines("delivery deferred") == []


def test_after_an_outage_the_mail_goes(make_relay, closing):
    """What only waits because its hop was away goes when a session stands there again, over a restart, without a failure."""
    peer = closing(ScriptedServer(listening=False))
    relay = make_relay(
        routes={"*": peer.route}, outbound={"temp_fail_intervals": "1h", "lane_rest_max": 1, "maxTempFailures": 2}
    )
    pour(relay, "u@d.test", 300)
    for times in range(1, 4):
        wait_until(lambda wanted=300 * times: len(relay.log_lines("delivery deferred")) >= wanted, 20, "all wait")
        relay.hup()
    relay.restart()
    peer.listen()
    submit(relay, "new@d.test")
    wait_until(lambda: len(peer.messages) == 301, 30, lambda: f"the mail: {len(peer.messages)}")


def test_mail_that_never_reaches_its_hop_bounces_by_age(make_relay, closing, sink):
    peer = closing(ScriptedServer(listening=False))
    relay = make_relay(
        routes={"report.test": sink.route, "*": peer.route},
        outbound={"temp_fail_intervals": "1s", "unreachable_max_age": 2},
    )
    queue_id = submit(relay, "u@d.test")
    wait_event(relay, queue_id, "deferred")
    wait_event(relay, queue_id, "bounced", timeout=20)
    sink.wait_for(1)


def test_always_split_gives_each_recipient_a_connection(make_relay, closing):
    peer = closing(ScriptedServer())
    relay = make_relay(routes={"*": peer.route}, outbound={"always_split": True, "concurrency_per_lane": 1})
    submit(relay, [f"u{n}@d.test" for n in range(5)])
    peer.wait_for(5)
    wait_until(lambda: len(peer.sessions) == 5, 10, "a connection each")
    assert all(len(message.recipients) == 1 for message in peer.messages)


def test_a_flush_is_no_failure(make_api, closing):
    """Whoever asks, and however often: greylisted mail keeps its failures and its own next attempt."""
    peer = closing(ScriptedServer({"RCPT": "451 4.7.1 greylisted"}))
    relay, api = make_api(routes={"*": peer.route}, outbound={"temp_fail_intervals": "1h", "lane_rest_max": 1})
    queue_id = submit(relay, "u@d.test")
    wait_event(relay, queue_id, "deferred")
    wait_until(lambda: api.ask("GET", f"/v1/queue/{queue_id}")[2]["state"] == "temp_failed", 10, "it waits")
    due = api.ask("GET", f"/v1/queue/{queue_id}")[2]["next_attempt_at"]
    askings = [
        relay.hup,
        lambda: api.ask("POST", "/v1/queue/flush"),
        lambda: api.ask("POST", f"/v1/queue/{queue_id}/retry"),
        lambda: relay.run("flush"),
    ]
    for number in range(16):
        askings[number % len(askings)]()
        wait_until(lambda want=number + 2: len(relay.log_lines("delivery deferred")) == want, 10, f"attempt {number}")
    message = api.ask("GET", f"/v1/queue/{queue_id}")[2]
    assert abs(moment(message["next_attempt_at"]) - moment(due)) <= 2, (message, due)
    relay.kill()
    relay.start()
    peer.heal()
    relay.hup()
    peer.wait_for(1)
    assert relay.log_lines("bounced") == []
