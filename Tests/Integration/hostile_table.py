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

from steps import AfterOctets, Do, Drip, Drop, Flood, Lie, Reset, Stall, ThenContent, Wait

OK, DEFER, BOUNCE, FAILED, UNSURE, FALLBACK = "ok", "defer", "bounce", "failed", "unsure", "fallback"
PIPELINED = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
SERIAL = ("8BITMIME", "ENHANCEDSTATUSCODES")


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
    connections: int | None = None  # at most; None: two for each attempt

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
    # Hanging up on EHLO leads to HELO on a new connection.
    gone = broken
    final = stage == "dot"

    rows = [
        ("421", b"421 4.3.2 come back later\r\n", DEFER),
        ("421 and close", Do(b"421 4.3.2 closing\r\n", Drop()), DEFER),
        ("451", b"451 4.3.0 try again\r\n", FALLBACK if stage == "ehlo" else DEFER),
        ("450 without text", b"450\r\n", FALLBACK if stage == "ehlo" else DEFER),
        (
            "452 in three lines",
            b"452-4.2.2 one\r\n452-4.2.2 two\r\n452 4.2.2 three\r\n",
            FALLBACK if stage == "ehlo" else DEFER,
        ),
        ("554", b"554 5.0.0 no\r\n", refused),
        ("550 without text", b"550\r\n", refused),
        ("553 in two lines", b"553-5.1.3 one\r\n553 5.1.3 two\r\n", refused),
        ("521", b"521 5.3.2 no mail here\r\n", refused),
        ("garbage", b"what do you want from me\r\n", broken),
        ("binary garbage", bytes(range(128, 256)) + b"\r\n", broken),
        ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28\r\n", broken),
        ("an HTTP reply", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", broken),
        ("code 999", b"999 ok\r\n", broken),
        ("code 600", b"600 ok\r\n", broken),
        ("code 000", b"000 ok\r\n", broken),
        ("code 150", b"150 wait\r\n", broken),
        ("code 20", b"20 ok\r\n", broken),
        ("four digits", good + b"0 ok\r\n", broken),
        ("wide digits", "２５０ ok\r\n".encode(), broken),
        ("minus sign", b"-" + good + b" ok\r\n", broken),
        ("leading space", b" " + good + b" ok\r\n", broken),
        ("wrong separator", good + b"_ok\r\n", broken),
        ("empty line", b"\r\n", broken),
        (f"{wrong.decode()} in the wrong place", wrong + b" ok\r\n", broken),
        ("codes differ, good first", good + b"-one\r\n550 two\r\n", broken),
        ("codes differ, bad first", b"550-one\r\n" + good + b" two\r\n", broken),
        ("codes differ in the middle", good + b"-one\r\n421-two\r\n" + good + b" three\r\n", broken),
        ("silence", Stall(), DEFER),
        ("octets in a drip without end", Drip(good + b"-" + b"z" * 10_000, 0.25, again=True), DEFER),
        ("lines in a drip without end", Drip(good + b"-z\r\n", 0.1, again=True), DEFER),
        ("endless line", Flood(b"x", good + b" "), DEFER),
        ("endless multi-line", Flood(good + b"-more\r\n"), DEFER),
        ("100 kB line", good + b" " + b"y" * 100_000 + b"\r\n", broken),
        ("no CRLF, then silence", Do(good + b" ok", Stall()), DEFER),
        ("no CRLF, then close", Do(good + b" ok", Drop()), gone),
        ("CR only, then silence", Do(good + b" ok\r", Stall()), DEFER),
        ("close", Drop(), gone),
        ("reset", Reset(), gone),
        ("half a code, then close", Do(good[:2], Drop()), gone),
        ("continuation, then close", Do(good + b"-and\r\n", Drop()), gone),
        ("continuation, then silence", Do(good + b"-and\r\n", Stall()), DEFER),
        ("continuation, then reset", Do(good + b"-and\r\n", Reset()), gone),
        ("code only", good + b"\r\n", OK),
        ("code and space", good + b" \r\n", OK),
        ("code in three lines", good + b"-a\r\n" + good + b"-\r\n" + good + b" c\r\n", OK),
        ("octets in a drip", Drip(good + b" slowly\r\n", 0.05), OK),
        ("eight-bit text", good + b" \xff\xfe\x80 ok\r\n", OK),
        ("bare LF", good + b" ok\n", UNSURE),
        ("NUL in the text", good + b" o\0k\r\n", UNSURE),
        ("CR in the text", good + b" o\rk\r\n", UNSURE),
        ("60 lines", (good + b"-line\r\n") * 59 + good + b" end\r\n", OK),
    ]
    if good == b"250":
        rows.append(("enhanced code without text", b"250 2.0.0\r\n", OK))
        rows.append(("enhanced code that disagrees", b"250 5.0.0 ok\r\n", OK))
        rows.append(("enhanced code cut short", b"250 2.\r\n", OK))
    if stage in ("mail", "rcpt", "dot"):
        rows.append(("251", b"251 2.1.5 will forward\r\n", OK))
        rows.append(("252", b"252 2.1.5 cannot verify\r\n", OK))
        rows.append(("220 in the wrong place", b"220 hello again\r\n", DEFER))
        rows.append(("221 in the wrong place", Do(b"221 2.0.0 bye\r\n", Drop()), DEFER))
    if not host:
        rows.append(("reply left out", b"", DEFER))
    if stage == "banner":
        rows.append(("two replies for one", b"220 hello\r\n220 hello\r\n", DEFER))
    elif not final:
        rows.append(("two replies for one", (good + b" ok\r\n") * 2, DEFER))
    if not final and stage != "banner":
        rows.append(("good reply, then close", Do(good + b" ok\r\n", Drop()), DEFER))
    return rows


def reply_rows():
    table = []
    for stage in ("banner", "ehlo"):
        for name, step, expect in faults(stage):
            table.append(Row(f"{stage}: {name}", {stage.upper(): step}, expect))
    for stage in ("mail", "rcpt", "data", "dot"):
        for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):
            for name, step, expect in faults(stage):
                table.append(Row(f"{stage} {how}: {name}", {stage.upper(): step}, expect, keywords=keywords))
    return table


def helo_rows():
    no_ehlo = b"502 5.5.1 what?\r\n"
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
        Row(f"helo: {name}", {"EHLO": no_ehlo, "HELO": step}, expect)
        for name, step, expect in faults("helo")
        if name in chosen
    ]


def body_rows():
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, step, expect, body=300_000):
            table.append(Row(f"body {how}: {name}", {"BODY": step}, expect, keywords=keywords, body=body))

        row("close in the middle", AfterOctets(20_000, Drop()), DEFER)
        row("reset in the middle", AfterOctets(20_000, Reset()), DEFER)
        row("close at the first octet", AfterOctets(0, Drop()), DEFER)
        row("421 and close in the middle", AfterOctets(20_000, b"421 4.3.2 closing\r\n", Drop()), DEFER)
        row("452 and close in the middle", AfterOctets(20_000, b"452 4.3.1 full\r\n", Drop()), DEFER)
        row("552 and close in the middle", AfterOctets(20_000, b"552 5.3.4 too big\r\n", Drop()), FAILED)
        row("garbage in the middle, then close", AfterOctets(20_000, b"ouch\r\n", Drop()), DEFER)
        row("no more reading", AfterOctets(0, Wait(30, Drop())), DEFER, body=900_000)
        row("flood in the middle", AfterOctets(20_000, Flood(b"250-x\r\n")), DEFER)
        table.append(
            Row(
                f"body {how}: 250 before the dot, 554 after it",
                {"DATA": b"354 go ahead\r\n250 2.0.0 taken\r\n", "DOT": b"554 5.0.0 no\r\n"},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: 250 before the dot, nothing after it",
                {"DATA": b"354 go ahead\r\n250 2.0.0 taken\r\n", "DOT": Stall()},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: 250 before the dot, close after it",
                {"DATA": b"354 go ahead\r\n250 2.0.0 taken\r\n", "DOT": Drop()},
                DEFER,
                keywords=keywords,
            )
        )
        table.append(
            Row(
                f"body {how}: two 250 before the dot",
                {"DATA": b"354 go ahead\r\n250 a\r\n250 b\r\n", "DOT": Drop()},
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
                "MAIL": b"250 a\r\n250 b\r\n",
                # In one piece, or who is quick has sent the dot before the last of it and cannot know.
                "RCPT": b"",
                "DATA": ThenContent(b"354 go\r\n250 done\r\n"),
                "DOT": b"554 5.0.0 no\r\n",
            },
            DEFER,
        ),
        Row(
            "shift: all one early, silence at the dot",
            {
                "MAIL": b"250 a\r\n250 b\r\n",
                # In one piece, or who is quick has sent the dot before the last of it and cannot know.
                "RCPT": b"",
                "DATA": ThenContent(b"354 go\r\n250 done\r\n"),
                "DOT": Stall(),
            },
            DEFER,
        ),
        Row(
            "shift: all in the reply to MAIL",
            {
                "MAIL": b"250 a\r\n250 b\r\n354 go\r\n250 done\r\n",
                "RCPT": b"",
                "DATA": ThenContent(b""),
                "DOT": Stall(),
            },
            DEFER,
        ),
        Row(
            "shift: all in the reply to EHLO",
            {
                "EHLO": b"250-peer\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n",
                "MAIL": b"",
                "RCPT": b"",
                "DATA": ThenContent(b""),
                "DOT": Stall(),
            },
            DEFER,
        ),
        Row(
            "shift: a whole session in the banner",
            {
                "BANNER": b"220 x\r\n250 x\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n221 bye\r\n",
                "EHLO": b"",
                "HELO": b"",
                "MAIL": b"",
                "RCPT": b"",
                "DATA": ThenContent(b""),
                "DOT": Stall(),
                "QUIT": b"",
            },
            DEFER,
        ),
        Row("shift: no reply to the dot, but to the next command", {"DOT": b""}, DEFER, messages=2, second=DEFER),
        Row("shift: no reply to the dot, 221 to QUIT", {"DOT": b"", "QUIT": Do(b"221 2.0.0 bye\r\n", Drop())}, DEFER),
        Row(
            "shift: no reply to the dot, 250 to RSET or MAIL",
            {"DOT": b"", "RSET": b"250 ok\r\n", "MAIL": b"250 ok\r\n"},
            DEFER,
        ),
        Row(
            "shift: two replies to the first dot, none to the second",
            {"DOT": Do(None, b"250 2.0.0 and the next\r\n")},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: two replies to the first dot, late",
            {"DOT": Do(None, Wait(0.3, b""), b"250 2.0.0 and the next\r\n")},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: five replies to the first dot",
            {"DOT": Do(None, b"250 2.0.0 and the next\r\n" * 4)},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row(
            "shift: MAIL, RCPT, DATA and the dot answered in advance",
            {"DOT": Do(None, b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n")},
            UNSURE,
            messages=2,
            second=UNSURE,
        ),
        Row("shift: the reply to the dot comes too late", {"DOT": Do(Wait(4, b""), b"250 2.0.0 late\r\n")}, DEFER),
        Row(
            "shift: RCPT answered twice, the second recipient refused",
            {"RCPT:0": b"250 a\r\n250 b\r\n", "RCPT:1": b"550 5.1.1 no\r\n"},
            FAILED,
            recipients=2,
        ),
        Row(
            "shift: 250 and 354 to the first of two recipients",
            {"RCPT:0": b"250 a\r\n354 b\r\n", "RCPT:1": b"250 c\r\n"},
            DEFER,
            recipients=2,
        ),
        Row(
            "shift: MAIL refused, RCPT and DATA accepted",
            {
                "MAIL": b"550 5.7.1 no\r\n",
                "RCPT": b"250 ok\r\n",
                "DATA": b"354 go\r\n",
                "DOT": Lie(b"250 2.0.0 nothing taken\r\n"),
            },
            BOUNCE,
        ),
        Row(
            "shift: MAIL deferred, RCPT and DATA accepted",
            {
                "MAIL": b"450 4.7.1 later\r\n",
                "RCPT": b"250 ok\r\n",
                "DATA": b"354 go\r\n",
                "DOT": Lie(b"250 2.0.0 nothing taken\r\n"),
            },
            DEFER,
        ),
        Row(
            "shift: all recipients refused, DATA accepted, empty message taken",
            {"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go\r\n", "DOT": Lie(b"250 2.0.0 ok\r\n")},
            BOUNCE,
            recipients=2,
        ),
        Row(
            "shift: all recipients deferred, DATA accepted, empty message taken",
            {"RCPT": b"450 4.1.1 no\r\n", "DATA": b"354 go\r\n", "DOT": Lie(b"250 2.0.0 ok\r\n")},
            DEFER,
            recipients=2,
        ),
        Row(
            "shift: all recipients refused, DATA not answered",
            {"RCPT": b"550 5.1.1 no\r\n", "DATA": Stall()},
            FAILED,
            recipients=2,
        ),
        Row(
            "shift: all recipients refused, close at DATA",
            {"RCPT": b"550 5.1.1 no\r\n", "DATA": Drop()},
            FAILED,
            recipients=2,
        ),
    ]
    for text in (b"250 2.0.0 unasked\r\n", b"421 4.4.2 idle too long\r\n", b"noise\r\n", b"354 go\r\n", b"5"):
        shown = text.decode().strip()
        table.append(
            Row(
                f"idle: {shown!r} after the message, then nothing taken in this session",
                {"IDLE": text},
                OK,
                messages=2,
                second=UNSURE,
            )
        )
    table.append(Row("idle: close after the message", {"IDLE": Drop()}, OK, messages=2, second=UNSURE))
    table.append(Row("idle: reset after the message", {"IDLE": Reset()}, UNSURE, messages=2, second=UNSURE))
    table.append(
        Row(
            "idle: 421 and close after the message",
            {"IDLE": Do(b"421 4.4.2 bye\r\n", Drop())},
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
            def pick(session, _):
                first = session.server.first_dot_session
                return step if session.number == first and session.dots == 2 else otherwise

            return pick

        def at_dot(session, _):
            if session.number != session.server.first_dot_session or session.dots < 2:
                return None
            return dot if session.dots == 2 else Stall()

        script = {
            name: behind(step, usual if name == "MAIL" else None)
            for name, step in (("MAIL", mail), ("RCPT", rcpt), ("DATA", data))
            if step
        }
        return Row(f"across: {name}", {**script, "DOT": at_dot}, OK, messages=4, second=second)

    sender_ok, plain, other = b"250 2.1.0 ok\r\n", b"250 ok\r\n", b"250 2.0.0 ok\r\n"
    rows = [
        row("no reply to the dot, honest behind it", b"", second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, 250 2.1.0 to MAIL and close",
            b"",
            Do(sender_ok, Drop()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("no reply to the dot, 250 to MAIL and close", b"", Do(plain, Drop()), second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, 250 2.0.0 to MAIL as ever and close",
            b"",
            Do(other, Drop()),
            second=[DEFER, UNSURE, UNSURE],
            usual=other,
        ),
        row(
            "no reply to the dot, 250 to MAIL and reset",
            b"",
            Do(plain, Wait(0.2, b""), Reset()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("no reply to the dot, 250 to MAIL and silence", b"", Do(plain, Stall()), second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, 250 to MAIL and 421",
            b"",
            Do(plain, b"421 4.3.2 bye\r\n", Drop()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("no reply to the dot, RCPT refused", b"", rcpt=b"550 5.1.1 no\r\n", second=[DEFER, UNSURE, UNSURE]),
        row(
            "no reply to the dot, RCPT and DATA refused, close",
            b"",
            rcpt=b"550 5.1.1 no\r\n",
            data=Do(b"503 5.5.1 no\r\n", Drop()),
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("no reply to the dot, 250 to DATA", b"", data=b"250 ok\r\n", second=[DEFER, UNSURE, UNSURE]),
        row("no reply to the dot, MAIL refused", b"", b"550 5.7.1 no\r\n", second=[FAILED, UNSURE, UNSURE]),
        row(
            "MAIL answered before the dot, the dot refused",
            b"",
            b"250 2.1.0 ok\r\n554 5.0.0 no\r\n",
            second=[FAILED, UNSURE, UNSURE],
        ),
        row(
            "MAIL answered before the dot, the dot deferred",
            b"",
            b"250 2.1.0 ok\r\n451 4.0.0 no\r\n",
            second=[DEFER, UNSURE, UNSURE],
        ),
        row(
            "everything behind the dot answered before it, the dot refused",
            b"250 a\r\n250 b\r\n354 c\r\n554 5.0.0 no\r\n",
            second=[DEFER, UNSURE, UNSURE],
        ),
        row("two replies to the dot", Do(None, b"250 2.0.0 more\r\n")),
        row("three replies to the dot", Do(None, b"250 2.0.0 more\r\n250 2.0.0 more\r\n")),
        row("taken, then close", Do(None, Drop())),
        row("taken, then reset", Do(None, Wait(0.2, b""), Reset())),
        row("taken, then 421 and close", Do(None, b"421 4.3.2 enough\r\n", Drop())),
        row("taken, then 421 to MAIL", None, Do(b"421 4.3.2 enough\r\n", Drop())),
        row("taken, then garbage", Do(None, b"hm\r\n")),
        row("taken, then 354", Do(None, b"354 go\r\n")),
        row("refused, honest behind it", b"554 5.6.0 no\r\n", second=[BOUNCE, UNSURE, UNSURE]),
        row("deferred, honest behind it", b"451 4.3.0 later\r\n", second=[DEFER, UNSURE, UNSURE]),
        row("refused, then close", Do(b"554 5.6.0 no\r\n", Drop()), second=[FAILED, UNSURE, UNSURE]),
        row("close at the dot", Drop(), second=[DEFER, UNSURE, UNSURE]),
        row("reset at the dot", Reset(), second=[DEFER, UNSURE, UNSURE]),
        row("silence at the dot", Stall(), second=[DEFER, UNSURE, UNSURE]),
        row("354 at the dot", b"354 go on\r\n", second=[DEFER, UNSURE, UNSURE]),
        row("220 at the dot", b"220 hello\r\n", second=[DEFER, UNSURE, UNSURE]),
        row("221 at the dot", Do(b"221 2.0.0 bye\r\n", Drop()), second=[DEFER, UNSURE, UNSURE]),
        row("codes differ at the dot", b"250-2.0.0 a\r\n554 5.0.0 b\r\n", second=[DEFER, UNSURE, UNSURE]),
        row("half a reply at the dot, then close", Do(b"250 2.0", Drop()), second=[DEFER, UNSURE, UNSURE]),
        # Load, not this message's fault: while others of the lane are taken nobody is deferred for it.
        row("421 at the dot", Do(b"421 4.3.2 no\r\n", Drop()), second=[UNSURE, UNSURE, UNSURE]),
        row(
            "the reply to the dot left open, MAIL answered",
            b"",
            b"250-2.1.0 a\r\n250 2.1.0 b\r\n",
            second=[DEFER, UNSURE, UNSURE],
        ),
    ]
    return rows


def in_first_session(script):
    """The script for the first message of the first session only; that session then takes nothing more."""

    def only(name, step):
        def pick(session, _):
            if session.server.first_dot_session not in (None, session.number):
                return None
            if session.dots >= 2:
                return Stall() if name == "DOT" else None
            return step

        return pick

    return {name: only(name, step) for name, step in {"DOT": None, **script}.items()}


def end_rows():
    """QUIT and RSET: the message is settled; nothing that happens now may change it."""
    table = []
    for name, step in (
        ("554", b"554 5.0.0 no\r\n"),
        ("421", b"421 4.0.0 no\r\n"),
        ("garbage", b"bye!\r\n"),
        ("silence", Stall()),
        ("close", Drop()),
        ("reset", Reset()),
        ("flood", Flood(b"221-x\r\n")),
        ("endless line", Flood(b"x")),
        ("drip", Drip(b"221-zz\r\n", 0.2, again=True)),
        ("code 999", b"999 x\r\n"),
        ("surplus", b"221 a\r\n221 b\r\n250 c\r\n"),
        ("no close", b"221 2.0.0 bye\r\n"),
    ):
        table.append(Row(f"quit: {name}", {"QUIT": step}, OK))
    for name, step in (
        ("554", b"554 5.0.0 no\r\n"),
        ("421 and close", Do(b"421 4.0.0 no\r\n", Drop())),
        ("silence", Stall()),
        ("close", Drop()),
        ("reset", Reset()),
        ("garbage", b"hm\r\n"),
    ):
        table.append(Row(f"rset: {name}", {"RCPT": b"550 5.1.1 no\r\n", "RSET": step}, BOUNCE))
        table.append(Row(f"rset after MAIL refused: {name}", {"MAIL": b"550 5.7.1 no\r\n", "RSET": step}, BOUNCE))
    return table


def mixed_rows():
    no, later = b"550 5.1.1 no such user\r\n", b"450 4.2.1 busy\r\n"
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, script, expect, **more):
            table.append(Row(f"mixed {how}: {name}", script, expect, recipients=len(expect), keywords=keywords, **more))

        row("yes, no, later", {"RCPT:1": no, "RCPT:2": later}, [OK, BOUNCE, DEFER])
        row("no, yes", {"RCPT:0": no}, [BOUNCE, OK])
        row("later, yes", {"RCPT:0": later}, [DEFER, OK])
        row("no, no, no", {"RCPT": no}, [BOUNCE] * 3)
        row("later, later", {"RCPT": later}, [DEFER] * 2)
        row("no, later", {"RCPT:0": no, "RCPT:1": later}, [BOUNCE, DEFER])
        row("251, 252", {"RCPT:0": b"251 2.1.5 forward\r\n", "RCPT:1": b"252 2.1.5 perhaps\r\n"}, [OK, OK])
        row("251 alone", {"RCPT": b"251 2.1.5 forward\r\n"}, [OK])
        row("452 from the third on", {f"RCPT:{n}": b"452 4.5.3 too many\r\n" for n in (2, 3, 4)}, [OK] * 5)
        row("552 from the third on", {f"RCPT:{n}": b"552 5.5.3 too many\r\n" for n in (2, 3)}, [OK] * 4)
        row("452 without a status from the third on", {f"RCPT:{n}": b"452 too many\r\n" for n in (2, 3)}, [OK] * 4)
        # It says how many it takes: the others go at once, by themselves.
        row("yes, 421", {"RCPT:1": b"421 4.3.2 closing\r\n"}, [OK, OK])
        row("yes, 421 and close", {"RCPT:1": Do(b"421 4.3.2 closing\r\n", Drop())}, [OK, OK])
        row("no, then close", {"RCPT:0": no, "RCPT:1": Drop()}, [FAILED, DEFER])
        row("yes, then close", {"RCPT:1": Drop()}, [DEFER, DEFER])
        row("yes, garbage, yes", {"RCPT:1": b"hm\r\n"}, [DEFER] * 3)
        row("yes, 354, yes", {"RCPT:1": b"354 hm\r\n"}, [DEFER] * 3)
        row("yes, silence", {"RCPT:1": Stall()}, [DEFER] * 2)
        row("yes, reply left out, yes", {"RCPT:1": b""}, [DEFER] * 3)
        row("no and yes, DATA 451", {"RCPT:0": no, "DATA": b"451 4.0.0 later\r\n"}, [BOUNCE, DEFER])
        row("no and yes, DATA 554", {"RCPT:0": no, "DATA": b"554 5.0.0 no\r\n"}, [BOUNCE, BOUNCE])
        row("no and yes, dot 451", {"RCPT:0": no, "DOT": b"451 4.0.0 later\r\n"}, [BOUNCE, DEFER])
        row("no and yes, dot 554", {"RCPT:0": no, "DOT": b"554 5.0.0 no\r\n"}, [BOUNCE, BOUNCE])
        row("later and yes, dot 554", {"RCPT:0": later, "DOT": b"554 5.0.0 no\r\n"}, [DEFER, BOUNCE])
        row("no and yes, close after the dot", {"RCPT:0": no, "DOT": Drop()}, [FAILED, DEFER])
        row("every second one no", {f"RCPT:{n}": no for n in range(1, 20, 2)}, [OK, BOUNCE] * 10)
    return table


def counting_rows():
    """Peers that end a session behind so many messages, in every manner, with and without enhanced status codes."""
    farewells = {
        "close": Drop(),
        "reset": Reset(),
        "421": Do(b"421 4.7.0 enough\r\n", Drop()),
        "421 without a status": Do(b"421 enough\r\n", Drop()),
    }
    table, messages = [], 6
    for count in (1, 2, 5):
        for name, farewell in farewells.items():
            for keywords, status in ((PIPELINED, b" 2.0.0"), (PIPELINED[:2], b"")):

                def dot(session, _, count=count, farewell=farewell, status=status):
                    receipt = b"250%s ok\r\n" % status
                    return Do(receipt, farewell) if session.dots >= count else receipt

                script = {"DOT": dot}
                if not status:
                    script |= {"MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n"}
                how = "told apart" if status else "alike"
                row = Row(f"counting, {how}: {name} after {count}", script, OK, keywords=keywords, messages=messages)
                row.connections = -(-messages // count) + 1
                table.append(row)
    return table


def lmtp_rows():
    no, later = b"550 5.1.1 no\r\n", b"450 4.2.1 busy\r\n"
    table = []
    for keywords, how in ((PIPELINED, "pipelined"), (SERIAL, "one by one")):

        def row(name, script, expect):
            table.append(
                Row(f"lmtp {how}: {name}", script, expect, recipients=len(expect), keywords=keywords, lmtp=True)
            )

        row("all taken", {}, [OK] * 3)
        row("yes, later, no", {"DOT:1": later, "DOT:2": no}, [OK, DEFER, BOUNCE])
        row("no, no", {"DOT": no}, [BOUNCE] * 2)
        row("later, later", {"DOT": later}, [DEFER] * 2)
        row("251, 252", {"DOT:0": b"251 2.1.5 ok\r\n", "DOT:1": b"252 2.1.5 ok\r\n"}, [OK, OK])
        row("close after the first of three", {"DOT:1": Drop()}, [OK, DEFER, DEFER])
        row("reset after the first of three", {"DOT:1": Do(Wait(0.2, b""), Reset())}, [OK, DEFER, DEFER])
        row("close after the second of three", {"DOT:2": Drop()}, [OK, OK, DEFER])
        row("close before the first", {"DOT:0": Drop()}, [DEFER] * 3)
        row("silence after the first", {"DOT:1": Stall()}, [OK, DEFER, DEFER])
        row("garbage at the second", {"DOT:1": Do(b"hm\r\n", Stall())}, [OK, DEFER, DEFER])
        row("code 999 at the second", {"DOT:1": Do(b"999 hm\r\n", Stall())}, [OK, DEFER, DEFER])
        row("354 at the second", {"DOT:1": Do(b"354 hm\r\n", Stall())}, [OK, DEFER, DEFER])
        row("codes differ at the second", {"DOT:1": Do(b"250-a\r\n550 b\r\n", Stall())}, [OK, DEFER, DEFER])
        row("421 at the second and close", {"DOT:1": Do(b"421 4.3.2 bye\r\n", Drop())}, [OK, DEFER, DEFER])
        row("no after a no at the second, close at the third", {"DOT:1": no, "DOT:2": Drop()}, [OK, BOUNCE, DEFER])
        row("one reply too many", {"DOT:2": Do(None, b"250 2.0.0 and one more\r\n")}, [OK, OK, UNSURE])
        row("the second RCPT refused", {"RCPT:1": no}, [OK, BOUNCE, OK])
        row("the second RCPT refused, close after one reply", {"RCPT:1": no, "DOT:1": Drop()}, [OK, BOUNCE, DEFER])
        row("the first RCPT deferred, no to the last", {"RCPT:0": later, "DOT:1": no}, [DEFER, OK, BOUNCE])
        row("all RCPT refused", {"RCPT": no}, [BOUNCE] * 2)
        row("multi-line replies", {"DOT:0": b"250-2.0.0 a\r\n250 2.0.0 b\r\n", "DOT:1": no}, [OK, BOUNCE])
        row("DATA refused", {"DATA": b"554 5.0.0 no\r\n"}, [BOUNCE] * 2)
        row("close in the reply to the second", {"DOT:1": Do(b"25", Drop())}, [OK, DEFER, DEFER])
        row("endless line at the second", {"DOT:1": Flood(b"x")}, [OK, DEFER, DEFER])
    table.append(Row("lmtp: LHLO 554", {"LHLO": b"554 5.0.0 no\r\n"}, [DEFER] * 2, recipients=2, lmtp=True))
    table.append(Row("lmtp: LHLO 421", {"LHLO": Do(b"421 4.0.0 no\r\n", Drop())}, [DEFER] * 2, recipients=2, lmtp=True))
    table.append(Row("lmtp: LHLO garbage", {"LHLO": b"hm\r\n"}, [DEFER] * 2, recipients=2, lmtp=True))
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
                    {stage.upper(): text},
                    FAILED if doubtful else BOUNCE,
                    recipients=2,
                    hostile_text=True,
                )
            )
    for name, lines in (("2000 lines", 2000), ("100000 lines", 100_000)):
        table.append(
            Row(
                f"text at rcpt: {name}",
                {"RCPT": b"554-5.7.1 no\r\n" * (lines - 1) + b"554 5.7.1 no\r\n"},
                FAILED,
                hostile_text=True,
            )
        )
    table.append(
        Row("text at rcpt: 60 kB line", {"RCPT": b"554 5.7.1 " + b"q" * 60_000 + b"\r\n"}, FAILED, hostile_text=True)
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
    "counting": counting_rows,
    "recipients": mixed_rows,
    "lmtp": lmtp_rows,
    "text": text_rows,
}
