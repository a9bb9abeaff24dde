"""test_bytes.py - what comes in goes out, octet for octet.

Seeded random bodies through DATA and BDAT in random pieces, over few and many connections. `TEST_SOAK=1` sends
10 000 instead of 300; `TEST_SEED` repeats a run.
"""

import os
import random
import threading

import pytest
from harness import SOAK
from smtp_client import added_by_relay, dot_stuff, send_mail
from waiting import wait_until

SEED = int(os.environ.get("TEST_SEED", "20261122"))
COUNT = 10_000 if SOAK else 300


@pytest.fixture(scope="module")
def house(make_house):
    return make_house()


def octets(rng, length):
    """Any octets but NUL, CR and LF."""
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(rng.choice(b"abc ABC.=09-") for _ in range(length))
    if kind == 1:
        return bytes(rng.choice(_ANY) for _ in range(length))
    if kind == 2:
        return rng.choice([b".", b"x", b" ", b"\t", b"\xff", b"\x01", b"\xc3\xa9"]) * length
    return rng.randbytes(length).translate(_CLEAN)


_ANY = bytes(c for c in range(1, 256) if c not in (10, 13))
_CLEAN = bytes(c if c in _ANY else 0x2E for c in range(256))


def random_message(rng, number):
    lines = []
    if rng.random() < 0.85:
        for _ in range(rng.randrange(12)):
            name = rng.choice(
                [b"Subject", b"X-A", b"DATE", b"message-id", b"To", b"__proto__", b"X" * 60, b"constructor"]
            )
            lines.append(name + b": " + octets(rng, rng.randrange(60)).strip())
            for _ in range(rng.choice([0, 0, 0, 1, 3])):
                lines.append(rng.choice([b" ", b"\t"]) + b"folded " + octets(rng, rng.randrange(40)))
        lines.append(b"X-Number: %d" % number)
        lines.append(b"")
    for _ in range(rng.choice([0, 1, 2, 10, 60])):
        length = rng.choice([0, 0, 1, 2, 3, 30, 78, 500, 997, 998])
        line = octets(rng, length)
        if rng.random() < 0.3:
            line = b"." * rng.randrange(1, 4) + line[:995]
        lines.append(line)
    if rng.random() < 0.04:
        lines += [octets(rng, 900) for _ in range(rng.randrange(100, 1500))]
    return b"".join(line + b"\r\n" for line in lines)


def send_randomly(client, rng, recipient, content):
    """One transaction; returns what must arrive."""
    client.mail("a@a.test", rng.choice(["", "BODY=8BITMIME", f"SIZE={len(content)}"]))
    client.rcpt(recipient)
    if rng.random() < 0.5:
        client.command("DATA", 354)
        raw, pieces = dot_stuff(content), []
        while raw:
            step = rng.choice([1, 2, 5, 100, 1460, 65536])
            pieces.append(raw[:step])
            raw = raw[step:]
            if len(pieces) > 60:
                pieces.append(raw)
                raw = b""
        client.send_pieces(pieces, pause=0)
        client.expect(250)
        return content
    if rng.random() < 0.2 and content:
        content = content[:-2] + rng.choice([b"", b"x", b"."])
    at = 0
    for _ in range(rng.randrange(5)):
        step = rng.randrange(0, max(1, len(content) - at))
        client.bdat(content[at : at + step], last=False)
        at += step
    client.bdat(content[at:], last=True)
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


@pytest.mark.parametrize("part", range(4))
def test_random_bodies_arrive_octet_for_octet(house, check, part):
    wanted, problems = {}, []

    def sessions(thread):
        rng = random.Random(SEED * 1000 + part * 10 + thread)
        client = None
        try:
            for number in range(COUNT // 16 + 1):
                if client is None or rng.random() < 0.2:
                    if client:
                        client.quit()
                    client = house.relay.session()
                recipient = f"p{part}t{thread}n{number}@b.test"
                wanted[recipient] = send_randomly(client, rng, recipient, random_message(rng, number))
            client.quit()
        except Exception as error:  # reported by the test's own thread
            problems.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=sessions, args=(n,)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not problems, problems
    mine = lambda: {r: m for m in house.sink.messages for r in m.accepted if r in wanted}
    wait_until(
        lambda: len(mine()) == len(wanted), 60, lambda: f"{len(wanted)} messages, {len(mine())} came; seed {SEED}"
    )
    copies = house.sink.copies()
    for recipient, message in mine().items():
        try:
            added_by_relay(message.data, wanted[recipient])
            check(True, recipient)
        except AssertionError as error:
            check(False, f"{recipient}, seed {SEED}: {error}")
        check.equal(copies[recipient], 1, f"copies for {recipient}")
    assert not house.sink.violations


CASES = {
    "empty": b"",
    "one empty line": b"\r\n",
    "header only": b"Subject: x\r\n",
    "header and empty line": b"Subject: x\r\n\r\n",
    "no header": b"just text\r\nmore text\r\n",
    "no header, 8 bit": b"\xe9\xe8\r\n",
    "starts empty": b"\r\nbody\r\n",
    "starts folded": b" folded first\r\nSubject: x\r\n\r\ny\r\n",
    "mbox From": b"From someone Sun Nov 22 10:00:00 2026\r\nSubject: x\r\n\r\nFrom y\r\n",
    "colon only": b":\r\n\r\nx\r\n",
    "header with no blank line": b"A: b\r\nnot a header\r\n\r\nx\r\n",
    "998 octets": b"a: b\r\n\r\n" + b"x" * 998 + b"\r\n",
    "trailing blanks": b"a: b  \t \r\n\r\nx \t \r\n \r\n",
    "many empty lines": b"a: b\r\n\r\n" + b"\r\n" * 5000,
    "control octets": b"a: b\r\n\r\n" + bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n",
    "all 8-bit": b"a: b\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "60 kB header": b"X-Long: "
    + b" ".join(b"w%d" % n for n in range(4))
    + b"\r\n"
    + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 70) for n in range(750))
    + b"\r\nx\r\n",
    "2000 headers": b"".join(b"H%d: v\r\n" % n for n in range(2000)) + b"\r\nx\r\n",
    "prototype": b"__proto__: x\r\nconstructor: y\r\ntoString: z\r\n\r\nx\r\n",
    "two dates": b"Date: a\r\nDate: b\r\nMessage-ID: <1>\r\nMessage-ID: <2>\r\n\r\nx\r\n",
    "return path": b"Return-Path: <x@y.test>\r\nSubject: x\r\n\r\ny\r\n",
    "bcc": b"Bcc: hidden@b.test\r\nSubject: x\r\n\r\ny\r\n",
    "received below": b"Received: from a by b; date\r\nSubject: x\r\n\r\ny\r\n",
}


@pytest.mark.parametrize("name", CASES)
def test_odd_message(house, unique, name):
    content = CASES[name]
    for bdat in (False, True):
        recipient = unique("odd") + "@b.test"
        send_mail(house.relay, "a@a.test", recipient, content, bdat=bdat)
        added_by_relay(house.arrived(recipient).data, content)
    assert not house.sink.violations


@pytest.mark.parametrize(
    "content,arrives",
    [
        (b"no end", b"no end\r\n"),
        (b"a: b\r\n\r\nx", b"a: b\r\n\r\nx\r\n"),
        (b"a: b\r\n\r\n.", b"a: b\r\n\r\n.\r\n"),
        (b"x" * 998, b"x" * 998 + b"\r\n"),
    ],
)
def test_bdat_without_final_line_end(house, unique, content, arrives):
    recipient = unique("cut") + "@b.test"
    send_mail(house.relay, "a@a.test", recipient, content, bdat=True)
    added_by_relay(house.arrived(recipient).data, arrives)


@pytest.mark.parametrize("length", [999, 1000, 1001, 2048, 4096, 70_000, 1_000_000])
def test_lines_beyond_998_are_delivered_whole_or_refused(house, unique, length):
    """S6: complete delivery or 5xx, never a cut line."""
    recipient = unique("line") + "@b.test"
    content = b"Subject: long\r\n\r\n" + b"x" * length + b"\r\n.\r\nend\r\n"
    with house.relay.session() as client:
        client.mail()
        client.rcpt(recipient)
        reply = client.data(content, 250, 5)
    if reply.code == 250:
        added_by_relay(house.arrived(recipient).data, content)


def test_large_message_is_exact(house, unique):
    rng = random.Random(SEED)
    content = b"Subject: large\r\n\r\n" + b"".join(
        rng.randbytes(700).translate(_CLEAN) + b"\r\n" for _ in range(34_000)
    )
    assert 23_000_000 < len(content) < 26_214_400
    recipient = unique("large") + "@b.test"
    send_mail(house.relay, "a@a.test", recipient, content, bdat=False)
    added_by_relay(house.arrived(recipient, 60).data, content)
    recipient = unique("large") + "@b.test"
    send_mail(house.relay, "a@a.test", recipient, content, bdat=True)
    added_by_relay(house.arrived(recipient, 60).data, content)
