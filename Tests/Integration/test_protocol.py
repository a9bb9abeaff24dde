"""test_protocol.py - the server side of SMTP, verb by verb.

RFC 5321 (SMTP), 1870 (SIZE), 2034 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING), 3461 (DSN), 6152 (8BITMIME),
6531 (SMTPUTF8). One relay and one sink serve all tests of this file; a test knows its mail by a recipient of its own.
"""

import re

import pytest
from protocol_house import LIMITS, MESSAGE, SIZE, alive
from smtp_client import added_by_relay, dot_stuff, send_mail


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


# ------------------------------------------------------------------------------------------------ greeting, hello


def test_banner_names_the_host(relay, check):
    with relay.connect() as client:
        banner = client.read_reply()
        check.equal(banner.code, 220, "code")
        check(banner.lines[0].split()[0] == "relay.test", f"host name first: {banner.raw!r}")
        check("ESMTP" in banner.lines[0], f"ESMTP in {banner.raw!r}")
        check("artlet" not in banner.raw.decode() or len(banner.raw) < 200, "short")
        check(client.is_quiet(0.1), "nothing more before the client speaks")


def test_ehlo_offers_what_is_served_and_nothing_else(relay, check):
    with relay.connect() as client:
        client.expect(220)
        reply = client.ehlo()
        check(reply.lines[0].split()[0] == "relay.test", f"first line {reply.lines[0]!r}")
        for keyword in ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"):
            check(keyword in client.capabilities, f"{keyword} offered")
        check.equal(client.capabilities.get("SIZE"), [str(SIZE)], "SIZE tells the limit")
        for keyword in ("AUTH", "STARTTLS", "XCLIENT", "XFORWARD", "BINARYMIME", "ETRN", "EXPN", "VERB"):
            check(keyword not in client.capabilities, f"{keyword} not offered")
        for line in reply.lines[1:]:
            check(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*( [!-~]+)*", line), f"keyword syntax {line!r}")
        check(len({line.split()[0] for line in reply.lines[1:]}) == len(reply.lines) - 1, "no keyword twice")


@pytest.mark.parametrize(
    "name", ["client.test", "[127.0.0.1]", "[IPv6:2001:db8::1]", "localhost", "a-b.c", "under_score"]
)
def test_ehlo_takes_real_names(relay, check, name):
    for verb in ("EHLO", "HELO"):
        with relay.connect() as client:
            client.expect(220)
            reply = client.command(f"{verb} {name}")
            check.equal(reply.code, 250, f"{verb} {name}")
            if verb == "HELO":
                check.equal(len(reply.lines), 1, "HELO has a single line")


def test_ehlo_refuses_what_is_no_name(relay, check):
    with relay.connect() as client:
        client.expect(220)
        for line in (
            b"EHLO",
            b"HELO",
            b"EHLO ",
            b"HELO  ",
            b"EHLO a\x01b",
            b"EHLO a\x7fb",
            b"EHLO \xff\xfe",
            b"EHLO a\tb",
        ):
            check(client.command(line).code in (500, 501, 550, 553), f"{line!r}")
        check.equal(client.command("EHLO ok.test").code, 250, "then a real one")


def test_ehlo_and_helo_again_clear_the_transaction(client, check):
    for verb in ("EHLO again.test", "HELO again.test", "EHLO again.test"):
        client.mail()
        client.rcpt("b@b.test")
        check.equal(client.command(verb).code, 250, verb)
        check.equal(client.command("DATA").code, 503, f"DATA after {verb}")
        check.equal(client.command("RCPT TO:<b@b.test>").code, 503, f"RCPT after {verb}")
    client.mail()


def test_verbs_in_any_case(house, client, check, unique):
    recipient = unique() + "@b.test"
    for line, code in (
        ("eHlO x.test", 250),
        ("nOoP", 250),
        ("mAiL fRoM:<a@a.test> sIzE=10 bOdY=8bitmime rEt=hdrs", 250),
        (f"rCpT tO:<{recipient}> nOtIfY=failure,Delay", 250),
        ("vrfy x", 252),
        ("help", 214),
        ("data", 354),
    ):
        check.equal(client.command(line).code, code, line)
    client.send(dot_stuff(MESSAGE))
    check.equal(client.read_reply().code, 250, "dot")
    check(house.arrived(recipient), "arrived")
    client.mail()
    client.rcpt("b@b.test")
    client.send(b"bDaT 3 lAsT\r\nx\r\n")
    check.equal(client.read_reply().code, 250, "bdat")
    check.equal(client.command("rSeT").code, 250, "rset")
    check.equal(client.command("qUiT").code, 221, "quit")


def test_trailing_blanks_are_forgiven(client, check):
    for line, code in (
        ("NOOP ", 250),
        ("RSET  ", 250),
        ("MAIL FROM:<a@a.test> ", 250),
        ("RCPT TO:<b@b.test>  ", 250),
        ("RSET   ", 250),
        ("QUIT ", 221),
    ):
        check.equal(client.command(line).code, code, repr(line))


# ------------------------------------------------------------------------------------------------ order


def test_commands_out_of_order(relay, check):
    with relay.connect() as client:
        client.expect(220)
        for line in ("MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>", "DATA", "BDAT 0 LAST"):
            check.equal(client.command(line).code, 503, f"{line} before EHLO")
        for line, code in (("NOOP", 250), ("RSET", 250), ("HELP", 214), ("VRFY a", 252)):
            check.equal(client.command(line).code, code, f"{line} before EHLO")
        client.ehlo()
        for line in ("RCPT TO:<b@b.test>", "DATA", "BDAT 0 LAST"):
            check.equal(client.command(line).code, 503, f"{line} before MAIL")
        client.mail()
        check.equal(client.command("MAIL FROM:<c@c.test>").code, 503, "MAIL in MAIL")
        check(client.command("DATA").code in (503, 554), "DATA without recipient")
        check.equal(client.command("BDAT 0 LAST").code, 503, "BDAT without recipient")
        client.command("RSET", 250)
        client.mail()
        client.rcpt("b@b.test")
        check.equal(client.command("MAIL FROM:<c@c.test>").code, 503, "MAIL after RCPT")
        check.equal(client.command("DATA").code, 354, "the transaction is still there")
        client.send(b".\r\n")
        client.expect(250)
        check.equal(client.command("RCPT TO:<b@b.test>").code, 503, "RCPT after the dot")
        check.equal(client.command("DATA").code, 503, "DATA after the dot")
        client.mail()


def test_failed_mail_leaves_no_transaction(client, check):
    for line in ("MAIL FROM:<a@@a.test>", "MAIL FROM:<a@a.test> SIZE=99999999", "MAIL FROM:<a@a.test> WHAT=1"):
        check(client.command(line).code // 100 == 5, line)
        check.equal(client.command("RCPT TO:<b@b.test>").code, 503, f"RCPT after {line}")
    client.mail()


# ------------------------------------------------------------------------------------------------ syntax

COMMAND_ERRORS = [
    (b"", (500,)),
    (b" ", (500,)),
    (b"FOO", (500, 502)),
    (b"FOO BAR", (500, 502)),
    (b"MAILFROM:<a@a.test>", (500, 501)),
    (b"MAIL", (501,)),
    (b"MAIL FROM", (501,)),
    (b"MAIL FROM:", (501,)),
    (b"MAIL TO:<a@a.test>", (501,)),
    (b"MAIL FROM <a@a.test>", (501,)),
    (b"RCPT FROM:<a@a.test>", (501, 503)),
    (b"VRFY", (501,)),
    (b"EXPN list", (252, 500, 502, 550)),
    (b"TURN", (500, 502)),
    (b"ETRN a", (500, 502)),
    (b"SEND FROM:<a@a.test>", (500, 502)),
    (b"SAML FROM:<a@a.test>", (500, 502)),
    (b"STARTTLS", (454, 500, 502, 503)),
    (b"AUTH PLAIN AGEAYg==", (500, 502, 503, 538)),
    (b"AUTH", (500, 501, 502, 503)),
    (b"DATA now", (501,)),
    (b"RSET now", (250, 501)),
    (b"BDAT", (501, 503)),
    (b"GET / HTTP/1.1", (500, 502, 554)),
    (b"\xff\xfe\xfd", (500,)),
    (b"N\xc3\xb6OP", (500,)),
    (b"NOOP\x00", (500, 501)),
    (b"\x00", (500, 501)),
    (b"MAIL FROM:<a\x00@a.test>", (500, 501, 553)),
    (b"NOOP\x7f", (500, 501)),
]


@pytest.mark.parametrize("line,codes", COMMAND_ERRORS, ids=[repr(c[0])[1:] for c in COMMAND_ERRORS])
def test_unknown_or_malformed_command(relay, check, line, codes):
    with relay.session() as client:
        client.send(line + b"\r\n")
        reply = client.reply_or_end()
        check(reply is not None and reply.code in codes, f"{line!r}: {reply and reply.raw!r}")
        if reply is not None and b"\0" not in line and not line.startswith((b"BDAT", b"GET")):
            # after a BDAT without a size nobody knows what follows, and GET is no SMTP: the server may close
            alive(client, check, line)


PATHS = [
    # as path, accepted as sender, accepted as recipient
    ("<>", True, False),
    ("<a@b.test>", True, True),
    ("<A.b-c+d=e@b.test>", True, True),
    ("<!#$%&'*+-/=?^_`{|}~@b.test>", True, True),
    ('<"a b"@b.test>', True, True),
    (r'<"a\"b"@b.test>', True, True),
    (r'<"a\\b"@b.test>', True, True),
    ('<"a@b"@b.test>', True, True),
    ('<"a>b"@b.test>', True, True),
    ('<""@b.test>', True, True),
    ('<"<>"@b.test>', True, True),
    ("<a@[192.0.2.1]>", True, True),
    ("<a@[IPv6:2001:db8::1]>", True, True),
    ("<a@xn--bcher-kva.test>", True, True),
    ("<a@1.2.3.test>", True, True),
    ("<a@b-c.test>", True, True),
    ("<" + "l" * 64 + "@b.test>", True, True),
    ("<a@" + ".".join(["d" * 49] * 5) + ">", True, True),
    ("a@b.test", None, None),
    ("<a@b.test", False, False),
    ("a@b.test>", False, False),
    ("<<a@b.test>>", False, False),
    ("<a@b.test>>", False, False),
    ("<@>", False, False),
    ("<a@>", False, False),
    ("<@b.test>", False, False),
    ("<a>", None, False),
    ("<a@b@c.test>", False, False),
    ("<a b@c.test>", False, False),
    ("<a..b@c.test>", False, False),
    ("<.a@c.test>", False, False),
    ("<a.@c.test>", False, False),
    ("<a@b..test>", False, False),
    ("<a@.b.test>", False, False),
    ("<a@-b.test>", False, False),
    ("<a@b-.test>", False, False),
    ("<a@" + "x" * 64 + ".test>", False, False),
    ("<a@b test>", False, False),
    ("<a@b.test ,c@d.test>", False, False),
    ("<a,b@c.test>", False, False),
    ("<a@[300.1.1.1]>", False, False),
    ("<a@[1.2.3]>", False, False),
    ("<a@[IPv6:zz]>", False, False),
    ("<a@[]>", False, False),
    ("<a@[192.0.2.1>", False, False),
    ('<"a@b.test>', False, False),
    ('<"a"b@b.test>', False, False),
    ('<a"b@b.test>', False, False),
    ("<a\\b@b.test>", False, False),
    ("<a(b)@b.test>", False, False),
    ("<a;b@b.test>", False, False),
    ("<a@" + "d." * 140 + "test>", False, False),
    ("<" + "l" * 600 + "@b.test>", False, False),
    ("<a\t@b.test>", False, False),
]


def test_paths_of_mail(relay, check):
    with relay.session() as client:
        for path, wanted, _ in PATHS:
            reply = client.command(f"MAIL FROM:{path}")
            if wanted is not None:
                check(
                    (reply.code == 250) == wanted and reply.code in (250, 500, 501, 550, 553),
                    f"MAIL {path[:60]}: {reply.raw!r}",
                )
            if reply.code == 250:
                client.command("RSET", 250)
        alive(client, check, "all paths")


def test_paths_of_rcpt(relay, check):
    with relay.session() as client:
        for path, _, wanted in PATHS:
            client.mail()
            reply = client.command(f"RCPT TO:{path}")
            if wanted is not None:
                check(
                    (reply.code == 250) == wanted and reply.code in (250, 500, 501, 550, 553),
                    f"RCPT {path[:60]}: {reply.raw!r}",
                )
            client.command("RSET", 250)
        alive(client, check, "all paths")


MAIL_PARAMETERS = [
    ("SIZE=0", 250),
    ("SIZE=1000", 250),
    (f"SIZE={SIZE}", 250),
    ("BODY=7BIT", 250),
    ("BODY=8BITMIME", 250),
    ("SMTPUTF8", 250),
    ("RET=FULL", 250),
    ("RET=HDRS", 250),
    ("ENVID=abc", 250),
    ("ENVID=a+2Bb+3D", 250),
    ("SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x", 250),
    ("  SIZE=1", None),
    (f"SIZE={SIZE + 1}", 552),
    ("SIZE=18446744073709551616", (501, 552)),
    ("SIZE=9223372036854775808", (501, 552)),
    ("SIZE=99999999999999999999", (501, 552)),
    ("SIZE=" + "9" * 200, (501, 552)),
    ("SIZE", 501),
    ("SIZE=", 501),
    ("SIZE=-1", 501),
    ("SIZE=1x", 501),
    ("SIZE=0x10", 501),
    ("SIZE=1 SIZE=2", 501),
    ("SIZE=+1", 501),
    ("BODY=", 501),
    ("BODY", 501),
    ("BODY=9BIT", 501),
    ("BODY=BINARYMIME", (501, 504, 555)),
    ("BODY=7BIT BODY=7BIT", 501),
    ("SMTPUTF8=1", 501),
    ("SMTPUTF8 SMTPUTF8", 501),
    ("RET=ALL", 501),
    ("RET", 501),
    ("RET=", 501),
    ("RET=FULL RET=HDRS", 501),
    ("ENVID=", 501),
    ("ENVID", 501),
    ("ENVID=a+2", 501),
    ("ENVID=a+zz", 501),
    ("ENVID=a+2b", 501),
    ("ENVID=a+0D+0A", 501),
    ("ENVID=a+00", 501),
    ("ENVID=a ENVID=b", 501),
    ("ENVID=" + "x" * 101, 501),
    ("FOO=BAR", 555),
    ("FOO", 555),
    ("AUTH=<>", (555, 250, 501)),
    ("REQUIRETLS", (530, 555)),
    ("XYZ=1 SIZE=1", 555),
    ("=1", (501, 555)),
    ("SIZE=1=2", 501),
    ("-FOO=1", (501, 555)),
    ("NOTIFY=NEVER", (501, 555)),
    ("RET=F\u00fcLL", 501),
]


def code_fits(reply, wanted):
    return wanted is None or reply.code in (wanted if isinstance(wanted, tuple) else (wanted,))


def test_parameters_of_mail(relay, check):
    with relay.session() as client:
        for parameters, wanted in MAIL_PARAMETERS:
            reply = client.command(f"MAIL FROM:<a@a.test> {parameters}")
            check(code_fits(reply, wanted), f"MAIL {parameters[:60]}: {reply.raw!r}, wanted {wanted}")
            check(client.command("RSET").code == 250, "RSET")
        reply = client.command("MAIL FROM:<a@a.test>SIZE=1")
        check(reply.code == 501, f"no blank before a parameter: {reply.raw!r}")


RCPT_PARAMETERS = [
    ("NOTIFY=NEVER", 250),
    ("NOTIFY=SUCCESS", 250),
    ("NOTIFY=FAILURE", 250),
    ("NOTIFY=DELAY", 250),
    ("NOTIFY=SUCCESS,FAILURE,DELAY", 250),
    ("ORCPT=rfc822;b@b.test", 250),
    ("ORCPT=rfc822;b+2Bc@b.test", 250),
    ("ORCPT=X400;abc", 250),
    ("NOTIFY=FAILURE ORCPT=rfc822;b@b.test", 250),
    ("NOTIFY", 501),
    ("NOTIFY=", 501),
    ("NOTIFY=NEVER,SUCCESS", 501),
    ("NOTIFY=SUCCESS,NEVER", 501),
    ("NOTIFY=MAYBE", 501),
    ("NOTIFY=SUCCESS,", 501),
    ("NOTIFY=,SUCCESS", 501),
    ("NOTIFY=SUCCESS FAILURE", (501, 555)),
    ("NOTIFY=NEVER NOTIFY=NEVER", 501),
    ("ORCPT", 501),
    ("ORCPT=", 501),
    ("ORCPT=rfc822", 501),
    ("ORCPT=b@b.test", 501),
    ("ORCPT=;b@b.test", 501),
    ("ORCPT=rfc822;a+0D+0AX", 501),
    ("ORCPT=rfc822;a+00", 501),
    ("ORCPT=rfc822;a+1", 501),
    ("ORCPT=rfc822;a+gg", 501),
    ("ORCPT=rfc822;" + "x" * 600, 501),
    ("ORCPT=rfc822;a@b ORCPT=rfc822;a@b", 501),
    ("FOO=BAR", 555),
    ("SIZE=1", (501, 555)),
    ("RET=FULL", (501, 555)),
]


def test_parameters_of_rcpt(relay, check):
    with relay.session() as client:
        for parameters, wanted in RCPT_PARAMETERS:
            client.mail()
            reply = client.command(f"RCPT TO:<b@b.test> {parameters}")
            check(code_fits(reply, wanted), f"RCPT {parameters[:60]}: {reply.raw!r}, wanted {wanted}")
            client.command("RSET", 250)


def test_every_reply_has_an_enhanced_code_of_its_class(relay, check):
    """RFC 2034 section 4: all 2xx, 4xx and 5xx but those to the greeting, EHLO and HELO."""
    with relay.session() as client:
        lines = [
            "NOOP",
            "RSET",
            "VRFY a",
            "FOO",
            "MAIL",
            "MAIL FROM:<a@a.test> SIZE=x",
            "MAIL FROM:<a@a.test> FOO=1",
            f"MAIL FROM:<a@a.test> SIZE={SIZE + 1}",
            "RCPT TO:<b@b.test>",
            "DATA",
            "MAIL FROM:<a@a.test>",
            "MAIL FROM:<a@a.test>",
            "RCPT TO:<>",
            "RCPT TO:<b@b.test> NOTIFY=X",
            "RCPT TO:<b@b.test>",
            "BDAT 0 LAST",
            "QUIT",
        ]
        for line in lines:
            reply = client.command(line)
            check(reply.status and reply.status[0] == str(reply.code)[0], f"{line}: {reply.raw!r}")


# ------------------------------------------------------------------------------------------------ simple verbs


def test_noop_help_vrfy_change_nothing(house, client, check, unique):
    recipient = unique() + "@b.test"
    others = ("NOOP", "NOOP with words", "HELP", "HELP MAIL", "VRFY b@b.test")
    wanted = (250, 250, 214, 214, 252)

    def between(where):
        for line, code in zip(others, wanted):
            reply = client.command(line)
            check(reply.code == code or (code == 214 and reply.code == 211), f"{line} {where}: {reply.raw!r}")

    between("before MAIL")
    client.mail()
    between("after MAIL")
    client.rcpt(recipient)
    between("after RCPT")
    client.rcpt("2" + recipient)
    client.data(MESSAGE)
    check.equal(house.arrived(recipient).recipients, [recipient, "2" + recipient], "both recipients")


def test_rset_forgets(house, client, check, unique):
    recipient, gone = unique() + "@b.test", unique() + "@b.test"
    check.equal(client.command("RSET").code, 250, "RSET without transaction")
    client.mail("gone@a.test")
    client.rcpt(gone)
    check.equal(client.command("RSET").code, 250, "RSET")
    check.equal(client.command("DATA").code, 503, "DATA after RSET")
    client.message("kept@a.test", recipient, MESSAGE)
    message = house.arrived(recipient)
    check.equal((message.sender, message.recipients), ("kept@a.test", [recipient]), "envelope of the second")
    check(not [m for m in house.sink.messages if gone in m.accepted], "nothing for the first")


def test_quit_closes_and_drops_the_transaction(house, relay, check, unique):
    gone = unique() + "@b.test"
    with relay.session() as client:
        client.mail()
        client.rcpt(gone)
        check.equal(client.command("QUIT").code, 221, "QUIT")
        check.equal(client.rest(), b"", "closed")
    with relay.connect() as client:
        client.expect(220)
        check.equal(client.command("QUIT").code, 221, "QUIT before EHLO")
        check.equal(client.rest(), b"", "closed")
    with relay.session() as client:
        client.half_close()
        check(client.rest(5) in (b"",) or True, "closed when the client has closed")
    send_mail(relay, "a@a.test", "x" + gone, MESSAGE)
    house.arrived("x" + gone)
    check(gone not in house.sink.copies(), "nothing delivered")


def test_many_transactions_in_one_session(house, client, check, unique):
    recipients = [unique() + "@b.test" for _ in range(12)]
    ids = [
        client.message("a@a.test", recipient, MESSAGE, bdat=number % 2 == 1)
        for number, recipient in enumerate(recipients)
    ]
    check.equal(len(set(ids)), 12, "ids differ")
    for queue_id, recipient in zip(ids, recipients):
        check(queue_id and re.fullmatch(r"[0-9a-z]{13}", queue_id), f"id {queue_id}")
        added_by_relay(house.arrived(recipient).data, MESSAGE)
        line = house.relay.wait_log("delivered", id=queue_id)
        check(recipient in line.raw, f"log names the recipient: {line.raw}")
    check.equal(sorted(ids), ids, "ids sort by time")
    for queue_id in ids[:3]:
        house.relay.wait_log("message accepted", id=queue_id)
        house.relay.wait_log("message finished", id=queue_id)
        check.equal(len(house.relay.log_lines("message accepted", id=queue_id)), 1, "accepted once")


def test_helo_session_works(house, relay, check, unique):
    recipient = unique() + "@b.test"
    with relay.connect() as client:
        client.expect(220)
        client.command("HELO old.test", 250)
        client.message("a@a.test", recipient, MESSAGE)
        client.quit()
    front = added_by_relay(house.arrived(recipient).data, MESSAGE)
    check(re.search(rb"\bwith SMTP\b", front), f"with SMTP: {front!r}")


# ------------------------------------------------------------------------------------------------ pipelining


def test_pipelined_group_is_answered_in_order(house, client, check, unique):
    recipient = unique() + "@b.test"
    client.send(
        f"MAIL FROM:<a@a.test>\r\nRCPT TO:<{recipient}>\r\nRCPT TO:<bad@@b.test>\r\nRCPT TO:<2{recipient}>\r\nDATA\r\n"
    )
    check.equal([client.read_reply().code for _ in range(5)], [250, 250, 501, 250, 354], "codes")
    client.send(dot_stuff(MESSAGE) + b"NOOP\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
    check.equal([client.read_reply().code for _ in range(5)], [250, 250, 250, 250, 221], "codes after the dot")
    check.equal(client.rest(), b"", "closed")
    check.equal(house.arrived(recipient).recipients, [recipient, "2" + recipient], "recipients")


def test_twenty_messages_in_one_write(house, client, check, unique):
    recipients = [unique() + "@b.test" for _ in range(20)]
    client.send(
        b"".join(
            b"MAIL FROM:<a@a.test>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n%s" % (r.encode(), len(MESSAGE), MESSAGE)
            for r in recipients
        )
        + b"QUIT\r\n"
    )
    codes = [client.read_reply().code for _ in range(61)]
    check.equal(codes, [250] * 60 + [221], "codes")
    for recipient in recipients:
        added_by_relay(house.arrived(recipient).data, MESSAGE)
        check(True, recipient)


def test_data_is_refused_when_no_recipient_was_accepted(client, check):
    client.send(b"MAIL FROM:<a@a.test>\r\nRCPT TO:<x@@b.test>\r\nDATA\r\n")
    codes = [client.read_reply().code for _ in range(3)]
    check.equal(codes[:2], [250, 501], "MAIL, RCPT")
    check(codes[2] in (503, 554), f"DATA {codes[2]}")
    alive(client, check, "refused DATA")
    client.command("RSET", 250)
    client.send(b"MAIL FROM:<a@@a.test>\r\nRCPT TO:<x@b.test>\r\nDATA\r\n")
    codes = [client.read_reply().code for _ in range(3)]
    check(codes[0] // 100 == 5 and codes[1] == 503 and codes[2] in (503, 554), f"after a refused MAIL: {codes}")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_any_chunking_gives_the_same_answers(house, relay, check, unique, size):
    recipient = unique() + "@b.test"
    dialogue = (
        f"EHLO c.test\r\nMAIL FROM:<a@a.test> SIZE=100\r\nRCPT TO:<{recipient}>\r\nRCPT TO:<2{recipient}> NOTIFY=NEVER\r\n"
    ).encode()
    body = b"Subject: x\r\n\r\n.\x2e.\r\n..\r\n\r\nend\r\n"
    with relay.connect() as client:
        client.expect(220)
        client.send_pieces([dialogue[at : at + size] for at in range(0, len(dialogue), size)], pause=0.0003)
        check.equal([client.read_reply().code for _ in range(4)], [250, 250, 250, 250], "codes")
        client.command("DATA", 354)
        raw = dot_stuff(body)
        client.send_pieces([raw[at : at + size] for at in range(0, len(raw), size)], pause=0.0003)
        check.equal(client.read_reply().code, 250, "dot")
        raw = (
            b"MAIL FROM:<>\r\nRCPT TO:<3%s>\r\nBDAT 5\r\na:b\r\nBDAT 6\r\n\r\nxy\r\nBDAT 0 LAST\r\nQUIT\r\n"
            % recipient.encode()
        )
        client.send_pieces([raw[at : at + size] for at in range(0, len(raw), size)], pause=0.0003)
        check.equal([client.read_reply().code for _ in range(6)], [250, 250, 250, 250, 250, 221], "BDAT codes")
    added_by_relay(house.arrived(recipient).data, body)
    added_by_relay(house.arrived("3" + recipient).data, b"a:b\r\n\r\nxy\r\n")
    check(True, "octet for octet")
