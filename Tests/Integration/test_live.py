"""test_live.py - `GET /v1/live`: numbers by topic and some of the events, in one stream for people who look on."""

import http.client
import json
from urllib.parse import urlencode

import pytest
from api import token
from smtp_client import send_mail
from waiting import wait_until

TOPICS = {
    "stats": "/v1/stats?top=20",
    "ready": "/readyz",
    "pauses": "/v1/pauses",
    "day": "/v1/stats/day?step_s=900",
    "nodes": "/v1/nodes",
    "waiting": "/v1/stats/waiting",
}


class Stream:
    """One that is read record by record."""

    def __init__(self, api, query, **headers):
        self.connection = http.client.HTTPConnection(*api.address, timeout=60)
        fields = {**api.headers, "Accept": "text/event-stream", **headers}
        self.connection.request("GET", f"/v1/live?{urlencode(query)}", headers=fields)
        self.answer = self.connection.getresponse()

    def record(self):
        """The next one: its topic and its value; None at the end."""
        topic = None
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                topic = value
            if name == "data":
                return topic, json.loads(value)
        return None

    def of(self, topic, fits=lambda value: True):
        """The next one of a topic that fits."""
        while record := self.record():
            if record[0] == topic and fits(record[1]):
                return record[1]
        raise AssertionError("the stream ended")

    def close(self):
        self.connection.close()


def shape(value):
    """What a value is made of, without its numbers."""
    return sorted(value) if isinstance(value, dict) else type(value)


def test_topics_say_what_their_operations_answer(make_api, closing, sink):
    _, api = make_api(routes={"*": sink.address})
    stream = closing(Stream(api, [("topic", topic) for topic in TOPICS]))
    assert stream.answer.status == 200 and stream.answer.headers["Content-Type"] == "text/event-stream"
    first = dict(stream.record() for _ in TOPICS)
    assert list(first) == list(TOPICS), "what is quick comes first"
    for topic, path in TOPICS.items():
        assert shape(first[topic]) == shape(api.ask("GET", path)[2]), topic
    # What somebody changes is told soon, and what is as it was is not told again.
    assert api.ask("POST", "/v1/pauses", {"scope": "domain slow.test"})[0] == 201
    assert [one["scope"] for one in stream.of("pauses")["items"]] == ["domain slow.test"]


def test_events_are_told_by_filter_with_what_was_left_out(make_api, closing, sink):
    relay, api = make_api(routes={"*": sink.address})
    query = [("events", ""), ("events", "to:ann@b.test")]
    stream = closing(Stream(api, query))
    wait_until(lambda: b"martlet_live_streams 1\n" in api.ask("GET", "/metrics")[2], what="the stream")
    for name in ("ann", "bob"):
        send_mail(relay, "a@a.test", [f"{name}@b.test"], b"Subject: x\r\n\r\nx\r\n")
    seen = {"": [], "to:ann@b.test": []}
    while len(seen[""]) < 6 or not seen["to:ann@b.test"]:
        one = stream.of("events")
        assert one["left_out"] == 0 and one["after"] < one["last"]
        seen[one["q"]] += one["items"]
    # Each once and in order; what has a recipient is chosen by it.
    assert [one["seq"] for one in seen[""]] == list(range(1, 7))
    assert {one["data"]["recipient"] for one in seen["to:ann@b.test"]} == {"ann@b.test"}
    # Very many at once: some of the newest, and the number of the others.
    body = b"Subject: x\r\n\r\nx\r\n"
    for _ in range(4):
        send_mail(relay, "a@a.test", [f"u{number}@b.test" for number in range(50)], body)
    told, left = 0, 0
    while told + left < 4 * 52:
        one = stream.of("events", lambda one: one["q"] == "")
        assert len(one["items"]) <= 50
        told, left = told + len(one["items"]), left + one["left_out"]
    assert told + left == 4 * 52


@pytest.mark.parametrize(
    "query,status",
    [
        ([], 422),
        ([("topic", "weather")], 422),
        ([("events", "state:held")], 422),
        ([("events", f"tag:{number}") for number in range(9)], 422),
        ([("after", "3")], 422),
    ],
)
def test_what_means_nothing_is_refused(make_api, closing, query, status):
    _, api = make_api()
    assert closing(Stream(api, query)).answer.status == status


def test_a_stream_is_of_what_a_token_may_see_and_ends_with_it(make_api, closing):
    relay, api = make_api()
    boss, reader = token(relay, "boss"), token(relay, "reader", "status:read")
    api.headers = {"Authorization": f"Bearer {boss}"}
    wait_until(lambda: api.ask("GET", "/v1/session")[0] == 200, what="the tokens to be in force")
    allowed = {"Authorization": f"Bearer {reader}"}
    for query in ([("topic", "pauses")], [("events", "")], [("topic", "stats"), ("topic", "pauses")]):
        assert closing(Stream(api, query, **allowed)).answer.status == 403, query
    stream = closing(Stream(api, [("topic", "stats")], **allowed))
    assert stream.record()[0] == "stats"
    text = relay.config.joinpath("admin.ini").read_text()
    before, _, rest = text.partition("[token reader]")
    assert rest
    relay.config.joinpath("admin.ini").write_text(before)
    relay.hup()
    while stream.record():
        pass
    # Who has another goes on.
    assert closing(Stream(api, [("topic", "stats")])).record()[0] == "stats"
