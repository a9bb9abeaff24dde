"""test_routes.py - routes.ini end to end: who fits, what a change does to mail that waits, secrets, errors with file:line."""

import socket
import threading

import pytest
from scripted import Sink
from smtp_client import send_mail
from waiting import free_port, wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n"


def recipients(sink):
    return sorted(r for t in sink.messages for r in t.accepted)


def test_the_most_specific_section_counts(make_relay, closing):
    sinks = {name: closing(Sink()) for name in ["address", "domain", "suffix", "rest", "sender", "null"]}
    relay = make_relay(
        routes={
            "*": sinks["rest"].address,
            "*.b.test": sinks["suffix"].address,
            "b.test": sinks["domain"].address,
            "Boss@b.test": sinks["address"].address,
            "sender news@a.test": sinks["sender"].address,
            "sender <>": sinks["null"].address,
        }
    )
    send_mail(relay, "x@a.test", ["boss@b.test", "other@b.test", "u@sub.b.test", "u@c.test"], MAIL)
    send_mail(relay, "news@a.test", ["boss@b.test", "u@d.test"], MAIL)
    send_mail(relay, "", ["boss@b.test", "u@d.test"], MAIL)
    for name, expected in {
        "address": ["boss@b.test", "boss@b.test", "boss@b.test"],
        "domain": ["other@b.test"],
        "suffix": ["u@sub.b.test"],
        "rest": ["u@c.test"],
        "sender": ["u@d.test"],
        "null": ["u@d.test"],
    }.items():
        wait_until(lambda: recipients(sinks[name]) == expected, 15, lambda: f"{name}: {recipients(sinks[name])}")


def test_recipients_of_one_route_share_a_transaction(make_relay, sink):
    relay = make_relay(routes={"*": sink.address})
    send_mail(relay, "a@a.test", ["one@b.test", "two@c.test", "three@d.test"], MAIL)
    message = sink.wait_for(1)[0]
    assert sorted(message.recipients) == ["one@b.test", "three@d.test", "two@c.test"]


def test_always_split_gives_each_its_own(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, outbound={"always_split": True})
    send_mail(relay, "a@a.test", ["one@b.test", "two@b.test"], MAIL)
    assert sorted(len(m.recipients) for m in sink.wait_for(2)) == [1, 1]


def test_a_changed_route_reaches_mail_that_waits(make_relay, closing):
    dead = free_port()
    new = closing(Sink())
    relay = make_relay(routes={"*": ("127.0.0.1", dead)}, outbound={"temp_fail_intervals": "1s*100"})
    queue_id = send_mail(relay, "a@a.test", ["u@b.test", "u@c.test"], MAIL)
    relay.wait_log("delivery deferred", id=queue_id)
    relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{dead}\n[b.test]\nmx = 127.0.0.1:{new.port}\n")
    assert relay.wait_log("queued mail takes another way")["count"] == "1"
    wait_until(lambda: recipients(new) == ["u@b.test"], 15, "the message at its new place")
    relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{new.port}\n[b.test]\nmx = 127.0.0.1:{new.port}\n")
    wait_until(lambda: recipients(new) == ["u@b.test", "u@c.test"], 15, "the other recipient")
    relay.wait_log("message finished", id=queue_id)


def test_a_hundred_thousand_routes(make_relay, sink, closing):
    """Load, lookup, a change, and mail that waited for it."""
    other, dead = closing(Sink()), f"127.0.0.1:{free_port()}"

    def table(last):
        return (
            "".join(f"[d{n}.test]\nmx = {dead}\n" for n in range(99_998))
            + f"[*.s.test]\nmx = {sink.route}\n[last.test]\nmx = {last}\n"
        )

    relay = make_relay(started=False, outbound={"temp_fail_intervals": "1h*9", "lane_rest_max": 3600})
    relay.write("routes.ini", table(dead))
    relay.start(timeout=60)
    send_mail(relay, "a@a.test", ["u@x.s.test"], MAIL)
    sink.wait_for(1)
    queue_id = send_mail(relay, "a@a.test", ["u@last.test", "u@d50000.test"], MAIL)
    relay.wait_log("delivery deferred", id=queue_id, count=2)
    relay.write("routes.ini", table(other.route))
    assert relay.wait_log("queued mail takes another way", timeout=300)["count"] == "1"
    relay.hup()
    wait_until(lambda: recipients(other) == ["u@last.test"], 120, "the message at its new place")


@pytest.mark.parametrize(
    "line,reason",
    [
        ("mx = b.test prioity=1", "unknown key prioity; did you mean priority?"),
        ("mx = b.test\ntls = always", "is none of off, may, require, verify, dane"),
        ("mx = b.test\nauth_user = u", "auth_user stands without auth_pass"),
        ("mx = b.test\nauth_user = u\nauth_pass = @file:missing", "there is no file missing"),
        ("mx = bad host!", "is not host, host:port"),
    ],
)
def test_mistakes_are_named(make_relay, sink, line, reason):
    relay = make_relay(routes={"*": sink.address})
    relay.write("routes.ini", f"[*]\n{line}\n")
    found = relay.wait_log("configuration is invalid, the last good one stays", file="routes.ini")
    assert reason in found["reason"], found.raw
    ran = relay.run("check")
    assert ran.returncode == 1 and "routes.ini:" in ran.stdout and reason in ran.stdout
    send_mail(relay, "a@a.test", "still@b.test", MAIL)
    sink.wait_for(1)


def test_a_secret_in_a_file_of_its_own_is_followed(make_relay, closing):
    sink = closing(Sink())
    relay = make_relay(started=False, routes={"*": {"mx": sink.address, "auth_user": "u", "auth_pass": "@file:pass"}})
    relay.write("pass", "first\n")
    (relay.config / "pass").chmod(0o600)
    relay.start()
    relay.write("pass", "second\n")
    relay.wait_log("configuration changed")
    assert not any("first" in line.raw or "second" in line.raw for line in relay.log)


class UnixPeer:
    """An LMTP server on a Unix socket: takes `ok…`, answers 550 behind the dot to `bad…` and 452 to `full…`."""

    def __init__(self, path):
        self.path, self.messages, self.lines = str(path), [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as file:

            def say(text):
                connection.sendall(text.encode() + b"\r\n")

            say("220 unix.test LMTP")
            users = []
            for raw in file:
                line = raw.decode().rstrip("\r\n")
                self.lines.append(line)
                verb = line.split(" ")[0].upper()
                if verb == "LHLO":
                    say("250-unix.test\r\n250-PIPELINING\r\n250 8BITMIME")
                elif verb == "RCPT":
                    users.append(line.split("<")[1].split("@")[0])
                    say("250 2.1.5 ok")
                elif verb == "DATA":
                    say("354 go")
                    data = b""
                    while not data.endswith(b"\r\n.\r\n"):
                        data += file.readline()
                    self.messages.append((users, data))
                    for user in users:
                        say(
                            "550 5.1.1 no"
                            if user.startswith("bad")
                            else "452 4.2.2 full"
                            if user.startswith("full")
                            else "250 2.0.0 ok"
                        )
                    users = []
                elif verb == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("form", ["{}", "unix:{}", "lmtp://{}", "{} using_lmtp=true"])
def test_lmtp_over_a_unix_socket(make_relay, closing, tmp_path_factory, form):
    path = tmp_path_factory.mktemp("s") / "lmtp"
    peer = closing(UnixPeer(path))
    relay = make_relay(routes={"*": form.format(path), "sender <>": "127.0.0.1:1"})
    queue_id = send_mail(relay, "a@a.test", ["ok@b.test", "bad@b.test", "full@c.test"], MAIL)
    relay.wait_log("delivered", id=queue_id)
    relay.wait_log("bounced", id=queue_id, to="bad@b.test")
    relay.wait_log("delivery deferred", id=queue_id, to="full@c.test")
    assert peer.messages[0][0] == ["ok", "bad", "full"]
    assert relay.log_lines("delivered", id=queue_id)[0].raw.count(str(path)) >= 1


def test_a_socket_that_is_not_there_defers(make_relay, tmp_path):
    relay = make_relay(routes={"*": str(tmp_path / "none")})
    queue_id = send_mail(relay, "a@a.test", "u@b.test", MAIL)
    found = relay.wait_log("delivery deferred", id=queue_id)
    assert "no such file" in found["reply"].lower()


def test_direct_is_an_exception_from_the_smart_host(make_relay, sink, closing):
    from dns_server import DnsServer

    dns = closing(DnsServer({("direct.test", "MX"): [(0, ".")]}))
    relay = make_relay(routes={"*": sink.address}, resolver=dns)
    relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{sink.port}\n[direct.test]\ndirect = true\n")
    relay.wait_log("configuration changed")
    queue_id = send_mail(relay, "a@a.test", ["u@direct.test", "u@other.test"], MAIL)
    found = relay.wait_log("bounced", id=queue_id)
    assert "null MX" in found["reply"]
    sink.wait_for(1)


def test_internationalised_domains_are_routed(make_relay, closing):
    """RFC 6531 §3.2: the DNS gets A-labels, and so does a server without SMTPUTF8 where the local part is ASCII."""
    from dns_server import DnsServer

    dns = closing(DnsServer({("xn--bcher-kva.test", "MX"): [(0, ".")]}))
    relay = make_relay(resolver=dns)
    with socket.create_connection(relay.address) as client:
        file = client.makefile("rwb")

        def talk(text, expected):
            if text:
                file.write(text.encode() + b"\r\n")
                file.flush()
            while True:
                line = file.readline()
                if line[3:4] != b"-":
                    assert line.startswith(expected.encode()), line
                    return

        talk("", "220")
        talk("EHLO c.test", "250")
        talk("MAIL FROM:<a@a.test> SMTPUTF8", "250")
        talk("RCPT TO:<u@bücher.test>", "250")
        talk("DATA", "354")
        talk("Subject: x\r\n\r\nx\r\n.", "250")
        talk("QUIT", "221")
    found = relay.wait_log("bounced", to="u@xn--bcher-kva.test")
    assert "null MX" in found["reply"]
    assert dns.asked("xn--bcher-kva.test", "MX") >= 1
