"""test_scripts.py — the eight scripts of Scripts.md are run as they stand there, against a relay with waiting mail."""

import csv
import json
import os
import re
import shutil
import subprocess

import pytest
from harness import MARTLET, ROOT, environment
from scripted import Sink
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer
from waiting import free_port, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
TEXT = (ROOT / "Sources/martlet/martlet.docc/Scripts.md").read_text()
SCRIPTS = dict(re.findall(r"```sh\n# ([\w-]+)\n(.*?)```", TEXT, re.S))


@pytest.fixture
def run(tmp_path):
    """`run(relay, "maintenance", WORK="true")`: a script of the page, as a shell would."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/martlet").symlink_to(MARTLET)

    def run(relay, name, status=0, **variables):
        place = {"MARTLET_CONFIG_DIR": str(relay.config), "MARTLET_DATA_DIR": str(relay.data)}
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", SCRIPTS[name]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**environment(), **place, **variables, "PATH": path},
        )
        assert result.returncode == status, result
        return result.stdout

    return run


@pytest.fixture
def waiting(make_relay):
    """Two mails of two senders whose next hop is not there."""
    relay = make_relay(routes={"*": f"127.0.0.1:{free_port()}"}, outbound={"temp_fail_intervals": "1h*5"})
    for name in ("one", "two"):
        send_mail(relay, f"{name}@example.org", [f"{name}@example.com"], b"Subject: x\r\n\r\nHello\r\n")
    wait_until(lambda: sum(line.message == "delivery deferred" for line in relay.log) == 2, what="two deferrals")
    return relay


def ask(relay, *arguments):
    command = [MARTLET, *arguments, "--json", "--data", str(relay.data)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=True)
    return json.loads(result.stdout)


def test_there_are_eight():
    assert len(SCRIPTS) == 8 and SCRIPTS.keys() <= set(re.findall(r'run\(\w+, "([\w-]+)"', open(__file__).read()))


def test_routes_are_what_the_file_says(waiting, run, tmp_path):
    pytest.importorskip("yaml")
    ask(waiting, "route", "set", "old.test", "127.0.0.1:9")
    (tmp_path / "routes.yaml").write_text("new.test: 127.0.0.1:10\n'*': 127.0.0.1:11\n")
    run(waiting, "sync-routes")
    ports = {row["match"]: row["mx"][0]["port"] for row in ask(waiting, "route", "list")["items"]}
    assert ports == {"new.test": 10, "*": 11}


def test_a_new_password_lets_waiting_mail_go(make_relay, run, tmp_path):
    """The smart host refuses the old password: the relay says so on its screen until the new one is there."""
    pair = Authority(tmp_path).issue("127.0.0.1", "localhost")
    with TLSPeer(pair, users={"app": "new-secret"}) as peer:
        relay = make_relay(started=False, outbound={"enable_tls": True, "tls_timeout": 2, "lane_rest_max": 1})
        (relay.config / "secrets").mkdir(mode=0o700)
        secret = relay.config / "secrets/smart-host"
        secret.write_text("old-secret")
        secret.chmod(0o600)
        place = f"{peer.address[0]}:{peer.address[1]}"
        route = f"[*]\nmx = {place}\nauth_user = app\nauth_pass = @file:secrets/smart-host\n"
        (relay.config / "routes.ini").write_text(route)
        relay.start()
        send_mail(relay, "one@example.org", ["one@example.com"], b"Subject: x\r\n\r\nHello\r\n")
        wait_until(lambda: ask(relay, "status")["refused_logins"], what="a refused login")
        screen = subprocess.run(
            [MARTLET, "status", "--data", str(relay.data)], capture_output=True, text=True, env=environment()
        ).stdout
        assert f"✘ {place} refuses our login, its mail waits: 535" in screen, screen
        assert "degraded" in json.dumps(ask(relay, "healthcheck"))
        run(relay, "rotate-password", NEW_PASSWORD="new-secret")
        wait_until(lambda: any(line.message == "delivered" for line in relay.log), what="the mail")
        assert secret.read_text() == "new-secret" and secret.stat().st_mode & 0o077 == 0


def test_work_is_done_while_nothing_is_sent(waiting, run, tmp_path):
    work = f"cp {waiting.config}/outbound.ini {tmp_path}/meanwhile"
    run(waiting, "maintenance", WORK=work)
    assert "disabled" in (tmp_path / "meanwhile").read_text() and ask(waiting, "status")["disabled"] is False


def test_the_queue_is_a_table(waiting, run, tmp_path):
    run(waiting, "export-queue")
    rows = list(csv.reader((tmp_path / "queue.csv").open()))
    assert {row[2] for row in rows} == {"one@example.org", "two@example.org"}
    assert all(row[1] == "temp_failed" and "cannot connect" in row[6] for row in rows), rows


def test_old_mail_is_an_alarm(waiting, run):
    assert "oldest mail: " in run(waiting, "check-age")
    # Mail that is a few seconds old; the survey that knows it is at most five.
    wait_until(lambda: ask(waiting, "status")["oldest_age_s"], timeout=20, what="an age")
    run(waiting, "check-age", status=2, LIMIT="0")


def test_one_senders_mail_is_removed(waiting, run):
    assert run(waiting, "remove-sender", SENDER="one@example.org").splitlines()[0] == "1"
    assert ask(waiting, "status")["messages"] == 1


def test_a_domain_moves(waiting, run, closing):
    sink = closing(Sink())
    run(waiting, "move-domain", NEW_HOP=f"127.0.0.1:{sink.port}")
    wait_until(lambda: len(sink.messages) == 2, what="two mails at the new next hop")


def test_the_other_address_is_taken(waiting, run):
    ask(waiting, "ip", "set", "*", "127.0.0.2")
    for wanted in ("127.0.0.3", "127.0.0.2"):
        run(waiting, "blue-green", BLUE="127.0.0.2", GREEN="127.0.0.3")
        assert wanted in json.dumps(ask(waiting, "ip", "show", "*"))
