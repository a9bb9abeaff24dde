"""test_webhooks.py - events by webhook and by stream: signed, in order, at least once with the same id, whatever the receiver
does and whenever the relay dies."""

import collections
import http.client
import json
import random
import threading
import time

import pytest
from api import Api, token
from harness import ROOT, SOAK
from smtp_client import send_mail
from waiting import wait_until
from webhook_receiver import SECRET, Receiver, write_secret

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: hook\r\nMessage-ID: <x@a.test>\r\n\r\nbody\r\n"

pytestmark = pytest.mark.skipif(
    "\n  /v1/events:" not in (ROOT / "openapi.yaml").read_text(), reason="this relay remembers nothing"
)


@pytest.fixture
def receiver(closing):
    return closing(Receiver())


@pytest.fixture
def make_hooked(make_relay, sink):
    """A relay that tells a receiver; `text` is its events.ini."""

    def make(text, **how):
        relay = make_relay(
            started=False,
            routes={"*": sink.address},
            files={"admin.ini": "listen = 127.0.0.1:0\n", **how.pop("files", {})},
            **how,
        )
        write_secret(relay, text)
        relay.start()
        return relay, Api(relay)

    return make


def status(api, name="shop"):
    return api.ask("GET", f"/v1/webhooks/{name}")[2]["status"]


def deliver(relay, *names):
    for name in names:
        send_mail(relay, "a@a.test", [f"{name}@b.test"], MAIL)


def test_events_arrive_signed_and_in_order(make_hooked, receiver):
    relay, api = make_hooked(receiver.section(secret_previous=SECRET))
    deliver(relay, *[f"m{number}" for number in range(10)])
    receiver.wait_for(10)
    numbers = [event["seq"] for event in receiver.taken]
    assert numbers == sorted(numbers) and receiver.unsigned == 0
    assert sorted(receiver.recipients) == sorted(f"m{number}@b.test" for number in range(10))
    event = receiver.taken[0]
    assert event["type"] == "delivery.delivered" and event["data"]["smtp"]["code"] == 250
    assert [one for one, _ in receiver.requests] == [event["id"] for event in receiver.taken]
    wait_until(lambda: status(api)["lag"] == 0)
    rows = api.ask("GET", "/v1/webhooks/shop/deliveries?limit=3")[2]["items"]
    assert [row["result"] for row in rows] == ["taken"] * 3 and rows[0]["status"] == 200


def test_whatever_the_receiver_answers_nothing_is_lost(make_hooked, closing):
    """500, 502 with Retry-After, a dropped connection, a body that never ends, 406 of one event in a batch: each event comes
    once, with the id of its first try, or was refused for good."""
    tries = collections.Counter()

    def drop(handler):
        handler.close_connection = True

    def endless(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        receiver.released.wait(20)

    def answer(events):
        if any(event["data"]["recipient"] == "unwanted@b.test" for event in events):
            return 406
        key = events[0]["id"]
        tries[key] += 1
        steps = {"m0": [500, 200], "m2": [(502, {"Retry-After": "1"}), 200], "m4": [drop, 200], "m6": [endless, 200]}
        name = events[0]["data"]["recipient"].split("@")[0]
        rest = steps.get(name, [200])
        return rest[min(tries[key], len(rest)) - 1]

    receiver = closing(Receiver(answer))
    relay, api = make_hooked(receiver.section(timeout="2"))
    deliver(relay, "m0", "m1", "m2", "unwanted", "m3", "m4", "m5", "m6", "m7")
    receiver.wait_for(8, timeout=60)
    wait_until(lambda: status(api)["lag"] == 0)
    assert collections.Counter(receiver.recipients) == {f"m{number}@b.test": 1 for number in range(8)}
    ids = collections.defaultdict(set)
    for one, events in receiver.requests:
        ids[events[0]["data"]["recipient"]].add(one)
    assert all(len(known) == 1 for known in ids.values())
    assert status(api)["dropped"] == 1


def test_an_outage_is_made_up_for_and_a_killed_relay_goes_on(make_hooked, closing):
    """The receiver is dead for a while and the relay is killed twice: each event comes, twice at most per crash, and in order
    behind the outage."""
    receiver = closing(Receiver())
    relay, api = make_hooked(receiver.section(batch="5"))
    deliver(relay, "first")
    receiver.wait_for(1)
    receiver.stop()
    deliver(relay, *[f"m{number}" for number in range(12)])
    wait_until(lambda: status(api)["failures"] > 0)
    for _ in range(2):
        relay.kill()
        relay.start()
    receiver.start()
    wait_until(lambda: len(set(receiver.recipients)) == 13, 60)
    api = Api(relay)
    wait_until(lambda: status(api)["lag"] == 0)
    assert len({event["id"] for event in receiver.taken}) == 13
    is_whole_and_in_order(api, receiver, 2)


def test_both_die_again_and_again(make_hooked, closing):
    """Relay and receiver are killed in any order while mail goes on: no event is lost, those of a batch that was on its way
    may come again, and what is new comes in order. A hundred rounds in the long form."""
    chance = random.Random(20261130)
    receiver = closing(Receiver())
    relay, _ = make_hooked(receiver.section(batch="5"))
    rounds, kills, sent = 100 if SOAK else 8, 0, 0
    for _ in range(rounds):
        for _ in range(6):
            deliver(relay, f"m{sent}")
            sent += 1
        if chance.random() < 0.6:
            relay.kill()
            kills += 1
            relay.start()
        if chance.random() < 0.5:
            receiver.stop()
            deliver(relay, f"m{sent}")
            sent += 1
            receiver.start()
    # A delivery that was cut off by a kill may happen twice, so recipients may have more than one event.
    wait_until(lambda: len(set(receiver.recipients)) == sent, 120)
    api = Api(relay)
    wait_until(lambda: status(api)["lag"] == 0, 120)
    is_whole_and_in_order(api, receiver, kills)


def is_whole_and_in_order(api, receiver, kills):
    """Each event came, those of a batch again at most once for each kill, and what was new in order."""
    told = list(pages(api, "/v1/events?type=delivery.delivered&type=delivery.deferred"))
    seen = collections.Counter(event["id"] for event in receiver.taken)
    assert set(seen) == {event["id"] for event in told}
    assert sum(seen.values()) - len(seen) <= 5 * kills
    first_seen = list(dict.fromkeys(event["seq"] for event in receiver.taken))
    assert first_seen == sorted(first_seen)


def pages(api, path):
    """Every event that fits."""
    after = 0
    while True:
        page = api.ask("GET", f"{path}&limit=1000&after={after}")[2]
        yield from page["items"]
        after = page["last"]
        if page["is_at_end"]:
            return


def test_one_that_is_gone_is_off_until_it_is_switched_on(make_hooked, closing):
    answers = [410]
    receiver = closing(Receiver(lambda events: answers[0]))
    other = closing(Receiver())
    relay, api = make_hooked(receiver.section() + other.section("watch", types="webhook.disabled"))
    deliver(relay, "m0", "m1")
    other.wait_for(1)
    assert other.taken[0]["data"]["subject"] == "shop" and len(receiver.requests) == 1
    assert status(api)["state"] == "disabled" and status(api)["disabled_reason"] == "answered 410"
    answers[0] = 204
    assert api.ask("POST", "/v1/webhooks/shop/enable")[0] == 200
    receiver.wait_for(2)
    # Two sessions may carry them: the order is that of the events.
    assert sorted(receiver.recipients) == ["m0@b.test", "m1@b.test"]
    assert receiver.taken[0]["seq"] < receiver.taken[1]["seq"]


def test_one_that_hangs_holds_up_no_other(make_hooked, closing):
    """G9: while a receiver takes nothing, another hears everything, and mail goes on."""
    hanging = closing(Receiver())
    hanging.answer = lambda events: lambda handler: hanging.released.wait(30)
    other = closing(Receiver())
    relay, _ = make_hooked(hanging.section("hangs", concurrency="4", timeout="30") + other.section())
    deliver(relay, *[f"m{number}" for number in range(8)])
    other.wait_for(8)
    assert not hanging.taken
    hanging.released.set()


def test_sections_are_edited_with_their_comments(make_hooked, receiver, make_relay):
    relay, api = make_hooked("; ours\n")
    made = api.ask("PUT", "/v1/webhooks/shop", {"url": f"http://127.0.0.1:{receiver.port}/", "allow_private": True})
    assert made[0] == 201 and made[2]["secret"].startswith("whsec_") and made[1]["Location"] == "/v1/webhooks/shop"
    path = relay.config / "events.ini"
    assert path.stat().st_mode & 0o007 == 0
    path.write_text(path.read_text().replace("allow_private", "; why\nallow_private") + "timeout = 1m ; long\n")
    wait_until(lambda: api.ask("GET", "/v1/webhooks/shop")[2]["timeout_s"] == 60)
    before = path.read_text()
    code, fields, shown = api.ask("GET", "/v1/webhooks/shop")
    assert "secret" not in shown and shown["status"]["state"] == "healthy"
    # What comes out goes in, and leaves every byte alone.
    assert api.ask("PUT", "/v1/webhooks/shop", shown, If_Match=fields["ETag"])[0] == 200
    assert path.read_text() == before
    code, _, changed = api.ask("PATCH", "/v1/webhooks/shop", {"types": ["delivery.*"], "timeout_s": 5})
    assert code == 200 and changed["types"] == ["delivery.*"] and "secret" not in changed
    text = path.read_text()
    assert "; ours" in text and "; why" in text and "timeout = 5 ; long" in text
    assert api.ask("PATCH", "/v1/webhooks/shop", {"batch": 2}, If_Match=fields["ETag"])[0] == 412
    rotated = api.ask("POST", "/v1/webhooks/shop/rotate", Idempotency_Key="once")[2]
    assert rotated["secret_previous_set"] and rotated["secret"] not in (made[2]["secret"], None)
    for kept in relay.data.rglob("idempotency*"):
        assert rotated["secret"] not in kept.read_text()
    assert made[2]["secret"] in path.read_text()

    def changes():
        return [
            one["data"]
            for one in api.ask("GET", "/v1/events?type=config.changed")[2]["items"]
            if "actor" in one["data"]
        ]

    wait_until(lambda: len(changes()) == 3)
    assert all(one["actor"] == "api loopback" and one["subject"] == "events.ini" for one in changes())
    assert "patch webhook shop / -timeout = 1m / +timeout = 5" in changes()[1]["text"], changes()
    assert made[2]["secret"] not in str(changes()) and str(receiver.port) not in str(changes())
    told = relay.run("config", "history", "--json")
    assert told.returncode == 0 and len(told.stdout.splitlines()) >= 3, told.stdout + told.stderr
    for body in (
        {"url": "https://user:pw@x.test/"},
        {"url": "http://x.test/", "allow_private": False},
        {"secret": "short"},
        {"secret": "@file:/etc/passwd"},
        {"secret": "@env:HOME"},
        {"types": ["a b"]},
        {"unknown": 1},
    ):
        assert api.ask("PATCH", "/v1/webhooks/shop", body)[0] == 422, body
    assert api.ask("GET", "/v1/webhooks/nobody")[0] == 404
    assert api.ask("PUT", "/v1/webhooks/a%20b", {"url": "https://x.test/"})[0] == 422
    assert api.ask("DELETE", "/v1/webhooks/shop")[0] == 204
    assert "[webhook" not in path.read_text() and "; ours" in path.read_text()
    assert not [line for line in relay.log if rotated["secret"] in line.raw or made[2]["secret"] in line.raw]


def test_scopes_of_webhooks(make_relay):
    relay = make_relay(started=False, files={"admin.ini": "listen = 127.0.0.1:0\n"})
    reader = token(relay, "reader", "webhooks:read")
    relay.start()
    api = Api(relay, reader)
    assert api.ask("GET", "/v1/webhooks")[0] == 200
    assert api.ask("PUT", "/v1/webhooks/x", {"url": "https://x.test/"})[0] == 403
    assert api.ask("GET", "/v1/outbound")[0] == 403


def test_a_test_says_what_came_back_and_inner_addresses_are_not_asked(make_hooked, receiver):
    section = receiver.section() + receiver.section(
        "guarded", url=f"https://127.0.0.1:{receiver.port}/?t0ken", allow_private="false"
    )
    relay, api = make_hooked(
        section + receiver.section("named", url=f"https://localhost:{receiver.port}/", allow_private="no")
    )
    said = api.ask("POST", "/v1/webhooks/shop/test")[2]
    assert (
        said["ok"]
        and said["status"] == 200
        and receiver.requests[-1][0].startswith("evt_test")
        and not receiver.unsigned
    )
    count = len(receiver.requests)
    for name in ("guarded", "named"):
        said = api.ask("POST", f"/v1/webhooks/{name}/test")[2]
        assert not said["ok"] and said["error"] == "address" and "allow_private" in said["text"]
    assert len(receiver.requests) == count
    deliver(relay, "m0")
    receiver.wait_for(2)
    wait_until(lambda: status(api, "guarded")["state"] == "failing")
    assert not [line for line in relay.log if "t0ken" in line.raw]


def test_events_are_replayed_with_their_ids(make_hooked, receiver):
    relay, api = make_hooked(receiver.section())
    deliver(relay, "m0", "m1", "m2")
    receiver.wait_for(3)
    begin = receiver.taken[0]["time"]
    ids = [event["id"] for event in receiver.taken]
    code, _, said = api.ask("POST", "/v1/webhooks/shop/replay", {"from": begin})
    assert code == 202 and said["first_seq"] <= receiver.taken[0]["seq"]
    receiver.wait_for(6)
    assert [event["id"] for event in receiver.taken[3:]] == ids
    seq = receiver.taken[1]["seq"]
    assert api.ask("POST", "/v1/webhooks/shop/replay", {"from": seq, "to": seq})[0] == 202
    receiver.wait_for(7)
    assert receiver.taken[6]["id"] == ids[1]
    assert api.ask("POST", "/v1/webhooks/shop/replay", {"from": 10**9})[0] == 410
    for body in ({}, {"from": "yesterday"}, {"from": 5, "to": 4}, {"from": 1, "to": begin}, {"from": 0}):
        assert api.ask("POST", "/v1/webhooks/shop/replay", body)[0] == 422, body


def test_the_formats_of_others(make_hooked, closing):
    receivers = {name: closing(Receiver()) for name in ("sendgrid", "ses", "postmark")}
    relay, _ = make_hooked("".join(one.section(name, format=name) for name, one in receivers.items()))
    deliver(relay, "m0")
    for one in receivers.values():
        one.wait_for(1)
    assert receivers["sendgrid"].taken[0]["event"] == "delivered"
    assert receivers["ses"].taken[0]["notificationType"] == "Delivery"
    assert receivers["postmark"].taken[0]["RecordType"] == "Delivery"


# ------------------------------------------------------------------------------------------------------------- streams


class Stream:
    """`GET /v1/events` as server-sent events, read by a thread of its own."""

    def __init__(self, api, query="", **fields):
        self.connection = http.client.HTTPConnection(*api.address, timeout=30)
        headers = {"Accept": "text/event-stream", **{key.replace("_", "-"): text for key, text in fields.items()}}
        self.connection.request("GET", f"/v1/events{query}", headers={**api.headers, **headers})
        self.answer = self.connection.getresponse()
        self.status, self.events, self.last = self.answer.status, [], None
        if self.status == 200:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                name, _, text = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.last = text
                elif name == "data":
                    self.events.append(json.loads(text))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.ended = time.monotonic()

    def close(self):
        self.connection.close()


def test_a_stream_goes_on_where_it_was(make_api, sink, closing):
    relay, api = make_api(routes={"*": sink.address})
    deliver(relay, "m0")
    stream = closing(Stream(api, "?after=0&type=delivery.delivered"))
    assert stream.answer.getheader("Content-Type") == "text/event-stream"
    wait_until(lambda: len(stream.events) == 1)
    deliver(relay, "m1")
    wait_until(lambda: len(stream.events) == 2)
    last, known = stream.last, list(stream.events)
    stream.close()
    deliver(relay, "m2")
    again = closing(Stream(api, "?type=delivery.delivered", Last_Event_ID=last))
    wait_until(lambda: len(again.events) == 1)
    assert [event["data"]["recipient"] for event in known + again.events] == [f"m{n}@b.test" for n in range(3)]
    assert Stream(api, Last_Event_ID="evt_other_1").status == 410
    assert Stream(api, Last_Event_ID=str(10**9)).status == 410
    assert Stream(api, Last_Event_ID="nonsense").status == 400


def test_two_hundred_streams_leave_the_api_alone(make_api, sink, closing):
    relay, api = make_api(routes={"*": sink.address})
    streams = [closing(Stream(api, "?type=delivery.delivered")) for _ in range(200)]
    assert all(stream.status == 200 for stream in streams)
    deliver(relay, *[f"m{number}" for number in range(5)])
    wait_until(lambda: all(len(stream.events) == 5 for stream in streams), 60)
    # More than the API has seats for, and it answers.
    assert api.ask("GET", "/v1/outbound")[0] == 200
    assert b"martlet_event_streams 200" in api.ask("GET", "/metrics")[2]


def test_the_receiver_of_the_manual(make_hooked, closing, tmp_path):
    """The program in Webhooks.md, as it stands there."""
    import re
    import subprocess
    import sys

    from waiting import free_port

    page = (ROOT / "Sources/martlet/martlet.docc/Webhooks.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(program.strip().splitlines()) <= 30
    port = free_port()
    (tmp_path / "receiver.py").write_text(program)
    run = subprocess.Popen(
        [sys.executable, "-u", tmp_path / "receiver.py", str(port), SECRET], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: is_open(port), what="the receiver")
        text = (
            f"[webhook shop]\nurl = http://127.0.0.1:{port}/\nsecret = {SECRET}\nallow_private = true\n"
            f"types = delivery.*\n[webhook liar]\nurl = http://127.0.0.1:{port}/\nallow_private = true\n"
            f"types = delivery.*\nsecret = whsec_{'A' * 32}\n"
        )
        relay, api = make_hooked(text)
        deliver(relay, "m0")
        assert "delivery.delivered m0@b.test" in run.stdout.readline()
        wait_until(lambda: status(api, "liar")["last_error"] == "answered 401")
        assert status(api)["failures"] == 0
    finally:
        run.terminate()
        run.wait(10)


def is_open(port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
