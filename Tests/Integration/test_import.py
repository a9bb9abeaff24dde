"""test_import.py - `martlet import`: what it writes is safe, passes `martlet check`, and delivers."""

import re
import subprocess
from pathlib import Path

import pytest
from harness import MARTLET, environment
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer

SECRET = "geheim:0123456789 wort"


def run(*arguments, env=None):
    return subprocess.run(
        [MARTLET, "import", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**environment(), **(env or {})},
    )


def check(directory):
    return subprocess.run(
        [MARTLET, "check", "--config", str(directory)], capture_output=True, text=True, env=environment()
    )


def postfix(place, port=587):
    place.mkdir()
    (place / "main.cf").write_text(
        f"""# A satellite.
myhostname = out.example.org
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8 [::1]/128
relayhost = [127.0.0.1]:{port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd
smtp_tls_security_level = encrypt
transport_maps = hash:/etc/postfix/transport
header_checks = regexp:/etc/postfix/header_checks
"""
    )
    (place / "sasl_passwd").write_text(f"[127.0.0.1]:{port} apikey:{SECRET}\n")
    (place / "transport").write_text("partner.example smtp:\n")
    return place


def haraka(place, port=587):
    place.mkdir()
    (place / "me").write_text("out.example.org\n")
    (place / "smtp.ini").write_text("port=2525\nnodes=cpus\n")
    (place / "smtp_forward.ini").write_text(
        f"host=127.0.0.1\nport={port}\nauth_type=plain\nauth_user=apikey\nauth_pass={SECRET}\n"
    )
    return place


def container(port=587):
    return {
        "SMTP_SERVER": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_USERNAME": "apikey",
        "SMTP_PASSWORD": SECRET,
        "SERVER_HOSTNAME": "out.example.org",
    }


def imported(kind, tmp_path, *arguments, port=587):
    if kind == "env":
        return run("env", *arguments, env=container(port))
    place = tmp_path / "theirs"
    if not place.exists():
        (postfix if kind == "postfix" else haraka)(place, port)
    return run(kind, place, *arguments)


@pytest.mark.parametrize("kind", ["postfix", "haraka", "env"])
def test_the_result_passes_the_check_and_shows_no_secret(kind, tmp_path):
    ours = tmp_path / "ours"
    dry = imported(kind, tmp_path, "--to", ours, "--dry-run")
    assert dry.returncode == 0 and not ours.exists(), dry
    done = imported(kind, tmp_path, "--to", ours)
    assert done.returncode == 0, done
    for said in (dry, done):
        assert "geheim" not in said.stdout + said.stderr
        assert "Who may relay: " in said.stdout and "left out" in said.stdout
    for path in ours.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert "geheim" not in path.read_text(), path
    secret = ours / "secrets" / "smarthost"
    assert secret.read_text() == SECRET + "\n" and secret.stat().st_mode & 0o777 == 0o600
    checked = check(ours)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("kind", ["postfix", "haraka", "env"])
def test_nothing_is_written_over_without_being_told(kind, tmp_path):
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "routes.ini").write_text("; mine\n")
    refused = imported(kind, tmp_path, "--to", ours)
    assert refused.returncode == 1 and "routes.ini" in refused.stderr, refused
    assert [path.name for path in ours.iterdir()] == ["routes.ini"] and (ours / "routes.ini").read_text() == "; mine\n"
    assert imported(kind, tmp_path, "--to", ours, "--force").returncode == 0
    assert "[*]" in (ours / "routes.ini").read_text()


def test_what_postfix_had_delivers(make_relay, tmp_path):
    with TLSPeer(Authority(tmp_path / "authority").issue("127.0.0.1"), users={"apikey": SECRET}) as peer:
        relay = make_relay(started=False)
        done = imported("postfix", tmp_path, "--to", tmp_path / "ours", port=peer.address[1])
        assert done.returncode == 0, done
        for name in ("routes.ini", "outbound.ini", "secrets/smarthost"):
            target = relay.config / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes((tmp_path / "ours" / name).read_bytes())
            target.chmod(0o600)
        relay.start()
        send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: x\r\n\r\nx\r\n")
        peer.wait_for(1)
        assert peer.logins and peer.logins[0][1] == "apikey"


SETUPS = Path(__file__).resolve().parents[1] / "Setups"


def unpacked(setup, place):
    """The files of a setup in a directory, and the lines that are expected of it."""
    parts = re.split(r"^\[\[(.+)\]\]\n", setup.read_text(), flags=re.M)[1:]
    files = dict(zip(parts[::2], parts[1::2]))
    expected = files.pop("expected").splitlines()
    place.mkdir(parents=True)
    if "tls_cert.pem" in files:  # a real one for the letter that stands there
        chain, key = Authority(place.parent / "authority").issue("out.example.org")
        files |= {"tls_cert.pem": Path(chain).read_text(), "tls_key.pem": Path(key).read_text()}
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return files, expected


@pytest.mark.parametrize("kind", ["postfix", "haraka", "env"])
def test_thirty_setups_move_by_the_command(kind, tmp_path):
    """What `import` wrote, `check` reads: it says of it what the setup is expected to come to (ImportSetupsTests says the rest)."""
    setups = sorted((SETUPS / kind).glob("*.setup"))
    assert len(setups) >= 10
    for setup in setups:
        theirs, ours = tmp_path / setup.stem / "theirs", tmp_path / setup.stem / "ours"
        files, expected = unpacked(setup, theirs)
        variables = dict(line.split("=", 1) for line in files.get("env", "").splitlines() if line)
        done = run(kind, *([] if kind == "env" else [theirs]), "--to", ours, env=variables if kind == "env" else None)
        assert done.returncode == 0, (setup.name, done)
        checked = check(ours)
        assert checked.returncode == 0, (setup.name, checked.stdout)
        for sentence in expected[-3:]:
            assert sentence in checked.stdout, (setup.name, sentence, checked.stdout)
        lost = [line for line in expected if line.startswith("lost: ")]
        assert all(line.split()[1].split(":")[0] in done.stdout for line in lost), (setup.name, lost, done.stdout)


def test_protection_that_is_lost_keeps_mail_here(tmp_path):
    place = tmp_path / "main"
    place.write_text("relayhost =\nsmtp_tls_security_level = encrypt\n")
    done = run("postfix", place, "--to", tmp_path / "ours")
    assert done.returncode == 0 and "main:2: smtp_tls_security_level: PROTECTION LOST" in done.stdout, done
    assert "delivery is disabled" in check(tmp_path / "ours").stdout


def test_what_is_not_there_is_said(tmp_path):
    for arguments in (("postfix", tmp_path / "none"), ("haraka", tmp_path / "none")):
        said = run(*arguments)
        assert said.returncode == 1 and "none" in said.stderr, said
