"""test_constrained_authors.py - what binds a login to its sender binds its signatures too: no tenant gets another's."""

import contextlib
import os
import smtplib
import subprocess

import pytest
from harness import MARTLET

USERS = "[users]\nalice@a.test = one two three\nbob@b.test = four five six\n"


@pytest.fixture
def tenants(make_relay, sink):
    """`tenants("constrain_sender = domain")`: a relay with users and keys of a.test and b.test."""

    def make(core):
        before = os.umask(0o077)
        try:
            users = {"auth_flat_file.ini": f"[core]\n{core}\n{USERS}"}
            relay = make_relay(routes={"*": sink.address}, allow=[], files=users, started=False)
            for domain in ("a.test", "b.test"):
                made = subprocess.run(
                    [
                        MARTLET,
                        "dkim",
                        "generate",
                        domain,
                        "--selector",
                        "s",
                        "--type",
                        "ed25519",
                        "--config",
                        relay.config,
                    ],
                    capture_output=True,
                    text=True,
                )
                assert made.returncode == 0, made.stderr
        finally:
            os.umask(before)
        return relay.start()

    return make


def submit(relay, header, sender="bob@b.test"):
    """Sends as bob of b.test; the reply to the message."""
    with contextlib.closing(smtplib.SMTP(*relay.address, timeout=30)) as client:
        client.ehlo("client.test")
        client.login("bob@b.test", "four five six")
        client.mail(sender)
        assert client.rcpt("r@r.test")[0] == 250
        return client.data(f"{header}\r\nSubject: x\r\n\r\nbody\r\n".encode())


FOREIGN = [
    "From: boss@a.test",
    "From: Bob <bob@b.test>, Boss <boss@a.test>",
    "From: bob@b.test\r\nFrom: boss@a.test",
    "from : Boss\r\n <boss@a.test>",
    'From: "bob@b.test" <boss@a.test>',
    "From: boss@sub.a.test",
    "To: nobody@a.test",
]
OWN = ["From: bob@b.test", "From: Bob <BOB@B.TEST>", "From: sales@b.test"]


@pytest.mark.parametrize("core", ["constrain_sender = domain", "constrain_sender = true"])
def test_another_tenants_key_is_not_to_be_had(tenants, sink, check, core):
    relay = tenants(core)
    for number, header in enumerate(FOREIGN):
        check.equal(submit(relay, header)[0], 250, header)
        check(b"DKIM-Signature" not in sink.wait_for(number + 1)[number].data, f"not signed: {header!r}")
    for number, header in enumerate(OWN, len(FOREIGN)):
        check.equal(submit(relay, header)[0], 250, header)
        check(b"d=b.test;" in sink.wait_for(number + 1)[number].data, f"signed: {header!r}")
    # The empty sender, which every login may use, changes nothing.
    check.equal(submit(relay, "From: boss@a.test", "")[0], 250, "null sender")
    check(b"DKIM-Signature" not in sink.wait_for(len(FOREIGN + OWN) + 1)[-1].data, "not signed for the null sender")
    check(relay.log_lines("message not signed, its author is not the login's", user="bob@b.test"), "the log says so")


def test_another_tenants_name_is_refused(tenants, sink, check):
    relay = tenants("constrain_sender = domain\nconstrain_from = refuse")
    for header in FOREIGN:
        code, text = submit(relay, header)
        check.equal((code, text), (550, b"5.7.1 From address does not belong to the login"), header)
    for header in OWN:
        check.equal(submit(relay, header)[0], 250, header)
    sink.wait_for(len(OWN))
    assert len(sink.messages) == len(OWN)


def test_without_a_constraint_the_author_signs(tenants, sink):
    relay = tenants("constrain_sender = false")
    assert submit(relay, "From: boss@a.test")[0] == 250
    assert b"d=a.test;" in sink.wait_for(1)[0].data
