"""test_hook_edits.py - answers of queue_outbound that change a message, and a program tried on a file."""

import json
import subprocess

import pytest
from smtp_client import send_mail
from test_dkim import generate, verify
from waiting import wait_until

pytest.importorskip("dkim")

EDITS = {
    "code": "CONT",
    "add_header": {"X-Seen": "yes", "X-Words": "Grüße"},
    "remove_header": ["X-Spam", "X-Folded"],
    "change_sender": "bounces@a.test",
    "add_recipient": ["copy@b.test"],
    "tag": "bulk",
}
HEADER = b"From: a@a.test\r\nX-Spam: yes\r\nSubject: x\r\nX-Folded: one\r\n two\r\nX-Tag: mine\r\n\r\n"


@pytest.mark.parametrize("lines", [1, 80_000], ids=["memory", "file"])
def test_a_program_changes_what_is_sent(make_relay, make_hook, sink, lines):
    hook = make_hook({"queue_outbound": EDITS})
    relay = make_relay(routes={"*": sink.address}, files={"hooks.ini": hook.ini()}, started=False)
    record = dict([generate(relay.config, "a.test", "--selector", "s1", "--type", "ed25519")])
    relay.start()
    body = b"a line of the text\r\n" * lines
    send_mail(relay, "a@a.test", ["b@b.test"], HEADER + body)
    one = sink.wait_for(1)[0]
    assert one.sender == "bounces@a.test" and sorted(one.recipients) == ["b@b.test", "copy@b.test"]
    assert b"X-Seen: yes\r\n" in one.data and b"X-Words: =?" in one.data and b"x-tag: bulk\r\n" in one.data
    assert one.data.endswith(b"\r\nFrom: a@a.test\r\nSubject: x\r\n\r\n" + body)
    assert verify(one.data, record) == [True]


def test_a_program_holds_a_message(make_api, make_hook, sink):
    hook = make_hook({"queue_outbound": {"code": "CONT", "hold": "look at it"}})
    relay, api = make_api(routes={"*": sink.address}, files={"hooks.ini": hook.ini()})
    send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: x\r\n\r\n")
    wait_until(lambda: api.ask("GET", "/v1/queue")[2]["items"], what="a message that waits")
    (item,) = api.ask("GET", "/v1/queue")[2]["items"]
    assert "look at it" in json.dumps(item)
    assert api.ask("POST", f"/v1/queue/{item['id']}/release", {})[0] == 200
    assert sink.wait_for(1)[0].recipients == ["b@b.test"]


def test_an_edit_that_cannot_be_used_changes_nothing(make_relay, make_hook, sink):
    hook = make_hook({"queue_outbound": {**EDITS, "add_header": {"X-A": "one\r\nBcc: x@y.test"}}})
    relay = make_relay(routes={"*": sink.address}, files={"hooks.ini": hook.ini()})
    send_mail(relay, "a@a.test", ["b@b.test"], HEADER)
    one = sink.wait_for(1)[0]
    assert one.sender == "a@a.test" and one.recipients == ["b@b.test"] and HEADER in one.data
    assert relay.log_lines("hook program failed")


def test_hook_test_prints_what_would_change(make_relay, make_hook, tmp_path):
    hook = make_hook({"queue_outbound": EDITS})
    relay = make_relay(files={"hooks.ini": hook.ini()}, started=False)
    mail = tmp_path / "mail.eml"
    mail.write_bytes(HEADER.replace(b"\r\n", b"\n") + b"text\n")

    def tried(*more):
        return subprocess.run(
            [relay.binary, "hook", "test", *more, "--config", str(relay.config)],
            capture_output=True,
            text=True,
            timeout=60,
        )

    section = hook.ini().split("[")[1].split("]")[0]
    ran = tried(section, str(mail), "--to", "b@b.test", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["answer"] == "goes on" and found["change_sender"] == "bounces@a.test"
    assert found["add_recipient"] == ["copy@b.test"] and found["remove_header"] == ["x-folded", "x-spam"]
    assert hook.questions[-1]["transaction"]["mail_from"] == "a@a.test"
    hook.answers["queue_outbound"] = {"code": "DENY", "message": "no"}
    assert "rejected: 550" in tried(section, str(mail), "--to", "b@b.test").stdout
    hook.answers["queue_outbound"] = 500
    assert tried(section, str(mail), "--to", "b@b.test").returncode == 1
    assert tried("nobody", str(mail)).returncode != 0


def test_programs_have_a_say_in_clients(make_relay, make_hook, sink):
    def rcpt(question):
        asked = question["connection"]
        assert asked["remote_ip"] == "127.0.0.1" and asked["mail_from"] == "a@a.test" and asked["helo"] == "client.test"
        return {"code": "DENY", "message": "not him"} if asked["rcpt_to"] == "no@b.test" else {"code": "CONT"}

    def mail(question):
        return (
            {"code": "DENYSOFT", "message": "later"} if question["connection"]["mail_from"] == "late@a.test" else None
        )

    hook = make_hook({"connect": None, "mail": mail, "rcpt": rcpt})
    relay = make_relay(
        routes={"*": sink.address}, files={"hooks.ini": hook.ini(hooks="connect, mail, rcpt", fail="closed")}
    )
    with relay.session() as client:
        client.send(
            b"MAIL FROM:<late@a.test>\r\nMAIL FROM:<a@a.test> SIZE=100\r\nRCPT TO:<no@b.test>\r\nRCPT TO:<yes@b.test>\r\nDATA\r\n"
        )
        assert [client.read_reply().code for _ in range(5)] == [450, 250, 550, 250, 354]
        client.send(b"Subject: x\r\n\r\n.\r\n")
        assert client.read_reply().code == 250
    assert sink.wait_for(1)[0].recipients == ["yes@b.test"]
    hook.answers["connect"] = {"code": "DENY", "message": "not you"}
    with relay.connect() as client:
        reply = client.read_reply()
        assert reply.code == 550 and "not you" in reply.text
        assert client.reply_or_end() is None
    hook.answers["connect"] = 500
    with relay.connect() as client:
        assert client.read_reply().code == 451
