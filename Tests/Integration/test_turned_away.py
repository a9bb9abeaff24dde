"""test_turned_away.py - whoever is turned away is in the log, and in Postfix's words: fail2ban's shipped filter, pflogsumm
and postfix_exporter read a log recorded here."""

import re
import smtplib
import socket
import subprocess
import time
from pathlib import Path

import pytest
from peers import need
from scripted import Sink
from waiting import free_port, wait_until

MAIL = "Subject: x\r\n\r\nHello\r\n"
FILTER = Path("/etc/fail2ban/filter.d/postfix.conf")


def dialogue(address, *lines, source="127.0.0.1"):
    """Says each line and reads its reply; what the server says last is returned."""
    with socket.create_connection(address, timeout=20, source_address=(source, 0)) as peer:
        stream = peer.makefile("rwb")
        reply = stream.readline()
        for line in lines:
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            while (reply := stream.readline())[3:4] == b"-":
                pass
        return reply.decode()


def events(relay, message):
    return [line for line in relay.log if line.message == message]


def test_each_refusal_has_a_line_with_everything_that_is_known(make_relay):
    relay = make_relay(allow=["127.0.0.9"], smtp={"allowed_sender_domains": "example.org"})
    dialogue(relay.address, "EHLO a.test", "MAIL FROM:<x@example.org>", "RCPT TO:<y@example.com>", "QUIT")
    wait_until(lambda: events(relay, "client turned away"), what="a line")
    line = events(relay, "client turned away")[0]
    assert (line.level, line["client"], line["helo"], line["verb"]) == ("notice", "[127.0.0.1]", "a.test", "RCPT")
    assert (line["from"], line["to"]) == ("x@example.org", "y@example.com")
    assert line["reply"] == "550 5.7.1 Relaying denied"
    dialogue(relay.address, "EHLO a.test", "MAIL FROM:<x@elsewhere.test>", "QUIT", source="127.0.0.9")
    wait_until(lambda: len(events(relay, "client turned away")) == 2, what="the second line")
    line = events(relay, "client turned away")[1]
    assert (line["client"], line["verb"], line["from"]) == ("[127.0.0.9]", "MAIL", "x@elsewhere.test")


def test_what_a_client_says_of_itself_stays_one_value(make_relay):
    relay = make_relay(allow=[])
    evil = 'RCPT TO:<x" client=[8.8.8.8] to=\x01y@example.com>'
    dialogue(relay.address, 'EHLO a"b=[9.9.9.9]', "MAIL FROM:<x@example.org>", evil, "QUIT")
    wait_until(lambda: events(relay, "client turned away"), what="a line")
    line = events(relay, "client turned away")[0]
    assert line["client"] == "[127.0.0.1]" and "8.8.8.8" in line["to"], line.raw
    assert "\x01" not in line.raw


def test_a_flood_of_refusals_is_a_few_lines_and_a_count(make_relay):
    relay = make_relay(allow=[], smtp={"limits.errors": 1000})
    refused = ["RCPT TO:<y@example.com>"] * 200
    dialogue(relay.address, "EHLO a.test", "MAIL FROM:<x@example.org>", *refused, "QUIT")
    wait_until(lambda: len(events(relay, "client turned away")) >= 10, what="ten lines")
    assert len(events(relay, "client turned away")) == 10
    # Another client has its own.
    dialogue(relay.address, "EHLO b.test", "MAIL FROM:<x@example.org>", refused[0], "QUIT", source="127.0.0.7")
    wait_until(lambda: len(events(relay, "client turned away")) == 11, what="the other client's line")


# ------------------------------------------------------------------------------------------- the log of others' tools


@pytest.fixture
def day(make_relay, closing):
    """A log in Postfix's words of a relay where much went wrong, and where it went right."""
    sink = closing(Sink())
    relay = make_relay(
        started=False,
        allow=["127.0.0.1"],
        routes={"late.example.com": f"127.0.0.1:{free_port()}", "*": sink.route},
        smtp={"limits.errors": 3},
        outbound={"temp_fail_intervals": "1m*5"},
        files={"auth_flat_file.ini": "[core]\nmax_delay = 1\n[users]\nalice = secret\n"},
    )
    (relay.config / "auth_flat_file.ini").chmod(0o600)
    relay.arguments += ["--log-format", "postfix"]
    relay.start(wait=False)
    log = relay.log_path
    wait_until(lambda: b"ready" in log.read_bytes(), what="ready")
    place = relay.listen[0]
    for number in range(3):
        with smtplib.SMTP(*place, timeout=20, source_address=("127.0.0.1", 0)) as client:
            client.sendmail("app@example.org", [f"b{number}@example.com"], MAIL)
    with smtplib.SMTP(*place, timeout=20, source_address=("127.0.0.3", 0)) as client:
        client.login("alice", "secret")
        client.sendmail("alice@example.org", ["late@late.example.com"], MAIL)
    for _ in range(3):
        dialogue(place, "EHLO a", "MAIL FROM:<s@example.org>", "RCPT TO:<t@example.com>", "QUIT", source="127.0.0.4")
    for _ in range(2):
        # alice, wrong
        dialogue(place, "EHLO a", "AUTH PLAIN AGFsaWNlAHdyb25n", "QUIT", source="127.0.0.5")
    assert dialogue(place, "EHLO a", *["NONSENSE"] * 4, source="127.0.0.6").startswith("421")
    dialogue(place, "EHLO a", "MAIL FROM:<s@example.org>", source="127.0.0.8")
    wait_until(lambda: log.read_bytes().count(b": removed") == 3, what="three mails")
    wait_until(lambda: b"status=deferred" in log.read_bytes(), what="a deferral")
    wait_until(lambda: b"lost connection after MAIL from unknown[127.0.0.8]" in log.read_bytes(), what="a lost client")
    relay.stop()
    return log


def banned(log, mode):
    """Addresses that the shipped filter finds, by how often."""
    found = subprocess.run(
        ["fail2ban-regex", "-v", "--print-all-matched", str(log), f"postfix[mode={mode}]"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    addresses = re.findall(r"^\|\s+(127\.0\.0\.\d+)\s+\w{3} ", found, re.M)
    return {address: addresses.count(address) for address in sorted(set(addresses))}, found


def test_the_shipped_filter_of_fail2ban_finds_who_is_to_be_banned(day):
    need("fail2ban-regex")
    assert FILTER.exists()
    found, text = banned(day, "more")
    assert found == {"127.0.0.4": 3, "127.0.0.6": 1}, text
    found, text = banned(day, "auth")
    assert found == {"127.0.0.5": 2}, text
    found, text = banned(day, "errors")
    assert found == {"127.0.0.6": 1}, text
    found, text = banned(day, "aggressive")
    assert found == {"127.0.0.4": 3, "127.0.0.5": 2, "127.0.0.6": 1, "127.0.0.8": 1}, text


def test_pflogsumm_sums_up_the_day(day):
    need("pflogsumm")
    report = subprocess.run(["pflogsumm", "--smtpd-stats", str(day)], capture_output=True, text=True).stdout
    found = re.findall(r"^ +(\d+) +(received|delivered|deferred|bounced|rejected)\b", report, re.M)
    totals = {word: int(number) for number, word in reversed(found)}
    assert (totals["received"], totals["delivered"], totals["deferred"], totals["rejected"]) == (4, 3, 1, 3), report
    assert re.search(r"^message reject detail\n-+\n +RCPT\n +Relay access denied \(total: 3\)", report, re.M), report
    # Connections are counted, each once.
    assert re.search(r"^ +11 +connections$", report, re.M), report


def test_the_delay_is_the_age_of_the_mail(day):
    [line] = [line for line in day.read_text().splitlines() if "status=deferred" in line]
    assert float(re.search(r", delay=([\d.]+),", line)[1]) < 30, line
    assert "sasl_method=" in day.read_text() and "sasl_username=alice" in day.read_text()


def test_postfix_exporter_counts(day, tmp_path):
    need("prometheus-postfix-exporter")
    port = free_port()
    log = tmp_path / "mail.log"
    log.touch()
    exporter = subprocess.Popen(
        [
            "prometheus-postfix-exporter",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--postfix.logfile_path={log}",
            f"--postfix.showq_path={tmp_path}/none",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: metrics(port), what="the exporter")
        with log.open("ab") as target:
            target.write(day.read_bytes())

        def wanted():
            text = metrics(port)
            return 'postfix_smtpd_messages_rejected_total{code="550"} 3' in text and text

        text = wait_until(wanted, what="the counts")
        assert "postfix_smtpd_sasl_authentication_failures_total 2" in text, text
        assert re.search(r"^postfix_smtpd_connects_total 11$", text, re.M), text
    finally:
        exporter.kill()
        exporter.wait()


def metrics(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b""
            while piece := peer.recv(65536):
                text += piece
            return text.decode()
    except OSError:
        time.sleep(0.05)
        return ""
