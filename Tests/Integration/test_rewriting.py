"""test_rewriting.py - rewrite.ini by a running relay: signatures verify after it, every way in alike, explained and edited."""

import shutil
import subprocess

import pytest
from harness import MARTLET, environment
from smtp_client import SmtpClient, send_mail
from test_dkim import generate, verify

pytest.importorskip("dkim")

RULES = """[senders]
.internal = @example.test
[senders login shop]
* = noreply@shop.test
[recipients]
@old.test = @new.test
[options]
recipients_in = envelope, header
"""
MESSAGE = (
    b"From: =?utf-8?q?J=C3=B6?= (at home)\r\n <jo@host.internal>, x@other.test\r\nTo: bob@old.test\r\nSubject:  odd \r\n"
    b"\r\ntext\r\n"
)


def test_what_was_rewritten_is_signed_and_verifies(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, files={"rewrite.ini": RULES}, started=False)
    record = dict([generate(relay.config, "example.test", "--selector", "s1", "--type", "ed25519")])
    relay.start()
    send_mail(relay, "jo@host.internal", ["bob@old.test", "carl@other.test"], MESSAGE)
    send_mail(relay, "jo@host.internal", ["bob@old.test"], MESSAGE + b"a long line of text\r\n" * 80_000)
    got = sink.wait_for(2)
    assert {one.sender for one in got} == {"jo@example.test"}
    assert {address for one in got for address in one.recipients} == {"bob@new.test", "carl@other.test"}
    for one in got:
        wanted = b"From: =?utf-8?q?J=C3=B6?= (at home)\r\n <jo@example.test>, x@other.test\r\nTo: bob@new.test\r\n"
        assert wanted + b"Subject:  odd \r\n" in one.data
        assert verify(one.data, record) == [True]


def test_api_and_sendmail_alike(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"rewrite.ini": RULES})
    body = {"from": "a@b.internal", "to": ["c@old.test"], "subject": "s", "text": "t"}
    status, _, answer = api.ask("POST", "/v1/messages", body)
    assert status == 202, answer
    first = sink.wait_for(1)[0]
    assert first.sender == "a@example.test" and first.recipients == ["c@new.test"]
    assert b"From: a@example.test" in first.data
    link = relay.directory / "sendmail"
    link.symlink_to(shutil.which(MARTLET) or MARTLET)
    places = {"MARTLET_CONFIG_DIR": str(relay.config), "MARTLET_DATA_DIR": str(relay.data)}
    ran = subprocess.run(
        [str(link), "-f", "d@b.internal", "e@old.test"],
        input="From: d@b.internal\nSubject: x\n\ny\n",
        env={**environment(), **places},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    second = sink.wait_for(2)[1]
    assert second.sender == "d@example.test" and second.recipients == ["e@new.test"]
    assert b"From: d@example.test" in second.data


def test_explained_edited_and_in_force_at_once(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"rewrite.ini": RULES})
    explained = api.ask("GET", "/v1/explain?recipient=x@old.test&sender=a@host.internal")[2]
    assert explained["recipient"] == "x@new.test" and explained["sender"] == "a@example.test"
    assert explained["rewritten"]["sender"]["because"] == "rewrite.ini:2"
    assert explained["rewritten"]["recipient"]["rule"] == "[recipients] @old.test = @new.test"
    shop = api.ask("GET", "/v1/explain?recipient=x@y.test&sender=a@host.internal&user=shop&listener=api")[2]
    assert shop["rewritten"]["sender"]["becomes"] == "noreply@shop.test" and shop["rewritten"]["recipient"] is None

    rules = {"rules": [{"match": "@old.test", "becomes": "@newer.test"}]}
    tried = api.ask("PUT", "/v1/rewriting/recipients?dry_run=true", rules)[2]
    assert tried["dry_run"] and "@newer.test" in tried["diff"]
    assert (relay.config / "rewrite.ini").read_text() == RULES
    assert api.ask("PUT", "/v1/rewriting/recipients", rules)[0] == 200
    send_mail(relay, "a@x.test", ["b@old.test"], b"Subject: x\r\n\r\n")
    assert sink.wait_for(1)[0].recipients == ["b@newer.test"]
    assert api.ask("PUT", "/v1/rewriting/nobody", rules)[0] == 422
    assert api.ask("DELETE", "/v1/rewriting/recipients")[0] == 204
    tables = api.ask("GET", "/v1/rewriting")[2]["items"]
    assert [table["table"] for table in tables] == ["senders", "senders login shop"]


def test_a_route_that_rejects_judges_what_comes_out(make_relay, sink):
    relay = make_relay(
        routes={"*": sink.address},
        files={"rewrite.ini": "[recipients]\n@old.test = @gone.test\n@back.test = @new.test\n"},
        started=False,
    )
    with (relay.config / "routes.ini").open("a") as routes:
        routes.write("\n[gone.test]\nreject = 550 5.1.2 gone\n[back.test]\nreject = 550 5.1.2 gone too\n")
    relay.start()
    with relay.session() as client:
        client.mail("a@x.test")
        assert client.command("RCPT TO:<b@old.test>").code == 550
        assert client.command("RCPT TO:<b@back.test>").code == 250


def test_a_listener_has_words_of_its_own(make_relay, sink):
    """[listener NAME]: its name, who relays, what it takes, and whose mail a table is for."""
    relay = make_relay(
        routes={"*": sink.address},
        files={"rewrite.ini": "[senders listener partners]\n* = p@example.test\n"},
        started=False,
    )
    place = relay.listen[0]
    with (relay.config / "smtp.ini").open("a") as file:
        file.write(
            f"[listener partners]\nlisten = 127.0.0.3:{place[1]}\nhostname = in.partners.test\nmessage_bytes = 5000\n"
            f"[listener closed]\nlisten = 127.0.0.4:{place[1]}\nauth_required = true\n"
        )
    relay.start()
    with SmtpClient(("127.0.0.3", place[1])) as client:
        assert "in.partners.test" in client.expect(220).text
        assert "SIZE 5000" in client.ehlo().text
        client.message("a@x.test", ["b@y.test"], b"From: a@x.test\r\n\r\n")
    one = sink.wait_for(1)[0]
    assert one.sender == "p@example.test" and b"From: p@example.test" in one.data
    with SmtpClient(("127.0.0.4", place[1])) as client:
        assert "relay.test" in client.expect(220).text
        client.ehlo()
        client.mail("a@x.test")
        assert client.command("RCPT TO:<b@y.test>").code in (530, 550, 554)
    send_mail(relay, "a@x.test", ["b@y.test"], b"From: a@x.test\r\n\r\n")
    assert sink.wait_for(2)[1].sender == "a@x.test"


def test_a_listener_that_forwards_and_the_way_back(make_relay, sink):
    files = {"rewrite.ini": "[srs]\ndomain = srs.test\nsecret = @file:secrets/srs\n"}
    relay = make_relay(routes={"*": sink.address}, files=files, started=False)
    (relay.config / "secrets").mkdir()
    secret = relay.config / "secrets" / "srs"
    secret.write_text("a secret of many letters\n")
    secret.chmod(0o600)
    port = relay.listen[0][1]
    with (relay.config / "smtp.ini").open("a") as file:
        file.write(f"[listener forward]\nlisten = 127.0.0.3:{port}\nsrs = true\n")
    relay.start()
    with SmtpClient(("127.0.0.3", port)) as client:
        client.expect(220)
        client.ehlo()
        client.message("ann@a.test", ["b@y.test"], b"Subject: x\r\n\r\n")
    made = sink.wait_for(1)[0].sender
    assert made.startswith("SRS0=") and made.endswith("=a.test=ann@srs.test")
    send_mail(relay, "", [made.lower()], b"Subject: bounced\r\n\r\n")
    back = sink.wait_for(2)[1]
    assert back.recipients == ["ann@a.test"] and back.sender == ""
    with relay.session() as client:
        client.mail("")
        assert client.command(f"RCPT TO:<{made.replace('SRS0=', 'SRS0=x')}>").code == 550
