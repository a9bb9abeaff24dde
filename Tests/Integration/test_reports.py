"""test_reports.py - a report arrives, whatever the message was that it is about and whatever the next hop takes."""

import email
import email.policy

import pytest
import reports
from smtp_client import SmtpClient
from story import submit, text, wait_event
from test_api import families
from waiting import wait_until

QUICK = {"temp_fail_intervals": "1s*100", "lane_rest_max": 1, "pool_timeout": 1}
SEVEN = ("PIPELINING", "SIZE 104857600", "ENHANCEDSTATUSCODES", "DSN")
LONG = b"x" * 5000
WIDE = (
    "From: Jörg <a@report.test>\r\nSubject: Grüße\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nschöne Grüße\r\n"
    '--b\r\nContent-Type: application/octet-stream; name="ü.bin"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nä\x01ö\r\n'
    "--b--\r\n"
).encode()
LATIN = b"From: <a@report.test>\r\nSubject: caf\xe9\r\n\r\ncaf\xe9 " + LONG + b"\r\n"
SIGNED = b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=x; h=from; bh=x; b=x\r\n" + WIDE


def undelivered(api):
    return families(api.ask("GET", "/metrics")[2])["martlet_reports_undelivered_total"][0][1]


def is_strict(content):
    """What a server of seven bits and short lines takes."""
    lines = content.split(b"\r\n")
    return all(byte < 128 for byte in content) and max(len(line) for line in lines) <= 998


@pytest.fixture
def strict(make_server):
    """A next hop of seven bits: knows only `ok…`, and refuses what is wide or long."""

    def rcpt(_, recipient):
        return "550 5.1.1 <" + recipient + "> unknown" if recipient.startswith("no") else None

    def dot(_, transaction):
        return None if is_strict(transaction.data) else "554 5.6.0 this server takes seven bits and short lines"

    return make_server({"RCPT": rcpt, "DOT": dot}, capabilities=SEVEN, name="strict.test")


def the_report(server, recipient="a@report.test"):
    found = lambda: [m for m in server.messages if m.sender == "" and recipient in m.recipients]
    message = wait_until(found, what="the report")[0]
    report = reports.parse(message.data)
    reports.check(report, small=False)
    assert is_strict(message.data)
    return report


@pytest.mark.parametrize(
    "content, parameters",
    [
        (WIDE, "BODY=8BITMIME"),
        (LATIN, "BODY=8BITMIME"),
        (SIGNED, "BODY=8BITMIME"),
        (text(body=LONG + b"\r\n"), ""),
        (text(extra=b"X-Long: " + LONG + b"\r\n"), ""),
        (WIDE, "SMTPUTF8 BODY=8BITMIME"),
    ],
    ids=["8bit", "latin", "signed", "long", "long header", "utf8"],
)
def test_a_report_arrives_whatever_it_is_about(make_relay, strict, content, parameters):
    relay = make_relay(routes={"*": strict.route}, outbound=QUICK)
    submit(relay, "no@d.test", content=content, parameters=parameters)
    report = the_report(strict)
    assert report.original_type == "message/rfc822"
    returned = report.original.get_payload(0)
    original = email.message_from_bytes(content, policy=email.policy.default)
    if content is not LATIN:
        assert str(returned["Subject"]) == str(original["Subject"])
    for part, was in zip(returned.walk(), original.walk(), strict=True):
        if not was.is_multipart():
            assert part.get_payload(decode=True).rstrip() == was.get_payload(decode=True).rstrip()
    assert not relay.log_lines("report could not be delivered")


@pytest.mark.parametrize("notify", ["DELAY", "SUCCESS"])
def test_other_reports_arrive_as_well(make_relay, strict, make_server, notify):
    """A delay and a success bring the header back; it may be wide."""
    first = make_server({"DOT": "451 4.3.0 later"} if notify == "DELAY" else {}, capabilities=("8BITMIME", "SMTPUTF8"))
    relay = make_relay(routes={"report.test": strict.route, "*": first.route}, outbound={**QUICK, "delay_warning": 1})
    submit(relay, "no@d.test", content=WIDE, parameters="BODY=8BITMIME", rcpt_parameters=f"NOTIFY={notify}")
    report = the_report(strict)
    assert report.original_type == "text/rfc822-headers"
    assert "Subject" in report.original.get_payload() and "schöne" not in report.raw.decode()


def test_words_of_any_language_and_length_in_a_report(make_relay, make_server, strict):
    """The template, its subject, and what a peer says."""
    refuser = make_server({"RCPT": "550 5.1.1 " + "z" * 400}, name="refuser.test")
    template = "From: {me}\nTo: {from}\nSubject: Unzustellbar für {to}\n\nGrüße {reason}\n" + "ö" * 2000 + "\n"
    relay = make_relay(
        routes={"report.test": strict.route, "*": refuser.route},
        outbound=QUICK,
        files={"outbound.bounce_message": template},
    )
    submit(relay, "u@d.test")
    report = the_report(strict)
    assert str(report.message["Subject"]) == "Unzustellbar für u@d.test"
    assert report.human.startswith("Grüße 550 5.1.1 zzz") and "ö" * 2000 in report.human


def test_addresses_of_any_letters_in_a_report(make_relay, make_server, strict):
    """RFC 6533: escapes where the report is for somebody whose server knows nothing of UTF-8."""
    refuser = make_server({"RCPT": "550 5.1.1 no"}, name="refuser.test")
    relay = make_relay(routes={"report.test": strict.route, "*": refuser.route}, outbound=QUICK)
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.command("EHLO c.test")
        client.command("MAIL FROM:<a@report.test> SMTPUTF8")
        client.command("RCPT TO:<jörg@d.test> ORCPT=utf-8;kö@e.test")
        client.command("DATA")
        assert client.command("Subject: x\r\n\r\nhello\r\n.").code == 250
    report = the_report(strict)
    assert report.per_recipient[0]["Final-Recipient"] == r"utf-8; j\x{F6}rg@d.test"
    assert report.per_recipient[0]["Original-Recipient"] == r"utf-8; k\x{F6}@e.test"
    assert "jörg@d.test" in report.human


def test_a_message_of_the_largest_size_comes_back_whole(make_relay, strict):
    """The document: a copy of the entire original message; in bounded memory, by way of a file."""
    relay = make_relay(routes={"*": strict.route}, outbound=QUICK, smtp={"limits.in_memory_bytes": 65536})
    body = b"".join(b"%070d \xc3\xbc\r\n" % n for n in range(4_000))
    submit(relay, "no@d.test", content=text(body=body), parameters="BODY=8BITMIME")
    report = the_report(strict)
    assert report.original.get_payload(0).get_payload(decode=True) == body


def test_what_was_cut_is_said(make_relay, strict):
    relay = make_relay(routes={"*": strict.route}, outbound={**QUICK, "bounce_message_bytes": 1000})
    submit(relay, "no@d.test", content=text(body=b"y" * 60 + b"\r\n" + b"z\r\n" * 1000))
    report = the_report(strict)
    assert report.original_type == "text/rfc822-headers"
    assert "Only the header of your message is returned" in report.human and "at most 1000" in report.human


def test_a_report_that_is_refused_goes_again_without_the_message(make_relay, make_server):
    """A filter that refuses the text refuses the report that quotes it."""

    def dot(_, transaction):
        return "554 5.7.1 spam" if b"viagra" in transaction.data else None

    server = make_server({"DOT": dot}, name="filter.test")
    relay = make_relay(routes={"*": server.route}, outbound=QUICK)
    submit(relay, "u@d.test", content=text(body=b"viagra\r\n"))
    message = wait_until(lambda: server.messages)[0]
    report = reports.parse(message.data)
    reports.check(report)
    assert report.original_type == "text/rfc822-headers" and report.failed == ["u@d.test"]
    assert "554 5.7.1 spam" in report.human
    assert len(relay.log_lines("report refused, sent again without the message")) == 1
    assert not relay.log_lines("report could not be delivered")


@pytest.mark.parametrize("postmaster", [True, False])
def test_a_report_that_reaches_nobody(make_api, make_server, postmaster):
    """A warning, a metric, and a copy to a person; the end of the copy is told to nobody."""

    def rcpt(_, recipient):
        return None if recipient.startswith("boss") else "550 5.1.1 unknown"

    server = make_server({"RCPT": rcpt}, name="refuser.test")
    outbound = {**QUICK, "postmaster": "boss@d.test"} if postmaster else QUICK
    relay, api = make_api(routes={"*": server.route}, outbound=outbound)
    submit(relay, "u@d.test", content=text(subject="where am I"))
    line = wait_until(lambda: relay.log_lines("report could not be delivered"))[0]
    assert line.level == "warning" and line["to"] == "a@report.test", line.raw
    assert undelivered(api) == 1
    if postmaster:
        copy = the_report(server, "boss@d.test")
        assert str(copy.message["Subject"]) == "A report could not be delivered"
        assert copy.failed == ["a@report.test"] and b"where am I" in copy.raw
    wait_until(lambda: len(relay.log_lines("message finished")) == (3 if postmaster else 2))
    assert len(server.messages) == postmaster


def test_a_copy_that_reaches_nobody_is_the_end(make_api, make_server):
    server = make_server({"RCPT": "550 5.1.1 unknown"})
    relay, api = make_api(routes={"*": server.route}, outbound={**QUICK, "postmaster": "boss@d.test"})
    submit(relay, "u@d.test")
    wait_until(lambda: len(relay.log_lines("message finished")) == 3, what="message, report and copy")
    assert len(relay.log_lines("report could not be delivered")) == 2
    assert len(relay.log_lines("message accepted")) == 3
    assert undelivered(api) == 2


def test_null_senders_of_clients_are_no_reports_of_ours(make_relay, make_server):
    server = make_server({"RCPT": "550 5.1.1 unknown"})
    relay = make_relay(routes={"*": server.route}, outbound={**QUICK, "postmaster": "boss@d.test"})
    queue_id = submit(relay, "u@d.test", sender="")
    wait_event(relay, queue_id, "bounced")
    wait_until(lambda: relay.log_lines("message finished"))
    assert len(relay.log_lines("message accepted")) == 1
