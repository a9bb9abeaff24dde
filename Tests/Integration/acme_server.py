"""acme_server.py - a certificate authority that speaks ACME (RFC 8555), scripted; it believes no signature unseen."""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tls_peers import openssl

# SubjectPublicKeyInfo of P-256 up to its point.
SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
MAC_KEY = b"a key of thirty-two octets or so"


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text):
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der_number(octets):
    octets = octets.lstrip(b"\0") or b"\0"
    if octets[0] & 0x80:
        octets = b"\0" + octets
    return b"\x02" + bytes([len(octets)]) + octets


def problem(status, kind, detail, **headers):
    return status, {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}, headers


class AcmeServer:
    """`odd` holds answers to give first, by path: (status, value, headers). `port` is where http-01 is looked for."""

    def __init__(self, authority, directory, port, days=90, binding=False, bad_nonces=0, refuses=False):
        outer = self
        self.authority, self.directory, self.port, self.days = authority, Path(directory), port, days
        self.directory.mkdir(exist_ok=True)
        self.binding, self.bad_nonces, self.refuses = binding, bad_nonces, refuses
        self.odd, self.asked, self.answers = {}, [], []
        self.nonces, self.accounts, self.records = set(), {}, {}
        self.lock = threading.Lock()
        self.order, self.chain, self.looks = None, None, 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer.lock:
                    status, value, headers = outer.answer(self.command, self.path, self.headers, body)
                    nonce = secrets.token_urlsafe(12)
                    outer.nonces.add(nonce)
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in {**headers, "Replay-Nonce": nonce}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_HEAD = respond

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # ------------------------------------------------------------------------------------------ answers

    def answer(self, method, path, headers, body):
        self.asked.append(path)
        if path == "/dir":
            meta = {"termsOfService": f"{self.url}/terms", "externalAccountRequired": self.binding}
            places = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
            return 200, {**{name: f"{self.url}/{place}" for name, place in places.items()}, "meta": meta}, {}
        if path == "/nonce":
            return 200, b"", {}
        head, payload = self.verified(path, headers, body)
        if head["nonce"] not in self.nonces:
            return problem(400, "badNonce", "never seen")
        self.nonces.remove(head["nonce"])
        if self.bad_nonces:
            self.bad_nonces -= 1
            return problem(400, "badNonce", "too old")
        if self.odd.get(path):
            return self.odd[path].pop(0)
        return getattr(self, "on" + path.replace("/", "_"))(head, payload)

    def verified(self, path, headers, body):
        assert headers["Content-Type"] == "application/jose+json"
        message = json.loads(body)
        head = json.loads(unb64(message["protected"]))
        assert head["alg"] == "ES256" and head["url"] == self.url + path
        assert ("jwk" in head) == (path == "/account") and ("kid" in head) == (path != "/account")
        jwk = head.get("jwk") or self.accounts[head["kid"]]
        key = self.directory / "account.pem"
        der = SPKI + b"\x04" + unb64(jwk["x"]) + unb64(jwk["y"])
        pem = base64.encodebytes(der).decode()
        key.write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
        raw = unb64(message["signature"])
        assert len(raw) == 64
        numbers = der_number(raw[:32]) + der_number(raw[32:])
        signature = self.directory / "signature"
        signature.write_bytes(b"\x30" + bytes([len(numbers)]) + numbers)
        text = f"{message['protected']}.{message['payload']}".encode()
        openssl("dgst", "-sha256", "-verify", key, "-signature", signature, input=text)
        return head, json.loads(unb64(message["payload"])) if message["payload"] else None

    def on_account(self, head, payload):
        assert payload["termsOfServiceAgreed"] is True
        jwk = head["jwk"]
        if self.binding:
            tie = payload["externalAccountBinding"]
            tied = json.loads(unb64(tie["protected"]))
            assert tied == {"alg": "HS256", "kid": "kid-1", "url": f"{self.url}/account"}
            text = f"{tie['protected']}.{tie['payload']}".encode()
            assert unb64(tie["signature"]) == hmac.new(MAC_KEY, text, hashlib.sha256).digest()
            assert json.loads(unb64(tie["payload"])) == jwk
        place = f"{self.url}/account/{b64(hashlib.sha256(jwk['x'].encode()).digest())}"
        is_known = place in self.accounts
        self.accounts[place] = jwk
        return 200 if is_known else 201, {"status": "valid"}, {"Location": place}

    def on_order(self, head, payload):
        self.token = secrets.token_urlsafe(16)
        self.name = payload["identifiers"][0]["value"]
        self.state, self.looks, self.chain = "pending", 0, None
        self.jwk = self.accounts[head["kid"]]
        return 201, self.order_value(), {"Location": f"{self.url}/order/1"}

    def order_value(self):
        value = {"status": self.state, "authorizations": [f"{self.url}/authz"], "finalize": f"{self.url}/finalize"}
        return {**value, "certificate": f"{self.url}/cert"} if self.chain else value

    def on_authz(self, *_):
        status = {"pending": "pending", "invalid": "invalid"}.get(self.state, "valid")
        base = {"url": f"{self.url}/chall", "token": self.token, "status": status}
        challenges = [{**base, "type": kind} for kind in ("http-01", "dns-01")]
        if status == "invalid":
            kind = "urn:ietf:params:acme:error:unauthorized"
            challenges[0]["error"] = {"type": kind, "detail": f"{self.name} says something else"}
        return 200, {"status": status, "identifier": {"type": "dns", "value": self.name}, "challenges": challenges}, {}

    def on_chall(self, *_):
        self.state = "ready" if self.proof() and not self.refuses else "invalid"
        return 200, {"status": "processing"}, {}

    def proof(self):
        jwk = json.dumps({name: self.jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        wanted = f"{self.token}.{b64(hashlib.sha256(jwk.encode()).digest())}"
        if self.port is None:
            return self.record() == b64(hashlib.sha256(wanted.encode()).digest())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", f"/.well-known/acme-challenge/{self.token}", headers={"Host": self.name})
        answer = connection.getresponse()
        self.answers.append((answer.status, answer.read().decode()))
        connection.request("GET", "/.well-known/acme-challenge/another", headers={"Host": self.name})
        assert connection.getresponse().status == 404
        return self.answers[-1] == (200, wanted)

    def record(self):
        """What the hook program of the test wrote."""
        file = self.directory / f"_acme-challenge.{self.name}"
        return file.read_text() if file.exists() else None

    def on_finalize(self, head, payload):
        request, chain = self.directory / "request.der", self.directory / "chain.pem"
        request.write_bytes(unb64(payload["csr"]))
        assert (
            f"DNS:{self.name}"
            in openssl("req", "-inform", "DER", "-in", request, "-noout", "-text", "-verify").decode()
        )
        pem = openssl("req", "-inform", "DER", "-in", request)
        issuer = ["-CA", self.authority.certificate, "-CAkey", self.authority.key, "-CAcreateserial"]
        openssl("x509", "-req", *issuer, "-copy_extensions", "copy", "-days", self.days, "-out", chain, input=pem)
        self.chain = chain.read_bytes() + self.authority.certificate.read_bytes()
        self.state = "processing"
        return 200, self.order_value(), {"Retry-After": "1"}

    def on_order_1(self, *_):
        self.looks += 1
        if self.state == "processing":
            self.state = "valid"
        return 200, self.order_value(), {"Retry-After": "1"}

    def on_cert(self, *_):
        return 200, self.chain, {"Content-Type": "application/pem-certificate-chain"}

    # ------------------------------------------------------------------------------------------ tests

    def wait_asked(self, path, count=1, seconds=60):
        end = time.monotonic() + seconds
        while self.asked.count(path) < count:
            assert time.monotonic() < end, self.asked
            time.sleep(0.02)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
