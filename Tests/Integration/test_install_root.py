"""test_install_root.py — the image's promises, kept in a Debian with exactly the run-time packages and nothing else.

An arbitrary uid, no capabilities, a read-only root, one writable directory: it starts, delivers a real mail, answers its
health check without a line in the log, and stops within the grace period of a container engine.
"""

import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from harness import ROOT
from install import in_root, make_roots
from scripted import Sink
from waiting import free_port, wait_until


@pytest.fixture(scope="module")
def root():
    return make_roots()[0]


class Container:
    """Martlet in the root, as the image would run it."""

    def __init__(self, root, sink, variables=None, config=None):
        self.directory = Path(tempfile.mkdtemp(prefix="martlet-install-"))
        self.port = free_port()
        config_place = self.directory / "config"
        shutil.copytree(ROOT / "config", config_place)
        for name, text in (config or {}).items():
            (config_place / name).write_text(text)
        data = self.directory / "data"
        data.mkdir()
        # bwrap maps the uid inside to ours outside, so ours has to own what is writable.
        binds = [(config_place, "/etc/martlet", "ro"), (data, "/var/lib/martlet", "rw")]
        environment = {
            "MARTLET_LISTEN": f"127.0.0.1:{self.port}",
            "MARTLET_HOSTNAME": "relay.example.test",
            "MARTLET_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
            "MARTLET_CONFIG_DIR": "/etc/martlet",
            "MARTLET_DATA_DIR": "/var/lib/martlet",
        }
        if sink:
            environment |= {"RELAYHOST": f"[127.0.0.1]:{sink.address[1]}"}
        self.command = in_root(root, binds, variables=environment | (variables or {}))
        self.log_path = self.directory / "log"
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.command, "/usr/bin/martlet", "serve"], stdout=log, stderr=log)
        wait_until(lambda: " ready " in self.log or self.process.poll() is not None, 30, lambda: f"ready:\n{self.log}")
        assert self.process.poll() is None, self.log
        return self

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def run(self, *arguments):
        return subprocess.run(
            [*self.command, "/usr/bin/martlet", *arguments], capture_output=True, text=True, timeout=60
        )

    @property
    def pid(self):
        """Of the relay itself, below bwrap."""
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"MARTLET_LISTEN=127.0.0.1:{self.port}".encode() in path.read_bytes().split(b"\0"):
                    command = (path.parent / "exe").resolve()
                    if command.name == "martlet" or "martlet" in os.readlink(path.parent / "exe"):
                        return int(path.parent.name)
            except OSError:
                pass
        raise AssertionError("no such process")

    def stop(self):
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        self.process.wait(30)
        return self.process.returncode, time.monotonic() - begin

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def test_every_library_comes_from_the_run_time_packages(root):
    result = subprocess.run([*in_root(root), "ldd", "/usr/bin/martlet"], capture_output=True, text=True, timeout=60)
    missing = [line.strip() for line in result.stdout.splitlines() if "not found" in line]
    assert not missing and "libcurl" in result.stdout, f"{missing}\n{result.stdout}{result.stderr}"


def test_a_mail_goes_through_as_any_user_without_rights(root):
    with Sink() as sink, Container(root, sink) as relay:
        status = Path(f"/proc/{relay.pid}/status").read_text()
        assert re.search(r"^CapEff:\s*0+$", status, re.M), status
        assert subprocess.run([*relay.command, "touch", "/usr/bin/x"], capture_output=True).returncode != 0
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client:
            client.sendmail("a@example.org", ["b@example.com"], "Subject: First\r\n\r\nHello\r\n")
        wait_until(lambda: sink.messages, 20, lambda: f"the mail:\n{relay.log}")
        assert "RELAYHOST is understood; here it is called MARTLET_SMARTHOST_HOST" in relay.log
        code, seconds = relay.stop()
        assert code == 0 and seconds < 10, (code, seconds, relay.log)


def test_the_health_check_leaves_no_line(root):
    with Container(root, None) as relay:
        # The last word of a start, said by a task of its own behind `ready`.
        wait_until(lambda: " DNSSEC " in relay.log, 30, lambda: relay.log)
        before = relay.log
        for _ in range(3):
            result = relay.run("healthcheck")
            assert (result.returncode, result.stdout) == (0, "ok\n"), result
        assert relay.log == before
        relay.stop()
        result = relay.run("healthcheck")
        assert result.returncode == 69 and "cannot connect" in result.stderr, result


def test_an_unknown_variable_stops_the_start(root):
    relay = Container(root, None, {"MARTLET_OUTBOUND_DISABLE": "true"})
    result = relay.run("serve")
    assert result.returncode == 1
    assert "did you mean MARTLET_OUTBOUND_DISABLED?" in result.stderr, result.stderr


def test_secrets_come_from_files(root):
    with tempfile.NamedTemporaryFile("w", suffix=".secret") as secret:
        secret.write("out.example.test\n")
        secret.flush()
        relay = Container(root, None, {"MARTLET_HOSTNAME": "", "MARTLET_HOSTNAME_FILE": "/run/name"})
        place = relay.command.index("--setenv")
        # /run of the root is read-only: the secret is mounted over a file that is there.
        relay.command[place:place] = []
        relay.command = [*relay.command, "--ro-bind", secret.name, "/etc/hostname"]
        index = relay.command.index("/run/name")
        relay.command[index] = "/etc/hostname"
        result = relay.run("config", "show", "--origin", "--json")
        assert '"variable":"MARTLET_HOSTNAME_FILE"' in result.stdout and "out.example.test" in result.stdout, result
