"""api.py - a client of the admin API, and its tokens."""

import contextlib
import http.client
import json
import socket
import subprocess

JSON = {"Content-Type": "application/json"}
MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: api\r\n\r\nbody\r\n"


class Api:
    """The API of a relay over TCP; `ask` gives status, headers and the body, parsed when it is JSON."""

    def __init__(self, relay, token=None):
        line = [line for line in relay.log if line.message == "ready"][-1]
        self.address = ("127.0.0.1", int(line["api"].split(",")[0].rpartition(":")[2]))
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        fields = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if isinstance(body, (dict, list)):
            fields = {**JSON, **fields}
            body = json.dumps(body)
        try:
            # What is too large is answered, and closed, before all of it is sent.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, path, body, fields)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        isJSON = "json" in (answer.getheader("Content-Type") or "") and "ndjson" not in answer.getheader("Content-Type")
        return answer.status, dict(answer.getheaders()), json.loads(data) if isJSON and data else data

    def raw(self, data, timeout=5):
        """What comes back for some bytes, until the server closes or `timeout` is over."""
        with socket.create_connection(self.address, timeout=timeout) as connection:
            connection.sendall(data)
            received = b""
            try:
                while piece := connection.recv(65536):
                    received += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return received


def command(relay, *arguments):
    return subprocess.run(
        [relay.binary, *arguments, "--config", str(relay.config)], capture_output=True, text=True, timeout=60
    )


def token(relay, name="test", scope="all", *more):
    made = command(relay, "token", "create", name, "--scope", scope, *more)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert "\n" not in secret and len(secret) > 40
    return secret
