"""test_milters_debian.py - OpenDKIM, OpenDMARC, clamav-milter and rspamd as Debian ships them, alone and in a chain."""

import getpass
import os
import re
import subprocess

import pytest
from dns_server import DnsServer
from milter_peer import ScriptedMilter
from smtp_client import SmtpClient
from story import text
from test_dkim import verify
from waiting import Program, find_program, free_port, fresh_address, wait_listening, wait_until

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PLACES = ["inet", "unix"]


def needed(*names):
    path = find_program(*names)
    if path is None:
        pytest.skip(f"{names[0]} is not installed")
    return path


@pytest.fixture
def sealed(tmp_path, closing):
    """`sealed(command)`: the command with a DNS of the test's own, which knows nobody: nothing leaves this machine."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a mount namespace")
    server = closing(DnsServer(host=fresh_address(), port=53))
    (tmp_path / "resolv.conf").write_text(f"nameserver {server.host}\noptions timeout:1 attempts:1\n")
    mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return lambda command: ["unshare", "-m", "sh", "-c", mount, str(tmp_path / "resolv.conf"), *map(str, command)]


class Place:
    """A socket as the milter's own file writes it, and as ours does."""

    def __init__(self, kind, directory, name):
        directory.mkdir(exist_ok=True)
        self.kind, self.path, self.port = kind, directory / f"{name}.sock", free_port()
        self.ours = f"inet:127.0.0.1:{self.port}" if kind == "inet" else f"unix:{self.path}"
        self.sendmail = f"inet:{self.port}@127.0.0.1" if kind == "inet" else f"local:{self.path}"

    def wait(self):
        if self.kind == "inet":
            wait_listening(("127.0.0.1", self.port), 60)
        else:
            wait_until(self.path.exists, 60, f"{self.path}")


@pytest.fixture
def opendkim(tmp_path, closing, sealed):
    program = needed("opendkim")

    def start(kind):
        place = Place(kind, tmp_path / "dkim", "dkim")
        key, public = tmp_path / "dkim" / "s.private", tmp_path / "dkim" / "s.pem"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
        key.chmod(0o600)
        config = tmp_path / "dkim" / "opendkim.conf"
        config.write_text(
            f"Socket {place.sendmail}\nDomain report.test\nSelector s\nKeyFile {key}\nMode s\nSyslog no\n"
            f"Canonicalization relaxed/simple\nInternalHosts 127.0.0.1\nUMask 000\nRequireSafeKeys false\n"
        )
        closing(Program(sealed([program, "-f", "-x", config]), tmp_path / "dkim" / "log"))
        place.wait()
        text = "".join(line for line in public.read_text().splitlines() if not line.startswith("-"))
        return place.ours, {"s._domainkey.report.test.": f"v=DKIM1; k=rsa; p={text}"}

    return start


@pytest.fixture
def opendmarc(tmp_path, closing, sealed):
    program = needed("opendmarc")

    def start(kind):
        place = Place(kind, tmp_path / "dmarc", "dmarc")
        config = tmp_path / "dmarc" / "opendmarc.conf"
        config.write_text(
            f"Socket {place.sendmail}\nAuthservID relay.test\nTrustedAuthservIDs relay.test\nSyslog false\nUMask 000\n"
            f"IgnoreHosts {tmp_path / 'dmarc' / 'ignored'}\nRequiredHeaders true\nRejectFailures true\n"
        )
        (tmp_path / "dmarc" / "ignored").write_text("192.0.2.1\n")
        closing(Program(sealed([program, "-f", "-c", config]), tmp_path / "dmarc" / "log"))
        place.wait()
        return place.ours

    return start


@pytest.fixture
def clamav(tmp_path, closing):
    """clamav-milter and clamd, which knows one signature: the one of the test file."""
    milter, daemon = needed("clamav-milter"), needed("clamd")

    def start(kind):
        directory = tmp_path / "clam"
        place = Place(kind, directory, "milter")
        data, user = directory / "db", getpass.getuser()
        data.mkdir()
        (data / "test.ndb").write_text(f"Test.Virus:0:*:{EICAR.hex()}\n")
        engine = directory / "clamd.sock"
        (directory / "clamd.conf").write_text(
            f"DatabaseDirectory {data}\nLocalSocket {engine}\nForeground yes\nLogFile {directory / 'clamd.log'}\n"
            f"User {user}\nMaxThreads 2\n"
        )
        (directory / "milter.conf").write_text(
            f"MilterSocket {place.sendmail}\nClamdSocket unix:{engine}\nForeground yes\nOnInfected Reject\n"
            f"AddHeader Replace\nLogFile {directory / 'milter.log'}\nUser {user}\nMilterSocketMode 666\n"
        )
        closing(Program([daemon, "-c", directory / "clamd.conf"], directory / "clamd.out"))
        wait_until(engine.exists, 120, "clamd")
        closing(Program([milter, "-c", directory / "milter.conf"], directory / "milter.out"))
        place.wait()
        return place.ours

    return start


@pytest.fixture
def rspamd(tmp_path, closing):
    """rspamd's proxy as a milter that scans by itself: no network, no Redis, one rule of its own."""
    program = needed("rspamd")

    def start(kind):
        directory = tmp_path / "rspamd"
        place = Place(kind, directory, "rspamd")
        socket = f"127.0.0.1:{place.port}" if kind == "inet" else f"{place.path} mode=0666"
        (directory / "rules.lua").write_text(
            'rspamd_config:register_symbol{name = "TEST_SPAM", score = 100, callback = function(task)\n'
            '  return (task:get_subject() or ""):find("viagra") ~= nil\nend}\n'
        )
        (directory / "rspamd.conf").write_text(
            f"""
            options {{ pidfile = "{directory}/pid"; filters = ""; tempdir = "{directory}"; dns {{ nameserver = ["127.0.0.1:1"];
              timeout = 0.1s; retransmits = 1; }} }}
            logging {{ type = "file"; filename = "{directory}/rspamd.log"; level = "info"; }}
            lua = "{directory}/rules.lua"
            metric {{ name = "default"; actions {{ reject = 15; add_header = 6; }}
              group "test" {{ symbol "TEST_SPAM" {{ weight = 100; }} }} }}
            actions {{ reject = 15; add_header = 6; }}
            worker "rspamd_proxy" {{ bind_socket = "{socket}"; milter = yes; timeout = 30s; count = 1;
              upstream "local" {{ default = yes; self_scan = yes; }} }}
            """
        )
        user = ["--insecure"] if os.getuid() == 0 else []
        closing(Program([program, "-f", *user, "-c", directory / "rspamd.conf"], directory / "log"))
        place.wait()
        return place.ours

    return start


@pytest.fixture
def filtered(make_relay, sink):
    def make(**milters):
        lines = "".join(f"[{name}]\nsocket = {place}\n" for name, place in milters.items())
        return make_relay(routes={"*": sink.route}, files={"milters.ini": lines})

    return make


def send(relay, content):
    with SmtpClient(relay.address, timeout=60) as client:
        client.expect(220)
        client.ehlo()
        client.mail("a@report.test")
        client.rcpt("b@b.test")
        client.command("DATA", 354)
        client.send(content + b".\r\n")
        return client.read_reply()


def thrice(relay, sink, content):
    """The same message twice in one session, on one connection to the milter, and once in another."""
    with SmtpClient(relay.address, timeout=60) as client:
        client.expect(220)
        client.ehlo()
        for _ in range(2):
            assert client.message("a@report.test", ["b@b.test"], content), relay.log_tail()
    assert send(relay, content).code == 250, relay.log_tail()
    sink.wait_for(3)
    assert not relay.log_lines("milter gives no verdict"), relay.log_tail()
    return sink.messages


@pytest.mark.parametrize("kind", PLACES)
def test_opendkim_signs(filtered, opendkim, sink, kind):
    place, records = opendkim(kind)
    for message in thrice(filtered(dkim=place), sink, text(body=b"hello\r\n" * 20_000)):
        assert verify(message.data, records) == [True], message.data[:1000]


@pytest.mark.parametrize("kind", PLACES)
def test_opendmarc_reads(filtered, opendmarc, sink, kind):
    content = text(extra=b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@report.test>\r\n")
    for message in thrice(filtered(dmarc=opendmarc(kind)), sink, content):
        assert b"Authentication-Results: relay.test; dmarc=" in message.data or b"dmarc" in message.data.lower()


@pytest.mark.parametrize("kind", PLACES)
def test_clamav_milter_finds(filtered, clamav, sink, kind):
    relay = filtered(clamav=clamav(kind))
    for message in thrice(relay, sink, text()):
        assert re.search(rb"\r\nX-Virus-Status: Clean\r\n", message.data), message.data
    reply = send(relay, text(body=EICAR + b"\r\n"))
    assert reply.code == 550, reply
    assert len(sink.messages) == 3


@pytest.mark.parametrize("kind", PLACES)
def test_rspamd_judges(filtered, rspamd, sink, kind):
    relay = filtered(rspamd=rspamd(kind))
    thrice(relay, sink, text(body=b"hello\r\n" * 10_000))
    reply = send(relay, text(subject="viagra"))
    assert reply.code in (550, 554), f"{reply}\n{relay.log_tail()}"
    assert len(sink.messages) == 3


def test_all_of_them_in_a_chain(filtered, rspamd, clamav, opendmarc, opendkim, closing, sink):
    own = closing(ScriptedMilter())
    place, records = opendkim("unix")
    relay = filtered(rspamd=rspamd("inet"), clamav=clamav("unix"), dmarc=opendmarc("inet"), dkim=place, own=own.socket)
    content = text(extra=b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@report.test>\r\n")
    for message in thrice(relay, sink, content):
        assert b"X-Virus-Status: Clean" in message.data
        assert verify(message.data, records) == [True]
    seen = b"".join(own.asked("L"))
    assert b"DKIM-Signature\0" in seen and b"X-Virus-Status\0" in seen
    assert send(relay, text(subject="viagra")).code in (550, 554)
    assert send(relay, text(body=EICAR + b"\r\n")).code == 550
    assert len(sink.messages) == 3
