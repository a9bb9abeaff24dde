"""test_login_tokens.py - access tokens in: a scripted issuer with a JWKS, XOAUTH2 and OAUTHBEARER by hand, swaks and curl."""

import base64
import json
import os
import shutil
import smtplib
import subprocess
import time

import pytest
from test_logins import Program
from waiting import wait_until

LOGINS = """[oauth company]
issuer = https://id.test
keys = {keys}
audience = smtp
scopes = smtp.send
"""


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Makes tokens with openssl, and tells its keys."""

    def __init__(self, directory):
        self.directory = directory
        self.keys = {}

    def key(self, name):
        path = self.directory / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
        der = subprocess.run(
            ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True
        )
        self.keys[name] = {"kty": "OKP", "crv": "Ed25519", "kid": name, "x": text(der.stdout[-32:])}
        return path

    def jwks(self):
        return {"keys": list(self.keys.values())}

    def token(self, name, **claims):
        now = int(time.time())
        body = {
            "iss": "https://id.test",
            "aud": "smtp",
            "scope": "smtp.send",
            "email": "alice@a.test",
            "exp": now + 600,
        }
        body |= claims
        head = {"alg": "EdDSA", "kid": name}
        signed = f"{text(json.dumps(head).encode())}.{text(json.dumps(body).encode())}"
        message = self.directory / "message"
        message.write_bytes(signed.encode())
        sign = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.directory / f"{name}.pem", "-in", message]
        return f"{signed}.{text(subprocess.run(sign, check=True, capture_output=True).stdout)}"


@pytest.fixture
def issuer(tmp_path):
    made = Issuer(tmp_path)
    made.key("one")
    return made


@pytest.fixture
def server(issuer):
    made = Program()
    made.server.RequestHandlerClass.do_GET = lambda handler: answer_keys(handler, issuer, made)
    yield made
    made.server.shutdown()
    made.server.server_close()


def answer_keys(handler, issuer, made):
    made.asked.append(handler.path)
    data = json.dumps(issuer.jwks()).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def said(relay, mechanism, token, user="alice@a.test", dummy="AQ=="):
    """Code of AUTH, what stood in the challenge before it, and the code of MAIL behind a 235."""
    if mechanism == "XOAUTH2":
        message = f"user={user}\x01auth=Bearer {token}\x01\x01"
    else:
        message = f"n,a={user},\x01host=relay.test\x01port=25\x01auth=Bearer {token}\x01\x01"
    with smtplib.SMTP(*relay.address, timeout=60) as client:
        client.ehlo("client.test")
        code, words = client.docmd("AUTH", f"{mechanism} {base64.b64encode(message.encode()).decode()}")
        challenge = None
        if code == 334:
            challenge = json.loads(base64.b64decode(words))
            code, words = client.docmd(dummy)
        assert b"exp" not in words and b"aud" not in words
        return code, challenge


def test_tokens_of_an_issuer(make_api, sink, issuer, server, tmp_path):
    keys = server.url
    relay, api = make_api(
        routes={"*": sink.address},
        allow=[],
        files={"logins.ini": LOGINS.format(keys=keys), "auth_flat_file.ini": "[core]\nmax_delay = 1s\n"},
    )
    good = issuer.token("one")
    assert said(relay, "XOAUTH2", good) == (235, None)
    assert said(relay, "OAUTHBEARER", good) == (235, None)
    assert said(relay, "OAUTHBEARER", good, user="") == (235, None), "a token says who it is"
    assert len(server.asked) == 1, "keys are kept"
    expired = issuer.token("one", exp=int(time.time()) - 3600)
    assert said(relay, "XOAUTH2", expired, dummy="") == (535, {"status": "401", "schemes": "bearer", "scope": ""})
    assert said(relay, "OAUTHBEARER", expired) == (535, {"status": "invalid_token"})
    assert said(relay, "XOAUTH2", good, user="bob@a.test")[0] == 535
    assert said(relay, "XOAUTH2", issuer.token("one", aud="imap"))[0] == 535
    reasons = wait_until(
        lambda: (
            len(items := api.ask("GET", "/v1/events?type=credential.refused")[2]["items"]) == 4
            and [one["data"]["text"] for one in items]
        ),
        what="the refusals to be events",
    )
    assert "has expired (exp)" in reasons[0] and "not for us (aud)" in reasons[3] and "of alice@a.test" in reasons[2]
    assert good.split(".")[2] not in relay.log_path.read_text()
    if shutil.which("curl"):
        mail = tmp_path / "mail"
        mail.write_bytes(b"From: alice@a.test\r\nTo: b@b.test\r\nSubject: curl\r\n\r\nhello\r\n")
        url = f"smtp://{relay.address[0]}:{relay.address[1]}"
        words = ["curl", "-sS", url, "--user", "alice@a.test", "--oauth2-bearer", good, "--mail-from", "alice@a.test"]
        ran = subprocess.run(
            [*words, "--mail-rcpt", "b@b.test", "-T", mail], capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        assert sink.wait_for(1)[0].sender == "alice@a.test"
    if shutil.which("swaks"):
        message = f"user=alice@a.test\x01auth=Bearer {good}\x01\x01"
        words = ["swaks", "--server", relay.address[0], "--port", str(relay.address[1]), "--to", "b@b.test"]
        words += ["--from", "alice@a.test", "--auth", "XOAUTH2", "--auth-user", "alice@a.test", "--auth-password", good]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=60)
        # Older ones have no XOAUTH2.
        assert ran.returncode == 0 or "XOAUTH2" in ran.stderr + ran.stdout, (ran.stdout, message)


def test_keys_are_rotated(make_api, sink, issuer):
    keys = issuer.directory / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks()))
    relay, _ = make_api(
        routes={"*": sink.address},
        allow=[],
        files={"logins.ini": LOGINS.format(keys=keys), "auth_flat_file.ini": "[core]\nmax_delay = 1s\n"},
    )
    # A key that nobody tells refuses; a set that cannot be had does not.
    issuer.key("two")
    assert said(relay, "XOAUTH2", issuer.token("two"))[0] == 535
    assert said(relay, "XOAUTH2", issuer.token("one"))[0] == 235
    keys.unlink()
    (relay.config / "logins.ini").write_text(LOGINS.format(keys=keys) + "leeway = 61\n")
    wait_until(lambda: said(relay, "XOAUTH2", issuer.token("one"))[0] == 454, what="the keys to be gone")
    keys.write_text(json.dumps(issuer.jwks()))
    wait_until(lambda: said(relay, "XOAUTH2", issuer.token("two"))[0] == 235, what="the new keys to be taken")
    assert os.path.exists(keys)
