"""test_operator.py — the operator's tool, over the Unix socket of a running relay."""

import json
import subprocess

import pytest
from harness import MARTLET, environment
from scripted import Sink
from smtp_client import send_mail
from waiting import free_port, wait_until


@pytest.fixture
def tool():
    """`tool(relay, "queue", "list")`: a sub-command against a relay."""

    def run(relay, *arguments, text="", check=True):
        result = subprocess.run(
            [MARTLET, *arguments, "--data", str(relay.data)],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        assert not check or result.returncode == 0, result
        return result

    return run


@pytest.fixture
def waiting(make_relay):
    """A relay whose next hop is not there, with two mails that failed for now."""
    relay = make_relay(routes={"*": f"127.0.0.1:{free_port()}"}, outbound={"temp_fail_intervals": "1h*5"})
    for name in ("one", "two"):
        send_mail(relay, "app@example.org", [f"{name}@example.com"], f"Subject: {name}\r\n\r\nHello\r\n".encode())
    wait_until(lambda: sum(line.message == "delivery deferred" for line in relay.log) == 2, what="two deferrals")
    return relay


def test_the_queue_is_shown_held_released_and_removed(waiting, tool):
    rows = [json.loads(line) for line in tool(waiting, "queue", "list", "--json").stdout.splitlines() if line]
    assert [row["state"] for row in rows] == ["temp_failed"] * 2
    table = tool(waiting, "queue", "list", "--domain", "example.com").stdout
    assert "one@example.com" in table and "two@example.com" in table and "cannot connect" in table
    one, two = (row["id"] for row in rows)
    assert "waiting_because" in tool(waiting, "queue", "show", one).stdout
    assert "Subject: " in tool(waiting, "queue", "cat", one).stdout
    tool(waiting, "queue", "hold", one, "--because", "a look")
    assert "held" in tool(waiting, "queue", "list", "--state", "held").stdout
    tool(waiting, "queue", "release", one)
    refused = tool(waiting, "queue", "remove", check=False)
    assert refused.returncode == 64 and "--all" in refused.stderr
    assert tool(waiting, "queue", "show", "zzzzzzzzzzzzz", check=False).returncode == 67
    dry = tool(waiting, "queue", "remove", "--domain", "example.com", "--dry-run", "--json").stdout
    assert json.loads(dry)["matched"] == 2
    dry = tool(waiting, "queue", "remove", "--filter", "one@example.com attempts>0", "--dry-run", "--json").stdout
    assert json.loads(dry)["matched"] == 1
    tool(waiting, "queue", "remove", two)
    tool(waiting, "queue", "remove", "--all", "--because", "end of test")
    assert tool(waiting, "queue", "list").stdout == "No mail waits.\n"


def test_routes_move_waiting_mail(waiting, tool, closing):
    sink = closing(Sink())
    tool(waiting, "route", "set", "example.com", f"127.0.0.1:{sink.port}", "--with", "tls=off")
    assert "example.com" in tool(waiting, "route", "list").stdout
    tool(waiting, "flush")
    wait_until(lambda: len(sink.messages) == 2, what="two mails at the new next hop")
    tool(waiting, "route", "remove", "example.com")
    assert tool(waiting, "route", "show", "example.com", check=False).returncode == 67


def test_delivery_can_be_switched_off_and_on(waiting, tool):
    tool(waiting, "outbound", "disable", "--reason", "a pause")
    assert tool(waiting, "status").stdout.startswith("Delivery is disabled")
    assert "disabled" in (waiting.config / "outbound.ini").read_text()
    tool(waiting, "outbound", "set", "concurrency_max=7")
    assert json.loads(tool(waiting, "outbound", "show", "--json").stdout)["concurrency_max"] == 7
    tool(waiting, "outbound", "enable")
    assert tool(waiting, "status").stdout.startswith("Delivering")


def test_a_test_mail_is_followed_to_its_end(make_relay, tool, closing):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    result = tool(relay, "send-test", "somebody@example.com", "--from", "me@example.org", "--wait", "--timeout", "20")
    assert "left the queue" in result.stdout
    assert b"Test from Martlet" in sink.messages[0].data


def test_a_test_mail_that_waits_says_why(waiting, tool):
    result = tool(
        waiting,
        "send-test",
        "somebody@example.com",
        "--from",
        "me@example.org",
        "--wait",
        "--timeout",
        "3",
        check=False,
    )
    assert result.returncode == 75 and "still waits" in result.stderr, result


def test_a_test_mail_that_bounced_is_a_failure(make_relay, make_server, tool):
    refuses = make_server({"RCPT": "550 5.1.1 nobody of that name"})
    relay = make_relay(routes={"*": f"127.0.0.1:{refuses.port}"})
    result = tool(relay, "send-test", "b@b.test", "--from", "a@a.test", "--wait", "--timeout", "20", check=False)
    assert result.returncode == 69 and "b@b.test: 550 5.1.1 nobody of that name" in result.stderr, result
    result = tool(
        relay, "send-test", "b@b.test", "--from", "a@a.test", "--wait", "--timeout", "20", "--json", check=False
    )
    state = json.loads(result.stdout)
    assert result.returncode == 69 and state["state"] == "failed", result
    assert state["failures"][0]["recipient"] == "b@b.test" and state["failures"][0]["reply"].startswith("550 ")


def test_a_list_takes_several_states_and_turns_its_order(waiting, tool):
    listed = tool(
        waiting, "queue", "list", "--sort", "-queued_at", "--state", "temp_failed", "--state", "waiting"
    ).stdout
    assert len(listed.splitlines()) == 3, listed
    assert "No mail" in tool(waiting, "queue", "list", "--state", "held").stdout
    assert "No mail" not in tool(waiting, "queue", "list", "--filter", "domain:example.com age<1h").stdout
    assert "No mail" in tool(waiting, "queue", "list", "--filter", "domain:example.com age>1h").stdout
    refused = tool(waiting, "queue", "list", "--filter", "what:x", check=False)
    assert refused.returncode != 0 and "what:x means nothing here" in refused.stderr


def test_without_a_relay_it_says_so(make_relay, tool):
    relay = make_relay(started=False)
    result = tool(relay, "status", check=False)
    assert result.returncode == 69 and "cannot connect" in result.stderr and not result.stdout


def test_every_command_speaks_json(waiting, tool, closing, sink):
    """One run of each, as a program would read it."""

    def ask(*arguments):
        return json.loads(tool(waiting, *arguments, "--json").stdout)

    status = ask("status")
    assert (status["temp_failed"], status["messages"], status["disabled"]) == (2, 2, False)
    one = json.loads(tool(waiting, "queue", "list", "--json").stdout.splitlines()[0])
    assert ask("queue", "show", one["id"])["id"] == one["id"]
    for action in ("hold", "release", "retry"):
        assert ask("queue", action, one["id"])["id"] == one["id"]
        lane = ask("explain", one["recipients"][0])["lane"]
        assert lane["held"] == (action == "hold") and lane["parcels"] >= 1, lane
    assert ask("outbound", "show")["disabled"] is False
    assert ask("outbound", "disable", "--reason", "a look")["disabled"] is True
    way = ask("explain", "somebody@example.net")
    assert (way["disabled"], way["disabled_reason"]) == (True, "a look")
    assert ask("outbound", "enable")["disabled"] is False
    assert ask("route", "set", "example.net", sink.route)["match"] == "example.net"
    assert ask("route", "show", "example.net")["mx"][0]["port"] == sink.port
    assert {row["match"] for row in ask("route", "list")["items"]} == {"*", "example.net"}
    way = ask("explain", "somebody@example.net", "--from", "me@example.org")
    assert (way["route"], way["from_table"], way["problem"]) == ("example.net", True, None)
    assert way["mx"][0]["addresses"] == ["127.0.0.1"] and {"match": "example.net", "found": True} in way["asked"]
    sent = ask("send-test", "somebody@example.net", "--from", "me@example.org", "--wait", "--timeout", "20")
    assert sent["id"] and sink.messages[-1].recipients == ["somebody@example.net"]
    assert ask("flush", "--domain", "example.com")["flushed"] == 2
    assert ask("healthcheck")["status"] == "ready"


def test_the_address_that_mail_leaves_from(waiting, tool, sink):
    tool(waiting, "route", "set", "example.net", sink.route)
    assert tool(waiting, "ip", "list").stdout == "The table is empty.\n"
    tool(waiting, "ip", "set", "example.net", "127.0.0.2", "--with", "helo=out2.example.org")
    assert "127.0.0.2" in tool(waiting, "ip", "list").stdout
    row = json.loads(tool(waiting, "ip", "show", "example.net", "--json").stdout)
    assert (row["ip"], row["helo"]) == (["127.0.0.2"], "out2.example.org"), row
    (hop,) = json.loads(tool(waiting, "explain", "x@example.net", "--json").stdout)["mx"]
    assert (hop["bind"], hop["bind_because"], hop["helo"]) == ("127.0.0.2", "outbound_ip", "out2.example.org")
    tool(waiting, "send-test", "x@example.net", "--wait", "--timeout", "20")
    assert (
        b"out2.example.org" in sink.messages[-1].session.commands[0]
        and sink.messages[-1].session.peer[0] == "127.0.0.2"
    )
    tool(waiting, "ip", "remove", "example.net")
    assert tool(waiting, "ip", "show", "example.net", check=False).returncode == 67
    assert "127.0.0.2" not in tool(waiting, "explain", "x@example.net").stdout
    refused = tool(waiting, "ip", "set", "example.net", "not-an-address", check=False)
    assert refused.returncode == 1 and "is no IP address" in refused.stderr, refused


def test_tokens_open_the_api_as_far_as_they_say(make_relay, tmp_path):
    """`token create` while the relay runs; over TCP, since the socket asks for none; revoked, it is a wrong one."""
    port = free_port()
    relay = make_relay(files={"admin.ini": f"listen = 127.0.0.1:{port}\nrequire_token = true\n"})

    def token(*arguments):
        return subprocess.run(
            [MARTLET, "token", *arguments, "--config", str(relay.config)],
            capture_output=True,
            text=True,
            timeout=30,
            env=environment(),
            check=True,
        ).stdout

    def ask(file, *arguments):
        return subprocess.run(
            [MARTLET, *arguments, "--url", f"http://127.0.0.1:{port}", "--token-file", str(file)],
            capture_output=True,
            text=True,
            timeout=30,
            env=environment(),
        )

    files = {}
    for name, scope in (("reader", "status:read,queue:read"), ("owner", "all")):
        files[name] = tmp_path / name
        files[name].write_text(token("create", name, "--scope", scope))
    wait_until(lambda: ask(files["owner"], "status", "--json").returncode == 0, what="the new tokens")
    assert ask(files["reader"], "queue", "list").returncode == 0
    refused = ask(files["reader"], "flush")
    assert refused.returncode == 77 and "queue:write" in refused.stderr, refused
    assert ask(files["owner"], "flush").returncode == 0
    listed = token("list")
    assert "reader\tvalid\tqueue:read,status:read" in listed and files["owner"].read_text().strip() not in listed
    token("revoke", "owner")
    wait_until(lambda: ask(files["owner"], "status").returncode == 77, what="the end of a token")
    for path in (relay.log_path, relay.config / "admin.ini"):
        assert files["reader"].read_text().strip() not in path.read_text()
