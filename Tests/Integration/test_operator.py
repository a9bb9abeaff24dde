"""test_operator.py — the operator's tool, over the Unix socket of a running relay."""

import json
import subprocess

import pytest

from harness import MARTLET, Sink, environment, free_port, send_mail, wait_until


@pytest.fixture
def tool():
    """`tool(relay, "queue", "list")`: a sub-command against a relay."""

    def run(relay, *arguments, text="", check=True):
        result = subprocess.run([MARTLET, *arguments, "--data", str(relay.data)], input=text, capture_output=True, text=True,
                                timeout=60, env=environment())
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
    result = tool(waiting, "send-test", "somebody@example.com", "--from", "me@example.org", "--wait", "--timeout", "3", check=False)
    assert result.returncode == 75 and "still waits" in result.stderr, result


def test_without_a_relay_it_says_so(make_relay, tool):
    relay = make_relay(started=False)
    result = tool(relay, "status", check=False)
    assert result.returncode == 69 and "cannot connect" in result.stderr and not result.stdout
