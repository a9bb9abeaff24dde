"""mail_apis.py - a provider of our own: tokens (RFC 6749, RFC 8628), Microsoft Graph and Amazon SES, scripted.

It believes nothing: recipients are those that the header of a message names, as Graph has it, and signatures are computed anew.
"""

import base64
import email
import email.policy
import email.utils
import hashlib
import hmac
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class MailProvider:
    """`tokens`, `graph` and `ses` hold answers to give, one a request: (status, body, headers); without one all is well.

    An answer `"hang up"` closes the connection, and `"hold"` waits for `release`.
    """

    def __init__(self):
        outer = self
        self.lock = threading.Lock()
        self.forms = []
        self.posts = []
        self.tokens, self.graph, self.ses = [], [], []
        self.good_tokens = set()
        self.count = 0
        self.release = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = outer.answer(self.command, self.path, self.headers, body)
                if answer == "hold":
                    outer.release.wait(300)
                    answer = "hang up"
                if answer == "hang up":
                    self.close_connection = True
                    return
                status, value, headers = answer
                content = json.dumps(value).encode() if value is not None else b""
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # ------------------------------------------------------------------------------------------ answers

    def answer(self, method, path, headers, body):
        with self.lock:
            if path == "/.well-known/openid-configuration":
                return self.description()
            if path.endswith("/devicecode"):
                return self.device(body)
            if path.endswith("/token"):
                return self.token(body)
            if path.startswith("/v1.0/users/") and method == "POST":
                return self.graph_post(path, headers, body)
            if path == "/v2/email/outbound-emails" and method == "POST":
                return self.ses_post(path, headers, body)
        return 404, {"error": {"code": "ResourceNotFound", "message": path}}, {}

    def description(self):
        return (
            200,
            {
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/devicecode",
                "authorization_endpoint": f"{self.url}/authorize",
            },
            {},
        )

    def device(self, body):
        form = self.take(body)
        assert "client_id" in form and "scope" in form, form
        return (
            200,
            {
                "device_code": "device-secret",
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/device",
                "interval": 1,
                "expires_in": 900,
            },
            {},
        )

    def take(self, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        self.forms.append(form)
        return form

    def token(self, body):
        self.take(body)
        if self.tokens:
            return self.tokens.pop(0)
        return self.good_token()

    def good_token(self, **more):
        self.count += 1
        token = f"access-{self.count}"
        self.good_tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3600, **more}, {}

    def graph_post(self, path, headers, body):
        token = headers["Authorization"].removeprefix("Bearer ")
        if token not in self.good_tokens:
            return 401, {"error": {"code": "InvalidAuthenticationToken", "message": "no"}}, {}
        assert headers["Content-Type"] == "text/plain", headers["Content-Type"]
        assert len(body) <= 4 << 20
        message = base64.b64decode(body, validate=True)
        parsed = email.message_from_bytes(message, policy=email.policy.SMTP)
        fields = [text for name in ("To", "Cc", "Bcc") for text in parsed.get_all(name, [])]
        post = {
            "mailbox": urllib.parse.unquote(path.split("/")[3]),
            "recipients": sorted(
                address for _, address in email.utils.getaddresses([str(f) for f in fields]) if address
            ),
            "message": message,
        }
        return self.posted(post, self.graph, (202, None, {"request-id": "graph-1"}))

    def ses_post(self, path, headers, body):
        self.check_signature(path, headers, body)
        value = json.loads(body)
        destination = value["Destination"]
        assert set(destination) <= {"ToAddresses", "CcAddresses", "BccAddresses"}
        post = {
            "recipients": sorted(person for people in destination.values() for person in people),
            "message": base64.b64decode(value["Content"]["Raw"]["Data"], validate=True),
            "feedback": value.get("FeedbackForwardingEmailAddress"),
        }
        return self.posted(post, self.ses, (200, {"MessageId": "ses-1"}, {}))

    def posted(self, post, script, good):
        self.posts.append({**post, "at": time.monotonic()})
        return script.pop(0) if script else good

    @staticmethod
    def check_signature(path, headers, body):
        """Signature version 4, by Amazon's description of it."""
        words = headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
        given = dict(word.split("=", 1) for word in words)
        key, day, region, service, end = given["Credential"].split("/")
        assert (key, service, end) == (ACCESS_KEY, "ses", "aws4_request")
        stamp = headers["X-Amz-Date"]
        assert stamp.startswith(day) and len(stamp) == 16
        asked = time.mktime(time.strptime(stamp + "UTC", "%Y%m%dT%H%M%SZ%Z"))
        assert abs(asked - time.mktime(time.gmtime())) < 900
        names = given["SignedHeaders"].split(";")
        assert {"host", "x-amz-date"} <= set(names)
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        canonical = "\n".join(["POST", path, "", lines, given["SignedHeaders"], hashlib.sha256(body).hexdigest()])
        scope = "/".join([day, region, service, end])
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        secret = ("AWS4" + SECRET_KEY).encode()
        for word in (day, region, service, end):
            secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
        assert hmac.new(secret, text.encode(), hashlib.sha256).hexdigest() == given["Signature"]

    # ------------------------------------------------------------------------------------------ tests

    def wait_posts(self, count, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                if len(self.posts) >= count:
                    return list(self.posts)
            time.sleep(0.02)
        raise AssertionError(f"{len(self.posts)} of {count} posts")

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
