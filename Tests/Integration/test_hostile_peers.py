"""test_hostile_peers.py — the peers of the hostile table themselves: an honest one is honest, and what was not taken is not in the books."""

import socket
import time

import pytest
from hostile_peers import (
    Hub,
    Peer,
    after_body,
    close,
    drip,
    flood,
    honest_then,
    hush,
    mute,
    no_body,
    reset,
    say,
    steps,
    takes,
)
from smtp_client import SmtpClient
from waiting import wait_until

BODY = b"X-Mark: m1\r\n\r\n.a\r\n..\r\nend\r\n"


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


def talk(peer):
    client = SmtpClient((peer.host, peer.port), timeout=5)
    client.expect(220)
    return client


def pipeline(client, recipients=("u@d.test",)):
    client.send("MAIL FROM:<a@a.test>\r\n" + "".join(f"RCPT TO:<{r}>\r\n" for r in recipients) + "DATA\r\n")


def test_honest_peer_takes_and_books(hub):
    peer = hub.add(Peer())
    with talk(peer) as client:
        client.ehlo()
        for _ in range(2):
            pipeline(client)
            for code in (250, 250, 354):
                client.expect(code)
            client.send(BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            client.expect(250)
        client.quit()
    assert peer.taken == [("m1", "u@d.test")] * 2 and peer.maybe == []
    assert [m.data for m in peer.messages] == [BODY] * 2


def test_refused_mail_leads_to_refused_data(hub):
    peer = hub.add(Peer({"mail": say(b"550 5.7.1 no\r\n")}))
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (550, 503, 503):
            client.expect(code)
        client.command("RSET", 250)
    assert peer.taken == []


def test_lmtp_answers_one_by_one(hub):
    peer = hub.add(Peer({"dot:1": say(b"450 no\r\n")}, lmtp=True))
    with talk(peer) as client:
        client.command("LHLO x", 250)
        pipeline(client, ["a@d", "b@d", "c@d"])
        for code in (250, 250, 250, 250, 354):
            client.expect(code)
        client.send(BODY + b".\r\n")
        for code in (250, 450, 250):
            client.expect(code)
    assert peer.taken == [("m1", "a@d"), ("m1", "c@d")] and peer.maybe == []


def test_unanswered_dot_is_in_doubt_until_healed(hub):
    peer = hub.add(Peer({"dot": mute()}))
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (250, 250, 354):
            client.expect(code)
        client.send(BODY + b".\r\nNOOP\r\n")
        assert client.is_quiet(0.2)
        wait_until(lambda: peer.maybe == [("m1", "u@d.test")], 2)
        assert peer.taken == []
        peer.heal()
        client.command("NOOP", 250)


def test_surplus_is_sent_after_the_honest_reply(hub):
    peer = hub.add(Peer({"dot": honest_then(say(b"250 more\r\n"))}))
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (250, 250, 354):
            client.expect(code)
        client.send(BODY + b".\r\n")
        client.expect(250)
        assert client.expect(250).text == "more"
    assert peer.taken == [("m1", "u@d.test")]


def test_acts_in_the_middle_of_the_body(hub):
    peer = hub.add(Peer({"body": after_body(1000, say(b"421 bye\r\n"), close())}))
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (250, 250, 354):
            client.expect(code)
        client.send(b"x" * 500)
        assert client.is_quiet(0.1)
        client.send(b"x" * 600)
        client.expect(421)
        assert client.rest() == b""
    assert peer.messages == []


@pytest.mark.parametrize("step, wanted", [(close(), b""), (reset(), b""), (steps(say(b"25"), close()), b"25")])
def test_endings(hub, step, wanted):
    peer = hub.add(Peer({"ehlo": step}))
    with talk(peer) as client:
        client.send(b"EHLO x\r\n")
        assert client.rest() == wanted


def test_flood_stops_with_the_connection(hub):
    peer = hub.add(Peer({"banner": flood(b"220-x\r\n")}))
    client = socket.create_connection((peer.host, peer.port))
    assert client.recv(1000).startswith(b"220-x")
    client.close()
    wait_until(lambda: not peer.open, 5, "the end of the flood")
    assert 0 < peer.flooded < 64 << 20


def test_drip_and_left_out(hub):
    peer = hub.add(Peer({"ehlo": drip(b"250-", 0.05)}))
    with SmtpClient((peer.host, peer.port)) as client:
        client.expect(220)
        client.send(b"EHLO x\r\n")
        time.sleep(0.5)
        client._more()
        assert 1 <= len(client.buffer) <= 12
    peer = hub.add(Peer({"mail": hush()}))
    with talk(peer) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@a>\r\nNOOP\r\n")
        assert client.expect(250).text.endswith("ok")
        assert client.is_quiet(0.1)


def test_a_doubtful_yes_can_be_honest(hub):
    peer = hub.add(Peer({"dot": takes(say(b"250\r\n")), "data": no_body(say(b"250 x\r\n"))}))
    assert peer.script["dot"].takes and not peer.script["data"].reads_body
