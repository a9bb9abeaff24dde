"""test_counting_servers.py - next hops that count recipients and messages, end sessions by themselves, or say things their own way."""

import time

import pytest
from api import Api
from harness import SOAK
from scripted import AfterOctets, Do, Drop, Reset, Sequence
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: counting\r\n\r\ntext\r\n"
CODES = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]
BARE = ["PIPELINING", "8BITMIME"]
PATIENT = {"temp_fail_intervals": "1h*13"}  # whatever waits for a timer does not arrive in time


def taking(count, refusal):
    """RCPT: so many in one transaction."""
    return lambda session, _: None if len(session.transactions[-1].recipients) < count else refusal


def of_one_domain(session, address):
    taken = session.transactions[-1].recipients
    if taken and taken[0].split("@")[1] != address.split("@")[1]:
        return "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again."
    return None


def rcpts(peer):
    return sum(command.startswith(b"RCPT") for command in peer.commands)


# ------------------------------------------------------------------------------------------------ recipients

COUNTING = {
    "452 without a status": (taking(5, "452 too many"), 5),
    "452 4.5.3": (taking(10, "452 4.5.3 Too many recipients"), 10),
    "452 #4.5.3": (taking(7, "452 #4.5.3 Too many recipients"), 7),
    "451 4.5.3": (taking(20, "451 4.5.3 slow down"), 20),
    "552 5.5.3": (taking(30, "552 5.5.3 Too many recipients"), 30),
    "one each": (taking(1, "452 4.5.3 one at a time"), 1),
    "421 and gone": (taking(12, Do("421 4.3.2 enough", Drop())), 12),
}


def test_sixty_recipients_arrive_at_servers_that_count(make_relay, make_server):
    """All of them in one go, and after a restart the relay knows how many each server takes."""
    peers = {f"n{n}.test": (make_server({"RCPT": rule}), most) for n, (rule, most) in enumerate(COUNTING.values())}
    split = make_server({"RCPT": of_one_domain})
    routes = {domain: peer.route for domain, (peer, _) in peers.items()} | {"*": split.route}
    relay = make_relay(routes=routes, outbound=PATIENT)
    batches = [[f"u{n}@{domain}" for n in range(60)] for domain in peers]
    mixed = [f"u{n}@d{n % 6}.test" for n in range(60)]
    servers = [peer for peer, _ in peers.values()] + [split]

    def send(round_):
        for recipients in [*batches, mixed]:
            send_mail(relay, "a@a.test", recipients, MAIL)
        wait_until(
            lambda: all(len(p.copies()) == 60 and sum(p.copies().values()) == 60 * round_ for p in servers),
            30,
            lambda: f"{[sum(p.copies().values()) for p in servers]}\n{relay.log_tail(20)}",
        )

    send(1)
    assert not relay.log_lines("bounced") and not relay.log_lines("delivery deferred")
    for peer, most in peers.values():
        assert len(peer.messages) == -(-60 // most)
    relay.restart()
    before = [rcpts(peer) for peer in servers]
    send(2)
    assert [rcpts(peer) - count for peer, count in zip(servers, before)] == [60] * len(servers)
    assert not relay.log_lines("bounced") and not relay.log_lines("delivery deferred")


def test_real_answers_about_a_recipient_stay_with_it(make_relay, make_server):
    """Greylisted or full among sixty: put off once, asked again by the timer, and none of the others waits."""
    put_off = {"u7@b.test": "451 4.7.1 greylisted", "u30@b.test": "452 4.2.2 mailbox full"}
    asked = []

    def answer(_, address):
        asked.append(address)
        return put_off.get(address) if asked.count(address) == 1 else None

    peer = make_server({"RCPT": answer})
    relay = make_relay(routes={"*": peer.route}, outbound={"temp_fail_intervals": "1s*13"})
    send_mail(relay, "a@a.test", [f"u{n}@b.test" for n in range(60)], MAIL)
    wait_until(lambda: len(peer.copies()) == 60, 20, lambda: relay.log_tail(20))
    assert set(peer.copies().values()) == {1}
    assert {line["to"] for line in relay.log_lines("delivery deferred")} == set(put_off)
    assert all(asked.count(address) == 2 for address in put_off)
    assert len(peer.messages[0].recipients) == 58


def test_one_that_is_given_five_times_is_sent_once(make_relay, make_server):
    peer = make_server()
    relay = make_relay(routes={"*": peer.route})
    queue_id = send_mail(relay, "a@a.test", ["b@b.test", "b@B.TEST", "b@b.test", "c@b.test", "b@b.test"], MAIL)
    relay.wait_log("message finished", id=queue_id)
    assert peer.copies() == {"b@b.test": 1, "c@b.test": 1}
    assert len(relay.log_lines("delivered", id=queue_id)) == 5


# ------------------------------------------------------------------------------------------------ messages

FAREWELLS = {
    "close": Drop(),
    "reset": Reset(),
    "421": Do("421 4.7.0 enough", Drop()),
    "bare 421": Do("421 enough", Drop()),
}


def leaving(count, farewell, receipt):
    """DOT: so many messages in one session, and goodbye behind the last receipt."""

    def dot(session, _):
        done = sum(transaction.is_complete for transaction in session.transactions)
        return Do(receipt, farewell) if done >= count else receipt

    return dot


# With TEST_SOAK=1 at every number from 1 to 50: 50 × 8 peers × 25 messages are ten thousand, and none comes twice.
@pytest.mark.parametrize("count", range(1, 51) if SOAK else [1, 2, 7, 50])
def test_peers_that_leave_after_so_many_messages_get_none_twice(make_relay, make_server, count):
    peers = {}
    for name, farewell in FAREWELLS.items():
        for codes in (CODES, BARE):
            script = {"DOT": leaving(count, farewell, "250 2.0.0 Ok" if codes is CODES else "250 ok")}
            if codes is BARE:
                script |= {"MAIL": "250 ok", "RCPT": "250 ok"}
            peers[f"p{len(peers)}.test"] = (make_server(script, capabilities=codes), name)
    outbound = {"temp_fail_intervals": "1s*60", "lane_rest_max": 1, "concurrency_per_lane": 2, "disabled": True}
    relay = make_relay(routes={d: peer.route for d, (peer, _) in peers.items()}, outbound=outbound)
    messages = 25 if SOAK else 12 if count < 50 else 55
    for domain in peers:
        with relay.session() as client:
            for number in range(messages):
                client.message("a@a.test", [f"u{number}@{domain}"], MAIL)
            client.quit()
    relay.outbound["disabled"] = False
    relay.write_config()
    wait_until(
        lambda: all(len(peer.copies()) == messages for peer, _ in peers.values()),
        40,
        lambda: f"{[(name, len(peer.copies())) for peer, name in peers.values()]}\n{relay.log_tail(30)}",
    )
    relay.wait_log("message finished", count=messages * len(peers))
    for domain, (peer, name) in peers.items():
        assert set(peer.copies().values()) == {1}, (domain, name, peer.copies())
        # Two sessions side by side, each of which may end with an unasked one behind it.
        assert len(peer.sessions) <= -(-messages // count) + 3, (domain, name, len(peer.sessions))
        assert not peer.violations
    assert not relay.log_lines("delivery deferred")


# ------------------------------------------------------------------------------------------------ their own way


def test_a_permanent_answer_in_mid_message_is_permanent(make_relay, make_server, sink):
    """With the connection reset behind it, because most of the message was never read."""
    peer = make_server({"BODY": AfterOctets(65536, "552 5.3.4 too big", Drop())}, receive_buffer=65536)
    relay = make_relay(routes={"b.test": peer.route, "*": sink.address}, outbound=PATIENT)
    queue_id = send_mail(relay, "a@a.test", "b@b.test", MAIL + (b"x" * 70 + b"\r\n") * 120_000)
    line = relay.wait_log("bounced", id=queue_id, timeout=30)
    assert "552 5.3.4" in line["reply"] and len(peer.sessions) == 1
    assert b"552" in sink.wait_for(1)[0].data


def test_a_login_of_ours_bounces_nothing(make_relay, make_server, sink):
    missing = "530 5.7.0 Authentication required"
    peers = [make_server({stage: missing}, capabilities=[*CODES, "AUTH PLAIN"]) for stage in ("RCPT", "DATA", "DOT")]
    for peer in peers:
        peer.script["AUTH"] = "235 2.7.0 ok"
    routes = {f"p{n}.test": {"mx": peer.route, "auth_user": "u", "auth_pass": "secret"} for n, peer in enumerate(peers)}
    relay = make_relay(routes={**routes, "*": sink.address}, outbound=PATIENT)
    for n in range(len(peers)):
        queue_id = send_mail(relay, "a@a.test", f"b@p{n}.test", MAIL)
        line = relay.wait_log("delivery deferred", id=queue_id)
        assert line["stage"] == "auth" and "530" in line["reply"]
    assert not relay.log_lines("bounced") and not sink.messages


def test_the_next_mechanism_and_the_initial_response_that_was_overheard(make_relay, make_server):
    async def weak(session, _):
        if session.commands[-1].startswith(b"AUTH PLAIN"):
            return "534 5.7.9 mechanism too weak"
        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
            await session.send(prompt)
            await session.line()
        return b"235 2.7.0 ok\r\n"

    async def overheard(session, _):
        await session.send(b"334 \r\n")
        is_same = await session.line() == session.commands[-1].split()[-1]
        return "235 2.7.0 ok" if is_same else "535 5.7.8 no"

    peer = make_server({"AUTH": weak}, capabilities=[*CODES, "AUTH PLAIN LOGIN"])
    other = make_server({"AUTH": overheard}, capabilities=[*CODES, "AUTH PLAIN"])
    login = {"auth_user": "u", "auth_pass": "secret"}
    relay = make_relay(routes={"b.test": {"mx": peer.route, **login}, "*": {"mx": other.route, **login}})
    send_mail(relay, "a@a.test", "b@b.test", MAIL)
    send_mail(relay, "a@a.test", "c@c.test", MAIL)
    peer.wait_for(1)
    other.wait_for(1)


def test_451_to_rcpt_tries_the_next_host(make_relay, make_server):
    first, second = make_server({"RCPT": "451 4.3.0 local error"}), make_server()
    relay = make_relay(routes={"*": [first.address, second.address]}, outbound=PATIENT)
    send_mail(relay, "a@a.test", ["b@b.test", "c@b.test"], MAIL)
    second.wait_for(1)
    assert second.copies() == {"b@b.test": 1, "c@b.test": 1} and not first.messages


def test_lines_that_end_in_lf_alone(make_relay, make_server):
    script = {
        "BANNER": b"220\n",
        "EHLO": b"250-peer\n250 PIPELINING\n",
        "MAIL": b"250 ok\n",
        "RCPT": b"250 ok\n",
        "DATA": b"354 go\n",
        "DOT": b"250 ok\n",
        "QUIT": b"221 bye\n",
    }
    peer, strict = make_server(script), make_server(script)
    relay = make_relay(routes={"*": peer.route})
    for _ in range(3):
        send_mail(relay, "a@a.test", "b@b.test", MAIL)
    peer.wait_for(3)
    other = make_relay(routes={"*": strict.route}, outbound={"bare_lf_replies": False, **PATIENT})
    queue_id = send_mail(other, "a@a.test", "b@b.test", MAIL)
    assert "CRLF" in other.wait_log("delivery deferred", id=queue_id)["reply"]
    assert not strict.messages


@pytest.mark.parametrize("ending", [Drop(), Reset()])
def test_helo_on_a_new_connection_when_ehlo_is_answered_by_hanging_up(make_relay, make_server, ending):
    peer = make_server({"EHLO": ending})
    relay = make_relay(routes={"*": peer.route}, outbound=PATIENT)
    send_mail(relay, "a@a.test", "b@b.test", MAIL)
    peer.wait_for(1)
    assert [session.commands[0].split()[0] for session in peer.sessions] == [b"EHLO", b"HELO"]


def test_2yz_to_data_sends_no_message_and_keeps_the_session(make_relay, make_server):
    peer = make_server({"DATA": Sequence("250 Resetting", None)})
    relay = make_relay(routes={"*": peer.route}, outbound={"temp_fail_intervals": "1s*13"})
    queue_id = send_mail(relay, "a@a.test", "b@b.test", MAIL)
    relay.wait_log("delivery deferred", id=queue_id)
    peer.wait_for(1)
    assert peer.copies() == {"b@b.test": 1}
    assert b"RSET" in peer.sessions[0].commands


# ------------------------------------------------------------------------------------------------ memory


def test_what_is_learnt_is_explained_and_survives_a_kill(make_api, make_server):
    peer = make_server({"RCPT": taking(5, "452 too many")})
    relay, _ = make_api(routes={"*": peer.route}, outbound=PATIENT)
    send_mail(relay, "a@a.test", [f"u{n}@b.test" for n in range(12)], MAIL)
    peer.wait_for(3)
    wait_until(lambda: (relay.data / "peers").exists(), 10, "the memory on disk")
    relay.kill()
    relay.start()
    status, _, way = Api(relay).ask("GET", "/v1/explain?recipient=b@b.test")
    assert status == 200
    assert [(known["trait"], known["value"]) for known in way["learnt"]] == [("recipients", 5)]
    assert way["learnt"][0]["until"] > time.strftime("%Y-%m-%d")
