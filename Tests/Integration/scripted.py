"""scripted.py - a next hop that follows a script: what it says at each stage, and what it records."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import socket
import struct
import threading
import time

from smtp_client import split_trace, un_dot_stuff
from waiting import free_port, host_port, is_readable, wait_until


class Action:
    """What a scripted peer does at a stage. A str is a reply (CRLF added), bytes go out as they are, None is the usual
    reply, a function `(session, argument)` returns one of these."""


@dataclasses.dataclass
class Drop(Action):
    """Sends `before`, then closes (FIN)."""

    before: bytes = b""


@dataclasses.dataclass
class Reset(Action):
    """Sends `before`, then closes with RST."""

    before: bytes = b""


@dataclasses.dataclass
class Stall(Action):
    """Stays silent; then does `then`. Ends early when the server is closed or healed, or the peer hangs up."""

    seconds: float = 3600
    then: object = dataclasses.field(default_factory=Drop)


@dataclasses.dataclass
class Drip(Action):
    """Sends `data` one octet at a time."""

    data: bytes
    interval: float = 0.5


@dataclasses.dataclass
class Do(Action):
    """Several actions one after another."""

    actions: tuple

    def __init__(self, *actions):
        self.actions = actions


@dataclasses.dataclass
class Sequence(Action):
    """The first time the first action, then the second ... over the whole server; the last one stays."""

    actions: list
    used: int = 0

    def __init__(self, *actions):
        self.actions, self.used, self.lock = list(actions), 0, threading.Lock()

    def next(self):
        with self.lock:
            self.used += 1
            return self.actions[min(self.used, len(self.actions)) - 1]


@dataclasses.dataclass
class ByRecipient(Action):
    """For RCPT, and DOT over LMTP: an action by address; anything else gets `default`."""

    actions: dict
    default: object = None


@dataclasses.dataclass
class Transaction:
    """What one MAIL led to, octet for octet."""

    session: Session
    sender: str
    mail_parameters: str
    recipients: list = dataclasses.field(default_factory=list)  # accepted, addresses
    offered: list = dataclasses.field(default_factory=list)  # all, (address, parameters)
    raw: bytes = b""  # with dots, without the final dot line
    data: bytes = b""  # as meant
    is_complete: bool = False  # the final dot has come
    accepted: list = dataclasses.field(default_factory=list)  # recipients for whom 2xx was sent after the dot
    time: float = 0.0


class Session:
    """One connection to a `ScriptedServer`."""

    def __init__(self, server, connection, peer, number):
        self.server, self.socket, self.peer, self.number = server, connection, peer, number
        self.commands = []  # lines without CRLF, bytes
        self.violations = []  # what a client must not do
        self.transactions = []
        self.buffer = b""
        self.helo = None
        self.is_open = True
        self._verdict = None
        self.opened = time.monotonic()
        self.ended = None  # "quit", "peer closed", "dropped", "reset"

    # -- input

    def _fill(self):
        try:
            data = self.socket.recv(262144)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self._fill()
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            self.violations.append(f"line end in {line!r}")
        return line.rstrip(b"\r")

    def content(self):
        """The octets up to the final dot line, dots still doubled."""
        _parts, searched = [self.buffer], 0
        data = bytearray(self.buffer)
        if data.startswith(b".\r\n"):
            self.buffer = bytes(data[3:])
            return b""
        while True:
            at = data.find(b"\r\n.\r\n", max(0, searched - 4))
            if at >= 0:
                self.buffer = bytes(data[at + 5 :])
                return bytes(data[: at + 2])
            searched = len(data)
            self.buffer = b""
            self._fill()
            data += self.buffer
            if searched < 3 and data.startswith(b".\r\n"):
                self.buffer = bytes(data[3:])
                return b""

    # -- output

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            raise EOFError from None

    def hang_up(self, how="dropped", reset=False):
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ended = how
        raise EOFError

    def perform(self, action, usual, argument=None):
        """Carries out an action; returns the first reply code that went out, or None."""
        if isinstance(action, Sequence):
            return self.perform(action.next(), usual, argument)
        if isinstance(action, ByRecipient):
            return self.perform(action.actions.get(argument, action.default), usual, argument)
        if action is None:
            return self.perform(usual, usual, argument)
        if isinstance(action, str):
            text = action.replace("\r\n", "\n").replace("\n", "\r\n").encode()
            return self.perform(text + b"\r\n", usual, argument)
        if isinstance(action, bytes):
            code = int(action[:3]) if re.match(rb"[2-5]\d\d(?:[ -]|\r)", action) else None
            if code and self._verdict:
                self._verdict, verdict = None, self._verdict
                verdict(code)
            self.send(action)
            return code
        if isinstance(action, Drop):
            if action.before:
                self.send(action.before)
            self.hang_up()
        if isinstance(action, Reset):
            if action.before:
                self.send(action.before)
            self.hang_up("reset", reset=True)
        if isinstance(action, Stall):
            generation, end = self.server.generation, time.monotonic() + action.seconds
            while time.monotonic() < end and self.server.generation == generation:
                if is_readable(self.socket, min(0.1, max(0, end - time.monotonic()))):
                    try:
                        data = self.socket.recv(65536)
                    except OSError:
                        data = b""
                    if not data:
                        raise EOFError
                    self.buffer += data
            return self.perform(action.then, usual, argument)
        if isinstance(action, Drip):
            generation = self.server.generation
            for octet in action.data[:-1]:
                self.send(bytes([octet]))
                if self.server.generation == generation:
                    time.sleep(action.interval)
            code = int(action.data[:3]) if re.match(rb"[2-5]\d\d(?:[ -]|\r)", action.data) else None
            if code and self._verdict:
                self._verdict(code)
            self.send(action.data[-1:])
            return code
        if isinstance(action, Do):
            codes = [self.perform(one, usual, argument) for one in action.actions]
            return next((code for code in codes if code), None)
        return self.perform(action(self, argument), usual, argument)

    def stage(self, name, usual, argument=None):
        return self.perform(self.server.script.get(name), usual, argument)

    def no_early(self, where):
        """The client must not have sent anything beyond this point."""
        if not self.buffer and is_readable(self.socket, 0):
            try:
                self._fill()
            except EOFError:
                return
        if self.buffer:
            self.violations.append(f"octets before the reply to {where}: {self.buffer[:80]!r}")

    # -- dialogue

    def run(self):
        try:
            self.no_early("connect")
            self.stage("BANNER", f"220 {self.server.name} ESMTP")
            while True:
                self.one(self.line())
        except EOFError:
            self.ended = self.ended or "peer closed"
        finally:
            self.is_open = False
            try:
                self.socket.close()
            except OSError:
                pass

    def one(self, line):
        self.commands.append(line)
        text = line.decode("utf-8", "surrogateescape")
        verb = text.split(" ")[0].upper().rstrip()
        current = self.transactions[-1] if self.transactions and not self.transactions[-1].is_complete else None
        if verb in ("EHLO", "LHLO", "HELO"):
            self.helo = text
            if verb == "HELO":
                self.stage(verb, f"250 {self.server.name}")
                return
            self.no_early(verb)
            lines = [self.server.name, *self.server.capabilities]
            self.stage(
                verb,
                "\n".join(f"250{'-' if number < len(lines) - 1 else ' '}{one}" for number, one in enumerate(lines)),
            )
        elif verb == "MAIL":
            match = re.fullmatch(r"MAIL FROM:<((?:\"(?:\\.|[^\"\\])*\"|[^>\"])*)> ?(.*)", text, re.I | re.S)
            if not match:
                self.violations.append(f"syntax of {line!r}")
                self.perform("501 5.5.4 Syntax", None)
                return
            if self.stage("MAIL", "250 2.1.0 Ok", match[1]) == 250:
                transaction = Transaction(self, match[1], match[2], time=time.monotonic())
                self.transactions.append(transaction)
        elif verb == "RCPT":
            match = re.fullmatch(r"RCPT TO:<((?:\"(?:\\.|[^\"\\])*\"|[^>\"])*)> ?(.*)", text, re.I | re.S)
            if not match:
                self.violations.append(f"syntax of {line!r}")
                self.perform("501 5.5.4 Syntax", None)
                return
            if current is None:
                self.perform("503 5.5.1 MAIL first", None)
                return
            current.offered.append((match[1], match[2]))
            if self.stage("RCPT", "250 2.1.5 Ok", match[1]) in (250, 251):
                current.recipients.append(match[1])
        elif verb == "DATA":
            if current is None or not current.recipients:
                self.perform("503 5.5.1 No valid recipients", None)
                return
            self.no_early("DATA")
            if self.stage("DATA", "354 Go ahead") == 354:
                self.body(current)
        elif verb == "RSET":
            if current:
                self.transactions.remove(current)
            self.stage("RSET", "250 2.0.0 Ok")
        elif verb == "QUIT":
            self.stage("QUIT", "221 2.0.0 Bye")
            self.hang_up("quit")
        else:
            self.stage(verb, "250 2.0.0 Ok" if verb == "NOOP" else "502 5.5.2 What?")

    def body(self, transaction):
        slow = self.server.script.get("BODY")
        if slow is not None:
            self.perform(slow, b"")
        transaction.raw = self.content()
        transaction.data = un_dot_stuff(transaction.raw)
        transaction.is_complete = True
        transaction.time = time.monotonic()
        if re.search(rb"(?<!\r)\n|\r(?!\n)", transaction.raw):
            self.violations.append("bare CR or LF in content")
        for line in transaction.raw.split(b"\r\n"):
            if line.startswith(b".") and not line.startswith(b".."):
                self.violations.append(f"line not dot-stuffed: {line[:40]!r}")
        if not self.server.keeps_content:
            transaction.raw, transaction.data = b"", hashlib.sha256(split_trace(transaction.data)[1]).digest()
        self.server.record(transaction)
        # `_verdict` runs before the reply is written: whoever has seen a 250 finds the ledger up to date
        if self.server.is_lmtp:
            for recipient in transaction.recipients:
                self._verdict = lambda code, one=recipient: code // 100 == 2 and transaction.accepted.append(one)
                self.stage("DOT", "250 2.1.5 Ok", recipient)
        else:
            self._verdict = lambda code: code // 100 == 2 and transaction.accepted.extend(transaction.recipients)
            self.stage("DOT", "250 2.0.0 Ok", transaction)
        self._verdict = None


class ScriptedServer:
    """An SMTP or LMTP peer that behaves as its script says.

    script: `{stage: action}` with the stages BANNER, EHLO, HELO, LHLO, MAIL, RCPT, DATA, BODY (before the content is
    read), DOT, RSET, NOOP, QUIT; see `Action`. `heal()` empties it. `refuse()` stops listening, `listen()` starts again
    on the same port.
    """

    CAPABILITIES = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")

    def __init__(
        self,
        script=None,
        *,
        lmtp=False,
        capabilities=None,
        name="peer.test",
        host="127.0.0.1",
        port=None,
        listening=True,
        receive_buffer=None,
        backlog=1024,
        keeps_content=True,
    ):
        self.keeps_content = keeps_content  # false: `data` of a transaction becomes its SHA-256, for gigabytes
        self.script = dict(script or {})
        self.is_lmtp, self.name = lmtp, name
        self.capabilities = list(self.CAPABILITIES if capabilities is None else capabilities)
        self.host, self.port = host, port or free_port(host)
        self.receive_buffer, self.backlog = receive_buffer, backlog
        self.sessions, self.transactions, self.generation = [], [], 0
        self._listener = None
        self._lock = threading.Lock()
        self._closed = False
        if listening:
            self.listen()

    @property
    def address(self):
        return (self.host, self.port)

    @property
    def route(self):
        """What follows `mx =` in routes.ini."""
        return host_port(self.address) + (" using_lmtp=true" if self.is_lmtp else "")

    def listen(self):
        if self._listener is None:
            listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.receive_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            listener.bind(self.address)
            listener.listen(self.backlog)
            self._listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def refuse(self):
        """No longer accepts connections (ECONNREFUSED); open sessions go on."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def heal(self, script=None):
        """From now on the usual peer (or `script`); stalls end."""
        self.script = dict(script or {})
        self.generation += 1

    def hang_up_all(self, reset=False):
        """Closes every open session at once."""
        for session in list(self.sessions):
            if session.is_open:
                try:
                    if reset:
                        session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    session.socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self._closed = True
        self.generation += 1
        self.refuse()
        self.hang_up_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self, listener):
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                session = Session(self, connection, peer, len(self.sessions))
                self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    def record(self, transaction):
        with self._lock:
            self.transactions.append(transaction)

    # -- what happened

    @property
    def messages(self):
        """Transactions accepted after the dot for at least one recipient."""
        return [t for t in list(self.transactions) if t.accepted]

    @property
    def violations(self):
        return [v for session in list(self.sessions) for v in session.violations]

    @property
    def commands(self):
        return [c for session in list(self.sessions) for c in session.commands]

    def copies(self):
        """`{recipient: number of accepted copies}`."""
        counts = {}
        for transaction in self.messages:
            for recipient in transaction.accepted:
                counts[recipient] = counts.get(recipient, 0) + 1
        return counts

    def wait_for(self, count=1, timeout=15.0):
        """Waits for so many accepted messages, and returns them all."""
        wait_until(
            lambda: len(self.messages) >= count,
            timeout,
            lambda: f"{count} messages at {self.name}: {len(self.messages)} came, {len(self.sessions)} sessions",
        )
        return self.messages

    def wait_transactions(self, count=1, timeout=15.0):
        """Waits for so many final dots, whatever the reply."""
        wait_until(
            lambda: len(self.transactions) >= count,
            timeout,
            lambda: f"{count} dots at {self.name}: {len(self.transactions)} came",
        )
        return self.transactions

    def wait_sessions(self, count=1, timeout=15.0):
        wait_until(
            lambda: len(self.sessions) >= count,
            timeout,
            lambda: f"{count} sessions at {self.name}: {len(self.sessions)} came",
        )
        return self.sessions


class Sink(ScriptedServer):
    """A peer that takes everything and keeps it octet for octet: `messages`, `copies()`, `by_subject()`."""

    def by_subject(self):
        """`{subject: [transaction]}` for ledgers: tests put a unique token in the Subject."""
        found = {}
        for transaction in self.messages:
            match = re.search(rb"^Subject: *([^\r\n]*)", transaction.data, re.M | re.I)
            found.setdefault(match[1].decode("utf-8", "replace") if match else "", []).append(transaction)
        return found
