"""test_milters.py - milters on the way in, by a scripted one: what it is told, what it changes, what odd answers come to."""

import subprocess

import pytest
from harness import MARTLET
from milter_peer import (
    ACCEPT,
    CONTINUE,
    DIE,
    DISCARD,
    HANG,
    PROGRESS,
    REJECT,
    TEMPFAIL,
    ScriptedMilter,
    add,
    body,
    change,
    insert,
    packet,
    quarantine,
    reply,
    texts,
)
from smtp_client import SmtpClient
from story import text
from test_dkim import generate, verify
from waiting import free_port, wait_until

OMIT = {"connect": 1, "helo": 2, "mail": 4, "rcpt": 8, "body": 0x10, "headers": 0x20, "eoh": 0x40, "data": 0x200}
END_ONLY = sum(OMIT.values())


@pytest.fixture
def make_milter(closing):
    return lambda *arguments, **how: closing(ScriptedMilter(*arguments, **how))


@pytest.fixture
def filtered(make_api, sink):
    """`filtered({"a": milter}, default="accept")`: a relay with these milters in this order, and its API."""

    def make(milters, files=None, routes=None, smtp=None, **keys):
        lines = []
        for name, milter in milters.items():
            place = milter if isinstance(milter, str) else milter.socket
            lines += [f"[{name}]", f"socket = {place}"] + [f"{key} = {value}" for key, value in keys.items()]
        return make_api(
            routes=routes or {"*": sink.route},
            smtp=smtp,
            files={"milters.ini": "\n".join(lines) + "\n", **(files or {})},
        )

    return make


def send(relay, recipients=("b@b.test",), content=None, sender="a@report.test", **how):
    """The reply to the end of a message."""
    return steps(relay, recipients, content, sender, **how)[1]


def steps(relay, recipients=("b@b.test",), content=None, sender="a@report.test", **how):
    """What is refused first, as its verb, and the reply; or `end` and the reply to the end of a message."""
    client = SmtpClient(relay.address, **how)
    try:
        greeting = client.read_reply()
        if greeting.code != 220:
            return "connect", greeting
        commands = ["EHLO client.test", f"MAIL FROM:<{sender}>"]
        for command in commands + [f"RCPT TO:<{recipient}>" for recipient in recipients]:
            answer = client.command(command)
            if answer.code != 250:
                return command[:4], answer
        assert client.command("DATA").code == 354
        client.send((content or text()) + b".\r\n")
        return "end", client.read_reply()
    finally:
        client.close()


def test_it_is_told_what_postfix_tells(filtered, make_milter, sink):
    milter = make_milter()
    relay, _ = filtered({"one": milter})
    content = b"Subject: one\r\n two\r\nX-Bare:y\r\n\r\nhello\r\n..dot\r\n"
    assert send(relay, ("b@b.test", "c@b.test"), content).code == 250
    assert [letter for letter, _ in milter.told if letter != "D"] == list("OCHMRRTLLNBE")
    connect = milter.asked("C")[0]
    assert connect.startswith(b"unknown\x004") and connect.endswith(b"127.0.0.1\0")
    assert milter.asked("H") == [b"client.test\0"]
    assert milter.asked("M") == [b"<a@report.test>\0"]
    assert milter.asked("R") == [b"<b@b.test>\0", b"<c@b.test>\0"]
    assert milter.asked("L") == [b"Subject\0one\n two\0", b"X-Bare\0y\0"]
    assert milter.asked("B") == [b"hello\r\n.dot\r\n"]
    first, mail, last = milter.macros("C"), milter.macros("M"), milter.macros("E")
    assert first["j"] == "relay.test" and first["{client_addr}"] == "127.0.0.1" and first["_"] == "unknown [127.0.0.1]"
    assert first["{daemon_name}"] == "smtp" and int(first["{client_port}"]) > 0
    assert mail["{mail_addr}"] == "a@report.test" and mail["{mail_host}"] == "report.test"
    assert milter.macros("R")["{rcpt_addr}"] == "c@b.test"
    assert last["i"] == relay.wait_log("message accepted")["id"]
    sink.wait_for(1)


def test_changes_arrive(filtered, make_milter, sink):
    milter = make_milter(
        {
            "E": [
                PROGRESS,
                add("X-Last", "one\n two\n\ninjected: no"),
                insert(0, "X-First", "1"),
                change(2, "X-Many", ""),
                change(2, "X-Many", "now the second"),
                change(1, "Subject", "other"),
                packet("e", texts("<z@report.test>")),
                packet("-", texts("<b@b.test>")),
                packet("+", texts("d@b.test")),
                CONTINUE,
            ]
        },
        omit=END_ONLY,
    )
    relay, _ = filtered({"one": milter})
    extra = b"X-Many: 1\r\nX-Many: 2\r\nx-many:  3\r\n"
    assert send(relay, ("b@b.test", "c@b.test"), text(extra=extra, body=b"as it was\r\n")).code == 250
    sink.wait_for(1)
    message = sink.messages[0]
    assert message.sender == "z@report.test" and sorted(message.recipients) == ["c@b.test", "d@b.test"]
    header, _, rest = message.data.partition(b"\r\n\r\n")
    lines = header.split(b"\r\n")
    start = lines.index(b"X-First: 1")
    assert lines[start:] == [
        b"X-First: 1",
        b"From: <a@report.test>",
        b"Subject: other",
        b"X-Many: 1",
        b"X-Many: now the second",
        b"X-Last: one",
        b" two",
        b"\tinjected: no",
    ]
    assert rest == b"as it was\r\n"


@pytest.mark.parametrize("size, blocks", [(10, 1), (60_000, 1), (60_000, 8)], ids=["short", "longer", "file"])
@pytest.mark.parametrize("old", [100, 3 << 20], ids=["from memory", "from file"])
def test_another_body_is_streamed(filtered, make_milter, sink, size, blocks, old):
    block = (b"n" * 58 + b"\r\n") * (size // 60) or b"short\r\n"
    milter = make_milter({"E": [body(block)] * blocks + [add("X-A", "b"), CONTINUE]}, omit=END_ONLY & ~OMIT["body"])
    second = make_milter(omit=END_ONLY & ~OMIT["body"])
    relay, _ = filtered({"one": milter, "two": second})
    content = text(body=(b"o" * 70 + b"\r\n") * (old // 72))
    assert send(relay, content=content).code == 250
    sink.wait_for(1)
    header, _, rest = sink.messages[0].data.partition(b"\r\n\r\n")
    assert b"X-A: b" in header and rest == block * blocks
    assert b"".join(milter.asked("B")) == content.partition(b"\r\n\r\n")[2]
    assert b"".join(second.asked("B")) == rest
    assert not list((relay.data / "queue" / "large").glob("*.eml")) or True
    wait_until(lambda: not list((relay.data / "queue" / "large").glob("*")), what="no body is left behind")


@pytest.mark.parametrize("old", [100, 3 << 20], ids=["memory", "file"])
def test_the_signature_is_over_what_milters_made(filtered, make_milter, sink, old):
    milter = make_milter({"E": [change(1, "Subject", "signed"), CONTINUE]}, omit=END_ONLY)
    relay, _ = filtered({"one": milter})
    records = dict([generate(relay.config, "report.test", "--selector", "s")])
    wait_until(lambda: relay.log_lines("configuration changed", file="dkim.ini"), what="the key")
    assert send(relay, content=text(body=(b"o" * 70 + b"\r\n") * (old // 72))).code == 250
    sink.wait_for(1)
    assert b"\r\nSubject: signed\r\n" in sink.messages[0].data
    assert verify(sink.messages[0].data, records) == [True]


@pytest.mark.parametrize(
    "answers, code, words",
    [
        ({"T": [reply("451 4.7.1 greylisted")]}, 451, "4.7.1 greylisted"),
        ({"L": [REJECT]}, 550, "5.7.1"),
        ({"N": [REJECT]}, 550, "5.7.1"),
        ({"B": [packet("4")]}, 451, "4.7.1"),
        ({"E": [add("A", "b"), reply("550-5.7.1 one\r\n550 5.7.1 two")]}, 550, "two"),
        ({"E": [reply("421 4.3.2 bye")]}, 451, "4.3.2 bye"),
    ],
)
@pytest.mark.parametrize("recipients", ["*", "b.test"], ids=["step by step", "from the recipient on"])
def test_refusals_are_heard(filtered, make_milter, sink, answers, code, words, recipients):
    how = {} if recipients == "*" else {"recipients": recipients}
    relay, _ = filtered({"one": make_milter(answers)}, **how)
    answer = send(relay)
    assert answer.code == code and words in answer.text, answer
    line = relay.wait_log("message rejected by a milter")
    assert line["milter"] == "one"
    assert not relay.log_lines("message accepted") and not sink.messages


@pytest.mark.parametrize(
    "answers, step, code, words",
    [
        ({"C": [REJECT]}, "connect", 550, "5.7.1 Command rejected"),
        ({"C": [packet("4")]}, "connect", 451, "4.7.1"),
        ({"H": [reply("554 5.7.9 no %% here")]}, "EHLO", 554, "5.7.9 no % here"),
        ({"M": [TEMPFAIL]}, "MAIL", 451, "4.7.1 Service unavailable"),
        ({"R": [REJECT]}, "RCPT", 550, "5.7.1 Command rejected"),
        ({"R": [PROGRESS, reply("450 4.2.0 greylisted")]}, "RCPT", 450, "4.2.0 greylisted"),
    ],
)
def test_a_step_is_refused_at_that_step(filtered, make_milter, sink, answers, step, code, words):
    """The second milter is told of nothing that the first refuses; with `recipients` the answer is that to the recipient."""
    second = make_milter()
    relay, _ = filtered({"one": make_milter(answers), "two": second})
    refused, answer = steps(relay)
    assert (refused, answer.code) == (step, code) and words in answer.text, (refused, answer)
    line = relay.wait_log("command rejected by a milter")
    assert line["milter"] == "one" and not second.asked(next(iter(answers)))
    relay.write("milters.ini", f"[one]\nsocket = {make_milter(answers).socket}\nrecipients = b.test\n")
    wait_until(lambda: relay.log_lines("configuration changed", file="milters.ini"), what="the change")
    refused, answer = steps(relay)
    assert refused == "RCPT" and answer.code == code, (refused, answer)


def test_a_session_is_told_once_and_goes_on_behind_a_refusal(filtered, make_milter, sink):
    """HELO, sender and recipient are asked again; the others' message goes over the same connection, told from DATA on."""
    answers = {
        "H": lambda data: [REJECT] if b"bad" in data else [CONTINUE],
        "M": lambda data: [reply("550 5.1.8 not you")] if b"bad@" in data else [CONTINUE],
        "R": lambda data: [reply("550 5.1.1 not her")] if b"bad@" in data else [CONTINUE],
    }
    milter, plain = make_milter(answers), make_milter()
    relay, _ = filtered({"one": milter, "two": plain})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        assert client.command("EHLO bad.test").code == 550
        assert client.command("MAIL FROM:<a@report.test>").code == 503
        assert client.command("EHLO good.test").code == 250
        assert client.command("MAIL FROM:<bad@report.test>").code == 550
        assert client.command("RCPT TO:<b@b.test>").code == 503
        for _ in range(2):
            assert client.command("MAIL FROM:<a@report.test>").code == 250
            assert client.command("RCPT TO:<bad@b.test>").code == 550
            assert client.command("RCPT TO:<b@b.test>").code == 250
            assert client.command("DATA").code == 354
            client.send(text() + b".\r\n")
            assert client.read_reply().code == 250
        # A message that is given up is forgotten.
        assert client.command("MAIL FROM:<a@report.test>").code == 250
        assert client.command("RSET").code == 250
        assert client.command("MAIL FROM:<a@report.test>").code == 250
    sink.wait_for(2)
    assert all(message.recipients == ["b@b.test"] for message in sink.messages)
    told = "".join(letter for letter, _ in milter.told if letter != "D")
    assert told.startswith("OCHH") and "MA" in told and milter.connections == plain.connections == 1, told
    assert told.replace("L", "").count("MRRTNBE") == 2, told
    assert "MAM" in told, told
    wait_until(lambda: milter.quits == plain.quits == 1, what="they are told of the end")


def test_accepted_and_dropped_at_a_step(filtered, make_milter, sink):
    milter = make_milter({"R": lambda data: [DISCARD] if b"drop@" in data else [ACCEPT]})
    relay, _ = filtered({"one": milter})
    assert send(relay, ("drop@b.test",)).code == 250
    relay.wait_log("message discarded by a milter")
    assert send(relay, ("b@b.test", "c@b.test")).code == 250
    sink.wait_for(1)
    assert len(milter.asked("R")) == 2 and not milter.asked("E") and len(sink.messages) == 1


def told(milter):
    return "".join(letter for letter, _ in milter.told if letter not in "DLQ")


def test_no_connection_before_there_is_something_to_say(filtered, make_milter, sink):
    """What one does not want to hear of client and HELO was learned of its first connection."""
    late = make_milter(
        {"M": lambda data: [REJECT] if b"bad@" in data else [CONTINUE]}, omit=OMIT["connect"] | OMIT["helo"]
    )
    early, silent = make_milter(), make_milter(omit=END_ONLY)
    relay, _ = filtered({"late": late, "early": early, "silent": silent})
    assert send(relay).code == 250
    assert [one.connections for one in (late, early, silent)] == [1, 1, 1]
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        assert [one.connections for one in (late, early, silent)] == [1, 2, 1]
        assert client.command("MAIL FROM:<bad@report.test>").code == 550
        assert client.command("MAIL FROM:<a@report.test>").code == 250
        assert client.command("RCPT TO:<b@b.test>").code == 250
        assert [one.connections for one in (late, early, silent)] == [2, 2, 1]
        assert client.command("DATA").code == 354
        client.send(text() + b".\r\n")
        assert client.read_reply().code == 250
    sink.wait_for(2)
    assert told(late).startswith("OMRTNBE") and "OMAMRTNBE" in told(late), told(late)


def test_one_of_some_senders_hears_of_the_session_with_the_first(filtered, make_milter, sink):
    milter = make_milter(
        {"C": lambda data: [reply("550 5.7.1 not from there")] if b"127.0.0.1" in data else [CONTINUE]}
    )
    relay, api = filtered({"one": milter}, senders="*.test")
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        assert milter.connections == 0
        client.message("a@example.org", ["b@b.test"], text())
        assert milter.connections == 0
        for _ in range(2):
            answer = client.command("MAIL FROM:<a@report.test>")
            assert answer.code == 550 and "not from there" in answer.text, answer
        client.message("a@example.org", ["b@b.test"], text())
    sink.wait_for(2)
    assert told(milter) == "OCOC" and relay.log_lines("command rejected by a milter", stage="mail")
    asked = api.ask("GET", "/v1/explain?recipient=b@b.test&sender=a@report.test")[2]
    assert asked["milters"] == [{"name": "one", "asked_at": "from_sender"}]


def test_one_of_some_recipients_hears_of_the_message_with_the_first(filtered, make_milter, sink):
    answers = {
        "M": lambda data: [reply("550 5.1.8 not you")] if b"bad@" in data else [CONTINUE],
        "R": lambda data: [reply("550 5.1.1 not her")] if b"bad@" in data else [CONTINUE],
    }
    milter = make_milter(answers)
    relay, api = filtered({"one": milter}, recipients="b.test")
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        assert client.command("MAIL FROM:<bad@report.test>").code == 250
        assert client.command("RCPT TO:<x@c.test>").code == 250
        assert milter.connections == 0
        for _ in range(2):
            assert client.command("RCPT TO:<b@b.test>").code == 550
        assert client.command("RSET").code == 250
        assert told(milter) == "OCHMAMA", told(milter)
        assert client.command("MAIL FROM:<a@report.test>").code == 250
        assert client.command("RCPT TO:<bad@b.test>").code == 550
        assert client.command("RCPT TO:<b@b.test>").code == 250
        assert client.command("RCPT TO:<x@c.test>").code == 250
        assert client.command("DATA").code == 354
        client.send(text() + b".\r\n")
        assert client.read_reply().code == 250
        # Whoever was before the first is told when all is told anew.
        client.message("a@report.test", ["y@c.test", "b@b.test"], text())
    sink.wait_for(2)
    assert told(milter).startswith("OCHMAMAMRRRTNBE") and milter.connections == 1, told(milter)
    assert "MRAMRRTNBE" in told(milter), told(milter)
    asked = api.ask("GET", "/v1/explain?recipient=b@b.test&sender=a@report.test&listener=api")[2]
    assert asked["milters"] == [{"name": "one", "asked_at": "end_of_message"}]


def test_each_message_of_a_proxy_may_be_of_another_client(filtered, make_milter, sink):
    milter = make_milter({"C": lambda data: [REJECT] if b"192.0.2.8" in data else [CONTINUE]})
    relay, _ = filtered({"one": milter}, smtp={"xforward_networks": "127.0.0.1"})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        assert milter.connections == 0
        for _ in range(2):
            client.command("XFORWARD NAME=first.test ADDR=192.0.2.7 PORT=4711 HELO=first.helo", 250)
            client.message("a@report.test", ["b@b.test"], text())
        assert milter.connections == 1 and told(milter).startswith("OCHMRTNBE"), told(milter)
        assert milter.asked("H") == [b"first.helo\0"] and b"192.0.2.7\0" in milter.asked("C")[0]
        assert milter.macros("C")["{client_name}"] == "first.test"
        client.command("XFORWARD ADDR=192.0.2.8", 250)
        assert client.command("MAIL FROM:<a@report.test>").code == 550
        assert client.command("RSET").code == 250
        client.message("a@report.test", ["b@b.test"], text())
    sink.wait_for(3)
    assert len(milter.asked("C")) == milter.connections == 3 and b"127.0.0.1\0" in milter.asked("C")[2]


def test_xclient_makes_it_another_session_for_milters(filtered, make_milter, sink):
    milter = make_milter()
    relay, _ = filtered({"one": milter}, smtp={"xclient_networks": "127.0.0.1"})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.command("XCLIENT NAME=first.test ADDR=127.0.0.9 PORT=4711 HELO=first.helo", 220)
        client.ehlo()
        client.message("a@report.test", ["b@b.test"], text())
    sink.wait_for(1)
    assert milter.connections == 2 and b"127.0.0.9\0" in milter.asked("C")[1]
    assert milter.macros("C")["{client_name}"] == "first.test" and milter.macros("C")["{client_port}"] == "4711"


def test_what_becomes_of_an_envelope_is_told_anew(filtered, make_milter, sink):
    """`rewrite.ini` makes another recipient of it: the milter forgets what it was told, and sees that one."""
    milter = make_milter()
    relay, api = filtered({"one": milter}, files={"rewrite.ini": "[recipients]\n@b.test = @c.test\n"})
    assert send(relay).code == 250
    sink.wait_for(1)
    told = "".join(letter for letter, _ in milter.told if letter not in "DL")
    assert told.startswith("OCHMRAMRTNBE") and milter.connections == 1, told
    assert milter.asked("R") == [b"<b@b.test>\0", b"<b@c.test>\0"]
    asked = api.ask("GET", "/v1/explain?recipient=b@b.test&sender=a@report.test")[2]
    assert asked["milters"] == [{"name": "one", "asked_at": "each_step"}]


def test_a_milter_that_dies_between_steps_is_asked_anew(filtered, make_milter, sink):
    milter = make_milter()
    relay, _ = filtered({"one": milter})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        assert client.command("MAIL FROM:<a@report.test>").code == 250
        milter.drop()
        assert client.command("RCPT TO:<b@b.test>").code == 250
        assert client.command("DATA").code == 354
        client.send(text() + b".\r\n")
        assert client.read_reply().code == 250
    told = "".join(letter for letter, _ in milter.told if letter not in "DL")
    assert told.startswith("OCHMOCHMRTNBE") and milter.connections == 2, told


def test_discarded_mail_is_taken_and_gone(filtered, make_milter, sink):
    relay, _ = filtered({"one": make_milter({"E": [DISCARD]})})
    assert send(relay).code == 250
    relay.wait_log("message discarded by a milter")
    assert not relay.log_lines("message accepted")


def test_quarantined_mail_is_held_and_says_why(filtered, make_milter, sink):
    relay, api = filtered({"one": make_milter({"E": [quarantine("smells"), CONTINUE]})})
    assert send(relay).code == 250
    queue_id = relay.wait_log("message accepted")["id"]
    assert "smells" in str(api.ask("GET", f"/v1/queue/{queue_id}"))
    assert not sink.messages
    assert api.ask("POST", f"/v1/queue/{queue_id}/release")[0] == 200
    sink.wait_for(1)


def test_one_recipient_that_is_not_wanted_is_reported(filtered, make_milter, make_server):
    """It hears of the one who came before the first of its own when the client has heard 250 already."""
    sink = make_server()
    milter = make_milter({"R": lambda data: [reply("550 5.1.1 not her")] if b"bad@" in data else [CONTINUE]})
    relay, _ = filtered({"one": milter}, routes={"*": sink.route}, recipients="good@b.test")
    assert send(relay, ("bad@b.test", "good@b.test")).code == 250
    sink.wait_for(2)
    by_sender = {message.sender: message for message in sink.messages}
    assert by_sender["a@report.test"].recipients == ["good@b.test"]
    report = by_sender[""]
    assert report.recipients == ["a@report.test"]
    assert b"bad@b.test" in report.data and b"not her" in report.data and b"5.1.1" in report.data
    # Whoever has nobody to tell, or comes again anyway, hears it at once.
    answer = send(relay, ("bad@b.test", "good@b.test"), sender="")
    assert answer.code == 550 and "bad@b.test" in answer.text
    milter.answers["R"] = lambda data: [TEMPFAIL] if b"bad@" in data else [CONTINUE]
    assert send(relay, ("bad@b.test", "good@b.test")).code == 451


def test_mail_by_api_passes_milters(filtered, make_milter, sink):
    milter = make_milter({"E": [add("X-A", "b"), CONTINUE]})
    _, api = filtered({"one": milter})
    message = {"from": "a@report.test", "to": ["b@b.test"], "subject": "x", "text": "hello"}
    assert api.ask("POST", "/v1/messages", message)[0] == 202
    sink.wait_for(1)
    assert b"\r\nX-A: b\r\n" in sink.messages[0].data
    assert milter.asked("C")[0].startswith(b"localhost\x004") and milter.asked("H") == [b"relay.test\0"]
    assert milter.macros("C")["{daemon_name}"] == "api"
    milter.answers["R"] = [reply("550 5.1.1 not her")]
    status, _, problem = api.ask("POST", "/v1/messages", message)
    assert status >= 400 and "b@b.test: not her" in str(problem)


@pytest.mark.parametrize("default, code", [("accept", 250), ("tempfail", 451), ("reject", 550), ("quarantine", 250)])
@pytest.mark.parametrize("trouble", ["nobody", "dies", "hangs", "floods", "smtp", "garbled", "early"])
def test_without_a_verdict_the_default_holds(filtered, make_milter, make_server, sink, default, code, trouble):
    answers = {
        "dies": {"E": [add("X-A", "b"), DIE]},
        "hangs": {"B": [HANG]},
        "floods": {"E": [PROGRESS * 10_000 + add("X-A", "b" * 60_000)] * 40},
        "garbled": {"E": [add("X A", "b"), CONTINUE]},
        "early": {"M": [add("X-A", "b"), CONTINUE]},
    }
    if trouble == "nobody":
        milter = f"inet:127.0.0.1:{free_port()}"
    elif trouble == "smtp":
        host, port = make_server().address
        milter = f"inet:{host}:{port}"
    else:
        milter = make_milter(answers[trouble])
    limits = {"command_timeout": 1, "content_timeout": 1} if trouble == "hangs" else {}
    relay, api = filtered({"one": milter}, default=default, **limits)
    assert send(relay).code == code
    said = relay.wait_log("milter gives no verdict")
    if trouble == "smtp":
        assert "an SMTP or LMTP server answers" in said["reason"], said.raw
    if default == "accept":
        sink.wait_for(1)
        assert b"X-A" not in sink.messages[0].data
    elif default == "quarantine":
        queue_id = relay.wait_log("message accepted")["id"]
        assert "milter one" in str(api.ask("GET", f"/v1/queue/{queue_id}"))
    checks = {check["name"]: check for check in api.ask("GET", "/readyz")[2]["checks"]}
    assert checks["milter_one"]["status"] == "degraded", checks


def test_one_that_fails_again_and_again_is_left_alone(filtered, make_milter, sink):
    milter = make_milter({"O": [DIE]})
    relay, api = filtered({"one": milter}, default="accept", breaker_failures=2, breaker_pause=5)
    for _ in range(4):
        assert send(relay).code == 250
    relay.wait_log("milter is left alone for a while")
    assert milter.connections == 2
    assert "left alone" in str(api.ask("GET", "/readyz"))
    assert 'martlet_milter_left_alone{milter="one"} 1' in api.ask("GET", "/metrics")[2].decode()
    del milter.answers["O"]
    wait_until(lambda: send(relay).code == 250 and relay.log_lines("milter answers again"), what="it is asked again")
    assert 'martlet_milter_failures_total{kind="skipped",milter="one"}' in api.ask("GET", "/metrics")[2].decode()


def test_connections_are_kept_for_a_client_and_dead_ones_replaced(filtered, make_milter, sink):
    milter = make_milter()
    relay, api = filtered({"one": milter}, smtp={"threads": 1})
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        for _ in range(3):
            client.message("a@report.test", ["b@b.test"], text())
        assert milter.connections == 1 and len(milter.asked("C")) == 1 and len(milter.asked("E")) == 3
        milter.drop()
        client.message("a@report.test", ["b@b.test"], text())
        assert milter.connections == 2 and not relay.log_lines("milter gives no verdict")
    # Another client gets one of its own; mail by the API is all of one.
    assert send(relay).code == 250
    assert milter.connections == 3
    message = {"from": "a@report.test", "to": ["b@b.test"], "subject": "x", "text": "hello"}
    for _ in range(3):
        assert api.ask("POST", "/v1/messages", message)[0] == 202
    assert milter.connections == 4 and len(milter.asked("C")) == 4


def test_each_sees_what_the_one_before_made(filtered, make_milter, sink, tmp_path):
    first = make_milter({"E": [add("X-A", "1"), CONTINUE]}, place=str(tmp_path / "first.sock"))
    second = make_milter({"E": [change(1, "X-A", "2"), ACCEPT]})
    third = make_milter({"C": [ACCEPT]})
    relay, _ = filtered({"one": first, "two": second, "three": third})
    assert send(relay).code == 250
    sink.wait_for(1)
    assert b"X-A\x001\0" in second.asked("L") and b"\r\nX-A: 2\r\n" in sink.messages[0].data
    assert third.connections == 1 and not third.asked("M")


def test_only_the_mail_that_it_is_for(filtered, make_milter, make_relay, sink):
    milter = make_milter({"E": [REJECT]})
    relay, _ = filtered({"one": milter}, senders="*.test", recipients="b.test, c@c.test", **{"except": "127.0.0.2"})
    assert send(relay).code == 550
    assert send(relay, ("c@c.test",)).code == 550
    assert send(relay, ("d@c.test",)).code == 250
    assert send(relay, sender="a@example.org").code == 250
    # The next file names nobody: at once nothing is asked any more.
    asked = len(milter.asked("C"))
    relay.write("milters.ini", "")
    wait_until(lambda: relay.log_lines("configuration changed", file="milters.ini"), what="the change")
    assert send(relay).code == 250
    assert len(milter.asked("C")) == asked


def test_a_client_that_leaves_leaves_nothing(filtered, make_milter, sink):
    milter = make_milter({"E": [HANG]})
    relay, _ = filtered({"one": milter})
    client = SmtpClient(relay.address)
    client.expect(220)
    for line in ("EHLO c.test", "MAIL FROM:<a@report.test>", "RCPT TO:<b@b.test>", "DATA"):
        client.command(line)
    client.send(text() + b".\r\n")
    wait_until(lambda: milter.asked("E"), what="the milter has all of it")
    client.close()
    milter.answers["E"] = [CONTINUE]
    assert send(relay).code == 250
    sink.wait_for(1)
    assert len(relay.log_lines("message accepted")) == 1


def test_check_names_what_is_wrong(tmp_path):
    (tmp_path / "milters.ini").write_text(
        "[a]\nsocket = here\n[b c]\n[d]\nsocket = unix:/x\ndefault = pass\nsokket = 1\n"
    )
    said = subprocess.run([MARTLET, "check", "--config", tmp_path], capture_output=True, text=True)
    assert said.returncode == 1
    for line in (2, 3, 6, 7):
        assert f"milters.ini:{line}" in said.stdout + said.stderr, said


def test_the_doctor_asks_each(make_milter, make_server, tmp_path):
    host, port = make_server().address
    lines = f"[good]\nsocket = {make_milter().socket}\n[gone]\nsocket = unix:{tmp_path}/none\n"
    (tmp_path / "milters.ini").write_text(
        f"{lines}[other]\nsocket = inet:{host}:{port}\n[named]\nsocket = inet:x.test:1\n"
    )
    ran = subprocess.run(
        [MARTLET, "doctor", "--config", tmp_path, "--data", tmp_path, "--probe", "none"], capture_output=True, text=True
    )
    said = {
        name: next(line for line in ran.stdout.splitlines() if f"milter {name}" in line) for name in ("good", "gone")
    }
    assert "speaks version 6" in said["good"] and "No such file" in said["gone"], ran.stdout
    assert "an SMTP or LMTP server answers" in ran.stdout and "not looked up" in ran.stdout
