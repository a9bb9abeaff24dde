"""test_mail_text.py - one rule for where a header ends, for addresses, and for domains, whichever way mail comes in."""

import email
import re
import socket
import subprocess

import pytest
from api import Api
from harness import MARTLET, environment
from scripted import Sink
from smtp_client import send_mail
from test_dkim import generate, verify
from waiting import wait_until

API = {"admin.ini": "listen = 127.0.0.1:0\n"}
MAILBOX = b"From ann@a.test Sun Nov 22 10:00:00 2026\r\nFrom: a@a.test\r\nSubject: x\r\nReceived: y\r\n\r\ntext\r\n"


def data_of(sink, recipient):
    found = lambda: [one for one in sink.messages if recipient in one.recipients]
    return wait_until(found, what=f"mail for {recipient}")[0].data


@pytest.fixture
def piped(tmp_path):
    """`piped(relay, "-t", text=b"…")`: sendmail of this relay."""
    link = tmp_path / "sendmail"
    link.symlink_to(MARTLET)

    def run(relay, *arguments, text):
        place = {"MARTLET_CONFIG_DIR": str(relay.config), "MARTLET_DATA_DIR": str(relay.data)}
        return subprocess.run(
            [str(link), *arguments], input=text, capture_output=True, timeout=120, env={**environment(), **place}
        )

    return run


def test_a_mailbox_line_leaves_the_header_a_header(make_relay, closing):
    """RFC 4155: the line is kept, as the text of a field that goes on in the message's own."""
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route}, files=API, started=False)
    records = dict([generate(relay.config, "a.test", "--selector", "ed", "--type", "ed25519")])
    relay.start()
    api = Api(relay)
    send_mail(relay, "a@a.test", "data@b.test", MAILBOX)
    send_mail(relay, "a@a.test", "bdat@b.test", MAILBOX, bdat=True)
    path = "/v1/messages?from=a@a.test&to=api@b.test"
    assert api.ask("POST", path, MAILBOX, Content_Type="message/rfc822")[0] == 202
    for way in ("data", "bdat", "api"):
        data = data_of(sink, f"{way}@b.test")
        assert data.endswith(b"\r\nX-Mailbox-Line: " + MAILBOX), data
        seen = email.message_from_bytes(data)
        assert not seen.defects and (seen["From"], seen["Subject"]) == ("a@a.test", "x") and seen["Date"]
        assert verify(data, records) == [True], data


def test_a_header_that_ends_without_an_empty_line(make_relay, closing):
    """What is signed is what the next hop sees once it has put the empty line in; a report brings no text back."""
    sink = closing(Sink({"RCPT": lambda session, argument: "550 5.1.1 no" if "gone" in str(argument) else None}))
    relay = make_relay(routes={"*": sink.route}, started=False)
    records = dict([generate(relay.config, "a.test", "--selector", "ed", "--type", "ed25519")])
    relay.start()
    header, text = b"From: a@a.test\r\nSubject: x\r\n", b"no field: here\r\nsecret\r\n\r\nmore\r\n"
    for bdat in (False, True):
        send_mail(relay, "a@a.test", f"b{bdat}@b.test".lower(), header + text, bdat=bdat)
        data = data_of(sink, f"b{bdat}@b.test".lower())
        assert data.endswith(header + text)
        assert verify(data[: -len(text)] + b"\r\n" + text, records) == [True]
    with relay.session() as client:
        client.mail("a@a.test", "RET=HDRS")
        client.rcpt("gone@b.test")
        client.data(header + text, 250)
    report = data_of(sink, "a@a.test")
    assert b"text/rfc822-headers" in report and b"Subject: x" in report and b"secret" not in report


def test_sendmail_loses_nobody_beyond_the_recipients_of_a_transaction(make_relay, closing, piped):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route}, smtp={"limits.recipients": 100})
    wanted = {f"r{number}@b.test" for number in range(1250)}
    text = b"Bcc : " + ",\n ".join(sorted(wanted)).encode() + b"\nSubject: all\n\nx\n"
    result = piped(relay, "-t", "-fa@a.test", text=text)
    assert (result.returncode, result.stderr) == (0, b""), result
    got = lambda: [address for one in sink.messages for address in one.recipients]
    wait_until(lambda: len(got()) >= len(wanted), what="every recipient")
    assert sorted(got()) == sorted(wanted)
    assert not any(b"Bcc" in one.data for one in sink.messages)


def test_sendmail_makes_the_output_of_programs_legal(make_relay, closing, piped):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    result = piped(relay, "-fa@a.test", "b@b.test", text=b"From: a@a.test\n\n10%\r20%\rdone\0\r\r\nx\n")
    assert result.returncode == 0, result
    assert data_of(sink, "b@b.test").endswith(b"\r\n\r\n10%\r\n20%\r\ndone?\r\nx\r\n")


def test_sendmail_resends_to_whom_it_is_told(make_relay, closing, piped):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    text = b'Resent-To: "john doe"@b.test\nResent-Bcc: s@b.test\nTo: old@b.test\nFrom: f@a.test\n\nx\n'
    assert piped(relay, "-t", "-fa@a.test", text=text).returncode == 0
    data = data_of(sink, "s@b.test")
    assert b"Resent-Bcc" not in data and b"\r\nTo: old@b.test\r\n" in data
    data_of(sink, '"john doe"@b.test')
    assert not any("old@b.test" in one.recipients for one in sink.messages)
    result = piped(relay, "-t", "-fa@a.test", text=b"To: a@b.test, John Doe c@b.test\n\nx\n")
    assert result.returncode == 65 and b"John Doe" in result.stderr, result


def test_a_domain_is_one_however_it_is_written(make_relay, closing):
    """A-labels everywhere: routes, filters, keys, the next hop that knows no SMTPUTF8."""
    sink = closing(Sink())
    relay = make_relay(files=API, started=False)
    relay.write("routes.ini", f"[bücher.example]\nmx = {sink.route}\n[*]\nmx = 127.0.0.1:1\n")
    records = dict([generate(relay.config, "bücher.example", "--selector", "ed", "--type", "ed25519")])
    assert list(records) == ["ed._domainkey.xn--bcher-kva.example."], records
    relay.start()
    api = Api(relay)
    text = "From: Ännë <ä@Bücher.example>\r\nSubject: x\r\n\r\ntext\r\n".encode()
    with socket.create_connection(relay.address) as client:
        file = client.makefile("rwb")

        def talk(line, code):
            file.write(line.encode() + b"\r\n") if line else None
            file.flush()
            while (answer := file.readline()).decode()[3] == "-":
                pass
            assert answer.startswith(code.encode()), answer

        talk("", "220")
        talk("EHLO c.test", "250")
        talk("MAIL FROM:<a@a.test> SMTPUTF8", "250")
        talk("RCPT TO:<u@BÜCHER.example>", "250")
        talk("RCPT TO:<v@xn--bcher-kva.example>", "250")
        talk("RCPT TO:<w@-ü.example>", "501")
        talk("RCPT TO:<w@ü..example>", "501")
        talk("DATA", "354")
        talk(text.decode() + ".", "250")
    data = data_of(sink, "u@xn--bcher-kva.example")
    assert {"u@xn--bcher-kva.example", "v@xn--bcher-kva.example"} <= {
        address for one in sink.messages for address in one.recipients
    }
    assert verify(data, records) == [True], "the author's domain is ours, in whatever letters"
    for spelling in ("b%C3%BCcher.example", "xn--bcher-kva.example", "BU%CC%88CHER.example"):
        status, _, route = api.ask("GET", f"/v1/routes/{spelling}")
        assert status == 200 and route["match"] == "xn--bcher-kva.example", route
    body = {"mx": ["127.0.0.1:2"]}
    tag = api.ask("GET", "/v1/routes/b%C3%BCcher.example")[1]["ETag"]
    assert api.ask("PUT", "/v1/routes/xn--bcher-kva.example", body, If_Match=tag)[0] == 200
    assert len(api.ask("GET", "/v1/routes")[2]["items"]) == 2
    assert re.findall(r"(?m)^\[.*\]", (relay.config / "routes.ini").read_text()) == ["[bücher.example]", "[*]"]
    send_mail(relay, "a@a.test", "waits@xn--bcher-kva.example", b"Subject: x\r\n\r\nx\r\n")
    for query in (
        "domain=b%C3%BCcher.example",
        "domain=xn--bcher-kva.example",
        "route=b%C3%BCcher.example",
        "recipient=waits@b%C3%BCcher.example",
        "recipient=*@b%C3%BCcher.example",
    ):
        found = wait_until(lambda query=query: api.ask("GET", f"/v1/queue?{query}")[2]["items"], what=query)
        assert found[0]["recipients"] == ["waits@xn--bcher-kva.example"]
    assert api.ask("GET", "/v1/queue?domain=-%C3%BC.example")[0] == 422
