"""test_tls_delivery.py - delivery by TLS: levels of a route against real peers with good, bad and no certificates.

Rows R4 and A8: what was demanded is never sent in the clear; what was only wished for arrives all the same.
"""

import pytest
from dns_server import DnsServer
from peers import Postfix
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
    """Opportunistic (A8): stripped, refused, junk, stalled; in the clear on a second try."""
    with TLSPeer(pairs["valid"], how=how) as peer:
        relay = start(make_relay, authority, peer)
        mail = peer.wait_for(1)[0]
        assert not mail["tls"] and b"hello" in mail["data"]
        assert delivered(relay)["tls"] is None
        assert peer.connections == (1 if how in ("none", "refuse") else 2)


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
        relay = start(make_relay, authority, peer, outbound={"messages_per_session": 1})
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
