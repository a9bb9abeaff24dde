"""test_corpus.py - mail files of every shape go through, octet for octet, whichever way they come in."""

import pytest
from api import Api
from mail_corpus import FILES
from smtp_client import added_by_relay, dot_stuff, headers_of


@pytest.fixture(scope="module")
def house(make_house):
    return make_house(files={"admin.ini": "listen = 127.0.0.1:0\n"})


def by_data(house, client, recipient, content):
    client.mail("a@a.test")
    client.rcpt(recipient)
    client.command("DATA", 354)
    client.send(dot_stuff(content))
    client.expect(250)


def by_bdat(house, client, recipient, content):
    client.mail("a@a.test")
    client.rcpt(recipient)
    client.bdat(content[: len(content) // 3], last=False)
    client.bdat(content[len(content) // 3 :], last=True)


def by_api(house, client, recipient, content):
    answer = Api(house.relay).ask(
        "POST", f"/v1/messages?from=a@a.test&to={recipient}", content, Content_Type="message/rfc822"
    )
    assert answer[0] == 202, answer


def by_api_with_unix_line_ends(house, client, recipient, content):
    by_api(house, client, recipient, content.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("way", [by_data, by_bdat, by_api, by_api_with_unix_line_ends])
def test_every_file_arrives_octet_for_octet(house, unique, check, way):
    with house.relay.session() as client:
        wanted = {}
        for name, content in FILES.items():
            recipient = unique("file") + "@b.test"
            way(house, client, recipient, content)
            wanted[recipient] = (name, content)
    for recipient, (name, content) in wanted.items():
        try:
            front = added_by_relay(house.arrived(recipient, 60).data, content)
        except AssertionError as error:
            check(False, f"{name}: {error}")
            continue
        # What we put in front is a header that goes on in that of the file, or is closed where the file has none.
        fields = headers_of(front + content)
        check(b"message-id" in dict(fields) and b"date" in dict(fields), f"{name}: {fields}")
        has_header = content.lower().startswith((b"from", b">from a", b"received:", b"dkim-", b"__proto__", b"x-0:"))
        if has_header and "no header" not in name:
            check(b"from" in dict(fields), f"{name}: the header became text: {front!r}")
    assert not house.sink.violations


@pytest.mark.parametrize(
    "content,reason", [(b"x\r\r\n", "CR"), (b"a\rb\r\n", "CR"), (b"a\0b\r\n", "NUL"), (b"a\r", "CR")]
)
def test_what_no_message_may_hold_is_refused_by_every_way(house, content, reason):
    """One rule: by the API LF ends a line too; all the rest is as by SMTP."""
    content = b"Subject: x\r\n\r\n" + content
    api = Api(house.relay)
    status, _, answer = api.ask(
        "POST", "/v1/messages?from=a@a.test&to=b@b.test", content, Content_Type="message/rfc822"
    )
    assert status == 422 and reason in str(answer), answer
    with house.relay.session() as client:
        client.mail("a@a.test")
        client.rcpt("b@b.test")
        client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        assert client.read_reply().code in (550, 554)
