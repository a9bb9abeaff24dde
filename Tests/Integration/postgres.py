"""postgres.py - a private PostgreSQL cluster on loopback, for tests of a queue that several relays share.

The server refuses root, so it runs as the user `postgres` that Debian's package makes, or as whoever runs the tests. Its files
lie below a short directory of its own, which is removed; it listens on one loopback port and trusts it.

    database = Postgres(tmp_path); database.start()
    relay = make_relay(files={"storage.ini": database.ini("a")}, ...)
    database.ask("SELECT count(*) FROM martlet.message")
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
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
    """`follows` makes it a standby of another one, which must run.

    `small`: megabytes of a disk of its own, in a mount namespace that nobody else sees (root alone can), on which the tables lie
    that are made from now on; `fill()` leaves nothing of it, `clear()` gives it back. The log of transactions lies elsewhere.
    """

    def __init__(self, settings="", follows=None, small=0):
        if small and os.getuid():
            pytest.skip("only root has disks of its own")
        self.bin = programs()
        self.small = small
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
        words = self._command("pg_ctl", "-D", self.data, "-l", self.directory / "log", "-w", "-t", "60", "start")
        if self.small:
            place = self.directory / "small"
            place.mkdir(exist_ok=True)
            script = f'mount -t tmpfs -o size={self.small}m,mode=700,uid={self.user} none {place} && exec "$@"'
            words = ["unshare", "-m", "sh", "-c", script, "sh", *words]
        result = subprocess.run(
            words, capture_output=True, text=True, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        )
        assert result.returncode == 0, f"{result.stdout}{result.stderr}"
        if self.small:
            self.ask(f"CREATE TABLESPACE small LOCATION '{place}'")
            self.ask("ALTER DATABASE postgres SET default_tablespace = small")
        return self

    def fill(self):
        """Not a byte is left on the small disk."""
        for step in ("1000000", "8192", "100"):
            self._ask(f"COPY (SELECT repeat('x', {step}) FROM generate_series(1, 1000000)) TO '{self._filler(step)}'")

    def clear(self):
        for step in ("1000000", "8192", "100"):
            self.ask(f"COPY (SELECT 1) TO '{self._filler(step)}'")

    def _filler(self, step):
        return self.directory / "small" / f"filler-{step}"

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
        return self._ask(sql, check=True)

    def _ask(self, sql, check=False):
        words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.uri, "-c", sql]
        return self._run("psql", *words, check=check).stdout.strip()

    def transactions(self):
        """How many there were, of whomever."""
        return self.number("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'")

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


class Cutter:
    """Stands in front of a server and cuts each connection behind so many messages of the protocol, in either direction.

    Counted from the first message of a client that holds `trigger`. `cuts` gives the number then; None: it is left alone. Messages are
    told apart by their lengths, so that every phase of a transaction is met: behind the BEGIN, in the middle of the rows of a COPY,
    behind the COMMIT and before its answer.
    """

    def __init__(self, port, cuts, trigger):
        self.target, self.cuts, self.trigger, self.cut = port, cuts, trigger, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.open = set()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def uri(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            both = (client, server)
            self.open.add(both)
            left = [None]
            for source, to, starts in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._carry, args=(source, to, both, left, starts), daemon=True).start()

    def _carry(self, source, to, both, left, is_client):
        # What a client says first has no letter in front, and an answer to its question for TLS is one.
        buffer, starting = b"", is_client
        try:
            while piece := source.recv(65536):
                buffer += piece
                while buffer:
                    if not is_client and buffer[:1] == b"N" and len(buffer) == 1:
                        size = 1
                    else:
                        head = 0 if starting else 1
                        if len(buffer) < head + 4:
                            break
                        size = head + int.from_bytes(buffer[head : head + 4], "big")
                        if len(buffer) < size:
                            break
                    if is_client and left[0] is None and self.trigger in buffer[:size]:
                        left[0] = self.cuts()
                    elif left[0] is not None:
                        if left[0] <= 0:
                            self.cut += 1
                            return
                        left[0] -= 1
                    if starting and buffer[4:8] != b"\x04\xd2\x16\x2f":  # not the question for TLS
                        starting = False
                    to.sendall(buffer[:size])
                    buffer = buffer[size:]
        except OSError:
            pass
        finally:
            self._end(both)

    def _end(self, both):
        for one in both:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.open.discard(both)

    def close(self):
        self.server.close()
        for both in list(self.open):
            self._end(both)


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
