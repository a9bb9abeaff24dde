"""test_api_manual.py - the commands of AdminAPI.md are run as they stand there, and there is one for every operation."""

import re
import shutil
import subprocess

import pytest
from harness import ROOT

MANUAL = (ROOT / "Sources/martlet/martlet.docc/AdminAPI.md").read_text()
CONTRACT = (ROOT / "openapi.yaml").read_text()

# Every curl of the manual says on standard error what was asked for and what came.
PREAMBLE = r"""set -euo pipefail
curl() { command curl --max-time 20 -w '%{stderr}<%{http_code} %{method} %{url_effective}>\n' "$@"; }
"""
# A job of a few messages is over before anybody could stop it.
EXPECTED = {
    "cancelJob": {"204", "409"},
    "replayWebhook": {"202", "410"},
    # On this machine nobody needs a token, so there is nothing for a cookie to stand for.
    "beginSession": {"201", "409"},
    "revokeSession": {"204", "404"},
    # The queue is this relay's own.
    "drainNode": {"404"},
    "showReaction": {"404"},
    "resetReaction": {"404"},
    "resumeNode": {"404"},
}


def operations():
    """`[(method, pattern of the path, operationId)]`, literal paths before those with parameters."""
    found, path, method = [], "", ""
    for line in CONTRACT.split("\ncomponents:")[0].splitlines():
        if match := re.fullmatch(r"  (/\S*):", line):
            path = match[1]
        elif match := re.fullmatch(r"    (get|put|post|patch|delete):", line):
            method = match[1].upper()
        elif match := re.fullmatch(r"      operationId: (\w+)", line):
            found.append((method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), match[1]))
    return sorted(found, key=lambda operation: "[^/]+" in operation[1].pattern)


def test_the_manual_names_every_operation():
    names = {name for _, _, name in operations()}
    assert len(names) > 30
    assert not {name for name in names if not re.search(rf"#[^\n]*\b{name}\b", MANUAL)}


@pytest.mark.skipif(not all(map(shutil.which, ["curl", "jq"])), reason="curl or jq is not installed")
def test_the_commands_of_the_manual_work(make_relay, make_server, make_dns, tmp_path):
    hop = make_server({"RCPT": "451 4.3.0 later"})
    # Until the manual switches delivery on, nothing is under way that could not be removed.
    relay = make_relay(
        routes={"*": hop.address},
        outbound={"disabled": True},
        resolver=make_dns(),
        files={"admin.ini": "listen = 127.0.0.1:0\n"},
    )
    address = [line for line in relay.log if line.message == "ready"][-1]["api"].split(",")[0]
    script = PREAMBLE + "\n".join(re.findall(r"```sh\n(.*?)```", MANUAL, re.S))
    script = (
        script.replace("127.0.0.1:8025", address).replace("192.0.2.10", "127.0.0.1").replace("192.0.2.11", "127.0.0.2")
    )
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    asked = re.findall(rf"<(\d+) (\w+) http://{re.escape(address)}([^?>]*)", run.stderr)
    assert run.returncode == 0, f"{asked[-1:]}\n{run.stdout[-2000:]}\n{run.stderr[-500:]}"
    assert len(asked) == len(re.findall(r"\bcurl -s", script))
    done = set()
    for status, method, path in asked:
        name = next(name for verb, pattern, name in operations() if verb == method and pattern.fullmatch(path))
        assert status in EXPECTED.get(name, {"200", "201", "202", "204"}), f"{name}: {status}\n{run.stdout}"
        done.add(name)
    assert done == {name for _, _, name in operations()}
