"""postgres.py - a private PostgreSQL cluster on loopback, for tests of a queue that several relays share.

The server refuses root, so it runs as the user `postgres` that Debian's package makes, or as whoever runs the tests. Its files
lie below a short directory of its own, which is removed; it listens on one loopback port and trusts it.

    database = Postgres(tmp_path); database.start()
    relay = make_relay(files={"storage.ini": database.ini("a")}, ...)
    database.ask("SELECT count(*) FROM martlet.message")
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from waiting import free_port, wait_listening, wait_until

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
shared_buffers = 64MB
fsync = on
synchronous_commit = on
max_wal_size = 512MB
log_min_messages = warning
autovacuum_naptime = 5s
"""


def programs():
    """Debian's newest, outside of the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parent.parent.name))
    if not found:
        pytest.skip("no PostgreSQL")
    return found[-1].parent


class Postgres:
    """`follows` makes it a standby of another one, which must run."""

    def __init__(self, settings="", follows=None):
        self.bin = programs()
        # Where postgres may go: a test's own directory is closed to others.
        self.directory = Path(tempfile.mkdtemp(prefix="martlet-pg-"))
        self.data = self.directory / "data"
        self.port = free_port()
        self.settings = settings
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(self.directory, self.user)
            self.directory.chmod(0o700)
        if follows:
            primary = f"host=127.0.0.1 port={follows.port} user=postgres"
            self._run("pg_basebackup", "-D", self.data, "-R", "-d", primary, "-c", "fast")
        else:
            self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(f"{SETTINGS}\nport = {self.port}\n{settings}\n")

    def _command(self, program, *arguments):
        words = [str(self.bin / program), *map(str, arguments)]
        return (
            ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *words]
            if os.getuid() == 0
            else words
        )

    def _run(self, program, *arguments, check=True):
        result = subprocess.run(
            self._command(program, *arguments), capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin:/bin"}
        )
        assert not check or result.returncode == 0, f"{program}: {result.stdout}{result.stderr}"
        return result

    def start(self):
        self._run("pg_ctl", "-D", self.data, "-l", self.directory / "log", "-w", "-t", "60", "start")
        return self

    def promote(self):
        self._run("pg_ctl", "-D", self.data, "-w", "promote")

    def set(self, key, value):
        self.ask(f"ALTER SYSTEM SET {key} = '{value}'")
        self.ask("SELECT pg_reload_conf()")

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop", check=False)

    @property
    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self):
        """As a power cut of the process: nothing is written any more."""
        pid = self.pid
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the server")

    @property
    def uri(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def ini(self, node, uri=None, **keys):
        lines = [f"queue = {uri or self.uri}", f"node = {node}", *(f"{key} = {value}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"

    def ask(self, sql):
        """The first column of the first row, as text."""
        result = self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.uri, "-c", sql)
        return result.stdout.strip()

    def number(self, sql):
        return int(self.ask(sql) or 0)

    def end_backends(self):
        """Cuts every connection of a relay."""
        return self.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'martlet'"
        )

    def close(self):
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)


class Pooler:
    """PgBouncer in transaction mode in front of a cluster: a session's state is gone with its transaction."""

    def __init__(self, database, size=3):
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not os.path.exists(program):
            pytest.skip("no PgBouncer")
        self.port = free_port()
        directory = database.directory / "pooler"
        directory.mkdir()
        (directory / "users").write_text('"postgres" ""\n')
        (directory / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {directory}/users\npool_mode = transaction\n"
            f"default_pool_size = {size}\nserver_reset_query_always = 1\nserver_reset_query = DISCARD ALL\n"
        )
        if os.getuid() == 0:
            for path in [directory, *directory.iterdir()]:
                shutil.chown(path, database.user)
        identity = [f"--reuid={database.user}", f"--regid={database.user}", "--clear-groups"]
        command = [program, "-q", str(directory / "ini")]
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", *identity, *command] if os.getuid() == 0 else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        wait_listening(("127.0.0.1", self.port))

    @property
    def uri(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def close(self):
        self.process.kill()
        self.process.wait()
