"""test_dkim_rotation.py - a key takes the place of another one: by the tool and the API, over restarts, without a gap."""

import re
import subprocess

import pytest
from api import Api, token
from dns_server import DnsServer
from harness import MARTLET
from smtp_client import send_mail
from waiting import wait_until


def martlet(relay, *arguments, status=0):
    ran = subprocess.run(
        [MARTLET, *arguments, "--config", str(relay.config)], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == status, (ran.stdout, ran.stderr)
    return ran.stdout


def rotate(relay, *options, status=0):
    return martlet(relay, "dkim", "rotate", "a.test", *options, status=status)


def record(text):
    """Name and text of a record as it is printed."""
    line = text.split(" ) ", 1)[0]
    return re.search(r"(\S+)\. IN TXT", line)[1], "".join(re.findall(r'"([^"]*)"', text.split("\n;", 1)[0]))


@pytest.fixture
def house(make_relay, sink, closing):
    dns = closing(DnsServer({}))
    relay = make_relay(
        started=False,
        routes={"*": sink.address},
        files={"admin.ini": "listen = 127.0.0.1:0\n", "resolver.ini": f"forward = {dns.forward}\n"},
    )
    martlet(relay, "dkim", "generate", "a.test", "--selector", "old", "--type", "ed25519")
    return relay, sink, dns


def signed_by(relay, sink):
    """Selectors that sign a message that is sent now."""
    before = len(sink.messages)
    send_mail(relay, "a@a.test", ["b@b.test"], b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n")
    wait_until(lambda: len(sink.messages) > before, what="the mail")
    return re.findall(rb"(?<![a-z])s=([^;]+);", sink.messages[-1].data)


def test_a_key_is_replaced_without_a_gap(house):
    relay, sink, dns = house
    secret = token(relay)
    relay.start()
    assert signed_by(relay, sink) == [b"old"]
    printed = rotate(relay, "--selector", "new", "--type", "ed25519", "--keep-days", "1")
    assert "signs nothing yet" in printed
    name, text = record(printed)
    assert name == "new._domainkey.a.test"
    wait_until(lambda: "next = new" in (relay.config / "dkim.ini").read_text(), what="the new key")

    # Not before the DNS has it, and not with somebody else's.
    assert "is not in the DNS" in rotate(relay, status=75)
    dns.records[(name, "TXT")] = ["v=DKIM1; k=ed25519; p=AAAA"]
    assert "is not what the DNS has" in rotate(relay, status=75)
    assert signed_by(relay, sink) == [b"old"]
    dns.records[(name, "TXT")] = [text]
    assert "may sign" in rotate(relay, "--status")
    api = Api(relay, secret)
    shown = lambda: api.ask("GET", "/v1/dkim-rotations/a.test")[2]
    wait_until(lambda: shown()["stage"] == "prepared", what="the file to be read")
    assert shown()["signing"] == ["old"]
    assert api.ask("POST", "/v1/dkim-rotations/a.test", {"step": "finish"}, Content_Type="application/json")[0] == 409
    assert "signs from" in rotate(relay)
    wait_until(lambda: signed_by(relay, sink) == [b"new"], what="the new key to sign")
    relay.kill()
    relay.start()
    assert signed_by(relay, sink) == [b"new"]
    assert "keep the records of old" in rotate(relay)

    # The time of the old one is over.
    path = relay.config / "dkim.ini"
    path.write_text(re.sub(r"sign_from = \S+", "sign_from = 2026-01-01T00:00:00Z", path.read_text()))
    assert "take old._domainkey.a.test out of the DNS" in rotate(relay)
    assert "next" not in path.read_text() and not (relay.config / "dkim/a.test/old.pem").exists()
    wait_until(lambda: signed_by(relay, sink) == [b"new"], what="the new key alone")
    assert "no key is about to change" in rotate(relay, "--status")


def test_the_api_takes_both_steps(house):
    relay, sink, dns = house
    secret = token(relay)
    relay.start()
    api = Api(relay, secret)

    def step(body):
        return api.ask("POST", "/v1/dkim-rotations/a.test", body, Content_Type="application/json")

    assert step({"step": "switch"})[0] == 409
    status, _, found = step({"step": "prepare", "type": "ed25519", "selector": "new"})
    assert status == 200 and found["stage"] == "prepared" and found["next"][0]["publication"] == "missing"
    assert step({"step": "prepare"})[0] == 409
    assert step({"step": "switch"})[0] == 409
    published = found["next"][0]["record"]
    dns.records[(published["name"], "TXT")] = [published["value"]]

    def switched():
        status, _, found = step({"step": "switch", "sign_from": "2026-01-01T00:00:00Z", "keep_days": 365})
        return status == 200 and found["stage"] == "switched" and found["signing"] == ["new"]

    # What the resolver has heard it keeps for a moment.
    wait_until(switched, what="the change")
    assert signed_by(relay, sink) == [b"new"]
    assert step({"step": "finish"})[0] == 409
    assert api.ask("GET", "/v1/dkim-rotations/nobody.test")[0] == 404


def test_explain_says_what_doctor_says(house):
    relay, _sink, dns = house
    dns.records[("_dmarc.a.test", "TXT")] = ["v=DMARC1; p=none"]
    secret = token(relay)
    relay.start()
    api = Api(relay, secret)
    path = "/v1/explain?recipient=b@b.test&sender=x@a.test"
    assert api.ask("GET", path)[2]["bulk_rules"] is None
    status, _, way = api.ask("GET", path + "&bulk=true")
    assert status == 200, way
    found = {(one["rule"], one["state"], one["detail"]) for one in way["bulk_rules"]}
    assert ("DMARC", "good", "a.test says p=none") in found
    assert ("alignment", "good", "mail from a.test is signed by a.test") in found
    assert ("unsubscribe", "good") in {one[:2] for one in found}
    # Of somebody whom nobody signs for, and of a report.
    strange = api.ask("GET", "/v1/explain?recipient=b@b.test&sender=x@c.test&bulk=true")[2]["bulk_rules"]
    assert {(one["rule"], one["state"]) for one in strange if one["remedy"]} >= {("DMARC", "odd"), ("alignment", "odd")}
    # The address that it leaves from is looked at as doctor looks at it; one of this machine alone has no name to be judged by.
    report = api.ask("GET", "/v1/explain?recipient=b@b.test&sender=%3C%3E&bulk=true")[2]["bulk_rules"]
    assert {one["rule"] for one in report} <= {"PTR"}
    assert all(one["state"] == "skipped" for one in report if "127.0.0.1" in one["detail"])
