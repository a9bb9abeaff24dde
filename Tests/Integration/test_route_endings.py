"""test_route_endings.py - who decides first, and sections that reject and discard: by SMTP, by the API, by the command line."""

import json

import pytest
from scripted import Sink
from smtp_client import SmtpClient, send_mail
from waiting import wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n"
ROUTES = """\
[*]
mx = {rest}
[sender mine.test]
mx = {provider}
[mine.test]
mx = {home}
[sender boss@mine.test to mine.test]
mx = {rest}
[gone.test]
reject = 550 5.1.6 moved to other.test
[later.test]
reject = 450 come back
[nowhere.test]
discard = load test
[sender spam@mine.test]
reject = true
"""


@pytest.fixture
def house(make_api, closing):
    sinks = {name: closing(Sink()) for name in ["rest", "provider", "home"]}
    places = {name: "{}:{}".format(*sink.address) for name, sink in sinks.items()}
    return (*make_api(files={"routes.ini": ROUTES.format(**places)}), sinks)


def taken(sink):
    return sorted(r for t in sink.messages for r in t.accepted)


def test_internal_mail_does_not_go_to_the_provider(house):
    relay, _, sinks = house
    send_mail(relay, "app@mine.test", ["you@mine.test", "you@other.test"], MAIL)
    send_mail(relay, "boss@mine.test", ["you@mine.test", "you@other.test"], MAIL)
    for name, expected in {
        "home": ["you@mine.test"],
        "provider": ["you@other.test", "you@other.test"],
        "rest": ["you@mine.test"],
    }.items():
        wait_until(lambda: taken(sinks[name]) == expected, 15, lambda: f"{name}: {taken(sinks[name])}")
    way = json.loads(relay.run("explain", "you@mine.test", "--from", "boss@mine.test", "--json").stdout)
    assert way["route"] == "sender boss@mine.test to mine.test" and way["route_because"] == "sender_to_recipient"
    assert way["lost"] == [
        {"match": "mine.test", "because": "sender_less_specific"},
        {"match": "sender mine.test", "because": "recipient_before_sender"},
        {"match": "*", "because": "everything_else"},
    ]


def test_a_rejection_is_heard_at_rcpt_and_a_discard_is_not(house):
    relay, api, sinks = house
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()

        def rcpt(address):
            reply = client.command(f"RCPT TO:<{address}>")
            return reply.code, reply.text

        client.mail("app@free.test")
        assert rcpt("x@gone.test") == (550, "5.1.6 moved to other.test")
        assert rcpt("x@later.test") == (450, "4.7.1 come back")
        assert rcpt("x@nowhere.test")[0] == 250
        assert rcpt("x@other.test")[0] == 250
        client.data(MAIL, 250)
        client.mail("spam@mine.test")
        assert rcpt("x@other.test") == (550, "5.7.1 Mail for this recipient is not accepted")
        client.command("RSET", 250)
        # However many: a list with old addresses in it is no attack.
        client.mail("app@free.test")
        assert [rcpt(f"x{number}@gone.test")[0] for number in range(50)] == [550] * 50
        assert rcpt("x@other.test")[0] == 250
    wait_until(lambda: taken(sinks["rest"]) == ["x@other.test"], 15, lambda: taken(sinks["rest"]))
    line = relay.wait_log("discarded")
    assert (line["to"], line["reply"]) == ("x@nowhere.test", "load test")
    metrics = api.ask("GET", "/metrics")[2].decode()
    assert 'martlet_recipients_total{result="discarded",route="nowhere.test"} 1' in metrics
    assert 'martlet_messages_rejected_total{code="other",listener="smtp",reason="route"} 53' in metrics


def test_the_api_hears_the_rejection_too(house):
    _, api, _ = house
    mail = {"from": "app@free.test", "to": ["x@other.test", "x@gone.test"], "text": "x"}
    status, _, answer = api.ask("POST", "/v1/messages", mail)
    assert status == 403 and answer["reply"] == "550 5.1.6 x@gone.test: moved to other.test", answer
    status, _, answer = api.ask("POST", "/v1/messages", {**mail, "to": ["x@later.test"]})
    assert status == 503 and "come back" in answer["reply"], answer


def test_sections_by_api_and_command_line(house):
    relay, api, _ = house
    path = "/v1/routes/sender%20a.test%20to%20b.test"
    status, headers, route = api.ask("PUT", path, {"mx": ["127.0.0.1:2526"]})
    assert status == 201 and route["match"] == "sender a.test to b.test", route
    assert headers["Location"] == path
    status, _, route = api.ask("PATCH", path, {"mx": [], "discard": "a test"})
    assert status == 200 and route["discard"] == "a test" and route["mx"] == [] and not route["direct"]
    status, _, way = api.ask("GET", "/v1/explain?recipient=x@b.test&sender=y@a.test")
    assert (way["action"], way["action_text"], way["problem"]) == ("discard", "a test", None)
    for wrong in [
        {"mx": ["h.test"], "reject": "x"},
        {"direct": True, "discard": "x"},
        {"reject": "x", "discard": "x"},
        {"reject": "250 ok"},
        {"reject": 5},
        {"reject": "\u00fc"},
        {"reject": False},
    ]:
        assert api.ask("PUT", path, wrong)[0] == 422, wrong
    assert relay.run("route", "set", "sender a.test to b.test", "--reject", "550 5.1.1 no").returncode == 0
    assert api.ask("GET", path)[2]["reject"] == "550 5.1.1 no"
    status, _, way = api.ask("GET", "/v1/explain?recipient=x@b.test&sender=y@a.test")
    assert (way["action"], way["problem"]) == ("reject", "550 5.1.1 no")
    shown = relay.run("explain", "x@b.test", "--from", "y@a.test").stdout
    assert "sender a.test to b.test" in shown and "everything_else" in shown
    assert "[sender a.test to b.test]\nreject = 550 5.1.1 no\n" in (relay.config / "routes.ini").read_text()
    assert relay.run("route", "remove", "sender a.test to b.test").returncode == 0


def test_what_waits_follows_a_section_that_ends_it(make_api):
    relay, api = make_api(files={"routes.ini": "[*]\nmx = 127.0.0.1:9\n", "outbound.ini": "disabled = true\n"})
    send_mail(relay, "a@a.test", ["x@nowhere.test", "x@gone.test"], MAIL)
    assert api.ask("PUT", "/v1/routes/nowhere.test", {"discard": True})[2]["messages_rerouted"] == 1
    assert api.ask("PUT", "/v1/routes/sender%20a.test%20to%20gone.test", {"reject": "550 5.1.1 gone"})[0] == 201
    assert api.ask("GET", "/v1/queue?route=sender%20a.test%20TO%20gone.test")[0] == 200
    assert api.ask("GET", "/v1/queue?route=sender%20A.test%20to%20gone.test")[2]["total"] == 1
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    relay.wait_log("discarded", to="x@nowhere.test")
    relay.wait_log("bounced", to="x@gone.test")
