"""test_event_schema.py - every kind of event, made to happen, fits the schema that is served; so does what webhooks send."""

import json

import pytest
from api import Api, token
from event_schema import faults
from smtp_client import send_mail
from waiting import wait_until
from webhook_receiver import Receiver, write_secret

MAIL = b'From: a@a.test\r\nSubject: x\r\nMessage-ID: <\xc3\xa4%d@a.test>\r\nX-Tag: spring "1"\r\n\r\nbody\r\n'
# What only time, a full disk or a limit says; other tests make it happen.
ELSEWHERE = {
    "message.left",
    "message.arrived",
    "message.dying",
    "delivery.bounced_late",
    "delivery.complained",
    "destination.slowed",
    "credential.limited",
    "credential.refused",
    "token.expiring",
    "certificate.expiring",
    "archive.failed",
    "journal.truncated",
    "node.joined",
    "node.left",
    "node.taken_over",
}


def answer(_, recipient):
    if recipient.startswith("gone"):
        return "550 5.1.1 user \x80 unknown"
    return "451 4.7.1 later" if recipient.startswith("later") else None


@pytest.fixture
def told(make_relay, make_server, closing):
    """A relay that has lived through everything, its API, what it says of itself, and a receiver of webhooks."""
    server = make_server({"RCPT": answer})
    receiver, leaving = closing(Receiver()), closing(Receiver(lambda _: 410))
    relay = make_relay(
        started=False,
        routes={"*": server.address},
        outbound={"temp_fail_intervals": "1h*5"},
        files={"admin.ini": "listen = 127.0.0.1:0\n", "suppressions.ini": "check = drop\n"},
    )
    write_secret(
        relay, receiver.section(types="") + "\n" + leaving.section().replace("[webhook shop]", "[webhook leaving]")
    )
    secret = token(relay)
    relay.start()
    return relay, Api(relay, secret), receiver


def seen(api, **more):
    return api.ask("GET", "/v1/events?limit=1000" + "".join(f"&{name}={value}" for name, value in more.items()))[2][
        "items"
    ]


def test_every_event_fits_its_schema(told):
    relay, api, receiver = told

    def ask(method, path, body=None):
        status, _, found = api.ask(method, path, body, **({"Content_Type": "application/json"} if body else {}))
        assert status < 300, (method, path, status, found)
        return found

    ask("POST", "/v1/suppressions", {"items": [{"target": "never@b.test"}]})
    for number, name in enumerate(["one", "gone", "later", "never"]):
        send_mail(relay, "a@a.test" if name != "one" else "", [f"{name}@b.test"], MAIL % number)
    wait_until(lambda: any(e["type"] == "delivery.deferred" for e in seen(api)), what="a deferral")
    id = next(e["data"]["message_id"] for e in seen(api) if e["type"] == "delivery.deferred")
    ask("POST", f"/v1/queue/{id}/hold", {"reason": "a look"})
    ask("POST", f"/v1/queue/{id}/release")
    ask("DELETE", f"/v1/queue/{id}")
    ask("POST", "/v1/pauses", {"scope": "domain c.test", "reason": "moves"})
    ask("DELETE", "/v1/pauses/domain%20c.test")
    for disabled in (True, False):
        ask("PATCH", "/v1/outbound", {"disabled": disabled, "disabled_reason": "we move" if disabled else ""})
    ask("PUT", "/v1/routes/c.test", {"mx": ["127.0.0.1:1"]})
    ask("POST", "/v1/credentials/app/park", {"reason": "stolen"})
    ask("POST", "/v1/credentials/app/release")
    ask("DELETE", "/v1/history?recipient=one@b.test")
    kinds = set(ask("GET", "/v1/events/schema")["properties"]["type"]["enum"])
    wait_until(lambda: {e["type"] for e in seen(api)} >= kinds - ELSEWHERE, what="every kind of event")
    events = seen(api)
    assert not faults(api, events)
    assert {"mx", "smtp", "stage_ms", "next_attempt_at", "tag", "reason"} <= {m for e in events for m in e["data"]}
    wait_until(lambda: receiver.taken and receiver.taken[-1]["seq"] == events[-1]["seq"], what="the webhooks")
    assert not faults(api, receiver.taken)
    assert json.dumps(events[0]["data"]) and faults(api, [{**events[0], "more": 1}, {**events[0], "time": "noon"}])
