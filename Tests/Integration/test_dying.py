"""test_dying.py - a bounce that waits for bounce_grace: seen, taken back, kept over a kill, and told once."""

import json
import subprocess

from harness import MARTLET, environment
from story import submit
from waiting import wait_until


def tool(relay, *arguments):
    done = subprocess.run(
        [MARTLET, *arguments, "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(api, kind):
    return api.ask("GET", f"/v1/events?type={kind}")[2]["items"]


def test_a_bounce_of_a_person_waits_and_is_taken_back(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, outbound={"disabled": True, "bounce_grace": "1h"})
    one, two = submit(relay, "one@b.test"), submit(relay, "two@b.test")
    status, _, told = api.ask("DELETE", f"/v1/queue/{one}?dsn=send&reason=wrong+list")
    assert status == 202 and told["state"] == "dying", told
    shown = api.ask("GET", f"/v1/queue/{one}")[2]
    assert shown["state"] == "dying" and shown["held"]["until"] == told["bounces_at"]
    because = shown["waiting_because"][0]
    assert because["code"] == "dying" and because["rule"] == "bounce_grace" and because["until"] == told["bounces_at"]
    assert because["origin"].startswith("outbound.ini:") and "wrong list" in because["text"], because
    assert [row["id"] for row in api.ask("GET", "/v1/queue?q=status:dying")[2]["items"]] == [one]
    assert api.ask("POST", f"/v1/queue/{one}/retry")[0] == 409
    assert api.ask("POST", f"/v1/queue/{one}/release")[0] == 409
    assert api.ask("GET", "/v1/stats")[2]["dying"] == 1
    relay.kill()
    relay.start()
    api = type(api)(relay)
    assert api.ask("GET", f"/v1/queue/{one}")[2]["state"] == "dying", "also after kill -9"
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    sink.wait_for(1)
    assert sink.messages[0].recipients == ["two@b.test"], two
    rows = json.loads(tool(relay, "queue", "revive", "--filter", "status:dying", "--json"))
    assert rows["action"] == "revive" and rows["done"] == 1, rows
    sink.wait_for(2)
    assert sink.messages[1].recipients == ["one@b.test"]
    wait_until(lambda: [e["data"]["message_id"] for e in events(api, "message.dying")] == [one], what="the event")
    wait_until(lambda: [e["data"]["message_id"] for e in events(api, "message.released")] == [one], what="its end")
    assert not events(api, "report.sent")


def test_when_the_grace_is_over_there_is_one_report(make_api, make_server):
    peer = make_server({"RCPT": lambda _, to: "450 4.2.2 full" if "full" in to else None})
    files = {"limits.ini": "[reaction full]\nwhen = 4.2.2\ndo = bounce\n"}
    relay, api = make_api(
        routes={"*": peer.address}, files=files, outbound={"bounce_grace": "1h", "temp_fail_intervals": "1h*5"}
    )
    message = submit(relay, "full@b.test")
    shown = wait_until(
        lambda: (one := api.ask("GET", f"/v1/queue/{message}")[2]) and one.get("state") == "dying" and one,
        what="the reaction to give it up",
    )
    assert "reaction full, limits.ini:1" in shown["waiting_because"][0]["text"], shown["waiting_because"]
    places = [relay.data / "queue" / "holds", relay.data / "queue" / "holds.log"]
    wait_until(
        lambda: any(place.exists() and message.encode() in place.read_bytes() for place in places),
        what="the hold to be on the disk",
    )
    relay.kill()
    # Its time comes while nobody is there.
    relay.start()
    api = type(api)(relay)
    assert api.ask("GET", f"/v1/queue/{message}")[2]["state"] == "dying"
    plan = api.ask("POST", "/v1/queue/actions", {"action": "revive", "filter": {"state": "dying"}, "dry_run": True})[2]
    assert plan["matched"] == 1
    # With a grace that is shorter, and a word of a person about another one.
    assert api.ask("PATCH", "/v1/outbound", {"bounce_grace_s": 1})[0] == 200
    other = submit(relay, "full@c.test")
    delivered = wait_until(lambda: peer.messages and list(peer.messages), what="the report")
    assert [m.recipients for m in delivered] == [["a@report.test"]] and b"full@c.test" in delivered[0].data
    assert b"reaction full" in delivered[0].data
    assert api.ask("GET", f"/v1/queue/{other}")[0] == 404
    assert api.ask("GET", f"/v1/queue/{message}")[2]["state"] == "dying", "each has the grace that it began with"
