"""test_doctor.py — `martlet doctor` at the smart host's door: as a delivery would, without a mail; and the clock."""

import json
import subprocess

import pytest
from harness import MARTLET, Relay, environment
from peers import Postfix, need
from tls_peers import Authority, TLSPeer
from waiting import free_port, wait_until

USER, SECRET = "relay@example.org", "correct horse, battery: st\u00e4ple"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("127.0.0.1")


@pytest.fixture
def doctor(tmp_path):
    """`doctor(route, outbound=…)`: what it says of the smart host, and the whole as text and as JSON."""

    def run(route, outbound=None, arguments=("--json",)):
        patient = Relay(tmp_path, routes={"*": route} if route else None, outbound=outbound)
        result = subprocess.run(
            [
                MARTLET,
                "doctor",
                "--probe",
                "none",
                "--config",
                str(patient.config),
                "--data",
                str(patient.data),
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        assert not result.stderr and SECRET not in result.stdout, result
        return result.stdout

    return run


def of(text, check):
    return [one for one in json.loads(text) if one["check"] == check]


def with_login(peer, **properties):
    return {"mx": f"127.0.0.1:{peer.address[1]}", "auth_user": USER, "auth_pass": SECRET, **properties}


@pytest.mark.parametrize("how, properties", [("starttls", {}), ("implicit", {"implicit_tls": True})])
def test_it_logs_in_and_leaves_before_the_first_mail(doctor, authority, pair, how, properties):
    with TLSPeer(pair, how, users={USER: SECRET}, mechanisms=["PLAIN"]) as peer:
        text = doctor(with_login(peer, tls="verify", **properties), {"tls_ca_file": authority.certificate})
        (found,) = of(text, "smart host")
        assert (found["state"], found["fix"]) == ("good", None), found
        assert f"127.0.0.1:{peer.address[1]} answers, TLSv1.3" in found["detail"].replace("[127.0.0.1]", ""), found
        assert "verified" in found["detail"] and f"{USER} may log in" in found["detail"], found
        assert peer.logins == [("PLAIN", USER)] and peer.lines[-1] == "QUIT" and not peer.mails
        assert not [line for line in peer.lines if line.startswith("MAIL")]


def test_a_wrong_password_is_a_finding_with_its_remedy(doctor, pair):
    with TLSPeer(pair, users={USER: "another"}) as peer:
        (found,) = of(doctor(with_login(peer)), "smart host")
        assert found["state"] == "bad" and "535 5.7.8" in found["detail"] and "auth_pass" in found["fix"], found
        assert "MARTLET_SMARTHOST_PASSWORD" in found["fix"]


def test_a_certificate_that_nobody_vouches_for(doctor, authority, pair):
    with TLSPeer(authority.issue("mx.elsewhere.test"), users={USER: SECRET}) as peer:
        (found,) = of(doctor(with_login(peer, tls="verify"), {"tls_ca_file": authority.certificate}), "smart host")
        assert found["state"] == "bad" and "tls_ca_file" in found["fix"], found
        assert not [line for line in peer.lines if line.startswith("AUTH")]


def test_a_login_that_would_not_be_used(doctor, pair):
    with TLSPeer(pair) as peer:
        (found,) = of(doctor(with_login(peer)), "smart host")
        assert found["state"] == "odd" and "without the login" in found["detail"], found


def test_nobody_listens(doctor):
    text = doctor(f"127.0.0.1:{free_port()}", arguments=())
    assert "✘ smart host: 127.0.0.1:" in text and "cannot connect: connection refused" in text, text
    assert "\n    → A wrong port, a firewall, or the server is down.\n" in text, text


def test_postfix_lets_it_in(doctor, closing):
    need("postfix")
    peer = closing(Postfix())
    (found,) = of(doctor(f"{peer.address[0]}:{peer.address[1]}"), "smart host")
    assert found["state"] == "good" and "answers" in found["detail"], found
    wait_until(lambda: "ehlo=1 quit=1" in peer.log.read_text(), 15, "Postfix's word on the visit")
    assert not peer.mails()


def test_the_clock_is_looked_at(doctor):
    text = doctor(None)
    (found,) = of(text, "clock")
    assert found["state"] in ("good", "odd", "skipped") and "in time" in found["detail"], found
    assert not of(text, "smart host")
