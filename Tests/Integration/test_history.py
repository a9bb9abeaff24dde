"""test_history.py - what happened is told once, by the API and the tools, over kills and restarts; off, it costs nothing."""

import json
import re
import subprocess
from collections import Counter

import pytest
from api import Api, token
from harness import MARTLET, environment
from scripted import Sink
from smtp_client import send_mail
from waiting import free_port, wait_until

MAIL = b"Message-ID: <%d@app.example>\r\nX-Tag: spring\r\nSubject: x\r\n\r\nHello\r\n"
ADMIN = {"admin.ini": "listen = 127.0.0.1:0\nsocket = admin.sock\n"}


def tool(relay, *arguments, check=True):
    result = subprocess.run(
        [MARTLET, *arguments, "--data", str(relay.data)], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert not check or result.returncode == 0, result
    return result.stdout


def with_api(make_relay, **how):
    """A relay with the API on a port of its own, and a client that may do everything."""
    how["files"] = {**ADMIN, **how.get("files", {})}
    relay = make_relay(started=False, **how)
    secret = token(relay)
    relay.start()
    return relay, Api(relay, secret)


def events(relay, *arguments):
    text = tool(relay, "events", "--after", "0", "--limit", "100000", "--json", *arguments)
    return [json.loads(line) for line in text.splitlines() if line]


def wait_events(relay, count, kind):
    wait_until(lambda: sum(e["type"] == kind for e in events(relay)) >= count, what=f"{count} events {kind}")
    return events(relay)


@pytest.fixture
def gone(make_relay):
    """A relay with mail for a next hop that is not there."""
    relay, api = with_api(
        make_relay, routes={"*": f"127.0.0.1:{free_port()}"}, outbound={"temp_fail_intervals": "1h*5"}
    )
    send_mail(relay, "app@example.org", ["one@example.com", "two@example.net"], MAIL % 1)
    relay.api = api
    return relay


def test_the_life_of_a_message_is_told(make_relay, closing):
    sink = closing(Sink())
    relay, api = with_api(make_relay, routes={"*": sink.address})
    send_mail(relay, "app@example.org", ["one@example.com"], MAIL % 7)
    found = wait_events(relay, 1, "message.finished")
    assert [e["type"] for e in found] == ["message.accepted", "delivery.delivered", "message.finished"]
    assert [e["seq"] for e in found] == [1, 2, 3]
    data = found[1]["data"]
    assert data["recipient"] == "one@example.com" and data["sender"] == "app@example.org"
    assert data["header_message_id"] == "<7@app.example>" and data["tag"] == "spring"
    assert set(data["stage_ms"]) == {"connect", "session", "envelope", "data"} and all(
        0 <= n < 60_000 for n in data["stage_ms"].values()
    )
    assert data["mx"]["port"] == sink.port and data["smtp"]["code"] == 250 and data["attempt"] == 1
    for condition in ("recipient=one@example.com", "sender=app@example.org", "tag=spring", "domain=example.com"):
        status, _, page = api.ask("GET", f"/v1/history?{condition}&status=delivered")
        assert status == 200 and [m["id"] for m in page["items"]] == [data["message_id"]], condition
    status, _, page = api.ask("GET", "/v1/history?recipient=one@example.com&status=bounced")
    assert (status, page["items"]) == (200, [])
    status, _, message = api.ask("GET", f"/v1/messages/{data['message_id']}")
    assert status == 200 and message["queue"] is None and len(message["timeline"]) == 3
    assert message["recipients"][0]["status"] == "delivered" and message["finished_at"]
    for what in ("one@example.com", "<7@app.example>", data["message_id"], "7@app.example"):
        told = tool(relay, "trace", what)
        assert re.search(r"delivery\.delivered .* stage_ms=connect:\d+,session:\d+,envelope:\d+,data:\d+", told), told
    assert "nothing is known" in tool_error(relay, "trace", "nobody@example.com")
    assert "one@example.com" in tool(relay, "history", "--recipient", "*@example.com")
    assert "one@example.com" in tool(relay, "history", "--filter", "one@example.com age<1h")
    assert "one@example.com" not in tool(relay, "history", "--filter", "to:*@example.com age>1h")
    assert api.ask("GET", "/v1/messages/zzzzzzzzzzzzz")[0] == 404
    assert api.ask("DELETE", "/v1/history?recipient=one@example.com")[::2] == (200, {"messages": 1})
    assert api.ask("GET", "/v1/history?recipient=one@example.com")[2]["items"] == []
    assert "one@example.com" not in tool(relay, "events", "--after", "0", "--json")


def tool_error(relay, *arguments):
    result = subprocess.run(
        [MARTLET, *arguments, "--data", str(relay.data)], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert result.returncode != 0
    return result.stderr


def test_deferral_hold_release_and_removal_are_told(gone):
    found = wait_events(gone, 2, "delivery.deferred")
    by_type = Counter(e["type"] for e in found)
    assert by_type == {"message.accepted": 1, "delivery.deferred": 2}
    deferred = [e["data"] for e in found if e["type"] == "delivery.deferred"]
    assert {d["recipient"] for d in deferred} == {"one@example.com", "two@example.net"}
    assert all(d["class"] == "temporary" and d["reason"] == "connect_refused" for d in deferred)
    assert all(d["next_attempt_at"] > found[0]["time"] for d in deferred)
    id = found[0]["data"]["message_id"]
    tool(gone, "queue", "hold", id, "--because", "a look")
    tool(gone, "queue", "release", id)
    tool(gone, "queue", "remove", id)
    told = [e["type"] for e in wait_events(gone, 1, "message.removed")]
    assert told[3:] == ["message.held", "message.released", "message.removed", "message.finished"]
    status = [json.loads(line) for line in tool(gone, "history", "--json").splitlines()]
    assert [r["status"] for r in status[0]["recipients"]] == ["removed", "removed"]


def test_the_api_reads_on_and_waits(gone):
    wait_events(gone, 2, "delivery.deferred")
    api = gone.api
    status, _, page = api.ask("GET", "/v1/events?limit=2")
    assert status == 200 and [e["seq"] for e in page["items"]] == [1, 2] and not page["is_at_end"]
    status, _, page = api.ask("GET", f"/v1/events?after={page['last']}&type=delivery.deferred")
    assert [e["seq"] for e in page["items"]] == [3] and page["is_at_end"]
    status, headers, body = api.ask("GET", "/v1/events", Accept="application/x-ndjson")
    assert [json.loads(line)["seq"] for line in body.splitlines()] == [1, 2, 3] and headers["X-Last-Seq"] == "3"
    status, _, page = api.ask("GET", "/v1/events?after=3&wait_s=1")
    assert status == 200 and page["items"] == []
    assert api.ask("GET", "/v1/events?type=delivery.lost")[0] == 422
    status, _, schema = api.ask("GET", "/v1/events/schema")
    assert status == 200 and "delivery.deferred" in schema["properties"]["type"]["enum"]


def test_hours_are_counted_by_what_people_ask_for(make_relay, closing):
    sink = closing(Sink())
    relay, api = with_api(make_relay, routes={"*": sink.address, "refused.example": f"127.0.0.1:{free_port()}"})
    for number in range(3):
        send_mail(relay, "app@example.org", [f"{number}@example.com", "x@example.net"], MAIL % number)
    send_mail(relay, "app@example.org", ["y@refused.example"], MAIL % 9)
    events_of_all = wait_events(relay, 3, "message.finished")
    wait_events(relay, 1, "delivery.deferred")
    assert sum(e["type"] == "delivery.delivered" for e in events_of_all) == 6
    status, _, tags = api.ask("GET", "/v1/stats?by=tag")
    assert status == 200 and [t["name"] for t in tags["items"]] == ["spring"] and tags["others"] is None
    assert tags["items"][0]["accepted"] == 4 and tags["items"][0]["delivered"] == 6
    assert tags["items"][0]["delay_p95_s"] is not None
    by_route = {t["name"]: t for t in api.ask("GET", "/v1/stats?by=route")[2]["items"]}
    assert by_route["*"]["delivered"] == 6 and by_route["refused.example"]["deferred"] >= 1
    assert by_route["*"]["accepted"] is None
    first = api.ask("GET", "/v1/stats?by=route&limit=1")[2]
    assert len(first["items"]) == 1 and first["others"]["deferred"] + first["items"][0]["deferred"] >= 1
    assert api.ask("GET", "/v1/stats?by=route&to=2020-01-01T00:00:00Z")[2]["items"] == []
    for wrong in (
        "by=colour",
        "by=tag&from=x",
        "by=tag&top=3",
        "by=tag&from=2027-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
    ):
        assert api.ask("GET", f"/v1/stats?{wrong}")[0] in (400, 422), wrong


def test_settings_that_change_are_told(gone):
    gone.write("outbound.ini", "temp_fail_intervals = 1h*5\ndisabled = true\ndisabled_reason = we move\n")
    found = wait_events(gone, 1, "outbound.disabled")
    assert [e["data"]["text"] for e in found if e["type"] == "outbound.disabled"] == ["we move"]
    assert any(e["data"].get("subject") == "outbound.ini" for e in wait_events(gone, 1, "config.changed"))


def test_each_event_is_there_once_over_kills(make_relay, closing):
    """G7: what was accepted before a kill is accepted once in the history, and each delivery is there."""
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.address})
    sent = 0
    for _ in range(6):
        for _ in range(20):
            send_mail(relay, "app@example.org", ["one@example.com"], MAIL % sent)
            sent += 1
        relay.process.kill()
        relay.process.wait()
        relay.start()
    relay.hup()
    found = wait_events(relay, sent, "message.finished")
    accepted = Counter(e["data"]["header_message_id"] for e in found if e["type"] == "message.accepted")
    assert accepted == Counter(f"<{number}@app.example>" for number in range(sent))
    finished = Counter(e["data"]["message_id"] for e in found if e["type"] == "message.finished")
    assert len(finished) == sent and set(finished.values()) == {1}
    delivered = Counter(e["data"]["message_id"] for e in found if e["type"] == "delivery.delivered")
    assert set(delivered) == set(finished)
    # What was delivered twice around a kill is told so; no more than arrived.
    assert sum(delivered.values()) <= len(sink.messages)
    assert [e["seq"] for e in found] == list(range(1, len(found) + 1))
    relay.stop()
    relay.start()
    assert events(relay) == found


def test_off_nothing_is_remembered(make_relay, closing):
    sink = closing(Sink())
    relay, api = with_api(make_relay, routes={"*": sink.address}, files={"events.ini": "history = off\n"})
    send_mail(relay, "app@example.org", ["one@example.com"], MAIL % 1)
    wait_until(lambda: len(sink.messages) == 1, what="the mail")
    assert not (relay.data / "history.db").exists()
    assert api.ask("GET", "/v1/events")[0] == 404


@pytest.mark.parametrize("addresses", ["hash", "domain"])
def test_addresses_are_covered(make_relay, closing, addresses):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.address}, files={"events.ini": f"addresses = {addresses}\n"})
    for number in range(2):
        send_mail(relay, "app@example.org", ["secret@example.com"], MAIL % number)
    found = [e["data"]["recipient"] for e in wait_events(relay, 2, "delivery.delivered") if "smtp" in e["data"]]
    assert len(set(found)) == 1 and found[0].endswith("@example.com") and "secret" not in found[0]
    relay.stop()
    for path in relay.data.glob("history.db*"):
        assert b"secret@" not in path.read_bytes()


def test_events_stand_in_a_file_once_over_kills(make_relay, closing):
    """Lines of JSON for shippers: the events of the API, in order, each once, whatever kills cut off."""
    sink = closing(Sink())
    relay = make_relay(
        routes={"*": sink.address}, files={"events.ini": "event_file = told.jsonl\nevent_file_bytes = 64K\n"}
    )
    sent = 0
    for _ in range(4):
        for _ in range(25):
            send_mail(relay, "app@example.org", ["one@example.com"], MAIL % sent)
            sent += 1
        relay.process.kill()
        relay.process.wait()
        relay.start()
    found = wait_events(relay, sent, "message.finished")

    def told():
        lines = []
        for number in range(8, 0, -1):
            path = relay.data / f"told.jsonl.{number}"
            lines += path.read_text().splitlines() if path.exists() else []
        lines += (relay.data / "told.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    wait_until(lambda: told() and told()[-1]["seq"] >= found[-1]["seq"], what="the file")
    assert [event for event in told() if event["seq"] <= found[-1]["seq"]] == found
    assert (relay.data / "told.jsonl.1").exists()
