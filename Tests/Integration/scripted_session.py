"""scripted_session.py - one connection to a `scripted.ScriptedServer`: the dialogue, its stages, and what it books."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import inspect
import re
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from smtp_client import split_trace, un_dot_stuff
from steps import Action

PATH = re.compile(r"(?:MAIL FROM|RCPT TO): ?<((?:\"(?:\\.|[^\"\\])*\"|[^>\"])*)> ?(.*)", re.I | re.S)
REPLY = re.compile(rb"([2-5]\d\d)(?:-[^\n]*\n\1)*(?: [^\n]*)?\r?\n")
MARK = re.compile(rb"^X-Mark: *(\S+)\r\n", re.M | re.I)
JUDGED = 65536  # octets of one answer that are looked at
_functions = ThreadPoolExecutor(256, "script")


def reply_code(said):
    """The code of the first reply in these octets; None while it is not whole, or when its lines disagree."""
    match = REPLY.match(said)
    return int(match[1]) if match else None


@dataclasses.dataclass(eq=False)
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
    accepted: list = dataclasses.field(default_factory=list)  # recipients for whom 25x was sent after the dot
    doubtful: list = dataclasses.field(default_factory=list)  # recipients for whom neither yes nor no was sent
    time: float = 0.0
    tls: str | None = None  # the version, None in the clear
    user: str | None = None  # logged in as

    @property
    def mark(self):
        """The message's X-Mark, an empty text when it has none."""
        found = MARK.search(self.data.split(b"\r\n\r\n", 1)[0] + b"\r\n")
        return found[1].decode() if found else ""


class Session:
    """One connection to a `ScriptedServer`."""

    def __init__(self, server, wire, peer, number):
        self.server, self.wire, self.peer, self.number = server, wire, peer, number
        self.commands = []  # lines without CRLF, bytes
        self.violations = []  # what a client must not do
        self.transactions = []
        self.buffer = bytearray()
        self.helo = None
        self.user = None
        self.dots = 0  # contents that came to their end
        self.offered = 0  # RCPT commands of this transaction
        self.is_open = True
        self.opened = time.monotonic()
        self.ended = None  # "quit", "peer closed", "dropped", "reset"
        self.said = bytearray()  # the answer of this stage so far
        self.verdict = None  # told the code of this stage's answer, before it goes out
        self.reads_content = False

    @property
    def socket(self):
        return self.wire.socket

    # -- input

    async def fill(self):
        data = await self.wire.receive()
        if self.server.rate:
            await asyncio.sleep(len(data) / self.server.rate)
        self.buffer += data

    def take_early(self):
        """What has come already, into the buffer."""
        self.buffer += self.wire.receive_now()

    async def line(self):
        while (at := self.buffer.find(b"\n")) < 0:
            await self.fill()
        line = bytes(self.buffer[:at])
        del self.buffer[: at + 1]
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            self.violations.append(f"line end in {line!r}")
        return line.rstrip(b"\r")

    async def content(self):
        """The octets up to the final dot line, dots still doubled."""
        searched = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                del self.buffer[:3]
                return b""
            at = self.buffer.find(b"\r\n.\r\n", max(0, searched - 4))
            if at >= 0:
                content = bytes(self.buffer[: at + 2])
                del self.buffer[: at + 5]
                return content
            searched = len(self.buffer)
            await self.fill()

    def no_early(self, where):
        """The client must not have sent anything beyond this point."""
        if not self.buffer:
            try:
                self.take_early()
            except EOFError:
                return
        if self.buffer:
            self.violations.append(f"octets before the reply to {where}: {bytes(self.buffer[:80])!r}")

    # -- output

    async def send(self, data):
        if len(self.said) < JUDGED:
            self.said += data
            if self.verdict and (code := reply_code(self.said)):
                self.judge(code)
        await self.wire.send(data)

    def hang_up(self, how="dropped"):
        self.ended = how
        raise EOFError

    def judge(self, code):
        verdict, self.verdict = self.verdict, None
        if verdict:
            verdict(code)

    async def perform(self, action, usual, argument=None):
        """Carries out what a script says."""
        if action is None:
            if self.server.delay:
                await asyncio.sleep(self.server.delay)
            action = usual
        if isinstance(action, Action):
            await action.perform(self, usual, argument)
        elif isinstance(action, str):
            await self.send(action.replace("\r\n", "\n").replace("\n", "\r\n").encode() + b"\r\n")
        elif isinstance(action, bytes):
            if action:
                await self.send(action)
        elif inspect.iscoroutinefunction(action):
            await self.perform(await action(self, argument), usual, argument)
        elif action is not None:
            loop = asyncio.get_running_loop()
            await self.perform(await loop.run_in_executor(_functions, action, self, argument), usual, argument)

    def scripted(self, *names):
        return next((found for name in names if (found := self.server.script.get(name)) is not None), None)

    async def stage(self, names, usual, argument=None, verdict=None):
        """Performs the first of the names that is in the script; the code of the first reply, None when there was none."""
        self.said, self.verdict = bytearray(), verdict
        try:
            await self.perform(self.scripted(*names.split()), usual, argument)
        finally:
            self.judge(int(self.said[:1]) * 100 if self.said[:1] in (b"4", b"5") else None)
        return reply_code(self.said)

    @property
    def is_refused(self):
        """Whether the answer of the last stage was a clear no."""
        return self.said[:1] in (b"4", b"5")

    # -- dialogue

    async def run(self):
        try:
            if self.server.is_implicit:
                self.buffer += await self.wire.start_tls(self.server.context)
            self.no_early("connect")
            await self.stage("BANNER", f"220 {self.server.name} ESMTP")
            while True:
                await self.one(await self.line())
        except EOFError:
            self.ended = self.ended or "peer closed"
        except asyncio.CancelledError:
            self.ended = self.ended or "dropped"
        except Exception as error:
            traceback.print_exc()
            self.violations.append(f"the script itself: {error!r}")
        finally:
            self.is_open = False
            self.wire.close()

    @property
    def current(self):
        """The transaction that is being received."""
        return self.transactions[-1] if self.transactions and not self.transactions[-1].is_complete else None

    def begin(self, sender, parameters=""):
        transaction = Transaction(
            self, sender, parameters, time=time.monotonic(), tls=self.wire.version, user=self.user
        )
        self.transactions.append(transaction)
        return transaction

    def clear(self):
        self.offered = 0
        if self.current:
            self.transactions.pop()

    async def one(self, line):
        self.commands.append(line)
        text = line.decode("utf-8", "surrogateescape")
        verb = text.split(" ")[0].split(":")[0].upper().rstrip()
        if verb in ("EHLO", "LHLO", "HELO"):
            await self.greet(verb, text)
        elif verb in ("MAIL", "RCPT"):
            match = PATH.fullmatch(text)
            if not match:
                self.violations.append(f"syntax of {line!r}")
                await self.perform("501 5.5.4 Syntax", None)
            elif verb == "MAIL":
                await self.mail(match[1], match[2])
            else:
                await self.rcpt(match[1], match[2])
        elif verb == "DATA":
            await self.data()
        elif verb == "RSET":
            self.clear()
            await self.stage("RSET", "250 2.0.0 Ok")
        elif verb == "STARTTLS" and self.server.context and not self.wire.tls:
            await self.stage("STARTTLS", self.secure)
        elif verb == "AUTH" and self.server.users is not None:
            await self.login(text.split(" "))
        elif verb == "QUIT":
            await self.stage("QUIT", "221 2.0.0 Bye")
            if self.scripted("QUIT") is None:
                self.hang_up("quit")
        else:
            await self.stage(verb, "250 2.0.0 Ok" if verb == "NOOP" else "502 5.5.2 What?")

    async def greet(self, verb, text):
        self.clear()
        self.helo = text
        if verb == "HELO":
            await self.stage(verb, f"250 {self.server.name}")
            return
        self.no_early(verb)
        lines = [self.server.name, *self.server.offers(self)]
        usual = "\n".join(f"250{'-' if number < len(lines) - 1 else ' '}{one}" for number, one in enumerate(lines))
        if self.server.is_lmtp != (verb == "LHLO"):
            usual = "500 5.5.1 wrong greeting"
        await self.stage(verb, usual)

    async def mail(self, sender, parameters):
        usual = "250 2.1.0 Ok"
        if self.server.needs_auth and not self.user:
            usual = "530 5.7.0 authentication required"
        await self.stage("MAIL", usual, sender)
        if not self.is_refused:
            self.clear()
            self.begin(sender, parameters)

    async def rcpt(self, recipient, parameters):
        current, number = self.current, self.offered
        self.offered += 1
        if current:
            current.offered.append((recipient, parameters))
        await self.stage(f"RCPT:{number} RCPT", "250 2.1.5 Ok" if current else "503 5.5.1 MAIL first", recipient)
        if not self.is_refused:
            (current or self.begin("")).recipients.append(recipient)

    async def data(self):
        current, usual = self.current, "354 Go ahead"
        if not (current and current.recipients):
            usual = "554 5.5.1 No valid recipients" if current else "503 5.5.1 MAIL first"
        self.no_early("DATA")
        self.reads_content = False
        code = await self.stage("DATA", usual)
        if code == 354 or self.reads_content:
            with self.server.busy():
                await self.body(current or self.begin(""))

    async def body(self, transaction):
        await self.stage("BODY", b"")
        transaction.raw = raw = await self.content()
        transaction.data = un_dot_stuff(raw)
        transaction.is_complete, transaction.time = True, time.monotonic()
        self.dots += 1
        self.offered = 0
        if not raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n"):
            self.violations.append("bare CR or LF in content")
        if raw.startswith(b".") > raw.startswith(b"..") or raw.count(b"\r\n.") != raw.count(b"\r\n.."):
            self.violations.append("line not dot-stuffed")
        if not self.server.keeps_content:
            transaction.raw, transaction.data = b"", hashlib.sha256(split_trace(transaction.data)[1]).digest()
        self.server.record(transaction)
        # The verdict is booked before the reply is written: whoever has seen a 250 finds the books up to date.
        if self.server.is_lmtp:
            for number, recipient in enumerate(transaction.recipients):
                await self.dot(f"DOT:{number} DOT", "250 2.1.5 Ok", recipient, transaction, [recipient])
        else:
            await self.dot("DOT", "250 2.0.0 Ok", transaction, transaction, transaction.recipients)

    async def dot(self, names, usual, argument, transaction, recipients):
        def book(code):
            if code is None:
                transaction.doubtful += recipients
            elif 250 <= code <= 252:
                transaction.accepted += recipients
            elif code < 400:
                transaction.doubtful += recipients

        await self.stage(names, usual, argument, book)
        if transaction.accepted and self.scripted("IDLE") is not None:
            await self.stage("IDLE", b"")

    # -- TLS and AUTH

    async def secure(self, *_):
        await self.send(b"220 2.0.0 Go ahead\r\n")
        self.user = None
        if self.buffer:
            self.violations.append(f"octets behind STARTTLS: {bytes(self.buffer[:80])!r}")
            self.buffer.clear()
        self.buffer += await self.wire.start_tls(self.server.context)
        return b""

    async def ask(self, challenge):
        await self.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
        line = await self.line()
        self.commands.append(line)
        return base64.b64decode(line)

    async def login(self, words):
        mechanism = (words + ["", ""])[1].upper()
        try:
            name = await self.proven(mechanism, base64.b64decode(words[2]) if len(words) > 2 else None)
        except ValueError:
            name = None
        usual = "235 2.7.0 welcome" if name else "535 5.7.8 wrong user name or password"
        if await self.stage("AUTH", usual, name) == 235 and name:
            self.user = name
            self.server.logins.append((mechanism, name))

    async def proven(self, mechanism, first):
        """The name of who proved to know a password or token, or None."""
        users = self.server.users
        if mechanism == "CRAM-MD5":
            challenge = b"<1.2@peer.test>"
            name, _, proof = (await self.ask(challenge)).decode().rpartition(" ")
            is_good = name in users and hmac.new(users[name].encode(), challenge, hashlib.md5).hexdigest() == proof
        elif mechanism == "LOGIN":
            name, password = (await self.ask(b"Username:")).decode(), (await self.ask(b"Password:")).decode()
            is_good = users.get(name) == password
        elif mechanism == "PLAIN":
            _, name, password = (first or await self.ask(b"")).decode().split("\0")
            is_good = users.get(name) == password
        else:
            message = (first or await self.ask(b"")).decode()
            fields = dict(f.split("=", 1) for f in message.replace(",", "\1").split("\1") if "=" in f)
            name = fields.get("user") or fields.get("a", "")
            is_good = fields.get("auth", "").removeprefix("Bearer ") in self.server.tokens
            if not is_good:
                await self.ask(b'{"status":"401"}')
        return name if is_good else None
