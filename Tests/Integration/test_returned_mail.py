"""test_returned_mail.py - reports that come days later: from a stranger, to senders of our own, into history and the list."""

import smtplib
import socket

import pytest
from api import Api, token
from scripted import Sink
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"From: app@a.example\r\nSubject: x\r\nX-Tag: spring\r\nMessage-ID: <1@a.example>\r\n\r\nHello\r\n"
FRIEND = "127.0.0.2"
BOUNCES = """[bounces]
address = bounces@b.example
senders = a.example
secret = @file:secrets/bounces
"""


def report(kind, fields, more=""):
    return (
        "From: <mailer-daemon@mx.example>\r\nSubject: failure\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nNo.\r\n"
        f"--b\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n{more}--b--\r\n"
    ).encode()


def gone(address):
    return report(
        "delivery-status",
        "Reporting-MTA: dns; mx2.example\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
    )


@pytest.fixture
def house(make_relay, closing):
    sink = closing(Sink())
    relay = make_relay(
        started=False,
        allow=[FRIEND + "/32"],
        routes={"*": sink.address},
        files={
            "admin.ini": "listen = 127.0.0.1:0\nsocket = admin.sock\n",
            "rewrite.ini": BOUNCES,
            "suppressions.ini": "feed = true\n",
        },
    )
    secrets = relay.config / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "bounces").write_text("sixteen letters, and more\n")
    (secrets / "bounces").chmod(0o600)
    secret = token(relay)
    relay.start()
    return relay, sink, Api(relay, secret)


def senders(sink):
    """Envelope senders that the next hop has seen, by recipient."""
    return {m.recipients[0]: m.sender for m in sink.messages}


def stranger(relay, sender, recipients, message):
    """What a client that may not relay is told: the refusal, or None."""
    with smtplib.SMTP(*relay.address, local_hostname="mx.example", source_address=("127.0.0.3", 0), timeout=60) as smtp:
        try:
            smtp.sendmail(sender, recipients, message)
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients[recipients[0]]
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error
    return None


def events(api, kind):
    return [e["data"] for e in api.ask("GET", f"/v1/events?after=0&type={kind}")[2]["items"]]


def listed(api):
    return {(i["target"], i["sender_domain"], i["reason"]) for i in api.ask("GET", "/v1/suppressions")[2]["items"]}


def test_a_late_bounce_and_a_complaint_are_learnt_from(house):
    relay, sink, api = house
    people = ["ann@c.example", "bob@c.example"]
    send_mail(relay, "app@a.example", people, MAIL, source=FRIEND)
    send_mail(relay, "app@other.example", ["carl@c.example"], MAIL, source=FRIEND)
    wait_until(lambda: len(sink.messages) == 3, what="the mail")
    made = senders(sink)
    assert made["carl@c.example"] == "app@other.example"
    assert made["ann@c.example"] != made["bob@c.example"]
    for name in ("ann", "bob"):
        assert made[f"{name}@c.example"].startswith("bounces+")
        assert made[f"{name}@c.example"].endswith(f"={name}=c.example@b.example")

    # Whoever got one mail can say something of its own address alone.
    assert stranger(relay, "", ["victim@c.example"], gone("victim@c.example"))[0] == 550
    forged = made["ann@c.example"].replace("=ann=", "=victim=")
    assert stranger(relay, "", [forged], gone("victim@c.example"))[0] == 550
    code, words = stranger(relay, "", [made["ann@c.example"]], b"Subject: away\r\n\r\nBack on Monday.\r\n")
    assert code == 550 and b"only delivery reports" in words
    assert stranger(relay, "", [made["ann@c.example"], made["bob@c.example"]], gone("x@c.example"))[0] == 550
    assert stranger(relay, "", ["bounces@b.example"], gone("ann@c.example"))[0] == 550
    assert not events(api, "delivery.bounced_late")

    assert stranger(relay, "", [made["ann@c.example"]], gone("forwarded@d.example")) is None
    wait_until(lambda: events(api, "delivery.bounced_late"), what="the late bounce")
    late = events(api, "delivery.bounced_late")[0]
    assert late["recipient"] == "ann@c.example" and late["sender"] == "app@a.example" and late["tag"] == "spring"
    assert late["smtp"]["code"] == 550 and late["reply_class"] == "invalid_recipient" and late["class"] == "permanent"
    assert late["mx"]["host"] == "mx2.example"

    # A large one, which goes to a file, at the address that a feedback loop knows.
    complaint = report(
        "feedback-report",
        "Feedback-Type: abuse\r\nUser-Agent: Loop/1\r\nVersion: 1\r\n",
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <{made['bob@c.example']}>\r\n\r\n"
        + "x" * 60 * 40_000
        + "\r\n",
    )
    assert stranger(relay, "loop@isp.example", ["bounces@b.example"], complaint) is None
    wait_until(lambda: events(api, "delivery.complained"), what="the complaint")
    assert events(api, "delivery.complained")[0]["recipient"] == "bob@c.example"
    wait_until(
        lambda: listed(api) == {("ann@c.example", None, "hard_bounce"), ("bob@c.example", "a.example", "complaint")},
        what="both on the list",
    )
    told = api.ask("GET", f"/v1/messages/{late['message_id']}")[2]
    assert {"delivery.delivered", "delivery.bounced_late", "delivery.complained"} <= {
        e["type"] for e in told["timeline"]
    }
    assert api.ask("GET", "/v1/queue")[2]["items"] == []
    relay.wait_log("late bounce")
    relay.wait_log("complaint")


def test_a_report_is_on_the_disk_with_its_answer_and_counts_once(house):
    relay, sink, api = house
    send_mail(relay, "app@a.example", ["ann@c.example"], MAIL, source=FRIEND)
    wait_until(lambda: sink.messages, what="the mail")
    wait_until(lambda: events(api, "delivery.delivered"), what="its delivery to be told")
    made = sink.messages[0].sender
    assert stranger(relay, "", [made], gone("ann@c.example")) is None
    relay.kill()
    relay.start()
    again = Api(relay)
    api, again.headers = again, api.headers
    # Its sender did not hear the answer; another host gives up, too.
    assert stranger(relay, "", [made], gone("ann@c.example")) is None
    assert stranger(relay, "", [made.upper()], gone("forwarded@d.example")) is None
    relay.wait_log("late bounce")
    complaint = report(
        "feedback-report",
        "Feedback-Type: abuse\r\nUser-Agent: Loop/1\r\nVersion: 1\r\n",
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <{made}>\r\n\r\nHello\r\n",
    )
    assert stranger(relay, "loop@isp.example", ["bounces@b.example"], complaint) is None
    # What comes behind them in the log is there, so they are all that will be.
    wait_until(lambda: events(api, "delivery.complained"), what="the complaint")
    assert len(events(api, "delivery.bounced_late")) == 1


def test_nothing_changes_without_the_section(make_relay, closing):
    sink = closing(Sink())
    relay = make_relay(allow=[FRIEND + "/32"], routes={"*": sink.address})
    send_mail(relay, "app@a.example", ["ann@c.example"], MAIL, source=FRIEND)
    wait_until(lambda: sink.messages, what="the mail")
    assert sink.messages[0].sender == "app@a.example"
    assert stranger(relay, "", ["bounces@b.example"], gone("ann@c.example"))[0] == 550
    with socket.create_connection(relay.address, timeout=60) as connection:
        assert connection.recv(100).startswith(b"220")
