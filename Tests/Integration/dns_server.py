"""dns_server.py - an authoritative DNS server of a few names, over UDP and TCP on loopback."""

from __future__ import annotations

import socket
import struct
import threading

from waiting import free_port

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "OPT": 41, "TLSA": 52}
TYPE_NAMES = {number: name for name, number in TYPES.items()}


def encode_name(name):
    """Wire form of `"a.b"`, or of a list of labels (bytes) for names that no text can say."""
    labels = name if isinstance(name, (list, tuple)) else [p.encode() for p in name.rstrip(".").split(".") if p]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(packet, at):
    labels, jumped = [], None
    for _ in range(128):
        length = packet[at]
        if length >= 0xC0:
            jumped = jumped or at + 2
            at = struct.unpack_from(">H", packet, at)[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels).lower(), jumped or at + 1
        else:
            labels.append(packet[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
    raise ValueError("name")


class DnsServer:
    """An answering server for a table of records, over UDP and TCP.

    records: `{("mx.test", "A"): ["127.0.0.1"], ("b.test", "MX"): [(10, "mx.test")], ...}`. A value may also be
    "SERVFAIL", "REFUSED", "NXDOMAIN", "SILENT" (no answer), "WRONG_ID" (a forged answer with A 127.0.0.66 or MX
    evil.test comes first with another id, nothing else), "TRUNCATE" (TC for UDP, the records are at `(name, type, 0)`),
    raw bytes (the packet after the id), or a function `(name, type) -> records`. A type "*" serves any type.
    CNAMEs are followed inside the table; a name without any record is NXDOMAIN.
    """

    CODES = {"SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}

    def __init__(self, records=None, host="127.0.0.1", port=None, ttl=1):
        self.records, self.ttl = dict(records or {}), ttl
        self.queries = []
        self.host = host
        self._udp = self._tcp = None
        for _ in range(50):
            self.port = port or free_port(host)
            try:
                self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                if port:  # beside somebody who has the port at every other address
                    self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._udp.bind((host, self.port))
                self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._tcp.bind((host, self.port))
                self._tcp.listen(64)
                break
            except OSError:
                self._udp.close()
                if self._tcp:
                    self._tcp.close()
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    @property
    def forward(self):
        return f"{self.host}@{self.port}"

    def close(self):
        for one in (self._udp, self._tcp):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def asked(self, name, kind=None):
        """How many queries came for a name."""
        return sum(1 for n, k in list(self.queries) if n == name and kind in (None, k))

    def _serve_udp(self):
        while True:
            try:
                packet, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            try:
                for answer in self._answers(packet, is_udp=True):
                    self._udp.sendto(answer, peer)
            except (ValueError, IndexError, struct.error, OSError):
                pass

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(connection,), daemon=True).start()

    def _serve_stream(self, connection):
        with connection:
            connection.settimeout(10)
            try:
                file = connection.makefile("rb")
                while True:
                    head = file.read(2)
                    if len(head) < 2:
                        return
                    for answer in self._answers(file.read(struct.unpack(">H", head)[0]), is_udp=False):
                        connection.sendall(struct.pack(">H", len(answer)) + answer)
            except (OSError, ValueError, IndexError, struct.error):
                return

    def _rdata(self, kind, value):
        if isinstance(value, bytes):
            return value
        if kind == "A":
            return socket.inet_pton(socket.AF_INET, value)
        if kind == "AAAA":
            return socket.inet_pton(socket.AF_INET6, value)
        if kind == "MX":
            return struct.pack(">H", value[0]) + encode_name(value[1])
        if kind in ("CNAME", "NS", "PTR"):
            return encode_name(value)
        if kind == "TXT":
            return bytes([len(value)]) + value.encode()
        raise ValueError(kind)

    def _lookup(self, name, kind):
        for key in ((name, kind), (name, "*")):
            if key in self.records:
                value = self.records[key]
                return value(name, kind) if callable(value) else value
        return None

    def _answers(self, packet, is_udp):
        identity, flags, questions = struct.unpack_from(">HHH", packet)
        if flags & 0x8000 or questions != 1:
            return
        name, at = decode_name(packet, 12)
        number = struct.unpack_from(">H", packet, at)[0]
        question = packet[12 : at + 4]
        kind = TYPE_NAMES.get(number, str(number))
        self.queries.append((name, kind))
        limit = 512
        if struct.unpack_from(">H", packet, 10)[0] and packet[at + 4 : at + 7] == b"\0\0\x29":
            limit = max(512, struct.unpack_from(">H", packet, at + 7)[0])

        def build(code, answers, number=identity, truncated=False, authority=()):
            head = struct.pack(
                ">HHHHHH",
                number,
                0x8580 | (flags & 0x0100) | (0x0200 if truncated else 0) | code,
                1,
                len(answers),
                len(authority),
                0,
            )
            return (
                head
                + question
                + b"".join(
                    encode_name(owner) + struct.pack(">HHIH", TYPES[t], 1, self.ttl, len(data)) + data
                    for owner, t, data in [*answers, *authority]
                )
            )

        soa = [
            (
                name.split(".")[-1] or ".",
                "SOA",
                encode_name("ns.test")
                + encode_name("host.test")
                + struct.pack(">IIIII", 1, 3600, 600, 86400, self.ttl),
            )
        ]
        answers, owner, seen = [], name, set()
        while True:
            value = self._lookup(owner, kind)
            if isinstance(value, bytes):
                yield struct.pack(">H", identity) + value
                return
            if value == "SILENT":
                return
            if value == "WRONG_ID":
                forged = [(owner, kind, self._rdata(kind, "127.0.0.66" if kind == "A" else (1, "evil.test")))]
                yield build(0, forged, (identity + 1) & 0xFFFF)
                return
            if value == "TRUNCATE":
                if is_udp:
                    yield build(0, [], truncated=True)
                    return
                value = self.records[(owner, kind, 0)]
            if isinstance(value, str) and value in self.CODES:
                yield build(self.CODES[value], answers, authority=soa if value == "NXDOMAIN" else ())
                return
            if value is not None:
                for one in value:
                    answers.append((owner, kind, self._rdata(kind, one)))
                break
            alias = self._lookup(owner, "CNAME")
            if alias is None or owner in seen:
                break
            seen.add(owner)
            if isinstance(alias, list):
                alias = alias[0]
            answers.append((owner, "CNAME", encode_name(alias)))
            owner = alias
        exists = value is not None or any(key[0] == owner for key in list(self.records))
        packet = build(0 if exists or answers else 3, answers, authority=() if answers else soa)
        if is_udp and len(packet) > limit:
            packet = build(0, [], truncated=True)
        yield packet
