"""test_acme.py - certificates from an authority of our own, into tls.ini's files."""

import json
import re
import smtplib
import socket
import ssl
import stat
import subprocess

import pytest
from acme_server import MAC_KEY, AcmeServer, b64, problem
from api import Api
from harness import MARTLET, environment
from tls_peers import Authority, openssl
from waiting import free_port, wait_until

NAME = "mx.example.org"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def make_server(authority, tmp_path, closing):
    def make(port, **how):
        return closing(AcmeServer(authority, tmp_path / "acme", port, **how))

    return make


def tls_ini(server, **keys):
    lines = {
        "acme_directory": f"{server.url}/dir",
        "acme_names": NAME,
        "acme_terms_agreed": "true",
        "acme_listen": f"127.0.0.1:{server.port or 1}",
        **keys,
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def now(relay):
    return subprocess.run(
        [MARTLET, "acme", "now", "--config", str(relay.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment(),
    )


def certificate(relay):
    return openssl("x509", "-in", relay.config / "tls_cert.pem", "-noout", "-text").decode()


def test_the_relay_gets_one_and_shows_it(make_relay, make_server, authority):
    """Two refused nonces, an account, a challenge, a slow order; STARTTLS from then on, and nothing listens any more."""
    server = make_server(free_port(), bad_nonces=2)
    relay = make_relay(files={"tls.ini": tls_ini(server)})
    relay.wait_log("a certificate has come", timeout=60)
    relay.wait_log("certificate in force", timeout=60)
    for file in (relay.config / "tls_key.pem", relay.data / "acme" / "account.key", relay.data / "acme" / "state.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with smtplib.SMTP(*relay.addresses[0], timeout=20) as client:
        client._host = NAME
        client.starttls(context=context)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    assert server.looks >= 1

    # Nothing is due: after a restart nobody is asked, but whether the authority has a word about renewal.
    def orders():
        return [path for path in server.asked if path != "/dir"]

    count = len(orders())
    key = (relay.config / "tls_key.pem").read_bytes()
    relay.stop()
    relay.start()
    # By hand, whether it is due or not: the same account, the same key, another certificate.
    before = certificate(relay)
    assert len(orders()) == count
    result = now(relay)
    assert result.returncode == 0 and f"a certificate for {NAME}, good for 89 days" in result.stdout, result.stderr
    assert len(server.accounts) == 1 and (relay.config / "tls_key.pem").read_bytes() == key
    assert certificate(relay) != before
    relay.wait_log("certificate in force", count=2, timeout=60)


def test_one_that_cannot_be_renewed_is_an_alarm(make_api, make_server):
    """The words of the authority in the log, the next try later, an event, a metric, doctor."""
    server = make_server(free_port(), days=1)
    relay, api = make_api(files={"tls.ini": tls_ini(server)})
    relay.wait_log("a certificate has come", timeout=60)
    relay.stop()
    # It was for another name, and comes to its end.
    state = relay.data / "acme" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "names": ["old.example.org"]}))
    issuer = ["-CA", server.authority.certificate, "-CAkey", server.authority.key, "-CAcreateserial"]
    request = openssl("req", "-inform", "DER", "-in", server.directory / "request.der")
    openssl("x509", "-req", *issuer, "-days", "0", "-out", relay.config / "tls_cert.pem", input=request)
    server.odd["/order"] = [problem(429, "rateLimited", "too many for this name", **{"Retry-After": "7200"})]
    relay.start()
    line = relay.wait_log("no certificate has come", timeout=60)
    assert "rateLimited too many for this name" in line["reason"] and 7100 < float(line["delay_s"]) <= 7200, line.raw
    api = Api(relay)
    wait_until(lambda: "too many" in str(api.ask("GET", "/v1/events?type=certificate.expiring")[2]), what="the event")
    assert "martlet_acme_failures_total 1" in str(api.ask("GET", "/metrics")[2])
    found = json.loads(
        subprocess.run(
            [MARTLET, "doctor", "--json", "--probe", "none", "--config", str(relay.config), "--data", str(relay.data)],
            capture_output=True,
            timeout=120,
            env=environment(),
        ).stdout
    )
    (check,) = [one for one in found if one["check"] == "certificate"]
    assert check["state"] == "bad" and "too many" in check["detail"] and "martlet acme now" in check["fix"]


@pytest.mark.parametrize(
    "how, keys, said",
    [
        ({"refuses": True}, {}, f"{NAME} is not proved: unauthorized {NAME} says something else"),
        ({}, {"acme_terms_agreed": "false"}, "read them, and set acme_terms_agreed"),
        ({"binding": True}, {}, "wants acme_eab_id"),
        ({}, {"acme_challenge": "dns-01"}, "needs acme_hook"),
    ],
)
def test_what_keeps_it_away_is_said(make_relay, make_server, how, keys, said):
    relay = make_relay(started=False)
    relay.write_config()
    relay.write("tls.ini", tls_ini(make_server(free_port(), **how), **keys))
    result = now(relay)
    assert result.returncode == 1 and said in result.stderr, result.stderr
    assert not (relay.config / "tls_cert.pem").exists()


def test_a_program_proves_names_in_the_dns_and_an_account_is_bound(make_relay, make_server):
    server = make_server(None, binding=True)
    relay = make_relay(started=False)
    relay.write_config()
    relay.write("eab.key", b64(MAC_KEY) + "\n")
    relay.write(
        "hook",
        f'#!/bin/sh\ncase "$1" in add) printf %s "$3" >"{server.directory}/$2";;\n'
        f'remove) rm "{server.directory}/$2"; echo "$2" >>"{server.directory}/removed";; esac\n',
    )
    (relay.config / "hook").chmod(0o755)
    keys = {"acme_challenge": "dns-01", "acme_hook": "hook", "acme_eab_id": "kid-1", "acme_eab_key_file": "eab.key"}
    relay.write("tls.ini", tls_ini(server, **keys))
    result = now(relay)
    assert result.returncode == 0, result.stderr
    assert re.search(rf"DNS:{NAME}", certificate(relay))
    assert (server.directory / "removed").read_text() == f"_acme-challenge.{NAME}\n"
