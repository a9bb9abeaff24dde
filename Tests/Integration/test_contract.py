"""test_contract.py - openapi.yaml against a running relay, by schemathesis: what it allows and forbids is what happens."""

import json
import os
import secrets
import subprocess
import urllib.request
from pathlib import Path

import pytest
from harness import ROOT, SOAK
from smtp_client import send_mail

TOOL = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "martlet-tests-venv/bin/schemathesis"
MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: contract\r\n\r\nbody\r\n"

# Values that are valid by the schema and yet refused, because a schema cannot say what they mean (a name that is no host
# name, an address that is not of this machine), are right as a refusal: so no positive_data_acceptance.
# So many operations with wrong tokens from one address are a 429: `test_contract_refusals` asks each from one of its own.
LEFT_OUT = "positive_data_acceptance,ignored_auth"


def ask(relay, method, path, token, body=None):
    request = urllib.request.Request(
        f"http://{relay.api}{path}",
        json.dumps(body).encode() if body else None,
        method=method,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.skipif(not TOOL.exists(), reason="schemathesis is not installed; Tests/run.sh installs it")
def test_the_contract_holds(make_relay, make_dns, tmp_path):
    token = secrets.token_urlsafe(32)
    # Nothing is delivered whatever is asked for, and no name is looked up outside this machine.
    relay = make_relay(
        resolver=make_dns().forward,
        routes={"*": "127.0.0.1:1", "example.com": "127.0.0.1:1"},
        files={"admin.ini": "listen = 127.0.0.1:0\n", "outbound_ip.ini": "[recipient example.com]\nip = 127.0.0.1\n"},
        env={"MARTLET_ADMIN_TOKEN": token, "MARTLET_OUTBOUND_DISABLED": "true"},
    )
    relay.api = [line for line in relay.log if line.message == "ready"][-1]["api"].split(",")[0]
    for number in range(40):
        send_mail(relay, "a@a.test", [f"b{number}@example.com"], MAIL)
    known = ask(relay, "GET", "/v1/queue?limit=1", token)["items"][0]["id"]
    job = ask(relay, "POST", "/v1/queue/actions", token, {"action": "hold", "filter": {"recipient": "b1@example.com"}})[
        "id"
    ]
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(
        f'[[operations]]\ninclude-path-regex = "^/v1/queue/.id."\nparameters = {{ "path.id" = "{known}" }}\n'
        f'[[operations]]\ninclude-path-regex = "^/v1/jobs/"\nparameters = {{ "path.id" = "{job}" }}\n'
        f'[[operations]]\ninclude-path-regex = "^/v1/(routes|outbound-ips)/"\n'
        f'parameters = {{ "path.match" = ["example.com", "made.example", "*", "a b"] }}\n'
        '[[operations]]\ninclude-path-regex = "^/v1/networks/"\n'
        'parameters = { "path.network" = ["192.0.2.1", "10.0.0.1", "a"] }\n'
        '[[operations]]\ninclude-path-regex = "^/v1/listeners/"\n'
        'parameters = { "path.address" = ["192.0.2.1:25", "127.0.0.1", "a"] }\n'
        '[[operations]]\ninclude-path-regex = "^/v1/users/"\n'
        'parameters = { "path.name" = ["app@example.org", "b", "a b"] }\n'
        '[[operations]]\ninclude-path-regex = "^/v1/dkim-keys/"\n'
        'parameters = { "path.domain" = ["example.com", "a b"], "path.selector" = ["s1", "S_1"] }\n'
        '[[operations]]\ninclude-path-regex = "^/v1/dkim-rotations/"\n'
        'parameters = { "path.domain" = ["example.com", "a b"] }\n'
    )
    run = subprocess.run(
        [
            TOOL,
            "--config-file",
            settings,
            "run",
            ROOT / "openapi.yaml",
            "--url",
            f"http://{relay.api}",
            "-H",
            f"Authorization: Bearer {token}",
            "--checks",
            "all",
            "--exclude-checks",
            LEFT_OUT,
            # A relay that takes no mail answers much with 503, and the bytes of a message are not made up: test_drain.py has both.
            "--exclude-operation-id",
            "drainRelay",
            "--exclude-operation-id",
            "putMessage",
            # Its answer has no end: `test_live.py`.
            "--exclude-path",
            "/v1/live",
            "--phases",
            "examples,coverage,fuzzing",
            "--no-shrink",
            *(["--max-examples", "200"] if SOAK else ["--max-examples", "15", "--seed", "1"]),
            "--request-timeout",
            "20",
            "--generation-database",
            "none",
            "--continue-on-failure",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200 if SOAK else 240,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-4000:] + relay.log_tail(30)
    assert relay.is_running
