"""test_hooks.py — the six hooks of the source document, answered by programs outside of the relay (hooks.ini)."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import reports
from api import Api
from harness import ROOT
from hook_program import QUICK
from scripted import ByRecipient
from smtp_client import SmtpClient
from story import events, submit, text, wait_event
from test_api import families
from tls_peers import TLSPeer
from waiting import free_port, host_port, wait_listening, wait_until


def final_reply(relay, recipient="b@b.test"):
    client = SmtpClient(relay.address)
    try:
        client.expect(220)
        client.command("EHLO client.test")
        client.command("MAIL FROM:<a@report.test>")
        client.command(f"RCPT TO:<{recipient}>")
        client.command("DATA")
        return client.command("Subject: x\r\n\r\nhello\r\n.")
    finally:
        client.close()


# ------------------------------------------------------------------------------------------------ queue_outbound


@pytest.mark.parametrize(
    "answer, code, word",
    [
        ({"code": "DENY", "message": "not today"}, 550, "not today"),
        ({"code": "DENYSOFT", "message": "come back"}, 450, "come back"),
        ({"code": "DENY"}, 550, "refused"),
        ({"code": "DENYDISCONNECT", "message": "never"}, 550, "never"),
        ({"code": "DENYSOFTDISCONNECT", "message": "busy"}, 450, "busy"),
        ({"code": "DENY", "message": "two\r\n250 lines"}, 550, "two??250 lines"),
    ],
)
def test_queue_outbound_rejects(hooked, sink, answer, code, word):
    relay, hook = hooked({"queue_outbound": answer}, routes={"*": sink.route})
    reply = final_reply(relay)
    assert reply.code == code and word in reply.text, reply
    wait_until(lambda: relay.log_lines("message rejected by a plugin"))
    assert not relay.log_lines("message accepted")
    question = hook.asked("queue_outbound")[0]["transaction"]
    assert question["mail_from"] == "a@report.test" and question["rcpt_to"] == ["b@b.test"]
    assert question["remote_ip"] == "127.0.0.1"


def test_queue_outbound_takes_over(hooked, sink):
    relay, _ = hooked({"queue_outbound": {"code": "OK"}}, routes={"*": sink.route})
    reply = final_reply(relay)
    assert reply.code == 250
    wait_until(lambda: relay.log_lines("message taken by a plugin"))
    assert not relay.log_lines("message accepted")
    assert not sink.messages


@pytest.mark.parametrize("answer", [{"code": "CONT"}, None, 204, {"code": "CONT", "message": "ignored"}])
def test_queue_outbound_lets_pass(hooked, sink, answer):
    relay, hook = hooked({"queue_outbound": answer}, routes={"*": sink.route})
    submit(relay, "b@b.test")
    sink.wait_for(1)
    assert len(hook.asked("queue_outbound")) == 1


@pytest.mark.parametrize("contents", ["header", "message"])
def test_queue_outbound_shows_the_message(hooked, sink, contents):
    relay, hook = hooked({"queue_outbound": None}, {"contents": contents}, routes={"*": sink.route})
    submit(relay, "b@b.test", content=text(body=b"hello\r\n"))
    sink.wait_for(1)
    question = hook.asked("queue_outbound")[0]
    assert question[contents].startswith("From: <a@report.test>\r\nSubject: x\r\n")
    assert ("hello" in question[contents]) == (contents == "message")


def test_notes_choose_the_source_address(hooked, sink):
    answer = {"code": "CONT", "notes": {"outbound_ip": "127.0.0.7", "outbound_helo": "seven.test", "mine": "kept"}}
    relay, hook = hooked({"queue_outbound": answer, "delivered": None}, routes={"*": sink.route})
    submit(relay, "b@b.test")
    sink.wait_for(1)
    assert sink.sessions[0].peer[0] == "127.0.0.7"
    told = wait_until(lambda: hook.asked("delivered"))[0]["hmail"]
    assert told["notes"]["mine"] == "kept" and told["todo"]["notes"]["outbound_ip"] == "127.0.0.7"


def test_the_address_is_of_the_mx_then_the_note_then_the_table_then_the_system(hooked, sink):
    note = {"code": "CONT", "notes": {"outbound_ip": "127.0.0.7"}}
    relay, _ = hooked(
        {"queue_outbound": lambda q: note if q["transaction"]["mail_from"].startswith("note") else None},
        routes={"bind.test": f"{sink.route} bind=127.0.0.4", "*": sink.route},
        files={"outbound_ip.ini": "[sender table.test]\nip = 127.0.0.3\n"},
    )
    wanted = {}
    for number, (sender, domain, address) in enumerate(
        [
            ("note@table.test", "bind.test", "127.0.0.4"),
            ("x@table.test", "bind.test", "127.0.0.4"),
            ("note@table.test", "b.test", "127.0.0.7"),
            ("note@c.test", "b.test", "127.0.0.7"),
            ("x@table.test", "b.test", "127.0.0.3"),
            ("x@c.test", "b.test", "127.0.0.1"),
        ]
    ):
        wanted[f"u{number}@{domain}"] = address
        submit(relay, f"u{number}@{domain}", sender=sender)
    messages = sink.wait_for(len(wanted))
    assert {m.recipients[0]: m.session.peer[0] for m in messages} == wanted


@pytest.mark.parametrize("hook_name", ["queue_outbound", "get_mx"])
def test_an_address_that_is_not_local_defers_with_that_reason(hooked, sink, hook_name):
    answer = {
        "queue_outbound": {"code": "CONT", "notes": {"outbound_ip": "192.0.2.7"}},
        "get_mx": {"code": "OK", "mx": {"exchange": sink.host, "port": sink.port, "bind": "192.0.2.7"}},
    }[hook_name]
    relay, _ = hooked({hook_name: answer}, routes={"*": sink.route})
    line = wait_event(relay, submit(relay, "b@b.test"), "deferred")
    assert "192.0.2.7 is not an address of this machine" in line["reply"], line.raw
    assert not sink.sessions


@pytest.mark.parametrize("how", ["starttls", "none", "garbage"])
def test_the_note_force_tls_is_kept(hooked, authority, how):
    """Encrypted or not at all, though enable_tls is off."""
    with TLSPeer(authority.issue("127.0.0.1"), how=how) as peer:
        relay, hook = hooked(
            {"queue_outbound": {"code": "CONT", "notes": {"force_tls": True}}, "send_email": None},
            routes={"*": host_port(peer.address)},
            outbound={"enable_tls": False, "tls_timeout": 2},
        )
        queue_id = submit(relay, "b@b.test")
        if how == "starttls":
            assert peer.wait_for(1)[0]["tls"]
        else:
            assert wait_event(relay, queue_id, "deferred")["stage"] == "tls"
            assert not peer.mails
        assert hook.asked("send_email")[0]["hmail"]["todo"]["force_tls"] is True


def test_pipelined_messages_wait_for_their_answers(hooked, sink):
    relay, _hook = hooked({"queue_outbound": lambda _: time.sleep(0.05)}, routes={"*": sink.route})
    message = b"MAIL FROM:<a@report.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"
    with socket.create_connection(relay.address) as raw:
        file = raw.makefile("rb")
        file.readline()
        raw.sendall(b"EHLO c.test\r\n")
        while not file.readline().startswith(b"250 "):
            pass
        for _ in range(3):
            raw.sendall(message)
            assert [file.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            raw.sendall(b"Subject: x\r\n\r\nhello\r\n.\r\nNOOP\r\n")
            assert [file.readline()[:3] for _ in range(2)] == [b"250", b"250"]
    sink.wait_for(3)


# ------------------------------------------------------------------------------------------------ send_email


def test_send_email_delays_without_counting_a_failure_and_across_a_restart(hooked, sink):
    answers = iter([{"code": "DELAY", "delay": 4}])
    relay, hook = hooked(
        {"send_email": lambda _: next(answers, None)},
        routes={"*": sink.route},
        outbound={"maxTempFailures": 1, "temp_fail_intervals": "none"},
    )
    queue_id = submit(relay, "b@b.test")
    begin = time.monotonic()
    line = wait_until(lambda: relay.log_lines("delivery delayed by a plugin"))[0]
    assert line["id"] == queue_id and line["delay_s"].startswith("4")
    relay.restart()
    sink.wait_for(1)
    assert time.monotonic() - begin > 3.5
    assert [q["hmail"]["num_failures"] for q in hook.asked("send_email")] == [0, 0]
    assert hook.asked("send_email")[0]["hmail"]["uuid"] == queue_id


def test_a_slow_hook_for_one_domain_does_not_hold_up_another(hooked, sink):
    gate = threading.Event()
    relay, _ = hooked(
        {"send_email": lambda q: gate.wait(10) and None if q["hmail"]["todo"]["domain"] == "slow.test" else None},
        routes={"*": sink.route},
    )
    for _ in range(10):
        submit(relay, "b@slow.test")
    submit(relay, "b@fast.test")
    assert sink.wait_for(1)[0].recipients == ["b@fast.test"]
    gate.set()
    sink.wait_for(11)
    assert all(count in (1, 10) for count in sink.copies().values())


# ------------------------------------------------------------------------------------------------ get_mx


@pytest.mark.parametrize("form", ["string", "object", "list"])
def test_get_mx_answers_in_every_form(hooked, sink, make_server, form):
    ip, port = sink.address
    mx = {
        "string": f"{ip}:{port}",
        "object": {"priority": 0, "exchange": ip, "port": port, "bind": "127.0.0.6"},
        "list": [{"exchange": ip, "port": port, "priority": 20}, f"{ip}:{free_port()}"],
    }[form]
    relay, hook = hooked({"get_mx": {"code": "OK", "mx": mx}}, routes={"*": "127.0.0.1:1"})
    submit(relay, ["b@b.test", "c@c.test"])
    sink.wait_for(2)
    assert {q["domain"] for q in hook.asked("get_mx")} == {"b.test", "c.test"}
    assert sink.copies() == {"b@b.test": 1, "c@c.test": 1}
    if form == "object":
        assert sink.sessions[0].peer[0] == "127.0.0.6"


@pytest.mark.parametrize("form", ["hostname", "hostname:port", "ip", "ip:port", "[v6]:port"])
def test_get_mx_strings(hooked, peer25, make_server, make_dns, form):
    """Each form of the document; a port that is not named is 25."""
    server = make_server(host="::1") if "v6" in form else make_server() if "port" in form else peer25()
    dns = make_dns({("mx.get.test", "A"): [server.host]})
    answer = form.replace("hostname", "mx.get.test").replace("ip", server.host).replace("v6", server.host)
    relay, _ = hooked(
        {"get_mx": {"code": "OK", "mx": answer.replace("port", str(server.port))}, "delivered": None}, resolver=dns
    )
    submit(relay, "b@b.test")
    assert server.wait_for(1)


def test_get_mx_list_is_tried_by_priority(hooked, make_server):
    first, second, last = (make_server(script) for script in ({"BANNER": "421 4.3.2 busy"}, {}, {}))
    mx = [
        {"exchange": last.host, "port": last.port, "priority": 30},
        {"exchange": first.host, "port": first.port, "priority": 10},
        {"exchange": second.host, "port": second.port, "priority": 20},
    ]
    relay, _ = hooked({"get_mx": {"code": "OK", "mx": mx}})
    submit(relay, "b@b.test")
    second.wait_for(1)
    assert len(first.sessions) == 1 and not last.sessions


@pytest.mark.parametrize("auth_type", [None, "LOGIN", "CRAM-MD5"])
def test_get_mx_gives_the_login(hooked, auth_type):
    with TLSPeer(how="none", users={"shop": "s3cret-word"}, clear=True) as peer:
        mx = {"exchange": peer.address[0], "port": peer.address[1], "auth_user": "shop", "auth_pass": "s3cret-word"}
        relay, hook = hooked(
            {
                "get_mx": {"code": "OK", "mx": {**mx, **({"auth_type": auth_type} if auth_type else {})}},
                "delivered": None,
                "deferred": None,
            }
        )
        submit(relay, "b@b.test")
        assert peer.wait_for(1)[0]["user"] == "shop"
        assert peer.logins == [(auth_type or "PLAIN", "shop")]
        wait_until(lambda: hook.asked("delivered"))
        assert "s3cret-word" not in json.dumps(hook.questions) + relay.log_path.read_text()


def test_get_mx_speaks_lmtp(hooked, make_server):
    server = make_server(lmtp=True)
    ip, port = server.address
    relay, hook = hooked(
        {"get_mx": {"code": "OK", "mx": {"exchange": ip, "port": port, "using_lmtp": True}}, "delivered": None}
    )
    submit(relay, "b@b.test")
    server.wait_for(1)
    assert wait_until(lambda: hook.asked("delivered"))[0]["params"]["mode"] == "LMTP"


def test_get_mx_next_leaves_it_to_the_routes(hooked, sink):
    relay, hook = hooked({"get_mx": {"code": "CONT"}}, routes={"*": sink.route})
    submit(relay, "b@b.test")
    sink.wait_for(1)
    assert len(hook.asked("get_mx")) == 1


def test_mails_of_one_answer_share_sessions(hooked, sink):
    relay, _ = hooked(
        {"get_mx": {"code": "OK", "mx": host_port(sink.address)}},
        outbound={"concurrency_per_lane": 1, "pool_timeout": 10},
    )
    for number in range(20):
        submit(relay, f"b@d{number}.test")
    sink.wait_for(20)
    assert len(sink.sessions) == 1


def test_get_mx_deny_bounces_with_its_reason(hooked, sink):
    relay, hook = hooked(
        {
            "get_mx": lambda q: {"code": "DENY", "message": "no way there"} if q["domain"] == "no.test" else None,
            "bounce": None,
        },
        routes={"report.test": sink.route},
    )
    queue_id = submit(relay, "b@no.test")
    assert "no way there" in wait_event(relay, queue_id, "bounced")["reply"]
    report = sink.wait_for(1)[0]
    assert b"no way there" in report.data
    assert hook.asked("bounce")[0]["error"]["message"].endswith("no way there")


def test_get_mx_denysoft_defers(hooked, sink):
    answers = iter([{"code": "DENYSOFT", "message": "ask again"}])
    relay, hook = hooked({"get_mx": lambda _: next(answers, None)}, routes={"*": sink.route})
    queue_id = submit(relay, "b@b.test")
    assert "ask again" in wait_event(relay, queue_id, "deferred")["reply"]
    sink.wait_for(1)
    assert [q["hmail"]["num_failures"] for q in hook.asked("get_mx")] == [0, 1]


@pytest.mark.parametrize(
    "answer, why",
    [
        ({"code": "OK"}, "no mx"),
        ({"code": "OK", "mx": "not a host!"}, "not a host"),
        ({"code": "OK", "mx": {"port": 25}}, "exchange"),
        ({"code": "OK", "mx": {"exchange": "h.test", "colour": "red"}}, "unknown property colour"),
        ({"code": "OK", "mx": {"exchange": "h.test", "auth_user": "u", "auth_pass": "@env:HOME"}}, "auth_pass"),
        ({"code": "DELAY", "delay": 5}, "no answer DELAY"),
        ({"code": "MAYBE"}, "code"),
        (b"{", "JSON"),
        (b"[" * 100000, "JSON"),
        (b"x" * 400000, "larger"),
        (500, "500"),
        (302, "302"),
    ],
    ids=range(12),
)
def test_answers_that_make_no_sense_are_logged_and_follow_the_rule(hooked, sink, answer, why):
    relay, _ = hooked({"get_mx": answer}, {"fail": "open"}, routes={"*": sink.route})
    submit(relay, "b@b.test")
    sink.wait_for(1)
    line = relay.log_lines("hook program failed")[0]
    assert line["hook"] == "get_mx" and line["plugin"] == "policy"
    assert why in line["reason"], line["reason"]


# ------------------------------------------------------------------------------------------------ deferred


def test_deferred_gets_the_real_errors_and_drops(hooked, make_server):
    """Never "tried all MXs": what each host said."""
    dead, angry = free_port(), make_server({"BANNER": "421 4.3.2 too busy"})
    relay, hook = hooked({"deferred": {"code": "OK"}}, routes={"*": f"127.0.0.1:{dead} {host_port(angry.address)}"})
    queue_id = submit(relay, "b@b.test")
    line = wait_until(lambda: relay.log_lines("dropped by a plugin"))[0]
    assert line["id"] == queue_id
    wait_until(lambda: relay.log_lines("message finished"))
    params = hook.asked("deferred")[0]["params"]
    assert "too busy" in params["err"]
    assert len(params["hosts"]) == 2
    assert "refused" in params["hosts"][0]["reason"] and str(dead) in params["hosts"][0]["host"]
    assert "too busy" in params["hosts"][1]["reason"]
    assert hook.asked("deferred")[0]["hmail"]["num_failures"] == 1
    assert params["delay"] == 1
    relay.restart()
    assert not relay.log_lines("message accepted")[1:]


def test_deferred_changes_the_delay_by_number_of_failures(hooked, make_server):
    server = make_server({"RCPT": lambda session, _: "450 4.2.1 busy"})
    relay, hook = hooked(
        {"deferred": lambda q: {"code": "DENYSOFT", "delay": q["hmail"]["num_failures"]}},
        routes={"*": server.route},
        outbound={"temp_fail_intervals": "1h*9"},
    )
    queue_id = submit(relay, "b@b.test")
    wait_until(lambda: len(hook.asked("deferred")) >= 3)
    wait_until(lambda: len(events(relay, queue_id)) >= 2)
    assert [line["delay_s"].split(".")[0] for _, line in events(relay, queue_id)][:2] == ["1", "2"]
    first = hook.asked("deferred")[0]["params"]
    assert first["delay"] == 3600 and first["rcpt"][0]["address"] == "b@b.test"
    assert first["mx"]["port"] == server.address[1]


@pytest.mark.parametrize(
    "answer",
    [
        {"code": "DENYSOFT"},
        {"code": "DENYSOFT", "delay": "plugin timeout"},
        {"code": "DENYSOFT", "delay": None},
        {"code": "DENYSOFT", "delay": -5},
        {"code": "DENYSOFT", "delay": 1e300},
        b'{"code": "DENYSOFT", "delay": NaN}',
    ],
)
def test_trap_5_a_delay_that_is_no_number_keeps_the_usual_one(hooked, make_server, answer):
    """Appendix A, trap 5: a text read as a number became a timer that never fired."""
    server = make_server({"RCPT": lambda session, _: "450 4.2.1 busy" if len(server.sessions) < 2 else None})
    relay, _ = hooked({"deferred": answer}, routes={"*": server.route})
    queue_id = submit(relay, "b@b.test")
    assert wait_event(relay, queue_id, "deferred")["delay_s"].startswith("1")
    assert relay.log_lines("hook program failed")


def test_trap_5_a_deferred_hook_that_hangs_stops_no_timer(hooked, make_server):
    """Appendix A, trap 5: a hook that timed out stopped the retry timer of all mail."""
    server = make_server({"RCPT": lambda _, to: "450 4.2.1 busy" if to.startswith("later") else None})
    relay, hook = hooked({"deferred": None}, {"timeout": 1, "breaker_failures": 0}, routes={"*": server.route})
    hook.answers["deferred"] = hook.hang
    late = submit(relay, "later@b.test")
    wait_until(lambda: hook.asked("deferred"))
    submit(relay, "now@b.test")
    server.wait_for(1)
    line = wait_event(relay, late, "deferred")
    assert line["delay_s"].startswith("1")
    wait_until(lambda: len(hook.asked("deferred")) >= 2, 20)


# ------------------------------------------------------------------------------------------------ bounce


def test_bounce_is_told_who_and_where_and_suppresses_the_report(hooked, make_server, sink):
    server = make_server({"RCPT": lambda _, to: "550 5.1.1 unknown" if to.startswith("no") else None})
    relay, hook = hooked({"bounce": {"code": "OK"}}, routes={"report.test": sink.route, "*": server.route})
    queue_id = submit(relay, ["no@b.test", "yes@b.test"])
    line = wait_event(relay, queue_id, "bounced")
    assert line["report"] == "none, suppressed by a plugin"
    wait_until(lambda: relay.log_lines("message finished"))
    error = hook.asked("bounce")[0]["error"]
    assert "unknown" in error["message"]
    assert error["mx"]["exchange"] == server.address[0] and error["mx"]["port"] == server.address[1]
    assert [r["address"] for r in error["bounced_rcpt"]] == ["no@b.test"] and error["deferred_rcpt"] == []
    assert not sink.messages


def test_bounce_after_the_last_attempt_names_the_deferred(hooked, make_server, sink):
    server = make_server({"RCPT": "450 4.2.1 busy"})
    relay, hook = hooked(
        {"bounce": {"code": "CONT"}},
        routes={"report.test": sink.route, "*": server.route},
        outbound={"temp_fail_intervals": "1s"},
    )
    submit(relay, "b@b.test")
    report = sink.wait_for(1)[0]
    reports.check(reports.parse(report.data))
    question = hook.asked("bounce")[0]
    assert [r["address"] for r in question["error"]["deferred_rcpt"]] == ["b@b.test"]
    assert question["error"]["bounced_rcpt"] == [] and question["hmail"]["num_failures"] == 2


def test_bounce_is_not_asked_about_temporary_failures(hooked, make_server):
    server = make_server({"RCPT": lambda session, _: "450 4.2.1 busy" if len(server.sessions) < 2 else None})
    relay, hook = hooked({"bounce": None, "delivered": None}, routes={"*": server.route})
    submit(relay, "b@b.test")
    server.wait_for(1)
    wait_until(lambda: hook.asked("delivered"))
    assert not hook.asked("bounce")


# ------------------------------------------------------------------------------------------------ delivered


def test_delivered_is_told_everything(hooked, sink):
    relay, hook = hooked({"delivered": {"code": "DENY"}}, routes={"*": sink.route})
    queue_id = submit(relay, ["b@b.test", "c@b.test"])
    sink.wait_for(1)
    question = wait_until(lambda: hook.asked("delivered"))[0]
    params = question["params"]
    assert (params["host"], params["ip"], params["port"]) == (sink.address[0], sink.address[0], sink.address[1])
    assert params["response"].startswith("250") and params["mode"] == "SMTP" and params["secured"] is False
    assert params["ok_recips"] == ["b@b.test", "c@b.test"] and 0 <= params["delay"] < 60
    assert question["hmail"]["uuid"] == queue_id
    assert question["hmail"]["todo"]["mail_from"] == "a@report.test"
    wait_until(lambda: relay.log_lines("message finished"))


def test_delivered_says_that_it_was_secured(hooked, authority):
    with TLSPeer(authority.issue("127.0.0.1")) as peer:
        relay, hook = hooked({"delivered": None}, routes={"*": host_port(peer.address)}, outbound={"enable_tls": True})
        submit(relay, "b@b.test")
        assert wait_until(lambda: hook.asked("delivered"))[0]["params"]["secured"] is True


def test_a_delivered_hook_that_hangs_holds_up_nothing(hooked, sink):
    relay, hook = hooked({"delivered": None}, routes={"*": sink.route})
    hook.answers["delivered"] = hook.hang
    for _ in range(60):
        submit(relay, "b@b.test")
    sink.wait_for(60)
    wait_until(lambda: len(relay.log_lines("message finished")) == 60)
    hook.released.set()


# ------------------------------------------------------------------------------------------------ rules of failure


@pytest.mark.parametrize("how", ["refuses", "hangs", "breaks"])
def test_a_program_that_is_gone_and_fail_open(hooked, sink, how):
    relay, hook = hooked(
        {"queue_outbound": None, "get_mx": None, "send_email": None},
        {"timeout": 1, "fail": "open"},
        routes={"*": sink.route},
    )
    if how == "refuses":
        hook.close()
    else:
        for name in list(hook.answers):
            hook.answers[name] = hook.hang if how == "hangs" else 500
    submit(relay, "b@b.test")
    sink.wait_for(1)
    assert {line["hook"] for line in relay.log_lines("hook program failed")} == {
        "queue_outbound",
        "get_mx",
        "send_email",
    }


def test_a_program_that_is_gone_and_fail_closed_for_reception(hooked, sink):
    relay, hook = hooked({"queue_outbound": None}, {"fail": "closed"}, routes={"*": sink.route})
    hook.close()
    assert final_reply(relay).code == 451
    hook.start()
    assert final_reply(relay).code == 250
    sink.wait_for(1)


def test_a_program_that_is_gone_and_fail_closed_for_get_mx_only(hooked, sink):
    relay, hook = hooked({"queue_outbound": None, "get_mx": None}, {"fail_get_mx": "closed"}, routes={"*": sink.route})
    hook.close()
    queue_id = submit(relay, "b@b.test")
    wait_event(relay, queue_id, "deferred")
    assert not sink.messages
    hook.start()
    sink.wait_for(1)


@pytest.mark.parametrize("how", ["refuses", "hangs", "breaks", "babbles"])
def test_get_mx_waits_for_a_program_that_is_gone(hooked, sink, how):
    """Nothing bounces because a program is down: neither at once, nor after the last failure allowed."""
    relay, hook = hooked(
        {"get_mx": {"code": "OK", "mx": sink.route}},
        {"timeout": 1, "breaker_failures": 0},
        outbound={"temp_fail_intervals": "1s*2"},
    )
    answer = hook.answers["get_mx"]
    if how == "refuses":
        hook.close()
    else:
        hook.answers["get_mx"] = {"hangs": hook.hang, "breaks": 500, "babbles": b"{"}[how]
    queue_id = submit(relay, "b@nowhere.invalid")
    wait_until(lambda: len([e for e, _ in events(relay, queue_id) if e == "deferred"]) >= 4)
    assert {e for e, _ in events(relay, queue_id)} == {"deferred"}
    line = wait_event(relay, queue_id, "deferred")
    assert "the program policy gave no answer to get_mx" in line["reply"], line.raw
    if how == "refuses":
        hook.start()
    else:
        hook.released.set()
    hook.answers["get_mx"] = answer
    assert sink.wait_for(1)[0].recipients == ["b@nowhere.invalid"]


def test_failures_of_every_hook_are_counted(make_relay, make_hook, make_server):
    """By hook and kind, and each has its line in the log; the mail goes its way all the same."""
    server = make_server({"RCPT": ByRecipient({"no@b.test": "550 5.1.1 no", "later@b.test": "450 4.2.1 later"})})
    hook = make_hook(dict.fromkeys(["queue_outbound", "send_email", "deferred", "bounce", "delivered"], 500))
    ini = hook.ini(breaker_failures=0).replace(
        "[policy]", "[ways]\nurl = http://127.0.0.1:1/\nhooks = get_mx\nfail = open\n[policy]"
    )
    relay = make_relay(
        routes={"*": server.route}, outbound=QUICK, files={"hooks.ini": ini, "admin.ini": "listen = 127.0.0.1:0\n"}
    )
    api = Api(relay)
    for name in ("yes", "no", "later"):
        submit(relay, f"{name}@b.test")
    hooks = {"queue_outbound", "send_email", "get_mx", "deferred", "bounce", "delivered"}
    wait_until(lambda: {line["hook"] for line in relay.log_lines("hook program failed")} == hooks)
    counted = {}
    for labels, value in families(api.ask("GET", "/metrics")[2])["martlet_hook_failures_total"]:
        if value:
            counted[labels] = value
    assert {f'hook="{hook}",kind="{"unreachable" if hook == "get_mx" else "useless"}"' for hook in hooks} <= set(
        counted
    )


def test_the_breaker_leaves_a_broken_program_alone_and_tries_again(hooked, sink):
    relay, hook = hooked({"queue_outbound": 500}, {"breaker_failures": 3, "breaker_pause": 2}, routes={"*": sink.route})
    for _ in range(10):
        submit(relay, "b@b.test")
    assert len(hook.questions) == 3
    assert len(relay.log_lines("hook program is left alone for a while")) == 1
    hook.answers["queue_outbound"] = None

    def asked_again():
        submit(relay, "b@b.test")
        return relay.log_lines("hook program answers again")

    wait_until(asked_again, interval=0.2)
    before = len(hook.questions)
    submit(relay, "b@b.test")
    assert len(hook.questions) == before + 1


def test_plugin_timeout_is_the_deadline_of_every_program(make_relay, make_hook, sink):
    hook = make_hook({"queue_outbound": None})
    relay = make_relay(
        started=False, routes={"*": sink.route}, files={"hooks.ini": hook.ini(timeout=40), "plugin_timeout": "10\n"}
    )
    result = relay.run("check")
    assert result.returncode == 1 and "hooks.ini" in result.stdout and "plugin_timeout" in result.stdout


def test_connections_are_kept(hooked, sink):
    relay, hook = hooked({"queue_outbound": None}, routes={"*": sink.route})
    for _ in range(30):
        submit(relay, "b@b.test")
    assert len(hook.questions) == 30
    assert hook.connections <= 4


def test_a_unix_socket(hooked, sink, tmp_path):
    relay, hook = hooked({"get_mx": None}, unix=f"/tmp/martlet-hook-{os.getpid()}.sock", routes={"*": sink.route})
    try:
        submit(relay, "b@b.test")
        sink.wait_for(1)
        assert len(hook.asked("get_mx")) == 1
    finally:
        Path(hook.unix).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ settings


def test_hooks_ini_is_read_again_and_reaches_mail_that_waits(make_relay, make_hook, sink):
    hook = make_hook({"get_mx": {"code": "OK", "mx": host_port(sink.address)}})
    relay = make_relay(routes={"*": f"127.0.0.1:{free_port()}"}, outbound=QUICK)
    queue_id = submit(relay, "b@b.test")
    wait_event(relay, queue_id, "deferred")
    relay.write("hooks.ini", hook.ini())
    sink.wait_for(1)
    relay.write("hooks.ini", "")
    wait_until(lambda: len(relay.log_lines("configuration changed")) == 2)
    other = submit(relay, "b@b.test")
    wait_event(relay, other, "deferred")
    assert all(q["hmail"]["uuid"] != other for q in hook.asked("get_mx"))


@pytest.mark.parametrize(
    "ini, word",
    [
        ("[a]\nurl = http://127.0.0.1:1/\nhooks = get_xm\n", "did you mean get_mx"),
        ("[a]\nurl = ftp://x/\nhooks = get_mx\n", "url"),
        ("[a]\nhooks = get_mx\n", "has no url"),
        ("[a]\nurl = http://127.0.0.1:1/\n", "has no hooks"),
        ("[a]\nurl = http://127.0.0.1:1/\nhooks = bounce\nfail_bounce = closed\n", "bounce"),
        ("[a]\nurl = http://127.0.0.1:1/\nhooks = get_mx\ntimeuot = 3\n", "did you mean timeout"),
    ],
    ids=range(6),
)
def test_check_says_what_is_wrong(make_relay, ini, word):
    relay = make_relay(started=False, files={"hooks.ini": ini})
    result = relay.run("check")
    assert result.returncode == 1 and "hooks.ini" in result.stdout and word in result.stdout, result.stdout


def test_the_example_plugin_is_off_unless_it_is_named(make_relay, make_server):
    server = make_server({"RCPT": "450 4.7.1 greylisted, come back later"})
    relay = make_relay(routes={"*": server.route}, outbound={"temp_fail_intervals": "1h*9"})
    assert wait_event(relay, submit(relay, "b@b.test"), "deferred")["delay_s"].startswith("3600")
    relay.write("hooks.ini", "plugins = greylist_patience\n")
    wait_until(lambda: relay.log_lines("configuration changed"))
    assert wait_event(relay, submit(relay, "b@b.test"), "deferred")["delay_s"].startswith("60")


def test_the_example_program(make_relay, sink, closing, tmp_path):
    port, table = free_port(), tmp_path / "table.json"
    table.write_text(json.dumps({"b.test": host_port(sink.address)}))
    program = subprocess.Popen([sys.executable, str(ROOT / "deploy" / "hooks" / "get_mx.py"), str(port), str(table)])
    try:
        wait_listening(("127.0.0.1", port))
        relay = make_relay(
            files={"hooks.ini": f"[table]\nurl = http://127.0.0.1:{port}/\nhooks = get_mx\n"},
            routes={"*": f"127.0.0.1:{free_port()}"},
        )
        submit(relay, "x@b.test")
        sink.wait_for(1)
        wait_event(relay, submit(relay, "x@c.test"), "deferred")
    finally:
        program.kill()
        program.wait()
