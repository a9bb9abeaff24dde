"""test_staging.py - mail of a system that tries things out: to one address instead of its recipients, or to nobody."""

from scripted import Sink
from smtp_client import SmtpClient, send_mail
from waiting import wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nHello\r\n"


def test_mail_of_a_staging_system_goes_nowhere_real(make_relay, closing):
    sink, archive = closing(Sink()), closing(Sink())
    relay = make_relay(
        routes={"*": sink.address, "archive.test": archive.address},
        files={
            "rewrite.ini": "[staging client 127.0.0.2/32]\nredirect = team@o.test\n"
            "[staging client 127.0.0.3/32]\nsink = true\nsenders = s.test\n",
            "archive.ini": "[archive]\nto = all@archive.test\n",
        },
    )
    people = [f"u{number}@b.test" for number in range(30)]
    send_mail(relay, "a@a.test", people, MAIL, source="127.0.0.2")
    with SmtpClient(relay.address, source="127.0.0.3") as client:
        client.expect(220)
        client.ehlo()
        client.command("MAIL FROM:<a@s.test>")
        client.command("RCPT TO:<real@b.test>")
        client.command("DATA")
        assert client.command(MAIL.decode() + ".").code == 250
    send_mail(relay, "a@a.test", ["real@b.test"], MAIL, source="127.0.0.3")
    relay.wait_log("message sunk")
    wait_until(lambda: len(sink.messages) == 2 and archive.messages, what="what is delivered")
    staged = next(m for m in sink.messages if m.recipients == ["team@o.test"])
    named = staged.data.split(b"X-Staging: ", 1)[1].split(b"\r\n\r\n", 1)[0].replace(b"\r\n", b"")
    assert named.startswith(b"instead of u0@b.test, u1@b.test") and b"and 10 more" in named
    assert [m.recipients for m in sink.messages if m is not staged] == [["real@b.test"]]
    assert [m.sender for m in archive.messages] and len(archive.messages) == 1


def test_explain_says_where_it_goes(make_api, sink):
    _, api = make_api(
        routes={"*": sink.address},
        files={
            "rewrite.ini": "[staging client 127.0.0.2/32]\nredirect = team@o.test\n[staging login app]\nsink = true\n"
        },
    )
    asked = "/v1/explain?recipient=real@b.test&sender=a@a.test"
    found = api.ask("GET", f"{asked}&client=127.0.0.2")[2]
    assert found["staging"] == {"redirect": "team@o.test", "origin": "rewrite.ini:1"}
    assert found["recipient"] == "team@o.test" and found["return_path"] is None
    assert api.ask("GET", f"{asked}&user=app")[2]["staging"] == {"redirect": None, "origin": "rewrite.ini:3"}
    assert api.ask("GET", asked)[2]["staging"] is None
