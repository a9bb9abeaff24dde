"""test_auth_reception.py - AUTH at our door: Python, swaks, curl and a SCRAM client of our own; throttling; file modes."""

import base64
import hashlib
import hmac
import os
import random
import smtplib
import subprocess
import time

import pytest
from harness import MARTLET, SOAK
from peers import need
from waiting import wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: auth\r\n\r\nhello\r\n"
PLAIN = "[core]\nmax_failures = 2\nmax_delay = 2s\n[users]\nalice@a.test = open sesame\n"


@pytest.fixture
def guarded(make_relay, sink):
    """A relay that only users may send through."""

    def make(users=PLAIN, **how):
        before = os.umask(0o077)
        try:
            return make_relay(routes={"*": sink.address}, allow=[], files={"auth_flat_file.ini": users}, **how)
        finally:
            os.umask(before)

    return make


def connect(relay):
    client = smtplib.SMTP(*relay.address, timeout=30)
    client.ehlo("client.test")
    return client


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_smtplib(guarded, sink, mechanism):
    relay = guarded()
    client = connect(relay)
    assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"}
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail("a@a.test", ["b@b.test"], MAIL)
    client.user, client.password = "alice@a.test", "open sesame"
    assert client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))[0] == 235
    client.sendmail("a@a.test", ["b@b.test"], MAIL)
    client.quit()
    message = sink.wait_for(1)[0]
    assert b" with ESMTPA id " in message.data and b"alice" not in message.data
    log = relay.log_path.read_text()
    assert "user=alice@a.test" in log and "sesame" not in log


@pytest.mark.parametrize("method", ["yescrypt", "sha512", "bcrypt", "scram"])
def test_passwd_writes_what_lets_in(guarded, sink, method):
    relay = guarded(users="; the users\n[users]\n")
    os.chmod(relay.config / "auth_flat_file.ini", 0o644)
    ran = subprocess.run(
        [MARTLET, "passwd", "bob", "--config", relay.config, "--method", method],
        input=b"hunter 2\n",
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr
    text = (relay.config / "auth_flat_file.ini").read_text()
    assert text.startswith("; the users\n") and "hunter" not in text
    assert (relay.config / "auth_flat_file.ini").stat().st_mode & 0o007 == 0

    def offered():
        client = connect(relay)
        with client:
            return client.esmtp_features.get("auth", "").split()

    assert wait_until(offered) == ["PLAIN", "LOGIN"] + (["SCRAM-SHA-256"] if method == "scram" else [])
    client = connect(relay)
    client.login("bob", "hunter 2")
    client.sendmail("a@a.test", ["b@b.test"], MAIL)
    client.quit()
    if method == "scram":
        assert scram(relay, "bob", "hunter 2") == 235
    ran = subprocess.run([MARTLET, "passwd", "bob", "--config", relay.config, "--remove"], capture_output=True)
    assert ran.returncode == 0, ran.stderr
    wait_until(lambda: not offered())


def scram(relay, user, password):
    """Authenticates by SCRAM-SHA-256 and verifies the server, too; the last reply's code."""
    client = connect(relay)
    first = f"n={user},r=rOprNGfwEbeRWgbNEkqO"
    code, text = client.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(b"n,," + first.encode()).decode())
    if code != 334:
        return code
    server = base64.b64decode(text).decode()
    fields = dict(field.split("=", 1) for field in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    mac = lambda key, data: hmac.new(key, data, "sha256").digest()
    key = mac(salted, b"Client Key")
    bare = f"c=biws,r={fields['r']}"
    message = f"{first},{server},{bare}".encode()
    proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), message)))
    code, text = client.docmd(base64.b64encode(f"{bare},p={base64.b64encode(proof).decode()}".encode()).decode())
    if code != 334:
        return code
    signature = base64.b64decode(base64.b64decode(text).decode()[2:])
    assert signature == mac(mac(salted, b"Server Key"), message), "the server must prove itself"
    code, _ = client.docmd("")
    client.quit()
    return code


def test_scram(guarded):
    relay = guarded()
    assert scram(relay, "alice@a.test", "open sesame") == 235
    assert scram(relay, "alice@a.test", "open sesam") == 535
    assert scram(relay, "nobody", "x") == 535


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_swaks(guarded, sink, mechanism):
    swaks = need("swaks")
    relay = guarded()
    ran = subprocess.run(
        [
            swaks,
            "--server",
            relay.address[0],
            "--port",
            str(relay.address[1]),
            "--from",
            "a@a.test",
            "--to",
            "b@b.test",
            "--auth",
            mechanism,
            "--auth-user",
            "alice@a.test",
            "--auth-password",
            "open sesame",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "Digest::HMAC" in ran.stdout + ran.stderr or "not available" in ran.stdout + ran.stderr:
        pytest.skip("swaks lacks a module for it")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sink.wait_for(1)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_curl(guarded, sink, tmp_path, mechanism):
    curl = need("curl")
    relay = guarded()
    (tmp_path / "mail").write_bytes(MAIL)
    ran = subprocess.run(
        [
            curl,
            "-sS",
            f"smtp://{relay.address[0]}:{relay.address[1]}",
            "--mail-from",
            "a@a.test",
            "--mail-rcpt",
            "b@b.test",
            "-u",
            "alice@a.test:open sesame",
            "--login-options",
            f"AUTH={mechanism}",
            "-T",
            str(tmp_path / "mail"),
        ],
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    sink.wait_for(1)


@pytest.mark.parametrize(
    "password, log", [("open sesame", "client authenticated"), ("open sesam", "authentication refused")]
)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_gsasl(guarded, mechanism, password, log):
    """A client of SCRAM that is not ours: it verifies the server, too. (Debian's swaks and curl know no SCRAM.)"""
    gsasl = need("gsasl")
    relay = guarded()
    ran = subprocess.run(
        [
            gsasl,
            "--client",
            "--smtp",
            "--no-starttls",
            "--connect",
            f"{relay.address[0]}:{relay.address[1]}",
            "--mechanism",
            mechanism,
            "--authentication-id",
            "alice@a.test",
            "--authorization-id",
            "alice@a.test",
            "--password",
            password,
        ],
        input="QUIT\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Not by its status: it trips over the end of its input once it is let in.
    assert ("authentication finished (server trusted)" in ran.stdout + ran.stderr) == (
        "235 2.7.0" in ran.stdout + ran.stderr
    )
    assert ("235 2.7.0" in ran.stdout + ran.stderr) == (log == "client authenticated"), ran.stdout + ran.stderr
    wait_until(lambda: relay.log_lines(log))


def test_failures_are_slowed_and_ended(guarded):
    relay = guarded()
    began = time.monotonic()
    client = connect(relay)
    wrong = base64.b64encode(b"\0alice@a.test\0wrong").decode()
    assert client.docmd("AUTH PLAIN " + wrong)[0] == 535
    assert client.docmd("AUTH PLAIN " + wrong)[0] == 421
    assert time.monotonic() - began > 0.9, "the second attempt waits a second"
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    assert relay.log_path.read_text().count("authentication refused") >= 1
    assert "wrong" not in relay.log_path.read_text()


def test_who_waits_for_us_is_not_timed_out(guarded):
    """An answer that is held back longer than a client may be silent: the time is ours."""
    relay = guarded(
        users=PLAIN.replace("max_failures = 2", "max_failures = 9").replace("max_delay = 2s", "max_delay = 4s"),
        smtp={"timeouts.command": 2},
    )
    client = connect(relay)
    wrong = base64.b64encode(b"\0alice@a.test\0wrong").decode()
    began = time.monotonic()
    assert [client.docmd("AUTH PLAIN " + wrong)[0] for _ in range(4)] == [535] * 4
    assert time.monotonic() - began > 4, "the last one waits four seconds"
    assert client.noop()[0] == 250


def test_the_sender_is_bound(guarded):
    relay = guarded(users=PLAIN.replace("[core]", "[core]\nconstrain_sender = true"))
    client = connect(relay)
    client.login("alice@a.test", "open sesame")
    assert client.mail("bob@a.test")[0] == 553
    assert client.mail("alice@a.test")[0] == 250


def test_loose_modes_are_refused(guarded):
    relay = guarded()
    os.chmod(relay.config / "auth_flat_file.ini", 0o644)
    ran = subprocess.run([MARTLET, "check", "--config", relay.config], capture_output=True, text=True)
    assert ran.returncode == 1 and "auth_flat_file.ini: holds a secret" in ran.stdout and "sesame" not in ran.stdout


def test_seeded_dialogues_let_nobody_in(guarded, sink):
    """Row R5 over a socket: spoilt, cancelled, over-long and pipelined AUTH; thousands of lines, nobody relays, the relay lives."""
    relay = guarded(
        users=PLAIN.replace("max_failures = 2", "max_failures = 1").replace("max_delay = 2s", "max_delay = 1s")
    )
    chance = random.Random(4954)
    encoded = lambda octets: base64.b64encode(octets)
    names = [b"PLAIN", b"LOGIN", b"CRAM-MD5", b"SCRAM-SHA-256", b"plain", b"GSSAPI", b""]

    def line():
        word = chance.choice(
            [
                b"",
                b"*",
                b"=",
                b"*\0",
                b" ",
                encoded(b"\0nobody\0x"),
                encoded(b"n,,n=nobody,r=x"),
                encoded(b"alice@a.test"),
                b"A" * chance.choice([11, 499, 600, 13000]),
                chance.randbytes(20).translate(None, b"\r\n"),
                b"\0\0",
                encoded(b"\0\0\0\0"),
                encoded(b"c=biws,r=x,p=" + encoded(b"p" * 32)),
                encoded(b"nobody " + b"0" * 32),
            ]
        )
        return chance.choice(
            [
                b"AUTH %b %b\r\n" % (chance.choice(names), word),
                b"AUTH %b\r\n" % chance.choice(names),
                word + b"\r\n",
                word + b"\r\n",
                b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n",
            ]
        )

    # A challenge; malformed or cancelled; too long; an unknown mechanism; no relaying.
    replies = dict.fromkeys([b"334", b"501", b"500", b"504", b"550"], 0)
    for number in range(10_000 if SOAK else 300):
        # Each from an address of its own, or throttling would answer for the parser.
        with relay.connect(source=f"127.1.{number // 250}.{number % 250 + 1}") as client:
            client.expect(220)
            client.ehlo()
            client.try_send(b"".join(line() for _ in range(60)))
            client.half_close()
            said = client.rest()
            said = b"\r\n" + said
            assert b"\r\n235 " not in said and b"\r\n354 " not in said, said
            for reply in replies:
                replies[reply] += said.count(b"\r\n%b " % reply)
    assert all(count > 50 for count in replies.values()), replies

    def logged_in():
        """Whoever comes in the middle of the guessing, from an address that never logged in, may be told to come later."""
        client = connect(relay)
        try:
            client.login("alice@a.test", "open sesame")
            return client
        except smtplib.SMTPException:
            client.close()

    client = wait_until(logged_in, 30, "the account to be free again", interval=0.5)
    client.sendmail("a@a.test", ["b@b.test"], MAIL)
    client.quit()
    assert len(sink.wait_for(1)) == 1
