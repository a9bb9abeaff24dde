"""test_protocol_content.py - the server side of SMTP: chunks, sizes, octets, and what is written in front of a message."""

import email.utils
import re

import pytest
from protocol_house import LIMITS, MESSAGE, SIZE, alive
from smtp_client import added_by_relay, headers_of, send_mail, split_trace
from waiting import wait_until


@pytest.fixture(scope="module")
def house(make_house):
    return make_house(smtp=LIMITS)


@pytest.fixture
def relay(house):
    return house.relay


@pytest.fixture
def client(relay):
    with relay.session() as session:
        yield session


# ------------------------------------------------------------------------------------------------ BDAT


def test_bdat_forms_deliver_octet_for_octet(house, client, check, unique):
    body = b"Subject: chunks\r\n\r\n.\r\n..two\r\n\r\n.\r\nQUIT\r\nlast line\r\n"
    forms = [
        [len(body)],
        [1] * len(body),
        [10, 0, len(body) - 10],
        [len(body), 0],
        [0, len(body)],
        [0, 0, 3, 0, len(body) - 3, 0],
        [body.index(b"\n"), len(body) - body.index(b"\n")],
        [len(body) - 1, 1],
    ]
    for form in forms:
        recipient = unique() + "@b.test"
        client.mail()
        client.rcpt(recipient)
        at = 0
        for number, size in enumerate(form):
            reply = client.bdat(body[at : at + size], number == len(form) - 1, 250)
            check(reply.is_positive, f"chunk {number} of {form[:9]}: {reply.raw!r}")
            at += size
        added_by_relay(house.arrived(recipient).data, body)
        check(True, f"{form[:9]}")


def test_bdat_pipelined_and_split_anywhere(house, client, check, unique):
    body = b"Subject: p\r\n\r\n" + b"".join(b".line %d\r\n" % n for n in range(50))
    recipient = unique() + "@b.test"
    raw = f"MAIL FROM:<a@a.test>\r\nRCPT TO:<{recipient}>\r\n".encode()
    chunks = [body[at : at + 37] for at in range(0, len(body), 37)]
    for chunk in chunks:
        raw += b"BDAT %d\r\n" % len(chunk) + chunk
    raw += b"BDAT 0 LAST\r\nNOOP\r\n"
    client.send_pieces([raw[at : at + 101] for at in range(0, len(raw), 101)], pause=0.0005)
    codes = [client.read_reply().code for _ in range(len(chunks) + 4)]
    check.equal(set(codes), {250}, "all positive")
    added_by_relay(house.arrived(recipient).data, body)


def test_bdat_empty_and_without_final_line_end(house, client, check, unique):
    for body in (b"", b"x", b"a: b", b"a: b\r\n\r\nno end", b"\r\n", b"."):
        recipient = unique() + "@b.test"
        client.message("a@a.test", recipient, body, bdat=True)
        data = house.arrived(recipient).data
        wanted = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
        added_by_relay(data, wanted)
        check(True, repr(body))


def test_bdat_rset_and_wrong_order(house, client, check, unique):
    gone, recipient = unique() + "@b.test", unique() + "@b.test"
    client.mail()
    client.rcpt(gone)
    client.bdat(b"Subject: gone\r\n", False)
    for line in ("MAIL FROM:<c@c.test>", "RCPT TO:<d@d.test>", "DATA"):
        check.equal(client.command(line).code, 503, f"{line} between chunks")
    check.equal(client.command("RSET").code, 250, "RSET between chunks")
    check.equal(client.command("BDAT 0 LAST").code, 503, "BDAT after RSET")
    client.mail()
    client.rcpt(gone)
    client.bdat(b"Subject: gone\r\n", False)
    check.equal(client.command("EHLO again.test").code, 250, "EHLO between chunks")
    client.message("a@a.test", recipient, MESSAGE, bdat=True)
    check.equal(client.command("BDAT 0 LAST").code, 503, "BDAT after LAST")
    message = house.arrived(recipient)
    added_by_relay(message.data, MESSAGE)
    check(gone not in house.sink.copies(), "what was reset never arrives")


def test_bdat_syntax(relay, check):
    for argument in (
        "",
        "x",
        "-1",
        "1x",
        "0x1",
        "LAST",
        "1 2",
        "1 FIRST",
        "1 LAST LAST",
        "99999999999999999999999",
        "18446744073709551616",
        "9223372036854775808",
        "+1",
    ):
        with relay.session() as client:
            client.mail()
            client.rcpt("b@b.test")
            client.send(f"BDAT {argument}\r\n" + ("x" if argument.startswith("1 ") else ""))  # its announced octet
            reply = client.reply_or_end()
            check(reply and reply.code in (500, 501, 552, 421), f"BDAT {argument}: {reply and reply.raw!r}")


def test_bdat_octets_are_swallowed_when_refused(relay, check):
    """RFC 3030 section 2: the octets after a refused BDAT are content, never commands."""
    trap = b"RSET\r\nMAIL FROM:<evil@a.test>\r\nRCPT TO:<evil@b.test>\r\nQUIT\r\n"
    for before in ([], ["MAIL FROM:<a@a.test>"], ["MAIL FROM:<a@a.test>", "RCPT TO:<x@@b.test>"]):
        with relay.session() as client:
            for line in before:
                client.command(line)
            client.send(b"BDAT %d LAST\r\n" % len(trap) + trap)
            check.equal(client.read_reply().code // 100, 5, f"BDAT after {before}")
            alive(client, check, f"swallowed chunk after {before}")


def test_bdat_and_size_limit(house, client, check, unique):
    recipient = unique() + "@b.test"
    client.mail()
    client.rcpt(recipient)
    client.send(b"BDAT %d LAST\r\n" % (SIZE + 1) + b"x" * (SIZE - 1) + b"\r\n")
    reply = client.read_reply()
    check.equal(reply.code, 552, f"one chunk over the limit {reply.raw!r}")
    alive(client, check, "too large chunk")
    client.command("RSET", 250)
    client.mail()
    client.rcpt(recipient)
    client.bdat(b"Subject: x\r\n\r\n" + b"y" * 200000, False, 250)
    client.send(b"BDAT 100000 LAST\r\n" + b"z" * 99998 + b"\r\n")
    check.equal(client.read_reply().code, 552, "sum over the limit")
    alive(client, check, "too large sum")
    client.command("RSET", 250)
    client.message("a@a.test", recipient, MESSAGE, bdat=True)
    added_by_relay(house.arrived(recipient).data, MESSAGE)
    check.equal(house.sink.copies().get(recipient), 1, "only the small one")


# ------------------------------------------------------------------------------------------------ size, limits


def test_data_at_and_over_the_limit(house, client, check, unique):
    head = b"Subject: size\r\n\r\n"

    def of(size):
        lines = (size - len(head)) // 100 - 1
        body = head + (b"s" * 98 + b"\r\n") * lines
        return body + b"e" * (size - len(body) - 2) + b"\r\n"

    exact, over = unique() + "@b.test", unique() + "@b.test"
    client.message("a@a.test", exact, of(SIZE), f"SIZE={SIZE}")
    added_by_relay(house.arrived(exact).data, of(SIZE))
    client.mail()
    client.rcpt(over)
    reply = client.data(of(SIZE + 1), 552, 554)
    check.equal(reply.code, 552, "over the limit")
    check(reply.status in ("5.3.4", "5.2.3"), f"status {reply.status}")
    client.mail()
    client.rcpt(over)
    check.equal(client.data(of(SIZE * 4), 552).code, 552, "far over the limit")
    client.message("a@a.test", over, MESSAGE)
    added_by_relay(house.arrived(over).data, MESSAGE)
    check.equal(house.sink.copies()[over], 1, "only the small one")


def test_dots_do_not_count_as_size(house, client, check, unique):
    """RFC 1870 section 5: dots added for transparency are not part of the size."""
    recipient = unique() + "@b.test"
    body = b"Subject: dots\r\n\r\n"
    body += b".\r\n" * ((SIZE - len(body)) // 3)
    client.message("a@a.test", recipient, body, f"SIZE={len(body)}")
    added_by_relay(house.arrived(recipient).data, body)
    check(True, "arrived")


def test_recipients_up_to_the_limit(house, client, check, unique):
    word = unique()
    client.mail()
    codes = []
    for number in range(155):
        reply = client.command(f"RCPT TO:<{word}.{number}@b.test>")
        codes.append(reply.code)
        if reply.code != 250:
            check(reply.code == 452 and reply.status == "4.5.3", f"beyond: {reply.raw!r}")
    check.equal(codes, [250] * 150 + [452] * 5, "150 taken, 5 refused for now")
    client.data(MESSAGE)
    wait_until(lambda: sum(1 for r in house.sink.copies() if r.startswith(word + ".")) == 150, what="150 copies")
    check.equal({house.sink.copies()[f"{word}.{n}@b.test"] for n in range(150)}, {1}, "one copy each")


def test_command_line_length(relay, check):
    with relay.session() as client:
        line = "MAIL FROM:<a@a.test> ENVID=" + "x" * 90
        check.equal(client.command(line).code, 250, "line of usual length")
        client.command("RSET", 250)
        check.equal(client.command("NOOP " + "x" * 500).code, 250, "512 octets and a bit")
        check.equal(client.command("NOOP " + "x" * 2000).code, 250, "2000 octets (command_bytes 4096)")
        client.send("NOOP " + "x" * 5000 + "\r\nNOOP\r\n")
        reply = client.reply_or_end()
        check(reply is not None and reply.code in (500, 421), f"5000 octets: {reply and reply.raw!r}")
        if reply and reply.code == 500:
            check.equal(client.read_reply().code, 250, "the next line is a command again")


def test_duplicate_recipients(house, client, check, unique):
    recipient = unique() + "@b.test"
    client.mail()
    for _ in range(3):
        check.equal(client.command(f"RCPT TO:<{recipient}>").code, 250, "accepted again")
    queue_id = client.data(MESSAGE).queue_id
    house.relay.wait_log("message finished", id=queue_id)
    check(house.sink.copies()[recipient] in (1, 2, 3), "arrives")


# ------------------------------------------------------------------------------------------------ addresses carried on


def test_null_sender_is_carried(house, client, check, unique):
    recipient = unique() + "@b.test"
    client.message("", recipient, MESSAGE)
    message = house.arrived(recipient)
    check.equal(message.sender, "", "MAIL FROM:<> at the next hop")
    added_by_relay(message.data, MESSAGE)


def test_postmaster_needs_no_domain(client, check):
    """RFC 5321 section 4.5.1."""
    for name in ("postmaster", "Postmaster", "POSTMASTER"):
        client.mail()
        check.equal(client.command(f"RCPT TO:<{name}>").code, 250, name)
        client.command("RSET", 250)


def test_addresses_arrive_as_they_were_written(house, client, check, unique):
    word = unique()
    forms = [
        f"{word}.MiXed.CaSe@b.test",
        f'"{word} b"@b.test',
        f'"{word}\\"q"@b.test',
        f'"{word}@x"@b.test',
        f'"{word}>x"@b.test',
        f"{word}@[192.0.2.9]",
        f"{word}@[IPv6:2001:db8::9]",
        f"{word}!#$%&'*+-/=?^_`{{|}}~@b.test",
        f"{word}+tag@sub.b.test",
        f'"{word}\\\\"@b.test',
    ]
    for form in forms:
        client.message(form, form, MESSAGE)
        message = house.arrived(form)
        check.equal((message.sender, message.recipients), (form, [form]), form)


def test_source_route_is_stripped_or_refused(house, client, check, unique):
    recipient = unique() + "@b.test"
    client.mail()
    reply = client.command(f"RCPT TO:<@x.test,@y.test:{recipient}>")
    check(reply.code in (250, 500, 501, 550, 553), f"{reply.raw!r}")
    if reply.code == 250:
        client.data(MESSAGE)
        check.equal(house.arrived(recipient).recipients, [recipient], "stripped")
    client.command("RSET", 250)
    reply = client.command("MAIL FROM:<@x.test:a@a.test>")
    check(reply.code in (250, 501, 553), f"{reply.raw!r}")


# ------------------------------------------------------------------------------------------------ 8 bit, UTF-8


def test_eight_bit_content_is_exact(house, client, check, unique):
    everything = bytes(c for c in range(256) if c not in (0, 10, 13))
    for parameters in ("BODY=8BITMIME", "", "BODY=7BIT"):
        recipient = unique() + "@b.test"
        body = (
            b"Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n"
            + everything
            + b"\r\n\xff\xfe\r\n"
        )
        client.mail("a@a.test", parameters)
        client.rcpt(recipient)
        reply = client.data(body, 250, 554, 550)
        if parameters == "BODY=8BITMIME" or reply.code == 250:
            message = house.arrived(recipient)
            added_by_relay(message.data, body)
            if parameters == "BODY=8BITMIME":
                check("BODY=8BITMIME" in message.mail_parameters.upper(), f"passed on: {message.mail_parameters!r}")
        check.equal(reply.code, 250, f"{parameters or 'no BODY'}")


def test_utf8_addresses_need_the_keyword(house, client, check, unique):
    word = unique()
    check(client.command("MAIL FROM:<jürgen@a.test>").code in (501, 550, 553), "MAIL without SMTPUTF8")
    client.command("RSET", 250)
    client.mail()
    check(client.command(f"RCPT TO:<{word}ü@b.test>").code in (501, 550, 553), "RCPT without SMTPUTF8")
    client.command("RSET", 250)
    client.mail("jürgen@a.test", "SMTPUTF8")
    client.rcpt(f"{word}ü@b.test")
    body = "Subject: grüße\r\n\r\nhallo\r\n".encode()
    client.data(body)
    message = house.arrived(f"{word}ü@b.test")
    check.equal((message.sender, message.recipients), ("jürgen@a.test", [f"{word}ü@b.test"]), "envelope")
    check("SMTPUTF8" in message.mail_parameters, f"passed on: {message.mail_parameters!r}")
    front = added_by_relay(message.data, body)
    check(re.search(rb"with UTF8SMTP", front), f"RFC 6531 section 4.3: with UTF8SMTP in {front!r}")
    for line in (
        b"MAIL FROM:<\xff@a.test> SMTPUTF8",
        b"MAIL FROM:<\xc3@a.test> SMTPUTF8",
        b"MAIL FROM:<a\xed\xa0\x80@a.test> SMTPUTF8",
        b"MAIL FROM:<\xc0\xaf@a.test> SMTPUTF8",
        b"MAIL FROM:<a@\xff.test> SMTPUTF8",
    ):
        check(client.command(line).code in (500, 501, 550, 553), f"invalid UTF-8 {line!r}")
        client.command("RSET", 250)


# ------------------------------------------------------------------------------------------------ DSN parameters


def test_dsn_parameters_are_passed_on(house, client, check, unique):
    one, two = unique() + "@b.test", unique() + "@b.test"
    client.mail("a@a.test", "RET=HDRS ENVID=QQ+2B314159")
    client.rcpt(one, f"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig+2B{one}")
    client.rcpt(two, "NOTIFY=NEVER")
    client.data(MESSAGE)
    message = house.arrived(one)
    parameters = message.mail_parameters.split()
    check("RET=HDRS" in parameters, f"RET in {parameters}")
    check("ENVID=QQ+2B314159" in parameters, f"ENVID in {parameters}")
    offered = dict(message.offered)
    check(one in offered and two in offered, f"both recipients in one transaction: {offered}")
    check(set(offered.get(one, "").split()) >= {f"ORCPT=rfc822;orig+2B{one}"}, f"ORCPT of one: {offered.get(one)!r}")
    notify = re.search(r"NOTIFY=(\S+)", offered.get(one, ""))
    check(notify and set(notify[1].split(",")) == {"SUCCESS", "FAILURE"}, f"NOTIFY of one: {offered.get(one)!r}")
    check("NOTIFY=NEVER" in offered.get(two, "").split(), f"NOTIFY of two: {offered.get(two)!r}")


# ------------------------------------------------------------------------------------------------ trace fields


def test_received_says_from_by_with_id_date(house, relay, check, unique):
    recipient = unique() + "@b.test"
    with relay.connect() as client:
        client.expect(220)
        client.ehlo("helo-name.test")
        queue_id = client.message("a@a.test", recipient, MESSAGE)
        client.quit()
    front = added_by_relay(house.arrived(recipient).data, MESSAGE)
    fields = [value for name, value in headers_of(front + b"\r\n") if name == b"received"]
    check(1 <= len(fields) <= 2, f"one or two Received: {front!r}")
    ours = next((value for value in fields if queue_id.encode() in value), b"")
    text = re.sub(rb"\s+", b" ", ours).decode()
    check(text.startswith("from helo-name.test "), f"from: {text}")
    check("[127.0.0.1]" in text, f"address of the client: {text}")
    check(" by relay.test " in text, f"by: {text}")
    check(" with ESMTP " in text, f"with: {text}")
    check(f" id {queue_id}" in text, f"id: {text}")
    for field in fields:
        when = email.utils.parsedate_to_datetime(re.sub(rb"\s+", b" ", field).decode().rpartition(";")[2].strip())
        check(abs(when.timestamp() - __import__("time").time()) < 120, f"date is now: {when}")
    for line in front.split(b"\r\n"):
        check(len(line) <= 998 and not re.search(rb"[^\t -~]", line), f"line {line!r}")


@pytest.mark.parametrize(
    "name",
    ["a(b", "a)b", 'a"b', "a\\b", "a;b", "(by evil.test with ESMTP id x);", "<script>", "[127.0.0.2", "by", "x" * 255],
)
def test_an_odd_name_in_ehlo_cannot_forge_the_trace(house, relay, check, unique, name):
    """Refused, or written so that the field still reads as one `from`, one `by`, one date."""
    recipient = unique() + "@b.test"
    with relay.connect() as client:
        client.expect(220)
        reply = client.command(f"EHLO {name}")
        if reply.code != 250:
            check(reply.code in (501, 550, 553), f"{reply.raw!r}")
            return
        client.message("a@a.test", recipient, MESSAGE)
    front = added_by_relay(house.arrived(recipient).data, MESSAGE)
    field = next(
        value for key, value in headers_of(front + b"\r\n") if key == b"received" and b"[127.0.0.1]" in value
    ).decode()
    depth, outside, quoted, escaped = 0, "", False, False
    for letter in re.sub(r"\s+", " ", field):  # RFC 5322 comments and quoted strings taken out
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"' and not depth:
            quoted = not quoted
        elif letter == "(" and not quoted:
            depth += 1
        elif letter == ")" and not quoted:
            depth -= 1
            check(depth >= 0, f"closing parenthesis too many: {field!r}")
        elif not depth and not quoted:
            outside += letter
    check(depth == 0 and not quoted, f"unbalanced: {field!r}")
    check.equal(len(re.findall(r" by relay\.test ", outside)), 1, f"one by, ours: {field!r}")
    check.equal(outside.count(";"), 1, f"one date: {field!r}")


def test_received_keeps_secrets(house, client, check, unique):
    """Several recipients of one message must not learn of each other."""
    one, two = unique() + "@b.test", unique() + "@b.test"
    client.message("a@a.test", [one, two], MESSAGE)
    front = added_by_relay(house.arrived(one).data, MESSAGE)
    check(one.encode() not in front and two.encode() not in front, f"no recipient in {front!r}")


COMPLETE = {b"message-id": b"Message-ID: <x@a.test>\r\n", b"date": b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"}


@pytest.mark.parametrize(
    "head,missing",
    [
        (b"", {b"message-id", b"date"}),
        (b"Subject: x\r\n", {b"message-id", b"date"}),
        (COMPLETE[b"date"], {b"message-id"}),
        (COMPLETE[b"message-id"], {b"date"}),
        (COMPLETE[b"date"] + COMPLETE[b"message-id"], set()),
        (b"MESSAGE-ID: <x@a.test>\r\nDATE: Sun, 22 Nov 2026 10:00:00 +0000\r\n", set()),
        (b"message-id:\r\n <x@a.test>\r\ndate:Sun, 22 Nov 2026 10:00:00 +0000\r\n", set()),
        (b"Subject: a\r\n Message-ID: <in a folded line>\r\n\tDate: x\r\n", {b"message-id", b"date"}),
        (b"X-Message-ID: <x@a.test>\r\nDates: y\r\nResent-Date: x\r\n", {b"message-id", b"date"}),
        (b"Message-ID : <x@a.test>\r\nDate\t: Sun, 22 Nov 2026 10:00:00 +0000\r\n", None),
    ],
    ids=["none", "subject", "no id", "no date", "both", "upper", "folded", "inside", "similar", "blank before colon"],
)
def test_message_id_and_date_are_added_only_when_missing(house, client, check, unique, head, missing):
    recipient = unique() + "@b.test"
    body = head + b"\r\nMessage-ID: <not-a-header@a.test>\r\nDate: not a header\r\n"
    client.message("a@a.test", recipient, body)
    front = added_by_relay(house.arrived(recipient).data, body)
    added = dict(headers_of(front.rstrip(b"\r\n") + b"\r\n\r\n"))
    if missing is not None:
        check.equal(set(added) & {b"message-id", b"date"}, missing, "added")
    if b"message-id" in added:
        check(re.fullmatch(rb"<[^<>@\s]+@[^<>@\s]+>", added[b"message-id"]), f"{added[b'message-id']!r}")
    if b"date" in added:
        check(email.utils.parsedate_to_datetime(added[b"date"].decode()), f"{added[b'date']!r}")


def test_a_hundred_hops_are_a_loop(house, client, check, unique):
    hop = b"Received: from a.test by b.test with SMTP; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    fine, loop = unique() + "@b.test", unique() + "@b.test"
    client.message("a@a.test", fine, hop * 100 + MESSAGE)
    added_by_relay(house.arrived(fine).data, hop * 100 + MESSAGE)
    for bdat in (False, True):
        client.mail()
        client.rcpt(loop)
        content = hop * 50 + b"RECEIVED: x\r\n" * 51 + MESSAGE
        reply = client.bdat(content, True, 554) if bdat else client.data(content, 554)
        check.equal((reply.code, reply.status), (554, "5.4.6"), "loop")
        alive(client, check, "loop")
    body = MESSAGE + hop * 120
    client.message("a@a.test", loop, body)
    added_by_relay(house.arrived(loop).data, body)
    check.equal(house.sink.copies()[loop], 1, "lines in the body are no hops")


def test_session_survives_every_error(house, client, check, unique):
    """After all the errors of a long session, mail still flows on it."""
    recipient = unique() + "@b.test"
    for number in range(40):
        check(
            client.command(("FOO", "MAIL FROM:<x", "RCPT TO:<b@b.test>", "DATA")[number % 4]).code // 100 == 5, number
        )
    client.message("a@a.test", recipient, MESSAGE)
    added_by_relay(house.arrived(recipient).data, MESSAGE)


def test_ipv6_listener(make_relay, sink, check):
    import socket

    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    from harness import free_port

    relay = make_relay(routes={"*": sink.address}, listen=[("127.0.0.1", free_port()), ("::1", free_port("::1"))])
    check.equal(len(relay.addresses), 2, "both addresses in the ready line")
    for address in relay.addresses:
        send_mail(address, "a@a.test", "b@b.test", MESSAGE)
    for message in sink.wait_for(2):
        added_by_relay(message.data, MESSAGE)
    fronts = b"".join(split_trace(m.data)[0] for m in sink.messages)
    check(b"[IPv6:::1]" in fronts, f"literal of the client: {fronts!r}")
