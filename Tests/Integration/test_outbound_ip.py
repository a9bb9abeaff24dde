"""test_outbound_ip.py - which address mail leaves from: MX bind, note, table, operating system; names; hot changes.

Loopback has many addresses, so 127.0.0.2-127.0.0.9 serve as the addresses of the machine.
"""

import smtplib

import pytest
from scripted import Sink
from smtp_client import send_mail
from waiting import accepts, free_port, wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n"
TABLE = """
[sender news@a.test]
ip = 127.0.0.2
helo = news.a.test
[sender a.test]
ip = 127.0.0.3
[sender <>]
ip = 127.0.0.8
[client 127.0.0.5/32]
ip = 127.0.0.6
[recipient bound.test]
ip = 127.0.0.7
helo = bound.test
"""


def hello(session):
    for command in session.commands:
        text = command.decode() if isinstance(command, bytes) else command
        if text.upper().startswith(("EHLO", "LHLO", "HELO")):
            return text.split()[1]
    return None


def one(relay, sink, sender, recipient, source="127.0.0.1"):
    """Sends one message; the peer's address and EHLO name of the session that brought it."""
    before = len(sink.messages)
    sessions = len(sink.sessions)
    with smtplib.SMTP(*relay.address, local_hostname="c.test", source_address=(source, 0), timeout=20) as client:
        client.sendmail(sender, [recipient], MAIL)
    sink.wait_for(before + 1)
    for session in sink.sessions:
        if any(recipient in (c.decode() if isinstance(c, bytes) else c) for c in session.commands):
            found = session
    assert len(sink.sessions) >= sessions
    return found.peer[0], hello(found)


def test_the_table_decides(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, files={"outbound_ip.ini": TABLE})
    assert one(relay, sink, "news@a.test", "r1@b.test") == ("127.0.0.2", "news.a.test")
    assert one(relay, sink, "NEWS@A.TEST", "r2@b.test") == ("127.0.0.2", "news.a.test")
    assert one(relay, sink, "other@a.test", "r3@b.test") == ("127.0.0.3", "relay.test")
    assert one(relay, sink, "x@c.test", "r4@b.test", source="127.0.0.5") == ("127.0.0.6", "relay.test")
    assert one(relay, sink, "x@c.test", "r5@bound.test") == ("127.0.0.7", "bound.test")
    assert one(relay, sink, "x@c.test", "r6@b.test") == ("127.0.0.1", "relay.test")
    assert one(relay, sink, "<>", "r7@b.test") == ("127.0.0.8", "relay.test")
    assert not sink.violations


def test_bind_of_the_mx_wins(make_relay, sink):
    relay = make_relay(
        routes={
            "*": f"127.0.0.1:{sink.port} bind=127.0.0.4 bind_helo=mx.bind.test",
            "bound.test": f"127.0.0.1:{sink.port} bind=127.0.0.2",
        },
        files={"outbound_ip.ini": TABLE},
    )
    assert one(relay, sink, "other@a.test", "r1@b.test") == ("127.0.0.4", "mx.bind.test")
    # The name of the table goes with its address, whoever chose that.
    assert one(relay, sink, "x@c.test", "r2@bound.test") == ("127.0.0.2", "news.a.test")


def test_sessions_are_not_shared_between_addresses(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, files={"outbound_ip.ini": TABLE})
    for number in range(6):
        sender = "news@a.test" if number % 2 else "other@a.test"
        send_mail(relay, sender, f"n{number}@b.test", MAIL)
    sink.wait_for(6)
    for session in sink.sessions:
        commands = [c.decode() if isinstance(c, bytes) else c for c in session.commands]
        mails = {c.split("<")[1].split(">")[0] for c in commands if c.upper().startswith("MAIL FROM")}
        assert len(mails) <= 1, mails
        if mails:
            assert session.peer[0] == ("127.0.0.2" if mails == {"news@a.test"} else "127.0.0.3")


def test_an_address_that_is_not_local_is_refused_at_load(make_relay, sink):
    relay = make_relay(started=False, routes={"*": sink.address}, files={"outbound_ip.ini": "[*]\nip = 192.0.2.7\n"})
    ran = relay.run("check")
    assert ran.returncode == 1 and "outbound_ip.ini:2: 192.0.2.7 is not an address of this machine" in ran.stdout
    relay.write("outbound_ip.ini", "")
    relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{sink.port} bind=192.0.2.7\n")
    ran = relay.run("check")
    assert ran.returncode == 1 and "routes.ini:2: bind: 192.0.2.7 is not an address of this machine" in ran.stdout


def test_a_change_reaches_mail_that_waits(make_relay, sink):
    port = free_port()
    relay = make_relay(
        routes={"*": ("127.0.0.1", port)}, outbound={"temp_fail_intervals": "1s*100"}, files={"outbound_ip.ini": TABLE}
    )
    queue_id = send_mail(relay, "other@a.test", "w@b.test", MAIL)
    relay.wait_log("delivery deferred", id=queue_id)
    relay.write("outbound_ip.ini", "[sender a.test]\nip = 127.0.0.9\nhelo = nine.test\n")
    relay.wait_log("queued mail takes another way")
    relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{sink.port}\n")
    relay.wait_log("configuration changed", count=2)
    sink.wait_for(1)
    assert sink.sessions[0].peer[0] == "127.0.0.9" and hello(sink.sessions[0]) == "nine.test"


def test_a_broken_table_keeps_the_last_good_one(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, files={"outbound_ip.ini": TABLE})
    relay.write("outbound_ip.ini", "[sender a.test]\nip = nonsense\n")
    relay.wait_log("configuration is invalid, the last good one stays", file="outbound_ip.ini", line="2")
    assert one(relay, sink, "other@a.test", "k@b.test")[0] == "127.0.0.3"


def test_a_family_that_the_address_cannot_reach_is_not_tried(make_relay, closing):
    six = closing(Sink(host="::1"))
    if not accepts(six.address):
        pytest.skip("no IPv6 on loopback")
    four, before = closing(Sink()), len(six.sessions)
    relay = make_relay(
        routes={"*": [f"[::1]:{six.port}", four.address]}, files={"outbound_ip.ini": "[*]\nip = 127.0.0.2\n"}
    )
    send_mail(relay, "a@a.test", "f@b.test", MAIL)
    four.wait_for(1)
    assert len(six.sessions) == before and four.sessions[0].peer[0] == "127.0.0.2"


def test_both_families_of_a_binding(make_relay, closing):
    six = closing(Sink(host="::1"))
    if not accepts(six.address):
        pytest.skip("no IPv6 on loopback")
    count = len(six.sessions)
    relay = make_relay(
        routes={"*": f"[::1]:{six.port}"}, files={"outbound_ip.ini": "[*]\nip = 127.0.0.2, ::1\nhelo = both.test\n"}
    )
    send_mail(relay, "a@a.test", "g@b.test", MAIL)
    six.wait_for(1)
    wait_until(lambda: len(six.sessions) > count, 10, "a session")
    assert hello(six.sessions[-1]) == "both.test"
