"""steps.py - the dialect of a script: what a scripted peer does at a stage, instead of the usual.

A str is a reply (CRLF added, `\\n` parts lines), bytes go out as they are (`b""`: no answer to this one), None is the usual
reply, a function `(session, argument)` returns one of these (it runs in a thread of its own and may wait; a coroutine
function runs on the loop), and an `Action` is one of those below. `Do(None, b"250 more\\r\\n")`: the usual, then more.
"""

import asyncio
import threading
import time


class Action:
    """What a scripted peer does at a stage; `perform` may raise EOFError to end the session."""

    async def perform(self, session, usual, argument):
        raise NotImplementedError


class Drop(Action):
    """Sends `before`, then closes (FIN)."""

    def __init__(self, before=b""):
        self.before = before

    async def perform(self, session, usual, argument):
        if self.before:
            await session.send(self.before)
        session.hang_up("dropped")


class Reset(Action):
    """Sends `before`, then closes with RST."""

    def __init__(self, before=b""):
        self.before = before

    async def perform(self, session, usual, argument):
        if self.before:
            await session.send(self.before)
        session.wire.reset_at_close()
        session.hang_up("reset")


class Stall(Action):
    """Stays silent but reads; then does `then`. Ends early when the server is closed or healed, or the peer hangs up."""

    def __init__(self, seconds=3600, then=Drop()):
        self.seconds, self.then = seconds, then

    async def perform(self, session, usual, argument):
        generation, end = session.server.generation, time.monotonic() + self.seconds
        while time.monotonic() < end and session.server.generation == generation:
            session.take_early()
            await asyncio.sleep(min(0.1, max(0.0, end - time.monotonic())))
        await session.perform(self.then, usual, argument)


class Wait(Action):
    """Neither reads nor answers for a time; then does `then`, by default the usual. Ends early like `Stall`."""

    def __init__(self, seconds, then=None):
        self.seconds, self.then = seconds, then

    async def perform(self, session, usual, argument):
        generation, end = session.server.generation, time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0 and session.server.generation == generation:
            await asyncio.sleep(min(0.1, left))
        await session.perform(self.then, usual, argument)


class Drip(Action):
    """Sends `data` one octet at a time; with `again` from the start, until the other side gives up."""

    def __init__(self, data, interval=0.5, again=False):
        self.data, self.interval, self.again = data, interval, again

    async def perform(self, session, usual, argument):
        generation = session.server.generation
        while True:
            for octet in self.data:
                await session.send(bytes([octet]))
                if session.server.generation == generation:
                    await asyncio.sleep(self.interval)
            if not self.again:
                return


class Flood(Action):
    """`first`, then `data` again and again, as much as the other side reads; `flooded` of the server says how much."""

    def __init__(self, data, first=b"", limit=256 << 20):
        self.block, self.first, self.limit = data * max(1, 8192 // len(data)), first, limit

    async def perform(self, session, usual, argument):
        await session.send(self.first)
        sent = 0
        while sent < self.limit:
            await session.send(self.block)
            sent += len(self.block)
            session.server.flooded = max(session.server.flooded, sent)
            await asyncio.sleep(0)


class Do(Action):
    """Several actions one after another."""

    def __init__(self, *actions):
        self.actions = actions

    async def perform(self, session, usual, argument):
        for action in self.actions:
            await session.perform(action, usual, argument)


class Sequence(Action):
    """The first time the first action, then the second ... over the whole server; the last one stays."""

    def __init__(self, *actions):
        self.actions, self.used, self.lock = list(actions), 0, threading.Lock()

    def next(self):
        with self.lock:
            self.used += 1
            return self.actions[min(self.used, len(self.actions)) - 1]

    async def perform(self, session, usual, argument):
        await session.perform(self.next(), usual, argument)


class ByRecipient(Action):
    """For RCPT, and DOT over LMTP: an action by address; anything else gets `default`."""

    def __init__(self, actions, default=None):
        self.actions, self.default = actions, default

    async def perform(self, session, usual, argument):
        await session.perform(self.actions.get(argument, self.default), usual, argument)


class Lie(Action):
    """Says yes to a final dot and takes nothing: the books know better."""

    def __init__(self, reply):
        self.reply = reply

    async def perform(self, session, usual, argument):
        session.verdict = None
        await session.perform(self.reply, usual, argument)


class ThenContent(Action):
    """For DATA: whatever the reply is, the octets behind it are content."""

    def __init__(self, reply):
        self.reply = reply

    async def perform(self, session, usual, argument):
        session.reads_content = True
        await session.perform(self.reply, usual, argument)


class AfterOctets(Action):
    """For BODY: waits until so many octets of the content have come, then acts."""

    def __init__(self, count, *actions):
        self.count, self.then = count, Do(*actions)

    async def perform(self, session, usual, argument):
        while len(session.buffer) < self.count:
            await session.fill()
        await session.perform(self.then, usual, argument)
