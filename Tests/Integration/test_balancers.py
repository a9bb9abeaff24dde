"""test_balancers.py - behind HAProxy and other relays: the PROXY protocol, XCLIENT, XFORWARD."""

import hashlib
import http.client
import socket
import ssl
import struct

import pytest
from smtp_client import SmtpClient
from story import text
from test_milters_debian import needed
from waiting import Program, free_port, wait_listening, wait_until

HELLO = b"PROXY TCP4 192.0.2.7 127.0.0.1 4321 25\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(verb, family, rest):
    return SIGNATURE + bytes([verb, family]) + struct.pack("!H", len(rest)) + rest


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4321, 25)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + FOUR[-4:]


@pytest.fixture
def behind(make_relay, sink):
    """A relay with a listener for balancers beside its own; `allow` is who may relay."""

    def make(allow=("192.0.2.0/24", "2001:db8::/32"), networks="127.0.0.0/8", smtp=None, **how):
        ports = [free_port(), free_port()]
        relay = make_relay(
            routes={"*": sink.route},
            listen=[("127.0.0.1", port) for port in ports],
            allow=allow,
            smtp={"proxy": f"127.0.0.1:{ports[1]}", "proxy_networks": networks, **(smtp or {})},
            **how,
        )
        return relay, ("127.0.0.1", ports[1])

    return make


def mail(client, sender="a@report.test"):
    """The replies to RCPT, and to the end of the message where that was taken."""
    client.ehlo()
    client.mail(sender)
    reply = client.command("RCPT TO:<b@b.test>")
    if reply.code != 250:
        return reply
    client.command("DATA", 354)
    client.send(text() + b".\r\n")
    return client.read_reply()


@pytest.mark.parametrize(
    "header, literal",
    [
        (HELLO, "[192.0.2.7]"),
        (b"PROXY TCP6 2001:db8::7 ::1 4321 25\r\n", "[IPv6:2001:db8::7]"),
        (binary(0x21, 0x11, FOUR), "[192.0.2.7]"),
        (binary(0x21, 0x21, SIX + b"\x04\0\x02xx"), "[IPv6:2001:db8::7]"),
    ],
    ids=["v1", "v1 IPv6", "v2", "v2 IPv6"],
)
@pytest.mark.parametrize("pieces", [1, 9999], ids=["whole", "octets"])
def test_the_told_address_counts(behind, sink, header, literal, pieces):
    relay, address = behind()
    with SmtpClient(address) as client:
        client.send_pieces([header] if pieces == 1 else [header[i : i + 1] for i in range(len(header))])
        client.expect(220)
        assert mail(client).code == 250
    assert relay.wait_log("message accepted")["client"] == literal
    sink.wait_for(1)
    assert literal.encode() in sink.messages[0].data.split(b"\r\n\r\n")[0]
    # Without a balancer, 127.0.0.1 may not relay here.
    with SmtpClient(relay.address) as client:
        client.expect(220)
        assert mail(client).code == 550


def test_who_is_not_told_may_nothing(behind):
    relay, address = behind(allow=("127.0.0.0/8",))
    for header, code in (
        (HELLO, 550),
        (b"PROXY UNKNOWN\r\n", 550),
        (binary(0x21, 0x00, b""), 550),
        (binary(0x20, 0x11, FOUR), 250),  # the balancer itself
    ):
        with SmtpClient(address) as client:
            client.send(header)
            client.expect(220)
            assert mail(client).code == code, header
    # At the other listener it is no header but a command before the greeting.
    with SmtpClient(relay.address) as client:
        client.expect(220)
        assert client.command(HELLO.strip()).code == 500


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO c.test\r\n",
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        binary(0x21, 0x11, FOUR[:-1]),
        binary(0x21, 0x11, FOUR + b"\x04\xff\xff"),
        binary(0x31, 0x11, FOUR),
    ],
)
def test_what_is_no_header_ends_it(behind, octets):
    relay, address = behind()
    with SmtpClient(address) as client:
        client.send(octets)
        assert client.rest() == b""
    assert "PROXY" in relay.wait_log("client turned away")["reply"]


def test_only_balancers_get_in(behind):
    relay, address = behind(networks="192.0.2.1")
    with SmtpClient(address) as client:
        client.try_send(HELLO)
        assert client.rest() == b""
    assert "proxy_networks" in relay.wait_log("client turned away")["reply"]


@pytest.mark.parametrize("delay", [0, 200])
def test_who_speaks_early_is_refused_behind_it_too(behind, delay):
    _, address = behind(smtp={"timeouts.banner_delay": delay})
    with SmtpClient(address) as client:
        client.send(HELLO + b"EHLO c.test\r\n")
        assert client.read_reply().code == 554


def test_limits_are_the_told_clients(behind):
    _, address = behind(smtp={"limits.connections_per_client": 1})
    with SmtpClient(address) as first, SmtpClient(address) as second, SmtpClient(address) as third:
        first.send(HELLO)
        first.expect(220)
        second.send(HELLO)
        assert second.read_reply().code == 421
        third.send(HELLO.replace(b"2.7", b"2.8"))
        third.expect(220)


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id"])
def test_haproxy_in_front(behind, closing, sink, tmp_path, version):
    program = needed("haproxy")
    relay, address = behind(allow=("127.0.0.9",))
    front = free_port()
    (tmp_path / "haproxy.cfg").write_text(
        f"""
        defaults
          mode tcp
          timeout connect 10s
          timeout client 60s
          timeout server 60s
        frontend mail
          bind 127.0.0.1:{front}
          {"unique-id-format %[uuid()]" if "unique" in version else ""}
          default_backend relay
        backend relay
          option smtpchk EHLO check.test
          server one 127.0.0.1:{address[1]} {version} check check-send-proxy inter 200ms\n"""
    )
    closing(Program([program, "-db", "-f", tmp_path / "haproxy.cfg"], tmp_path / "haproxy.log"))
    wait_listening(("127.0.0.1", front), 60)

    def first():
        with SmtpClient(("127.0.0.1", front), source="127.0.0.9") as client:
            try:
                return client.read_reply().code == 220 and mail(client).code == 250
            except (ConnectionError, OSError):
                return False

    wait_until(first, 60, "HAProxy has found the relay")
    assert relay.wait_log("message accepted")["client"] == "[127.0.0.9]"
    with SmtpClient(("127.0.0.1", front), source="127.0.0.8") as client:
        client.expect(220)
        assert mail(client).code == 550
    assert "DOWN" not in (tmp_path / "haproxy.log").read_text()


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front_of_the_api(make_relay, closing, tmp_path, version):
    """Its health checks are HTTP at /livez; clients are those that it tells, and when the relay stops it hears so."""
    program = needed("haproxy")
    port, front = free_port(), free_port()
    relay = make_relay(
        files={
            "admin.ini": f"""
listen = 127.0.0.1:{port}
proxy = 127.0.0.1:{port}
proxy_networks = 127.0.0.1
metrics_allow = 127.0.0.9
[token t]
hash = sha256:{hashlib.sha256(b"secret").hexdigest()}
scopes = all
cidr = 127.0.0.9
"""
        }
    )
    (tmp_path / "haproxy.cfg").write_text(
        f"""
        global
          stats socket {tmp_path}/stats
        defaults
          mode http
          timeout connect 10s
          timeout client 60s
          timeout server 60s
        frontend api
          bind 127.0.0.1:{front}
          default_backend relay
        backend relay
          option httpchk
          http-check send meth GET uri /livez ver HTTP/1.1 hdr Host localhost
          http-check expect status 200
          server one 127.0.0.1:{port} {version} check check-send-proxy inter 200ms fall 2 rise 1\n"""
    )
    closing(Program([program, "-db", "-f", tmp_path / "haproxy.cfg"], tmp_path / "haproxy.log"))
    wait_listening(("127.0.0.1", front), 60)

    def ask(path, source, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=60, source_address=(source, 0))
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def state():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{tmp_path}/stats")
            connection.sendall(b"show stat\n")
            rows = b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
        row = next(line for line in rows if line.startswith("relay,one,")).split(",")
        names = rows[0].lstrip("# ").split(",")
        return row[names.index("status")], row[names.index("check_code")]

    wait_until(lambda: state() == ("UP", "200"), 60, state)
    assert ask("/metrics", "127.0.0.9") == 200 and ask("/metrics", "127.0.0.8") == 401
    assert ask("/v1/stats", "127.0.0.9", "secret") == 200
    assert ask("/v1/stats", "127.0.0.8", "secret") in (401, 403)
    relay.stop()
    wait_until(lambda: state()[0] == "DOWN", 60, state)
    assert ask("/livez", "127.0.0.9") == 503
    relay.start()
    wait_until(lambda: state()[0] == "UP" and ask("/livez", "127.0.0.9") == 200, 60, state)


def test_tls_begins_behind_the_header(make_relay, sink, authority):
    port = free_port()
    chain, key = authority.issue("relay.test")
    files = {"tls_cert.pem": chain.read_bytes(), "tls_key.pem": key.read_bytes()}
    smtp = {"smtps_listen": f"127.0.0.1:{port}", "proxy": f"127.0.0.1:{port}", "proxy_networks": "127.0.0.1"}
    relay = make_relay(routes={"*": sink.route}, smtp=smtp, files=files, allow=("192.0.2.7",))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = SmtpClient(("127.0.0.1", port))
    client.send(HELLO)
    client.socket = context.wrap_socket(client.socket)
    with client:
        client.expect(220)
        assert mail(client).code == 250
    assert relay.wait_log("message accepted")["client"] == "[192.0.2.7]"


def test_xclient_makes_it_another_session(make_relay, sink):
    relay = make_relay(
        routes={"*": sink.route},
        smtp={"xclient_networks": "127.0.0.1", "limits.connections_per_client": 2},
        allow=("192.0.2.7",),
    )
    with SmtpClient(relay.address) as client:
        client.expect(220)
        assert mail(client).code == 550
        client.command("RSET", 250)
        client.command("XCLIENT NAME=first.test ADDR=192.0.2.7 PORT=99", 220)
        assert mail(client).code == 250
        client.command("XCLIENT ADDR=[UNAVAILABLE]", 220)
        assert mail(client).code == 550
    assert relay.wait_log("message accepted")["client"] == "[192.0.2.7]"
    with SmtpClient(relay.address, source="127.0.0.2") as client:
        client.expect(220)
        client.ehlo()
        assert "XCLIENT" not in client.capabilities
        client.command("XCLIENT ADDR=192.0.2.7", 500)
    # As many connections as its client may have, whoever brings them.
    clients = [SmtpClient(relay.address) for _ in range(2)]
    others = []
    for client in clients:
        client.expect(220)
        client.command("XCLIENT ADDR=192.0.2.7", 220)
    others.append(SmtpClient(relay.address))
    others[0].expect(220)
    others[0].command("XCLIENT ADDR=192.0.2.7", 421)
    for client in clients + others:
        client.close()


def test_xforward_is_for_the_log(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, smtp={"xforward_networks": "127.0.0.1"})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        client.command("XFORWARD NAME=first.test ADDR=192.0.2.7 HELO=first.helo PROTO=ESMTP", 250)
        client.message("a@report.test", ["b@b.test"], text())
        client.message("a@report.test", ["b@b.test"], text())
    wait_until(lambda: len(relay.log_lines("message accepted")) == 2, what="both")
    told = [(line["client"], line["helo"]) for line in relay.log_lines("message accepted")]
    assert told[0] == ("[192.0.2.7]", "first.helo") and told[1][0] == "[127.0.0.1]"
    sink.wait_for(2)
    # The header tells the truth about the connection.
    assert all(b"[127.0.0.1]" in message.data.split(b"\r\n\r\n")[0] for message in sink.messages)


def test_the_api_behind_a_balancer(make_relay):
    """The told address is the client's: its networks, its shares, its name in the log; nobody else gets in."""
    port, shut = free_port(), free_port()
    relay = make_relay(
        files={
            "admin.ini": f"""
listen = 127.0.0.1:{port}, [::1]:{shut}
proxy = 127.0.0.1:{port}, [::1]:{shut}
proxy_networks = 127.0.0.0/8
metrics_allow = 192.0.2.0/24, 2001:db8::/64
timeout = 2
[token t]
hash = sha256:{hashlib.sha256(b"secret").hexdigest()}
scopes = all
cidr = 192.0.2.7
"""
        }
    )

    def ask(header, path="/metrics", token=None, pieces=False):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            bearer = f"Authorization: Bearer {token}\r\n" if token else ""
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}Connection: close\r\n\r\n".encode()
            octets = header + request
            for part in [octets[i : i + 1] for i in range(len(octets))] if pieces else [octets]:
                connection.sendall(part)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            return int(answer.split()[1]) if answer else None

    for pieces in (False, True):
        assert ask(HELLO, pieces=pieces) == 200
        assert ask(binary(0x21, 0x11, FOUR), pieces=pieces) == 200
        assert ask(binary(0x21, 0x21, SIX + b"\x04\0\x02xx"), pieces=pieces) == 200
    other = HELLO.replace(b"192.0.2.7", b"198.51.100.1")
    assert ask(other) == 401 and ask(other, "/livez") == 200
    assert ask(HELLO, "/v1/stats", "secret") == 200 and ask(other, "/v1/stats", "secret") in (401, 403)
    # A health check is the balancer itself, which is 127.0.0.1 and nobody's client.
    assert ask(binary(0x20, 0, b""), "/livez") == 200
    assert ask(binary(0x20, 0, b""), "/v1/stats") == 401
    for wrong in (b"", b"PROXY TCP4 x\r\n", binary(0x21, 0x11, FOUR[:5]), b"PROXY TCP4 " + b"1" * 200):
        assert ask(wrong) is None
    assert relay.wait_log("connection to the API turned away")["client"] == "127.0.0.1"
    # ::1 is no balancer.
    with socket.create_connection(("::1", shut), timeout=60) as connection:
        assert connection.recv(1) == b""
    # Silent ones make room, and take nobody's place.
    idle = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(70)]
    assert ask(HELLO) == 200
    for connection in idle:
        connection.close()
