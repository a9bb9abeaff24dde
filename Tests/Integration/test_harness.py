"""test_harness.py - the peers themselves: a test bench that lies proves nothing."""

import subprocess
import threading

import pytest
from harness import LogLine, Relay
from scripted import ByRecipient, Drop, Reset, Sequence, Stall
from smtp_client import ProtocolViolation, SmtpClient, dot_stuff, send_mail, split_trace, un_dot_stuff
from waiting import find_program, wait_until


def test_sink_keeps_every_octet(sink):
    body = b".first\r\n..\r\n.\r\n\r\n.last\r\n\xff\x00 8-bit\r\n"
    send_mail(sink.address, "a@a.test", ["b@b.test", "c@c.test"], body)
    [message] = sink.wait_for(1)
    assert (message.sender, message.recipients, message.data) == ("a@a.test", ["b@b.test", "c@c.test"], body)
    assert sink.violations == [] and sink.copies() == {"b@b.test": 1, "c@c.test": 1}


def test_sink_takes_an_empty_message(sink):
    send_mail(sink.address, "", ["b@b.test"], b"")
    assert sink.wait_for(1)[0].data == b""


@pytest.mark.parametrize("content", [b"", b".\r\n", b"..\r\n", b"a\r\n.b\r\n", b"\r\n.\r\n"])
def test_dots_come_back(content):
    assert un_dot_stuff(dot_stuff(content)[:-3]) == content


def test_script_is_followed(make_server):
    server = make_server({"RCPT": ByRecipient({"x@b.test": "550 5.1.1 no"}), "DOT": Sequence("451 4.3.0 later", None)})
    with SmtpClient(server.address) as client:
        client.expect(220)
        client.ehlo()
        client.mail()
        client.rcpt("x@b.test", "", 550)
        client.rcpt("b@b.test")
        client.data(b"1\r\n", 451)
        assert server.messages == []
        client.message("a@a.test", "b@b.test", b"2\r\n")
        client.quit()
    assert [m.data for m in server.messages] == [b"2\r\n"] and len(server.transactions) == 2


def test_drops_resets_stalls(make_server):
    server = make_server({"MAIL": Sequence(Drop(b"25"), Reset(), Stall(0.2, "250 ok"), Stall())})
    for wanted in (ProtocolViolation, ConnectionError):
        with SmtpClient(server.address) as client:
            client.expect(220)
            client.ehlo()
            with pytest.raises(wanted):
                client.mail()
    with SmtpClient(server.address) as client:
        client.expect(220)
        client.ehlo()
        client.mail()
        client.send(b"MAIL FROM:<>\r\n")
        assert client.is_quiet(0.3)
        server.heal()
        assert client.rest() == b""


def test_lmtp_answers_each_recipient(make_server):
    server = make_server({"DOT": ByRecipient({"b@b.test": "550 5.2.2 full"})}, lmtp=True)
    with SmtpClient(server.address) as client:
        client.expect(220)
        client.command("LHLO c.test", 250)
        client.mail()
        client.rcpt("a@b.test")
        client.rcpt("b@b.test")
        client.data(b"x\r\n", 250)
        client.expect(550)
    assert server.copies() == {"a@b.test": 1}


def test_violations_are_seen(sink):
    with SmtpClient(sink.address) as client:
        client.expect(220)
        client.send(b"EHLO a\r\nMAIL FROM:<>\r\n")
        client.expect(250)
        client.expect(250)
        client.rcpt("a@a.test")
        client.command("DATA", 354)
        client.send(b"a\nb\r\n.c\r\n.\r\n")
        client.expect(250)
    assert len(sink.violations) == 3


def test_client_refuses_bad_replies(make_server):
    for raw in (b"250-a\r\n251 b\r\n", b"250 a\n", b"25 a\r\n", b"250 \x07\r\n", b"250 " + b"a" * 600 + b"\r\n"):
        with SmtpClient(make_server({"BANNER": raw}).address) as client, pytest.raises(ProtocolViolation):
            client.read_reply()


def test_log_lines_are_read():
    line = LogLine.parse(
        r'2026-11-22T18:00:00.123Z notice delivered id=0ABC to=b@b.test reply="250 2.0.0 \"Ok\" a=b\x0a"'
    )
    assert (line.level, line.message, line["id"], line["reply"]) == (
        "notice",
        "delivered",
        "0ABC",
        '250 2.0.0 "Ok" a=b\n',
    )
    line = LogLine.parse('{"time":"t","level":"info","message":"ready","listen":"127.0.0.1:25"}')
    assert (line.message, line["listen"]) == ("ready", "127.0.0.1:25")


def test_trace_is_split():
    content = b"Received: by a\r\n\tx\r\nMessage-ID: <a>\r\nSubject: b\r\n\r\nbody\r\n"
    assert split_trace(content) == (content[:37], content[37:])


def test_configuration_is_written(tmp_path):
    relay = Relay(
        tmp_path,
        routes={"a.test": ["127.0.0.1:25", "127.0.0.2:26 using_lmtp=true"], "*": ("::1", 2525)},
        smtp={"threads": 1, "limits.errors": 5},
        outbound={"disabled": True},
        resolver="127.0.0.1@53",
    )
    assert (relay.config / "routes.ini").read_text() == (
        "[a.test]\nmx = 127.0.0.1:25\nmx = 127.0.0.2:26 using_lmtp=true\n\n[*]\nmx = [::1]:2525\n"
    )
    assert "[limits]\nerrors = 5\n" in (relay.config / "smtp.ini").read_text()
    assert "disabled = true\n" in (relay.config / "outbound.ini").read_text()


@pytest.mark.skipif(not find_program("dig"), reason="dig is not installed")
def test_dns_answers(make_dns):
    dns = make_dns(
        {
            ("b.test", "MX"): [(10, "mx.b.test"), (20, "c.b.test")],
            ("mx.b.test", "A"): ["127.0.0.1"],
            ("c.b.test", "CNAME"): "mx.b.test",
            ("l.test", "CNAME"): "l.test",
            ("s.test", "*"): "SERVFAIL",
            ("big.test", "MX"): [(1, f"mx{n}.big.test") for n in range(200)],
        }
    )

    def dig(*arguments):
        return subprocess.run(
            ["dig", "+time=1", "+tries=1", f"@{dns.host}", "-p", str(dns.port), *arguments],
            capture_output=True,
            text=True,
        ).stdout

    assert "10 mx.b.test." in dig("b.test", "MX", "+short")
    assert "127.0.0.1" in dig("c.b.test", "A", "+short")
    assert "SERVFAIL" in dig("s.test", "A") and "NXDOMAIN" in dig("none.test", "A")
    assert len(dig("big.test", "MX", "+short").splitlines()) == 200
    assert dns.asked("b.test", "MX") == 1


def test_sink_serves_many_at_once(sink):
    def one(number):
        for turn in range(10):
            send_mail(
                sink.address, "a@a.test", f"r{number}.{turn}@b.test", b"Subject: %d.%d\r\n\r\nx\r\n" % (number, turn)
            )

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    wait_until(lambda: len(sink.copies()) == 200)
    assert set(sink.copies().values()) == {1} and len(sink.by_subject()) == 200
