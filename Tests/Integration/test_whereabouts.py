"""test_whereabouts.py - the tools find the relay where it is: other sockets, variables, sockets of systemd, TLS only."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys

import pytest
from harness import MARTLET, environment, wait_until


def sendmail(relay, *arguments, text=b"From: a@a.test\r\nSubject: x\r\n\r\nhello\r\n", variables=None):
    """As `docker exec` does it: the relay's own variables, and no word about where it is."""
    env = {**environment(), "MARTLET_DATA_DIR": str(relay.data), "MARTLET_CONFIG_DIR": str(relay.config)}
    env.update(variables or {})
    command = "import os,sys; os.execv(sys.argv[1], ['sendmail', *sys.argv[2:]])"
    return subprocess.run(
        ["/usr/bin/python3", "-c", command, MARTLET, *arguments], input=text, capture_output=True, env=env, timeout=60
    )


def healthcheck(relay):
    return relay.run("healthcheck")


def note(relay):
    return dict(re.findall(r"(?m)^(\w+) = (.*)$", (relay.data / "running").read_text()))


@pytest.mark.parametrize("listen", ["", "127.0.0.1:0"])
@pytest.mark.parametrize("path", ["none", "other.sock"])
def test_healthcheck_finds_an_api_elsewhere(make_relay, listen, path):
    relay = make_relay(files={"admin.ini": f"listen = {listen}\nsocket = {path}\n"})
    result = healthcheck(relay)
    assert result.returncode == 0 and "ok" in result.stdout, result
    relay.stop()
    assert not (relay.data / "running").exists()
    assert healthcheck(relay).returncode != 0


def test_the_note_is_for_everybody_and_true(make_relay):
    relay = make_relay(env={"MARTLET_HOSTNAME": "out1.example.net"})
    said = note(relay)
    assert said["name"] == "out1.example.net"
    assert said["smtp"] == f"127.0.0.1:{relay.address[1]}"
    assert os.stat(relay.data / "running").st_mode & 0o777 == 0o644
    assert os.stat(relay.data / "queue").st_mode & 0o077 == 0


def test_sendmail_of_a_container_that_variables_configure(make_relay, sink):
    variables = {"MARTLET_HOSTNAME": "out1.example.net", "MARTLET_ALLOW_NETWORKS": "172.17.0.0/16"}
    relay = make_relay(routes={"*": sink.address}, env=variables)
    result = sendmail(relay, "b@b.test", variables=variables, text=b"Subject: x\n\nhello\n")
    assert result.returncode == 0, result
    message = sink.wait_for(1)[0]
    assert b"@out1.example.net>" in repr(message).encode() or "@out1.example.net" in str(message), message


def test_sendmail_where_all_smtp_is_inside_tls(make_relay, sink):
    relay = make_relay(started=False, routes={"*": sink.address}, smtp={"smtps_listen": "127.0.0.1:0"})
    made = subprocess.run([MARTLET, "tls", "self-signed", "--name", "relay.test", "--config", relay.config])
    assert made.returncode == 0
    relay.write("smtp.ini", "listen =\nsmtps_listen = 127.0.0.1:0\n")
    relay.start()
    result = sendmail(relay, "b@b.test", text=b"Subject: x\n\n" + b"line\n" * 50_000)
    assert result.returncode == 0, result
    sink.wait_for(1)
    # And the same conversation by hand.
    result = sendmail(relay, "-bs", text=b"EHLO a.test\r\nQUIT\r\n")
    assert result.stdout.startswith(b"220 ") and b"221 " in result.stdout, result


def test_sendmail_behind_sockets_of_systemd(make_relay, sink, tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        relay = make_relay(started=False, routes={"*": sink.address})
        script = (
            "import os,sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp'); "
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        command = [sys.executable, "-c", script, str(listening.fileno()), MARTLET, "serve"]
        command += ["--config", str(relay.config), "--data", str(relay.data)]
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(command, stderr=log, pass_fds=[listening.fileno()])
    try:
        wait_until(lambda: b" ready " in (tmp_path / "log").read_bytes(), timeout=60)
        assert note(relay)["smtp"] == f"127.0.0.1:{port}"
        result = sendmail(relay, "b@b.test")
        assert result.returncode == 0, result
        sink.wait_for(1)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_smart_host_of_the_environment_is_listed_and_not_edited(make_relay, sink):
    relay = make_relay(env={"MARTLET_SMARTHOST_HOST": sink.route})
    api = ApiOverSocket(relay)
    status, table = api.ask("GET", "/v1/routes")
    routes = {route["match"]: route for route in table["items"]}
    assert status == 200 and table["total"] == len(table["items"])
    assert routes["*"]["origin"] == "environment" and routes["*"]["variable"] == "MARTLET_SMARTHOST_HOST"
    for method, body in (("PUT", {"mx": "a.test"}), ("PATCH", {"mx": "a.test"}), ("DELETE", None)):
        status, problem = api.ask(method, "/v1/routes/*", body)
        assert status == 409 and "MARTLET_SMARTHOST_HOST" in problem["detail"], (method, status, problem)
    status, _ = api.ask("PUT", "/v1/routes/b.test", {"mx": "127.0.0.1:26"})
    assert status == 201
    # What was read can be written back.
    _, table = api.ask("GET", "/v1/routes")
    status, again = api.ask("PUT", "/v1/routes", table)
    assert status == 200, again
    assert "[*]" not in (relay.config / "routes.ini").read_text()


def test_a_client_cannot_ask_which_files_there_are(make_relay):
    relay = make_relay()
    api = ApiOverSocket(relay)
    answers = set()
    for path in ("/etc/shadow", "/etc/no-such-file", "../etc/passwd", "a/../../x"):
        status, problem = api.ask("PATCH", "/v1/outbound", {"tls_ca_file": path})
        answers.add((status, problem["detail"]))
    assert len(answers) == 1 and next(iter(answers))[0] == 422, answers


@pytest.mark.parametrize(
    "variables",
    [
        {"MARTLET_LOG_FORMAT": "JSON"},
        {"MARTLET_ADMIN_LISTEN": "0.0.0.0:0"},
        {"MARTLET_ADMIN_TOKEN_FILE": "/nowhere"},
        {"MARTLET_ADMIN_TOKEN": "short"},
        {"RELAYHOST_TLS_LEVEL": "encrypt"},
    ],
)
def test_check_refuses_what_serve_refuses(make_relay, variables):
    relay = make_relay(started=False, env=variables)
    checked = relay.run("check")
    relay.start(wait=False)
    assert relay.process.wait(30) == 1
    relay.process = None
    assert checked.returncode == 1
    name = next(iter(variables))
    text = relay.log_path.read_text()
    assert ("token" if "LISTEN" in name else name) in text and ("token" if "LISTEN" in name else name) in checked.stdout


def test_a_rotated_token_file_is_noticed(make_relay, tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"first-token-0123456789\r\n")
    relay = make_relay(
        env={"MARTLET_ADMIN_TOKEN": "", "MARTLET_ADMIN_TOKEN_FILE": str(file)},
        files={"admin.ini": "listen = 127.0.0.1:0\n"},
    )
    host, port = note(relay)["api"].rsplit(":", 1)

    def status(token):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/v1/stats", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status

    assert status(None) == 401 and status("first-token-0123456789") == 200
    file.write_bytes(b"second-token-0123456789\n")
    wait_until(lambda: status("second-token-0123456789") == 200, timeout=30, interval=0.5)
    assert status("first-token-0123456789") == 401
    file.write_bytes(b"")
    wait_until(lambda: status("second-token-0123456789") == 401, timeout=30, interval=0.5)
    assert status(None) == 401


class ApiOverSocket:
    """The API by the path in the note."""

    def __init__(self, relay):
        self.path = str(relay.data / note(relay)["socket"])

    def ask(self, method, path, body=None):
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        command = [
            "curl",
            "-s",
            "-X",
            method,
            "--unix-socket",
            self.path,
            "-w",
            "\n%{http_code}",
            f"http://localhost{path}",
        ]
        if body is not None:
            command += ["-H", f"Content-Type: {kind}", "-d", json.dumps(body)]
        out = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        text, status = out.rsplit("\n", 1)
        return int(status), json.loads(text) if text else None
