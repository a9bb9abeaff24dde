"""test_sending_limits.py - limits.ini and pauses by a running relay: in force at once, told wherever somebody asks, kept over kills."""

from datetime import UTC, datetime, timedelta

from api import Api
from smtp_client import send_mail
from story import submit
from waiting import wait_until

LIMITS = """; mine
[lane *]
connections = 4
[domain slow.test]
rate = 1/h
[user app]
daily = 100
"""


def reasons(api, message):
    status, _, value = api.ask("GET", f"/v1/queue/{message}")
    assert status == 200, value
    return value


def waits(api, message, code):
    return wait_until(
        lambda: next((one for one in reasons(api, message)["waiting_because"] if one["code"] == code), None),
        what=f"{message} to wait because of {code}",
    )


def test_a_limit_is_a_wait_and_no_failure(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"limits.ini": LIMITS})
    submit(relay, "one@slow.test")
    sink.wait_for(1)
    second, third = submit(relay, "two@slow.test"), submit(relay, "free@b.test")
    sink.wait_for(2)
    assert sink.messages[1].recipients == ["free@b.test"], f"{third} passes {second}"
    because = waits(api, second, "limit")
    assert because["origin"] == "limits.ini:5" and because["rule"] == "rate 1/h of domain slow.test"
    report = reasons(api, second)
    assert report["state"] == "waiting" and report["attempts"] == 0 and report["last_reply"] is None
    assert report["estimated_send_at"][:13] == because["until"][:13]
    assert api.ask("GET", "/v1/stats")[2]["waiting"] == 1
    explained = api.ask("GET", "/v1/explain?recipient=x@slow.test&user=app")[2]
    found = {(one["key"], one["scope"]): one for one in explained["limits_in_force"]}
    assert found["rate", "domain slow.test"]["opens_at"] and found["daily", "user app"]["used"] == 0
    # A restart forgets nothing, a kill neither.
    wait_until((relay.data / "limits.used").exists, what="the usage to be on the disk")
    relay.kill()
    relay.start()
    api = Api(relay)
    waits(api, second, "limit")
    assert api.ask("DELETE", "/v1/limits/domain%20slow.test")[0] == 204
    sink.wait_for(3)


def test_limits_by_api(make_api):
    relay, api = make_api(files={"limits.ini": LIMITS})
    listed = api.ask("GET", "/v1/limits")[2]
    assert [one["scope"] for one in listed["items"]] == ["lane *", "domain slow.test", "user app"]
    assert listed["items"][0]["connections"] == "4" and listed["items"][0]["origin"] == "limits.ini:2"
    status, headers, made = api.ask("PUT", "/v1/limits/provider%20big", {"mx": ["*.big.test"], "rate": "20/m"})
    assert status == 201 and made["mx"] == ["*.big.test"] and made["rate"] == "20/m", made
    tag = headers["ETag"]
    status, _, tried = api.ask("PATCH", "/v1/limits/provider%20big?dry_run=true", {"rate": "30/m"})
    assert status == 200 and tried["changed"] and "+rate = 30/m" in tried["diff"]
    status, headers, value = api.ask("PATCH", "/v1/limits/provider%20big", {"daily": 500}, If_Match=tag)
    assert status == 200 and value["daily"] == "500" and value["rate"] == "20/m"
    assert api.ask("PATCH", "/v1/limits/provider%20big", {"rate": None}, If_Match=tag)[0] == 412
    assert api.ask("PUT", "/v1/limits/provider%20big", value)[0] == 200, "what comes out goes in"
    for name, wrong in [
        ("lane%20x", {"rate": "soon"}),
        ("lane%20x", {"rate": "1/m\n[lane y]"}),
        ("lane%20x", {"more": 1}),
        ("lane%20x", {"connections": 0}),
        ("lane%20x", {"scope": "lane y", "rate": "1/m"}),
        ("lane%20x", {"connections": True}),
        ("provider%20p", {"rate": "1/m"}),
        ("user%20u", {"connections": 3}),
        ("nothing%20u", {"rate": "1/m"}),
        ("all", {"rate": "1/m"}),
    ]:
        status, _, problem = api.ask("PUT", f"/v1/limits/{name}", wrong)
        assert status == 422 and problem["errors"], (name, wrong, problem)
    assert (relay.config / "limits.ini").read_text().startswith(LIMITS)
    assert api.ask("DELETE", "/v1/limits/provider%20big")[0] == 204
    assert api.ask("DELETE", "/v1/limits/provider%20big")[0] == 404
    assert (relay.config / "limits.ini").read_text().strip() == LIMITS.strip()


def test_pauses_stop_what_they_name_and_outlive_a_kill(make_api, sink):
    relay, api = make_api(routes={"*": sink.address})
    status, _, made = api.ask("POST", "/v1/pauses", {"scope": "domain B.test", "reason": "ticket 7"})
    assert status == 201 and made["scope"] == "domain b.test" and made["persisted"] is True
    status, _, _ = api.ask("POST", "/v1/pauses", {"scope": "sender bad.test", "reason": "stolen"})
    assert status == 201
    paused = submit(relay, "x@b.test")
    stolen = submit(relay, "x@c.test", sender="me@bad.test")
    submit(relay, "x@c.test", sender="me@good.test")
    sink.wait_for(1)
    assert sink.messages[0].recipients == ["x@c.test"]
    because = waits(api, paused, "paused")
    assert "ticket 7" in because["text"] and because["since"] and because["until"] is None
    assert "stolen" in waits(api, stolen, "paused")["text"]
    assert api.ask("POST", "/v1/queue/flush", {})[2]["paused"] == ["domain b.test", "sender bad.test"]
    relay.kill()
    relay.start()
    api = Api(relay)
    assert [one["reason"] for one in api.ask("GET", "/v1/pauses")[2]["items"]] == ["ticket 7", "stolen"]
    waits(api, paused, "paused")
    assert len(sink.messages) == 1
    assert api.ask("DELETE", "/v1/pauses/domain%20b.test")[0] == 204
    sink.wait_for(2)
    assert api.ask("DELETE", "/v1/pauses/domain%20b.test")[0] == 404
    end = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert api.ask("POST", "/v1/pauses", {"scope": "sender bad.test", "until": end})[0] == 200
    sink.wait_for(3)
    wait_until(lambda: api.ask("GET", "/v1/pauses")[2]["total"] == 0, what="the pause to end")
    events = api.ask("GET", "/v1/events?type=destination.paused&type=destination.recovered")[2]["items"]
    words = [(one["type"], one["data"].get("subject")) for one in events]
    assert words.count(("destination.paused", "sender bad.test")) == 2, words
    assert ("destination.recovered", "domain b.test") in words, words


def test_mail_of_a_tag_waits_and_nobody_else(make_api, sink):
    """By the field of `tag_header`, over a kill, whether it came before the pause or after."""
    relay, api = make_api(routes={"*": sink.address}, files={"limits.ini": "[tag newsletter]\nrate = 1/h\n"})
    tagged = b"From: a@a.test\r\nX-Tag: %s\r\n\r\nHello\r\n"
    for name in ("one", "two"):
        send_mail(relay, "a@a.test", [f"{name}@b.test"], tagged % b"newsletter")
    send_mail(relay, "a@a.test", ["three@b.test"], tagged % b"other")
    sink.wait_for(2)
    assert {m.recipients[0] for m in sink.messages} == {"one@b.test", "three@b.test"}
    second = api.ask("GET", "/v1/queue")[2]["items"][0]["id"]
    because = waits(api, second, "limit")
    assert because["rule"] == "rate 1/h of tag newsletter" and because["origin"] == "limits.ini:2"
    assert api.ask("POST", "/v1/pauses", {"scope": "tag newsletter", "reason": "typo"})[0] == 201
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("DELETE", "/v1/limits/tag%20newsletter")[0] == 204
    assert waits(api, second, "paused")["rule"] == "pause tag newsletter"
    assert api.ask("DELETE", "/v1/pauses/tag%20newsletter")[0] == 204
    sink.wait_for(3)


def test_everything_is_paused_and_wrong_scopes_are_refused(make_api, sink):
    relay, api = make_api(routes={"*": sink.address})
    for wrong in ["", "everything", "domain", "domain *", "source nowhere", "tag", "user \n"]:
        status, _, problem = api.ask("POST", "/v1/pauses", {"scope": wrong})
        assert status == 422, (wrong, problem)
    assert api.ask("POST", "/v1/pauses", {"scope": "all"})[0] == 201
    message = submit(relay, "x@b.test")
    assert waits(api, message, "paused")["rule"] == "pause all"
    assert reasons(api, message)["estimated_send_at"] is None
    assert not sink.messages
    assert api.ask("DELETE", "/v1/pauses/all")[0] == 204
    sink.wait_for(1)


def test_a_destination_is_told_whole_and_its_breaker_reset(make_api):
    relay, api = make_api(
        routes={"dead.test": ("127.0.0.1", 1)}, files={"limits.ini": "[lane dead.test]\nrate = 9/m\n"}
    )
    submit(relay, "x@dead.test")
    shown = wait_until(
        lambda: next(
            (
                one
                for one in api.ask("GET", "/v1/destinations/dead.test")[2]["lanes"]
                if one["breaker"]["state"] != "closed"
            ),
            None,
        ),
        what="the breaker to open",
    )
    assert shown["breaker"]["since"] and "refused" in shown["breaker"]["said"].lower(), shown
    assert shown["limits"][0]["origin"] == "limits.ini:2" and shown["limits"][0]["applies"]
    assert any(one["route"] == "dead.test" for one in api.ask("GET", "/v1/destinations")[2]["items"])
    assert api.ask("POST", "/v1/destinations/dead.test/reset", {})[2] == {"route": "dead.test", "reset": 1}
    other = api.ask("GET", "/v1/destinations/nobody.test")[2]["lanes"]
    assert len(other) == 1 and other[0]["parcels"] == 0 and other[0]["breaker"]["state"] == "closed"


def test_a_lane_pauses_when_it_answers_so(make_api, make_server):
    """A class of the user's own table counts like ours: what is read once is asked everywhere."""
    peer = make_server({"RCPT": "550 5.7.1 the moon is wrong"})
    files = {
        "limits.ini": "[reaction moon]\nwhen = spam_block\nthreshold = 2/1h\ndo = pause 30m\n",
        "bounce_classes.ini": "[moon]\nclass = spam_block\ntext = the moon is wrong\n",
    }
    relay, api = make_api(routes={"*": peer.address}, files=files)
    submit(relay, "one@a.test")
    submit(relay, "two@a.test")
    paused = wait_until(lambda: api.ask("GET", "/v1/pauses")[2]["items"], what="the reaction to pause the lane")
    assert paused[0]["by"] == "reaction moon" and "the moon is wrong" in paused[0]["reason"]
    waits(api, submit(relay, "three@a.test"), "paused")
