"""test_tls_reception.py - TLS for clients: STARTTLS and implicit TLS, certificates, what is refused and forgotten.

RFC 3207 (STARTTLS), 8314 (implicit TLS), 8446 (TLS 1.3), 8689 (REQUIRETLS); rows R3 of the threats (CVE-2011-0411, "NO
STARTTLS"). Clients are Python's ssl and smtplib, swaks and `openssl s_client`; certificates come from `openssl` and from
`martlet tls self-signed`.
"""

import json
import random
import re
import smtplib
import socket
import ssl
import subprocess

import pytest
from harness import MARTLET, environment
from peers import need
from scripted import Sink
from waiting import PATIENCE, free_port, host_port, wait_until

MESSAGE = "From: a@a.test\r\nTo: b@b.test\r\nSubject: over TLS\r\n\r\nA line.\r\n"


# ------------------------------------------------------------------------------------------------ certificates


def openssl(*arguments, **how):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60, **how)


class Authority:
    """A certificate authority of the test's own, in a directory."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.cert, self.key = directory / "ca.pem", directory / "ca.key"
        openssl(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            self.key,
            "-out",
            self.cert,
            "-subj",
            "/CN=Test CA",
            "-days",
            "30",
        )

    def issue(self, *names):
        """`(key, chain)` as bytes, for these host names."""
        stem = self.directory / f"{random.randrange(1 << 40):x}"
        key, request, cert, ext = (stem.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            key,
            "-out",
            request,
            "-subj",
            f"/CN={names[0]}",
        )
        ext.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        openssl(
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.cert,
            "-CAkey",
            self.key,
            "-CAcreateserial",
            "-days",
            "20",
            "-extfile",
            ext,
            "-out",
            cert,
        )
        return key.read_bytes(), cert.read_bytes()

    def context(self, **how):
        context = ssl.create_default_context(cafile=str(self.cert))
        for name, value in how.items():
            setattr(context, name, value)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    need("openssl")
    return Authority(tmp_path_factory.mktemp("ca") / "ca")


def anybody(**how):
    """A client that looks at no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in how.items():
        setattr(context, name, value)
    return context


class House:
    """A relay with TLS on both kinds of listener, and the sink it delivers to."""

    def __init__(self, make_relay, closing, authority, tls="", smtp=None, files=None, **how):
        self.sink = closing(Sink())
        self.key, self.cert = authority.issue("relay.test")
        files = {"tls_key.pem": self.key, "tls_cert.pem": self.cert, "tls.ini": tls, **(files or {})}
        self.relay = make_relay(
            routes={"*": self.sink.address},
            files=files,
            smtp={"smtps_listen": f"127.0.0.1:{free_port()}", **(smtp or {})},
            **how,
        )
        self.plain, self.implicit = self.relay.addresses[:2]

    def starttls(self, context=None):
        client = smtplib.SMTP(*self.plain, timeout=15 * PATIENCE)
        client.ehlo()
        client._host = "relay.test"  # the name that is verified and asked for
        client.starttls(context=context or anybody())
        return client

    def smtps(self, context=None):
        context = context or anybody()
        raw = socket.create_connection(self.implicit, timeout=15 * PATIENCE)
        return context.wrap_socket(raw, server_hostname="relay.test")

    def certificate(self):
        """What the listener shows now, in DER."""
        with self.smtps() as channel:
            return channel.getpeercert(True)


@pytest.fixture
def make_house(make_relay, closing, authority):
    return lambda **how: House(make_relay, closing, authority, **how)


@pytest.fixture
def house(make_house):
    return make_house()


def hello(plain):
    """A raw session behind EHLO, and what was offered."""
    raw = socket.create_connection(plain, timeout=15 * PATIENCE)
    reader = raw.makefile("rb")
    reader.readline()
    raw.sendall(b"EHLO c.test\r\n")
    lines = []
    while True:
        lines.append(reader.readline())
        if lines[-1][3:4] != b"-":
            return raw, reader, b"".join(lines)


# ------------------------------------------------------------------------------------------------ mail gets through


def test_starttls_carries_mail(house, authority):
    with house.starttls(authority.context()) as client:
        assert "starttls" not in client.esmtp_features
        client.ehlo()
        assert client.has_extn("requiretls") and not client.has_extn("starttls")
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    mail = house.sink.wait_for(1)[0]
    text = mail.data.decode()
    assert re.search(r"with ESMTPS\r\n\t\(TLSv1\.3 TLS_\w+\) id ", text), text
    line = wait_until(lambda: [l for l in house.relay.log if l.message == "message accepted"], what="the log line")[0]
    assert line["tls"].startswith("TLSv1.3 TLS_")


def test_implicit_tls_carries_mail(house, authority):
    context = authority.context()
    with smtplib.SMTP(timeout=15 * PATIENCE) as client:
        client.sock = house.smtps(context)
        client.file = None
        assert client.getreply()[0] == 220
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    assert b"with ESMTPS" in house.sink.wait_for(1)[0].data


def test_plaintext_is_served_as_before(house):
    with smtplib.SMTP(*house.plain, timeout=15 * PATIENCE) as client:
        client.ehlo()
        assert client.has_extn("starttls") and not client.has_extn("requiretls")
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    assert b"with ESMTP id" in house.sink.wait_for(1)[0].data


def test_large_mail_over_tls(house):
    body = "".join(f"{n:077d}\r\n" for n in range(50_000))
    with house.starttls() as client:
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE + body)
    assert house.sink.wait_for(1, timeout=60)[0].data.endswith(body.encode())


def test_many_messages_in_one_session(house):
    with house.starttls() as client:
        for n in range(50):
            client.sendmail("a@a.test", [f"b{n}@b.test"], MESSAGE)
    house.sink.wait_for(50, timeout=60)


def test_quit_ends_with_close_notify(house):
    with house.smtps() as channel:
        channel.suppress_ragged_eofs = False
        channel.recv(500)
        channel.sendall(b"QUIT\r\n")
        assert channel.recv(500).startswith(b"221")
        assert channel.recv(500) == b""  # a violation would be an ssl.SSLError


def test_swaks_sends_both_ways(house):
    need("swaks")
    for address, options in ((house.plain, ["--tls"]), (house.implicit, ["--tls-on-connect"])):
        done = subprocess.run(
            ["swaks", "--server", f"{address[0]}:{address[1]}", "--from", "a@a.test", "--to", "b@b.test", *options],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "TLS started with cipher" in done.stdout
    house.sink.wait_for(2)


def test_a_handshake_in_single_octets(house):
    """Ciphertext that arrives an octet at a time."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = anybody().wrap_bio(incoming, outgoing, server_hostname="relay.test")
    raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def step(action):
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    raw.send(bytes([byte]))
                received = raw.recv(3)
                assert received, "closed"
                incoming.write(received)

    step(engine.do_handshake)
    assert step(lambda: engine.read(100)).startswith(b"220 ")
    raw.close()


# ------------------------------------------------------------------------------------------------ the moment of STARTTLS


@pytest.mark.parametrize("injected", [b"RSET\r\n", b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<b@b.test>\r\n", b"X", b"\r\n"])
def test_octets_behind_starttls_are_refused(house, injected):
    raw, reader, offered = hello(house.plain)
    assert b"STARTTLS" in offered
    raw.sendall(b"STARTTLS\r\n" + injected)
    assert reader.readline().startswith(b"554 ")
    assert reader.read() == b""
    raw.close()


def test_plaintext_after_220_is_not_obeyed(house):
    raw, reader, _ = hello(house.plain)
    raw.sendall(b"STARTTLS\r\n")
    assert reader.readline().startswith(b"220 ")
    raw.sendall(b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n")
    assert not re.search(rb"^[2345]\d\d ", reader.read(), re.M)  # an alert at most
    raw.close()


def test_everything_is_forgotten_behind_the_handshake(house):
    raw, reader, _ = hello(house.plain)
    raw.sendall(b"STARTTLS\r\n")
    assert reader.readline().startswith(b"220 ")
    with anybody().wrap_socket(raw) as channel:
        channel.sendall(b"MAIL FROM:<a@a.test>\r\n")
        assert channel.recv(500).startswith(b"503 ")


def test_starttls_in_a_transaction_is_refused(house):
    raw, reader, _ = hello(house.plain)
    raw.sendall(b"MAIL FROM:<a@a.test>\r\n")
    assert reader.readline().startswith(b"250 ")
    raw.sendall(b"STARTTLS\r\n")
    assert reader.readline().startswith(b"503 ")
    raw.close()


def test_a_handshake_that_stalls_ends(make_house):
    house = make_house(smtp={"timeouts.tls": 1})
    raw, reader, _ = hello(house.plain)
    raw.sendall(b"STARTTLS\r\n")
    assert reader.readline().startswith(b"220 ")
    assert not re.search(rb"^\d\d\d ", reader.read(), re.M)
    with socket.create_connection(house.implicit, timeout=15 * PATIENCE) as silent:
        assert b"220" not in silent.recv(500)
    assert house.starttls().noop()[0] == 250


def test_garbage_never_ends_the_relay(house):
    """A seeded fuzz of the transition: pieces of a real ClientHello, mixed, cut and broken."""
    maker, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = anybody().wrap_bio(maker, out, server_hostname="relay.test")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    real = out.read()
    chance = random.Random(3207)
    for turn in range(60):
        octets = bytearray(real)
        for _ in range(chance.randrange(0, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        if turn % 3 == 0:
            octets = octets[: chance.randrange(1, len(octets))]
        if turn % 5 == 0:
            octets = bytearray(chance.randbytes(chance.randrange(1, 3000)))
        if turn % 2:
            raw, reader, _ = hello(house.plain)
            lead = chance.choice([b"STARTTLS\r\n", b"NOOP\r\nSTARTTLS\r\n", b"starttls\r\n"])
            if chance.random() < 0.5:
                raw.sendall(lead + bytes(octets))
            else:
                raw.sendall(lead)
                while not reader.readline().startswith(b"220 "):
                    pass
                raw.sendall(bytes(octets))
        else:
            raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
            raw.sendall(bytes(octets))
        raw.shutdown(socket.SHUT_WR)
        try:
            while raw.recv(65536):
                pass
        except OSError:
            pass
        raw.close()
    with house.starttls() as client:
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    house.sink.wait_for(1)
    assert house.relay.is_running


# ------------------------------------------------------------------------------------------------ versions, sessions


def test_versions_and_ciphers(make_house):
    house = make_house()
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with house.smtps(anybody(minimum_version=version, maximum_version=version)) as channel:
            assert channel.version() == name
            assert channel.cipher()[2] >= 128
    with pytest.raises((ssl.SSLError, ConnectionError)):
        old = anybody()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        house.smtps(old).recv(1)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        weak = anybody(maximum_version=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers("AES128-SHA:@SECLEVEL=0")
        house.smtps(weak).recv(1)


def test_minimum_version_is_obeyed(make_house):
    house = make_house(tls="minVersion=TLSv1.3\nciphers=TLS_CHACHA20_POLY1305_SHA256\n")
    with house.smtps() as channel:
        assert (channel.version(), channel.cipher()[0]) == ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        house.smtps(anybody(maximum_version=ssl.TLSVersion.TLSv1_2)).recv(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(house, version):
    context = anybody(minimum_version=version, maximum_version=version)
    with house.smtps(context) as channel:
        assert channel.recv(500).startswith(b"220")
        session = channel.session
        assert not channel.session_reused
    raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
    with context.wrap_socket(raw, server_hostname="relay.test", session=session) as channel:
        assert channel.recv(500).startswith(b"220")
        assert channel.session_reused


def test_renegotiation_is_refused(house):
    need("openssl")
    address = host_port(house.implicit)
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", address, "-tls1_2", "-noservername"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        text = b""
        while b"220 relay.test" not in text:
            piece = client.stdout.read1(65536)
            assert piece, text
            text += piece
        client.stdin.write(b"R\n")
        client.stdin.flush()
        out, _ = client.communicate(timeout=30)
    finally:
        client.kill()
        client.wait()
    assert b"no renegotiation" in text + out, out


# ------------------------------------------------------------------------------------------------ certificates


def test_names_choose_the_certificate(make_house, authority):
    key, cert = authority.issue("mail.other.test")
    wild_key, wild_cert = authority.issue("*.wild.test")
    house = make_house(
        tls="[mail.other.test]\nkey=other.key\ncert=other.pem\n[*.wild.test]\nkey=wild.key\ncert=wild.pem\n",
        files={"other.key": key, "other.pem": cert, "wild.key": wild_key, "wild.pem": wild_cert},
    )
    for name in ("relay.test", "mail.other.test", "a.wild.test"):
        raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
        with authority.context().wrap_socket(raw, server_hostname=name) as channel:  # verifies the name
            assert channel.recv(500).startswith(b"220")
    raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
    with pytest.raises(ssl.SSLCertVerificationError):
        authority.context().wrap_socket(raw, server_hostname="unknown.test")


def test_a_new_certificate_needs_no_restart(house, authority):
    """Sessions that stand go on; new ones see the new certificate; a broken pair changes nothing."""
    before = house.certificate()
    standing = house.starttls()
    key, cert = authority.issue("relay.test")
    house.relay.write("tls_key.pem", key)  # the cert does not fit now, for a moment
    house.relay.write("tls_cert.pem", cert)
    wait_until(lambda: house.certificate() != before, what="the new certificate")
    standing.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    standing.quit()
    house.sink.wait_for(1)

    good = house.certificate()
    other_key, _ = authority.issue("relay.test")
    house.relay.write("tls_key.pem", other_key)
    line = house.relay.wait_log("configuration is invalid, the last good one stays")
    assert line["file"] == "tls.ini" and "tls_key.pem" in line["reason"] and "do not belong together" in line["reason"]
    assert house.certificate() == good
    house.relay.write("tls_key.pem", b"nothing of the kind")
    wait_until(lambda: any("no PEM private key" in (l["reason"] or "") for l in house.relay.log), what="the reason")
    assert house.certificate() == good
    house.relay.write("tls_key.pem", key)
    house.relay.hup()
    with house.starttls() as client:
        client.sendmail("a@a.test", ["c@b.test"], MESSAGE)
    house.sink.wait_for(2)


def test_a_key_that_others_may_read_is_refused(house):
    before = house.certificate()
    (house.relay.config / "tls_key.pem").chmod(0o644)
    (house.relay.config / "tls_cert.pem").touch()
    line = house.relay.wait_log("configuration is invalid, the last good one stays")
    assert line["file"] == "tls_key.pem" and "mode 644" in line["reason"]
    assert house.certificate() == before


def test_certificate_files_that_vanish_change_nothing(house):
    before = house.certificate()
    (house.relay.config / "tls_key.pem").unlink()
    (house.relay.config / "tls_cert.pem").unlink()
    wait_until(lambda: [l for l in house.relay.log if l.level in ("warning", "error")], what="a line in the log")
    assert house.certificate() == before


def test_self_signed_makes_a_first_start(make_relay, closing):
    """Without a certificate there is no STARTTLS; the command makes one, and the running relay takes it."""
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.address})
    raw, _, offered = hello(relay.address)
    raw.close()
    assert b"STARTTLS" not in offered
    command = [MARTLET, "tls", "self-signed", "--config", str(relay.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "relay.test" in done.stdout
    assert (relay.config / "tls_key.pem").stat().st_mode & 0o777 == 0o600

    def offers():
        raw, _, offered = hello(relay.address)
        raw.close()
        return b"STARTTLS" in offered

    wait_until(offers, what="STARTTLS")
    context = ssl.create_default_context(cafile=str(relay.config / "tls_cert.pem"))
    with smtplib.SMTP(*relay.address, timeout=15 * PATIENCE) as client:
        client._host = "relay.test"
        client.starttls(context=context)
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)
    sink.wait_for(1)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert again.returncode == 1 and "--force" in again.stdout
    assert (
        subprocess.run(
            [*command, "--force", "--rsa", "--name", "192.0.2.1"], capture_output=True, timeout=60, env=environment()
        ).returncode
        == 0
    )
    assert relay.run("check").returncode == 0


@pytest.mark.parametrize(
    "files, reason",
    [
        ({"tls_key.pem": "x", "tls_cert.pem": "x"}, "no PEM certificate"),
        ({"tls_key.pem": "x"}, "there is no file tls_cert.pem"),
        ({"tls.ini": "ciphers=NONSENSE\n"}, None),
        ({"smtp.ini": "listen=127.0.0.1:1\nsmtps_listen=127.0.0.1:2\n"}, "smtps_listen needs a certificate"),
    ],
)
def test_check_says_what_is_wrong(make_relay, files, reason):
    relay = make_relay(started=False)
    for name, text in files.items():
        relay.write(name, text)
    done = relay.run("check")
    assert done.returncode == (1 if reason else 0), done.stdout
    assert reason is None or reason in done.stdout, done.stdout


# ------------------------------------------------------------------------------------------------ clients' certificates


def test_a_clients_certificate_lets_it_relay(make_house, authority, tmp_path):
    def client_files(name):
        key, cert = authority.issue(name)
        path = tmp_path / f"{name}.pem"
        path.write_bytes(key + cert)
        digest = openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").stdout.decode().strip()
        return path, digest

    (known, fingerprint), (other, _) = client_files("app.test"), client_files("stranger.test")
    house = make_house(
        tls="requestCert=true\n", allow=["192.0.2.0/24"], files={"relay_acl_certs": f"; applications\n{fingerprint}\n"}
    )

    def send(certificate):
        context = anybody()
        if certificate:
            context.load_cert_chain(certificate)
        with house.starttls(context) as client:
            client.sendmail("a@a.test", ["b@b.test"], MESSAGE)

    send(known)
    house.sink.wait_for(1)
    for stranger in (other, None):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(stranger)
    with pytest.raises(smtplib.SMTPRecipientsRefused), smtplib.SMTP(*house.plain, timeout=15 * PATIENCE) as client:
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE)


# ------------------------------------------------------------------------------------------------ counters


def counters(relay):
    """`/metrics`, at the socket in the data directory."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(relay.data / "admin.sock"))
        asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        page = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
    return {name: float(value) for name, value in re.findall(r"^(martlet_\S+) (\S+)\r?$", page, re.M)}


def test_tls_and_logins_are_counted(make_house):
    house = make_house(
        files={"auth_flat_file.ini": "[core]\nmax_delay = 1s\n[users]\nalice = sesame\n"}, smtp={"timeouts.tls": 5}
    )
    assert counters(house.relay)['martlet_auth_attempts_total{result="refused"}'] == 0
    context = anybody(maximum_version=ssl.TLSVersion.TLSv1_2)
    with house.smtps(context) as channel:
        session = channel.session
    raw = socket.create_connection(house.implicit, timeout=15 * PATIENCE)
    context.wrap_socket(raw, server_hostname="relay.test", session=session).close()
    with house.starttls() as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("alice", "wrong")
    with house.starttls() as client:
        client.login("alice", "sesame")
    raw, reader, _ = hello(house.plain)
    raw.sendall(b"STARTTLS\r\n")
    reader.readline()
    raw.sendall(b"this is no TLS at all\r\n")
    reader.read()
    raw.close()

    def counted():
        now = counters(house.relay)
        return now if now["martlet_inbound_tls_failures_total"] else None

    now = wait_until(counted)
    assert now['martlet_inbound_tls_total{handshake="full",version="TLSv1.2"}'] == 1
    assert now['martlet_inbound_tls_total{handshake="resumed",version="TLSv1.2"}'] == 1
    assert now['martlet_inbound_tls_total{handshake="full",version="TLSv1.3"}'] >= 2
    assert now["martlet_inbound_tls_failures_total"] == 1
    assert now['martlet_auth_attempts_total{result="refused"}'] >= 1
    assert now['martlet_auth_attempts_total{result="accepted"}'] == 1


# ------------------------------------------------------------------------------------------------ REQUIRETLS


def test_requiretls_is_kept_with_the_message(make_relay, closing, authority, tmp_path):
    key, cert = authority.issue("relay.test")
    nobody = ("127.0.0.1", free_port())
    relay = make_relay(routes={"*": nobody}, files={"tls_key.pem": key, "tls_cert.pem": cert})
    with smtplib.SMTP(*relay.address, timeout=15 * PATIENCE) as client:
        client.ehlo()
        assert client.docmd("MAIL", "FROM:<a@a.test> REQUIRETLS")[0] == 530
        client.starttls(context=anybody())
        client.sendmail("a@a.test", ["b@b.test"], MESSAGE, mail_options=["REQUIRETLS"])
        client.sendmail("a@a.test", ["c@b.test"], MESSAGE)
    relay.stop()
    out = tmp_path / "export"
    relay.run("spool", "export", "--to", str(out))
    kept = sorted(json.loads(path.read_text())["requiretls"] for path in out.glob("*.json"))
    assert kept == [False, True]
