"""smtp_client.py - a raw SMTP client that can do everything wrong, and what it checks of each reply."""

from __future__ import annotations

import dataclasses
import re
import socket
import struct
import time

from waiting import PATIENCE, Timeout, is_readable


class ProtocolViolation(AssertionError):
    """The server sent something that RFC 5321 forbids."""


@dataclasses.dataclass
class Reply:
    code: int
    lines: list  # text after the code, str
    raw: bytes

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def status(self):
        """The enhanced status code, `5.7.1`, or None."""
        match = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)", self.lines[0]) if self.lines else None
        return match[1] if match else None

    @property
    def queue_id(self):
        match = re.search(r"Queued as (\S+)", self.text)
        return match[1] if match else None

    @property
    def is_positive(self):
        return self.code // 100 == 2


class SmtpClient:
    """A socket under exact control, and a strict reader of replies."""

    def __init__(self, address, source=None, timeout=20.0, receive_buffer=None, no_delay=True):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(tuple(address[:2]))
        if no_delay:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False
        self.capabilities = {}

    # -- bytes

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def try_send(self, data):
        """Like `send`, but false when the server has closed."""
        try:
            self.send(data)
            return True
        except OSError:
            return False

    def send_pieces(self, pieces, pause=0.002):
        """Each piece in a segment of its own (the pause lets the stack send it)."""
        for piece in pieces:
            self.send(piece)
            if pause:
                time.sleep(pause)

    def _more(self):
        if self.ended:
            return False
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            self.ended = True
            return False
        self.buffer += data
        return True

    # -- replies

    def read_line(self):
        while b"\n" not in self.buffer:
            if len(self.buffer) > 4096:
                raise ProtocolViolation(f"line without end: {self.buffer[:200]!r}")
            if not self._more():
                if self.buffer:
                    raise ProtocolViolation(f"cut reply {self.buffer[:200]!r}")
                raise ConnectionError("closed by the server")
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def read_reply(self):
        """One whole reply, checked: CRLF, digits, separators, one code, printable, at most 512 octets a line."""
        raw, code, lines = b"", None, []
        while True:
            line = self.read_line()
            raw += line
            if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
                raise ProtocolViolation(f"line end in {line!r}")
            match = re.fullmatch(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?\r\n", line)
            if not match:
                raise ProtocolViolation(f"not a reply: {line!r}")
            if len(line) > 512:
                raise ProtocolViolation(f"{len(line)} octets in one reply line")
            if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", match[3] or b""):
                raise ProtocolViolation(f"control character in {line!r}")
            if code is not None and int(match[1]) != code:
                raise ProtocolViolation(f"code changes inside {raw!r}")
            code = int(match[1])
            lines.append((match[3] or b"").decode("utf-8", "replace"))
            if len(lines) > 100:
                raise ProtocolViolation("endless reply")
            if match[2] != b"-":
                return Reply(code, lines, raw)

    def expect(self, *codes):
        reply = self.read_reply()
        assert not codes or reply.code in codes or reply.code // 100 in codes, f"wanted {codes}, got {reply.raw!r}"
        return reply

    def command(self, line, *codes):
        """Sends one line (CRLF added) and reads its reply; codes may be `250` or a class such as `5`."""
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        reply = self.read_reply()
        assert not codes or reply.code in codes or reply.code // 100 in codes, (
            f"{line!r}: wanted {codes}, got {reply.raw!r}"
        )
        return reply

    def reply_or_end(self):
        """The next reply, or None when the server closed instead."""
        try:
            return self.read_reply()
        except ConnectionError:
            return None

    def rest(self, timeout=20.0):
        """Everything until the server closes; raises `Timeout` when it does not."""
        self.socket.settimeout(timeout * PATIENCE)
        try:
            while self._more():
                pass
        except TimeoutError:
            raise Timeout(f"server did not close in {timeout} s; it sent {self.buffer[-300:]!r}") from None
        data, self.buffer = self.buffer, b""
        return data

    def is_quiet(self, seconds=0.2):
        """True when the server sends nothing and keeps the connection for so long."""
        if self.buffer:
            return False
        return not is_readable(self.socket, seconds)

    # -- verbs

    def ehlo(self, name="client.test"):
        reply = self.command(f"EHLO {name}", 250)
        self.capabilities = {}
        for line in reply.lines[1:]:
            keyword, *values = line.split() or [""]
            self.capabilities[keyword.upper()] = values
        return reply

    def mail(self, sender="a@a.test", parameters="", *codes):
        return self.command(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}", *(codes or (250,)))

    def rcpt(self, recipient, parameters="", *codes):
        return self.command(f"RCPT TO:<{recipient}>{' ' + parameters if parameters else ''}", *(codes or (250,)))

    def data(self, content, *codes):
        """DATA with `content` (CRLF lines, last one ended), dot-stuffed here."""
        self.command("DATA", 354)
        self.send(dot_stuff(content))
        return self.expect(*(codes or (250,)))

    def bdat(self, content, last=True, *codes):
        self.send(b"BDAT %d%s\r\n" % (len(content), b" LAST" if last else b"") + content)
        return self.expect(*(codes or (250,)))

    def message(self, sender, recipients, content, parameters="", bdat=False, rcpt_parameters=""):
        """A whole transaction; returns the queue id."""
        self.mail(sender, parameters)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            self.rcpt(recipient, rcpt_parameters)
        return (self.bdat(content) if bdat else self.data(content)).queue_id

    def quit(self):
        reply = self.command("QUIT", 221)
        self.close()
        return reply

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def dot_stuff(content):
    """The octets between 354 and the reply, for `content` that is empty or ends with CRLF."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b"" if not content or content.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def un_dot_stuff(raw):
    """The inverse, without the final dot line."""
    content = raw.replace(b"\r\n.", b"\r\n")
    return content[1:] if content.startswith(b".") else content


def send_mail(relay, sender, recipients, content, **how):
    """One connection, one message; returns the queue id. `relay`: a `Relay` or an (ip, port)."""
    parameters = {k: how.pop(k) for k in ("parameters", "bdat", "rcpt_parameters") if k in how}
    with SmtpClient(relay if isinstance(relay, tuple) else relay.address, **how) as client:
        client.expect(220)
        client.ehlo()
        queue_id = client.message(sender, recipients, content, **parameters)
        client.quit()
    return queue_id


_TRACE = re.compile(rb"(?:(?:Received|Return-Path|Message-I[Dd]|Date):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*")


def split_trace(content):
    """`(trace fields at the start: Received, Message-ID, Date, Return-Path; the rest)`."""
    end = _TRACE.match(content).end()
    return content[:end], content[end:]


def added_by_relay(delivered, sent):
    """What the relay put in front of `sent`. Fails when `sent` did not arrive octet for octet, or when anything but
    trace fields was put in front (and an empty line, where `sent` has no header, or the name that makes a field of the
    `From ` line of a mailbox file)."""
    assert delivered.endswith(sent), f"not octet for octet: sent {sent[:300]!r}, came {delivered[:700]!r}"
    front = delivered[: len(delivered) - len(sent)]
    trace, rest = split_trace(front)
    assert trace and rest in (b"", b"\r\n", b"X-Mailbox-Line: "), f"put in front: {front!r}"
    return front


def headers_of(content):
    """`[(name in lower case, value with folding kept)]` of a message, as bytes."""
    block = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    return [
        (m[1].lower(), m[2].strip())
        for m in re.finditer(rb"^([!-9;-~]+)[ \t]*:((?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*)", block, re.M)
    ]
