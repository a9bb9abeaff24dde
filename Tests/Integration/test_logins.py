"""test_logins.py - who else may say who logs in: the hook `auth`, and app passwords."""

import http.server
import json
import os
import smtplib
import socketserver
import threading
import time

import pytest
from api import command
from waiting import wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: login\r\n\r\nhello\r\n"


class Program:
    """A scripted program of the hook `auth`; `answer` is what it says, or a status."""

    def __init__(self):
        self.answer = {"result": "deny"}
        self.asked = []
        program = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                program.asked.append(body)
                answer = program.answer(body) if callable(program.answer) else program.answer
                status = answer if isinstance(answer, int) else 200
                data = b"" if isinstance(answer, int) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/auth"


@pytest.fixture
def program():
    made = Program()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def make(make_api, sink):
    def made(files, **how):
        before = os.umask(0o077)
        try:
            return make_api(routes={"*": sink.address}, allow=[], files=files, **how)
        finally:
            os.umask(before)

    return made


def login(relay, user, password, sender="a@a.test", mechanism="plain"):
    """The code of AUTH, and of MAIL behind it where it is 235."""
    with smtplib.SMTP(*relay.address, timeout=60) as client:
        client.ehlo("client.test")
        client.user, client.password = user, password
        try:
            code = client.auth(mechanism, getattr(client, f"auth_{mechanism}"))[0]
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code, error.smtp_error
        return code, client.mail(sender)[0]


HOOKS = "[idp]\nurl = {url}\nhooks = auth\nbreaker_failures = 2\nbreaker_pause = 600\n"
OWN = "[core]\nmax_delay = 1s\nmax_failures = 50\n[users]\nown = open sesame\n"


def test_a_client_that_waits_for_its_login_is_not_told_that_it_was_silent(make, program):
    """The timers of a session run while the client is awaited, not while it waits for us."""

    def slowly(_):
        time.sleep(2.5)
        return {"result": "allow", "user": "alice@a.test", "senders": ["a@a.test"]}

    relay, _ = make(
        {"hooks.ini": HOOKS.format(url=program.url)}, smtp={"timeouts.command": 1, "timeouts.command_deadline": 1}
    )
    program.answer = slowly
    assert login(relay, "alice", "secret") == (235, 250)


def test_a_program_says_who_may_log_in(make, program):
    relay, api = make({"hooks.ini": HOOKS.format(url=program.url), "auth_flat_file.ini": OWN})
    with smtplib.SMTP(*relay.address, timeout=60) as client:
        client.ehlo("client.test")
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"], "who asks must see the password"
    program.answer = {"result": "allow", "user": "alice@a.test", "senders": ["a@a.test"], "max_age": 60}
    assert login(relay, "alice", "secret") == (235, 250)
    question = program.asked[0]
    assert question["user"] == "alice" and question["password"] == "secret" and question["mechanism"] == "PLAIN"
    assert question["client_ip"] == "127.0.0.1" and question["tls"] is False and question["hook"] == "auth"
    # Believed for so long as it says, by the password that it was about.
    assert login(relay, "alice", "secret", sender="b@a.test") == (235, 553)
    assert len(program.asked) == 1
    program.answer = {"result": "deny", "reason": "locked since May"}
    code, words = login(relay, "alice", "another")
    assert code == 535 and b"May" not in words
    refused = wait_until(
        lambda: api.ask("GET", "/v1/events?type=credential.refused")[2]["items"], what="the refusal to be an event"
    )
    assert "program idp: locked since May" in refused[0]["data"]["text"]
    log = relay.log_path.read_text()
    assert "locked since May" in log and "another" not in log and "secret" not in log
    # Users of the file are the file's.
    asked = len(program.asked)
    assert login(relay, "own", "open sesame")[0] == 235 and login(relay, "own", "wrong")[0] == 535
    assert len(program.asked) == asked


def test_trouble_lets_nobody_in_and_refuses_nobody(make, program):
    relay, _ = make({"hooks.ini": HOOKS.format(url=program.url), "auth_flat_file.ini": OWN})
    program.answer = {"result": "temporary"}
    assert login(relay, "alice", "secret")[0] == 454
    for wrong in (500, {"result": "allow", "unknown": 1}):
        program.answer = wrong
        assert login(relay, "alice", "secret")[0] == 454
    # It is left alone now, whatever it would say.
    program.answer = {"result": "allow"}
    asked = len(program.asked)
    assert login(relay, "alice", "secret")[0] == 454 and len(program.asked) == asked
    assert "is left alone for a while" in relay.log_path.read_text()
    assert login(relay, "own", "open sesame")[0] == 235


def test_tokens_are_shown_to_a_program_that_takes_them(make, program):
    hooks = HOOKS.format(url=program.url) + "auth_tokens = true\n"
    relay, _ = make({"hooks.ini": hooks, "auth_flat_file.ini": OWN})
    program.answer = lambda asked: {"result": "allow" if asked.get("token") == "a.b.c" else "deny", "user": "alice"}

    def said(mechanism, message, last):
        with smtplib.SMTP(*relay.address, timeout=60) as client:
            client.ehlo("client.test")
            assert {"XOAUTH2", "OAUTHBEARER"} <= set(client.esmtp_features["auth"].split())
            from base64 import b64encode

            code, _ = client.docmd("AUTH", f"{mechanism} {b64encode(message).decode()}")
            if code == 334:
                code, _ = client.docmd(last)
            return code

    assert said("XOAUTH2", b"user=alice\x01auth=Bearer a.b.c\x01\x01", "") == 235
    assert said("XOAUTH2", b"user=alice\x01auth=Bearer a.b.d\x01\x01", "") == 535
    assert said("OAUTHBEARER", b"n,a=alice,\x01host=h\x01port=25\x01auth=Bearer a.b.c\x01\x01", "AQ==") == 235
    assert said("OAUTHBEARER", b"n,,\x01auth=Bearer a.b.d\x01\x01", "AQ==") == 535
    long = b"n,,\x01auth=Bearer " + b"x" * 6000 + b"\x01\x01"
    assert said("OAUTHBEARER", long, "AQ==") == 535, "long, and heard"
    assert program.asked[0]["mechanism"] == "XOAUTH2" and program.asked[0]["user"] == "alice"


def test_app_passwords(make):
    relay, api = make({"auth_flat_file.ini": OWN})
    body = {"name": "old", "networks": ["192.0.2.0/24"], "expires_at": "2099-01-01T00:00:00Z"}
    status, _, value = api.ask("POST", "/v1/credentials/own/app-passwords", body)
    assert status == 201 and value["password"].startswith("ma_"), value
    assert api.ask("POST", "/v1/credentials/own/app-passwords", body)[0] == 409
    code, words = login(relay, "own", value["password"])
    assert code == 535 and b"address" not in words
    wait_until(lambda: "is not for this address" in relay.log_path.read_text(), what="why, for the operator")
    assert api.ask("DELETE", "/v1/credentials/own/app-passwords/old")[0] == 204
    assert api.ask("DELETE", "/v1/credentials/own/app-passwords/old")[0] == 404
    made = command(relay, "passwd", "app", "add", "own", "phone", "--senders", "a@a.test")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("ma_") and secret not in (relay.config / "auth_flat_file.ini").read_text()
    wait_until(lambda: login(relay, "own", secret)[0] == 235, what="the app password to be in force")
    assert login(relay, "own", secret, sender="b@a.test") == (235, 553)
    assert login(relay, "own", "open sesame", sender="b@a.test") == (235, 250)
    assert "own" in command(relay, "passwd", "app", "list").stdout
    listed = api.ask("GET", "/v1/credentials/own/app-passwords")[2]["items"]
    assert listed[0]["name"] == "phone" and listed[0]["senders"] == ["a@a.test"] and listed[0]["last_seen"]
    assert command(relay, "passwd", "app", "remove", "own", "phone").returncode == 0
    wait_until(lambda: login(relay, "own", secret)[0] == 535, what="the app password to be gone")
