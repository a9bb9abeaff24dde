"""test_loops.py — mail must not go round in circles and reports must not breed (A14, A15, RFC 3461, RFC 3464)."""

import re
import time

import pytest
import reports
from scripted import ByRecipient
from smtp_client import headers_of
from story import events, first_event, submit, text, wait_event
from waiting import free_port, wait_until

QUICK = {"temp_fail_intervals": "1s*100", "lane_rest_max": 1, "pool_timeout": 1}
NO_DSN = ("PIPELINING", "SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")


def received(count, name=b"Received"):
    return b"".join(
        name + b": from a%d.test by b%d.test; Sun, 22 Nov 2026 18:00:00 +0000\r\n" % (n, n) for n in range(count)
    )


@pytest.fixture
def refuser(make_server):
    """Refuses every recipient whose name begins with `no`, defers those that begin with `later`."""

    def rcpt(_, recipient):
        if recipient.startswith("no"):
            return "550 5.1.1 <" + recipient + "> unknown here"
        return "450 4.2.1 <" + recipient + "> busy" if recipient.startswith("later") else None

    return make_server({"RCPT": rcpt}, name="refuser.test")


@pytest.fixture
def bench(make_relay, refuser, sink):
    """A relay whose mail goes to `refuser`, and whose reports go to `sink`."""

    def make(**how):
        how["outbound"] = {**QUICK, **how.get("outbound", {})}
        return make_relay(routes={"report.test": sink.route, "*": refuser.route}, **how)

    return make


def quiet(relay, sink, count, seconds=1.0):
    """Nothing more than `count` messages comes to the sink for a while, and the queue is empty."""
    wait_until(
        lambda: len(relay.log_lines("message finished")) >= len(relay.log_lines("message accepted")),
        10,
        lambda: f"an empty queue; log:\n{relay.log_tail()}",
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert len(sink.messages) <= count, f"{len(sink.messages)} messages instead of {count}"
        time.sleep(0.02)
    assert len(sink.messages) == count
    assert len(relay.log_lines("message finished")) == len(relay.log_lines("message accepted")), relay.log_tail()


def one_report(sink, count=1):
    message = sink.wait_for(count)[-1]
    assert message.sender == "", f"a report with the sender {message.sender!r}"
    report = reports.parse(message.data)
    reports.check(report)
    return report


# ------------------------------------------------------------------------------------------------ loops (A14)


@pytest.mark.parametrize("how", ["data", "bdat"])
@pytest.mark.parametrize("name", [b"Received", b"RECEIVED", b"received"])
def test_too_many_received_headers_are_a_loop(bench, refuser, how, name):
    relay = bench()
    with relay.session() as client:
        client.mail()
        client.rcpt("u@d.test")
        send = client.data if how == "data" else lambda content, code: client.bdat(content, True, code)
        reply = send(received(101, name) + b"Subject: x\r\n\r\nx\r\n", 554)
        assert reply.status == "5.4.6", reply.raw
        client.message("a@a.test", "after@d.test", text())
    refuser.wait_for(1)
    assert refuser.copies() == {"after@d.test": 1}


@pytest.mark.parametrize(
    "content",
    [
        received(99) + b"Subject: x\r\n\r\nx\r\n",
        b"Subject: x\r\n\r\n" + received(300),
        b"Received-SPF: pass\r\n" * 150 + b"Subject: x\r\n\r\nx\r\n",
        b"X-Note: a\r\n" + b"\treceived: b\r\n" * 150 + b"\r\nx\r\n",
    ],
    ids=["99", "in the body", "another name", "folded"],
)
def test_what_is_no_loop_passes(bench, refuser, content):
    relay = bench()
    submit(relay, "u@d.test", content=content)
    assert refuser.wait_for(1)[0].data.endswith(content)


@pytest.mark.parametrize("match", ["own.test", "*"])
def test_route_to_our_own_listener_bounces(make_relay, sink, match):
    port = free_port()
    relay = make_relay(
        listen=[("127.0.0.1", port)], outbound=QUICK, routes={"report.test": sink.route, match: f"127.0.0.1:{port}"}
    )
    queue_id = submit(relay, "u@own.test")
    event, line = first_event(relay, queue_id)
    assert event == "bounced" and "5.4.6" in line.raw, line.raw
    report = one_report(sink)
    assert str(report.field("u@own.test", "Status")).split()[0] == "5.4.6"
    quiet(relay, sink, 1)
    assert len(relay.log_lines("message accepted")) == 2, "the message and its report, nothing that came round"


def test_own_listener_is_skipped_where_another_host_stands(make_relay, make_server, sink):
    """A list with ourselves in it: the loop is never taken."""
    port, server = free_port(), make_server()
    relay = make_relay(
        listen=[("127.0.0.1", port)],
        outbound=QUICK,
        routes={"report.test": sink.route, "d.test": [server.route, f"127.0.0.1:{port}"]},
    )
    submit(relay, "u@d.test")
    server.wait_for(1)
    assert len(relay.log_lines("message accepted")) == 1


def test_two_relays_in_a_circle_end_with_one_report(tmp_path, make_relay, sink):
    ports = free_port(), free_port()
    smtp = {"limits.received_headers": 12}
    first, second = [
        make_relay(
            listen=[("127.0.0.1", ports[n])],
            smtp=smtp,
            outbound=QUICK,
            me=f"relay{n}.test",
            routes={"report.test": sink.route, "*": f"127.0.0.1:{ports[1 - n]}"},
        )
        for n in (0, 1)
    ]
    submit(first, "u@circle.test")
    report = one_report(sink)
    assert report.failed == ["u@circle.test"]
    assert "5.4.6" in str(report.field("u@circle.test", "Diagnostic-Code"))
    quiet(first, sink, 1)
    quiet(second, sink, 1, 0)
    assert len(first.log_lines("message accepted")) + len(second.log_lines("message accepted")) <= 16


# ------------------------------------------------------------------------------------------------ backscatter (A15)


def test_null_sender_never_gets_a_report(bench, sink):
    relay = bench()
    queue_id = submit(relay, ["no1@d.test", "no2@d.test"], sender="")
    wait_event(relay, queue_id, "bounced", "no1@d.test")
    wait_event(relay, queue_id, "bounced", "no2@d.test")
    relay.wait_log("message finished", id=queue_id)
    quiet(relay, sink, 0)
    assert len(relay.log_lines("message accepted")) == 1


def test_a_refused_report_is_the_end(make_relay, make_server):
    server = make_server({"RCPT": "550 5.1.1 nobody here"})
    relay = make_relay(routes={"*": server.route}, outbound=QUICK)
    queue_id = submit(relay, "u@d.test", sender="gone@gone.test")
    wait_event(relay, queue_id, "bounced")
    wait_until(lambda: len(relay.log_lines("message finished")) == 2, 10, lambda: f"both ends:\n{relay.log_tail()}")
    assert len(relay.log_lines("message accepted")) <= 2 and len(relay.log_lines("bounced")) == 2
    senders = [c for c in server.commands if c.upper().startswith(b"MAIL")]
    assert len(senders) == 2 and senders[1].upper().startswith(b"MAIL FROM:<>"), senders


def test_a_report_without_a_place_to_go_is_the_end(make_relay, make_server, make_dns):
    server = make_server({"RCPT": "550 5.1.1 nobody here"})
    relay = make_relay(routes={"d.test": server.route}, resolver=make_dns({}), outbound=QUICK)
    submit(relay, "u@d.test", sender="x@nowhere.test")
    wait_until(lambda: len(relay.log_lines("message finished")) == 2, 20, lambda: f"both ends:\n{relay.log_tail()}")
    assert len(relay.log_lines("bounced")) == 2


def test_a_deferred_report_arrives_later(bench, sink):
    sink.script["DOT"] = "451 4.3.0 later"
    relay = bench()
    submit(relay, "no@d.test")
    wait_until(lambda: sink.transactions, 10, "the report")
    sink.heal()
    assert one_report(sink).failed == ["no@d.test"]
    quiet(relay, sink, 1)


def test_one_report_for_a_set_of_failed_recipients(bench, sink, refuser):
    relay = bench()
    queue_id = submit(relay, ["u1@d.test", "no1@d.test", "u2@d.test", "no2@d.test", "no3@d.test"])
    report = one_report(sink)
    assert sorted(report.failed) == ["no1@d.test", "no2@d.test", "no3@d.test"]
    quiet(relay, sink, 1)
    assert refuser.copies() == {"u1@d.test": 1, "u2@d.test": 1}
    assert sorted(e for e, _ in events(relay, queue_id)) == ["bounced"] * 3 + ["delivered"] * 2


def test_later_failures_get_a_report_of_their_own(make_relay, make_server, sink):
    other = make_server({"RCPT": "550 5.1.1 no"})
    server = make_server({"RCPT": ByRecipient({"no@d.test": "550 5.1.1 no"})})
    relay = make_relay(
        routes={"report.test": sink.route, "d.test": server.route, "e.test": other.route}, outbound=QUICK
    )
    submit(relay, ["no@d.test", "u@d.test", "x@e.test"])
    sink.wait_for(2)
    assert sorted(r for m in sink.messages for r in reports.parse(m.data).failed) == ["no@d.test", "x@e.test"]
    quiet(relay, sink, 2)


def test_a_thousand_failures_one_report(bench, sink):
    relay = bench(outbound={"recipients_per_transaction": 1000})
    wanted = [f"no{n}@d.test" for n in range(1000)]
    submit(relay, wanted)
    assert sorted(one_report_large(sink).failed) == sorted(wanted)
    quiet(relay, sink, 1)


def one_report_large(sink):
    report = reports.parse(sink.wait_for(1)[0].data)
    reports.check(report, small=False)
    return report


# ------------------------------------------------------------------------------------------------ NOTIFY


@pytest.mark.parametrize(
    "notify, wanted",
    [
        ("", 1),
        ("NOTIFY=FAILURE", 1),
        ("NOTIFY=FAILURE,DELAY", 1),
        ("NOTIFY=SUCCESS,FAILURE", 1),
        ("NOTIFY=NEVER", 0),
        ("NOTIFY=SUCCESS", 0),
        ("NOTIFY=DELAY", 0),
        ("notify=never", 0),
    ],
)
def test_notify_decides_about_failure_reports(bench, sink, notify, wanted):
    relay = bench()
    queue_id = submit(relay, "no@d.test", rcpt_parameters=notify)
    wait_event(relay, queue_id, "bounced")
    if wanted:
        assert one_report(sink).failed == ["no@d.test"]
    quiet(relay, sink, wanted, 0.7)


def test_notify_is_per_recipient(bench, sink):
    relay = bench()
    with relay.session() as client:
        client.mail("a@report.test")
        client.rcpt("no1@d.test", "NOTIFY=NEVER")
        client.rcpt("no2@d.test", "NOTIFY=FAILURE")
        client.rcpt("no3@d.test", "NOTIFY=SUCCESS")
        client.rcpt("no4@d.test")
        client.data(text())
    assert sorted(one_report(sink).failed) == ["no2@d.test", "no4@d.test"]
    quiet(relay, sink, 1)


@pytest.mark.parametrize(
    "notify, wanted",
    [("NOTIFY=SUCCESS", 1), ("NOTIFY=SUCCESS,FAILURE", 1), ("NOTIFY=FAILURE", 0), ("NOTIFY=NEVER", 0), ("", 0)],
)
def test_success_report_where_the_peer_knows_no_dsn(make_relay, make_server, sink, notify, wanted):
    server = make_server(capabilities=NO_DSN)
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, outbound=QUICK)
    submit(relay, "u@d.test", rcpt_parameters=notify)
    server.wait_for(1)
    if wanted:
        report = one_report(sink)
        assert report.with_action("relayed") == ["u@d.test"] and report.failed == []
        assert str(report.field("u@d.test", "Status")).startswith("2.")
    quiet(relay, sink, wanted, 0.7)
    [rcpt] = [c for c in server.commands if c.upper().startswith(b"RCPT")]
    assert b"NOTIFY" not in rcpt.upper(), rcpt


def test_success_is_the_peers_business_where_it_knows_dsn(make_relay, make_server, sink):
    server = make_server()
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, outbound=QUICK)
    submit(relay, "u@d.test", rcpt_parameters="NOTIFY=SUCCESS,FAILURE")
    server.wait_for(1)
    quiet(relay, sink, 0, 0.7)
    assert server.transactions[0].offered[0][1].upper() in ("NOTIFY=SUCCESS,FAILURE", "NOTIFY=FAILURE,SUCCESS")


def test_lmtp_success_report_says_delivered(make_relay, make_server, sink):
    """Final delivery over LMTP to a server without DSN: either word is right, silence is not."""
    server = make_server(lmtp=True, capabilities=NO_DSN)
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, outbound=QUICK)
    submit(relay, ["u1@d.test", "u2@d.test"], rcpt_parameters="NOTIFY=SUCCESS")
    report = one_report(sink)
    assert sorted(report.with_action("relayed") + report.with_action("delivered")) == ["u1@d.test", "u2@d.test"]


def test_delay_report_once_then_delivery(bench, sink, refuser):
    relay = bench(outbound={"delay_warning": 1})
    submit(relay, ["later1@d.test", "later2@d.test"], rcpt_parameters="NOTIFY=DELAY,FAILURE")
    report = one_report(sink)
    assert sorted(report.with_action("delayed")) == ["later1@d.test", "later2@d.test"] and report.failed == []
    assert str(report.field("later1@d.test", "Status")).startswith("4.")
    attempts = len(relay.log_lines("delivery deferred"))
    wait_until(lambda: len(relay.log_lines("delivery deferred")) >= attempts + 4, 10, "two more attempts")
    refuser.heal()
    wait_until(
        lambda: len(refuser.messages) >= 1 and set(refuser.copies()) == {"later1@d.test", "later2@d.test"},
        10,
        "delivery",
    )
    quiet(relay, sink, 1)


@pytest.mark.parametrize("notify", ["NOTIFY=FAILURE", "NOTIFY=NEVER", "NOTIFY=SUCCESS"])
def test_no_delay_report_unless_wanted(bench, sink, refuser, notify):
    relay = bench(outbound={"delay_warning": 1})
    submit(relay, "later@d.test", rcpt_parameters=notify)
    wait_until(lambda: len(relay.log_lines("delivery deferred")) >= 4, 15, "four attempts")
    refuser.heal()
    refuser.wait_for(1)
    wait_until(lambda: relay.log_lines("message finished"), 10, "the end")
    assert [m for m in sink.messages if reports.parse(m.data).with_action("delayed")] == []


def test_no_delay_report_to_the_null_sender(bench, sink, refuser):
    relay = bench(outbound={"delay_warning": 1})
    submit(relay, "later@d.test", sender="", rcpt_parameters="NOTIFY=DELAY")
    wait_until(lambda: len(relay.log_lines("delivery deferred")) >= 3, 15, "three attempts")
    refuser.heal()
    refuser.wait_for(1)
    quiet(relay, sink, 0, 0.5)


# ------------------------------------------------------------------------------------------------ what a report says

ORIGINAL = (
    b"From: <a@report.test>\r\nTo: <no@d.test>\r\nSubject: the original\r\nX-Kept: yes\r\n\r\n"
    b".dot\r\n--boundary\r\n--boundary--\r\nthe body\r\n"
)


def test_ret_hdrs_returns_only_the_header(bench, sink):
    relay = bench()
    submit(relay, "no@d.test", content=ORIGINAL, parameters="RET=HDRS")
    report = one_report(sink)
    assert report.original_type == "text/rfc822-headers"
    assert b"X-Kept: yes" in report.raw and b"the body" not in report.raw


@pytest.mark.parametrize("parameters", ["", "RET=FULL", "ret=full"])
def test_the_entire_original_is_returned(bench, sink, parameters):
    relay = bench()
    submit(relay, "no@d.test", content=ORIGINAL, parameters=parameters)
    report = one_report(sink)
    assert report.original_type == "message/rfc822"
    assert report.original_bytes.endswith(ORIGINAL), report.original_bytes
    assert [n for n, _ in headers_of(report.original_bytes)].count(b"received") >= 1, (
        "our own Received line is part of it"
    )


def test_the_copy_of_the_original_is_bounded(bench, sink):
    relay = bench(outbound={"bounce_message_bytes": 20_000})
    body = b"".join(b"%070d\r\n" % n for n in range(40_000))
    submit(relay, "no@d.test", content=ORIGINAL + body)
    report = one_report(sink)
    assert b"X-Kept: yes" in report.raw and len(report.raw) < 40_000, len(report.raw)


def test_envid_and_orcpt_are_in_the_report(bench, sink):
    relay = bench()
    submit(
        relay,
        "no@d.test",
        parameters="RET=HDRS ENVID=QQ314159+2Bx",
        rcpt_parameters="NOTIFY=FAILURE ORCPT=rfc822;first+2Bname@old.test",
    )
    report = one_report(sink)
    assert str(report.per_message["Original-Envelope-Id"]) == "QQ314159+x"
    assert re.sub(r"\s", "", str(report.field("no@d.test", "Original-Recipient"))) == "rfc822;first+name@old.test"
    assert "refuser.test" in str(report.field("no@d.test", "Remote-MTA")) or "127.0.0.1" in str(
        report.field("no@d.test", "Remote-MTA")
    )
    diagnostic = str(report.field("no@d.test", "Diagnostic-Code"))
    assert diagnostic.lower().startswith("smtp;") and "550" in diagnostic and "unknown here" in diagnostic
    assert str(report.field("no@d.test", "Status")).split()[0] == "5.1.1"


def test_dsn_parameters_are_passed_on(make_relay, make_server):
    server = make_server()
    relay = make_relay(routes={"*": server.route}, outbound=QUICK)
    submit(
        relay,
        "u@d.test",
        parameters="RET=HDRS ENVID=QQ314159+2Bx",
        rcpt_parameters="NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Bname@old.test",
    )
    message = server.wait_for(1)[0]
    assert {"RET=HDRS", "ENVID=QQ314159+2Bx"} <= set(message.mail_parameters.split()), message.mail_parameters
    parameters = dict(p.split("=", 1) for p in message.offered[0][1].split())
    assert set(parameters["NOTIFY"].split(",")) == {"SUCCESS", "DELAY"}
    assert parameters["ORCPT"].lower() == "rfc822;first+2bname@old.test"


def test_dsn_parameters_stay_here_where_not_offered(make_relay, make_server):
    server = make_server(capabilities=NO_DSN)
    relay = make_relay(routes={"*": server.route}, outbound=QUICK)
    submit(relay, "u@d.test", parameters="RET=HDRS ENVID=x", rcpt_parameters="NOTIFY=FAILURE ORCPT=rfc822;x@old.test")
    message = server.wait_for(1)[0]
    assert not re.search("RET|ENVID", message.mail_parameters) and message.offered[0][1] == ""


@pytest.mark.parametrize(
    "parameters, rcpt_parameters",
    [
        ("ENVID=a+0D+0AX-Evil:+20yes", ""),
        ("ENVID=a+00b", ""),
        ("", "ORCPT=rfc822;a+0D+0AX-Evil:+20yes@d.test"),
        ("", "ORCPT=rfc822;a+0Ab@d.test"),
        ("ENVID=" + "x" * 100, ""),
        ("ENVID=a+0D+0A+0D+0A--boundary", "ORCPT=rfc822;b+00@d.test"),
    ],
)
def test_encoded_line_ends_go_nowhere(bench, sink, refuser, parameters, rcpt_parameters):
    """Refused at the door, or harmless in the report (S7)."""
    relay = bench()
    with relay.session() as client:
        reply = client.command(f"MAIL FROM:<a@report.test> {parameters}".rstrip())
        if reply.is_positive:
            reply = client.command(f"RCPT TO:<no@d.test> {rcpt_parameters}".rstrip())
        if not reply.is_positive:
            assert reply.code in (501, 553, 555), reply.raw
            return
        client.data(text())
    report = one_report(sink)
    reports.check_unharmed(report)
    assert b"\nX-Evil" not in report.raw


def test_template_is_filled(bench, sink):
    template = "Pid {pid}.\nDate {date}.\nMe {me}.\nFrom {from}.\nMsgid {msgid}.\nTo {to}.\nReason {reason}.\nUnknown {nothing}.\n"
    relay = bench(files={"outbound.bounce_message": template})
    queue_id = submit(relay, ["u@d.test", "no1@d.test", "no2@d.test"])
    human = one_report(sink).human.replace("\r\n", "\n")
    assert f"Pid {relay.pid}." in human, human
    assert "Me relay.test." in human and re.search(r"From <?a@report\.test>?\.", human), human
    assert re.search(r"To <?no1@d\.test>?\.", human), "the first failed recipient"
    assert "unknown here" in human and "550" in human
    assert re.search(r"Msgid \S{8,}\.", human) and re.search(r"Date .*20\d\d", human)
    assert not re.search(r"\{(pid|date|me|from|msgid|to|reason)\}", human)
    assert queue_id


def test_template_does_not_expand_the_peers_text(make_relay, make_server, sink):
    server = make_server({"RCPT": "550 5.1.1 {from} {reason} {me}"})
    relay = make_relay(
        routes={"report.test": sink.route, "*": server.route},
        outbound=QUICK,
        files={"outbound.bounce_message": "Because: {reason}\nThe end of {to}.\n"},
    )
    submit(relay, "u@d.test")
    human = one_report(sink).human
    assert "{from} {reason} {me}" in human and re.search("The end of <?u@d.test>?", human)


def test_shipped_template_is_used(bench, sink):
    relay = bench()
    submit(relay, "no@d.test")
    report = one_report(sink)
    assert "no@d.test" in report.human and "unknown here" in report.human
    assert not re.search(r"\{[a-z]+\}", report.human), report.human


@pytest.mark.parametrize(
    "recipient",
    [
        '"no;x y"@d.test',
        '"no\\"q"@d.test',
        "no=?x?=@d.test",
        "no" + "x" * 60 + "@d.test",
        "no{to}%s@d.test",
        "no!b%c@d.test",
    ],
)
def test_odd_addresses_in_a_report(make_relay, make_server, sink, recipient):
    server = make_server({"RCPT": "550 5.1.1 no"})
    relay = make_relay(routes={"report.test": sink.route, "*": server.route}, outbound=QUICK)
    queue_id = submit(relay, recipient)
    wait_until(lambda: events(relay, queue_id) or relay.log_lines("bounced", id=queue_id), 10, "the bounce")
    report = reports.parse(sink.wait_for(1)[0].data)
    reports.check(report)
    assert report.failed == [recipient]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"no header at all\r\n",
        b"Subject: x\r\n",
        b"\r\n\r\n\r\n",
        b": empty name\r\n\r\nx\r\n",
        b"Subject: \xff\xfe\r\n\r\n\xff\xfe\x80 eight bits\r\n",
        b"Subject: x\r\n\r\n" + b"y" * 990 + b"\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n--b\r\n",
        b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n",
        b"Subject: x\r\n" + b"X-Fold: y\r\n" + b" z\r\n" * 200 + b"\r\nx\r\n",
    ],
    ids=[
        "empty",
        "blank",
        "no header",
        "no body",
        "blank lines",
        "odd header",
        "eight bits",
        "long line",
        "multipart",
        "dots",
        "folds",
    ],
)
@pytest.mark.parametrize("ret", ["FULL", "HDRS"])
def test_odd_originals_in_a_report(bench, sink, content, ret):
    relay = bench()
    queue_id = submit(relay, "no@d.test", content=content, parameters=f"RET={ret}")
    wait_event(relay, queue_id, "bounced")
    report = one_report(sink)
    assert report.failed == ["no@d.test"]
    if ret == "FULL" and max(content, default=0) < 128:
        assert report.original_bytes.endswith(content), report.original_bytes[-300:]
    elif ret == "FULL":
        assert report.original.get_payload(0).get_payload(decode=True) == content.split(b"\r\n\r\n")[1]
    quiet(relay, sink, 1, 0.2)


def test_the_report_tells_where_and_when(bench, sink):
    relay = bench()
    submit(relay, "no@d.test")
    report = one_report(sink)
    assert str(report.per_message["Reporting-MTA"]).replace(" ", "") == "dns;relay.test"
    assert report.message["To"] and "a@report.test" in str(report.message["To"])
    assert str(report.message["Auto-Submitted"]).startswith("auto-")
    assert re.search(r"relay\.test", str(report.message["From"]))
