"""test_dane.py - DANE against a zone that the test signs (nsd, ldnsutils), and MTA-STS against a local HTTPS server.

Row A9: a TLSA lookup that fails, records that cannot be used, a policy that disappears. Never a downgrade.
"""

import subprocess

import pytest
from dns_server import DnsServer
from peers import Nsd, loopback_address, need, need_root
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer, WebServer, digest

MAIL = b"From: a@a.test\r\nSubject: dane\r\n\r\nhello\r\n"


class SignedZone(Nsd):
    """nsd with a signed zone `signed.test` and an unsigned one, `plain.test`; both get the same records.

    edit: what is done to the signed zone's text, which spoils the signatures of what it changes.
    """

    def __init__(self, text, expired=False, edit=None):
        keygen, sign = need("ldns-keygen"), need("ldns-signzone")

        def run(*command):
            return subprocess.run(
                command, cwd=self.directory, capture_output=True, text=True, check=True
            ).stdout.strip()

        def signed(_):
            key = run(keygen, "-a", "ECDSAP256SHA256", "-k", "signed.test")
            dates = ["-i", "20200101000000", "-e", "20200201000000"] if expired else []
            run(sign, *dates, "-n", "signed.test", key)
            if edit:
                zone = self.directory / "signed.test.signed"
                zone.write_text(edit(zone.read_text()))
            self.anchor = self.directory / f"{key}.key"
            return {"signed.test": "signed.test.signed"}

        super().__init__({"signed.test": text, "plain.test": text}, signed)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def world(make_relay, closing, authority):
    """`world(records, ...)`: a peer on port 25 of its own loopback address, zones that lead there, a relay."""
    need_root()

    def make(
        tlsa,
        *,
        pair=None,
        how="starttls",
        expired=False,
        domain="signed.test",
        mx="mx",
        more="",
        anchor=True,
        **peer_options,
    ):
        address = loopback_address()
        pair = pair or authority.issue("mx.signed.test", "mx.plain.test")
        peer = closing(TLSPeer(pair, how=how, host=address, port=25, **peer_options))
        records = "".join(f"_25._tcp.{mx} TLSA {r}\n" for r in tlsa(pair[0]))
        zone = closing(SignedZone(f"@ MX 10 {mx}\nmx A {address}\n{records}{more}", expired))
        text = f"forward = 127.0.0.1@{zone.port}\n" + (f"trust_anchor_file = {zone.anchor}\n" if anchor else "")
        relay = make_relay(
            outbound={
                "enable_tls": True,
                "local_mx_ok": True,
                "tls_timeout": 2,
                "tls_fallback_after": 1,
                "tls_ca_file": authority.certificate,
            },
            files={"resolver.ini": text},
        )
        send_mail(relay, "a@a.test", [f"b@{domain}"], MAIL)
        return relay, peer

    return make


MATCHES = {
    "3 1 1": lambda pem: [f"3 1 1 {digest(pem)}"],
    "3 1 2": lambda pem: [f"3 1 2 {digest(pem, 1, 'sha512')}"],
    "3 0 1": lambda pem: [f"3 0 1 {digest(pem, 0)}"],
    "3 1 0": lambda pem: [f"3 1 0 {digest(pem, 1, None)}"],
    "one of two": lambda pem: [f"3 1 1 {'ab' * 32}", f"3 1 1 {digest(pem)}"],
    "beside unusable": lambda pem: [f"1 1 1 {'ab' * 32}", f"3 1 9 {'ab' * 32}", f"3 1 1 {digest(pem)}"],
}
MISMATCH = lambda pem: [f"3 1 1 {'ab' * 32}"]


@pytest.mark.parametrize("records", MATCHES)
def test_match(world, records):
    relay, peer = world(MATCHES[records])
    assert peer.wait_for(1)[0]["tls"]
    assert relay.wait_log("delivered")["tls"].endswith(" dane")
    assert relay.log_lines("DNSSEC works")
    assert peer.names == ["mx.signed.test"]


def test_usage_3_needs_neither_name_nor_date(world, authority):
    relay, _peer = world(MATCHES["3 1 1"], pair=authority.issue("nobody.test", expired=True))
    assert relay.wait_log("delivered")["tls"].endswith(" dane")


@pytest.mark.parametrize("name, arrives", [("mx.signed.test", True), ("signed.test", True), ("other.test", False)])
def test_usage_2_with_a_chain(world, authority, name, arrives):
    """A trust anchor, here our authority; the certificate must be for the host or the domain (RFC 7672 §3.2.2)."""
    relay, peer = world(lambda pem: [f"2 0 1 {digest(authority.certificate, 0)}"], pair=authority.issue(name))
    if arrives:
        assert relay.wait_log("delivered")["tls"].endswith(" dane")
    else:
        assert "certificate" in relay.wait_log("delivery deferred")["reply"]
        assert not peer.mails


def test_mismatch_defers(world):
    relay, peer = world(MISMATCH)
    line = relay.wait_log("delivery deferred")
    assert line["stage"] == "tls" and "no TLSA record matches" in line["reply"], line.raw
    assert not peer.mails


@pytest.mark.parametrize("how", ["none", "refuse", "garbage", "drop"])
def test_no_downgrade_where_records_are(world, how):
    relay, peer = world(MATCHES["3 1 1"], how=how)
    assert relay.wait_log("delivery deferred")["stage"] == "tls"
    assert not peer.mails and not any(line.startswith("MAIL") for line in peer.lines)


def test_expired_signatures_defer(world):
    relay, peer = world(MATCHES["3 1 1"], expired=True)
    line = relay.wait_log("delivery deferred")
    assert "4.4.3" in line["reply"] and "DNSSEC" in line["reply"], line.raw
    assert not peer.mails
    assert relay.log_lines("DNSSEC does not work through this resolver: mail to signed domains will wait")


def test_an_insecure_zone_counts_for_nothing(world):
    relay, peer = world(MISMATCH, domain="plain.test")
    assert peer.wait_for(1)[0]["tls"]
    assert relay.wait_log("delivered")["tls"].endswith(" unverified")


def test_without_an_anchor_dane_is_off_and_said_to_be(world):
    relay, _peer = world(MISMATCH, anchor=False)
    assert relay.wait_log("delivered")["tls"].endswith(" unverified")
    assert relay.log_lines("DNSSEC is off, so DANE protects nothing")


@pytest.mark.parametrize("how, arrives", [("starttls", True), ("none", False), ("garbage", False)])
def test_unusable_records_demand_encryption_alone(world, how, arrives):
    relay, peer = world(lambda pem: [f"1 1 1 {digest(pem)}", f"3 1 1 {'ab' * 20}"], how=how)
    if arrives:
        assert relay.wait_log("delivered")["tls"].endswith(" unverified")
    else:
        assert relay.wait_log("delivery deferred")["stage"] == "tls"
        assert not peer.mails


def test_an_alias_leads_to_its_target(world):
    relay, _peer = world(MATCHES["3 1 1"], more="@ MX 5 alias\nalias CNAME mx\n")
    assert relay.wait_log("delivered")["tls"].endswith(" dane")


def test_a_zone_without_tlsa_is_opportunistic(world):
    relay, _peer = world(lambda pem: [])
    assert relay.wait_log("delivered")["tls"].endswith(" unverified")


# ------------------------------------------------------------------------------------------------ MTA-STS


@pytest.fixture
def sts(make_relay, closing, authority):
    """`sts(policy, ...)`: a domain with an MTA-STS record, a policy server and one host."""
    need_root()

    def make(
        policy,
        *,
        record="v=STSv1; id=1;",
        web_names=("mta-sts.b.test",),
        mx_names=("mx.b.test",),
        how="starttls",
        status=200,
        content_type="text/plain",
        web=True,
        recipient="b@b.test",
        parameters="",
    ):
        address, web_address = loopback_address(), loopback_address()
        domain = mx_names[0].removeprefix("mx.") if parameters else "b.test"
        peer = closing(TLSPeer(authority.issue(*mx_names), how=how, host=address, port=25))
        state = {"policy": policy, "status": status}
        server = None
        if web:
            server = closing(
                WebServer(
                    lambda path, body: (
                        state["status"],
                        {"Content-Type": content_type, "Location": "https://evil.test/"},
                        state["policy"].encode(),
                    ),
                    authority.issue(*web_names),
                    web_address,
                    443,
                )
            )
        dns = closing(
            DnsServer(
                {
                    (domain, "MX"): [(10, f"mx.{domain}")],
                    (f"mx.{domain}", "A"): [address],
                    (f"_mta-sts.{domain}", "TXT"): [record],
                    (f"mta-sts.{domain}", "A"): [web_address],
                }
            )
        )
        relay = make_relay(
            outbound={
                "enable_tls": True,
                "local_mx_ok": True,
                "tls_timeout": 2,
                "tls_fallback_after": 1,
                "tls_ca_file": authority.certificate,
            },
            resolver=dns,
        )
        send_mail(relay, "a@a.test", [recipient], MAIL, **({"parameters": parameters} if parameters else {}))
        return relay, peer, server, dns, state

    return make


def policy(mode="enforce", mx="mx.b.test", age=86400):
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {age}\r\n"


@pytest.mark.parametrize("pattern", ["mx.b.test", "*.b.test", "MX.B.Test"])
def test_enforced_policy_is_kept(sts, pattern):
    relay, _peer, server, _dns, _ = sts(policy(mx=pattern))
    assert relay.wait_log("delivered")["tls"].endswith(" verified")
    assert [request[:2] for request in server.requests] == [("GET", "/.well-known/mta-sts.txt")]
    assert (relay.data / "mta-sts" / "b.test").read_bytes().endswith(policy(mx=pattern).encode())


def test_host_that_is_not_named(sts):
    relay, peer, *_ = sts(policy(mx="*.other.test"))
    line = relay.wait_log("delivery deferred")
    assert line["stage"] == "tls" and "MTA-STS" in line["reply"]
    assert peer.connections == 0


@pytest.mark.parametrize("how", ["none", "garbage"])
def test_enforced_policy_is_never_downgraded(sts, how):
    relay, peer, *_ = sts(policy(), how=how)
    assert relay.wait_log("delivery deferred")["stage"] == "tls"
    assert not peer.mails


@pytest.mark.parametrize("how", ["starttls", "none", "drop"])
@pytest.mark.parametrize("spelling", ["b\u00fccher.test", "BU\u0308CHER.test", "xn--bcher-kva.test"])
def test_a_policy_is_that_of_every_spelling_of_its_domain(sts, spelling, how):
    """The U-label of a domain is not a way around its policy."""
    domain = "xn--bcher-kva.test"
    names = {"mx_names": (f"mx.{domain}",), "web_names": (f"mta-sts.{domain}",)}
    relay, peer, *_ = sts(policy(mx=f"mx.{domain}"), how=how, recipient=f"b@{spelling}", parameters="SMTPUTF8", **names)
    if how == "starttls":
        assert relay.wait_log("delivered")["tls"].endswith(" verified")
    else:
        assert relay.wait_log("delivery deferred")["stage"] == "tls"
        assert not peer.mails


def test_host_with_a_wrong_certificate(sts):
    relay, peer, *_ = sts(policy(), mx_names=("other.test",))
    assert "certificate" in relay.wait_log("delivery deferred")["reply"]
    assert not peer.mails


@pytest.mark.parametrize("mode", ["testing", "none"])
def test_other_modes_demand_nothing(sts, mode):
    relay, _peer, *_ = sts(policy(mode, mx="*.other.test"), mx_names=("other.test",))
    assert relay.wait_log("delivered")["tls"].endswith(" unverified")


@pytest.mark.parametrize(
    "how, names, reason",
    [
        ("starttls", ("mx.b.test",), None),
        ("starttls", ("other.test",), "certificate"),
        ("none", ("mx.b.test",), "STARTTLS"),
        ("garbage", ("mx.b.test",), "4.7.5"),
    ],
)
def test_what_a_policy_under_test_would_have_stopped_is_said(sts, how, names, reason):
    relay, peer, *_ = sts(policy("testing"), how=how, mx_names=names)
    line = relay.wait_log("delivered")
    assert len(peer.wait_for(1)) == 1
    notes = relay.log_lines(
        "MTA-STS policy under test would have kept mail from this host", domain="b.test", mx="mx.b.test"
    )
    if reason is None:
        assert line["tls"].endswith(" verified") and not notes
    else:
        assert reason in notes[0]["reason"], notes[0].raw


@pytest.mark.parametrize(
    "how",
    [
        {"web_names": ("other.test",)},
        {"status": 404},
        {"status": 302},
        {"content_type": "text/html"},
        {"web": False},
        {"record": "v=STSv1; id=;"},
        {"record": "v=STSv2; id=1;"},
    ],
    ids=["certificate", "404", "redirect", "html", "no server", "no id", "version"],
)
def test_policy_that_cannot_be_had(sts, how):
    relay, _peer, *_ = sts(policy(mx="*.other.test"), **how)
    assert relay.wait_log("delivered")["tls"].endswith(" unverified")


def test_a_kept_policy_outlives_record_server_and_restart(sts):
    relay, peer, server, dns, state = sts(policy())
    relay.wait_log("delivered")
    del dns.records[("_mta-sts.b.test", "TXT")]
    state["status"] = 404
    relay.restart()
    peer.how = "none"
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    assert relay.wait_log("delivery deferred")["stage"] == "tls"
    assert len(server.requests) == 1 and len(peer.mails) == 1


def test_a_new_id_brings_a_new_policy(sts):
    relay, _peer, server, dns, state = sts(policy(mx="*.other.test"))
    relay.wait_log("delivery deferred")
    state["policy"] = policy()
    dns.records[("_mta-sts.b.test", "TXT")] = ["v=STSv1; id=2;"]
    assert relay.wait_log("delivered", timeout=30)["tls"].endswith(" verified")
    assert len(server.requests) == 2
