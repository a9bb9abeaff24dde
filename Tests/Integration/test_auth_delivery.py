"""test_auth_delivery.py - AUTH towards the next hop: mechanisms, refusals, what is never said in the clear (row A10)."""

import base64

import pytest
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer, WebServer, json_answer

MAIL = b"From: a@a.test\r\nSubject: auth\r\n\r\nhello\r\n"
SECRET = "correct horse, battery: st\u00e4ple"
USERS = {"relay@example.org": SECRET}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).issue("127.0.0.1", "localhost")


def start(make_relay, peer, outbound=None, arguments=(), **properties):
    relay = make_relay(
        routes={
            "*": {
                "mx": [f"{peer.address[0]}:{peer.address[1]}"],
                "auth_user": "relay@example.org",
                **({} if "oauth_client_id" in properties else {"auth_pass": SECRET}),
                **properties,
            }
        },
        outbound={"enable_tls": True, "tls_timeout": 2, **(outbound or {})},
        arguments=arguments,
    )
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    return relay


def no_secret(relay, *others):
    text = relay.log_path.read_text()
    for secret in (SECRET, *others):
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            assert form not in text
    assert base64.b64encode(f"\0relay@example.org\0{SECRET}".encode()).decode() not in text


@pytest.mark.parametrize(
    "offered, used",
    [
        (["CRAM-MD5", "LOGIN", "PLAIN"], "PLAIN"),
        (["CRAM-MD5", "LOGIN"], "LOGIN"),
        (["CRAM-MD5"], "CRAM-MD5"),
        (["GSSAPI", "PLAIN"], "PLAIN"),
    ],
)
def test_mechanism_is_picked(make_relay, pair, offered, used):
    with TLSPeer(pair, users=USERS, mechanisms=offered) as peer:
        relay = start(make_relay, peer, arguments=["--log-level", "trace"])
        mail = peer.wait_for(1)[0]
        assert mail["tls"] and mail["user"] == "relay@example.org"
        assert peer.logins == [(used, "relay@example.org")]
        no_secret(relay)


@pytest.mark.parametrize("mechanism", ["plain", "LOGIN", "cram-md5"])
def test_auth_type(make_relay, pair, mechanism):
    with TLSPeer(pair, users=USERS) as peer:
        start(make_relay, peer, auth_type=mechanism)
        peer.wait_for(1)
        assert peer.logins == [(mechanism.upper(), "relay@example.org")]


def test_one_login_for_many_messages(make_relay, pair):
    with TLSPeer(pair, users=USERS) as peer:
        relay = start(make_relay, peer, outbound={"concurrency_per_lane": 1})
        for _ in range(5):
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        assert all(mail["user"] for mail in peer.wait_for(6))
        assert len(peer.logins) == peer.connections


@pytest.mark.parametrize(
    "reply", ["535 5.7.8 no", "534 5.7.9 weak", "538 5.7.11 encrypt", "454 4.7.0 later", "421 4.7.0 bye"]
)
def test_refused_login_never_bounces(make_relay, pair, reply):
    with TLSPeer(pair, users=USERS, auth_reply=reply) as peer:
        relay = start(make_relay, peer, outbound={"lane_rest_max": 1})
        line = relay.wait_log("delivery deferred", count=2)
        assert line["stage"] == "auth" and reply in line["reply"], line.raw
        assert relay.wait_log("login refused by next hop, its mail waits")["lane"] == "[*]"
        assert not relay.log_lines("bounced") and not peer.mails
        peer.auth_reply = None
        assert peer.wait_for(1)[0]["user"] == "relay@example.org"
        no_secret(relay)


def test_a_reply_that_repeats_the_password_is_withheld(make_relay, pair):
    echoed = base64.b64encode(f"\0relay@example.org\0{SECRET}".encode()).decode()
    with TLSPeer(pair, users=USERS, auth_reply=f"535 5.7.8 {echoed} is wrong") as peer:
        relay = start(make_relay, peer)
        assert "withheld" in relay.wait_log("delivery deferred")["reply"]
        no_secret(relay)


def test_not_offered_is_sent_without_and_warned_of(make_relay, pair):
    with TLSPeer(pair) as peer:
        relay = start(make_relay, peer)
        assert peer.wait_for(1)[0]["user"] is None
        line = relay.wait_log("sending without AUTH")
        assert line["reason"] == "the peer offers no AUTH" and line["lane"] == "[*]"


def test_no_common_mechanism(make_relay, pair):
    with TLSPeer(pair, users=USERS, mechanisms=["GSSAPI", "NTLM"]) as peer:
        relay = start(make_relay, peer)
        assert peer.wait_for(1)[0]["user"] is None
        assert "no AUTH mechanism of" in relay.wait_log("sending without AUTH")["reason"]


def test_sent_without_and_refused_is_not_bounced(make_relay, pair):
    with TLSPeer(pair, needs_auth=True) as peer:
        relay = start(make_relay, peer)
        line = relay.wait_log("delivery deferred")
        assert line["stage"] == "auth" and "530 5.7.0" in line["reply"], line.raw
        assert relay.wait_log("login refused by next hop, its mail waits")
        assert not relay.log_lines("bounced")


def test_on_auth_unavailable_defer(make_relay, pair):
    with TLSPeer(pair) as peer:
        relay = start(make_relay, peer, on_auth_unavailable="defer")
        line = relay.wait_log("delivery deferred")
        assert line["stage"] == "auth" and "offers no AUTH" in line["reply"]
        assert not peer.mails


def test_on_auth_unavailable_bounce(make_relay, pair):
    with TLSPeer(pair) as peer:
        relay = start(make_relay, peer, on_auth_unavailable="bounce")
        line = relay.wait_log("bounced", to="b@b.test")
        assert line["stage"] == "auth" and "5.7.0" in line["reply"]
        assert not peer.mails


def test_loopback_needs_no_tls(make_relay):
    with TLSPeer(how="none", users=USERS, clear=True) as peer:
        start(make_relay, peer)
        assert peer.wait_for(1)[0]["user"] == "relay@example.org"


def test_a_password_does_not_fall_back_to_the_clear(make_relay, pair):
    with TLSPeer(pair, how="garbage", users=USERS, clear=True) as peer:
        relay = start(make_relay, peer)
        assert relay.wait_log("delivery deferred")["stage"] == "tls"
        assert not peer.logins and not peer.mails


def test_tls_is_used_for_a_password_even_where_it_is_off(make_relay, pair):
    with TLSPeer(pair, users=USERS) as peer:
        start(make_relay, peer, outbound={"enable_tls": False})
        mail = peer.wait_for(1)[0]
        assert mail["tls"] and mail["user"]


# ------------------------------------------------------------------------------------------------ OAuth


def oauth(server, **more):
    return {
        "oauth_token_url": f"http://127.0.0.1:{server.address[1]}/token",
        "oauth_client_id": "client",
        "oauth_client_secret": "client secret&=",
        "oauth_refresh_token": "refresh/me+",
        **more,
    }


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_token_is_fetched_and_used(make_relay, pair, mechanism):
    def answer(path, body):
        return json_answer(200, {"access_token": "tok-1", "expires_in": 3600, "token_type": "Bearer"})

    with WebServer(answer) as server, TLSPeer(pair, users={}, mechanisms=[mechanism], tokens=["tok-1"]) as peer:
        relay = start(
            make_relay, peer, auth_type=mechanism.lower(), **oauth(server, oauth_scope="https://mail.test/.default")
        )
        assert peer.wait_for(1)[0]["user"] == "relay@example.org"
        assert peer.logins == [(mechanism, "relay@example.org")]
        method, path, body = server.requests[0]
        assert (method, path) == ("POST", "/token")
        assert body == (
            "grant_type=refresh_token&client_id=client&refresh_token=refresh%2Fme%2B"
            "&client_secret=client%20secret%26%3D&scope=https%3A%2F%2Fmail.test%2F.default"
        )
        for _ in range(3):
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        peer.wait_for(4)
        assert len(server.requests) == 1
        no_secret(relay, "tok-1", "refresh/me+", "client secret&=")


def test_a_refused_token_is_fetched_anew(make_relay, pair):
    tokens = iter(["stale", "fresh", "fresher"])

    def answer(path, body):
        return json_answer(200, {"access_token": next(tokens), "expires_in": "3600"})

    with WebServer(answer) as server, TLSPeer(pair, users={}, mechanisms=["XOAUTH2"], tokens=["fresh"]) as peer:
        relay = start(make_relay, peer, **oauth(server))
        assert peer.wait_for(1)[0]["user"] == "relay@example.org"
        assert relay.log_lines("delivery deferred")
        assert len(server.requests) == 2


def test_without_a_token_mail_waits(make_relay, pair):
    def answer(path, body):
        return json_answer(400, {"error": "invalid_grant", "error_description": "refresh/me+ is revoked"})

    with WebServer(answer) as server, TLSPeer(pair, users={}, mechanisms=["XOAUTH2"]) as peer:
        relay = start(make_relay, peer, **oauth(server))
        line = relay.wait_log("delivery deferred")
        assert line["stage"] == "auth" and "400 invalid_grant" in line["reply"], line.raw
        assert peer.connections == 0
        no_secret(relay, "refresh/me+")
