"""test_reactions.py - reactions of limits.ini by a running relay: slower, told, kept over a kill, let go; answers that become others."""

from api import Api
from story import submit
from waiting import wait_until

SLOW = """[reaction busy]
when = /come back (later|tomorrow)/
threshold = 2/1h
do = slow 50% floor 1/h recover 10% every 1h
"""


def test_a_next_hop_is_slowed_and_let_go(make_api, make_server):
    peer = make_server({"RCPT": "451 4.7.1 Come back later"})
    relay, api = make_api(routes={"*": peer.address}, files={"limits.ini": SLOW})
    submit(relay, "one@a.test")
    submit(relay, "two@a.test")
    held = wait_until(lambda: api.ask("GET", "/v1/reactions")[2]["items"], what="the next hop to be slowed")[0]
    assert held["scope"] == "lane *" and held["reaction"] == "busy" and held["origin"] == "limits.ini:1"
    assert held["key"] == "rate" and held["value"] == "1/h" and held["base"] == "2/h"
    assert "Come back later" in held["said"]
    shown = wait_until(
        lambda: next(
            (
                one
                for one in api.ask("GET", "/v1/explain?recipient=x@a.test")[2]["limits_in_force"]
                if one["key"] == "rate"
            ),
            None,
        ),
        what="explain to say so",
    )
    assert shown["value"] == "1/h" and shown["origin"] == "limits.ini:1" and shown["applies"]
    told = wait_until(
        lambda: api.ask("GET", "/v1/events?type=destination.slowed")[2]["items"], what="the event to be written"
    )
    assert told[0]["data"]["subject"] == "lane *" and told[0]["data"]["actor"] == "reaction busy", told
    assert "limits.ini:1" in told[0]["data"]["text"] and "Come back later" in told[0]["data"]["text"]
    wait_until((relay.data / "reactions").exists, what="the reaction to be on the disk")
    relay.kill()
    relay.start()
    api = Api(relay)
    assert [one["scope"] for one in api.ask("GET", "/v1/reactions")[2]["items"]] == ["lane *"]
    assert api.ask("GET", "/v1/reactions/lane%20*")[2]["since"] == held["since"]
    assert api.ask("DELETE", "/v1/reactions/lane%20*")[0] == 204
    assert api.ask("DELETE", "/v1/reactions/moon")[0] == 422
    wait_until(lambda: api.ask("GET", "/v1/events?type=destination.recovered")[2]["items"], what="the end to be told")


def test_what_is_answered_so_fails_for_good(make_api, make_server):
    peer = make_server({"RCPT": lambda _, recipient: "450 4.2.2 full" if "full" in recipient else "451 4.7.0 wait"})
    files = {
        "limits.ini": "[reaction full]\nwhen = 4.2.2\ndo = bounce\n[reaction wait]\nwhen = 4.7.0\ndo = defer 3h\n"
        "[reaction parks]\nwhen = /never/\ndo = park_sender\n"
    }
    relay, api = make_api(routes={"*": peer.address}, files=files, outbound={"temp_fail_intervals": "60*5"})
    submit(relay, "full@a.test")
    bounced = wait_until(
        lambda: api.ask("GET", "/v1/events?type=delivery.bounced")[2]["items"], what="the mail to be given up"
    )
    assert "reaction full" in bounced[0]["data"]["smtp"]["text"], bounced
    message = submit(relay, "late@a.test")
    deferred = wait_until(
        lambda: [
            one
            for one in api.ask("GET", "/v1/events?type=delivery.deferred")[2]["items"]
            if one["data"]["message_id"] == message
        ],
        what="the mail to be deferred",
    )
    shown = api.ask("GET", f"/v1/queue/{message}")[2]
    because = shown["waiting_because"][0]
    assert (because["code"], because["rule"], because["origin"]) == ("retry_timer", "reaction wait", "limits.ini:4")
    delay = shown["next_attempt_at"]
    assert delay[:13] > deferred[0]["time"][:13], (delay, deferred)
    assert api.ask("GET", "/v1/reactions")[2]["items"] == [] and api.ask("GET", "/v1/pauses")[2]["items"] == []


def test_a_replay_says_what_was(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"limits.ini": "[domain slow.test]\nrate = 60/m burst 1\n"})
    mails = [submit(relay, f"r{number}@{'slow' if number % 2 else 'b'}.test") for number in range(8)]
    sink.wait_for(8)

    def replayed(**body):
        status, _, value = api.ask("POST", "/v1/limits/replay", {"messages": 100, **body})
        assert status == 200, value
        return value

    found = wait_until(lambda: (one := replayed()) and one["attempts"] == 8 and one, what="history to have all of it")
    assert {one["id"] for one in found["messages"]} == set(mails) and not found["is_cut"]
    slow = [one for one in found["messages"] if one["id"] in mails[1::2]]
    assert all(one["delivered"] and one["replayed_at"] for one in slow)
    # In the order in which they went, and as far apart.
    assert [one["id"] for one in sorted(slow, key=lambda one: one["replayed_at"])] == [one["id"] for one in slow]
    tried = replayed(limits="[domain slow.test]\nrate = 1/h\n")["lanes"][0]
    assert tried["attempts"] == 8 and tried["waiting"] == 3, tried
    assert api.ask("POST", "/v1/limits/replay", {"limits": "[moon]\n"})[0] == 422
    assert api.ask("POST", "/v1/limits/replay", {"limits": "; a long file\n" * 40_000})[0] == 200
    assert api.ask("POST", "/v1/limits/replay", {"since": "2030-01-01T00:00:00Z"})[0] == 422
    assert api.ask("POST", "/v1/limits/domain%20slow.test/reset", {})[2] == {"scope": "domain slow.test", "reset": True}
    assert api.ask("POST", "/v1/limits/domain%20*/reset", {})[0] == 422
