"""test_scripted.py — the scripted peer where it misbehaves: what it says is what the script says, and what it did not take
is not in its books."""

import socket
import ssl
import time

import pytest
from scripted import AfterOctets, Do, Drip, Drop, Flood, Lie, Reset, Sequence, Stall, ThenContent, Wait
from smtp_client import SmtpClient
from tls_peers import TLSPeer
from waiting import wait_until

BODY = b"X-Mark: m1\r\n\r\n.a\r\n..\r\nend\r\n"
RECIPIENT = "u@d.test"


def talk(peer):
    client = SmtpClient(peer.address, timeout=5)
    client.expect(220)
    return client


def pipeline(client, recipients=(RECIPIENT,)):
    client.send("MAIL FROM:<a@a.test>\r\n" + "".join(f"RCPT TO:<{r}>\r\n" for r in recipients) + "DATA\r\n")


def to_the_dot(client):
    client.ehlo()
    pipeline(client)
    for code in (250, 250, 354):
        client.expect(code)
    client.send(BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n")


def books(peer):
    """`(mark, recipient)` of what was taken, and of what is in doubt."""
    taken = [(t.mark, r) for t in peer.transactions for r in t.accepted]
    return taken, [(t.mark, r) for t in peer.transactions for r in t.doubtful]


def test_honest_peer_takes_and_books(make_server):
    peer = make_server()
    with talk(peer) as client:
        for _ in range(2):
            to_the_dot(client)
            client.expect(250)
        client.quit()
    assert books(peer) == ([("m1", RECIPIENT)] * 2, [])
    assert [m.data for m in peer.messages] == [BODY] * 2


def test_refused_mail_leads_to_refused_data(make_server):
    peer = make_server({"MAIL": "550 5.7.1 no"})
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (550, 503, 503):
            client.expect(code)
        client.command("RSET", 250)
    assert peer.transactions == []


def test_lmtp_answers_one_by_one(make_server):
    peer = make_server({"DOT:1": b"450 no\r\n"}, lmtp=True)
    with talk(peer) as client:
        client.command("EHLO x", 500)
        client.command("LHLO x", 250)
        pipeline(client, ["a@d", "b@d", "c@d"])
        for code in (250, 250, 250, 250, 354):
            client.expect(code)
        client.send(BODY + b".\r\n")
        for code in (250, 450, 250):
            client.expect(code)
    assert books(peer) == ([("m1", "a@d"), ("m1", "c@d")], [])


def test_unanswered_dot_is_in_doubt(make_server):
    peer = make_server({"DOT": Stall(then=b"")})
    with talk(peer) as client:
        to_the_dot(client)
        client.send(b"NOOP\r\n")
        assert client.is_quiet(0.2)
        assert books(peer) == ([], [])
        peer.heal()
        client.expect(250)
        wait_until(lambda: books(peer) == ([], [("m1", RECIPIENT)]), 2)


@pytest.mark.parametrize(
    "answer, taken, doubtful",
    [
        (b"250\r\n", 1, 0),
        (b"251-a\r\n251 b\r\n", 1, 0),
        (b"250 ok\n", 1, 0),
        (Drip(b"250 slow\r\n", 0.001), 1, 0),
        (Do(b"250", b" in pieces\r\n"), 1, 0),
        (Lie(b"250 nothing\r\n"), 0, 0),
        (b"554 no\r\n", 0, 0),
        (b"550-no\r\n250 yes\r\n", 0, 0),
        (b"250-yes\r\n550 no\r\n", 0, 1),
        (b"354 go\r\n", 0, 1),
        (b"221 bye\r\n", 0, 1),
        (Do(b"250 ok", Drop()), 0, 1),
        (Do(b"55", Drop()), 0, 0),
        (b"999 ok\r\n", 0, 1),
    ],
)
def test_a_verdict_is_what_was_said_in_whole(make_server, answer, taken, doubtful):
    peer = make_server({"DOT": answer})
    with talk(peer) as client:
        to_the_dot(client)
        client.send(b"QUIT\r\n")
        client.rest()
    wait_until(lambda: not peer.open, 5)
    assert tuple(map(len, books(peer))) == (taken, doubtful)


def test_surplus_is_sent_after_the_usual_reply(make_server):
    peer = make_server({"DOT": Do(None, b"250 more\r\n")})
    with talk(peer) as client:
        to_the_dot(client)
        client.expect(250)
        assert client.expect(250).text == "more"
    assert books(peer) == ([("m1", RECIPIENT)], [])


def test_acts_in_the_middle_of_the_body(make_server):
    peer = make_server({"BODY": AfterOctets(1000, b"421 bye\r\n", Drop())})
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
    assert peer.transactions == []


def test_content_behind_any_reply_to_data(make_server):
    peer = make_server({"DATA": ThenContent(b"250 what?\r\n"), "DOT": "554 5.0.0 no"})
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (250, 250, 250):
            client.expect(code)
        client.send(BODY + b".\r\n")
        client.expect(554)
    assert [t.mark for t in peer.transactions] == ["m1"] and peer.messages == []


@pytest.mark.parametrize("step, wanted", [(Drop(), b""), (Reset(), b""), (Do(b"25", Drop()), b"25")])
def test_endings(make_server, step, wanted):
    peer = make_server({"EHLO": step})
    with talk(peer) as client:
        client.send(b"EHLO x\r\n")
        assert client.rest() == wanted


def test_flood_stops_with_the_connection(make_server):
    peer = make_server({"BANNER": Flood(b"220-x\r\n")})
    client = socket.create_connection(peer.address)
    assert client.recv(1000).startswith(b"220-x")
    client.close()
    wait_until(lambda: not peer.open, 5, "the end of the flood")
    assert 0 < peer.flooded < 64 << 20


def test_drip_and_left_out(make_server):
    peer = make_server({"EHLO": Drip(b"250-", 0.05, again=True)})
    with SmtpClient(peer.address) as client:
        client.expect(220)
        client.send(b"EHLO x\r\n")
        time.sleep(0.5)
        client._more()
        assert 1 <= len(client.buffer) <= 12
    peer = make_server({"MAIL": b""})
    with talk(peer) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@a>\r\nNOOP\r\n")
        assert client.expect(250).text.lower().endswith("ok")
        assert client.is_quiet(0.1)


def test_a_waiting_peer_does_not_read(make_server):
    """What is not read fills the kernel's buffers, and no more than those."""
    peer = make_server({"BODY": Wait(30, b"")}, receive_buffer=8192)
    with talk(peer) as client:
        client.ehlo()
        pipeline(client)
        for code in (250, 250, 354):
            client.expect(code)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.send(b"x" * (32 << 20))
        client.socket.settimeout(20)
        peer.heal()


def test_functions_may_wait_and_coroutines_too(make_server):
    async def later(session, argument):
        return Sequence("451 4.3.0 " + argument, None)

    def slow(session, argument):
        time.sleep(0.2)
        return "252 2.1.5 " + argument

    peer = make_server({"MAIL": later, "RCPT": slow})
    others = [talk(peer) for _ in range(3)]
    with talk(peer) as client:
        client.ehlo()
        assert client.command("MAIL FROM:<a@a.test>").text == "4.3.0 a@a.test"
        assert client.command("RCPT TO:<b@b.test>").text == "2.1.5 b@b.test"
    for other in others:
        other.command("NOOP", 250)
        other.__exit__(None, None, None)


def test_a_broken_script_is_a_violation(make_server, capfd):
    peer = make_server({"NOOP": lambda session, _: session.nothing})
    with talk(peer) as client:
        client.send(b"NOOP\r\n")
        assert client.rest() == b""
    assert "the script itself" in peer.violations[0] and "nothing" in capfd.readouterr().err


def test_stop_resets_and_refuses(make_server):
    peer = make_server()
    with talk(peer) as client:
        peer.stop()
        assert client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        talk(peer)
    peer.listen()
    talk(peer).quit()
    assert peer.sessions[0].ended == "reset"


def test_tls_and_login(authority, closing):
    peer = closing(TLSPeer(authority.issue("127.0.0.1"), users={"u": "p"}, needs_auth=True))
    context = ssl.create_default_context(cafile=authority.certificate)
    with talk(peer) as client:
        assert "STARTTLS" in client.command("EHLO x", 250).lines
        client.command("MAIL FROM:<a@a.test>", 530)
        client.command("STARTTLS", 220)
        client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
        offered = client.command("EHLO x", 250).lines
        assert "AUTH PLAIN LOGIN CRAM-MD5" in offered and "STARTTLS" not in offered
        client.command("AUTH PLAIN AHUAcA==", 235)
        to_the_dot(client)
        client.expect(250)
        client.quit()
    assert [(m["user"], m["version"]) for m in peer.mails] == [("u", "TLSv1.3")] and peer.logins == [("PLAIN", "u")]
