#!/usr/bin/env python3
"""demo.py MARTLET CONFIG — one mail through a relay, all on this machine: a client, Martlet, a next hop.

A copy of CONFIG gets a free port and one route: every domain to the next hop below, which prints what it takes.
Exits 0 when the mail has arrived.
"""

import email
import shutil
import signal
import smtplib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

arrived = threading.Event()


class NextHop(socketserver.StreamRequestHandler):
    """Just enough of RFC 5321 to take a mail."""

    def handle(self):
        self.say("220 next-hop.test")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.say("354 go on")
                body = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    body.append(line[1:] if line.startswith(b".") else line)
                print("\nThe next hop got this mail:\n")
                print("    " + b"".join(body).decode("utf-8", "replace").replace("\r\n", "\n    "), flush=True)
                self.say("250 2.0.0 Ok, taken by the next hop")
                arrived.set()
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(martlet, shipped):
    with tempfile.TemporaryDirectory(prefix="martlet-demo-") as scratch:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), NextHop)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config, port = Path(scratch, "config"), free_port()
        shutil.copytree(shipped, config)
        Path(scratch, "data").mkdir()
        (config / "smtp.ini").write_text(f"listen = 127.0.0.1:{port}\n")
        (config / "routes.ini").write_text(f"[*]\nmx = 127.0.0.1:{server.server_address[1]}\n")
        relay = subprocess.Popen(
            [martlet, "serve", "--config", config, "--data", Path(scratch, "data")], stderr=subprocess.PIPE, text=True)
        try:
            for line in relay.stderr:
                print("relay:", line, end="", flush=True)
                if " ready" in line:
                    break
            else:
                return 1
            log = threading.Thread(target=lambda: [print("relay:", line, end="", flush=True) for line in relay.stderr])
            log.start()
            message = email.message_from_string("Subject: First flight\n\nThis mail went through Martlet.\n")
            print("\nA client hands a mail to the relay ...", flush=True)
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.send_message(message, "you@example.org", ["somebody@example.com"])
            if not arrived.wait(30):
                print("It did not arrive within 30 seconds: see the log above.", file=sys.stderr)
                return 1
        finally:
            relay.send_signal(signal.SIGTERM)
            relay.wait(30)
        log.join(5)
        print("\nIt arrived. Your own relay: deploy/quickstart.sh")
        return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
