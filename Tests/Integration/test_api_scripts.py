"""test_api_scripts.py - what scripts of administrators hold on to: one name a thing, holds that end, logins that are mended."""

import datetime

import pytest
from api import Api, command
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n"
DEAD = {"routes.ini": "[*]\nmx = 127.0.0.1:9\n", "outbound.ini": "disabled = true\nenable_tls = false\n"}


def later(seconds):
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_everybody_of_a_domain_is_a_sender(make_api):
    relay, api = make_api(files=DEAD)
    for sender in ["a@one.test", "B@ONE.test", "a@two.test", ""]:
        send_mail(relay, sender, ["x@y.test"], MAIL)
    assert api.ask("GET", "/v1/queue?sender=*@one.test")[2]["total"] == 2
    assert api.ask("GET", "/v1/queue?sender=%3C%3E")[2]["total"] == 1
    assert api.ask("GET", "/v1/queue?sender=*@")[0] == 422
    action = {"action": "remove", "filter": {"sender": "*@One.test"}, "dry_run": True}
    assert api.ask("POST", "/v1/queue/actions", action)[2]["matched"] == 2
    shown = relay.run("queue", "list", "--sender", "*@two.test", "--json").stdout
    assert "a@two.test" in shown and "one.test" not in shown.lower()


def test_numbers_of_seconds_have_their_unit_and_old_names_are_understood(make_api):
    relay, api = make_api(files={"outbound.ini": "; ours\nconnect_timeout_s = 7\nmax_temp_failures = 3\n"})
    value = api.ask("GET", "/v1/outbound")[2]
    assert (value["connect_timeout_s"], value["max_temp_failures"], value["maxTempFailures"]) == (7, 3, 3)
    assert "connect_timeout" not in value and "reason" not in value
    for change, key, seconds in [
        ({"connect_timeout": 8}, "connect_timeout_s", 8),
        ({"connect_timeout_s": 9}, "connect_timeout_s", 9),
        ({"lane_rest_max": "2m"}, "lane_rest_max_s", 120),
        ({"maxTempFailures": 4}, "max_temp_failures", 4),
        ({"max_temp_failures": 5, "maxTempFailures": 5}, "maxTempFailures", 5),
        ({"disabled": True, "reason": "moving"}, "disabled_reason", "moving"),
    ]:
        status, _, value = api.ask("PATCH", "/v1/outbound", change)
        assert status == 200 and value[key] == seconds, (change, value)
    assert api.ask("PATCH", "/v1/outbound", {"max_temp_failures": 5, "maxTempFailures": 6})[0] == 422
    text = (relay.config / "outbound.ini").read_text()
    assert text.startswith("; ours\nconnect_timeout_s = 9\nmax_temp_failures = 5\n") and "maxTempFailures" not in text
    # What comes out goes in.
    value.pop("disabled_origin")
    assert api.ask("PATCH", "/v1/outbound", value)[0] == 200
    assert api.ask("GET", "/v1/queue?state=deferred")[0] == 200


def test_a_hold_ends_by_itself_and_over_a_restart(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, outbound={"disabled": True})
    for _ in range(3):
        send_mail(relay, "a@a.test", ["x@y.test"], MAIL)
    ids = [row["id"] for row in api.ask("GET", "/v1/queue")[2]["items"]]
    assert api.ask("POST", f"/v1/queue/{ids[0]}/hold", {"reason": "night", "until": later(3)})[0] == 200
    assert relay.run("queue", "hold", ids[1], "--until", "2h", "--because", "look").returncode == 0
    bulk = {"action": "hold", "filter": {"state": "waiting"}, "until": later(7200)}
    assert api.ask("POST", "/v1/queue/actions", bulk)[2]["matched"] == 1
    held = api.ask("GET", f"/v1/queue/{ids[1]}")[2]["held"]
    assert held["reason"] == "look" and held["until"] > later(7000)
    for wrong in [{"until": later(-5)}, {"until": "tomorrow"}, {"until": later(400 * 86400)}, {"until": 5}]:
        assert api.ask("POST", f"/v1/queue/{ids[0]}/hold", wrong)[0] == 422
    assert api.ask("POST", "/v1/queue/actions", {"action": "retry", "all": True, "until": later(60)})[0] == 422
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    sink.wait_for(1)
    assert {row["id"] for row in api.ask("GET", "/v1/queue")[2]["items"]} == set(ids[1:])
    # Another end for what is held already.
    assert api.ask("POST", f"/v1/queue/{ids[1]}/hold", {"until": later(2)})[2]["changed"]
    assert api.ask("POST", f"/v1/queue/{ids[2]}/hold", {})[2]["changed"]
    assert api.ask("GET", f"/v1/queue/{ids[2]}")[2]["held"]["until"] is None
    sink.wait_for(2)
    assert [row["id"] for row in api.ask("GET", "/v1/queue")[2]["items"]] == [ids[2]]


@pytest.mark.parametrize("by", ["api", "file"])
def test_a_new_password_frees_what_waited_for_it(make_relay, make_server, by):
    server = make_server(users={"u": "new"}, mechanisms=["PLAIN"], clear=True, needs_auth=True)
    mx = "{}:{}".format(*server.address)
    relay = make_relay(
        started=False,
        files={
            "routes.ini": f"[*]\nmx = {mx}\nauth_user = u\nauth_pass = @file:secrets/hop\n",
            "admin.ini": "listen = 127.0.0.1:0\n",
        },
        outbound={"temp_fail_intervals": "1h*100", "lane_rest_max": 3600},
    )
    secret = relay.config / "secrets" / "hop"
    secret.parent.mkdir()
    secret.write_text("old\n")
    secret.chmod(0o600)
    api = Api(relay.start())
    send_mail(relay, "a@a.test", ["x@y.test"], MAIL)
    relay.wait_log("login refused by next hop, its mail waits")
    wait_until(lambda: api.ask("GET", "/v1/queue?reason=auth&state=temp_failed")[2]["total"] == 1, what="deferred")
    if by == "api":
        assert api.ask("PATCH", "/v1/routes/*", {"auth_pass": "new"})[0] == 200
    else:
        secret.write_text("new\n")
    assert relay.wait_log("mail that waited for a login goes on")["count"] == "1"
    relay.wait_log("delivered", to="x@y.test")


def test_the_first_token_says_what_it_changes(make_api):
    relay, api = make_api()
    assert api.ask("GET", "/metrics")[0] == 200
    made = command(relay, "token", "create", "ops", "--scope", "all")
    assert made.returncode == 0 and made.stdout.startswith("mt_") and made.stdout.count("\n") == 1
    assert "/metrics" in made.stderr and "401" in made.stderr and "metrics_allow" in made.stderr
    assert "/metrics too" in relay.run("check").stdout
    second = command(relay, "token", "create", "prometheus", "--scope", "metrics:read")
    assert second.returncode == 0 and second.stderr == ""
    assert "/metrics too" not in relay.run("check").stdout
