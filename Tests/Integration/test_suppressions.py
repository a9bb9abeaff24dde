"""test_suppressions.py - addresses that get nothing: at the door, before an attempt, learnt from bounces, over a kill."""

import socket
import subprocess

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
