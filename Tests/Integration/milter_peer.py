"""milter_peer.py - a scripted milter: what it was told, and odd answers on demand (standard library only).

    ScriptedMilter({"E": [add("X-A", "b"), ACCEPT]})
    ScriptedMilter({"R": lambda data: [reply("550 5.1.1 no")] if b"bad@" in data else [CONTINUE]})

An answer is a packet, or one of HANG (nothing more is ever said), DIE (the connection is reset), or raw bytes.
"""

import socket
import struct
import threading

HANG, DIE = object(), object()
NOTICES = b"DAKQ"


def packet(letter, data=b""):
    return struct.pack("!I", len(data) + 1) + letter.encode() + data


def texts(*parts):
    return b"".join((p.encode() if isinstance(p, str) else p) + b"\0" for p in parts)


ACCEPT, CONTINUE, REJECT, TEMPFAIL, DISCARD = (packet(letter) for letter in "acrtd")
PROGRESS, SKIP = packet("p"), packet("s")


def reply(text):
    return packet("y", texts(text))


def add(name, value):
    return packet("h", texts(name, value))


def insert(index, name, value):
    return packet("i", struct.pack("!I", index) + texts(name, value))


def change(index, name, value):
    return packet("m", struct.pack("!I", index) + texts(name, value))


def quarantine(reason):
    return packet("q", texts(reason))


def body(data):
    return packet("b", data)


class ScriptedMilter:
    """Listens at `place`: an (ip, port), or the path of a Unix socket; the same answers for every message."""

    def __init__(self, answers=None, *, omit=0, actions=0x1FF, version=6, place=("127.0.0.1", 0)):
        self.answers, self.terms = answers or {}, (version, actions, omit)
        self.told, self.connections, self.quits = [], 0, 0
        self.errors = []
        family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(place)
        self.listener.listen(64)
        self.place = place if isinstance(place, str) else self.listener.getsockname()
        self.open, self.is_closed = [], False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def socket(self):
        """As `milters.ini` writes it."""
        return f"unix:{self.place}" if isinstance(self.place, str) else f"inet:{self.place[0]}:{self.place[1]}"

    def asked(self, letter):
        """The data of every packet of that letter."""
        return [data for said, data in self.told if said == letter]

    def macros(self, step):
        """The macros of the last such step."""
        data = [d for d in self.asked("D") if d[:1] == step.encode()][-1]
        parts = data[1:].split(b"\0")[:-1]
        return {parts[i].decode(): parts[i + 1].decode() for i in range(0, len(parts), 2)}

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                while True:
                    head = self._read(connection, 4)
                    if head is None:
                        return
                    data = self._read(connection, struct.unpack("!I", head)[0])
                    if data is None:
                        return
                    letter, data = chr(data[0]), data[1:]
                    self.told.append((letter, data))
                    if letter == "Q":
                        self.quits += 1
                        return
                    if not self._answer(connection, letter, data):
                        return
        except OSError:
            pass

    def _answer(self, connection, letter, data):
        answer = self.answers.get(letter)
        if callable(answer):
            answer = answer(data)
        if answer is None:
            if letter.encode() in NOTICES:
                return True
            version, actions, omit = self.terms
            answer = [packet("O", struct.pack("!III", version, actions, omit))] if letter == "O" else [CONTINUE]
        for part in answer:
            if part is HANG:
                while connection.recv(4096):
                    pass
                return False
            if part is DIE:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            connection.sendall(part)
        return True

    @staticmethod
    def _read(connection, count):
        data = b""
        while len(data) < count:
            piece = connection.recv(min(65536, count - len(data)))
            if not piece:
                return None
            data += piece
        return data

    def drop(self):
        """Ends the connections that stand."""
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    def close(self):
        self.listener.close()
        self.drop()
