"""hostile_peers.py — many SMTP and LMTP servers in one thread, honest or hostile, one port each.

A peer behaves like an ordinary server except at the stages named in its script. It keeps the truth about what it took:
`taken` holds a (message, recipient) only when an honest 2yz answered the final dot, so a relay that counts anything
else as delivered is found out. `heal()` empties the script, for open connections too.

Stages: banner, ehlo, helo, lhlo, mail, rcpt, rcpt:N, data, body, dot, dot:N (LMTP, per recipient), rset, quit, idle.
`once=N` limits a script to the first N connections. Beside `scripted.ScriptedServer`: hundreds of these fit into one test.
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
import time

MARK = re.compile(rb"^X-Mark: *(\S+)\r\n", re.M | re.I)


class Message:
    """One complete message (its dot arrived): who for, which octets (dots undone), and when."""

    def __init__(self, sender, recipients, data, connection, mail_args, rcpt_args):
        self.sender = sender
        self.recipients = recipients
        self.data = data
        self.connection = connection
        self.mail_args = mail_args
        self.rcpt_args = rcpt_args
        self.at = time.monotonic()
        found = MARK.search(data.split(b"\r\n\r\n", 1)[0] + b"\r\n")
        self.mark = found.group(1).decode() if found else ""


# --- steps: what a peer does instead of being honest -----------------------------------------------------------------


class Step:
    """An async action on a session. `refuses` says that a message whose dot it answers is clearly not taken."""

    def __init__(self, action, refuses=False, name=""):
        self.action = action
        self.refuses = refuses
        self.name = name

    async def __call__(self, session):
        await self.action(session)


def say(octets, refuses=None):
    """Sends these octets and nothing else."""
    octets = octets if isinstance(octets, bytes) else octets.encode()

    async def action(session):
        await session.send(octets)

    return Step(action, octets[:1] in (b"4", b"5") if refuses is None else refuses, repr(octets[:40]))


def steps(*parts):
    """One step after another."""

    async def action(session):
        for part in parts:
            if session.closed:
                return
            await part(session)

    return Step(action, any(p.refuses for p in parts))


def close():
    async def action(session):
        session.close()

    return Step(action)


def reset():
    async def action(session):
        session.reset()

    return Step(action)


def hush():
    """No answer to this one; later commands are answered."""

    async def action(session):
        return

    return Step(action)


def mute():
    """No answer to this one and to anything after it, while the connection stays open."""

    async def action(session):
        session.muted = True

    return Step(action)


def wait(seconds):
    async def action(session):
        await asyncio.sleep(seconds)

    return Step(action)


def drip(octets, every=0.2):
    """Single octets with pauses, again and again from the start until the other side gives up."""

    async def action(session):
        while not session.closed:
            for octet in octets:
                if not await session.send(bytes([octet])):
                    return
                await asyncio.sleep(every)

    return Step(action)


def drip_once(octets, every=0.05):
    """A well-formed reply, one octet at a time."""

    async def action(session):
        for octet in octets:
            if not await session.send(bytes([octet])):
                return
            await asyncio.sleep(every)

    return Step(action)


def flood(octets, first=b"", limit=256 << 20):
    """As much of this as the other side reads; `flooded` of the peer says how much that was."""

    async def action(session):
        await session.send(first)
        block = octets * max(1, 8192 // len(octets))
        sent = 0
        while sent < limit:
            if not await session.send(block):
                return
            sent += len(block)
            session.peer.flooded = max(session.peer.flooded, sent)
            await asyncio.sleep(0)

    return Step(action)


def stop_reading(seconds=30):
    async def action(session):
        session.reader._transport.pause_reading()
        await asyncio.sleep(seconds)
        session.close()

    return Step(action)


def honest_then(*parts):
    """The honest answer first, then more."""

    async def action(session):
        await session.honest()
        for part in parts:
            if session.closed:
                return
            await part(session)

    step = Step(action)
    step.takes = True
    return step


def choose(pick):
    """A step that depends on the session: `pick(session)` returns a step, or None for the honest answer."""
    pick.is_choice = True
    return pick


def after_body(count, *parts):
    """For the stage `body`: waits until this many octets of the body have come, then acts."""

    async def action(session):
        session.body_trigger = count
        session.body_steps = steps(*parts)

    return Step(action)


# --- the servers -----------------------------------------------------------------------------------------------------


class Peer:
    """One listening server."""

    def __init__(
        self,
        script=None,
        lmtp=False,
        keywords=(b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES"),
        name=b"peer.test",
        once=None,
        delay=0.0,
    ):
        self.script = dict(script or {})
        self.lmtp = lmtp
        self.keywords = tuple(keywords)
        self.name = name
        self.once = once
        self.delay = delay
        self.port = 0
        self.host = ""
        self.server = None
        self.messages = []  # every complete message, answered or not
        self.taken = []  # (mark, recipient): the honest 2yz
        self.maybe = []  # (mark, recipient): complete, answered dishonestly but not refused
        self.commands = []  # (connection number, line)
        self.connections = 0
        self.connected_at = []
        self.sources = []
        self.open = 0
        self.most_open = 0
        self.busy = 0
        self.most_busy = 0
        self.flooded = 0
        self.first_dot_session = None
        self.sessions = set()

    def heal(self):
        self.script = {}

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def copies(self, mark, recipient):
        key = (mark, recipient)
        return self.taken.count(key) + self.maybe.count(key)

    def marks(self):
        return [m for m, _ in self.taken]


class Session:
    """One connection to a peer."""

    def __init__(self, peer, reader, writer):
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self.number = peer.connections
        self.closed = False
        self.muted = False
        self.body_trigger = None
        self.body_steps = None
        self.honest = None
        self.dots = 0
        self.clear()

    def clear(self):
        self.sender = None
        self.recipients = []
        self.offered = 0
        self.mail_args = ""
        self.rcpt_args = []

    async def send(self, octets):
        if self.closed:
            return False
        try:
            self.writer.write(octets)
            await self.writer.drain()
            return True
        except (ConnectionError, OSError, RuntimeError):
            self.closed = True
            return False

    def close(self):
        self.closed = True
        with contextlib.suppress(Exception):
            self.writer.close()

    def reset(self):
        self.closed = True
        with contextlib.suppress(Exception):
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()

    def step(self, *names):
        peer = self.peer
        if peer.once is not None and self.number > peer.once:
            return None
        for name in names:
            if name in peer.script:
                found = peer.script[name]
                return found(self) if getattr(found, "is_choice", False) else found
        return None

    async def answer(self, names, octets):
        """The scripted step, or the honest reply."""
        if self.muted and self.peer.script:
            return

        async def honest():
            await self.send(octets)

        self.honest = honest
        step = self.step(*names)
        if step is None:
            if self.peer.delay:
                await asyncio.sleep(self.peer.delay)
            await honest()
        else:
            await step(self)

    async def run(self):
        peer = self.peer
        await self.answer(["banner"], b"220 " + peer.name + b" ESMTP ready\r\n")
        while not self.closed:
            try:
                line = await self.reader.readuntil(b"\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, OSError):
                return
            peer.commands.append((self.number, line.decode("utf-8", "replace").rstrip("\r\n")))
            await self.command(line.rstrip(b"\r\n"))

    async def command(self, line):
        verb = line.split(b" ", 1)[0].split(b":", 1)[0].upper()
        peer = self.peer
        if verb in (b"EHLO", b"LHLO"):
            self.clear()
            lines = [peer.name + b" hello"] + list(peer.keywords)
            reply = b"".join(b"250" + (b"-" if i < len(lines) - 1 else b" ") + t + b"\r\n" for i, t in enumerate(lines))
            if peer.lmtp != (verb == b"LHLO"):
                reply = b"500 5.5.1 wrong greeting\r\n"
            await self.answer([verb.decode().lower()] + (["ehlo"] if peer.lmtp else []), reply)
        elif verb == b"HELO":
            self.clear()
            await self.answer(["helo"], b"250 " + peer.name + b"\r\n")
        elif verb == b"MAIL":
            address, self.mail_args = split_path(line)
            step = self.step("mail")
            await self.answer(["mail"], b"250 2.1.0 sender ok\r\n")
            self.sender = None if step is not None and step.refuses else address
        elif verb == b"RCPT":
            address, arguments = split_path(line)
            number = self.offered
            self.offered += 1
            step = self.step(f"rcpt:{number}", "rcpt")
            usual = b"250 2.1.5 recipient ok\r\n" if self.sender is not None else b"503 5.5.1 MAIL first\r\n"
            await self.answer([f"rcpt:{number}", "rcpt"], usual)
            if self.sender is not None if step is None else not step.refuses:
                self.recipients.append(address)
                self.rcpt_args.append(arguments)
        elif verb == b"DATA":
            await self.data()
        elif verb == b"RSET":
            self.clear()
            await self.answer(["rset"], b"250 2.0.0 reset\r\n")
        elif verb == b"QUIT":
            await self.answer(["quit"], b"221 2.0.0 bye\r\n")
            if self.step("quit") is None:
                self.close()
        elif verb in (b"NOOP", b"VRFY", b"HELP"):
            await self.answer(["noop"], b"250 2.0.0 ok\r\n")
        else:
            await self.answer(["unknown"], b"500 5.5.2 what?\r\n")

    async def data(self):
        peer = self.peer
        step = self.step("data")
        if step is None and not self.recipients:
            await self.answer(
                [], b"554 5.5.1 no valid recipients\r\n" if self.sender is not None else b"503 5.5.1 MAIL first\r\n"
            )
            return
        self.body_trigger = None
        body_step = self.step("body")
        if body_step is not None and not self.muted:
            await body_step(self)
        await self.answer(["data"], b"354 go ahead\r\n")
        if self.closed or (step is not None and step.refuses):
            return
        if step is not None and not getattr(step, "reads_body", True):
            return
        peer.busy += 1
        peer.most_busy = max(peer.most_busy, peer.busy)
        try:
            await self.body()
        finally:
            peer.busy -= 1

    async def body(self):
        peer = self.peer
        received = bytearray()
        while True:
            if self.body_trigger is not None and len(received) >= self.body_trigger:
                self.body_trigger = None
                await self.body_steps(self)
                if self.closed:
                    return
            try:
                chunk = await self.reader.read(65536)
            except (ConnectionError, OSError):
                return
            if not chunk:
                self.closed = True
                return
            start = max(0, len(received) - 4)
            received += chunk
            if received[:3] == b".\r\n":
                end, after = 0, 3
            else:
                end = received.find(b"\r\n.\r\n", start)
                after = end + 5
                if end >= 0:
                    end += 2
            if end >= 0:
                rest = bytes(received[after:])
                content = bytes(received[:end])
                break
        if rest:
            self.reader._buffer[:0] = rest
        content = re.sub(rb"(?m)^\.", b"", content)
        recipients = list(self.recipients)
        message = Message(self.sender, recipients, content, self.number, self.mail_args, list(self.rcpt_args))
        peer.messages.append(message)
        self.dots += 1
        if peer.first_dot_session is None:
            peer.first_dot_session = self.number
        if peer.lmtp:
            for number, recipient in enumerate(recipients):
                await self.dot([f"dot:{number}", "dot"], message, [recipient])
                if self.closed:
                    break
        else:
            await self.dot(["dot"], message, recipients)
        self.clear()

    async def dot(self, names, message, recipients):
        peer = self.peer
        step = self.step(*names)
        keys = [(message.mark, r) for r in recipients]
        if self.muted and peer.script:
            peer.maybe += keys
            return
        if step is None or getattr(step, "takes", False):
            peer.taken += keys
        elif not step.refuses:
            peer.maybe += keys
        await self.answer(names, b"250 2.0.0 taken as " + str(len(peer.messages)).encode() + b"\r\n")
        if step is None and self.step("idle") is not None:
            await self.step("idle")(self)


def takes(step):
    """A dot reply that is unusual but an honest yes."""
    step.takes = True
    return step


def no_body(step):
    """A DATA reply after which no body is read."""
    step.reads_body = False
    return step


def split_path(line):
    text = line.split(b":", 1)[1].strip() if b":" in line else b""
    address, _, arguments = text.partition(b">")
    return address.lstrip(b"<").decode("utf-8", "replace"), arguments.strip().decode("utf-8", "replace")


class Hub:
    """The thread in which all peers of a test live; a context manager."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.peers = []

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        async def stop():
            for peer in self.peers:
                if peer.server:
                    peer.server.close()
                for session in list(peer.sessions):
                    session.reset()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def add(self, peer=None, host="127.0.0.1", port=0, **options):
        """Starts a peer and returns it once it listens."""
        peer = peer or Peer(**options)

        async def serve(reader, writer):
            peer.connections += 1
            peer.open += 1
            peer.most_open = max(peer.most_open, peer.open)
            peer.connected_at.append(time.monotonic())
            peer.sources.append(writer.get_extra_info("peername"))
            session = Session(peer, reader, writer)
            peer.sessions.add(session)
            try:
                await session.run()
            except (ConnectionError, OSError, asyncio.CancelledError):
                pass
            finally:
                peer.open -= 1
                peer.sessions.discard(session)
                with contextlib.suppress(Exception):
                    writer.close()

        async def listen():
            return await asyncio.start_server(serve, host, port, backlog=4096, limit=1 << 20)

        peer.server = self.run(listen())
        peer.host, peer.port = peer.server.sockets[0].getsockname()[:2]
        self.peers.append(peer)
        return peer

    def stop(self, peer):
        """The peer's port refuses from now on; open connections are reset."""

        async def stop():
            peer.server.close()
            for session in list(peer.sessions):
                session.reset()

        self.run(stop())
