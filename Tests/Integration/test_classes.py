"""test_classes.py - what replies mean: told the same by events, the API and the tool, and corrected by the user's file."""

import subprocess

from api import Api, token
from harness import MARTLET, environment
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"Subject: x\r\n\r\nHello\r\n"
ADMIN = {"admin.ini": "listen = 127.0.0.1:0\nsocket = admin.sock\n"}


def classify(*arguments):
    result = subprocess.run(
        [MARTLET, "classify", *arguments], capture_output=True, text=True, timeout=60, env=environment()
    )
    return result.stdout.strip(), result.returncode


def bounces(api):
    answer = api.ask("GET", "/v1/events?after=0&type=delivery.bounced&recipient=*@example.com")[2]
    return [event["data"]["reply_class"] for event in answer["items"]]


def test_a_rule_of_the_user_changes_what_deliveries_mean(make_relay, make_server):
    server = make_server({"RCPT": "550 5.1.1 ask our robot first"})
    relay = make_relay(started=False, routes={"*": server.address}, files=ADMIN)
    secret = token(relay)
    relay.start()
    api = Api(relay, secret)
    send_mail(relay, "app@example.org", ["one@example.com"], MAIL)
    wait_until(lambda: bounces(api) == ["invalid_recipient"], what="a bounce")
    (relay.config / "bounce_classes.ini").write_text("[robot]\nclass = policy\ntext = OUR robot\nphase = recipient\n")

    def told():
        return api.ask("POST", "/v1/classify", {"reply": "550 5.1.1 Our Robot", "phase": "recipient"})[2]

    wait_until(lambda: told()["class"] == "policy", what="the file in force")
    assert told() == {"class": "policy", "reason": "policy", "rule": "user/robot"}
    send_mail(relay, "app@example.org", ["two@example.com"], MAIL)
    wait_until(lambda: bounces(api) == ["invalid_recipient", "policy"], what="another bounce")
    assert len(api.ask("GET", "/v1/history?reply_class=policy&recipient=*@example.com")[2]["items"]) == 1
    assert api.ask("GET", "/v1/events?after=0&reply_class=nonsense")[0] == 422
    assert classify("550 5.1.1 our robot", "--phase", "recipient", "--config", str(relay.config)) == (
        "policy (rule user/robot)",
        0,
    )


def test_the_tool_needs_no_relay(tmp_path):
    assert classify("452 4.2.2 The mailbox is over quota", "--config", str(tmp_path)) == ("quota (rule full)", 0)
    assert classify("250 ok", "--config", str(tmp_path))[1] == 64
