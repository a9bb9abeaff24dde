"""test_leaks.py - memory that nobody holds any more, message by message, of every kind: the relay under valgrind.

For each kind of mail: a few messages first, so that everything is made that is made once; then valgrind says how many
bytes are lost, many messages go through, and it says so again. What was lost meanwhile must not follow their number.
Strings of live objects look lost to valgrind (Swift tags their addresses), so each kind waits until its mail is gone.
"""

import contextlib
import os
import re
import shutil
import smtplib
import ssl
import subprocess

import pytest
from api import JSON, MAIL, Api
from harness import MARTLET, SOAK
from peers import need
from scripted import ByRecipient
from waiting import wait_until

TIMES = 20 if SOAK else 1
# Bytes for each message that are no leak: tables that grow for good, but slowly, and blocks that valgrind misses by chance.
NOISE = 24


class Valgrind:
    """A relay below valgrind: `lost()` is how many bytes no pointer leads to now."""

    def __init__(self, make_relay, tmp_path, **how):
        for name in ("valgrind", "vgdb", "strip"):
            need(name)
        self.report = tmp_path / "valgrind.log"
        # valgrind cannot read what Swift's compiler writes for debuggers.
        binary = tmp_path / "martlet"
        subprocess.run(["strip", "-g", "-o", binary, MARTLET], check=True)
        tool = ["--leak-check=no", "--vgdb-prefix=" + str(tmp_path / "vgdb"), f"--log-file={self.report}"]
        self.prefix = tmp_path / "vgdb"
        self.relay = make_relay(
            started=False, binary=str(binary), prefix=["valgrind", "--vgdb=yes", "--num-callers=24", *tool], **how
        )
        self.relay.start(timeout=90)

    def lost(self, *how):
        """Definitely and indirectly lost, in bytes."""
        said = subprocess.run(
            ["vgdb", f"--vgdb-prefix={self.prefix}", f"--pid={self.relay.pid}", "leak_check", *(how or ("summary",))],
            capture_output=True,
            text=True,
            timeout=120,
        )
        found = [int(n.replace(",", "")) for n in re.findall(r"(?:definitely|indirectly) lost: ([\d,]+)", said.stdout)]
        if len(found) == 2:
            return sum(found)
        assert "no leaks are possible" in said.stdout or "lost" in said.stdout, said.stdout + said.stderr
        return sum(found)

    def settled(self):
        """Everything that was accepted has gone, so that nothing of it is live."""
        relay = self.relay
        wait_until(
            lambda: len(relay.log_lines("message finished")) == len(relay.log_lines("message accepted")),
            60,
            lambda: f"an empty queue; log:\n{relay.log_tail(20)}",
            0.05,
        )

    def holds(self, check, name, count, send):
        """`send(n)` sends n messages; what is lost by them must not follow their number."""
        send(max(2, count // 10))
        self.settled()
        before = self.lost()
        grown = []
        # What is no leak does not grow a second time.
        for _ in range(2):
            send(count)
            self.settled()
            now = self.lost()
            grown.append(now - before)
            before = now
            if grown[-1] <= NOISE * count:
                break
        check(grown[-1] <= NOISE * count, f"{name}: {grown} bytes lost by {count} messages each; {self.report}")
        if grown[-1] > NOISE * count:
            self.lost("full", "definite", "increased")


@pytest.fixture
def watched(make_relay, tmp_path, check):
    """`watched(routes=…)` is a relay below valgrind; where something was lost, the report is kept beside the log."""
    made = []

    def make(**how):
        made.append(Valgrind(make_relay, tmp_path, **how))
        return made[-1]

    yield make
    for valgrind in made:
        valgrind.relay.stop(timeout=120)
        said = valgrind.report.read_text(errors="replace")
        for what in ("Invalid read", "Invalid write", "Invalid free", "Mismatched free", "uninitialised"):
            check(what not in said, f"valgrind: {what}\n{said[:4000]}")
        if check.failures and os.environ.get("TEST_LEAKS"):
            shutil.copy(valgrind.report, os.environ["TEST_LEAKS"])


def message(number, sender="a@a.test"):
    return f"From: {sender}\r\nTo: b@b.test\r\nSubject: number {number}\r\n\r\nA line of text.\r\n..\r\n".encode()


def by_smtp(
    relay, recipients=1, bdat=False, sender="a@sender-of-some-length.test", domain="recipients-of-some-length.test"
):
    def send(count):
        with relay.session(timeout=120) as client:
            for number in range(count):
                to = [f"a-recipient-with-a-name-{i}@{domain}" for i in range(recipients)]
                client.message(sender, to, message(number, sender), bdat=bdat)
            client.quit()

    return send


def refused(relay):
    """Transactions that come to nothing: RSET, refused content, an end in the middle."""

    def send(count):
        with relay.session(timeout=120) as client:
            for _ in range(count):
                client.mail()
                client.rcpt("somebody-with-a-long-name@recipients-of-some-length.test")
                client.command("RSET", 250)
            client.quit()
        for _ in range(max(1, count // 20)):
            with relay.session(timeout=120) as client:
                client.mail()
                client.rcpt("somebody-with-a-long-name@recipients-of-some-length.test")
                client.command("DATA", 354)
                client.send(b"Subject: never ends\r\n\r\nA line\r\n")

    return send


def by_api(api):
    def send(count):
        for number in range(count):
            if number % 2:
                mail = {"from": "Ä <a@a.test>", "to": ["b@recipients-of-some-length.test"], "subject": "s", "text": "t"}
                status = api.ask("POST", "/v1/messages", mail, **JSON)[0]
            else:
                to = "/v1/messages?from=a@a.test&to=somebody-with-a-long-name@recipients-of-some-length.test"
                status = api.ask("POST", to, MAIL, Content_Type="message/rfc822")[0]
            assert status == 202, status

    return send


def by_smtplib(relay, user=None, tls=True):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def send(count):
        for number in range(count):
            with contextlib.closing(smtplib.SMTP(*relay.address, timeout=120)) as client:
                client.ehlo("client.test")
                if tls:
                    client.starttls(context=context)
                if user:
                    client.login(*user)
                client.sendmail("alice@a.test", ["b@recipients-of-some-length.test"], message(number))
                client.quit()

    return send


def failing(relay, server, word, recipients=1):
    """Mail that is deferred or bounced first, by the recipient's name; it goes when the peer is healed."""
    script = {
        "RCPT": ByRecipient({f"{word}@d.test": "450 4.2.1 later" if word == "later" else "550 5.1.1 no such user"})
    }

    def send(count):
        server.script = script
        finished = len(relay.log_lines("message finished"))
        with relay.session(timeout=120) as client:
            for number in range(count):
                client.message("a@report.test", [f"{word}@d.test"], message(number))
            client.quit()
        if word == "later":
            want = len(relay.log_lines("delivery deferred"))
            wait_until(lambda: len(relay.log_lines("delivery deferred")) >= min(want + 1, count), 60, "deferrals")
            server.heal()
            relay.hup()
        wait_until(lambda: len(relay.log_lines("message finished")) >= finished + count, 60, relay.log_tail)

    return send


def test_nothing_is_lost_with_mail(watched, make_server, sink, check):
    server = make_server({}, name="peer.test")
    valgrind = watched(
        routes={"d.test": server.route, "*": sink.route},
        smtp={"limits.recipients": 1000},
        outbound={"temp_fail_intervals": "1s*100"},
        files={"admin.ini": "listen = 127.0.0.1:0\n", "auth_flat_file.ini": "[users]\nalice@a.test = open sesame\n"},
    )
    relay = valgrind.relay
    assert (
        subprocess.run(
            [MARTLET, "tls", "self-signed", "--name", "relay.test", "--config", relay.config], capture_output=True
        )
    ).returncode == 0
    wait_until(lambda: "STARTTLS" in relay.session().capabilities, 30, "STARTTLS", 0.5)
    api = Api(relay)
    valgrind.holds(check, "SMTP", 300 * TIMES, by_smtp(relay))
    valgrind.holds(check, "BDAT, three recipients", 150 * TIMES, by_smtp(relay, 3, bdat=True))
    valgrind.holds(check, "a thousand recipients", 3 * TIMES, by_smtp(relay, 1000))
    valgrind.holds(check, "transactions without a message", 200 * TIMES, refused(relay))
    valgrind.holds(check, "API", 60 * TIMES, by_api(api))
    valgrind.holds(check, "TLS", 15 * TIMES, by_smtplib(relay))
    valgrind.holds(check, "AUTH", 15 * TIMES, by_smtplib(relay, ("alice@a.test", "open sesame"), tls=False))
    valgrind.holds(check, "deferrals", 40 * TIMES, failing(relay, server, "later"))
    valgrind.holds(check, "reports", 40 * TIMES, failing(relay, server, "no"))


def test_nothing_is_lost_with_hooks_and_signatures(watched, make_hook, sink, check):
    hook = make_hook({"queue_outbound": {"code": "CONT"}, "get_mx": {"code": "CONT"}, "delivered": {"code": "CONT"}})
    valgrind = watched(routes={"*": sink.route}, files={"hooks.ini": hook.ini(contents="header")})
    relay = valgrind.relay
    for kind in ("rsa", "ed25519"):
        made = subprocess.run(
            [MARTLET, "dkim", "generate", "signed.test", "--selector", kind, "--type", kind, "--config", relay.config],
            capture_output=True,
        )
        assert made.returncode == 0, made.stderr
    relay.hup()
    valgrind.holds(check, "hooks", 60 * TIMES, by_smtp(relay))
    valgrind.holds(check, "hooks and signatures", 25 * TIMES, by_smtp(relay, sender="a@signed.test"))
    assert b"DKIM-Signature" in sink.messages[-1].data
