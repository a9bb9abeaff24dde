"""waiting.py - waiting for conditions, ports and addresses of one's own, programs that are ended by pid (standard library only).

Nothing sleeps for a guess: `wait_until` waits for a condition with a deadline; a port is held by a lock file while the
process lives, so that parallel workers never meet.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))  # multiplies every deadline of a wait: slow machines


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


class Program:
    """A real program as a peer, ended by pid (and its process group, which is its own)."""

    def __init__(self, command, log, **how):
        self.log = Path(log)
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **how
            )

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
