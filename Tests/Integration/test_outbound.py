"""test_outbound.py - what the source document promises beyond hooks, routes and addresses; and the traps of its program."""

import smtplib
import ssl

import pytest
from api import Api
from smtp_client import send_mail
from story import events, submit, wait_event
from tls_peers import TLSPeer
from waiting import PATIENCE, accepts, free_port, host_port, wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nhello\r\n"
PASSWORD = {"shop": "s3cret-word"}


# ------------------------------------------------------------------------------------------------ ipv6_enabled


@pytest.fixture
def both(closing):
    """Two peers with a login on the same port of ::1 and of an IPv4 loopback address."""
    six = TLSPeer(how="none", users=PASSWORD, clear=True, host="::1")
    if not accepts(six.address[:2]):
        pytest.skip("no IPv6 on loopback")
    return closing(six), closing(TLSPeer(how="none", users=PASSWORD, clear=True, host="127.0.0.5", port=six.address[1]))


def two_families(make_relay, make_dns, both, **properties):
    dns = make_dns({("mx.b.test", "A"): ["127.0.0.5"], ("mx.b.test", "AAAA"): ["::1"]})
    relay = make_relay(
        resolver=dns,
        outbound={"ipv6_enabled": True},
        routes={
            "*": {
                "mx": f"mx.b.test:{both[0].address[1]}",
                "auth_user": "shop",
                "auth_pass": PASSWORD["shop"],
                **properties,
            }
        },
    )
    return relay, lambda: relay.wait_log("delivered", id=send_mail(relay, "a@a.test", "u@b.test", MAIL))


def test_aaaa_comes_first_and_keeps_the_login(make_relay, make_dns, both):
    six, four = both
    _relay, deliver = two_families(make_relay, make_dns, both)
    assert "[::1]" in deliver()["mx"]
    assert six.logins == [("PLAIN", "shop")] and six.mails[0]["user"] == "shop" and not four.mails


@pytest.mark.parametrize("bind, family", [("::1", 0), ("127.0.0.7", 1)])
def test_aaaa_first_keeps_the_bind_of_the_mx(make_relay, make_dns, both, bind, family):
    """Of a bound MX only the hosts are used that the address can reach, and from that address."""
    _relay, deliver = two_families(make_relay, make_dns, both, bind=bind)
    deliver()
    assert both[family].mails[0]["user"] == "shop" and not both[1 - family].mails
    assert both[family].peers[-1] == bind


def test_a_dead_aaaa_falls_back_with_login_and_address(make_relay, make_dns, both):
    six, four = both
    six.close()
    relay, deliver = two_families(make_relay, make_dns, both)
    relay.write("outbound_ip.ini", "[*]\nip = 127.0.0.8, ::1\n")
    relay.wait_log("configuration changed")
    deliver()
    assert four.mails[0]["user"] == "shop" and four.peers[-1] == "127.0.0.8"


# ------------------------------------------------------------------------------------------------ one route, many domains

RECIPIENTS = ["yes@b.test", "no@c.test", "yes@c.test", "yes@d.test"]


@pytest.fixture
def choosy(make_server):
    return make_server({"RCPT": lambda _, to: "550 5.1.1 unknown" if to.startswith("no") else None})


def test_recipients_of_different_domains_share_what_their_route_is(hooked, choosy, sink):
    """The section that is chosen makes the group: not the domain, and not the host it happens to lead to. What becomes of
    each recipient stays its own."""
    relay, hook = hooked(
        {"delivered": None, "bounce": None},
        routes={"report.test": sink.route, "*": choosy.route, "d.test": choosy.route},
    )
    queue_id = submit(relay, RECIPIENTS)
    relay.wait_log("message finished", id=queue_id)
    assert sorted(sorted(m.recipients) for m in choosy.messages) == [["yes@b.test", "yes@c.test"], ["yes@d.test"]]
    assert wait_event(relay, queue_id, "bounced")["to"] == "no@c.test"
    assert [r["address"] for r in hook.asked("bounce")[0]["error"]["bounced_rcpt"]] == ["no@c.test"]
    told = wait_until(lambda: [q for q in hook.asked("delivered") if len(q["params"]["ok_recips"]) == 2])[0]
    assert told["params"]["ok_recips"] == ["yes@b.test", "yes@c.test"]


def test_hooks_that_say_when_and_where_see_one_domain_at_a_time(hooked, choosy, sink):
    """The document's hmail has one domain: with `send_email` or `get_mx`, each domain goes its own way."""
    relay, hook = hooked({"send_email": None, "get_mx": None}, routes={"report.test": sink.route, "*": choosy.route})
    queue_id = submit(relay, RECIPIENTS)
    relay.wait_log("message finished", id=queue_id)
    wanted = {"b.test": ["yes@b.test"], "c.test": ["no@c.test", "yes@c.test"], "d.test": ["yes@d.test"]}
    for name in ("send_email", "get_mx"):
        asked = [q["hmail"]["todo"] for q in hook.asked(name) if q["hmail"]["uuid"] == queue_id]
        assert {todo["domain"]: todo["rcpt_to"] for todo in asked} == wanted and len(asked) == 3
    assert sorted(len(m.recipients) for m in choosy.messages) == [1, 1, 1]


# ------------------------------------------------------------------------------------------------ Received


@pytest.mark.parametrize(
    "text, wanted", [(None, b"(Martlet outbound)"), ("Our house", b"(Our house)"), ("disabled", None)]
)
def test_received_header_says_what_was_asked_for(make_relay, sink, text, wanted):
    relay = make_relay(routes={"*": sink.route}, outbound={"received_header": text} if text else {})
    submit(relay, "b@b.test")
    head = sink.wait_for(1)[0].data.split(b"\r\n\r\n")[0]
    assert (wanted in head) if wanted else (b"Received:" not in head), head


# ------------------------------------------------------------------------------------------------ traps (Appendix A)


def test_trap_1_a_251_for_the_only_recipient_is_an_acceptance(make_relay, make_server):
    """There only 250 counted: no DATA, no hook, no report, and the queue file was gone."""
    server = make_server({"RCPT": "251 2.1.5 will forward"})
    relay = make_relay(routes={"*": server.route})
    queue_id = submit(relay, "b@b.test")
    message = server.wait_for(1)[0]
    assert b"hello" in message.data
    wait_event(relay, queue_id, "delivered")
    relay.wait_log("message finished", id=queue_id)


def metric(relay, name):
    _, _, page = Api(relay).ask("GET", "/metrics")
    return sum(float(line.split()[-1]) for line in page.decode().splitlines() if line.startswith(name))


def test_trap_2_a_refused_login_defers_and_rests_the_route(make_relay):
    """There a 535 bounced the message at once, and with it the queue. Here: one attempt for all, an alarm, no bounce."""
    with TLSPeer(how="none", users=PASSWORD, clear=True, auth_reply="535 5.7.8 expired") as peer:
        relay = make_relay(
            routes={"*": {"mx": host_port(peer.address), "auth_user": "shop", "auth_pass": PASSWORD["shop"]}},
            outbound={"lane_rest_max": 3600, "temp_fail_intervals": "1h*9"},
            files={"admin.ini": "listen = 127.0.0.1:0\n"},
        )
        first = submit(relay, "b@b.test")
        assert "535 5.7.8" in wait_event(relay, first, "deferred")["reply"]
        assert relay.wait_log("login refused by next hop, its mail waits").level == "error"
        said = peer.lines.count("QUIT"), sum(line.startswith("AUTH") for line in peer.lines)
        ids = [first] + [submit(relay, f"b{n}@b.test") for n in range(10)]
        for queue_id in ids:
            wait_event(relay, queue_id, "deferred")
        assert sum(line.startswith("AUTH") for line in peer.lines) <= said[1] + 3, "every message asks again"
        assert metric(relay, "martlet_outbound_logins_refused_total") >= 1
        assert not relay.log_lines("bounced") and not peer.mails
        peer.auth_reply = None
        relay.hup()
        peer.wait_for(len(ids))
        assert "s3cret-word" not in relay.log_path.read_text()


@pytest.mark.parametrize("greeting", ["421 4.3.2 too busy", "554 5.3.2 go away"])
def test_trap_3_the_next_host_is_tried_whatever_the_greeting(make_relay, make_server, sink, greeting):
    """There a 421 of the first MX deferred the message and a 554 bounced it; the second MX was never asked."""
    rude = make_server({"BANNER": greeting})
    relay = make_relay(routes={"*": [rude.route, sink.route]})
    submit(relay, "b@b.test")
    sink.wait_for(1)
    assert rude.sessions and not relay.log_lines("bounced")


@pytest.mark.parametrize("greeting", ["421 4.3.2 too busy", "554 5.3.2 go away"])
def test_trap_3_a_greeting_alone_never_bounces(make_relay, make_server, greeting):
    rude = make_server({"BANNER": greeting})
    relay = make_relay(routes={"*": rude.route})
    queue_id = submit(relay, "b@b.test")
    assert greeting in wait_event(relay, queue_id, "deferred")["reply"]
    rude.heal()
    rude.wait_for(1)
    assert [event for event, _ in events(relay, queue_id)].count("bounced") == 0


@pytest.mark.parametrize("rule, event", [(None, "delivered"), ("defer", "deferred"), ("bounce", "bounced")])
def test_trap_4_what_is_sent_without_auth_is_the_routes_choice(make_relay, rule, event):
    """The document's rule is the default: without AUTH, and a warning. A route can say that it is not good enough."""
    with TLSPeer(how="none") as peer:
        route = {"mx": host_port(peer.address), "auth_user": "shop", "auth_pass": PASSWORD["shop"]}
        relay = make_relay(
            routes={"*": {**route, **({"on_auth_unavailable": rule} if rule else {})}, "a.test": "127.0.0.1:1"}
        )
        queue_id = send_mail(relay, "a@a.test", "b@b.test", MAIL)
        wait_event(relay, queue_id, event)
        assert bool(peer.mails) == (rule is None)
        assert bool(relay.log_lines("sending without AUTH")) == (rule is None)
        assert "s3cret-word" not in relay.log_path.read_text()


# ------------------------------------------------------------------------------------------------ REQUIRETLS (RFC 8689)


@pytest.fixture
def strict(make_relay, authority, sink):
    """`strict(peer)`: a relay that takes REQUIRETLS and sends on to the peer; `send()` gives a message that demands it."""
    chain, key = authority.issue("relay.test")

    def make(peer, **outbound):
        relay = make_relay(
            routes={"a.test": sink.route, "*": host_port(peer.address)},
            files={"tls_key.pem": key.read_bytes(), "tls_cert.pem": chain.read_bytes()},
            outbound={"tls_ca_file": authority.certificate, "tls_timeout": 2, **outbound},
        )

        def send(options=("REQUIRETLS",)):
            with smtplib.SMTP(*relay.address, timeout=15 * PATIENCE) as client:
                client.starttls(context=ssl._create_unverified_context())
                client.sendmail("a@a.test", ["b@b.test"], MAIL, mail_options=list(options))

        return relay, send

    return make


def test_requiretls_is_taken_over_tls_only(strict, authority):
    with TLSPeer(authority.issue("127.0.0.1"), keywords=["REQUIRETLS"]) as peer:
        relay, _ = strict(peer)
        with smtplib.SMTP(*relay.address, timeout=15 * PATIENCE) as client:
            client.ehlo()
            assert not client.has_extn("requiretls")
            assert client.docmd("MAIL", "FROM:<a@a.test> REQUIRETLS")[0] == 530


def test_requiretls_is_passed_on_over_verified_tls(strict, authority):
    """Though enable_tls is off; other mail to the same place goes as it always did."""
    with TLSPeer(authority.issue("127.0.0.1"), keywords=["REQUIRETLS"]) as peer:
        _, send = strict(peer, enable_tls=False)
        send()
        mail = peer.wait_for(1)[0]
        assert mail["tls"] and "REQUIRETLS" in mail["mail"].split()
        send(())
        mail = peer.wait_for(2)[1]
        assert "REQUIRETLS" not in mail["mail"]


@pytest.mark.parametrize(
    "how, trusted, keywords, status",
    [
        ("starttls", True, [], "5.7.30"),  # it does not offer REQUIRETLS
        ("starttls", False, ["REQUIRETLS"], "5.7.10"),  # nobody knows who it is
        ("none", True, ["REQUIRETLS"], "5.7.10"),  # it has no TLS
        ("refuse", True, ["REQUIRETLS"], "5.7.10"),
    ],
)
def test_requiretls_bounces_where_it_cannot_be_kept(strict, authority, tmp_path, sink, how, trusted, keywords, status):
    """RFC 8689 §4.2.1: at once, and §5: with the header of the message alone."""
    pair = authority.issue("127.0.0.1", self_signed=not trusted)
    with TLSPeer(pair, how=how, keywords=keywords) as peer:
        relay, send = strict(peer)
        send()
        line = relay.wait_log("bounced", to="b@b.test")
        assert status in line["reply"] and not peer.mails, line.raw
        report = sink.wait_for(1)[0].data
        assert status.encode() in report and b"Subject: x" in report and b"hello" not in report


def test_requiretls_waits_while_a_host_is_out_of_reach(strict, authority):
    """It may be the one that can do it."""
    with TLSPeer(how="none") as peer:
        relay, send = strict(peer)
        relay.write("routes.ini", f"[*]\nmx = 127.0.0.1:{free_port()}\nmx = {host_port(peer.address)}\n")
        relay.wait_log("configuration changed")
        send()
        assert relay.wait_log("delivery deferred")["stage"] == "connect"
        assert not relay.log_lines("bounced") and not peer.mails
