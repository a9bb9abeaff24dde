"""hostile_table.py — the table of remote behaviours: what the peer does, and what must become of the recipients.

Rows A1–A7, A11 and A12 of the threat catalogue. A row is (name, peer options, recipients, expectation). Expectations, for all
recipients or one per recipient:
  ok        delivered at the first attempt
  defer     deferred at the first attempt, delivered once the peer is honest
  bounce    bounced at the first attempt, with a report
  failed    deferred or bounced (both are defensible), never delivered by this behaviour
  unsure    delivered or deferred (the peer took the message but said so in a doubtful way)
  fallback  delivered or deferred, the peer taking it honestly in a later step (HELO after a broken EHLO)
"""

from dataclasses import dataclass

from hostile_peers import (
    after_body,
    choose,
    close,
    drip,
    drip_once,
    flood,
    honest_then,
    hush,
    mute,
    no_body,
    reset,
    say,
    steps,
    stop_reading,
    takes,
    wait,
)

OK, DEFER, BOUNCE, FAILED, UNSURE, FALLBACK = "ok", "defer", "bounce", "failed", "unsure", "fallback"
PIPELINED = (b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES")
SERIAL = (b"8BITMIME", b"ENHANCEDSTATUSCODES")


@dataclass
class Row:
    name: str
    script: dict
    expect: object  # a word, or a list with one per recipient
    recipients: int = 1
    lmtp: bool = False
    keywords: tuple = PIPELINED
    body: int = 0  # octets of padding
    messages: int = 1
    second: object = None  # what must become of the later messages of the session: a word, or a list with one for each
    hostile_text: bool = False

    def expected(self, index):
        return self.expect if isinstance(self.expect, str) else self.expect[index]


GOOD = {"banner": b"220", "ehlo": b"250", "helo": b"250", "mail": b"250", "rcpt": b"250", "data": b"354", "dot": b"250"}


def faults(stage):
    """(name, step, expectation) for everything that can go wrong with one reply."""
    good = GOOD[stage]
    host = stage in ("banner", "ehlo", "helo")
    wrong = {b"220": b"354", b"250": b"354", b"354": b"250"}[good]
    # A 5yz to EHLO leads to HELO, any other 5yz before MAIL concerns the host, not the message.
    refused = {"banner": DEFER, "ehlo": OK, "helo": DEFER}.get(stage, BOUNCE)
    # A broken EHLO reply may be answered with HELO or with a close.
    broken = FALLBACK if stage == "ehlo" else DEFER
    final = stage == "dot"

    def yes(octets):
        return takes(say(octets)) if final else say(octets)

    rows = [
        ("421", say(b"421 4.3.2 come back later\r\n"), DEFER),
        ("421 and close", steps(say(b"421 4.3.2 closing\r\n"), close()), DEFER),
        ("451", say(b"451 4.3.0 try again\r\n"), FALLBACK if stage == "ehlo" else DEFER),
        ("450 without text", say(b"450\r\n"), FALLBACK if stage == "ehlo" else DEFER),
        (
            "452 in three lines",
            say(b"452-4.2.2 one\r\n452-4.2.2 two\r\n452 4.2.2 three\r\n"),
            FALLBACK if stage == "ehlo" else DEFER,
        ),
        ("554", say(b"554 5.0.0 no\r\n"), refused),
        ("550 without text", say(b"550\r\n"), refused),
        ("553 in two lines", say(b"553-5.1.3 one\r\n553 5.1.3 two\r\n"), refused),
        ("521", say(b"521 5.3.2 no mail here\r\n"), refused),
        ("garbage", say(b"what do you want from me\r\n"), broken),
        ("binary garbage", say(bytes(range(128, 256)) + b"\r\n"), broken),
        ("a TLS alert", say(b"\x15\x03\x01\x00\x02\x02\x28\r\n"), broken),
        ("an HTTP reply", say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), broken),
        ("code 999", say(b"999 ok\r\n"), broken),
        ("code 600", say(b"600 ok\r\n"), broken),
        ("code 000", say(b"000 ok\r\n"), broken),
        ("code 150", say(b"150 wait\r\n"), broken),
        ("code 20", say(b"20 ok\r\n"), broken),
        ("four digits", say(good + b"0 ok\r\n"), broken),
        ("wide digits", say("２５０ ok\r\n"), broken),
        ("minus sign", say(b"-" + good + b" ok\r\n"), broken),
        ("leading space", say(b" " + good + b" ok\r\n"), broken),
        ("wrong separator", say(good + b"_ok\r\n"), broken),
        ("empty line", say(b"\r\n"), broken),
        (f"{wrong.decode()} in the wrong place", say(wrong + b" ok\r\n"), broken),
        ("codes differ, good first", say(good + b"-one\r\n550 two\r\n"), broken),
        ("codes differ, bad first", say(b"550-one\r\n" + good + b" two\r\n"), broken),
        ("codes differ in the middle", say(good + b"-one\r\n421-two\r\n" + good + b" three\r\n"), broken),
        ("silence", mute(), DEFER),
        ("octets in a drip without end", drip(good + b"-" + b"z" * 10_000, 0.25), DEFER),
        ("lines in a drip without end", drip(good + b"-z\r\n", 0.1), DEFER),
        ("endless line", flood(b"x", good + b" "), DEFER),
        ("endless multi-line", flood(good + b"-more\r\n"), DEFER),
        ("100 kB line", say(good + b" " + b"y" * 100_000 + b"\r\n"), broken),
        ("no CRLF, then silence", steps(say(good + b" ok"), mute()), DEFER),
        ("no CRLF, then close", steps(say(good + b" ok"), close()), DEFER),
        ("CR only, then silence", steps(say(good + b" ok\r"), mute()), DEFER),
        ("close", close(), DEFER),
        ("reset", reset(), DEFER),
        ("half a code, then close", steps(say(good[:2]), close()), DEFER),
        ("continuation, then close", steps(say(good + b"-and\r\n"), close()), DEFER),
        ("continuation, then silence", steps(say(good + b"-and\r\n"), mute()), DEFER),
        ("continuation, then reset", steps(say(good + b"-and\r\n"), reset()), DEFER),
        ("code only", yes(good + b"\r\n"), OK),
        ("code and space", yes(good + b" \r\n"), OK),
        ("code in three lines", yes(good + b"-a\r\n" + good + b"-\r\n" + good + b" c\r\n"), OK),
        ("octets in a drip", (takes if final else lambda s: s)(drip_once(good + b" slowly\r\n")), OK),
        ("eight-bit text", yes(good + b" \xff\xfe\x80 ok\r\n"), OK),
        ("bare LF", yes(good + b" ok\n"), UNSURE),
        ("NUL in the text", yes(good + b" o\0k\r\n"), UNSURE),
        ("CR in the text", yes(good + b" o\rk\r\n"), UNSURE),
        ("60 lines", yes((good + b"-line\r\n") * 59 + good + b" end\r\n"), OK),
    ]
    if good == b"250":
        rows.append(("enhanced code without text", yes(b"250 2.0.0\r\n"), OK))
        rows.append(("enhanced code that disagrees", yes(b"250 5.0.0 ok\r\n"), OK))
        rows.append(("enhanced code cut short", yes(b"250 2.\r\n"), OK))
    if stage in ("mail", "rcpt", "dot"):
        rows.append(("251", yes(b"251 2.1.5 will forward\r\n"), OK))
        rows.append(("252", yes(b"252 2.1.5 cannot verify\r\n"), OK))
        rows.append(("220 in the wrong place", say(b"220 hello again\r\n"), DEFER))
        rows.append(("221 in the wrong place", steps(say(b"221 2.0.0 bye\r\n"), close()), DEFER))
    if not host:
        rows.append(("reply left out", hush(), DEFER))
    if stage == "banner":
        rows.append(("two replies for one", say(b"220 hello\r\n220 hello\r\n"), DEFER))
    elif not final:
        rows.append(("two replies for one", say((good + b" ok\r\n") * 2), DEFER))
    if not final and stage != "banner":
        rows.append(("good reply, then close", steps(say(good + b" ok\r\n"), close()), DEFER))
    return rows


def reply_rows():
    table = []
    for stage in ("banner", "ehlo"):
        for name, step, expect in faults(stage):
            table.append(Row(f"{stage}: {name}", {stage: step}, expect))
    for stage in ("mail", "rcpt", "data", "dot"):
        for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):
            for name, step, expect in faults(stage):
                # A body follows only where a client may believe in a 354.
                if stage == "data" and expect not in (OK, UNSURE) and name != "two replies for one":
                    step = no_body(step)
                table.append(Row(f"{stage} {how}: {name}", {stage: step}, expect, keywords=keywords))
    return table


def helo_rows():
    no_ehlo = say(b"502 5.5.1 what?\r\n")
    chosen = {
        "421 and close",
        "451",
        "554",
        "garbage",
        "code 999",
        "354 in the wrong place",
        "silence",
        "close",
        "reset",
        "codes differ, good first",
        "endless multi-line",
        "code only",
        "code in three lines",
    }
    return [
        Row(f"helo: {name}", {"ehlo": no_ehlo, "helo": step}, expect)
        for name, step, expect in faults("helo")
        if name in chosen
    ]


def body_rows():
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, step, expect, body=300_000):
            table.append(Row(f"body {how}: {name}", {"body": step}, expect, keywords=keywords, body=body))

        row("close in the middle", after_body(20_000, close()), DEFER)
        row("reset in the middle", after_body(20_000, reset()), DEFER)
        row("close at the first octet", after_body(0, close()), DEFER)
        row("421 and close in the middle", after_body(20_000, say(b"421 4.3.2 closing\r\n"), close()), DEFER)
        row("452 and close in the middle", after_body(20_000, say(b"452 4.3.1 full\r\n"), close()), DEFER)
        row("552 and close in the middle", after_body(20_000, say(b"552 5.3.4 too big\r\n"), close()), FAILED)
        row("garbage in the middle, then close", after_body(20_000, say(b"ouch\r\n"), close()), DEFER)
        row("no more reading", after_body(0, stop_reading()), DEFER, body=900_000)
        row("flood in the middle", after_body(20_000, flood(b"250-x\r\n")), DEFER)
        table.append(
            Row(
                f"body {how}: 250 before the dot, 554 after it",
                {"data": say(b"354 go ahead\r\n250 2.0.0 taken\r\n", refuses=False), "dot": say(b"554 5.0.0 no\r\n")},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: 250 before the dot, nothing after it",
                {"data": say(b"354 go ahead\r\n250 2.0.0 taken\r\n"), "dot": mute()},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: 250 before the dot, close after it",
                {"data": say(b"354 go ahead\r\n250 2.0.0 taken\r\n"), "dot": close()},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: two 250 before the dot",
                {"data": say(b"354 go ahead\r\n250 a\r\n250 b\r\n"), "dot": close()},
                DEFER,
                keywords=keywords,
            )
        )
    return table


def shift_rows():
    """Replies that come early, late or twice, so that everything looks right but belongs to another command."""
    table = [
        Row(
            "shift: all one early, refused at the dot",
            {
                "mail": say(b"250 a\r\n250 b\r\n"),
                "rcpt": say(b"354 go\r\n"),
                "data": say(b"250 done\r\n"),
                "dot": say(b"554 5.0.0 no\r\n"),
            },
            DEFER,
        ),
        Row(
            "shift: all one early, silence at the dot",
            {
                "mail": say(b"250 a\r\n250 b\r\n"),
                "rcpt": say(b"354 go\r\n"),
                "data": say(b"250 done\r\n"),
                "dot": mute(),
            },
            DEFER,
        ),
        Row(
            "shift: all in the reply to MAIL",
            {"mail": say(b"250 a\r\n250 b\r\n354 go\r\n250 done\r\n"), "rcpt": hush(), "data": say(b""), "dot": mute()},
            DEFER,
        ),
        Row(
            "shift: all in the reply to EHLO",
            {
                "ehlo": say(b"250-peer\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n"),
                "mail": hush(),
                "rcpt": hush(),
                "data": say(b""),
                "dot": mute(),
            },
            DEFER,
        ),
        Row(
            "shift: a whole session in the banner",
            {
                "banner": say(b"220 x\r\n250 x\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n221 bye\r\n"),
                "ehlo": hush(),
                "helo": hush(),
                "mail": hush(),
                "rcpt": hush(),
                "data": say(b""),
                "dot": mute(),
                "quit": hush(),
            },
            DEFER,
        ),
        Row("shift: no reply to the dot, but to the next command", {"dot": hush()}, DEFER, messages=2, second=DEFER),
        Row(
            "shift: no reply to the dot, 221 to QUIT",
            {"dot": hush(), "quit": steps(say(b"221 2.0.0 bye\r\n"), close())},
            DEFER,
        ),
        Row(
            "shift: no reply to the dot, 250 to RSET or MAIL",
            {"dot": hush(), "rset": say(b"250 ok\r\n"), "mail": say(b"250 ok\r\n")},
            DEFER,
        ),
        Row(
            "shift: two replies to the first dot, none to the second",
            {"dot": honest_then(say(b"250 2.0.0 and the next\r\n"))},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: two replies to the first dot, late",
            {"dot": honest_then(wait(0.3), say(b"250 2.0.0 and the next\r\n"))},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: five replies to the first dot",
            {"dot": honest_then(say(b"250 2.0.0 and the next\r\n" * 4))},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: MAIL, RCPT, DATA and the dot answered in advance",
            {"dot": honest_then(say(b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n"))},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row("shift: the reply to the dot comes too late", {"dot": steps(wait(4), say(b"250 2.0.0 late\r\n"))}, DEFER),
        Row(
            "shift: RCPT answered twice, the second recipient refused",
            {"rcpt:0": say(b"250 a\r\n250 b\r\n"), "rcpt:1": say(b"550 5.1.1 no\r\n")},
            FAILED,
            recipients=2,
        ),
        Row(
            "shift: 250 and 354 to the first of two recipients",
            {"rcpt:0": say(b"250 a\r\n354 b\r\n"), "rcpt:1": say(b"250 c\r\n")},
            DEFER,
            recipients=2,
        ),
        Row(
            "shift: MAIL refused, RCPT and DATA accepted",
            {
                "mail": say(b"550 5.7.1 no\r\n"),
                "rcpt": say(b"250 ok\r\n"),
                "data": say(b"354 go\r\n"),
                "dot": say(b"250 2.0.0 nothing taken\r\n", refuses=True),
            },
            BOUNCE,
        ),
        Row(
            "shift: MAIL deferred, RCPT and DATA accepted",
            {
                "mail": say(b"450 4.7.1 later\r\n"),
                "rcpt": say(b"250 ok\r\n"),
                "data": say(b"354 go\r\n"),
                "dot": say(b"250 2.0.0 nothing taken\r\n", refuses=True),
            },
            DEFER,
        ),
        Row(
            "shift: all recipients refused, DATA accepted, empty message taken",
            {
                "rcpt": say(b"550 5.1.1 no\r\n"),
                "data": say(b"354 go\r\n"),
                "dot": say(b"250 2.0.0 ok\r\n", refuses=True),
            },
            BOUNCE,
            recipients=2,
        ),
        Row(
            "shift: all recipients deferred, DATA accepted, empty message taken",
            {
                "rcpt": say(b"450 4.1.1 no\r\n"),
                "data": say(b"354 go\r\n"),
                "dot": say(b"250 2.0.0 ok\r\n", refuses=True),
            },
            DEFER,
            recipients=2,
        ),
        Row(
            "shift: all recipients refused, DATA not answered",
            {"rcpt": say(b"550 5.1.1 no\r\n"), "data": no_body(mute())},
            FAILED,
            recipients=2,
        ),
        Row(
            "shift: all recipients refused, close at DATA",
            {"rcpt": say(b"550 5.1.1 no\r\n"), "data": close()},
            FAILED,
            recipients=2,
        ),
    ]
    for text in (b"250 2.0.0 unasked\r\n", b"421 4.4.2 idle too long\r\n", b"noise\r\n", b"354 go\r\n", b"5"):
        shown = text.decode().strip()
        table.append(
            Row(
                f"idle: {shown!r} after the message, then nothing taken in this session",
                {"idle": say(text)},
                OK,
                messages=2,
                second=UNSURE,
            )
        )
    table.append(Row("idle: close after the message", {"idle": close()}, OK, messages=2, second=UNSURE))
    table.append(Row("idle: reset after the message", {"idle": reset()}, UNSURE, messages=2, second=UNSURE))
    table.append(
        Row(
            "idle: 421 and close after the message",
            {"idle": steps(say(b"421 4.4.2 bye\r\n"), close())},
            OK,
            messages=2,
            second=UNSURE,
        )
    )
    for row in table:
        if row.messages == 2 and row.second == UNSURE:
            row.script = in_first_session(row.script)
    return table + across_rows()


def across_rows():
    """The second dot of a session, when the commands of the third message may stand behind it already."""

    def row(name, dot, mail=None, rcpt=None, data=None, second=UNSURE, usual=None):
        def behind(step, otherwise):
            def pick(session):
                first = session.peer.first_dot_session
                return step if session.number == first and session.dots == 2 else otherwise

            return choose(pick)

        def at_dot(session):
            if session.number != session.peer.first_dot_session or session.dots < 2:
                return None
            return dot if session.dots == 2 else mute()

        script = {
            name: behind(step, usual if name == "mail" else None)
            for name, step in (("mail", mail), ("rcpt", rcpt), ("data", data))
            if step
        }
        return Row(f"across: {name}", {**script, "dot": choose(at_dot)}, OK, messages=4, second=second)

    sender_ok, plain, other = say(b"250 2.1.0 ok\r\n"), say(b"250 ok\r\n"), say(b"250 2.0.0 ok\r\n")
    rows = [
        row("no reply to the dot, honest behind it", hush(), second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, 250 2.1.0 to MAIL and close",
            hush(),
            steps(sender_ok, close()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row(
            "no reply to the dot, 250 to MAIL and close", hush(), steps(plain, close()), second=[DEFER, UNSURE, UNSURE]
        ),
        row(
            "no reply to the dot, 250 2.0.0 to MAIL as ever and close",
            hush(),
            steps(other, close()),
            second=[DEFER, UNSURE, UNSURE],
            usual=other,
        ),
        row(
            "no reply to the dot, 250 to MAIL and reset",
            hush(),
            steps(plain, wait(0.2), reset()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row(
            "no reply to the dot, 250 to MAIL and silence", hush(), steps(plain, mute()), second=[DEFER, UNSURE, UNSURE]
        ),
        row(
            "no reply to the dot, 250 to MAIL and 421",
            hush(),
            steps(plain, say(b"421 4.3.2 bye\r\n", refuses=False), close()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("no reply to the dot, RCPT refused", hush(), rcpt=say(b"550 5.1.1 no\r\n"), second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, RCPT and DATA refused, close",
            hush(),
            rcpt=say(b"550 5.1.1 no\r\n"),
            data=steps(say(b"503 5.5.1 no\r\n"), close()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row(
            "no reply to the dot, 250 to DATA", hush(), data=no_body(say(b"250 ok\r\n")), second=[DEFER, UNSURE, UNSURE]
        ),
        row("no reply to the dot, MAIL refused", hush(), say(b"550 5.7.1 no\r\n"), second=[FAILED, UNSURE, UNSURE]),
        row(
            "MAIL answered before the dot, the dot refused",
            hush(),
            say(b"250 2.1.0 ok\r\n554 5.0.0 no\r\n", refuses=False),
            second=[FAILED, UNSURE, UNSURE],
        ),
        row(
            "MAIL answered before the dot, the dot deferred",
            hush(),
            say(b"250 2.1.0 ok\r\n451 4.0.0 no\r\n", refuses=False),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row(
            "everything behind the dot answered before it, the dot refused",
            say(b"250 a\r\n250 b\r\n354 c\r\n554 5.0.0 no\r\n", refuses=False),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("two replies to the dot", honest_then(say(b"250 2.0.0 more\r\n"))),
        row("three replies to the dot", honest_then(say(b"250 2.0.0 more\r\n250 2.0.0 more\r\n"))),
        row("taken, then close", honest_then(close())),
        row("taken, then reset", honest_then(wait(0.2), reset())),
        row("taken, then 421 and close", honest_then(say(b"421 4.3.2 enough\r\n"), close())),
        row("taken, then 421 to MAIL", honest_then(), steps(say(b"421 4.3.2 enough\r\n"), close())),
        row("taken, then garbage", honest_then(say(b"hm\r\n"))),
        row("taken, then 354", honest_then(say(b"354 go\r\n"))),
        row("refused, honest behind it", say(b"554 5.6.0 no\r\n"), second=[BOUNCE, UNSURE, UNSURE]),
        row("deferred, honest behind it", say(b"451 4.3.0 later\r\n"), second=[DEFER, UNSURE, UNSURE]),
        row("refused, then close", steps(say(b"554 5.6.0 no\r\n"), close()), second=[FAILED, UNSURE, UNSURE]),
        row("close at the dot", close(), second=[DEFER, UNSURE, UNSURE]),
        row("reset at the dot", reset(), second=[DEFER, UNSURE, UNSURE]),
        row("silence at the dot", mute(), second=[DEFER, UNSURE, UNSURE]),
        row("354 at the dot", say(b"354 go on\r\n"), second=[DEFER, UNSURE, UNSURE]),
        row("220 at the dot", say(b"220 hello\r\n"), second=[DEFER, UNSURE, UNSURE]),
        row("221 at the dot", steps(say(b"221 2.0.0 bye\r\n"), close()), second=[DEFER, UNSURE, UNSURE]),
        row("codes differ at the dot", say(b"250-2.0.0 a\r\n554 5.0.0 b\r\n"), second=[DEFER, UNSURE, UNSURE]),
        row("half a reply at the dot, then close", steps(say(b"250 2.0"), close()), second=[DEFER, UNSURE, UNSURE]),
        row("421 at the dot", steps(say(b"421 4.3.2 no\r\n"), close()), second=[DEFER, UNSURE, UNSURE]),
        row(
            "the reply to the dot left open, MAIL answered",
            hush(),
            say(b"250-2.1.0 a\r\n250 2.1.0 b\r\n"),
            second=[DEFER, UNSURE, UNSURE],
        ),
    ]
    return rows


def in_first_session(script):
    """The script for the first message of the first session only; that session then takes nothing more."""

    def only(name, step):
        def pick(session):
            if session.number != (session.peer.first_dot_session or session.number):
                return None
            if session.dots >= 2:
                return mute() if name == "dot" else None
            return step

        return choose(pick)

    return {name: only(name, step) for name, step in {"dot": None, **script}.items()}


def end_rows():
    """QUIT and RSET: the message is settled; nothing that happens now may change it."""
    table = []
    for name, step in (
        ("554", say(b"554 5.0.0 no\r\n")),
        ("421", say(b"421 4.0.0 no\r\n")),
        ("garbage", say(b"bye!\r\n")),
        ("silence", mute()),
        ("close", close()),
        ("reset", reset()),
        ("flood", flood(b"221-x\r\n")),
        ("endless line", flood(b"x")),
        ("drip", drip(b"221-zz\r\n")),
        ("code 999", say(b"999 x\r\n")),
        ("surplus", say(b"221 a\r\n221 b\r\n250 c\r\n")),
        ("no close", say(b"221 2.0.0 bye\r\n")),
    ):
        table.append(Row(f"quit: {name}", {"quit": step}, OK))
    for name, step in (
        ("554", say(b"554 5.0.0 no\r\n")),
        ("421 and close", steps(say(b"421 4.0.0 no\r\n"), close())),
        ("silence", mute()),
        ("close", close()),
        ("reset", reset()),
        ("garbage", say(b"hm\r\n")),
    ):
        table.append(Row(f"rset: {name}", {"rcpt": say(b"550 5.1.1 no\r\n"), "rset": step}, BOUNCE))
        table.append(Row(f"rset after MAIL refused: {name}", {"mail": say(b"550 5.7.1 no\r\n"), "rset": step}, BOUNCE))
    return table


def mixed_rows():
    no, later, _yes = say(b"550 5.1.1 no such user\r\n"), say(b"450 4.2.1 busy\r\n"), say(b"250 ok\r\n")
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, script, expect, **more):
            table.append(Row(f"mixed {how}: {name}", script, expect, recipients=len(expect), keywords=keywords, **more))

        row("yes, no, later", {"rcpt:1": no, "rcpt:2": later}, [OK, BOUNCE, DEFER])
        row("no, yes", {"rcpt:0": no}, [BOUNCE, OK])
        row("later, yes", {"rcpt:0": later}, [DEFER, OK])
        row("no, no, no", {"rcpt": no}, [BOUNCE] * 3)
        row("later, later", {"rcpt": later}, [DEFER] * 2)
        row("no, later", {"rcpt:0": no, "rcpt:1": later}, [BOUNCE, DEFER])
        row("251, 252", {"rcpt:0": say(b"251 2.1.5 forward\r\n"), "rcpt:1": say(b"252 2.1.5 perhaps\r\n")}, [OK, OK])
        row("251 alone", {"rcpt": say(b"251 2.1.5 forward\r\n")}, [OK])
        row(
            "452 from the third on",
            {f"rcpt:{n}": say(b"452 4.5.3 too many\r\n") for n in (2, 3, 4)},
            [OK, OK, UNSURE, UNSURE, UNSURE],
        )
        row(
            "552 from the third on",
            {f"rcpt:{n}": say(b"552 5.5.3 too many\r\n") for n in (2, 3)},
            [OK, OK, FAILED, FAILED],
        )
        row("yes, 421", {"rcpt:1": say(b"421 4.3.2 closing\r\n")}, [UNSURE, DEFER])
        row("yes, 421 and close", {"rcpt:1": steps(say(b"421 4.3.2 closing\r\n"), close())}, [DEFER, DEFER])
        row("no, then close", {"rcpt:0": no, "rcpt:1": close()}, [FAILED, DEFER])
        row("yes, then close", {"rcpt:1": close()}, [DEFER, DEFER])
        row("yes, garbage, yes", {"rcpt:1": say(b"hm\r\n")}, [DEFER] * 3)
        row("yes, 354, yes", {"rcpt:1": say(b"354 hm\r\n")}, [DEFER] * 3)
        row("yes, silence", {"rcpt:1": mute()}, [DEFER] * 2)
        row("yes, reply left out, yes", {"rcpt:1": hush()}, [DEFER] * 3)
        row("no and yes, DATA 451", {"rcpt:0": no, "data": no_body(say(b"451 4.0.0 later\r\n"))}, [BOUNCE, DEFER])
        row("no and yes, DATA 554", {"rcpt:0": no, "data": no_body(say(b"554 5.0.0 no\r\n"))}, [BOUNCE, BOUNCE])
        row("no and yes, dot 451", {"rcpt:0": no, "dot": say(b"451 4.0.0 later\r\n")}, [BOUNCE, DEFER])
        row("no and yes, dot 554", {"rcpt:0": no, "dot": say(b"554 5.0.0 no\r\n")}, [BOUNCE, BOUNCE])
        row("later and yes, dot 554", {"rcpt:0": later, "dot": say(b"554 5.0.0 no\r\n")}, [DEFER, BOUNCE])
        row("no and yes, close after the dot", {"rcpt:0": no, "dot": close()}, [FAILED, DEFER])
        row("every second one no", {f"rcpt:{n}": no for n in range(1, 20, 2)}, [OK, BOUNCE] * 10)
    return table


def lmtp_rows():
    no, later, _yes = say(b"550 5.1.1 no\r\n"), say(b"450 4.2.1 busy\r\n"), takes(say(b"250 2.0.0 ok\r\n"))
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, script, expect):
            table.append(
                Row(f"lmtp {how}: {name}", script, expect, recipients=len(expect), keywords=keywords, lmtp=True)
            )

        row("all taken", {}, [OK] * 3)
        row("yes, later, no", {"dot:1": later, "dot:2": no}, [OK, DEFER, BOUNCE])
        row("no, no", {"dot": no}, [BOUNCE] * 2)
        row("later, later", {"dot": later}, [DEFER] * 2)
        row("251, 252", {"dot:0": takes(say(b"251 2.1.5 ok\r\n")), "dot:1": takes(say(b"252 2.1.5 ok\r\n"))}, [OK, OK])
        row("close after the first of three", {"dot:1": close()}, [OK, DEFER, DEFER])
        row("reset after the first of three", {"dot:1": steps(wait(0.2), reset())}, [OK, DEFER, DEFER])
        row("close after the second of three", {"dot:2": close()}, [OK, OK, DEFER])
        row("close before the first", {"dot:0": close()}, [DEFER] * 3)
        row("silence after the first", {"dot:1": mute()}, [OK, DEFER, DEFER])
        row("garbage at the second", {"dot:1": steps(say(b"hm\r\n"), mute())}, [OK, DEFER, DEFER])
        row("code 999 at the second", {"dot:1": steps(say(b"999 hm\r\n"), mute())}, [OK, DEFER, DEFER])
        row("354 at the second", {"dot:1": steps(say(b"354 hm\r\n"), mute())}, [OK, DEFER, DEFER])
        row("codes differ at the second", {"dot:1": steps(say(b"250-a\r\n550 b\r\n"), mute())}, [OK, DEFER, DEFER])
        row("421 at the second and close", {"dot:1": steps(say(b"421 4.3.2 bye\r\n"), close())}, [OK, DEFER, DEFER])
        row("no after a no at the second, close at the third", {"dot:1": no, "dot:2": close()}, [OK, BOUNCE, DEFER])
        row("one reply too many", {"dot:2": honest_then(say(b"250 2.0.0 and one more\r\n"))}, [OK, OK, UNSURE])
        row("the second RCPT refused", {"rcpt:1": no}, [OK, BOUNCE, OK])
        row("the second RCPT refused, close after one reply", {"rcpt:1": no, "dot:1": close()}, [OK, BOUNCE, DEFER])
        row("the first RCPT deferred, no to the last", {"rcpt:0": later, "dot:1": no}, [DEFER, OK, BOUNCE])
        row("all RCPT refused", {"rcpt": no}, [BOUNCE] * 2)
        row("multi-line replies", {"dot:0": takes(say(b"250-2.0.0 a\r\n250 2.0.0 b\r\n")), "dot:1": no}, [OK, BOUNCE])
        row("DATA refused", {"data": no_body(say(b"554 5.0.0 no\r\n"))}, [BOUNCE] * 2)
        row("close in the reply to the second", {"dot:1": steps(say(b"25"), close())}, [OK, DEFER, DEFER])
        row("endless line at the second", {"dot:1": flood(b"x")}, [OK, DEFER, DEFER])
    table.append(Row("lmtp: LHLO 554", {"lhlo": say(b"554 5.0.0 no\r\n")}, [DEFER] * 2, recipients=2, lmtp=True))
    table.append(
        Row("lmtp: LHLO 421", {"lhlo": steps(say(b"421 4.0.0 no\r\n"), close())}, [DEFER] * 2, recipients=2, lmtp=True)
    )
    table.append(Row("lmtp: LHLO garbage", {"lhlo": say(b"hm\r\n")}, [DEFER] * 2, recipients=2, lmtp=True))
    return table


# Texts that a peer would like to see in our report, our log or the next header.
HOSTILE_TEXTS = {
    "control characters": b"554 5.7.1 \x01\x02\x07\x08\x0b\x0c\x1b[31mred\x1b[0m\x7f end\r\n",
    "NUL": b"554 5.7.1 a\0b\0c\r\n",
    "CR inside": b"554 5.7.1 one\rBcc: victim@victim.test\rtwo\r\n",
    "header lines": b"554-5.7.1 Subject: hello\r\n554-5.7.1 Bcc: victim@victim.test\r\n554 5.7.1 Content-Type: text/html\r\n",
    "a blank line": b"554-5.7.1 one\r\n554-\r\n554-\r\n554 5.7.1 <script>alert(1)</script>\r\n",
    "a MIME boundary": b"554-5.7.1 --\r\n554-5.7.1 ----=_Part_1\r\n554-5.7.1 --=_martlet--\r\n554 5.7.1 --boundary--\r\n",
    "900 lines": b"554-5.7.1 the same line again and again and again\r\n" * 899 + b"554 5.7.1 end\r\n",
    "900 header lines": b"".join(b"554-X-%d: y\r\n" % n for n in range(899)) + b"554 X: y\r\n",
    "one long line": b"554 5.7.1 " + b"w" * 1900 + b"\r\n",
    "eight-bit": b"554 5.7.1 na\xefve \xff\xfe \xc0\x80 \xed\xa0\x80 end\r\n",
    "UTF-8": "554 5.7.1 Empfänger unbekannt 収件人 \u202e\u2028\r\n".encode(),
    "template variables": b"554 5.7.1 {from} {to} {reason} {reason} {msgid} {pid}\r\n",
    "a lone dot": b"554-5.7.1 .\r\n554-.\r\n554 5.7.1 .\r\n",
    "log-like text": b'554 5.7.1 " to=x level=error message="delivered" id=0000000000000\r\n',
    "JSON text": b'554 5.7.1 ","level":"notice","message":"delivered"}\\\r\n',
    "percent signs": b"554 5.7.1 %s%n%x%@ %d\r\n",
    "enhanced code of absurd size": b"554 5.999999999999999999999.99999999999999999999 no\r\n",
    "enhanced code of another class": b"554 2.0.0 no\r\n",
    "only spaces": b"554 " + b" " * 400 + b"\r\n",
    "tabs": b"554 5.7.1\t\t\tno\tno\r\n",
}


def text_rows():
    table = []
    for name, text in HOSTILE_TEXTS.items():
        # Where a control character is in the reply, refusing to believe it is as good as cutting it.
        doubtful = name in ("NUL", "CR inside", "control characters")
        for stage in ("rcpt", "dot"):
            table.append(
                Row(
                    f"text at {stage}: {name}",
                    {stage: say(text)},
                    FAILED if doubtful else BOUNCE,
                    recipients=2,
                    hostile_text=True,
                )
            )
    for name, lines in (("2000 lines", 2000), ("100000 lines", 100_000)):
        table.append(
            Row(
                f"text at rcpt: {name}",
                {"rcpt": say(b"554-5.7.1 no\r\n" * (lines - 1) + b"554 5.7.1 no\r\n")},
                FAILED,
                hostile_text=True,
            )
        )
    table.append(
        Row(
            "text at rcpt: 60 kB line",
            {"rcpt": say(b"554 5.7.1 " + b"q" * 60_000 + b"\r\n")},
            FAILED,
            hostile_text=True,
        )
    )
    return table


FAMILIES = {
    "greeting": lambda: [r for r in reply_rows() if r.name.startswith(("banner", "ehlo"))] + helo_rows(),
    "mail": lambda: [r for r in reply_rows() if r.name.startswith("mail ")],
    "rcpt": lambda: [r for r in reply_rows() if r.name.startswith("rcpt ")],
    "data": lambda: [r for r in reply_rows() if r.name.startswith("data ")],
    "dot": lambda: [r for r in reply_rows() if r.name.startswith("dot ")],
    "body": lambda: body_rows() + end_rows(),
    "pipeline": shift_rows,
    "recipients": mixed_rows,
    "lmtp": lmtp_rows,
    "text": text_rows,
}
