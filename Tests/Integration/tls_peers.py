"""tls_peers.py - next hops that speak TLS and AUTH, well or badly, and the certificates for them (made by openssl)."""

import hashlib
import json
import secrets
import socketserver
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from scripted import Do, Drop, ScriptedServer, Stall


def openssl(*arguments, **how):
    ran = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=60, **how)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


class Authority:
    """A certificate authority of our own, in a directory."""

    def __init__(self, directory, name="martlet test authority"):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.key, self.certificate = self.directory / "ca.key", self.directory / "ca.pem"
        openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
            "-subj",
            f"/CN={name}",
            "-keyout",
            self.key,
            "-out",
            self.certificate,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    def issue(self, *names, expired=False, self_signed=False, common="peer"):
        """Paths of a certificate chain and its key for these host names or addresses; none: only its common name."""
        stem = self.directory / secrets.token_hex(6)
        key, request, certificate, chain = (stem.with_suffix(s) for s in (".key", ".csr", ".crt", ".pem"))
        openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN={common}",
            "-keyout",
            key,
            "-out",
            request,
        )
        extensions = stem.with_suffix(".ext")
        words = ",".join(f"{'IP' if name[0].isdigit() else 'DNS'}:{name}" for name in names)
        extensions.write_text((f"subjectAltName={words}\n" if names else "") + "basicConstraints=CA:FALSE\n")
        signer = ["-signkey", key] if self_signed else ["-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial"]
        # openssl 3.0 takes no dates here, but a negative number of days.
        openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-out",
            certificate,
            "-extfile",
            extensions,
            "-sha256",
            "-days",
            "-1" if expired else "30",
            *signer,
        )
        chain.write_bytes(certificate.read_bytes() + (b"" if self_signed else self.certificate.read_bytes()))
        return chain, key


def digest(pem, selector=1, matching="sha256"):
    """The data of a TLSA record for the first certificate of a file, in hexadecimal."""
    if selector == 0:
        data = openssl("x509", "-in", pem, "-outform", "DER")
    else:
        data = openssl("pkey", "-pubin", "-outform", "DER", input=openssl("x509", "-in", pem, "-noout", "-pubkey"))
    return data.hex() if matching is None else hashlib.new(matching, data).hexdigest()


NOT_TLS = "this is no TLS at all"
REFUSALS = {
    "refuse": "454 4.7.0 no TLS today",
    "garbage": Do("220 2.0.0 go", NOT_TLS),
    "hang": Do("220 2.0.0 go", Stall(60)),
    "drop": Do("220 2.0.0 go", Drop()),
    "inject": "220 go\n250 peer.test",
}


class TLSPeer(ScriptedServer):
    """A scripted peer that has a certificate, or something else behind STARTTLS.

    how: `starttls`, `implicit`, `none` (not offered), `refuse` (454), `garbage` (no TLS behind the 220), `hang` (silence
    behind it), `drop`, `inject` (a reply in the clear behind it). auth_reply: said instead of judging the password.
    """

    def __init__(self, pair=None, how="starttls", host="127.0.0.1", port=None, auth_reply=None, keywords=(), **options):
        capabilities = ["PIPELINING", "8BITMIME", *keywords]
        super().__init__(host=host, port=port, capabilities=capabilities, listening=False, tls=pair, **options)
        self.how, self.auth_reply = how, auth_reply
        self.listen()

    @property
    def how(self):
        return self._how

    @how.setter
    def how(self, how):
        self._how, self.is_implicit = how, how == "implicit"
        self.script.pop("STARTTLS", None)
        if how in REFUSALS:
            self.script["STARTTLS"] = REFUSALS[how]

    @property
    def auth_reply(self):
        return self.script.get("AUTH")

    @auth_reply.setter
    def auth_reply(self, reply):
        self.script["AUTH"] = reply

    def offers(self, session):
        offered = super().offers(session)
        if self.how == "none" and "STARTTLS" in offered:
            offered.remove("STARTTLS")
        if self.how in REFUSALS and "STARTTLS" not in offered:
            offered.append("STARTTLS")
        return offered

    @property
    def lines(self):
        return [line.decode("utf-8", "replace") for line in self.commands]

    @property
    def peers(self):
        return [session.peer[0] for session in self.sessions]

    @property
    def mails(self):
        """`{"mail", "rcpt", "tls", "version", "user", "data"}` of each message taken."""
        return [
            {
                "mail": f"MAIL FROM:<{t.sender}> {t.mail_parameters}".rstrip(),
                "rcpt": [f"RCPT TO:<{to}> {parameters}".rstrip() for to, parameters in t.offered],
                "tls": t.tls is not None,
                "version": t.tls,
                "user": t.user,
                "data": t.raw,
            }
            for t in self.messages
        ]

    def wait_for(self, count=1, timeout=20):
        super().wait_for(count, timeout)
        return self.mails


class WebServer:
    """An HTTP or HTTPS server on loopback: `answer(path, body)` gives status, headers and body."""

    def __init__(self, answer, pair=None, host="127.0.0.1", port=0):
        outer = self
        self.requests = []

        class Handler(BaseHTTPRequestHandler):
            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, body.decode()))
                status, headers, content = answer(self.path, body.decode())
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, HTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server((host, port), Handler)
        self.address = self.server.server_address
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def json_answer(status, value):
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()
