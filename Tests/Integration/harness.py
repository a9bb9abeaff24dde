"""harness.py - the relay under test, for black-box tests (standard library only).

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
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from smtp_client import SmtpClient
from waiting import PATIENCE, Timeout, free_port, host_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
MARTLET = os.environ.get("MARTLET") or str(ROOT / ".build" / "release" / "martlet")
SOAK = os.environ.get("TEST_SOAK", "") not in ("", "0")


def environment():
    """Ours for a relay: without the variables of the tests, which it would refuse as unknown settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MARTLET")}


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
                return cls(
                    raw,
                    keys.pop("time", ""),
                    keys.pop("level", ""),
                    keys.pop("message", ""),
                    {k: v if isinstance(v, str) else json.dumps(v) for k, v in keys.items()},
                )
            except ValueError:
                return cls(raw)
        parts = raw.split(" ", 2)
        if len(parts) < 3 or not re.match(r"\d{4}-\d\d-\d\dT", parts[0]):
            return cls(raw)
        rest = parts[2]
        first = _PAIR.search(rest)
        message = (rest[: first.start()] if first else rest).strip()
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

    OUTBOUND = {"enable_tls": False, "temp_fail_intervals": "1s*100", "lane_rest_max": 1, "connect_timeout": 5}

    def __init__(
        self,
        directory,
        *,
        routes=None,
        smtp=None,
        outbound=None,
        allow=("127.0.0.0/8", "::1/128"),
        me="relay.test",
        resolver=None,
        files=None,
        listen=None,
        prefix=(),
        env=None,
        binary=None,
        arguments=(),
        log_format="text",
    ):
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
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(), **self.env},
                cwd=self.directory,
            )
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20.0):
        def ready():
            for line in self.log[self.log_mark :]:
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
        return subprocess.run(
            [self.binary, *arguments, *place],
            capture_output=True,
            timeout=timeout,
            text=True,
            env={**environment(), **self.env},
        )

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

        return wait_until(
            found, timeout, lambda: f"{count} x {message!r} {keys}; log:\n{self.log_tail()}", interval=0.02
        )[-1]

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
