"""test_old_clients.py - clients as Debian has them through every listener, lenient and not; mail of this machine."""

import atexit
import functools
import json
import pathlib
import re
import shutil
import smtplib
import ssl
import subprocess
import tempfile

import pytest
from harness import MARTLET, environment, free_port
from peers import need, run
from scripted import Sink
from waiting import PATIENCE

USER, PASSWORD = "alice@x.test", "open-sesame"
TEXT = "From: a@x.test\nTo: b@x.test\nSubject: {}\n\none\n.\n.two\n"
BODY = b"one\r\n.\r\n.two\r\n"


class House:
    """A relay with four listeners: in the clear and inside TLS, each strict and lenient."""

    def __init__(self, make_relay, closing, authority, **how):
        self.sink = closing(Sink())
        pair = "".join(path.read_text() for path in authority.issue("relay.test"))
        self.strict, self.lenient = free_port(), free_port()
        self.strict_tls, self.lenient_tls = free_port(), free_port()
        self.relay = make_relay(
            routes={"*": self.sink.address},
            listen=[("127.0.0.1", self.strict), ("127.0.0.1", self.lenient)],
            smtp={
                "smtps_listen": f"127.0.0.1:{self.strict_tls}, 127.0.0.1:{self.lenient_tls}",
                "lenient": f"127.0.0.1:{self.lenient}, 127.0.0.1:{self.lenient_tls}, 192.0.2.0/24",
                **how.pop("smtp", {}),
            },
            files={
                "tls_key.pem": pair,
                "tls_cert.pem": pair,
                "auth_flat_file.ini": f"[users]\n{USER} = {PASSWORD}\n",
                **how.pop("files", {}),
            },
            **how,
        )

    def ways(self):
        """(port, how, lenient) for each listener and each protection; how: clear, starttls, smtps."""
        for lenient, plain, tls in ((False, self.strict, self.strict_tls), (True, self.lenient, self.lenient_tls)):
            yield plain, "clear", lenient
            yield plain, "starttls", lenient
            yield tls, "smtps", lenient


@pytest.fixture
def house(make_relay, closing, authority):
    return House(make_relay, closing, authority)


def curl(port, how, login, text, *more):
    scheme = "smtps" if how == "smtps" else "smtp"
    command = [
        "curl",
        "-sS",
        "-k",
        f"{scheme}://127.0.0.1:{port}",
        "--mail-from",
        "a@x.test",
        "--mail-rcpt",
        "b@x.test",
    ]
    command += ["--ssl-reqd"] if how == "starttls" else []
    command += ["-u", f"{USER}:{PASSWORD}"] if login else []
    return run(*command, "--upload-file", "-", *more, input=text)


def curl_crlf(port, how, login, text):
    return curl(port, how, login, text, "--crlf")


def swaks(port, how, login, text):
    command = ["swaks", "--server", "127.0.0.1", "--port", str(port), "--from", "a@x.test", "--to", "b@x.test"]
    command += {"starttls": ["--tls"], "smtps": ["--tls-on-connect"]}.get(how, [])
    command += ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD] if login else []
    return run(*command, "--data", "-", input=text)


def msmtp(port, how, login, text):
    command = ["msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--from=a@x.test"]
    if how != "clear":
        command += ["--tls=on", "--tls-certcheck=off", f"--tls-starttls={'on' if how == 'starttls' else 'off'}"]
    if login:
        command += ["--auth=plain", f"--user={USER}", f"--passwordeval=echo {PASSWORD}"]
    return run(*command, "b@x.test", input=text)


def s_nail(port, how, login, text):
    scheme = "smtps" if how == "smtps" else "smtp"
    place = f"{USER.replace('@', '%40')}:{PASSWORD}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"
    command = ["s-nail", "-:/", "-Sv15-compat", "-Sexpandaddr", "-Stls-verify=ignore"]
    options = [f"-Smta={scheme}://{place}", "-Sfrom=a@x.test", "-Ssendwait", "-SDEAD=/dev/null"]
    options += [f"-Ssmtp-auth={'plain' if login else 'none'}", *(["-Ssmtp-use-starttls"] if how == "starttls" else [])]
    head, _, body = text.partition("\n\n")
    subject = head.rpartition("Subject: ")[2]
    return run(*command, *options, "-s", subject, "b@x.test", input=body)


class Done:
    def __init__(self, returncode, words=""):
        self.returncode, self.stdout, self.stderr = returncode, words, words


def python(port, how, login, text):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    make = (lambda *a, **k: smtplib.SMTP_SSL(*a, context=context, **k)) if how == "smtps" else smtplib.SMTP
    with make("127.0.0.1", port, timeout=30 * PATIENCE) as client:
        if how == "starttls":
            client.starttls(context=context)
        if login:
            client.login(USER, PASSWORD)
        client.sendmail("a@x.test", ["b@x.test"], text)
    return Done(0)


# What a mail in PHP, in JavaScript and by nullmailer looks like; the port, the protection and the login are arguments.
PHP = """
require '{root}/usr/share/php/libphp-phpmailer/autoload.php';
[, $port, $how, $user, $password, $subject, $body] = $argv;
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP();
[$mail->Host, $mail->Port, $mail->Hostname] = ['127.0.0.1', $port, 'php.test'];
$mail->SMTPSecure = ['clear' => '', 'starttls' => 'tls', 'smtps' => 'ssl'][$how];
$mail->SMTPAutoTLS = false;
$mail->SMTPOptions = ['ssl' => ['verify_peer' => false, 'verify_peer_name' => false, 'allow_self_signed' => true]];
if ($user) [$mail->SMTPAuth, $mail->Username, $mail->Password] = [true, $user, $password];
$mail->setFrom('a@x.test');
$mail->addAddress('b@x.test');
[$mail->Subject, $mail->Body] = [$subject, $body];
$mail->send();
"""
NODE = """
const [port, how, user, pass, subject, text] = process.argv.slice(1);
const mailer = require('{root}/usr/share/nodejs/nodemailer').createTransport({{
  host: '127.0.0.1', port, secure: how === 'smtps', requireTLS: how === 'starttls', ignoreTLS: how === 'clear',
  tls: {{rejectUnauthorized: false}}, auth: user ? {{user, pass}} : undefined,
}});
mailer.sendMail({{from: 'a@x.test', to: 'b@x.test', subject, text}})
  .then(() => process.exit(0), (error) => {{ console.error(error); process.exit(1); }});
"""


@functools.cache
def unpacked(*packages):
    """A directory with the files of Debian packages that are not installed: nullmailer is no neighbour of Postfix."""
    root = tempfile.mkdtemp(prefix="martlet-clients-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    got = subprocess.run(["apt-get", "download", *packages], cwd=root, capture_output=True, text=True, timeout=300)
    if got.returncode != 0:
        return None
    for path in pathlib.Path(root).glob("*.deb"):
        subprocess.run(["dpkg", "-x", path, root], check=True, timeout=60)
    return root


def files_of(*packages):
    if not (root := unpacked(*packages)):
        pytest.skip(f"{' and '.join(packages)} cannot be had from Debian now")
    return root


def parts(text):
    head, _, body = text.partition("\n\n")
    return head.rpartition("Subject: ")[2], body


def phpmailer(port, how, login, text):
    root = files_of("libphp-phpmailer", "php8.2-cli", "php8.2-common")
    modules = [
        word
        for name in ("ctype", "iconv")
        for path in pathlib.Path(root).glob(f"usr/lib/php/2*/{name}.so")
        for word in ("-d", f"extension={path}")
    ]
    user, password = (USER, PASSWORD) if login else ("", "")
    code = PHP.replace("{root}", root)
    command = [f"{root}/usr/bin/php8.2", "-n", *modules, "-r", code, "--", str(port), how, user, password, *parts(text)]
    return run(*command)


def nodemailer(port, how, login, text):
    need("node")
    root = files_of("node-nodemailer")
    user, password = (USER, PASSWORD) if login else ("", "")
    return run("node", "-e", NODE.format(root=root), "--", str(port), how, user, password, *parts(text))


def nullmailer(port, how, login, text):
    root = files_of("nullmailer")
    options = ["--host=127.0.0.1", f"--port={port}", "--insecure", "--x509cafile=/etc/ssl/certs/ca-certificates.crt"]
    options += {"starttls": ["--starttls"], "smtps": ["--tls"]}.get(how, [])
    options += [f"--user={USER}", f"--pass={PASSWORD}"] if login else []
    with tempfile.TemporaryFile() as mail:
        mail.write(f"a@x.test\nb@x.test\n\n{text}".encode())
        mail.seek(0)
        command = ["bash", "-c", 'exec "$@" 3<&0 </dev/null', "nullmailer", f"{root}/usr/lib/nullmailer/smtp", *options]
        named = {**environment(), "HELOHOST": "null.test"}
        return subprocess.run(command, stdin=mail, capture_output=True, text=True, timeout=60 * PATIENCE, env=named)


CLIENTS = {
    "curl": (curl, False),
    "curl --crlf": (curl_crlf, True),
    "swaks": (swaks, True),
    "msmtp": (msmtp, True),
    "s-nail": (s_nail, True),
    "smtplib": (python, True),
    "PHPMailer": (phpmailer, True),
    "nodemailer": (nodemailer, True),
    "nullmailer": (nullmailer, True),
}
OF_DEBIAN = {"curl", "swaks", "msmtp", "s-nail"}


@pytest.mark.parametrize("name", CLIENTS)
def test_real_clients(house, name):
    """Through every listener, with a login and without; what is no SMTP gets in where the relay is lenient."""
    send, speaks_smtp = CLIENTS[name]
    if name.split()[0] in OF_DEBIAN:
        need(name.split()[0])
    expected = []
    for port, how, lenient in house.ways():
        for login in (False, True):
            subject = f"{how}-{'lenient' if lenient else 'strict'}-{'login' if login else 'nobody'}"
            done = send(port, how, login, TEXT.format(subject))
            taken = speaks_smtp or lenient
            assert (done.returncode == 0) == taken, f"{subject}: {done.stdout}{done.stderr}"
            if taken:
                expected.append((subject, how, login))
    house.sink.wait_for(len(expected))
    messages = house.sink.by_subject()
    for subject, how, login in expected:
        data = messages[subject][0].data
        assert b"\n" not in data.replace(b"\r\n", b"")
        assert data.partition(b"\r\n\r\n")[2].rstrip() == BODY.rstrip(), data
        # s-nail says HELO where it needs nothing of EHLO.
        with_ = b"E?SMTP" + (b"" if how == "clear" else b"S") + (b"A" if login else b"")
        assert re.search(rb" with " + with_ + rb"\s", data), subject
    house.relay.wait_log("message accepted", count=len(expected))
    mended = {line["mended"] for line in house.relay.log_lines("message accepted") if "mended" in line.keys}
    assert mended == (set() if speaks_smtp else {"line_ends"})


def conversation(port, octets):
    """What a client without manners says at once, and hears."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=20 * PATIENCE) as channel:
        reader = channel.makefile("rb")
        heard = [reader.readline()]
        for block in octets:
            channel.sendall(block)
            line = reader.readline()
            heard.append(line)
        return [line[:3].decode() for line in heard]


WILD = [
    b"HELO scanner\n",
    b"MAIL FROM:root\n",
    b"RCPT TO:b..c.@x.test\n",
    b"DATA\n",
    b"From ann Sun Nov 22 10:00:00 2026\nFrom: root (Scanner)\nBcc: secret@x.test\nSubject: wild\n\n..text\n.\n",
    b"QUIT\n",
]


def test_a_scanner(house):
    """Everything wrong at once: refused line by line, or put right and counted."""
    assert conversation(house.strict, WILD[:1])[1] == "500"
    assert conversation(house.lenient, WILD) == ["220", "250", "250", "250", "354", "250", "221"]
    (message,) = house.sink.wait_for(1)
    assert message.sender == "root@relay.test" and message.recipients == ['"b..c."@x.test']
    assert message.data.endswith(b"From: root@relay.test (Scanner)\r\nSubject: wild\r\n\r\n.text\r\n")
    assert b"secret" not in message.data and b"Sun Nov 22" not in message.data
    assert house.relay.wait_log("message accepted")["mended"] == "brackets,dots,domain,line_ends,bcc,mailbox_line"


def test_smuggling_through_a_lenient_listener(house):
    """A carrier that speaks SMTP hands on what somebody wrote: one message goes in and one goes out."""
    evil = b"one\n.\nMAIL FROM:<evil@x.test>\nRCPT TO:<c@x.test>\nDATA\ntwo\n.\r\nMAIL FROM:<evil@x.test>\r\n"
    client = smtplib.SMTP("127.0.0.1", house.lenient, timeout=20 * PATIENCE)
    client.ehlo()
    client.mail("a@x.test")
    client.rcpt("b@x.test")
    assert client.docmd("DATA")[0] == 354
    client.send(b"Subject: carried\r\n\r\n" + evil + b".\r\n")
    assert client.getreply()[0] == 250
    assert client.quit()[0] == 221
    (message,) = house.sink.wait_for(1)
    assert message.recipients == ["b@x.test"]
    assert message.data.endswith(evil.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


@pytest.fixture
def home(make_relay, closing, authority):
    """A relay whose machine has names."""
    aliases = "postmaster: root\nroot: ann@y.test, bob@y.test\n"
    return House(
        make_relay,
        closing,
        authority,
        files={"aliases": aliases},
        smtp={"local_sender": "noreply@y.test", "lenient": ""},
    )


def cron(home, text, *arguments):
    link = home.relay.directory / "sendmail"
    if not link.exists():
        link.symlink_to(shutil.which(MARTLET) or MARTLET)
    variables = {
        **environment(),
        "MARTLET_CONFIG_DIR": str(home.relay.config),
        "MARTLET_DATA_DIR": str(home.relay.data),
    }
    return subprocess.run(
        [str(link), *arguments], input=text, capture_output=True, text=True, env=variables, timeout=60
    )


def test_mail_of_this_machine(home):
    """The same mail by sendmail, by SMTP from loopback and by the API: one sender, complete addresses, the alias."""
    text = "From: root (Cron Daemon)\nTo: root\nSubject: {}\n\nhello\n"
    ran = cron(home, text.format("sendmail"), "-i", "root")
    assert ran.returncode == 0, ran.stderr
    conversation(
        home.strict,
        [b"HELO c\r\n", b"MAIL FROM:<root>\r\n", b"RCPT TO:<Root>\r\n", b"DATA\r\n"]
        + [text.format("smtp").replace("\n", "\r\n").encode() + b".\r\n", b"QUIT\r\n"],
    )
    socket = home.relay.data / "admin.sock"
    for kind, body in (
        ("message/rfc822", text.format("raw")),
        ("application/json", '{"from": "Cron <root>", "to": ["postmaster"], "subject": "json", "text": "hello"}'),
    ):
        query = "?from=root&to=postmaster" if kind.startswith("message") else ""
        ran = run(
            *("curl", "-sS", "--fail-with-body", "--unix-socket", str(socket), "-H", f"Content-Type: {kind}"),
            *("--data-binary", "@-", f"http://relay/v1/messages{query}"),
            input=body,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    for message in home.sink.wait_for(4):
        assert message.sender == "noreply@y.test"
        assert sorted(message.recipients) == ["ann@y.test", "bob@y.test"]
        head = message.data.partition(b"\r\n\r\n")[0]
        assert b"noreply@y.test" in head and b"root@localhost" not in head
        assert b"To: root@relay.test" in head or b"To: postmaster@relay.test" in head
    way = json.loads(
        run(
            "curl", "-sS", "--unix-socket", str(socket), "http://relay/v1/explain?recipient=postmaster@localhost"
        ).stdout
    )
    assert way["alias"] == ["ann@y.test", "bob@y.test"] and way["recipient"] == "ann@y.test"
    metrics = run("curl", "-sS", "--unix-socket", str(socket), "http://relay/metrics").stdout
    assert 'martlet_messages_mended_total{kind="alias"} 4' in metrics
    assert 'martlet_messages_mended_total{kind="sender"} 4' in metrics


def test_aliases_are_read_again(home):
    home.relay.write("aliases", "root: cid@y.test\n")
    home.relay.hup()
    home.relay.wait_log("configuration changed")
    assert cron(home, "Subject: again\n\nhello\n", "root").returncode == 0
    (message,) = home.sink.wait_for(1)
    assert message.recipients == ["cid@y.test"]


def test_mailx(home):
    """bsd-mailx hands in by sendmail."""
    need("bsd-mailx")
    cron(home, "Subject: none\n\n", "nobody@y.test")  # makes the link
    home.sink.wait_for(1)
    rc = home.relay.directory / "mailrc"
    rc.write_text(f"set sendmail={home.relay.directory / 'sendmail'}\n")
    variables = {
        **environment(),
        "MAILRC": str(rc),
        "MARTLET_CONFIG_DIR": str(home.relay.config),
        "MARTLET_DATA_DIR": str(home.relay.data),
    }
    ran = subprocess.run(
        ["bsd-mailx", "-n", "-s", "mailx", "root"],
        input="hello\n",
        text=True,
        capture_output=True,
        env=variables,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    message = home.sink.wait_for(2)[-1]
    assert sorted(message.recipients) == ["ann@y.test", "bob@y.test"] and b"Subject: mailx" in message.data
