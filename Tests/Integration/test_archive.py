"""test_archive.py - archive.ini by a running relay: one copy over kills and several recipients, and what is told when it is lost."""

import email

from smtp_client import send_mail
from waiting import wait_until

LAW = "[law]\nto = keep@vault.test\nrequired = true\n"


def archived(sink):
    """Message-IDs of the copies that arrived, each as often as it did."""
    copies = [one for one in sink.messages if one.recipients == ["keep@vault.test"]]
    return [email.message_from_bytes(one.data).get_payload()[1].get_payload()[0]["Message-ID"] for one in copies]


def test_one_copy_with_the_envelope(make_relay, sink):
    relay = make_relay(
        routes={"*": sink.address},
        files={"archive.ini": LAW + "[more]\nto = keep@vault.test\nform = headers\n"},
        outbound={"always_split": True},
    )
    send_mail(relay, "a@x.test", ["b@y.test", "c@z.test"], b"Subject: one\r\nMessage-ID: <1@x.test>\r\n\r\n.text\r\n")
    got = sink.wait_for(3)
    copy = next(one for one in got if one.recipients == ["keep@vault.test"])
    parsed = email.message_from_bytes(copy.data)
    words = parsed.get_payload()[0].get_payload()
    assert "Sender: a@x.test" in words and "Recipient: b@y.test" in words and "Recipient: c@z.test" in words
    assert parsed["Subject"] == "one" and "X-MS-Journal-Report" in parsed
    assert b"\r\nSubject: one\r\nMessage-ID: <1@x.test>\r\n\r\n.text\r\n\r\n--" in copy.data
    assert copy.sender == "" and archived(sink) == ["<1@x.test>"]


def test_one_copy_over_kills(make_relay, sink):
    """Killed between messages: what was acknowledged is archived, and what goes twice is what a kill came between."""
    relay = make_relay(routes={"*": sink.address}, files={"archive.ini": LAW})
    names = [f"<{number}@x.test>" for number in range(40)]
    for number, name in enumerate(names):
        send_mail(relay, "a@x.test", ["b@y.test"], f"Message-ID: {name}\r\n\r\nx\r\n".encode())
        if number % 10 == 9:
            relay.kill()
            relay.start()
    wait_until(lambda: set(names) <= set(archived(sink)), 120, "copies")
    wait_until(lambda: {one.recipients[0] for one in sink.messages} == {"b@y.test", "keep@vault.test"}, 120)
    # No process sends one twice: each that is there twice was on its way when its process was killed.
    doubles = [name for name in names if archived(sink).count(name) > 1]
    assert all(archived(sink).count(name) == 2 for name in doubles) and len(doubles) <= 4 * 5, doubles


def test_a_copy_that_is_lost_is_told(make_api, make_server, sink):
    vault = make_server({"RCPT": "550 5.1.1 no such archive"})
    relay, api = make_api(routes={"vault.test": vault.address, "*": sink.address}, files={"archive.ini": LAW})
    send_mail(relay, "a@x.test", ["b@y.test"], b"Subject: x\r\n\r\n")
    assert sink.wait_for(1)[0].recipients == ["b@y.test"]
    lost = relay.wait_log("the archive's copy is lost")
    assert lost["to"] == "keep@vault.test" and lost["archive_of"]

    def told():
        return api.ask("GET", "/v1/events?after=0&type=archive.failed")[2]["items"]

    wait_until(told, what="the event")
    assert told()[0]["data"]["subject"] == lost["archive_of"]
    metrics = api.ask("GET", "/metrics")[2].decode()
    assert 'martlet_archive_copies_total{result="lost"} 1' in metrics
    assert 'martlet_archive_copies_total{result="made"} 1' in metrics


def test_sections_by_the_api(make_api, sink):
    """One table like all: comments stay, what comes out goes in to the byte, and it is in force when it is answered."""
    text = "; ours\n[law]\nto = keep@vault.test ; the vault\nsenders = @x.test\n"
    relay, api = make_api(routes={"*": sink.address}, files={"archive.ini": text})
    one = api.ask("GET", "/v1/archive")[2]["items"][0]
    assert one["to"] == ["keep@vault.test"] and one["form"] == "journal" and one["required"] is False, one
    assert api.ask("PUT", "/v1/archive/law", one)[0] == 200 and (relay.config / "archive.ini").read_text() == text
    dry = api.ask("PATCH", "/v1/archive/law?dry_run=true", {"required": True})
    assert dry[0] == 200 and "+required = true" in dry[2]["diff"] and (relay.config / "archive.ini").read_text() == text
    assert api.ask("PATCH", "/v1/archive/law", {"senders": None, "form": "headers"})[2]["senders"] == []
    status, _, made = api.ask("PUT", "/v1/archive/more", {"to": ["other@vault.test"], "for": ["login app"]})
    assert status == 201 and made["for"] == ["login app"] and made["from"] == "<>", made
    send_mail(relay, "a@y.test", ["b@y.test"], b"Subject: one\r\nMessage-ID: <1@x.test>\r\n\r\nx\r\n")
    got = sink.wait_for(2)
    assert any(
        message.recipients == ["keep@vault.test"] and b"X-Envelope-To: <b@y.test>" in message.data for message in got
    )
    for wrong in ({"to": None}, {"to": ["nobody"]}, {"form": "mbox"}, {"senders": ["a,b"]}, {"unknown": 1}):
        assert api.ask("PATCH", "/v1/archive/law", wrong)[0] == 422, wrong
    assert api.ask("DELETE", "/v1/archive/law")[0] == 204 and api.ask("GET", "/v1/archive/law")[0] == 404
    assert "; ours" in (relay.config / "archive.ini").read_text()
