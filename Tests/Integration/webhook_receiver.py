"""webhook_receiver.py - a receiver of webhooks that verifies signatures and answers as a test wants."""

import base64
import hashlib
import hmac
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waiting import free_port, wait_until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def is_signed(headers, body, secret=SECRET):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mine = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(mine, one) for one in headers["webhook-signature"].split())


class Receiver:
    """`answer(events)` gives a status, or a function of the handler; what was taken (2xx) is in `taken`, in order."""

    def __init__(self, answer=None, port=None):
        self.answer = answer or (lambda events: 200)
        self.port = port or free_port()
        self.requests, self.taken, self.unsigned = [], [], 0
        self.released = threading.Event()
        self.server = None
        self.start()

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                if receiver.server is None:
                    # A connection that was kept: the dead do not answer.
                    self.close_connection = True
                    return None
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.unsigned += not is_signed(self.headers, body)
                value = json.loads(body)
                events = value if isinstance(value, list) else [value]
                receiver.requests.append((self.headers["webhook-id"], events))
                answer = receiver.answer(events)
                if callable(answer):
                    return answer(self)
                status, fields = answer if isinstance(answer, tuple) else (answer, {})
                if status // 100 == 2:
                    receiver.taken += events
                self.send_response(status)
                self.send_header("Content-Length", "0")
                for name, text in fields.items():
                    self.send_header(name, text)
                self.end_headers()
                return None

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Nobody listens there any more."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def close(self):
        self.released.set()
        self.stop()

    @property
    def recipients(self):
        return [event["data"].get("recipient") for event in self.taken]

    def section(self, name="shop", **keys):
        """Its section of events.ini; short waits."""
        lines = {
            "url": f"http://127.0.0.1:{self.port}/hook",
            "secret": SECRET,
            "allow_private": "true",
            "types": "delivery.*",
            "retry_first": "1",
            "retry_max": "1",
            **keys,
        }
        return f"[webhook {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())

    def wait_for(self, count, timeout=30):
        return wait_until(
            lambda: len(self.taken) >= count and self.taken, timeout, lambda: f"{count} events, {len(self.taken)} came"
        )


def write_secret(relay, text):
    """events.ini with a secret in it, as nobody else may read it."""
    path = relay.config / "events.ini"
    path.write_text(text)
    os.chmod(path, 0o600)
