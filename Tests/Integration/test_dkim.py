"""test_dkim.py - signatures that others verify: dkimpy and OpenDKIM, for a thousand messages of every shape."""

import random
import re
import smtplib
import subprocess

import pytest
from harness import MARTLET
from smtp_client import send_mail
from waiting import PATIENCE, find_program, wait_until

dkim = pytest.importorskip("dkim")


def generate(config, *options):
    """Runs `martlet dkim generate`; the name of the record and its text."""
    ran = subprocess.run(
        [MARTLET, "dkim", "generate", *options, "--config", str(config)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    record = ran.stdout.split("; the key", 1)[0]
    return record.split()[0], "".join(re.findall(r'"([^"]*)"', record))


@pytest.fixture
def signing(make_relay, sink):
    """A relay with an RSA and an Ed25519 key for a.test, and the records of both."""
    relay = make_relay(routes={"*": sink.address}, started=False)
    records = dict(generate(relay.config, "a.test", "--selector", kind, "--type", kind) for kind in ("rsa", "ed25519"))
    relay.start()
    return relay, records


def verify(data, records):
    """True for every signature of a message."""
    lookup = lambda name, timeout=5: records.get(
        (name.decode() if isinstance(name, bytes) else name).rstrip(".") + ".", ""
    ).encode()
    count = len(re.findall(rb"(?mi)^dkim-signature:", data.split(b"\r\n\r\n", 1)[0]))

    def one(index):
        try:
            return dkim.DKIM(data, minkey=1024).verify(idx=index, dnsfunc=lookup)
        except dkim.ValidationError:
            return False

    return [one(index) for index in range(count)]


def message(number):
    """A message of odd shape, the same for the same number."""
    chance = random.Random(number)
    folds = ["", " ", "\r\n ", "\r\n\t", "  \r\n \t", "\t"]
    words = lambda count: (
        "".join(
            chance.choice(["word", "Grüße", "x", "=", ";", "a.b", ":"]) + chance.choice([" ", "  ", "\t", "\r\n ", ""])
            for _ in range(count)
        ).strip()
        or "w"
    )
    author = chance.choice(["a@a.test", "A <a@a.test>", '"q, <z@z.test>" <a@a.test>', "(c) a@a.test", "a@sub.a.test"])
    header = [f"From:{chance.choice(folds)}{author}", f"Subject:{chance.choice(folds)}{words(chance.randrange(1, 30))}"]
    if chance.random() < 0.5:
        header.append("To: b@b.test,\r\n c@b.test")
    if chance.random() < 0.3:
        header += ["Date: Mon, 01 Jan 2024 00:00:00 +0000", f"message-id: <{number}@a.test>"]
    if chance.random() < 0.2:
        header += ["Content-Type: text/plain;\r\n\tcharset=utf-8 ", "X-Empty:", "Cc:"]
    chance.shuffle(header)
    lines = [
        chance.choice(["", "", " ", "\t \t", ".", "..", "text", " lead", "trail  ", "a \t b", "Grüße\t", "x" * 900])
        for _ in range(chance.choice([0, 0, 1, 2, 5, 40]))
    ]
    body = "\r\n".join(lines) + chance.choice(["", "\r\n", "\r\n\r\n\r\n"])
    text = "\r\n".join(header) + "\r\n" + chance.choice(["\r\n" + body, "\r\n" + body, ""])
    return text.encode()


def test_a_thousand_messages_verify(signing, sink, tmp_path):
    relay, records = signing
    client = smtplib.SMTP(*relay.address, timeout=60)
    client.ehlo("client.test")
    count = 1000
    for number in range(count):
        assert client.mail("a@a.test")[0] == 250
        assert client.rcpt("b@b.test")[0] == 250
        data = message(number)
        if number % 3 == 0:
            middle = random.Random(number).randrange(len(data) + 1)
            client.send(b"BDAT %d\r\n" % middle + data[:middle])
            assert client.getreply()[0] == 250
            client.send(b"BDAT %d LAST\r\n" % (len(data) - middle) + data[middle:])
            assert client.getreply()[0] == 250
        else:
            client.putcmd("data")
            assert client.getreply()[0] == 354
            stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))
            client.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            assert client.getreply()[0] == 250
    client.quit()
    received = sink.wait_for(count, timeout=240)
    for _index, one in enumerate(received):
        assert verify(one.data, records) == [True, True], one.data
    opendkim(received[:count], records, tmp_path)


def opendkim(messages, records, tmp_path):
    """Verifies the RSA signatures by OpenDKIM, where it is installed: it knows no Ed25519 in Debian's version."""
    tool = find_program("opendkim")
    if tool is None:
        return
    # Its DNS is a file of keys: "selector._domainkey.domain key-record".
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name.rstrip('.')} {text}\n" for name, text in records.items()))
    settings = tmp_path / "opendkim.conf"
    settings.write_text(f"Mode v\nSyslog no\nTestPublicKeys {keys}\n")
    paths = [tmp_path / f"{number}.eml" for number in range(len(messages))]
    for path, one in zip(paths, messages):
        path.write_bytes(re.sub(rb"(?ms)^DKIM-Signature: v=1; a=ed25519.*?\r\n(?=\S)", b"", one.data, count=1))
    for at in range(0, len(paths), 100):
        batch = ",".join(map(str, paths[at : at + 100]))
        ran = subprocess.run([tool, "-x", settings, "-t", batch], capture_output=True, text=True, timeout=60 * PATIENCE)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, said
        assert len(re.findall(r"verification \(s=rsa[^\n]*succeeded", said)) == len(paths[at : at + 100]), said


def test_what_is_added_later_breaks_it(signing, sink):
    relay, records = signing
    send_mail(relay, "a@a.test", ["b@b.test"], b"From: a@a.test\r\nSubject: x\r\n\r\nbody\r\n")
    data = sink.wait_for(1)[0].data
    assert verify(data, records) == [True, True]
    assert verify(b"Subject: another\r\n" + data, records) == [False, False]
    assert verify(data + b"more\r\n", records) == [False, False]


def test_others_are_not_signed(signing, sink):
    relay, _ = signing
    for author in (b"From: c@c.test\r\n", b"", b"From: a@a.test\r\nFrom: c@c.test\r\n"):
        send_mail(relay, "a@a.test", ["b@b.test"], author + b"Subject: x\r\n\r\nbody\r\n")
    assert all(b"DKIM-Signature" not in one.data for one in sink.wait_for(3))


def test_keys_change_while_it_runs(signing, sink):
    relay, records = signing
    records.update([generate(relay.config, "a.test", "--selector", "new", "--bits", "1024")])

    def signatures():
        before = len(sink.wait_for(0))
        send_mail(relay, "a@a.test", ["b@b.test"], b"From: a@a.test\r\nSubject: x\r\n\r\nbody\r\n")
        return verify(sink.wait_for(before + 1)[-1].data, records)

    wait_until(lambda: signatures() == [True] * 3)


def test_a_key_that_all_may_read_is_refused(signing):
    relay, _ = signing
    key = relay.config / "dkim" / "a.test" / "rsa.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    ran = subprocess.run([MARTLET, "check", "--config", relay.config], capture_output=True, text=True)
    assert ran.returncode == 1 and "rsa.pem: holds a secret" in ran.stdout
    key.chmod(0o600)
