"""test_tls_delivery.py - delivery by TLS: levels of a route against real peers with good, bad and no certificates.

Rows R4 and A8: what was demanded is never sent in the clear; what was only wished for arrives all the same.
"""

import json
import ssl

import pytest
from dns_server import DnsServer
from peers import Postfix
from scripted import Do, Drop, ScriptedServer, Sequence
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer
from waiting import wait_until

MAIL = b"From: a@a.test\r\nSubject: tls\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pairs(authority):
    other = Authority(authority.directory / "other", "an authority that nobody knows")
    return {
        "valid": authority.issue("localhost", "127.0.0.1"),
        "expired": authority.issue("localhost", "127.0.0.1", expired=True),
        "wrong name": authority.issue("other.test"),
        "self-signed": authority.issue("localhost", "127.0.0.1", self_signed=True),
        "unknown authority": other.issue("localhost", "127.0.0.1"),
    }


def start(make_relay, authority, peer, outbound=None, **properties):
    relay = make_relay(
        routes={"*": {"mx": [f"{peer.address[0]}:{peer.address[1]}"], **properties}},
        outbound={"enable_tls": True, "tls_ca_file": authority.certificate, "tls_timeout": 2, **(outbound or {})},
    )
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    return relay


def delivered(relay):
    return relay.wait_log("delivered")


def deferred(relay):
    return relay.wait_log("delivery deferred")


@pytest.mark.parametrize("certificate", ["valid", "expired", "wrong name", "self-signed", "unknown authority"])
@pytest.mark.parametrize("level", ["may", "require", "verify"])
def test_certificates(make_relay, authority, pairs, certificate, level):
    with TLSPeer(pairs[certificate]) as peer:
        relay = start(make_relay, authority, peer, tls=level)
        if level == "verify" and certificate != "valid":
            line = deferred(relay)
            assert line["stage"] == "tls" and "4.7.5" in line["reply"] and "certificate" in line["reply"], line.raw
            assert peer.mails == []
            return
        assert peer.wait_for(1)[0]["tls"]
        line = delivered(relay)
        assert line["tls"].startswith("TLSv1.3 "), line.raw
        assert line["tls"].endswith("verified" if level == "verify" else "unverified"), line.raw


@pytest.mark.parametrize("how", ["none", "refuse", "garbage", "drop", "inject", "hang"])
def test_a_wish_arrives_all_the_same(make_relay, authority, pairs, how):
    """Opportunistic (A8): stripped, refused, junk, stalled; in the clear when TLS has failed twice, a pause between."""
    with TLSPeer(pairs["valid"], how=how) as peer:
        relay = start(make_relay, authority, peer, outbound={"tls_fallback_after": "1"})
        mail = peer.wait_for(1)[0]
        assert not mail["tls"] and b"hello" in mail["data"]
        assert delivered(relay)["tls"] is None
        assert peer.connections == (1 if how == "none" else 3)


@pytest.mark.parametrize("level", ["require", "verify"])
@pytest.mark.parametrize("how", ["none", "refuse", "garbage", "drop", "inject", "hang"])
def test_a_demand_is_kept(make_relay, authority, pairs, how, level):
    with TLSPeer(pairs["valid"], how=how) as peer:
        relay = start(make_relay, authority, peer, tls=level)
        line = deferred(relay)
        assert line["stage"] == "tls", line.raw
        assert peer.mails == [] and not any(l.startswith("MAIL") for l in peer.lines)


def test_off_says_no_starttls(make_relay, authority, pairs):
    with TLSPeer(pairs["valid"]) as peer:
        start(make_relay, authority, peer, tls="off")
        assert not peer.wait_for(1)[0]["tls"]
        assert "STARTTLS" not in peer.lines


def test_enable_tls_is_off_without_the_key(make_relay, authority, pairs):
    with TLSPeer(pairs["valid"]) as peer:
        relay = make_relay(routes={"*": peer.address})
        send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        assert not peer.wait_for(1)[0]["tls"]


@pytest.mark.parametrize("level", ["require", "verify"])
def test_implicit_tls(make_relay, authority, pairs, level):
    with TLSPeer(pairs["valid"], how="implicit") as peer:
        relay = start(make_relay, authority, peer, tls=level, implicit_tls=True)
        assert peer.wait_for(1)[0]["tls"]
        assert delivered(relay)["tls"].endswith("unverified" if level == "require" else " verified")


def test_implicit_tls_towards_a_plain_server(make_relay, authority, pairs):
    with TLSPeer(pairs["valid"], how="none") as peer:
        relay = start(make_relay, authority, peer, implicit_tls=True, outbound={"tls_timeout": 1})
        assert deferred(relay)["stage"] == "tls"
        assert peer.mails == []


def test_sni_and_the_name_of_the_host(make_relay, authority):
    """By DNS: the certificate is for the MX, and the MX is asked for."""
    dns = DnsServer({("mx.good.test", "A"): ["127.0.0.1"]})
    pair = authority.issue("mx.good.test")
    try:
        with TLSPeer(pair) as peer:
            relay = make_relay(
                routes={"*": {"mx": [f"mx.good.test:{peer.address[1]}"], "tls": "verify"}},
                resolver=dns,
                outbound={"enable_tls": True, "tls_ca_file": authority.certificate},
            )
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
            assert peer.wait_for(1)[0]["tls"]
            assert peer.names == ["mx.good.test"]
    finally:
        dns.close()


def test_many_messages_over_one_handshake(make_relay, authority, pairs):
    with TLSPeer(pairs["valid"]) as peer:
        relay = start(make_relay, authority, peer, outbound={"concurrency_per_lane": 1})
        for number in range(30):
            send_mail(relay, "a@a.test", [f"b{number}@b.test"], MAIL + b"x" * 70_000 + b"\r\n")
        peer.wait_for(31)
        assert all(mail["tls"] for mail in peer.mails)
        assert peer.connections <= 3


def test_broken_tls_is_remembered(make_relay, authority, pairs):
    """A busy lane does not pay for a broken handshake with each session."""
    with TLSPeer(pairs["valid"], how="garbage") as peer:
        relay = start(make_relay, authority, peer, outbound={"messages_per_session": 1, "tls_fallback_after": 0})
        peer.wait_for(1)
        for _number in range(3):
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        peer.wait_for(4)
        assert peer.lines.count("STARTTLS") == 1


@pytest.mark.parametrize("certificate", ["valid", "expired", "wrong name", "self-signed"])
def test_postfix_and_its_certificates(make_relay, closing, authority, pairs, certificate):
    """One Postfix by two routes: what `require` takes, `verify` takes only with a certificate that holds."""
    chain, key = pairs[certificate]
    postfix = closing(
        Postfix(
            local="require.test, verify.test",
            extra=f"smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = {key}, {chain}\n",
        )
    )
    relay = make_relay(
        routes={
            f"{level}.test": {"mx": [f"127.0.0.1:{postfix.port}"], "tls": level} for level in ("require", "verify")
        },
        outbound={"enable_tls": True, "tls_ca_file": authority.certificate},
    )
    send_mail(relay, "a@a.test", ["box@require.test", "box@verify.test"], MAIL)
    assert relay.wait_log("delivered", to="box@require.test")["tls"].endswith(" unverified")
    if certificate == "valid":
        assert relay.wait_log("delivered", to="box@verify.test")["tls"].endswith(" verified")
    else:
        line = relay.wait_log("delivery deferred", to="box@verify.test")
        assert line["stage"] == "tls" and "4.7.5" in line["reply"], line.raw
    wait_until(lambda: len(postfix.mails()) == (2 if certificate == "valid" else 1), 20, "the mail in the box")


@pytest.mark.parametrize("level", ["require", "verify"])
def test_only_alternative_names_count(make_relay, authority, level):
    """RFC 8461 §4.2: a common name alone is no name."""
    with TLSPeer(authority.issue(common="127.0.0.1")) as peer:
        relay = start(make_relay, authority, peer, tls=level)
        if level == "require":
            assert peer.wait_for(1)[0]["tls"]
        else:
            line = deferred(relay)
            assert "4.7.5" in line["reply"] and "certificate" in line["reply"], line.raw
            assert peer.mails == []


# ------------------------------------------------------------------------------------------------ hiccups

WANTS_TLS = "530 5.7.0 Must issue a STARTTLS command first"


@pytest.mark.parametrize("hiccup", ["454 4.7.0 not now", Do("220 go", Drop()), Do("220 go", "this is no TLS")])
def test_one_hiccup_bounces_nobody(make_relay, authority, pairs, hiccup):
    """A server that wants TLS has a moment without: the mail comes inside TLS, and so does the next one."""

    script = {"STARTTLS": Sequence(hiccup, None), "MAIL": lambda session, _: None if session.wire.tls else WANTS_TLS}
    with ScriptedServer(script, tls=pairs["valid"]) as peer:
        relay = start(make_relay, authority, peer, outbound={"tls_fallback_after": 1})
        send_mail(relay, "a@a.test", ["c@b.test"], MAIL)
        assert all(message.tls for message in peer.wait_for(2))
        assert not relay.log_lines("bounced")


def test_a_server_that_wants_tls_and_has_none_bounces_nobody(make_relay, authority, pairs):
    """Broken for good, and 530 in the clear: the mail waits, and explain says what is remembered."""
    script = {"STARTTLS": "454 4.7.0 not now", "MAIL": WANTS_TLS}
    with ScriptedServer(script, tls=pairs["valid"]) as peer:
        relay = start(make_relay, authority, peer, outbound={"tls_fallback_after": 0})
        line = deferred(relay)
        assert "530" in line["reply"] and not relay.log_lines("bounced")
        trouble = explained(relay)["tls_trouble"]
        assert trouble["lasts"] and trouble["refuses_clear"] and "454" in trouble["reply"]
        assert trouble["since"] <= trouble["until"]
        # Who takes nothing in the clear is not met there again.
        assert explained(relay)["tls_fallback"] == []
        peer.heal()
        relay.hup()
        assert peer.wait_for(1)[0].tls
        assert explained(relay)["tls_trouble"] is None


def explained(relay):
    """What is said of the first address of the first host."""
    return json.loads(relay.run("explain", "b@b.test", "--json").stdout)["mx"][0]["sessions"][0]


# ------------------------------------------------------------------------------------------------ our certificate


def demanding(pair, authority, version=None):
    """A server's context that wants a certificate of our authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.maximum_version = version
    return context


def with_certificate(make_relay, authority, peer, own, **outbound):
    chain, key = own
    relay = make_relay(
        routes={"*": {"mx": [f"{peer.address[0]}:{peer.address[1]}"], "tls": "require"}},
        outbound={"enable_tls": True, "tls_ca_file": authority.certificate, "tls_timeout": 2, **outbound},
        files={"tls_key.pem": key.read_bytes(), "tls_cert.pem": chain.read_bytes()} if own != (None, None) else {},
    )
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    return relay


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["shown", "switched off", "of a stranger"])
def test_our_certificate(make_relay, authority, pairs, version, how):
    """The pair of tls.ini goes to who asks; who wants one and gets none is a host whose TLS comes to nothing."""
    stranger = Authority(authority.directory / "stranger", "nobody")
    own = (stranger if how == "of a stranger" else authority).issue("relay.test")
    with ScriptedServer(tls=demanding(pairs["valid"], authority, version)) as peer:
        switch = {"client_certificate": False} if how == "switched off" else {}
        relay = with_certificate(make_relay, authority, peer, own, **switch)
        if how == "shown":
            assert peer.wait_for(1)[0].tls
            return
        line = deferred(relay)
        assert line["stage"] == "tls" and "4.7.5" in line["reply"], line.raw
        words = "refuses the certificate that we showed" if how == "of a stranger" else "demands a client certificate"
        assert words in line["reply"], line.raw
        # A certificate that is refused is left out in a second try.
        assert peer.connections == (2 if how == "of a stranger" else 1)


def test_a_changed_certificate_is_shown(make_relay, authority, pairs):
    """A pair that was made for somebody else is refused; the right one comes without a restart."""
    stranger = Authority(authority.directory / "other-stranger", "nobody")
    with ScriptedServer(tls=demanding(pairs["valid"], authority)) as peer:
        relay = with_certificate(make_relay, authority, peer, stranger.issue("relay.test"))
        deferred(relay)
        chain, key = authority.issue("relay.test")
        relay.write("tls_key.pem", key.read_bytes())
        relay.write("tls_cert.pem", chain.read_bytes())
        relay.hup()
        assert peer.wait_for(1)[0].tls
