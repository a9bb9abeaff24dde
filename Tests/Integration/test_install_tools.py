"""test_install_tools.py — what stands around the relay: sendmail and its kin, the log in Postfix's words, unit, rules."""

import json
import re
import shutil
import smtplib
import subprocess

import pytest
from harness import MARTLET, ROOT, environment
from peers import need
from scripted import Sink
from waiting import free_port, wait_until


@pytest.fixture
def drop_in(tmp_path):
    """`drop_in(relay, "sendmail", "-t", text=…)`: the executable under another name."""

    def run(relay, name, *arguments, text="", variables=None):
        link = tmp_path / name
        if not link.exists():
            link.symlink_to(MARTLET)
        place = {"MARTLET_CONFIG_DIR": str(relay.config), "MARTLET_DATA_DIR": str(relay.data)}
        return subprocess.run(
            [str(link), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment(), **place, **(variables or {})},
        )

    return run


def one_mail(sink):
    return wait_until(lambda: sink.messages and sink.messages[-1], what="the mail")


def test_sendmail_takes_recipients_from_the_header(make_relay, closing, drop_in):
    """PHP's default: sendmail -t -i."""
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    text = (
        'To: One <one@example.com>, "Last, First" <two@example.com> (a comment)\nCc: friends: three@example.com;\n'
        "Bcc: four@example.com\nSubject: =?utf-8?q?x?=\n\nLine\n.\n..two\nend"
    )
    result = drop_in(relay, "sendmail", "-t", "-i", "-fapp@example.org", text=text)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), result
    mail = one_mail(sink)
    assert mail.sender == "app@example.org"
    recipients = sorted(address for message in sink.messages for address in message.recipients)
    assert recipients == ["four@example.com", "one@example.com", "three@example.com", "two@example.com"]
    assert b"Bcc" not in mail.data and b"From: app@example.org\r\n" in mail.data
    assert mail.data.endswith(b"Line\r\n.\r\n..two\r\nend\r\n"), mail.data


@pytest.mark.parametrize(
    "flags",
    [
        ("-oi", "-f", "cron@example.org", "-FCronDaemon", "-B8BITMIME", "-oem", "-odi"),  # cron and its variants
        ("-i", "-r", "cron@example.org", "-F", "Cron Daemon"),
        ("-ti", "-fcron@example.org"),
        ("-i", "-f", "cron@example.org", "-N", "failure", "-R", "hdrs", "--"),
    ],
)
def test_flags_of_cron_and_others_are_understood(make_relay, closing, drop_in, flags):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    result = drop_in(relay, "sendmail", *flags, "root@example.com", text="Subject: job\n\nsaid this: ä\n")
    assert result.returncode == 0, result
    mail = one_mail(sink)
    assert mail.sender == "cron@example.org" and "said this: ä".encode() in mail.data


def test_a_dot_ends_a_message_unless_told_otherwise(make_relay, closing, drop_in):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    assert drop_in(relay, "sendmail", "a@example.com", text="Subject: x\n\none\n.\ntwo\n").returncode == 0
    assert one_mail(sink).data.endswith(b"one\r\n")


def test_failures_have_the_exit_status_of_sysexits(make_relay, drop_in):
    relay = make_relay(allow=())
    result = drop_in(relay, "sendmail", "-f", "a@example.org", "b@example.com", text="Subject: x\n\n")
    assert result.returncode in (67, 69, 77) and "5.7.1" in result.stderr, result
    relay.stop()
    nowhere = {"MARTLET_DATA_DIR": "/nonexistent"}  # and so without a drop
    result = drop_in(
        relay, "sendmail", "-f", "a@example.org", "b@example.com", text="Subject: x\n\n", variables=nowhere
    )
    assert result.returncode == 75, result
    assert drop_in(relay, "sendmail", "-bd").returncode == 64
    assert drop_in(relay, "newaliases").returncode == 0


def test_smtp_on_standard_input(make_relay, closing, drop_in):
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    dialogue = (
        "EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: bs\r\n\r\n.\r\nQUIT\r\n"
    )
    result = drop_in(relay, "sendmail", "-bs", text=dialogue)
    assert result.stdout.startswith("220 ") and "\n221 " in result.stdout, result
    one_mail(sink)


def test_pflogsumm_reads_the_log(make_relay, closing):
    need("pflogsumm")
    sink = closing(Sink())
    relay = make_relay(started=False, routes={"*": sink.route})
    relay.arguments += ["--log-format", "postfix"]
    relay.start(wait=False)
    wait_until(lambda: b"ready" in relay.log_path.read_bytes(), what="ready")
    port = int(re.search(rb"127\.0\.0\.1:(\d+)", relay.log_path.read_bytes())[1])
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        for number in range(3):
            client.sendmail("app@example.org", [f"b{number}@example.com"], "Subject: x\r\n\r\nHello\r\n")
    wait_until(lambda: relay.log_path.read_bytes().count(b"removed") == 3, what="three mails")
    report = subprocess.run(["pflogsumm", str(relay.log_path)], capture_output=True, text=True).stdout
    found = re.findall(r"^ +(\d+) +(received|delivered|deferred|bounced)\b", report, re.M)
    totals = {word: int(number) for number, word in reversed(found)}
    assert (totals["received"], totals["delivered"], totals["deferred"], totals["bounced"]) == (3, 3, 0, 0), report
    assert "app@example.org" in report and "b1@example.com" in report, report


@pytest.mark.parametrize(
    "how, wanted, hidden",
    [
        ("domain", "…@example.com", "secret.person"),
        ("hash", "#", "secret.person"),
        ("full", "secret.person@example.com", "#"),
    ],
)
def test_addresses_can_be_kept_out_of_the_log(make_relay, closing, how, wanted, hidden):
    sink = closing(Sink())
    relay = make_relay(started=False, routes={"*": sink.route})
    relay.arguments += ["--log-addresses", how]
    relay.start()
    with smtplib.SMTP(*relay.address, timeout=20) as client:
        client.sendmail("secret.person@example.org", ["secret.person@example.com"], "Subject: x\r\n\r\nHello\r\n")
    one_mail(sink)
    wait_until(lambda: any(line.message == "message finished" for line in relay.log), what="the end")
    lines = "\n".join(line.raw for line in relay.log if line.message != "ready")
    assert wanted in lines and hidden not in lines, lines


def test_every_value_says_where_it_comes_from(make_relay):
    relay = make_relay(started=False)
    (relay.config / "outbound.ini").write_text("; a comment\nconcurrency_max = 9\n")
    result = subprocess.run(
        [MARTLET, "config", "show", "--origin", "--json", "--config", str(relay.config)],
        text=True,
        capture_output=True,
        env={**environment(), "MARTLET_OUTBOUND_ALWAYS_SPLIT": "yes"},
    )
    found = {(one["file"], one["key"]): one for one in json.loads(result.stdout)}
    assert found["outbound.ini", "concurrency_max"]["line"] == 2
    assert found["outbound.ini", "always_split"]["variable"] == "MARTLET_OUTBOUND_ALWAYS_SPLIT"
    assert found["outbound.ini", "concurrency_per_lane"]["origin"] == "default"


def test_the_doctor_says_what_to_do(make_relay):
    relay = make_relay(started=False, allow=("0.0.0.0/0",))
    (relay.config / "me").write_text("nodomain\n")
    result = subprocess.run(
        [MARTLET, "doctor", "--json", "--probe", "none", "--config", str(relay.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    found = {}
    for one in json.loads(result.stdout):
        found.setdefault(one["check"], []).append(one)
    assert found["open relay"][0]["state"] in ("odd", "bad") and found["open relay"][0]["fix"]
    assert found["queue"] and found["room"]


def test_the_unit_is_sound_and_hardened(tmp_path):
    need("systemd-analyze")
    unit = (ROOT / "deploy/systemd/martlet.service").read_text().replace("/usr/bin/martlet", MARTLET)
    (tmp_path / "martlet.service").write_text(unit)
    shutil.copy(ROOT / "deploy/systemd/martlet.socket", tmp_path)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "martlet.service"), str(tmp_path / "martlet.socket")],
        capture_output=True,
        text=True,
    )
    ours = [line for line in checked.stderr.splitlines() if "martlet." in line]
    assert checked.returncode == 0 and not ours, checked.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(tmp_path / "martlet.service")],
        capture_output=True,
        text=True,
    )
    exposure = float(re.search(r"Overall exposure level.*: ([\d.]+)", judged.stdout)[1])
    assert exposure <= 1.5, judged.stdout


def test_alerts_and_dashboard_are_sound():
    need("promtool")
    rules = ROOT / "deploy/prometheus/alerts.yml"
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True, capture_output=True)
    board = json.loads((ROOT / "deploy/grafana/martlet.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) > 15 and all("martlet_" in one or "process_" in one for one in expressions)


def test_the_dockerfile_keeps_its_promises():
    """No linter of Debian's knows Dockerfiles: these are the rules that matter here."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.split(None, 1) for line in joined.splitlines() if line and not line.startswith("#")]
    words = [line[0] for line in lines]
    known = {
        "FROM",
        "SHELL",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "ENV",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert set(words) <= known and words.count("FROM") == 2 and words.index("FROM") == 0
    last = dict(lines[len(words) - 1 - words[::-1].index("FROM") :])
    assert last["USER"] == "10001" and last["VOLUME"] == "/var/lib/martlet" and last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["martlet"] and json.loads(last["CMD"]) == ["serve"]
    assert '["martlet", "healthcheck"]' in last["HEALTHCHECK"]
    for word, rest in lines:
        if word == "FROM":
            assert re.match(r"\S+:[\w.-]+( AS \w+)?$", rest) and ":latest" not in rest, rest
        if word == "RUN" and "install_packages" in rest:
            assert "rm -rf /var/lib/apt/lists/*" in rest, rest
        if word == "COPY":
            for source in rest.replace("--from=build ", "").split()[:-1]:
                assert source in (".", "/out/") or (ROOT / source).exists(), source
        assert word != "ADD" and "sudo" not in rest and "curl" not in rest
    assert "install_packages run" in joined
    libraries = subprocess.run(["ldd", MARTLET], capture_output=True, text=True, check=True).stdout
    assert "libssl" in libraries and "libswift" not in libraries, (
        "the image has no toolchain: Package.swift links it in"
    )
    for name in ("compose.yaml", "compose.demo.yaml"):
        compose = (ROOT / "deploy" / name).read_text()
        assert "read_only: true" in compose and "cap_drop: [ALL]" in compose and "no-new-privileges" in compose


def test_mailq_and_postqueue_speak_as_those_of_postfix(make_relay, drop_in):
    relay = make_relay(routes={"*": f"127.0.0.1:{free_port()}"}, outbound={"temp_fail_intervals": "1h*5"})
    assert drop_in(relay, "mailq").stdout == "Mail queue is empty\n"
    assert drop_in(relay, "sendmail", "-f", "a@example.org", "b@example.com", text="Subject: x\n\n").returncode == 0
    wait_until(lambda: any(line.message == "delivery deferred" for line in relay.log), what="a deferral")
    text = drop_in(relay, "mailq").stdout
    assert text.startswith("-Queue ID-") and "a@example.org" in text and text.endswith("in 1 Request.\n"), text
    line = json.loads(drop_in(relay, "postqueue", "-j").stdout)
    assert line["queue_name"] == "deferred" and line["recipients"][0]["address"] == "b@example.com"
    assert "cannot connect" in line["recipients"][0]["delay_reason"]
    assert drop_in(relay, "postsuper", "-h", line["queue_id"]).returncode == 0
    assert json.loads(drop_in(relay, "postqueue", "-j").stdout)["queue_name"] == "hold"
    assert drop_in(relay, "postsuper", "-H", line["queue_id"]).returncode == 0
    assert drop_in(relay, "postqueue", "-f").returncode == 0
    assert drop_in(relay, "postsuper", "-d", "ALL").returncode == 0
    wait_until(lambda: drop_in(relay, "mailq").stdout == "Mail queue is empty\n", what="an empty queue")


def test_senders_of_other_domains_are_refused(make_relay):
    relay = make_relay(smtp={"allowed_sender_domains": "example.org, example.net"})
    with smtplib.SMTP(*relay.address, timeout=20) as client:
        client.ehlo("x")
        assert client.mail("a@example.net")[0] == 250 and client.rset()[0] == 250
        assert client.mail("")[0] == 250 and client.rset()[0] == 250
        assert client.mail("a@example.com")[0] == 550
