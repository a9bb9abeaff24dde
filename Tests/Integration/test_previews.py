"""test_previews.py - what a change of routes or limits would mean for waiting mail, and a plan that does exactly that or nothing."""

import json
import subprocess

import pytest
from harness import MARTLET, environment
from story import submit


@pytest.fixture
def house(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, outbound={"disabled": True})
    for number in range(3):
        submit(relay, f"u{number}@b.test")
    submit(relay, "one@c.test")
    return relay, api, f"127.0.0.1:{sink.port}"


def tool(relay, *arguments):
    done = subprocess.run(
        [MARTLET, *arguments, "--json", "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_route_is_looked_at_and_then_changed_as_shown(house):
    relay, api, host = house
    route = {"mx": ["127.0.0.1:1"]}
    status, _, shown = api.ask("PUT", "/v1/routes/b.test?dry_run=true", route)
    assert status == 200 and shown["matched"] == 3 and shown["matched_exact"] and shown["bytes"] > 0, shown
    (group,) = shown["breakdown"]
    assert group["route"] == "*" and group["messages"] == 3 and group["bytes"] == shown["bytes"]
    assert group["from"].startswith("* (") and group["to"] == "b.test (127.0.0.1:1)" and group["last_after_s"] is None
    assert len(shown["sample"]) == 3 and all(row["recipients"][0].endswith("@b.test") for row in shown["sample"])
    assert api.ask("GET", "/v1/routes/b.test")[0] == 404, "nothing has changed"
    # Mail that was not shown would follow it.
    submit(relay, "late@b.test")
    status, _, told = api.ask("PUT", f"/v1/routes/b.test?plan={shown['plan']}", route)
    assert (status, told["more"], told["matched"]) == (409, 1, 4), told
    # Something else was asked for.
    plan = api.ask("PUT", "/v1/routes/b.test?dry_run=true", route)[2]["plan"]
    for method, path, body in [
        ("PUT", "b.test", {"mx": ["127.0.0.1:2"]}),
        ("PUT", "c.test", route),
        ("DELETE", "b.test", None),
    ]:
        assert api.ask(method, f"/v1/routes/{path}?plan={plan}", body)[0] in (404, 409), (method, path)
    assert api.ask("PUT", f"/v1/routes/b.test?plan={plan}&dry_run=true", route)[0] == 422
    status, _, done = api.ask("PUT", f"/v1/routes/b.test?plan={plan}", route)
    assert status == 201 and done["messages_rerouted"] == 4, done
    assert api.ask("PUT", f"/v1/routes/b.test?plan={plan}", route)[0] == 410, "a plan is used once"
    # The file is another one by now.
    plan = api.ask("DELETE", "/v1/routes/b.test?dry_run=true")[2]["plan"]
    assert api.ask("PUT", "/v1/routes/d.test", route)[0] == 201
    assert api.ask("DELETE", f"/v1/routes/b.test?plan={plan}")[0] == 412
    # Mail that left is no reason.
    plan = api.ask("PATCH", "/v1/routes/b.test?dry_run=true", {"mx": [host]})[2]["plan"]
    gone = api.ask("GET", "/v1/queue?recipient=late@b.test")[2]["items"][0]["id"]
    assert api.ask("DELETE", f"/v1/queue/{gone}")[0] == 204
    assert api.ask("PATCH", f"/v1/routes/b.test?plan={plan}", {"mx": [host]})[0] == 200
    whole = {"items": [{"match": "*", "mx": [host]}]}
    shown = api.ask("PUT", "/v1/routes?dry_run=true", whole)[2]
    assert shown["matched"] == 3, shown
    assert api.ask("PUT", f"/v1/routes?plan={shown['plan']}", whole)[0] == 200
    shown = tool(relay, "route", "set", "c.test", "127.0.0.1:1", "--dry-run")
    assert shown["matched"] == 1, shown
    assert tool(relay, "route", "set", "c.test", "127.0.0.1:1", "--plan", shown["plan"])["match"] == "c.test"
    assert tool(relay, "route", "remove", "c.test", "--dry-run")["matched"] == 1


def test_a_limit_is_looked_at_and_then_made_as_shown(house):
    relay, api, _ = house
    limit = {"rate": "1/m"}
    path = "/v1/limits/lane%20*"
    shown = api.ask("PUT", f"{path}?dry_run=true", limit)[2]
    assert shown["matched"] == 4 and shown["matched_exact"], shown
    (group,) = shown["breakdown"]
    assert (group["from"], group["to"]) == ("no limit", "rate 1/m of lane *"), group
    assert (group["last_after_s"], group["last_after_s_then"]) == (None, 240), group
    assert api.ask("GET", path)[0] == 404
    assert api.ask("PUT", f"{path}?plan={shown['plan']}", {"rate": "2/m"})[0] == 409
    assert api.ask("PUT", f"{path}?plan={shown['plan']}", limit)[0] == 201
    # Of the limits that count, only the smallest does.
    assert api.ask("PUT", "/v1/limits/sender%20report.test?dry_run=true", {"rate": "5/m"})[2]["matched"] == 0
    assert api.ask("PUT", "/v1/limits/sender%20report.test?dry_run=true", {"rate": "5/h"})[2]["matched"] == 4
    shown = api.ask("DELETE", f"{path}?dry_run=true")[2]
    assert shown["matched"] == 4 and shown["breakdown"][0]["to"] == "no limit"
    submit(relay, "late@b.test")
    assert api.ask("DELETE", f"{path}?plan={shown['plan']}")[0] == 409
    plan = api.ask("DELETE", f"{path}?dry_run=true")[2]["plan"]
    assert api.ask("DELETE", f"{path}?plan={plan}")[0] == 204
