"""test_relay_tricks.py - nobody relays but the clients of `relay_acl_allow` (reliability R1, R2).

The list names 127.0.0.2 only. Loopback has many addresses, so a client that binds 127.0.0.1 or 127.0.0.3 is a stranger.
"""

import pytest
from smtp_client import send_mail

MAIL = b"Subject: relay\r\n\r\nx\r\n"
FRIEND, STRANGERS = "127.0.0.2", ("127.0.0.1", "127.0.0.3")


@pytest.fixture(scope="module")
def house(make_house):
    return make_house(allow=[FRIEND + "/32"], smtp={"limits.errors": 100_000})


TARGETS = [
    # RFC 2505, RFC 5321 section 3.6 and appendix C, and what open-relay testers try
    "<victim@other.test>",
    "<victim@[192.0.2.1]>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@relay.test>",
    "<victim@localhost>",
    "<victim%other.test@relay.test>",
    "<victim%other.test>",
    "<victim%other.test@[127.0.0.1]>",
    "<victim%other.test%relay.test@relay.test>",
    "<victim@other.test%relay.test>",
    "<victim%other.test@>",
    "<victim%[192.0.2.1]@relay.test>",
    "<%other.test@relay.test>",
    "<other.test!victim>",
    "<other.test!victim@relay.test>",
    "<relay.test!other.test!victim>",
    "<relay.test!other.test!victim@relay.test>",
    "<other.test!victim@[127.0.0.1]>",
    "<a!b!c!victim@other.test>",
    "<other.test!victim%relay.test@relay.test>",
    "<@relay.test:victim@other.test>",
    "<@[127.0.0.1]:victim@other.test>",
    "<@localhost:victim@other.test>",
    "<@other.test:victim@relay.test>",
    "<@relay.test,@other.test:victim@third.test>",
    "<@relay.test:victim%other.test@relay.test>",
    "<@relay.test:other.test!victim>",
    "<@relay.test:@other.test:victim@third.test>",
    "<@:victim@other.test>",
    "<@relay.test:>",
    "<@relay.test,@relay.test:victim@other.test>",
    '<"victim@other.test">',
    '<"victim@other.test"@relay.test>',
    '<"victim@other.test"@[127.0.0.1]>',
    '<"victim%other.test"@relay.test>',
    '<"other.test!victim"@relay.test>',
    '<"victim"@other.test>',
    '<""@other.test>',
    '<"@relay.test:victim@other.test">',
    '<"victim\\@other.test"@relay.test>',
    '<"victim@other.test\\"@relay.test>',
    '<"vic tim"@other.test>',
    '<\\"victim@other.test\\"@relay.test>',
    "<victim@other.test@relay.test>",
    "<victim@relay.test@other.test>",
    "<victim@@other.test>",
    "<victim@relay.test@>",
    "<victim@[127.0.0.1]@other.test>",
    "<victim@other.test.>",
    "<victim@relay.test.>",
    "<victim@other.test..>",
    "<victim@.other.test>",
    "<victim@OTHER.TEST>",
    "<VICTIM@Relay.Test>",
    "victim@other.test",
    "<victim@other.test",
    "victim@other.test>",
    "< victim@other.test>",
    "<victim @other.test>",
    "<victim@ other.test>",
    "<victim@other.test >",
    "<victim@other.test,victim2@other.test>",
    "<victim@other.test>,<victim2@other.test>",
    "<victim@other.test> <x@relay.test>",
    "<postmaster>",
    "<postmaster@other.test>",
    "<Postmaster@relay.test>",
    "<postmaster%other.test>",
    "<abuse@relay.test>",
    "<root>",
    "<root@localhost>",
    "<victim+other.test@relay.test>",
    "<victim=other.test@relay.test>",
    "<victim#other.test@relay.test>",
    "<victim/other.test@relay.test>",
    "<victim:other.test@relay.test>",
    "<victim;other.test@relay.test>",
    "<|victim@other.test>",
    "</etc/passwd@relay.test>",
    "<>",
    "<victim@0x7f000001>",
    "<victim@2130706433>",
    "<victim@[2130706433]>",
    "<victim@[0x7f.1]>",
    "<victim@[127.1]>",
    "<victim@127.0.0.1>",
    "<victim@[127.0.0.2]>",
    "<victim@[::1]>",
    "<victim@[IPv6:::ffff:127.0.0.2]>",
    "<victim@xn--80ak6aa92e.test>",
    "<victim@other\u3002test>",
    "<v\u00efctim@other.test>",
    "<victim@other.test\x00relay.test>",
    "<victim@other.test> NOTIFY=NEVER",
    "<victim@other.test> ORCPT=rfc822;x@relay.test",
    "<victim(comment)@other.test>",
    "<victim@other.test(comment)>",
    "<(c)victim@other.test>",
]
assert len(TARGETS) >= 70

SENDERS = [
    "<stranger@a.test>",
    "<>",
    "<postmaster@relay.test>",
    "<victim@relay.test>",
    "<root@localhost>",
    "<x@[127.0.0.2]>",
]


@pytest.mark.parametrize("source", STRANGERS)
@pytest.mark.parametrize("sender", SENDERS)
def test_r1_no_trick_opens_the_relay(house, check, source, sender):
    for target in TARGETS:
        with house.relay.session(source=source) as client:
            reply = client.command(f"MAIL FROM:{sender}")
            if reply.code != 250:
                check(reply.code // 100 == 5, f"MAIL {sender}: {reply.raw!r}")
                continue
            client.send(f"RCPT TO:{target}\r\n".encode())
            reply = client.reply_or_end()
            if reply is None:
                check(True, target)
                continue
            check(reply.code // 100 == 5, f"RCPT {target} from {source}: {reply.raw!r}")
            if reply.code // 100 == 2:
                continue
            reply = client.command("DATA")
            check(reply.code in (503, 554), f"DATA after {target}: {reply.raw!r}")
    check(not house.sink.copies(), f"nothing was relayed: {house.sink.copies()}")


def test_r1_refusal_is_550_5_7_1(house, check):
    for source in STRANGERS:
        with house.relay.session(source=source) as client:
            client.mail()
            for recipient in ("victim@other.test", "victim@relay.test", '"a@b"@relay.test', "postmaster@relay.test"):
                reply = client.command(f"RCPT TO:<{recipient}>")
                check.equal((reply.code, reply.status), (550, "5.7.1"), recipient)


@pytest.mark.parametrize("source", STRANGERS)
def test_r1_ways_around_rcpt(house, check, source):
    """Pipelining, BDAT, a second EHLO, RSET, HELO as a friend, headers: none makes a friend of a stranger."""
    dialogues = [
        b"EHLO [127.0.0.2]\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<victim@other.test>\r\nDATA\r\n",
        b"HELO relay.test\r\nMAIL FROM:<a@relay.test>\r\nRCPT TO:<victim@other.test>\r\nDATA\r\n",
        b"EHLO localhost\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<victim@other.test>\r\nBDAT 5 LAST\r\nx: y\n",
        b"EHLO x\r\nMAIL FROM:<a@a.test>\r\nRSET\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<victim@other.test>\r\nRCPT TO:<postmaster>\r\nDATA\r\n",
        b"EHLO x\r\nMAIL FROM:<a@a.test> AUTH=friend@relay.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<victim@other.test>\r\nDATA\r\n",
    ]
    for dialogue in dialogues:
        with house.relay.connect(source=source) as client:
            client.expect(220)
            client.send(dialogue + b"QUIT\r\n")
            answer = client.rest(10)
            check(b"354 " not in answer, f"no DATA: {answer!r}")
            check(b"Queued" not in answer, f"nothing queued: {answer!r}")
    check(not house.sink.copies(), "nothing was relayed")


def test_r1_a_friend_may_relay(house, unique, check):
    """The same forms from the listed address: the valid ones are accepted, so the test above proves something."""
    accepted = 0
    for target in TARGETS[:60]:
        with house.relay.session(source=FRIEND) as client:
            client.mail()
            client.send(f"RCPT TO:{target}\r\n".encode())
            reply = client.reply_or_end()
            accepted += reply is not None and reply.code == 250
    check(accepted >= 12, f"{accepted} forms accepted")
    before = len(house.sink.messages)
    send_mail(house.relay, "a@a.test", unique() + "@other.test", MAIL, source=FRIEND)
    house.sink.wait_for(before + 1)


@pytest.mark.parametrize(
    "network,inside,outside",
    [
        ("127.0.0.0/30", ["127.0.0.1", "127.0.0.3"], ["127.0.0.4", "127.0.1.1"]),
        ("127.1.2.3", ["127.1.2.3"], ["127.1.2.4", "127.0.0.1"]),
        ("127.0.1.0/24", ["127.0.1.1", "127.0.1.255"], ["127.0.0.1", "127.0.2.1"]),
        ("127.128.0.0/9", ["127.200.1.1"], ["127.127.255.255", "127.0.0.1"]),
    ],
)
def test_r1_networks_are_cut_at_the_right_bit(make_relay, sink, check, network, inside, outside):
    relay = make_relay(routes={"*": sink.address}, allow=["# comment", network, ""])
    for source, wanted in [(s, 250) for s in inside] + [(s, 550) for s in outside]:
        with relay.session(source=source) as client:
            client.mail()
            check.equal(client.command("RCPT TO:<x@other.test>").code, wanted, f"{source} with {network}")


def test_r1_an_empty_list_lets_nobody_in(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, allow=["# nobody"])
    for source in (FRIEND, *STRANGERS):
        with relay.session(source=source) as client:
            client.mail()
            client.rcpt("x@other.test", "", 550)


def test_r1_the_list_is_read_again_on_hup(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, allow=["127.0.0.2"])

    def answer(source):
        with relay.session(source=source) as client:
            client.mail()
            return client.command("RCPT TO:<x@other.test>").code

    from harness import wait_until

    assert (answer("127.0.0.2"), answer("127.0.0.3")) == (250, 550)
    relay.allow = ["127.0.0.3"]
    relay.write_config()
    relay.hup()
    wait_until(lambda: answer("127.0.0.3") == 250, 10, "the new list")
    assert answer("127.0.0.2") == 550


SPOOFS = [
    b"XCLIENT ADDR=127.0.0.2 NAME=friend.test\r\n",
    b"XCLIENT LOGIN=friend\r\n",
    b"XCLIENT ADDR=127.0.0.2 PROTO=ESMTP HELO=x\r\n",
    b"XFORWARD ADDR=127.0.0.2 NAME=friend.test\r\n",
    b"XFORWARD SOURCE=LOCAL\r\n",
    b"PROXY TCP4 127.0.0.2 127.0.0.1 4000 25\r\n",
    b"PROXY UNKNOWN\r\n",
    b"XADR 127.0.0.2\r\n",
    b"XAUTH friend\r\n",
    b"AUTH EXTERNAL =\r\n",
    b"AUTH ANONYMOUS Zm9v\r\n",
    b"AUTH PLAIN AGZyaWVuZABmcmllbmQ=\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH CRAM-MD5\r\n",
]


@pytest.mark.parametrize("spoof", SPOOFS, ids=lambda s: s.split(b"\r")[0].decode())
def test_r2_nobody_becomes_somebody_else(house, check, spoof):
    with house.relay.session(source="127.0.0.3") as client:
        client.send(spoof)
        reply = client.reply_or_end()
        check(reply is None or reply.code // 100 == 5, f"{spoof!r}: {reply and reply.raw!r}")
        if reply is not None and not client.ended:
            client.mail()
            check.equal(client.command("RCPT TO:<victim@other.test>").code, 550, "still a stranger")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 127.0.0.2 127.0.0.1 4000 25\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x02\x7f\0\0\x01\x0f\xa0\0\x19",
    ],
)
def test_r2_proxy_header_before_the_banner(house, check, header):
    with house.relay.connect(source="127.0.0.3") as client:
        client.send(header + b"EHLO x\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<victim@other.test>\r\nDATA\r\nQUIT\r\n")
        answer = client.rest(10)
        check(b"354 " not in answer, f"{answer!r}")
    check(
        not house.sink.copies() or all("other.test" in r and "victim" not in r for r in house.sink.copies()),
        "nothing relayed for the stranger",
    )
