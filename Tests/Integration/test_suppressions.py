"""test_suppressions.py - addresses that get nothing: at the door, before an attempt, learnt from bounces, over a kill."""

import smtplib
import socket
import subprocess

import pytest
from api import Api, token
from harness import MARTLET, environment
from scripted import Sink
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"Subject: x\r\n\r\nHello\r\n"
ADMIN = {"admin.ini": "listen = 127.0.0.1:0\nsocket = admin.sock\n"}


def tool(relay, *arguments, text=None):
    result = subprocess.run(
        [MARTLET, "suppressions", *arguments, "--data", str(relay.data)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    assert result.returncode == 0, result
    return result.stdout


def with_api(make_relay, **how):
    how["files"] = {**ADMIN, **how.get("files", {})}
    relay = make_relay(started=False, **how)
    relay.secret = token(relay)
    relay.start()
    return relay, Api(relay, relay.secret)


def told(api, kind):
    answer = api.ask("GET", f"/v1/events?after=0&type={kind}&recipient=*@example.com")[2]
    return [(e["data"]["recipient"], e["data"].get("reply_class")) for e in answer["items"]]


def test_an_address_on_the_list_is_refused_at_the_door(make_relay, closing):
    sink = closing(Sink())
    relay, api = with_api(
        make_relay, routes={"*": sink.address}, files={"suppressions.ini": "bypass = login@example.org\n"}
    )
    send_mail(relay, "app@example.org", ["ann@example.com"], MAIL)
    tool(relay, "add", "Ann@example.com", "--note", "asked, by phone")
    assert tool(relay, "export").splitlines()[1].startswith("ann@example.com,,manual,")
    assert '"asked, by phone"' in tool(relay, "export")

    def refused(sender):
        return b"550 5.7.1" in relay_dialogue(relay, sender)

    def relay_dialogue(relay, sender):
        with socket.create_connection(relay.address, timeout=10) as connection:
            data = connection.recv(65536)
            connection.sendall(
                b"EHLO x.example\r\nMAIL FROM:<" + sender + b">\r\nRCPT TO:<ANN@example.com>\r\nQUIT\r\n"
            )
            while piece := connection.recv(65536):
                data += piece
        return data

    wait_until(lambda: refused(b"app@example.org"), what="the list at the door")
    assert not refused(b"login@example.org")
    relay.kill()
    relay.start()
    assert refused(b"app@example.org")
    tool(relay, "remove", "ann@example.com")
    wait_until(lambda: not refused(b"app@example.org"), what="an empty list at the door")
    lines = "a@example.com\nb@example.com,shop.example\nc.example\n"
    assert "3 lines, 3 of them new" in tool(relay, "import", text=lines)
    api = Api(relay, relay.secret)  # after a start it listens elsewhere
    assert api.ask("GET", "/v1/suppressions/b@example.com?sender_domain=shop.example")[0] == 200
    assert api.ask("GET", "/v1/suppressions/b@example.com")[0] == 404
    assert len(tool(relay, "export").splitlines()) == 4


def test_bounces_of_a_mailbox_feed_it_and_a_block_never(make_relay, make_server):
    def answer(_, recipient):
        if recipient.startswith("gone"):
            return "550 5.1.1 user unknown"
        if recipient.startswith("blocked"):
            return "550 5.7.1 your address is listed at zen.spamhaus.org"
        return None

    server = make_server({"RCPT": answer})
    relay, api = with_api(
        make_relay, routes={"*": server.address}, files={"suppressions.ini": "feed = true\ncheck = drop\n"}
    )
    send_mail(relay, "app@example.org", ["gone@example.com", "blocked@example.com", "ann@example.com"], MAIL)
    wait_until(lambda: "gone@example.com" in tool(relay, "export"), what="a bounce on the list")
    assert "blocked" not in tool(relay, "export")
    # Taken at the door, and dropped before anybody is asked; the others go their way.
    send_mail(relay, "app@example.org", ["gone@example.com", "bob@example.com"], MAIL)
    wait_until(lambda: told(api, "delivery.suppressed") == [("gone@example.com", "policy")], what="the drop")
    wait_until(lambda: ("bob@example.com", None) in told(api, "delivery.delivered"), what="the other one")
    assert [r for r, _ in told(api, "delivery.bounced")].count("gone@example.com") == 1


def test_a_table_goes_in_and_out_by_the_api(make_relay):
    _, api = with_api(make_relay)

    def post(text, query=""):
        return api.ask("POST", f"/v1/suppressions{query}", text.encode(), Content_Type="text/csv; charset=utf-8")

    def table(query=""):
        status, headers, body = api.ask("GET", f"/v1/suppressions{query}", Accept="text/csv")
        assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/csv")
        return headers, body.decode().splitlines()

    # A rehearsal says what would be, and leaves nothing.
    mails = "ann@example.com\nbob@example.com,shop.example\n"
    status, _, told = post(mails, "?dry_run=true")
    assert (status, told["dry_run"], told["changed"], told["added"], told["replaced"]) == (200, True, True, 2, 0)
    assert told["diff"].startswith("+ann@example.com,,manual,")
    assert table()[1] == ["target,sender_domain,reason,created_at,expires_at,note,tag"]
    assert post(mails)[2] == {"added": 2, "replaced": 0}
    assert post(mails, "?dry_run=true")[2]["changed"] is False

    # As other programs write it: columns by name, line ends and a mark of Windows, a note in quotes.
    other = '\ufeffEmail,Reason,Note\r\nann@example.com,complaint,"asked, ""now"""\r\nyo@bücher.example,,\r\n'
    status, _, told = post(other, "?dry_run=true")
    assert (told["added"], told["replaced"]) == (1, 1)
    assert [line[0] for line in told["diff"].splitlines()] == ["-", "+", "+"]
    assert post(other)[2] == {"added": 1, "replaced": 1}

    # What came out goes in; page by page it is the same.
    whole = table()[1]
    assert len(whole) == 4 and any('"asked, ""now"""' in line for line in whole)
    assert post("\n".join(whole))[2] == {"added": 0, "replaced": 3}
    whole = table()[1]
    headers, page = table("?limit=2")
    following = headers["Link"].split(">")[0][1:]
    assert page + table(following.removeprefix("/v1/suppressions"))[1][1:] == whole

    # All or nothing, and where: a line is counted as an editor shows it.
    for text, pointer in [
        ("new@example.com\n\nno address at all\n", "/lines/3/target"),
        ("target,reason\nnew@example.com,because\n", "/lines/2/reason"),
        ("target,colour\nnew@example.com,red\n", "/lines/2/colour"),
        ("new@example.com,,,,,asked, by phone\n", "/lines/1"),
        ('new@example.com,"\n', "/lines/1"),
        ("target\n", ""),
    ]:
        status, _, told = post(text)
        assert (status, told["errors"][0]["pointer"]) == (422, pointer), text
    assert api.ask("GET", "/v1/suppressions/new@example.com")[0] == 404

    # A line has a version of its own; what is taken away can be rehearsed too.
    status, headers, _ = api.ask("GET", "/v1/suppressions/ann@example.com")
    seen = headers["ETag"]
    post("ann@example.com,,manual\n")
    assert api.ask("DELETE", "/v1/suppressions/ann@example.com", If_Match=seen)[0] == 412
    status, headers, told = api.ask("DELETE", "/v1/suppressions/ann@example.com?dry_run=true")
    assert (status, told["changed"]) == (200, True) and told["diff"].startswith("-ann@example.com,")
    assert api.ask("DELETE", "/v1/suppressions/ann@example.com", If_Match=headers["ETag"])[0] == 204
    status, _, told = api.ask("GET", "/v1/suppressions/ann@example.com")
    assert status == 404 and "GET /v1/suppressions" in told["detail"]


def test_the_tool_reads_and_writes_long_tables_in_pieces(make_relay):
    relay, api = with_api(make_relay)
    lines = [f"u{n}@example.com,,,,,{'two words' if n % 2 else ''}" for n in range(2500)]
    text = "\n".join(["target,sender_domain,reason,created_at,expires_at,note", *lines]) + "\n"
    assert "2500 lines, 2500 of them new; nothing is changed" in tool(relay, "import", "--dry-run", text=text)
    assert api.ask("GET", "/v1/suppressions")[2]["total"] == 0
    assert "2500 lines, 2500 of them new" in tool(relay, "import", text=text)
    out = tool(relay, "export").splitlines()
    assert len(out) == 2501 and out.count(out[0]) == 1
    result = subprocess.run(
        [MARTLET, "suppressions", "import", "--data", str(relay.data)],
        input=text + "nobody at all\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    assert result.returncode != 0 and "lines 2002 to 2502" in result.stderr, result.stderr


def test_mail_of_a_tag_is_held_back_and_nobody_elses(make_relay, closing):
    sink = closing(Sink())
    relay, api = with_api(make_relay, routes={"*": sink.address})
    spring = b"X-Tag: spring\r\n" + MAIL
    tool(relay, "add", "ann@example.com", "--tag", "spring", "--reason", "unsubscribe")
    assert tool(relay, "export").splitlines()[1].endswith(",spring")
    line = api.ask("GET", "/v1/suppressions/ann@example.com?tag=spring")
    assert line[0] == 200 and line[2]["tag"] == "spring" and line[2]["sender_domain"] is None
    assert api.ask("GET", "/v1/suppressions/ann@example.com")[0] == 404
    both = {"items": [{"target": "a@example.com", "tag": "x", "sender_domain": "b.example"}]}
    assert api.ask("POST", "/v1/suppressions", both)[0] == 422
    # Nothing would be left of it: it is refused when its header is known.
    with smtplib.SMTP(*relay.address, timeout=60) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("app@example.org", ["ann@example.com"], spring)
        assert refused.value.smtp_code == 550 and b"does not want mail" in refused.value.smtp_error
        client.sendmail("app@example.org", ["ann@example.com"], MAIL)
        client.sendmail("app@example.org", ["ann@example.com", "bob@example.com"], spring)
    # To others it goes, and those who get nothing are told of.
    wait_until(
        lambda: any(m.recipients == ["bob@example.com"] for m in sink.messages), what="the mail to the other one"
    )
    wait_until(lambda: told(api, "delivery.suppressed") == [("ann@example.com", "policy")], what="the event")
    assert sorted(m.recipients for m in sink.messages if m.sender) == [["ann@example.com"], ["bob@example.com"]]
    relay.kill()
    relay.start()
    api = Api(relay, relay.secret)
    tool(relay, "remove", "ann@example.com", "--tag", "spring")
    send_mail(relay, "app@example.org", ["ann@example.com"], spring)
