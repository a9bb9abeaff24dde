"""test_peers_outcomes.py - what becomes of mail at real next hops, the reports about it, and operating beside them."""

import re

import pytest
from peers import report_of
from scripted import ByRecipient, Sequence
from smtp_client import send_mail
from waiting import wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: peers\r\n\r\n.dot\r\n8 bit \xc3\xbc\r\n"


# ------------------------------------------------------------------------------------------------ outcomes


def test_mixed_outcomes_in_one_transaction(make_relay, make_server, sink):
    """One recipient taken, one refused, one put off: each gets its own fate, once."""
    peer = make_server(
        {
            "RCPT": ByRecipient(
                {
                    "no@b.test": "550 5.1.1 nobody",
                    "later@b.test": Sequence("450 4.2.1 busy", "450 4.2.1 busy", None),
                    "moved@b.test": "251 2.1.5 forwards",
                }
            )
        }
    )
    relay = make_relay(routes={"a.test": sink.address, "*": peer.address})
    queue_id = send_mail(relay, "back@a.test", ["yes@b.test", "no@b.test", "later@b.test", "moved@b.test"], MAIL)
    wait_until(
        lambda: set(peer.copies()) == {"yes@b.test", "later@b.test", "moved@b.test"},
        30,
        lambda: f"{peer.copies()}\n{relay.log_tail(20)}",
    )
    assert set(peer.copies().values()) == {1}
    [bounce] = sink.wait_for(1)
    _, _, _, [recipient], _ = report_of(bounce.data)
    assert recipient["final-recipient"].endswith("no@b.test") and recipient["status"] == "5.1.1"
    relay.wait_log("message finished", id=queue_id)
    assert {line["to"] for line in relay.log_lines("delivered", id=queue_id)} == set(peer.copies())
    assert relay.log_lines("bounced", id=queue_id, to="no@b.test") and relay.log_lines(
        "delivery deferred", id=queue_id, to="later@b.test"
    )
    assert len(sink.messages) == 1


def test_lmtp_mixed_outcomes(make_relay, make_server, sink):
    peer = make_server(
        {"DOT": ByRecipient({"no@b.test": "552 5.2.2 full", "later@b.test": Sequence("452 4.2.2 full", None)})},
        lmtp=True,
    )
    relay = make_relay(routes={"a.test": sink.address, "*": peer.route})
    send_mail(relay, "back@a.test", ["yes@b.test", "no@b.test", "later@b.test"], MAIL)
    wait_until(
        lambda: peer.copies() == {"yes@b.test": 1, "later@b.test": 1},
        20,
        lambda: f"{peer.copies()}\n{relay.log_tail(20)}",
    )
    _, _, _, [recipient], _ = report_of(sink.wait_for(1)[0].data)
    assert recipient["final-recipient"].endswith("no@b.test") and recipient["status"] == "5.2.2"
    assert all(s.helo.startswith("LHLO") for s in peer.sessions)


def test_next_host_after_failures(make_relay, make_server, sink):
    """Connection refused, 421 and 554 greetings, 4xx to MAIL: the next host of the route gets the mail at once."""
    for script in (
        {"BANNER": "421 4.3.2 busy"},
        {"BANNER": "554 5.3.2 no"},
        {"MAIL": "451 4.3.0 later"},
        {"EHLO": "421 4.3.2 bye"},
        {"DATA": "451 4.3.0 later"},
        None,
    ):
        bad = make_server(script or {})
        if script is None:
            bad.refuse()
        good = make_server()
        relay = make_relay(routes={"*": [bad.address, good.address]}, outbound={"temp_fail_intervals": "1h*5"})
        send_mail(relay, "a@a.test", "b@b.test", MAIL)
        good.wait_for(1, 10)
        assert good.copies() == {"b@b.test": 1} and not bad.messages, script


# ------------------------------------------------------------------------------------------------ delivery reports


@pytest.fixture
def bouncing(make_relay, make_server, sink):
    """A relay whose `bad.test` refuses every recipient; reports go to the sink."""
    peer = make_server(
        {"RCPT": "550 5.1.1 <no> such user & co"}, capabilities=["PIPELINING", "8BITMIME", "SIZE 1000000"]
    )

    def make(**how):
        how.setdefault("routes", {"bad.test": peer.address, "*": sink.address})
        return make_relay(**how)

    make.peer = peer
    return make


def test_report_is_complete_and_parses(bouncing, sink, check):
    relay = bouncing(
        files={
            "outbound.bounce_message": "Subject: no luck\n\npid={pid} date={date} me={me} from={from} msgid={msgid} to={to}\nreason={reason}\n"
        }
    )
    queue_id = send_mail(
        relay,
        "back@a.test",
        ["one@bad.test", "two@bad.test"],
        b"Message-ID: <orig@a.test>\r\n" + MAIL,
        parameters="ENVID=E1+2B RET=FULL",
    )
    [bounce] = sink.wait_for(1)
    message, text, envelope, recipients, original = report_of(bounce.data)
    check.equal((bounce.sender, bounce.recipients), ("", ["back@a.test"]), "envelope")
    check("back@a.test" in message["To"], f"To: {message['To']}")
    check(
        message["From"]
        and message["Date"]
        and message["Message-ID"]
        and message["Subject"]
        and message["MIME-Version"],
        "header fields",
    )
    check((message["Auto-Submitted"] or "").startswith("auto-"), "Auto-Submitted (RFC 3834)")
    check(str(relay.pid) in text or ("pid=" in text and "{pid}" not in text), f"pid: {text}")
    check("from=back@a.test" in text.replace("<", "").replace(">", ""), f"{{from}} is the original sender: {text}")
    check("to=one@bad.test" in text.replace("<", "").replace(">", ""), f"{{to}} is the first failed recipient: {text}")
    check("me=relay.test" in text, f"me: {text}")
    check("such user & co" in text, f"reason: {text}")
    check(not re.search(r"\{(pid|date|me|from|msgid|to|reason)\}", text), f"every word is filled: {text}")
    check("relay.test" in envelope["reporting-mta"] and envelope["reporting-mta"].startswith("dns;"), f"{envelope}")
    check.equal(envelope.get("original-envelope-id"), "E1+", "ENVID is given back decoded")
    check("arrival-date" in envelope, f"arrival date: {envelope}")
    check.equal(
        sorted(r["final-recipient"].split(";")[1].strip() for r in recipients),
        ["one@bad.test", "two@bad.test"],
        "recipients",
    )
    for recipient in recipients:
        check.equal((recipient["action"], recipient["status"]), ("failed", "5.1.1"), "action, status")
        check(
            recipient["diagnostic-code"].startswith("smtp;") and "550" in recipient["diagnostic-code"], f"{recipient}"
        )
        check("remote-mta" in recipient, f"remote MTA: {recipient}")
    check.equal(original.get_content_type(), "message/rfc822", "third part")
    copy = original.get_payload(0).get_payload(decode=True)
    check.equal(copy, b".dot\r\n8 bit \xc3\xbc\r\n", "copy of the entire original, in seven bits")
    check(not sink.violations, f"{sink.violations}")
    relay.wait_log("bounced", id=queue_id, to="one@bad.test")
    relay.wait_log("message finished", id=queue_id)


def test_original_recipient_is_reported(bouncing, sink):
    relay = bouncing()
    send_mail(relay, "back@a.test", "one@bad.test", MAIL, rcpt_parameters="ORCPT=rfc822;first+2Bname@old.test")
    _, _, _, [recipient], _ = report_of(sink.wait_for(1)[0].data)
    assert recipient["original-recipient"].replace(" ", "") == "rfc822;first+name@old.test", recipient


def test_ret_hdrs_returns_headers_only(bouncing, sink):
    relay = bouncing()
    send_mail(relay, "back@a.test", "one@bad.test", MAIL, parameters="RET=HDRS")
    bounce = sink.wait_for(1)[0]
    *_, original = report_of(bounce.data)
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers")
    assert b"Subject: peers" in bounce.data and b"8 bit \xc3\xbc" not in bounce.data


def test_large_original_is_cut(bouncing, sink):
    relay = bouncing(outbound={"bounce_message_bytes": 10_000})
    send_mail(relay, "back@a.test", "one@bad.test", MAIL + (b"x" * 70 + b"\r\n") * 5000)
    bounce = sink.wait_for(1)[0]
    report_of(bounce.data)
    assert len(bounce.data) < 20_000


@pytest.mark.parametrize(
    "notify,reports",
    [("NEVER", 0), ("SUCCESS", 0), ("DELAY", 0), ("FAILURE", 1), ("FAILURE,SUCCESS,DELAY", 1), ("", 1)],
)
def test_notify_on_failure(bouncing, sink, notify, reports):
    relay = bouncing()
    queue_id = send_mail(
        relay, "back@a.test", "one@bad.test", MAIL, rcpt_parameters=f"NOTIFY={notify}" if notify else ""
    )
    relay.wait_log("message finished", id=queue_id)
    send_mail(relay, "a@a.test", "marker@ok.test", MAIL)
    wait_until(lambda: "marker@ok.test" in sink.copies())
    if reports:
        wait_until(lambda: "back@a.test" in sink.copies(), 10, "the report")
    assert sink.copies().get("back@a.test", 0) == reports


def test_null_sender_is_never_bounced(bouncing, sink):
    relay = bouncing()
    queue_id = send_mail(relay, "", "one@bad.test", MAIL)
    relay.wait_log("message finished", id=queue_id)
    send_mail(relay, "a@a.test", "marker@ok.test", MAIL)
    wait_until(lambda: "marker@ok.test" in sink.copies())
    assert list(sink.copies()) == ["marker@ok.test"] and relay.log_lines("bounced", id=queue_id)


def test_a_report_that_fails_ends_there(bouncing, make_relay, sink):
    relay = bouncing()
    queue_id = send_mail(relay, "also@bad.test", "one@bad.test", MAIL)
    relay.wait_log("message finished", count=2, timeout=20)
    assert len(relay.log_lines("message accepted")) <= 2 and not sink.messages and queue_id


def test_success_report_when_the_peer_has_no_dsn(make_relay, make_server, sink):
    """RFC 3461 section 5.2.3: a relayed report, for NOTIFY=SUCCESS, from the last one who knows DSN."""
    plain = make_server(capabilities=["PIPELINING", "8BITMIME"])
    relay = make_relay(routes={"plain.test": plain.address, "*": sink.address})
    send_mail(relay, "back@a.test", ["s@plain.test"], MAIL, rcpt_parameters="NOTIFY=SUCCESS")
    plain.wait_for(1)
    _, _, _, [recipient], _ = report_of(sink.wait_for(1)[0].data)
    assert recipient["action"] in ("relayed", "delivered") and recipient["status"].startswith("2.")


def test_the_last_retry_bounces(make_relay, make_server, sink):
    peer = make_server({"MAIL": "451 4.3.0 never today"})
    relay = make_relay(
        routes={"bad.test": peer.address, "*": sink.address}, outbound={"temp_fail_intervals": "1s, 1s*2"}
    )
    queue_id = send_mail(relay, "back@a.test", "one@bad.test", MAIL)
    _, text, _, [recipient], _ = report_of(sink.wait_for(1, 30)[0].data)
    assert recipient["action"] == "failed" and recipient["status"] in ("4.3.0", "4.4.7", "5.4.7"), recipient
    assert "never today" in recipient["diagnostic-code"] + text
    assert len(relay.log_lines("delivery deferred", id=queue_id)) == 3
    assert len([c for c in peer.commands if c.startswith(b"MAIL")]) == 4


@pytest.mark.parametrize(
    "parameters,content,statuses",
    [
        ("BODY=8BITMIME", b"DKIM-Signature: v=1; d=x.test\r\n" + MAIL, ("5.6.3", "5.6.1", "5.6.0")),
        ("SMTPUTF8", b"Subject: x\r\n\r\nx\r\n", ("5.6.7", "5.6.9", "5.6.0")),
    ],
    ids=["8BITMIME", "SMTPUTF8"],
)
def test_what_the_peer_cannot_take_is_bounced(make_relay, make_server, sink, parameters, content, statuses):
    plain = make_server(capabilities=["PIPELINING"])
    relay = make_relay(routes={"plain.test": plain.address, "*": sink.address})
    address = "ü@plain.test" if parameters == "SMTPUTF8" else "s@plain.test"
    send_mail(relay, "back@a.test", [address], content, parameters=parameters)
    _, _, _, [recipient], _ = report_of(sink.wait_for(1)[0].data)
    assert recipient["status"] in statuses, recipient
    assert not plain.messages


def test_size_offered_by_the_peer_is_honoured(make_relay, make_server, sink):
    small = make_server(capabilities=["SIZE 1000"])
    relay = make_relay(routes={"small.test": small.address, "*": sink.address})
    send_mail(relay, "back@a.test", "s@small.test", MAIL + b"x" * 900 + b"\r\n" + b"y" * 900 + b"\r\n")
    _, _, _, [recipient], _ = report_of(sink.wait_for(1)[0].data)
    assert (
        recipient["status"] in ("5.3.4", "5.2.3")
        and not small.messages
        and not [c for c in small.commands if c.startswith(b"DATA")]
    )


# ------------------------------------------------------------------------------------------------ operating


def test_disabled_accepts_and_keeps_then_delivers(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, outbound={"disabled": True})
    for number in range(20):
        send_mail(relay, "a@a.test", f"r{number}@b.test", MAIL)
    assert not sink.sessions
    relay.restart()
    assert not sink.sessions, "still disabled after a restart"
    relay.outbound["disabled"] = False
    relay.write_config()
    relay.hup()
    wait_until(lambda: len(sink.copies()) == 20, 15)
    assert set(sink.copies().values()) == {1}


def test_hup_flushes_what_waits(make_relay, make_server):
    peer = make_server({"MAIL": "451 4.3.0 not now"})
    relay = make_relay(routes={"*": peer.address}, outbound={"temp_fail_intervals": "1h*10"})
    ids = [send_mail(relay, "a@a.test", f"r{number}@b.test", MAIL) for number in range(5)]
    for queue_id in ids:
        relay.wait_log("delivery deferred", id=queue_id)
    peer.heal()
    relay.hup()
    wait_until(lambda: len(peer.copies()) == 5, 10, lambda: f"{peer.copies()} {relay.log_tail(10)}")
    assert set(peer.copies().values()) == {1}


def test_title_counts(make_relay, make_server):
    peer = make_server({"MAIL": "451 4.3.0 not now"})
    relay = make_relay(routes={"*": peer.address}, outbound={"temp_fail_intervals": "1h*10"})
    for number in range(3):
        send_mail(relay, "a@a.test", f"r{number}@b.test", MAIL)
    wait_until(lambda: re.search(r"\b0/0/3\b", relay.title), 10, lambda: f"0/0/3 in {relay.title!r}")


def test_json_log(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, log_format="json")
    queue_id = send_mail(relay, 'q"uote@a.test'.replace('"', ""), '"a\\"b"@b.test', MAIL)
    line = relay.wait_log("delivered", id=queue_id)
    assert line["to"] == '"a\\"b"@b.test' and line.level == "notice" and line.time
    assert all(entry.raw.startswith("{") and entry.message for entry in relay.log), [
        e.raw for e in relay.log if not e.raw.startswith("{")
    ]


def test_sub_commands(make_relay, sink, check):
    relay = make_relay(routes={"*": sink.address})
    check.equal(relay.run("check").returncode, 0, "check of a good configuration")
    relay.write("outbound.ini", "concurrency_max = many\n")
    ran = relay.run("check")
    check.equal(ran.returncode, 1, "check of a bad one")
    check("outbound.ini:1" in ran.stdout + ran.stderr, f"names file and line: {ran.stdout + ran.stderr}")
    send_mail(relay, "a@a.test", "b@b.test", MAIL)
    sink.wait_for(1)
    check.equal(relay.stop(), 0, "stop")
    ran = relay.run("spool", "check")
    check.equal(ran.returncode, 0, f"spool check: {ran.stdout}{ran.stderr}")
