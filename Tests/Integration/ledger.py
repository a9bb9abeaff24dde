# ledger.py — who promised what: every message that a test sends, what was answered, and what came out at the other end.
#
# One event loop in one thread (Lab) carries the clients (Load) and the next hops (LedgerSink, a scripted peer); the test's own thread only
# kills, waits and judges. A message is known by the token in its first line, and its bytes by a digest, so that a lost, a
# damaged, a duplicated and a never completed message are four different findings.

import asyncio
import collections
import hashlib
import random
import re
import socket
import subprocess
import time
from pathlib import Path

from loop_thread import LoopThread
from scripted import ScriptedServer
from waiting import PATIENCE, wait_until

TOKEN = re.compile(rb"^X-Token: ([0-9a-z-]+)\r\n", re.M)
FOREIGN_HEADER = re.compile(rb"^(Received|Return-Path):", re.I)


class Lab(LoopThread):
    """The event loop of one test's clients and next hops."""

    def __init__(self):
        super().__init__()
        self.peers = []

    def close(self):
        for peer in self.peers:
            peer.stop()
        super().close()


class Mail:
    """One message as a client hands it over: `data` is what is digested, before dot-stuffing."""

    __slots__ = ("data", "recipients", "sender", "token")

    def __init__(self, token, sender, recipients, data):
        self.token, self.sender, self.recipients, self.data = token, sender, recipients, data

    @property
    def stuffed(self):
        data = self.data.replace(b"\r\n.", b"\r\n..")
        return b"." + data if data.startswith(b".") else data


def _lines(source, total):
    """Random printable lines; some begin with dots, some are empty."""
    alphabet = bytes(range(33, 127)) + b"   "
    out, size = [], 0
    while size < total:
        length = source.choice((0, 1, 12, 40, 76, 76, 76, 200, 900))
        line = bytes(source.choices(alphabet, k=length))
        if source.random() < 0.1:
            line = b"." * source.randint(1, 3) + line
        out.append(line + b"\r\n")
        size += len(line) + 2
    return out


class Ledger:
    """Everything that was sent, acknowledged and delivered."""

    def __init__(self, seed=None):
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.random = random.Random(self.seed)
        self.prefix = f"{self.seed:08x}"
        self.count = 0
        self.lines = _lines(self.random, 300_000)
        self.complete = {}  # token -> (digest, recipients): its final dot may have been sent
        self.acknowledged = {}  # token -> (queue id, monotonic time, mark)
        self.waiting = set()  # (token, recipient) acknowledged and not delivered yet
        self.delivered = {}  # (token, recipient) -> [(monotonic time, mark, the relay's name in EHLO)]
        self.damaged = []
        self.unknown = []
        self.bounces = []
        self.refused = collections.Counter()
        self.broken = 0  # connections that ended without an answer to the dot
        self.mark = lambda: None  # asked at each acknowledgement and delivery: a test's own notion of time

    def make(self, size=1024, recipients=1, domains=("ledger.test",), sender="from@sender.test"):
        self.count += 1
        token = f"{self.prefix}-{self.count:06d}"
        to = [f"r{n}-{token}@{domains[n % len(domains)]}" for n in range(recipients)]
        head = (
            f"X-Token: {token}\r\nFrom: <{sender}>\r\nTo: undisclosed-recipients:;\r\nSubject: {token}\r\n"
            f"Date: Sat, 22 Nov 2025 18:00:00 +0000\r\nMessage-ID: <{token}@sender.test>\r\n\r\n"
        ).encode()
        parts, total = [head], len(head)
        at = self.random.randrange(len(self.lines))
        while total < size:
            line = self.lines[at % len(self.lines)]
            if size - total > 400_000:
                line = b"".join(self.lines)
            parts.append(line)
            total += len(line)
            at += 1
        parts.append(f"end of {token}\r\n".encode())
        return Mail(token, sender, to, b"".join(parts))

    def completing(self, mail):
        self.complete[mail.token] = (hashlib.sha1(mail.data).digest(), tuple(mail.recipients))

    def acknowledge(self, mail, reply):
        match = re.search(rb"[Qq]ueued as ([^\s]+)", reply)
        self.acknowledged[mail.token] = (match.group(1).decode() if match else "?", time.monotonic(), self.mark())
        for recipient in mail.recipients:
            if (mail.token, recipient) not in self.delivered:
                self.waiting.add((mail.token, recipient))

    def deliver(self, token, digest, recipients, prefix, hello):
        now, mark = time.monotonic(), self.mark()
        known = self.complete.get(token)
        if known is None:
            self.unknown.append((token, recipients))
            return
        if known[0] != digest:
            self.damaged.append((token, recipients, "the bytes differ"))
            return
        for line in re.split(rb"\r\n(?![ \t])", prefix.removesuffix(b"\r\n")) if prefix else []:
            if not FOREIGN_HEADER.match(line):
                self.damaged.append((token, recipients, f"in front of the message: {line[:80]!r}"))
        for recipient in recipients:
            if recipient not in known[1]:
                self.unknown.append((token, [recipient]))
                continue
            self.delivered.setdefault((token, recipient), []).append((now, mark, hello))
            self.waiting.discard((token, recipient))

    @property
    def duplicates(self):
        """(key, times) of every recipient that got more than one copy."""
        return [(key, copies) for key, copies in self.delivered.copy().items() if len(copies) > 1]

    def extra_copies(self):
        return sum(len(copies) - 1 for copies in self.delivered.copy().values())

    def lost(self):
        return sorted(self.waiting)

    def wait_delivered(self, seconds=60):
        wait_until(
            lambda: not self.waiting,
            seconds,
            lambda: (
                f"{len(self.waiting)} of {len(self.acknowledged)} acknowledged messages not delivered (lost?): "
                f"{[(t, self.acknowledged[t][0]) for t, _ in self.lost()[:5]]}"
            ),
        )

    def summary(self):
        return (
            f"seed {self.seed}: {self.count} made, {len(self.acknowledged)} acknowledged, {len(self.waiting)} lost, "
            f"{len(self.damaged)} damaged, {len(self.unknown)} unknown, {self.extra_copies()} duplicates, "
            f"{self.broken} unanswered, refused {dict(self.refused)}"
        )

    def check(self, duplicates=None):
        """Nothing lost, damaged or unknown; with `duplicates`, at most so many extra copies."""
        assert not self.waiting, f"lost {self.lost()[:10]}; {self.summary()}"
        assert not self.damaged, f"damaged {self.damaged[:10]}; {self.summary()}"
        assert not self.unknown, f"unknown {self.unknown[:10]}; {self.summary()}"
        if duplicates is not None:
            assert self.extra_copies() <= duplicates, f"duplicates {self.duplicates[:10]}; {self.summary()}"


class LedgerSink(ScriptedServer):
    """A next hop that writes what it takes into the ledger, the moment it has the final dot. It can die and return."""

    def __init__(self, lab, ledger, dot_delay=0.0, rate=0, refuse=None, port=None):
        super().__init__(
            {"RCPT": self._answer_rcpt, "DOT": self._answer_dot},
            name="sink.test",
            capabilities=["PIPELINING", "8BITMIME", "SIZE 0", "ENHANCEDSTATUSCODES"],
            backlog=512,
            port=port,
            listening=False,
            loop=lab,
        )
        self.ledger = ledger
        self.dot_delay = dot_delay  # seconds before the dot is answered
        self.rate = rate  # bytes per second and session, 0: as fast as it goes
        self.refused = refuse  # reply line to every recipient, None: accept
        self.received = self.attempts = 0
        lab.peers.append(self)

    async def _answer_rcpt(self, *_):
        self.attempts += 1
        return self.refused and self.refused + b"\r\n"

    async def _answer_dot(self, *_):
        if self.dot_delay:
            await asyncio.sleep(self.dot_delay)
        return None

    def record(self, transaction):
        """Into the ledger, and nothing of it stays here."""
        self.received += 1
        session, data = transaction.session, transaction.data
        session.transactions.clear()
        session.commands.clear()
        found = TOKEN.search(data, 0, 65536)
        if found:
            token, digest = found[1].decode(), hashlib.sha1(memoryview(data)[found.start() :]).digest()
            hello = session.helo.split(" ", 1)[1]
            self.ledger.deliver(token, digest, list(transaction.recipients), data[: found.start()], hello)
        elif b"multipart/report" in data[:20_000]:
            self.ledger.bounces.append(data[:65536])
        else:
            self.ledger.damaged.append((None, transaction.recipients, f"no token in {data[:200]!r}"))

    def start(self):
        wait_until(self._try_start, 20, f"port {self.port} free for the sink")
        return self

    def _try_start(self):
        try:
            return self.listen()
        except OSError:
            return None


class Refused(Exception):
    """The relay answered with something else than success."""

    def __init__(self, stage, reply):
        super().__init__(stage, reply)
        self.stage, self.reply = stage, reply


class Client:
    """One connection to the relay. Every wait has a limit."""

    def __init__(self, port, timeout=60):
        self.port, self.timeout = port, timeout
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20), self.timeout
        )
        await self.expect("banner", b"2")
        self.writer.write(b"EHLO client.test\r\n")
        await self.expect("EHLO", b"2")
        return self

    async def reply(self):
        lines = []
        while True:
            line = await asyncio.wait_for(self.reader.readline(), self.timeout)
            if not line.endswith(b"\n"):
                raise ConnectionResetError("closed in a reply")
            lines.append(line)
            if line[3:4] != b"-":
                return b"".join(lines)

    async def expect(self, stage, first):
        reply = await self.reply()
        if reply[:1] != first:
            raise Refused(stage, reply)
        return reply

    async def command(self, text):
        self.writer.write(text.encode() + b"\r\n")
        return await self.reply()

    async def send(self, mail, ledger, abandon=False):
        """Hands one message over; returns the queue id's reply. `abandon` cuts the connection before the final dot."""
        self.writer.write(b"MAIL FROM:<%s> SIZE=%d\r\n" % (mail.sender.encode(), len(mail.data)))
        for recipient in mail.recipients:
            self.writer.write(b"RCPT TO:<%s>\r\n" % recipient.encode())
        self.writer.write(b"DATA\r\n")
        replies = [(await self.reply(), stage) for stage in ["MAIL"] + ["RCPT"] * len(mail.recipients) + ["DATA"]]
        bad = [(reply, stage) for reply, stage in replies if reply[:1] not in b"23"]
        if bad:
            if replies[-1][0][:1] == b"3":
                self.writer.close()
            raise Refused(bad[0][1], bad[0][0])
        data = mail.stuffed
        if abandon:
            self.writer.write(data[: len(data) * 2 // 3])
            await asyncio.wait_for(self.writer.drain(), self.timeout)
            raise ConnectionAbortedError("on purpose")
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), self.timeout)
        ledger.completing(mail)
        self.writer.write(b".\r\n")
        reply = await self.reply()
        if reply[:1] != b"2":
            raise Refused("dot", reply)
        ledger.acknowledge(mail, reply)
        return reply

    def close(self):
        if self.writer:
            self.writer.transport.abort()


class Load:
    """Clients that never give up: each connects, sends some messages, connects again."""

    def __init__(
        self, lab, ledger, relay, clients=8, large=0.0, abandon=0.0, backlog=2000, domains=("ledger.test",), pace=0.0
    ):
        self.lab, self.ledger, self.port, self.clients = lab, ledger, relay.listen[0][1], clients
        self.large, self.abandon, self.backlog, self.domains = large, abandon, backlog, domains
        self.pace = pace  # seconds between two messages of one client
        self.refusals = []  # (monotonic time, stage, reply), the first thousand
        self.running = False
        self.tasks = []

    def start(self):
        async def start():
            self.running = True
            self.tasks = [asyncio.ensure_future(self._client()) for _ in range(self.clients)]

        self.lab.run(start())
        return self

    def _make(self):
        pick = self.ledger.random.random()
        if pick < self.large:
            return self.ledger.make(self.ledger.random.randint(1_100_000, 2_200_000))
        size = self.ledger.random.choice((300, 1024, 1024, 2048, 8000, 60_000))
        return self.ledger.make(size, self.ledger.random.choice((1, 1, 1, 1, 3)), self.domains)

    async def _client(self):
        while self.running:
            client = Client(self.port)
            try:
                await client.open()
                for _ in range(self.ledger.random.choice((1, 5, 20, 100))):
                    while self.running and len(self.ledger.waiting) > self.backlog:
                        await asyncio.sleep(0.02)
                    if not self.running:
                        break
                    await client.send(self._make(), self.ledger, self.ledger.random.random() < self.abandon)
                    await asyncio.sleep(self.pace)
                client.writer.write(b"QUIT\r\n")
            except Refused as refused:
                self.ledger.refused[f"{refused.stage} {refused.reply[:9].decode(errors='replace').strip()}"] += 1
                if len(self.refusals) < 1000:
                    self.refusals.append((time.monotonic(), refused.stage, refused.reply))
                await asyncio.sleep(0.05)
            except (TimeoutError, OSError, EOFError):
                self.ledger.broken += 1
                await asyncio.sleep(0.01)
            finally:
                client.close()

    def stop(self, seconds=90):
        """Lets every client finish the message that it is in."""

        async def stop():
            self.running = False
            await asyncio.wait(self.tasks, timeout=seconds) if self.tasks else None
            for task in self.tasks:
                if not task.done():
                    task.cancel()
                elif task.exception():
                    raise task.exception()

        self.lab.run(stop(), seconds + 10)


def submit(lab, ledger, relay, mails, clients=8, seconds=120):
    """Hands the messages over, all of them or fails; returns how long it took."""
    todo = list(reversed(mails))

    async def one():
        client = await Client(relay.listen[0][1]).open()
        try:
            while todo:
                await client.send(todo.pop(), ledger)
            client.writer.write(b"QUIT\r\n")
        finally:
            client.close()

    async def everyone():
        await asyncio.gather(*(one() for _ in range(min(clients, len(mails)))))

    began = time.monotonic()
    lab.run(everyone(), seconds * PATIENCE)
    return time.monotonic() - began


def try_one(lab, ledger, relay, mail, timeout=20):
    """Hands one message over on a connection of its own; returns the last reply, or None when the connection broke."""

    async def one():
        client = Client(relay.listen[0][1], timeout)
        try:
            await client.open()
            return await client.send(mail, ledger)
        except Refused as refused:
            return refused.reply
        except (OSError, EOFError):
            return None
        finally:
            client.close()

    return lab.run(one(), timeout * 8)


def wait_banner(relay, seconds=20):
    """Seconds from now until the relay greets."""
    began = time.monotonic()

    def greeted():
        if relay.process.poll() is not None:
            raise AssertionError(f"exit status {relay.process.returncode} before the banner:\n{relay.log_tail()}")
        try:
            with socket.create_connection(relay.listen[0], 2) as probe:
                return probe.recv(4) == b"220 " or probe.recv(4) == b"220-"
        except OSError:
            return False

    wait_until(greeted, seconds, lambda: f"banner; log:\n{relay.log_tail()}", interval=0.005)
    return time.monotonic() - began


def start_anew(relay, wait=True):
    """Starts the relay with a log of its own (the log of a load is long); returns seconds until its banner."""
    with relay._log_lock:
        relay.log_count = getattr(relay, "log_count", 0) + 1
        relay.log_path = Path(relay.directory) / f"log.{relay.log_count}"
        relay._log_lines, relay._log_offset, relay._log_rest = [], 0, b""
    relay.start(wait=False)
    return wait_banner(relay) if wait else 0.0


def crashed(relay):
    """Lines in all logs of a relay that only a crash of the Swift runtime or a failed assertion writes."""
    found = []
    for log in Path(relay.directory).glob("log*"):
        for line in log.read_bytes().splitlines():
            if b"Fatal error" in line or b"Crash:" in line or b" critical " in line:
                found.append(line.decode(errors="replace"))
    return found


def set_aside(relay):
    """Names under `corrupt/`."""
    folder = Path(relay.data) / "queue" / "corrupt"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.is_dir() else []


def build_shim(name, directory):
    """Compiles shims/NAME.c; returns the path of the library for LD_PRELOAD."""
    source = Path(__file__).parent / "shims" / f"{name}.c"
    library = Path(directory) / f"{name}.so"
    command = [
        "cc",
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fPIC",
        "-shared",
        "-o",
        str(library),
        str(source),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return str(library)
