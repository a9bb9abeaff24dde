"""scripted.py - a next hop that follows a script: what it says at each stage, and what it records.

The one SMTP and LMTP peer of these tests, honest or hostile, in the clear or with TLS and AUTH. All peers live on one event
loop in a thread, so that hundreds fit into one test. The dialect of scripts is told in `steps`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl

from loop_thread import shared_loop
from scripted_session import Session, Transaction
from steps import (
    Action,
    AfterOctets,
    ByRecipient,
    Do,
    Drip,
    Drop,
    Flood,
    Lie,
    Reset,
    Sequence,
    Stall,
    ThenContent,
    Wait,
)
from waiting import free_port, host_port, wait_until
from wire import Wire

__all__ = [
    "Action",
    "AfterOctets",
    "ByRecipient",
    "Do",
    "Drip",
    "Drop",
    "Flood",
    "Lie",
    "Reset",
    "ScriptedServer",
    "Sequence",
    "Session",
    "Sink",
    "Stall",
    "ThenContent",
    "Transaction",
    "Wait",
]


def server_context(pair):
    """A TLS context of `(chain, key)`; a context stays as it is."""
    if pair is None or isinstance(pair, ssl.SSLContext):
        return pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


class ScriptedServer:
    """An SMTP or LMTP peer that behaves as its script says.

    script: `{stage: action}` with the stages BANNER, EHLO, HELO, LHLO, STARTTLS, AUTH (after the exchange), MAIL, RCPT,
    RCPT:N (the N-th of a transaction), DATA, BODY (before the content is read), DOT, DOT:N (LMTP), IDLE (after the usual
    answer to a dot), RSET, NOOP, QUIT; see `steps`. `heal()` empties it. `refuse()` stops listening, `listen()` starts
    again on the same port.

    tls: `(chain, key)` or a context: STARTTLS is offered, or with `implicit` TLS from the first octet. users: `{name:
    password}`, with `mechanisms` offered behind TLS, with `clear` in front of it too.
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
        delay=0.0,
        tls=None,
        implicit=False,
        users=None,
        mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"),
        clear=False,
        needs_auth=False,
        tokens=(),
        loop=None,
    ):
        self.keeps_content = keeps_content  # false: `data` of a transaction becomes its SHA-256, for gigabytes
        self.script = dict(script or {})
        self.is_lmtp, self.name = lmtp, name
        self.capabilities = list(self.CAPABILITIES if capabilities is None else capabilities)
        self.host, self.port = host, free_port(host) if port is None else port  # 0: any
        self.receive_buffer, self.backlog = receive_buffer, backlog
        self.delay = delay  # seconds before each usual answer
        self.rate = 0  # octets a second and session that are read, 0: as fast as it goes
        self.context, self.is_implicit = server_context(tls), implicit
        self.users, self.mechanisms, self.clear = users, list(mechanisms), clear
        self.needs_auth, self.tokens = needs_auth, set(tokens)
        self.sessions, self.transactions, self.generation = [], [], 0
        self.logins, self.names = [], []  # (mechanism, user); names asked for in TLS
        self.most_open = self.flooded = self.most_busy = self._busy = 0
        self.first_dot_session = None  # the number of the session in which the first final dot came
        if self.context:
            self.context.sni_callback = lambda _, name, context: self.names.append(name)
        self._thread = loop or shared_loop()
        self._listener, self._accepting = None, None
        self._tasks = {}
        if listening:
            self.listen()

    @property
    def address(self):
        return (self.host, self.port)

    @property
    def route(self):
        """What follows `mx =` in routes.ini."""
        return host_port(self.address) + (" using_lmtp=true" if self.is_lmtp else "")

    def offers(self, session):
        """What EHLO lists."""
        offered = list(self.capabilities)
        if self.context and not self.is_implicit and not session.wire.tls:
            offered.append("STARTTLS")
        if self.users is not None and (session.wire.tls or self.clear):
            offered.append("AUTH " + " ".join(self.mechanisms))
        return offered

    # -- listening

    def listen(self):
        if self._listener is None:
            listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self.receive_buffer:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
                listener.bind(self.address)
                listener.listen(self.backlog)
                listener.setblocking(False)
            except OSError:
                listener.close()
                raise
            self.port = listener.getsockname()[1]
            self._listener = listener
            self._accepting = self._thread.run(self._begin(listener))
        return self

    async def _begin(self, listener):
        return asyncio.create_task(self._accept(listener))

    async def _accept(self, listener):
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, peer = await loop.sock_accept(listener)
                session = Session(self, Wire(loop, connection), peer, len(self.sessions))
                self.sessions.append(session)
                self._tasks[session] = task = loop.create_task(session.run())
                task.add_done_callback(lambda _, one=session: self._tasks.pop(one, None))
                self.most_open = max(self.most_open, sum(one.is_open for one in self._tasks))
        except OSError:
            pass
        finally:
            listener.close()

    async def _end(self, *tasks):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def refuse(self):
        """No longer accepts connections (ECONNREFUSED); open sessions go on."""
        if self._listener is not None:
            self._listener = None
            if self._thread.is_open:
                self._thread.run(self._end(self._accepting))

    def heal(self, script=None):
        """From now on the usual peer (or `script`); stalls end."""
        self.script = dict(script or {})
        self.generation += 1

    def hang_up_all(self, reset=False):
        """Closes every open session at once."""

        async def end():
            for session in self._tasks:
                session.ended = session.ended or ("reset" if reset else "dropped")
                if reset:
                    session.wire.reset_at_close()
            await self._end(*self._tasks.values())

        if self._thread.is_open:
            self._thread.run(end())

    def stop(self):
        """Dies: refuses, and resets every session."""
        self.refuse()
        self.hang_up_all(reset=True)

    def close(self):
        self.generation += 1
        self.refuse()
        self.hang_up_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- what happened

    def record(self, transaction):
        """Called when a final dot has come, before the answer."""
        if self.first_dot_session is None:
            self.first_dot_session = transaction.session.number
        self.transactions.append(transaction)

    @contextlib.contextmanager
    def busy(self):
        self._busy += 1
        self.most_busy = max(self.most_busy, self._busy)
        try:
            yield
        finally:
            self._busy -= 1

    @property
    def open(self):
        """How many sessions there are now."""
        return len(self._tasks)

    @property
    def connections(self):
        return len(self.sessions)

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
