"""tls_peers.py - next hops that speak TLS and AUTH, well or badly, and the certificates for them (made by openssl)."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import socketserver
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from waiting import free_port, wait_until


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

    def issue(self, *names, expired=False, self_signed=False):
        """Paths of a certificate chain and its key for these host names or addresses."""
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
            "/CN=peer",
            "-keyout",
            key,
            "-out",
            request,
        )
        extensions = stem.with_suffix(".ext")
        words = ",".join(f"{'IP' if name[0].isdigit() else 'DNS'}:{name}" for name in names)
        extensions.write_text(f"subjectAltName={words}\nbasicConstraints=CA:FALSE\n")
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


class TLSPeer:
    """An SMTP server that notes what it saw.

    how: `starttls`, `implicit`, `none` (not offered), `refuse` (454), `garbage` (no TLS behind the 220), `hang` (silence
    behind it), `drop`, `inject` (a reply in the clear behind it). users: `{name: password}`; mechanisms: what is offered;
    clear: offered without TLS too. auth_reply: said instead of judging the password.
    """

    def __init__(
        self,
        pair=None,
        how="starttls",
        host="127.0.0.1",
        port=None,
        users=None,
        mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"),
        clear=False,
        auth_reply=None,
        needs_auth=False,
        keywords=(),
        tokens=(),
    ):
        self.how, self.users, self.mechanisms, self.clear = how, users, list(mechanisms), clear
        self.auth_reply, self.needs_auth, self.keywords, self.tokens = (
            auth_reply,
            needs_auth,
            list(keywords),
            set(tokens),
        )
        self.mails, self.logins, self.names, self.lines = [], [], [], []
        self.connections, self.peers = 0, []
        self.context = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
            self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port or free_port(host)), family=family, backlog=64)
        self.address = self.listener.getsockname()
        self.closing = threading.Event()
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closing.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in self.open:
            try:
                sock.close()
            except OSError:
                pass

    def wait_for(self, count, timeout=20):
        wait_until(
            lambda: len(self.mails) >= count,
            timeout,
            lambda: f"{count} mails, got {len(self.mails)}: {self.lines[-20:]}",
        )
        return self.mails

    def _accept(self):
        while not self.closing.is_set():
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.peers.append(peer[0])
            self.open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self._talk(sock)
        except (OSError, ValueError, EOFError):
            pass
        finally:
            try:
                sock.close()
            except OSError:
                pass

    def _talk(self, sock):
        secure = None
        if self.how == "implicit":
            sock = secure = self.context.wrap_socket(sock, server_side=True)
        reader = sock.makefile("rb")
        user, envelope = None, None

        def say(*lines):
            sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

        def hear():
            line = reader.readline()
            if not line:
                raise EOFError
            self.lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            return self.lines[-1]

        say("220 peer.test ESMTP")
        while True:
            line = hear()
            verb = line.split(" ")[0].upper()
            if verb in ("EHLO", "LHLO"):
                offers = ["peer.test", "PIPELINING", "8BITMIME"] + self.keywords
                if self.how not in ("none", "implicit") and not secure:
                    offers.append("STARTTLS")
                if self.users is not None and (secure or self.clear):
                    offers.append("AUTH " + " ".join(self.mechanisms))
                say(*[f"250-{o}" for o in offers[:-1]], f"250 {offers[-1]}")
            elif verb == "STARTTLS":
                if self.how == "refuse":
                    say("454 4.7.0 no TLS today")
                    continue
                if self.how == "inject":
                    say("220 go", "250 peer.test")
                    continue
                say("220 2.0.0 go")
                if self.how == "garbage":
                    say("this is no TLS at all")
                    continue
                if self.how == "hang":
                    self.closing.wait(60)
                    return
                if self.how == "drop":
                    return
                sock = secure = self.context.wrap_socket(sock, server_side=True)
                self.open.append(sock)
                reader = sock.makefile("rb")
                user = None
            elif verb == "AUTH":
                user = self._login(line, say, hear)
                if user:
                    self.logins.append((line.split(" ")[1].upper(), user))
                    say("235 2.7.0 welcome")
                else:
                    say(self.auth_reply or "535 5.7.8 wrong user name or password")
            elif verb == "MAIL":
                if self.needs_auth and not user:
                    say("530 5.7.0 authentication required")
                    continue
                envelope = {"mail": line, "rcpt": [], "tls": secure is not None, "user": user}
                if secure:
                    envelope["version"] = secure.version()
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                if envelope is None:
                    say("503 5.5.1 MAIL first")
                else:
                    envelope["rcpt"].append(line)
                    say("250 2.1.5 ok")
            elif verb == "DATA":
                if envelope is None or not envelope["rcpt"]:
                    say("503 5.5.1 RCPT first")
                    continue
                say("354 go")
                data = b""
                while True:
                    piece = reader.readline()
                    if not piece:
                        raise EOFError
                    if piece == b".\r\n":
                        break
                    data += piece
                envelope["data"] = data
                self.mails.append(envelope)
                envelope = None
                say("250 2.0.0 taken")
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def _login(self, line, say, hear):
        words = line.split(" ")
        mechanism = words[1].upper()

        def ask(challenge):
            say("334 " + base64.b64encode(challenge).decode())
            return base64.b64decode(hear())

        if mechanism == "CRAM-MD5":
            challenge = b"<1.2@peer.test>"
            name, _, proof = ask(challenge).decode().rpartition(" ")
            good = (
                name in self.users and hmac.new(self.users[name].encode(), challenge, hashlib.md5).hexdigest() == proof
            )
        elif mechanism == "LOGIN":
            name, password = ask(b"Username:").decode(), ask(b"Password:").decode()
            good = self.users.get(name) == password
        elif mechanism == "PLAIN":
            _, name, password = (base64.b64decode(words[2]) if len(words) > 2 else ask(b"")).decode().split("\0")
            good = self.users.get(name) == password
        else:
            message = (base64.b64decode(words[2]) if len(words) > 2 else ask(b"")).decode()
            fields = dict(f.split("=", 1) for f in message.replace(",", "\1").split("\1") if "=" in f)
            name = fields.get("user") or fields.get("a", "")
            good = fields.get("auth", "").removeprefix("Bearer ") in self.tokens
            if not good:
                ask(b'{"status":"401"}')
        return name if good and not self.auth_reply else None


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
