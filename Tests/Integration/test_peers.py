"""test_peers.py - real programs as clients and as next hops.

Clients: swaks, smtp-source, Postfix, Python's smtplib, curl. Next hops: smtp-sink, Postfix, Dovecot LMTP, and for routing
a real authoritative name server (nsd) asked directly and through a real resolver (unbound). A missing one is a skip.
"""

import re
import smtplib
import time

import pytest
from peers import Dovecot, Nsd, Postfix, SmtpSink, Unbound, loopback_address, need, need_root, report_of, run
from scripted import Sequence, Sink
from smtp_client import added_by_relay, send_mail
from waiting import accepts, host_port, wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: peers\r\n\r\n.dot\r\n8 bit \xc3\xbc\r\n"


# ------------------------------------------------------------------------------------------------ clients


@pytest.mark.parametrize(
    "options",
    [[], ["--pipeline"], ["--protocol", "SMTP"], ["--add-header", "X-Test: 1"], ["--h-Subject", "grüße"]],
    ids=["esmtp", "pipeline", "smtp", "header", "utf8"],
)
def test_swaks_sends(make_relay, sink, options):
    swaks = need("swaks")
    relay = make_relay(routes={"*": sink.address})
    ran = run(
        swaks,
        "--server",
        relay.address[0],
        "--port",
        relay.address[1],
        "--from",
        "a@a.test",
        "--to",
        "b@b.test,c@b.test",
        "--body",
        "one\n.\n.two\nQUIT\n",
        "--helo",
        "swaks.test",
        *options,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"<[-~*]\s+250 2\.0\.0 Queued as [0-9a-z]{13}", ran.stdout), ran.stdout
    message = sink.wait_for(1)[0]
    assert (
        sorted(message.recipients) == ["b@b.test", "c@b.test"] and b"\r\none\r\n.\r\n.two\r\nQUIT\r\n" in message.data
    )
    assert not sink.violations


def test_swaks_is_refused_as_a_stranger(make_relay, sink):
    swaks = need("swaks")
    relay = make_relay(routes={"*": sink.address}, allow=["127.0.0.2"])
    ran = run(swaks, "--server", relay.address[0], "--port", relay.address[1], "--from", "a@a.test", "--to", "b@b.test")
    assert ran.returncode == 24 and "550 5.7.1" in ran.stdout, ran.stdout  # 24: no recipient accepted
    ran = run(
        swaks,
        "--server",
        relay.address[0],
        "--port",
        relay.address[1],
        "--from",
        "a@a.test",
        "--to",
        "b@b.test",
        "--local-interface",
        "127.0.0.2",
    )
    assert ran.returncode == 0, ran.stdout
    sink.wait_for(1)


@pytest.mark.parametrize("sessions,reuse", [(1, False), (10, False), (20, True), (100, True)])
def test_smtp_source_each_message_once(make_relay, sink, sessions, reuse):
    source = need("smtp-source")
    relay = make_relay(routes={"*": sink.address})
    count = 400
    options = ["-d"] if reuse else []
    ran = run(
        source,
        *options,
        "-s",
        sessions,
        "-m",
        count,
        "-l",
        2048,
        "-N",
        "-f",
        "a@a.test",
        "-t",
        "b@b.test",
        host_port(relay.address),
    )
    assert ran.returncode == 0, ran.stderr
    wait_until(lambda: sum(sink.copies().values()) >= count, 60, lambda: f"{sum(sink.copies().values())} of {count}")
    assert relay.stop() == 0
    copies = sink.copies()
    assert sum(copies.values()) == count and set(copies.values()) == {1}, "each numbered recipient once"
    assert not sink.violations
    assert len(sink.sessions) <= 100, f"{len(sink.sessions)} connections for {count} messages"


def test_smtp_source_to_smtp_sink(make_relay, closing):
    source = need("smtp-source")
    peer = closing(SmtpSink())
    relay = make_relay(routes={"*": peer.address})
    ran = run(
        source,
        "-d",
        "-s",
        10,
        "-m",
        300,
        "-l",
        10240,
        "-N",
        "-f",
        "a@a.test",
        "-t",
        "b@b.test",
        host_port(relay.address),
    )
    assert ran.returncode == 0, ran.stderr
    wait_until(
        lambda: len(relay.log_lines("message finished")) >= 300,
        60,
        lambda: f"{len(relay.log_lines('message finished'))} finished",
    )
    mails = peer.mails()
    assert len(mails) == 300
    recipients = {re.search(rb"X-Rcpt-Args: <([^>]*)>", mail)[1] for mail in mails}
    assert len(recipients) == 300


@pytest.mark.parametrize(
    "options",
    [["-8"], ["-e"], ["-h", "lost"], ["-P"], ["-p"], ["-w", "1"], ["-f", "."], ["-q", "."], ["-r", "rcpt"], ["-c"]],
    ids=lambda o: " ".join(o),
)
def test_smtp_sink_in_its_odd_moods(make_relay, closing, options):
    """smtp-sink without ESMTP, without pipelining, slow, disconnecting, failing: mail either arrives or stays queued."""
    peer = closing(SmtpSink(*options))
    relay = make_relay(routes={"b.test": peer.address, "*": closing(Sink()).address})
    queue_id = send_mail(relay, "a@a.test", "b@b.test", b"Subject: x\r\n\r\nplain\r\n")
    if options[0] == "-f":  # a hard error after the dot
        relay.wait_log("bounced", id=queue_id, timeout=20)
        assert not relay.log_lines("delivered", id=queue_id)
    elif options[0] in ("-q", "-r"):  # disconnects, or a soft error
        relay.wait_log("delivery deferred", id=queue_id, timeout=20)
        assert not relay.log_lines("bounced") and not relay.log_lines("delivered")
    else:
        relay.wait_log("delivered", id=queue_id, timeout=20)
        assert len(peer.mails()) == 1


def test_postfix_as_client(make_relay, sink, closing):
    relay = make_relay(routes={"*": sink.address})
    postfix = closing(Postfix(next_hop=relay.address))
    for number in range(20):
        send_mail(postfix.address, "a@a.test", [f"p{number}@far.test", f"q{number}@far.test"], MAIL)
    wait_until(
        lambda: len(sink.copies()) == 40, 40, lambda: f"{len(sink.copies())} of 40; {postfix.log.read_text()[-2000:]}"
    )
    assert set(sink.copies().values()) == {1} and not sink.violations
    for message in sink.messages:
        assert message.data.endswith(b"\r\n\r\n.dot\r\n8 bit \xc3\xbc\r\n")


def test_python_smtplib_as_client(make_relay, sink):
    relay = make_relay(routes={"*": sink.address})
    with smtplib.SMTP(*relay.address, local_hostname="python.test", timeout=20) as client:
        assert (
            client.sendmail(
                "a@a.test",
                ["b@b.test", "c@c.test"],
                MAIL,
                mail_options=["BODY=8BITMIME"],
                rcpt_options=["NOTIFY=FAILURE"],
            )
            == {}
        )
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@a.test", ["bad@@b.test"], MAIL)
        assert client.verify("a@a.test")[0] == 252
        assert client.help()
    sink.wait_for(1)
    wait_until(lambda: set(sink.copies()) == {"b@b.test", "c@c.test"})


def test_curl_as_client(make_relay, sink, tmp_path):
    curl = need("curl")
    relay = make_relay(routes={"*": sink.address})
    (tmp_path / "mail").write_bytes(MAIL)
    ran = run(
        curl,
        "-sS",
        f"smtp://{host_port(relay.address)}/curl.test",
        "--mail-from",
        "a@a.test",
        "--mail-rcpt",
        "b@b.test",
        "-T",
        tmp_path / "mail",
    )
    assert ran.returncode == 0, ran.stderr
    added_by_relay(sink.wait_for(1)[0].data, MAIL)


# ------------------------------------------------------------------------------------------------ next hops


def test_postfix_as_next_hop(make_relay, closing, sink):
    postfix = closing(Postfix(next_hop=sink.address))
    relay = make_relay(routes={"*": postfix.address})
    ids = [send_mail(relay, "a@a.test", [f"box{n}@local.test", f"r{n}@far.test"], MAIL) for n in range(30)]
    for queue_id in ids:
        relay.wait_log("message finished", id=queue_id, timeout=30)
    wait_until(
        lambda: len(postfix.mails()) == 30 and len(sink.copies()) == 30,
        40,
        lambda: f"{len(postfix.mails())} boxed, {len(sink.copies())} passed on",
    )
    for mail in postfix.mails():
        assert mail.endswith(b"\n\n.dot\n8 bit \xc3\xbc\n")
    assert set(sink.copies().values()) == {1}
    log = postfix.log.read_text()
    connections = len(re.findall(r"smtpd\[\d+\]: connect from", log)) - 1  # one is the test's own probe
    assert connections <= 20, f"{connections} connections for 30 messages"
    assert "improper command pipelining" not in log and "warning" not in log.lower().replace("warning: symlink", ""), (
        log[-3000:]
    )


def test_postfix_refuses_and_the_bounce_comes_back(make_relay, closing, sink):
    postfix = closing(Postfix(next_hop=sink.address))
    relay = make_relay(routes={"a.test": sink.address, "*": postfix.address})
    send_mail(relay, "sender@a.test", ["nobody@local.test", "box@local.test"], MAIL)
    message = sink.wait_for(1, 30)[0]
    _, text, _, [recipient], original = report_of(message.data)
    assert message.sender == "" and message.recipients == ["sender@a.test"]
    assert (
        "nobody@local.test" in recipient["final-recipient"]
        and recipient["action"] == "failed"
        and recipient["status"].startswith("5.1.1")
    )
    assert "550" in recipient["diagnostic-code"] and "nobody@local.test" in text
    wait_until(lambda: len(postfix.mails()) == 1, 20, "the other recipient's copy")
    assert original.get_content_type() == "message/rfc822"


def test_postfix_size_limit_is_honoured_before_data(make_relay, closing, sink):
    postfix = closing(Postfix(next_hop=sink.address, extra="message_size_limit = 20000\nvirtual_mailbox_limit = 0"))
    relay = make_relay(routes={"a.test": sink.address, "*": postfix.address})
    send_mail(
        relay,
        "sender@a.test",
        "box@local.test",
        b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + b"y" * 900 + b"\r\n" + (b"z" * 70 + b"\r\n") * 400,
    )
    _, _, _, [recipient], _ = report_of(sink.wait_for(1, 30)[0].data)
    assert recipient["status"] in ("5.3.4", "5.2.3"), recipient
    assert not postfix.mails()


def test_dovecot_lmtp(make_relay, closing):
    dovecot = closing(Dovecot())
    relay = make_relay(routes={"*": f"{host_port(dovecot.address)} using_lmtp=true"})
    ids = [send_mail(relay, "a@a.test", [f"anna{n % 3}@d.test", "bob@d.test", "carl@d.test"], MAIL) for n in range(20)]
    for queue_id in ids:
        relay.wait_log("message finished", id=queue_id, timeout=30)
    assert len(dovecot.mails("bob")) == 20 and len(dovecot.mails("carl")) == 20
    assert sum(len(dovecot.mails(f"anna{n}")) for n in range(3)) == 20
    for mail in dovecot.mails("bob"):
        assert mail.endswith(b"\n\n.dot\n8 bit \xc3\xbc\n")
    lines = relay.log_lines("delivered", id=ids[0])
    assert {line["to"] for line in lines} == {"anna0@d.test", "bob@d.test", "carl@d.test"}, (
        "an outcome for each recipient"
    )


def test_dovecot_lmtp_over_a_unix_socket(make_relay, closing):
    dovecot = closing(Dovecot())
    relay = make_relay(routes={"*": f"{dovecot.socket} using_lmtp=true"})
    send_mail(relay, "a@a.test", "bob@d.test", MAIL)
    wait_until(lambda: len(dovecot.mails("bob")) == 1, 20, "mail through the socket")


# ------------------------------------------------------------------------------------------------ a real DNS


def at_port_25():
    """A sink on port 25 of a loopback address of its own: where the MX of the DNS are sought."""
    need_root()
    for _ in range(20):
        host = loopback_address()
        if not accepts((host, 25)):
            try:
                return Sink(host=host, port=25)
            except OSError as error:
                pytest.skip(f"port 25 cannot be used here: {error}")
    raise AssertionError("no free address")


@pytest.mark.parametrize("through", ["nsd", "unbound"])
def test_routing_by_a_real_name_server(make_relay, closing, through, sink):
    first, second = closing(at_port_25()), closing(at_port_25())
    zone = f"""@ MX 20 mx2
@ MX 10 mx1
mx1 A {first.host}
mx2 A {second.host}
implicit A {second.host}
alias CNAME implicit
mxalias MX 10 tocname
tocname CNAME mx1
dead MX 10 deadmx
dead MX 20 mx2
deadmx A {loopback_address()}
null MX 0 .
void TXT nothing
"""
    server = closing(Nsd({"dns.test": zone}))
    if through == "unbound":
        server = closing(Unbound({"dns.test": server.forward}))
    relay = make_relay(routes={"a.test": sink.address}, resolver=server, outbound={"local_mx_ok": True})

    def goes(domain, peer):
        recipient = f"u@{domain}"
        send_mail(relay, "back@a.test", recipient, MAIL)
        wait_until(lambda: recipient in peer.copies(), 20, lambda: f"{recipient} at {peer.host}:\n{relay.log_tail(20)}")

    goes("dns.test", first)
    goes("implicit.dns.test", second)
    goes("alias.dns.test", second)
    goes("mxalias.dns.test", first)
    goes("dead.dns.test", second)
    for domain, statuses in (
        ("null.dns.test", ("5.1.10",)),
        ("nowhere.dns.test", ("5.1.2",)),
        ("void.dns.test", ("5.1.2", "5.4.4", "5.1.10")),
    ):
        before = len(sink.messages)
        send_mail(relay, "back@a.test", f"u@{domain}", MAIL)
        sink.wait_for(before + 1, 20)
        _, _, _, [recipient], _ = report_of(sink.messages[-1].data)
        assert domain in recipient["final-recipient"] and recipient["status"] in statuses, recipient
    # the preferred exchanger goes away: the next one takes over
    first.close()
    goes("dns.test", second)


def test_name_server_down_defers_and_recovers(make_relay, closing, sink):
    peer = closing(at_port_25())
    server = closing(Nsd({"dns.test": f"@ MX 10 mx\nmx A {peer.host}\n"}))
    port = server.port
    relay = make_relay(routes={"a.test": sink.address}, resolver=f"127.0.0.1@{port}", outbound={"local_mx_ok": True})
    server.close()
    queue_id = send_mail(relay, "back@a.test", "u@dns.test", MAIL)
    relay.wait_log("delivery deferred", id=queue_id, timeout=60)
    assert not sink.messages, "no bounce for a silent name server"


# ------------------------------------------------------------------------------------------------ grouping, reuse


def test_recipients_of_a_domain_share_a_transaction(make_relay, sink):
    relay = make_relay(routes={"*": sink.address})
    send_mail(relay, "a@a.test", [f"r{n}@b.test" for n in range(50)], MAIL)
    [message] = sink.wait_for(1)
    assert len(message.recipients) == 50


def test_always_split_gives_each_recipient_its_own(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, outbound={"always_split": True})
    send_mail(relay, "a@a.test", [f"r{n}@b.test" for n in range(20)], MAIL)
    messages = sink.wait_for(20)
    assert all(len(m.recipients) == 1 for m in messages) and len(sink.copies()) == 20


def test_more_recipients_than_a_transaction_takes(make_relay, sink):
    relay = make_relay(routes={"*": sink.address}, outbound={"recipients_per_transaction": 30})
    send_mail(relay, "a@a.test", [f"r{n}@b.test" for n in range(100)], MAIL)
    wait_until(lambda: len(sink.copies()) == 100)
    assert set(sink.copies().values()) == {1} and max(len(m.recipients) for m in sink.messages) <= 30


def test_the_peer_takes_fewer_recipients_than_offered(make_relay, make_server):
    """452 after the tenth: those taken are delivered, the rest follow, nobody twice."""

    def limit(session, _):
        return "452 4.5.3 too many" if len(session.transactions[-1].recipients) >= 10 else None

    peer = make_server({"RCPT": limit})
    relay = make_relay(routes={"*": peer.address})
    send_mail(relay, "a@a.test", [f"r{n}@b.test" for n in range(35)], MAIL)
    wait_until(lambda: len(peer.copies()) == 35, 30, lambda: f"{len(peer.copies())} of 35; {relay.log_tail(10)}")
    assert set(peer.copies().values()) == {1}


def test_sessions_are_reused(make_relay, sink):
    relay = make_relay(routes={"*": sink.address})
    with relay.session() as client:
        for number in range(100):
            client.message("a@a.test", f"r{number}@b.test", MAIL)
    sink.wait_for(100)
    assert len(sink.sessions) <= 5, f"{len(sink.sessions)} connections for 100 messages in a row"
    assert not [c for s in sink.sessions for c in s.commands if c.upper().startswith(b"EHLO")][len(sink.sessions) :], (
        "one EHLO a session"
    )


def test_messages_per_session_and_idle_limit(make_relay, sink):
    relay = make_relay(
        routes={"*": sink.address}, outbound={"messages_per_session": 5, "pool_timeout": 2, "concurrency_per_lane": 1}
    )
    with relay.session() as client:
        for number in range(22):
            client.message("a@a.test", f"r{number}@b.test", MAIL)
    sink.wait_for(22)
    assert max(len(s.transactions) for s in sink.sessions) == 5 and len(sink.sessions) >= 5
    wait_until(lambda: all(not s.is_open for s in sink.sessions), 10, "idle sessions are closed")
    assert all(s.ended == "quit" for s in sink.sessions), [s.ended for s in sink.sessions]


def test_concurrency_limits_hold(make_relay, make_server):
    slow = make_server({"DOT": lambda session, _: time.sleep(0.2) or None})
    relay = make_relay(routes={"*": slow.address}, outbound={"concurrency_per_lane": 4})
    highest = 0
    for number in range(60):
        send_mail(relay, "a@a.test", f"r{number}@b.test", MAIL)
        highest = max(highest, sum(1 for s in slow.sessions if s.is_open))
    while len(slow.messages) < 60:
        highest = max(highest, sum(1 for s in slow.sessions if s.is_open))
        time.sleep(0.01)
    assert 2 <= highest <= 4, f"{highest} sessions at once"


def test_helo_peer(make_relay, make_server):
    """A peer without EHLO gets HELO, and no extension is used."""
    for refusal in ("500 what", "502 5.5.1 no", "501 syntax", "550 no"):
        peer = make_server({"EHLO": refusal})
        relay = make_relay(routes={"*": peer.address})
        send_mail(
            relay,
            "a@a.test",
            ["r1@b.test", "r2@b.test"],
            b"Subject: x\r\n\r\nplain\r\n",
            rcpt_parameters="NOTIFY=FAILURE",
        )
        message = peer.wait_for(1)[0]
        assert message.session.helo.startswith("HELO relay.test") and message.mail_parameters == ""
        assert all(parameters == "" for _, parameters in message.offered) and not peer.violations


def test_peer_that_closes_at_ehlo_gets_helo_or_a_retry(make_relay, make_server):
    from scripted import Drop

    peer = make_server({"EHLO": Sequence(Drop(), None)})
    relay = make_relay(routes={"*": peer.address})
    send_mail(relay, "a@a.test", "r1@b.test", MAIL)
    peer.wait_for(1, 20)


@pytest.mark.parametrize(
    "capabilities",
    [
        [],
        ["SIZE 1000000"],
        ["8BITMIME"],
        ["PIPELINING"],
        ["DSN", "ENHANCEDSTATUSCODES"],
        ["pipelining", "size 5000"],
        ["AUTH PLAIN LOGIN", "AUTH=PLAIN", "STARTTLS", "CHUNKING", "X-FOO bar", ""],
        ["SIZE"],
        ["SIZE 0"],
    ],
    ids=lambda c: "+".join(c) or "none",
)
def test_only_what_is_offered_is_used(make_relay, make_server, capabilities):
    peer = make_server(capabilities=capabilities)
    relay = make_relay(routes={"*": peer.address})
    content = b"Subject: x\r\n\r\nplain\r\n"
    with relay.session() as client:
        client.mail("a@a.test", "RET=HDRS ENVID=x")
        client.rcpt("r@b.test", "NOTIFY=FAILURE ORCPT=rfc822;r@b.test")
        client.data(content)
    message = peer.wait_for(1)[0]
    added_by_relay(message.data, content)
    offered = {c.split()[0].upper() for c in capabilities if c}
    used = message.mail_parameters.upper() + " " + " ".join(p for _, p in message.offered).upper()
    assert ("SIZE=" in used) <= ("SIZE" in offered), used
    assert ("RET=" in used or "ENVID=" in used or "NOTIFY=" in used or "ORCPT=" in used) <= ("DSN" in offered), used
    assert ("BODY=" in used) <= ("8BITMIME" in offered), used
    assert not [c for c in peer.commands if re.match(rb"(?i)STARTTLS|AUTH|BDAT", c)], peer.commands
    if "PIPELINING" not in offered:
        assert not peer.violations, peer.violations


def test_without_pipelining_each_command_waits(make_relay, make_server):
    """A peer that does not offer PIPELINING must never find a second command waiting."""

    def look(session, _):
        time.sleep(0.05)
        session.no_early("a command")
        return None

    peer = make_server({"MAIL": look, "RCPT": look, "RSET": look}, capabilities=["SIZE 1000000"])
    relay = make_relay(routes={"*": peer.address})
    send_mail(relay, "a@a.test", ["r1@b.test", "r2@b.test"], MAIL.replace(b"\xc3\xbc", b"ue"))
    peer.wait_for(1)
    assert not peer.violations, peer.violations
