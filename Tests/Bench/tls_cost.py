#!/usr/bin/env python3
"""tls_cost.py - CPU per message of relays that take mail by STARTTLS and pass it on by STARTTLS, on loopback.

  tls_cost.py --relay postfix-tuned --relay 'martlet,port=2700,sink=2560,cmd=...' [--repeat 3] [-n 2000] [--sessions 10] [--out FILE]

The client is openssl's libssl by way of Python: each session says EHLO, STARTTLS, EHLO and then sends its messages, all in
one connection (`d`) or a connection each (`1`). The sink is Postfix with TLS that throws everything away (setup-peers.sh).
Only the relays' own control groups are measured, so that neither client nor sink counts. The order is rotated: A B, A B.
A JSON line for each run, then medians and ratios to the first relay named, of the same round.
"""

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_matrix
from run_matrix import P, Relay, quiet_machine, spin

SINK = 2570
run_matrix.RELAYS["postfix-tls"] = (
    2621,
    SINK,
    run_matrix.postfix("postfix-tls"),
    f"/usr/sbin/postfix -c {P}/postfix-tls/conf stop",
)


class Client:
    """Sends by STARTTLS; sessions are resumed where the relay allows, as clients do."""

    def __init__(self, port, size):
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.session = None
        line = b"x" * 76 + b"\r\n"
        self.body = (b"From: a@src.test\r\nSubject: x\r\n\r\n" + line * (size // len(line) + 1))[:size] + b"\r\n.\r\n"

    def connect(self):
        self.raw = socket.create_connection(("127.0.0.1", self.port), 30)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.raw
        self.hear(b"220"), self.say(b"EHLO c.test\r\n", b"250"), self.say(b"STARTTLS\r\n", b"220")
        self.sock = self.context.wrap_socket(self.raw, server_hostname="relay.test", session=self.session)
        self.say(b"EHLO c.test\r\n", b"250")
        self.session = self.sock.session

    def hear(self, code):
        text = b""
        while True:
            text += self.sock.recv(4096)
            lines = text.split(b"\r\n")
            if text.endswith(b"\r\n") and lines[-2][3:4] == b" ":
                assert lines[-2].startswith(code), text
                return

    def say(self, command, code):
        self.sock.sendall(command)
        self.hear(code)

    def message(self):
        self.say(b"MAIL FROM:<a@src.test>\r\n", b"250"), self.say(b"RCPT TO:<user@dst.test>\r\n", b"250")
        self.say(b"DATA\r\n", b"354"), self.say(self.body, b"250")

    def close(self):
        self.say(b"QUIT\r\n", b"221")
        self.sock.close()


def send(port, count, size, sessions, keeps, errors):
    def run(share):
        try:
            client = Client(port, size)
            if keeps:
                client.connect()
            for _ in range(share):
                if not keeps:
                    client.connect()
                client.message()
                if not keeps:
                    client.close()
            if keeps:
                client.close()
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(count // sessions,)) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Sink:
    """Postfix that takes mail by TLS and discards it; counted in its log."""

    def __init__(self, port):
        self.directory = f"{P}/sink-tls-{port}"
        self.log = f"/dev/shm/relaybench/sink-tls-{port}.log"
        subprocess.run(["/usr/sbin/postfix", "-c", f"{self.directory}/conf", "start"], check=True, capture_output=True)

    def count(self):
        try:
            with open(self.log, "rb") as log:
                return log.read().count(b"status=sent")
        except FileNotFoundError:
            return 0

    def stop(self):
        subprocess.run(["/usr/sbin/postfix", "-c", f"{self.directory}/conf", "stop"], capture_output=True)


def one(relay, sink, count, size, sessions, keeps):
    before, cpu, began, errors, speed = sink.count(), relay.g.cpu(), time.time(), [], spin()
    send(relay.port, count, size, sessions, keeps, errors)
    accepted = time.time() - began
    while sink.count() - before < count and time.time() - began < 180 and not errors:
        time.sleep(0.05)
    delivered = time.time() - began
    time.sleep(0.3)
    after = relay.g.cpu()
    got = sink.count() - before
    result = {
        "relay": relay.name,
        "mode": "d" if keeps else "1",
        "size": size,
        "sessions": sessions,
        "n": count,
        "accepted_s": round(count / accepted, 1),
        "delivered_s": round(count / delivered, 1),
        "cpu_us": round((after[0] - cpu[0]) / count, 1),
        "user_us": round((after[1] - cpu[1]) / count, 1),
        "sys_us": round((after[2] - cpu[2]) / count, 1),
        "spin_ms": round(speed, 1),
    }
    if errors or got < count:
        result["error"] = (errors or [f"only {got} delivered"])[0]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relay", action="append", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--modes", default="d,1")
    parser.add_argument("--out")
    a = parser.parse_args()
    os.makedirs("/dev/shm/relaybench", exist_ok=True)
    relays = [Relay(spec) for spec in a.relay]
    sink, results = Sink(SINK), []
    try:
        for relay in relays:
            relay.start()
        for mode in a.modes.split(","):
            for relay in relays:
                one(relay, sink, 10 * a.sessions, a.size, a.sessions, mode == "d")
            for round_ in range(a.repeat):
                for relay in relays:
                    quiet_machine(0.25)
                    result = {**one(relay, sink, a.n, a.size, a.sessions, mode == "d"), "i": round_}
                    results.append(result)
                    print(json.dumps(result), flush=True)
                    if a.out:
                        with open(a.out, "a") as out:
                            out.write(json.dumps(result) + "\n")
            for relay in relays:
                mine = [r for r in results if r["relay"] == relay.name and r["mode"] == mode]
                first = {r["i"]: r for r in results if r["relay"] == relays[0].name and r["mode"] == mode}
                ratio = statistics.median(r["cpu_us"] / first[r["i"]]["cpu_us"] for r in mine)
                print(
                    f"# {mode} {relay.name:16} cpu_us={statistics.median(r['cpu_us'] for r in mine):g} (x{ratio:.3f})"
                    f" accepted_s={statistics.median(r['accepted_s'] for r in mine):g}",
                    flush=True,
                )
    finally:
        for relay in relays:
            relay.stop()
        sink.stop()


if __name__ == "__main__":
    main()
