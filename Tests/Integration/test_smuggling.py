"""test_smuggling.py - only CRLF.CRLF ends a message, and no bare CR or LF ever leaves (reliability S1, S2, S3).

Every variant is a forged end of data followed by a second message in SMTP commands. It travels in every way a client can
send it: one write, cut at each octet around the trap, pipelined with what follows, in one BDAT chunk, in two chunks cut
inside the trap. Whatever the relay answers, the sink must never see the second message, and never a line end that is
not CRLF.
"""

import re

import pytest
from smtp_client import added_by_relay, dot_stuff, send_mail, un_dot_stuff

VARIANTS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CR . CRLF": b"\r.\r\n",
    "CRLF . CR": b"\r\n.\r",
    "LF . CR": b"\n.\r",
    "CR . LF": b"\r.\n",
    "LFCR . LFCR": b"\n\r.\n\r",
    "CRCRLF . CRLF": b"\r\r\n.\r\n",
    "CRLF . CRCRLF": b"\r\n.\r\r\n",
    "CRLF . LFLF": b"\r\n.\n\n",
    "LFLF . LFLF": b"\n\n.\n\n",
    "LF . LFCRLF": b"\n.\n\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "NUL CRLF . CRLF (bare)": b"\0\n.\r\n",
    "LF NUL . LF": b"\n\0.\n",
    "CR NUL LF . CRLF": b"\r\0\n.\r\n",
    "CRLF . CR NUL LF": b"\r\n.\r\0\n",
    "CRLF . SP CRLF": b"\r\n. \r\n",
    "CRLF SP . CRLF": b"\r\n .\r\n",
    "CRLF . TAB CRLF": b"\r\n.\t\r\n",
    "CRLF .. CRLF": b"\r\n..\r\n",
    "LF .. LF": b"\n..\n",
    "LF .. CRLF": b"\n..\r\n",
    "CRLF .. LF": b"\r\n..\n",
    "VT . VT": b"\x0b.\x0b",
    "FF . FF": b"\x0c.\x0c",
    "NEL . NEL": b"\x85.\x85",
    "U+2028 . U+2028": "\u2028.\u2028".encode(),
    "U+0085 . U+0085": "\u0085.\u0085".encode(),
    "CRLF . FF CRLF": b"\r\n.\x0c\r\n",
    "CRLF BS . CRLF": b"\r\n\x08.\r\n",
    "CRLF . DEL CRLF": b"\r\n.\x7f\r\n",
    "CR alone . CRLF": b"x\r.\r\nx",
    "LF alone at start": b"\n.\nx",
    "CRLF . ^Z CRLF": b"\r\n.\x1a\r\n",
    "fullwidth dot": "\r\n\uff0e\r\n".encode(),
    "LF . LF . CRLF": b"\n.\n.\r\n",
    "RS . RS": b"\x1e.\x1e",
    "CRLF . CRSPLF": b"\r\n.\r \n",
    "NUL . NUL": b"\0.\0",
    "CRLF CR . CR LF": b"\r\n\r.\r\n",
}
assert len(VARIANTS) >= 40

WAYS = ("one write", "split", "pipelined", "bdat", "bdat in two")


@pytest.fixture(scope="module")
def house(make_house):
    return make_house(smtp={"limits.errors": 10000})


def second(recipient):
    return (
        b"MAIL FROM:<smuggled@evil.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
        % recipient.encode()
    )


def no_stray_line_end(data):
    return not re.search(rb"(?<!\r)\n|\r(?!\n)", data)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_forged_end_of_data(house, unique, variant, way):
    trap = VARIANTS[variant]
    first, smuggled, after = unique("first") + "@b.test", unique("smuggled") + "@b.test", unique("after") + "@b.test"
    content = b"Subject: outer\r\n\r\nouter" + trap + second(smuggled)
    with house.relay.session() as client:
        client.mail("outer@a.test")
        client.rcpt(first)
        if way.startswith("bdat"):
            if way == "bdat":
                client.try_send(b"BDAT %d LAST\r\n" % len(content) + content)
                replies = 1
            else:
                cut = content.index(trap) + max(1, len(trap) // 2)
                client.try_send(
                    b"BDAT %d\r\n" % cut + content[:cut] + b"BDAT %d LAST\r\n" % (len(content) - cut) + content[cut:]
                )
                replies = 2
        else:
            client.command("DATA", 354)
            raw, replies = content + b".\r\n", 1
            if way == "one write":
                client.try_send(raw)
            elif way == "pipelined":
                client.try_send(raw + b"NOOP\r\nRSET\r\n")
                replies = 3
            else:
                start = raw.index(trap)
                edges = [0, *range(start, start + len(trap) + 1), len(raw)]
                for begin, end in zip(edges, edges[1:]):
                    if end > begin and not client.try_send(raw[begin:end]):
                        break
                    __import__("time").sleep(0.001)
        verdicts = []
        for _ in range(replies):
            reply = client.reply_or_end()
            if reply is None:
                break
            verdicts.append(reply.code)
        # one answer to the content, and never one that belongs to the smuggled commands
        assert verdicts, "neither a reply nor an end"
        if way in ("one write", "split"):
            assert client.is_quiet(0.02) or client.reply_or_end() is None, f"an answer too many after {verdicts}"
        client.close()
    send_mail(house.relay, "after@a.test", after, b"Subject: after\r\n\r\nafter\r\n")
    house.arrived(after)
    accepted = verdicts[-1 if way == "bdat in two" else 0] == 250
    outer = house.arrived(first) if accepted else None
    assert smuggled not in house.sink.copies() and not [
        t for t in house.sink.transactions if t.sender.startswith("smuggled") or smuggled in t.recipients
    ], "smuggled"
    assert not [v for v in house.sink.violations if "bare" in v or "line end" in v], house.sink.violations
    if outer is not None:
        assert no_stray_line_end(outer.data)
        if no_stray_line_end(trap) and b"\0" not in trap:
            sent = content if way.startswith("bdat") else un_dot_stuff(content)
            added_by_relay(outer.data, sent)


@pytest.mark.parametrize(
    "command",
    [
        b"NOOP\n",
        b"NOOP\r",
        b"MAIL FROM:<a@a.test>\n",
        b"MAIL FROM:<a@a.test>\nRCPT TO:<x@b.test>\r\n",
        b"RCPT TO:<x@b.test>\rNOOP\r\n",
        b"NOOP\n\r\n",
        b"EHLO a\nMAIL FROM:<a@a.test>\r\n",
        b"MAIL FROM:<a@a.test\r>\r\n",
        b"RSET\r\r\n",
        b"\n",
        b"\r",
        b"QUIT\n",
    ],
)
def test_commands_end_in_crlf_only(house, command):
    """A bare LF or CR in a command is refused and never ends it."""
    with house.relay.session() as client:
        client.send(command + b"\r\n")
        reply = client.reply_or_end()
        assert reply is None or reply.code in (421, 500, 501, 503, 550, 554), reply.raw
        if reply is not None and reply.code != 421:
            # after the refusal: closed, or one more complaint about the rest; never an answer as if it had been a command
            following = client.reply_or_end() if not client.is_quiet(0.05) else None
            assert following is None or following.code in (421, 500, 501, 503, 554), following.raw


@pytest.mark.parametrize(
    "body",
    [
        b"a: b\n\nx\r\n",
        b"a: b\r\n\r\nx\ry\r\n",
        b"a: b\r\n\r\nx\n",
        b"a: b\r\n\r\nx\r",
        b"a: b\r\n\r\n\x00\r\n",
        b"a\n\n\r\n",
        b"a: b\r\n\r\r\n",
    ],
)
def test_stray_line_ends_through_bdat_never_leave(house, unique, body):
    recipient, after = unique("s2") + "@b.test", unique("after") + "@b.test"
    with house.relay.session() as client:
        client.mail()
        client.rcpt(recipient)
        reply = client.bdat(body, True, 2, 4, 5)
    if reply.code == 250:
        assert no_stray_line_end(house.arrived(recipient).data)
    else:
        assert reply.code in (550, 554, 451), reply.raw
    send_mail(house.relay, "after@a.test", after, b"Subject: after\r\n\r\nafter\r\n")
    house.arrived(after)
    assert not house.sink.violations


def test_bare_line_ends_are_refused(house, unique):
    """The issue's word: bare CR, bare LF and NUL are refused."""
    for body in (b"a: b\r\n\r\nx\ny\r\n", b"a: b\r\n\r\nx\ry\r\n", b"a: b\r\n\r\nx\0y\r\n"):
        for bdat in (False, True):
            with house.relay.session() as client:
                client.mail()
                client.rcpt(unique("bare") + "@b.test")
                reply = client.bdat(body, True, 5) if bdat else client.data(body, 5)
                assert reply.status and reply.status[0] == "5", reply.raw


# ------------------------------------------------------------------------------------------------ dots, both ways

DOTS = {
    "empty": b"",
    "one dot": b".\r\n",
    "two dots": b"..\r\n",
    "three": b"...\r\n",
    "dot first": b".x: y\r\n\r\n.\r\n",
    "dot then text": b"a: b\r\n\r\n.text\r\n",
    "dots around": b"a: b\r\n\r\n.\r\n..\r\n...\r\n....\r\n.\r\n",
    "dot CRLF dot": b"\r\n.\r\n.\r\n",
    "dot in the middle": b"a: b\r\n\r\nx.\r\ny.y\r\n",
    "only dots": b".\r\n" * 100,
    "end looks like end": b"a: b\r\n\r\n.\r\nQUIT\r\n.\r\n",
    "empty lines and dots": b"a: b\r\n\r\n\r\n.\r\n\r\n.\r\n\r\n",
    "long dotted line": b"a: b\r\n\r\n" + b"." * 900 + b"\r\n",
    "dot after each kilobyte": b"a: b\r\n\r\n" + (b"x" * 1021 + b"\r\n.") * 64 + b"\r\n",
    "header line that is a dot": b"Subject: x\r\n.\r\nTo: y\r\n\r\nz\r\n",
    "dot before header": b".\r\nSubject: x\r\n\r\nz\r\n",
}


@pytest.mark.parametrize("way", ["data", "bdat", "octets"])
@pytest.mark.parametrize("name", DOTS)
def test_dots_survive(house, unique, name, way):
    content, recipient = DOTS[name], unique("dots") + "@b.test"
    with house.relay.session() as client:
        client.mail()
        client.rcpt(recipient)
        if way == "bdat":
            client.bdat(content)
        else:
            client.command("DATA", 354)
            raw = dot_stuff(content)
            step = len(raw) if way == "data" or len(raw) > 2000 else 1
            client.send_pieces([raw[at : at + step] for at in range(0, len(raw), step)], pause=0.0003)
            client.expect(250)
        client.quit()
    added_by_relay(house.arrived(recipient).data, content)
    assert not house.sink.violations


def test_needless_dots_are_removed_once(house, unique):
    """RFC 5321 section 4.5.2: the server deletes the first dot of a line that holds more, whatever follows."""
    recipient = unique("dots") + "@b.test"
    with house.relay.session() as client:
        client.mail()
        client.rcpt(recipient)
        client.command("DATA", 354)
        client.send(b"a: b\r\n\r\n.text without need\r\n..two\r\n.\r\n")
        client.expect(250)
    added_by_relay(house.arrived(recipient).data, b"a: b\r\n\r\ntext without need\r\n.two\r\n")


@pytest.mark.parametrize("size", [1000, 4096, 16384, 65536, 131072, 1 << 20, (1 << 20) + 1])
@pytest.mark.parametrize("shift", range(-4, 5))
def test_line_end_and_dot_across_every_buffer_edge(house, unique, size, shift):
    """A line that starts with a dot at each octet around the sizes buffers like to have."""
    head = b"a: b\r\n\r\n"
    length = size + shift - len(head)
    lines = (b"y" * 70 + b"\r\n") * (length // 72)
    content = head + lines + b"z" * (length - len(lines)) + b"\r\n.dot\r\n.\r\nend\r\n"
    recipient = unique("edge") + "@b.test"
    with house.relay.session() as client:
        client.message("a@a.test", recipient, content, bdat=shift % 2 == 0)
        client.quit()
    added_by_relay(house.arrived(recipient).data, content)
    assert not house.sink.violations
