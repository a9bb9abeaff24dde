"""test_testssl.py - what testssl.sh (Debian) finds wrong with our listeners: nothing above LOW.

In short the protocols, cipher categories, forward secrecy, Heartbleed, CCS, renegotiation and compression,
by STARTTLS; with TEST_SOAK=1 everything it knows, on both listeners.
"""

import json
import subprocess

import pytest
from harness import SOAK
from peers import need
from scripted import Sink
from tls_peers import Authority
from waiting import PATIENCE, free_port

HARMLESS = {"OK", "INFO", "LOW"}
SHORT = ["-p", "-s", "-f", "-H", "-I", "-R", "-C"]


@pytest.mark.parametrize("listener", ["starttls", "implicit"] if SOAK else ["starttls"])
def test_no_finding_above_low(make_relay, closing, tmp_path, listener):
    testssl = need("testssl", "testssl.sh")
    authority = Authority(tmp_path / "authority")
    chain, key = authority.issue("localhost")
    relay = make_relay(
        routes={"*": closing(Sink()).address},
        smtp={"smtps_listen": f"127.0.0.1:{free_port()}"},
        files={"tls_key.pem": key.read_bytes(), "tls_cert.pem": chain.read_bytes()},
    )
    port = relay.addresses[0 if listener == "starttls" else 1][1]
    report = tmp_path / "report.json"
    ran = subprocess.run(
        [
            testssl,
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--ip",
            "127.0.0.1",
            "--add-ca",
            authority.certificate,
            *(["-t", "smtp"] if listener == "starttls" else []),
            *([] if SOAK else SHORT),
            "--jsonfile",
            report,
            f"localhost:{port}",
        ],
        capture_output=True,
        text=True,
        timeout=(1800 if SOAK else 180) * PATIENCE,
    )
    findings = json.loads(report.read_text())
    assert len(findings) > 20, (len(findings), ran.stdout)
    offered = {one["id"]: one["finding"] for one in findings}
    assert offered["TLS1_2"].startswith("offered") and offered["TLS1_3"].startswith("offered"), ran.stdout
    # WARN: it could not look, which says nothing about us; it would be a finding that nothing was looked at.
    assert sum(one["severity"] == "WARN" for one in findings) < len(findings) / 5, findings
    # What the test's own authority signed, for a month and without a place for revocations, is not the listener's doing.
    bad = [
        one
        for one in findings
        if one["severity"] not in HARMLESS | {"WARN", "DEBUG"} and not one["id"].startswith("cert_")
    ]
    assert not bad, bad
