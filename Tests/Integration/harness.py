"""harness.py - the relay under test and the peers around it, for black-box tests (standard library only).

Everything here listens on loopback, takes its ports from `free_port` (held by a lock file while the process lives, so
that parallel workers never meet), keeps its files below a directory given by the test, and ends what it started by pid.
Nothing sleeps for a guess: `wait_until` waits for a condition with a deadline.

    relay = Relay(tmp_path, routes={"*": sink.address}); relay.start()
    queue_id = send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: x\r\n\r\nhello\r\n")
    sink.wait_for(1)
    relay.stop()                    # SIGTERM; asserts exit status 0
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARTLET = os.environ.get("MARTLET") or str(ROOT / ".build" / "release" / "martlet")
SOAK = os.environ.get("TEST_SOAK", "") not in ("", "0")
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))  # multiplies every deadline of a wait: slow machines


def environment():
    """Ours for a relay: without the variables of the tests, which it would refuse as unknown settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MARTLET")}


# ---------------------------------------------------------------------------------------------------- waiting, ports

class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition, timeout=15.0, what="condition", interval=0.01):
    """Calls `condition` until it returns something true, and returns that. `what` may be a function: the message."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"waited {timeout} s for {what() if callable(what) else what}")
        time.sleep(interval)


def is_readable(sock, seconds):
    """Whether something can be read within so many seconds; `select` knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


_held_ports = []


def free_port(ip="127.0.0.1"):
    """A port below the ephemeral range that nobody listens on, reserved for this process by a lock file."""
    folder = Path("/tmp/martlet-test-ports")
    folder.mkdir(mode=0o777, exist_ok=True)
    for _ in range(2000):
        port = random.randrange(10000, 32000)
        handle = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((ip, port))
        except OSError:
            os.close(handle)
            continue
        _held_ports.append(handle)
        return port
    raise RuntimeError("no free port")


_network = os.getpid() % 250 + 1
_hosts = iter(range(1, 60_000))


def fresh_address():
    """A loopback address that no other test uses."""
    number = next(_hosts)
    return f"127.{_network}.{number // 250}.{number % 250 + 1}"


def host_port(address):
    """`(ip, port)` as routes.ini and smtp.ini write it."""
    ip, port = address[0], address[1]
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


# ---------------------------------------------------------------------------------------------------- the relay's log

_PAIR = re.compile(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]+)\}|(.))", re.S)
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def _unquote(text):
    if len(text) < 2 or text[0] != '"':
        return text

    def one(match):
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _SIMPLE.get(match[3], match[3])

    return _ESCAPE.sub(one, text[1:-1])


@dataclasses.dataclass
class LogLine:
    """One line of the relay's log: `line["id"]` is a key's value or None."""
    raw: str
    time: str = ""
    level: str = ""
    message: str = ""
    keys: dict = dataclasses.field(default_factory=dict)

    def __getitem__(self, key):
        return self.keys.get(key)

    @classmethod
    def parse(cls, raw):
        if raw.startswith("{"):
            try:
                keys = json.loads(raw)
                return cls(raw, keys.pop("time", ""), keys.pop("level", ""), keys.pop("message", ""),
                           {k: v if isinstance(v, str) else json.dumps(v) for k, v in keys.items()})
            except ValueError:
                return cls(raw)
        parts = raw.split(" ", 2)
        if len(parts) < 3 or not re.match(r"\d{4}-\d\d-\d\dT", parts[0]):
            return cls(raw)
        rest = parts[2]
        first = _PAIR.search(rest)
        message = (rest[:first.start()] if first else rest).strip()
        keys = {m[1]: _unquote(m[2]) for m in _PAIR.finditer(rest)}
        return cls(raw, parts[0], parts[1], message, keys)


# ---------------------------------------------------------------------------------------------------- the relay

class Relay:
    """`martlet serve` with a configuration of its own below `directory`.

    routes: `{"match": "host:port [props]" | (ip, port) | [several] | {"mx": [...], "key": "value"}}`; None writes no
    file (DNS decides). smtp: `{"limits.errors": 5, "timeouts.command": 4, "threads": 1}`; a key without a dot is in
    `[main]`. outbound: `{"temp_fail_intervals": "1s*50"}`. resolver: the text of `forward`, or a `DnsServer`.
    files: further `{name: text}`. prefix: a command put in front (strace, prlimit ...). Text may be str or bytes.
    """

    OUTBOUND = {"temp_fail_intervals": "1s*100", "lane_rest_max": 1, "connect_timeout": 5}

    def __init__(self, directory, *, routes=None, smtp=None, outbound=None, allow=("127.0.0.0/8", "::1/128"),
                 me="relay.test", resolver=None, files=None, listen=None, prefix=(), env=None, binary=None,
                 arguments=(), log_format="text"):
        self.directory = Path(directory) / f"relay-{random.randrange(1 << 32):08x}"
        self.config = self.directory / "config"
        self.data = self.directory / "data"
        self.config.mkdir(parents=True)
        self.data.mkdir()
        self.routes, self.smtp, self.allow, self.me = routes, dict(smtp or {}), list(allow), me
        self.outbound = {**self.OUTBOUND, **(outbound or {})}
        self.resolver, self.files = resolver, dict(files or {})
        self.listen = list(listen) if listen else [("127.0.0.1", free_port())]
        self.prefix, self.env, self.binary = list(prefix), env or {}, binary or MARTLET
        self.arguments, self.log_format = list(arguments), log_format
        self.process = None
        self.log_path = self.directory / "log"
        self.addresses = []
        self._log_lines, self._log_offset, self._log_rest = [], 0, b""
        self._log_lock = threading.Lock()
        self.write_config()

    # -- configuration

    def write_config(self):
        """Writes every file from the attributes; call it again (and `hup`) after changing one."""
        sections = {"main": {"listen": ", ".join(host_port(a) for a in self.listen)}}
        for key, value in self.smtp.items():
            section, _, name = key.rpartition(".")
            sections.setdefault(section or "main", {})[name] = value
        self.write("smtp.ini", self._ini(sections))
        self.write("outbound.ini", self._ini({None: self.outbound}))
        self.write("me", self.me + "\n")
        self.write("relay_acl_allow", "".join(f"{network}\n" for network in self.allow))
        if self.routes is not None:
            self.write("routes.ini", self._routes())
        if self.resolver is not None:
            forward = self.resolver if isinstance(self.resolver, str) else self.resolver.forward
            self.write("resolver.ini", f"forward = {forward}\n")
        if "admin.ini" not in self.files:
            self.write("admin.ini", "listen =\n")  # the API at its socket only: many relays run side by side
        for name, text in self.files.items():
            self.write(name, text)

    def write(self, name, text):
        """Replaces one file of the configuration atomically."""
        temporary = self.config / f".{name}.new"
        temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
        if "key" in name or any(word in str(text) for word in ("auth_pass", "oauth_", "[users]")):
            temporary.chmod(0o600)  # the relay refuses secrets that others may read
        os.replace(temporary, self.config / name)

    @staticmethod
    def _text(value):
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    def _ini(self, sections):
        lines = []
        for name, keys in sections.items():
            if name:
                lines.append(f"[{name}]")
            lines += [f"{key} = {self._text(value)}" for key, value in keys.items()]
            lines.append("")
        return "\n".join(lines)

    def _routes(self):
        lines = []
        for match, route in self.routes.items():
            properties = {}
            if isinstance(route, dict):
                properties = {k: v for k, v in route.items() if k != "mx"}
                route = route["mx"]
            if isinstance(route, (str, tuple)):
                route = [route]
            lines.append(f"[{match}]")
            lines += [f"mx = {mx if isinstance(mx, str) else host_port(mx)}" for mx in route]
            lines += [f"{key} = {self._text(value)}" for key, value in properties.items()] + [""]
        return "\n".join(lines)

    # -- life

    def start(self, wait=True, timeout=20.0):
        """Starts the process; with `wait`, returns when its `ready` line has come."""
        assert self.process is None or self.process.poll() is not None, "already running"
        if not os.access(self.binary, os.X_OK):
            raise RuntimeError(f"no relay to test at {self.binary}: set MARTLET or build it")
        command = self.prefix + [self.binary, "serve", "--config", str(self.config), "--data", str(self.data)]
        command += ["--log-format", self.log_format] + self.arguments
        if threading.current_thread() is threading.main_thread() and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL"] + command  # the relay never outlives the test runner
        self.log_mark = len(self.log)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**environment(), **self.env}, cwd=self.directory)
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20.0):
        def ready():
            for line in self.log[self.log_mark:]:
                if line.message == "ready":
                    return line
            if self.process.poll() is not None:
                raise AssertionError(f"exit status {self.process.returncode} before ready:\n{self.log_tail()}")
            return None

        line = wait_until(ready, timeout, lambda: f"ready line; log:\n{self.log_tail()}")
        found = re.findall(r"(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]):(\d+)", line["listen"] or "")
        self.addresses = [(ip.strip("[]"), int(port)) for ip, port in found] or list(self.listen)
        return line

    @property
    def address(self):
        """Where to connect: the first address of the `ready` line."""
        return self.addresses[0] if self.addresses else self.listen[0]

    @property
    def pid(self):
        return self.process.pid

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def hup(self):
        self.signal(signal.SIGHUP)

    def stop(self, timeout=20.0, check=True):
        """SIGTERM; returns the exit status, which must be 0 unless `check` is false."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Timeout(f"still running {timeout} s after SIGTERM:\n{self.log_tail()}") from None
        if check:
            assert status == 0, f"exit status {status}:\n{self.log_tail()}"
        return status

    def kill(self):
        """SIGKILL, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def restart(self, **how):
        self.stop()
        return self.start(**how)

    def close(self):
        """For teardown: ends the process however it stands, and removes its spool (64 MiB for each segment)."""
        self.kill()
        shutil.rmtree(self.data / "queue", ignore_errors=True)

    def __enter__(self):
        return self if self.is_running else self.start()

    def __exit__(self, kind, *_):
        self.close()

    def run(self, *arguments, timeout=60):
        """Another sub-command: `relay.run("check")`, `relay.run("spool", "check")` with --config or --data added."""
        place = ["--config", str(self.config)] if arguments[0] == "check" else ["--data", str(self.data)]
        return subprocess.run([self.binary, *arguments, *place], capture_output=True, timeout=timeout, text=True,
                              env={**environment(), **self.env})

    # -- log

    @property
    def log(self):
        """Every line so far, of all starts."""
        with self._log_lock:
            try:
                with open(self.log_path, "rb") as file:
                    file.seek(self._log_offset)
                    new = file.read()
            except FileNotFoundError:
                return self._log_lines
            self._log_offset += len(new)
            *lines, self._log_rest = (self._log_rest + new).split(b"\n")
            self._log_lines += [LogLine.parse(line.decode("utf-8", "replace")) for line in lines]
            return self._log_lines

    def log_lines(self, message=None, **keys):
        """Lines with this message (a string, exact) whose keys have these values (compiled patterns are searched)."""
        def fits(line):
            if message is not None and line.message != message:
                return False
            for key, wanted in keys.items():
                value = line[key]
                if value is None or not (wanted.search(value) if hasattr(wanted, "search") else value == str(wanted)):
                    return False
            return True

        return [line for line in self.log if fits(line)]

    def wait_log(self, message, timeout=15.0, count=1, **keys):
        """Waits until `count` such lines are there and returns the last one."""
        def found():
            lines = self.log_lines(message, **keys)
            return lines if len(lines) >= count else None

        return wait_until(found, timeout, lambda: f"{count} x {message!r} {keys}; log:\n{self.log_tail()}",
                          interval=0.02)[-1]

    def log_tail(self, count=60):
        return "\n".join(line.raw for line in self.log[-count:])

    # -- figures

    def _status(self, field, pid=None):
        for line in Path(f"/proc/{pid or self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return 0

    @property
    def rss(self):
        """Resident memory now, bytes."""
        return self._status("VmRSS")

    @property
    def rss_peak(self):
        """Highest resident memory so far, bytes."""
        return self._status("VmHWM")

    def reset_rss_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def title(self):
        """The process title as `ps` shows it."""
        return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()

    def connect(self, **how):
        """An `SmtpClient` whose banner is not yet read."""
        return SmtpClient(self.address, **how)

    def session(self, **how):
        """An `SmtpClient` after banner and EHLO."""
        client = self.connect(**how)
        client.expect(220)
        client.ehlo()
        return client


# ---------------------------------------------------------------------------------------------------- raw SMTP client

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
        assert not codes or reply.code in codes or reply.code // 100 in codes, \
            f"{line!r}: wanted {codes}, got {reply.raw!r}"
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
        except (TimeoutError, socket.timeout):
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
    trace fields (and an empty line, where `sent` has no header) was put in front."""
    assert delivered.endswith(sent), f"not octet for octet: sent {sent[:300]!r}, came {delivered[:700]!r}"
    front = delivered[:len(delivered) - len(sent)]
    trace, rest = split_trace(front)
    assert trace and rest in (b"", b"\r\n"), f"put in front: {front!r}"
    return front


def headers_of(content):
    """`[(name in lower case, value with folding kept)]` of a message, as bytes."""
    block = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    return [(m[1].lower(), m[2].strip()) for m in
            re.finditer(rb"^([!-9;-~]+)[ \t]*:((?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*)", block, re.M)]


# ---------------------------------------------------------------------------------------------------- scripted server

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
    session: "Session"
    sender: str
    mail_parameters: str
    recipients: list = dataclasses.field(default_factory=list)      # accepted, addresses
    offered: list = dataclasses.field(default_factory=list)         # all, (address, parameters)
    raw: bytes = b""                                                # with dots, without the final dot line
    data: bytes = b""                                               # as meant
    is_complete: bool = False                                       # the final dot has come
    accepted: list = dataclasses.field(default_factory=list)        # recipients for whom 2xx was sent after the dot
    time: float = 0.0


class Session:
    """One connection to a `ScriptedServer`."""

    def __init__(self, server, connection, peer, number):
        self.server, self.socket, self.peer, self.number = server, connection, peer, number
        self.commands = []          # lines without CRLF, bytes
        self.violations = []        # what a client must not do
        self.transactions = []
        self.buffer = b""
        self.helo = None
        self.is_open = True
        self._verdict = None
        self.opened = time.monotonic()
        self.ended = None           # "quit", "peer closed", "dropped", "reset"

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
        parts, searched = [self.buffer], 0
        data = bytearray(self.buffer)
        if data.startswith(b".\r\n"):
            self.buffer = bytes(data[3:])
            return b""
        while True:
            at = data.find(b"\r\n.\r\n", max(0, searched - 4))
            if at >= 0:
                self.buffer = bytes(data[at + 5:])
                return bytes(data[:at + 2])
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
        if not self.buffer:
            if is_readable(self.socket, 0):
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
            self.stage(verb, "\n".join(
                f"250{'-' if number < len(lines) - 1 else ' '}{one}" for number, one in enumerate(lines)))
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

    def __init__(self, script=None, *, lmtp=False, capabilities=None, name="peer.test", host="127.0.0.1", port=None,
                 listening=True, receive_buffer=None, backlog=1024, keeps_content=True):
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
        wait_until(lambda: len(self.messages) >= count, timeout,
                   lambda: f"{count} messages at {self.name}: {len(self.messages)} came, {len(self.sessions)} sessions")
        return self.messages

    def wait_transactions(self, count=1, timeout=15.0):
        """Waits for so many final dots, whatever the reply."""
        wait_until(lambda: len(self.transactions) >= count, timeout,
                   lambda: f"{count} dots at {self.name}: {len(self.transactions)} came")
        return self.transactions

    def wait_sessions(self, count=1, timeout=15.0):
        wait_until(lambda: len(self.sessions) >= count, timeout,
                   lambda: f"{count} sessions at {self.name}: {len(self.sessions)} came")
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


# ---------------------------------------------------------------------------------------------------- DNS server

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
            labels.append(packet[at + 1:at + 1 + length].decode("latin-1"))
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
        question = packet[12:at + 4]
        kind = TYPE_NAMES.get(number, str(number))
        self.queries.append((name, kind))
        limit = 512
        if struct.unpack_from(">H", packet, 10)[0] and packet[at + 4:at + 7] == b"\0\0\x29":
            limit = max(512, struct.unpack_from(">H", packet, at + 7)[0])

        def build(code, answers, number=identity, truncated=False, authority=()):
            head = struct.pack(">HHHHHH", number, 0x8580 | (flags & 0x0100) | (0x0200 if truncated else 0) | code,
                               1, len(answers), len(authority), 0)
            return head + question + b"".join(
                encode_name(owner) + struct.pack(">HHIH", TYPES[t], 1, self.ttl, len(data)) + data
                for owner, t, data in [*answers, *authority])

        soa = [(name.split(".")[-1] or ".", "SOA", encode_name("ns.test") + encode_name("host.test")
                + struct.pack(">IIIII", 1, 3600, 600, 86400, self.ttl))]
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
        exists = any(key[0] == owner for key in self.records)
        packet = build(0 if exists or answers else 3, answers, authority=() if answers else soa)
        if is_udp and len(packet) > limit:
            packet = build(0, [], truncated=True)
        yield packet


# ---------------------------------------------------------------------------------------------------- programs

class Program:
    """A real program as a peer, ended by pid (and its process group, which is its own)."""

    def __init__(self, command, log, **how):
        self.log = Path(log)
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            start_new_session=True, **how)

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def accepts(address):
    """True when something accepts connections there."""
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False


def wait_listening(address, timeout=15.0, what="a listener"):
    wait_until(lambda: accepts(address), timeout, f"{what} at {host_port(address)}", interval=0.05)


def find_program(*names):
    """Path of the first that exists, also in sbin; None when there is none."""
    places = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin:/usr/lib/dovecot"
    return next((path for path in (shutil.which(name, path=places) for name in names) if path), None)
