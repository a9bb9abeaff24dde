"""test_privileges.py - root is given up, sockets come from outside, no core is written."""

import os
import re
import socket
import subprocess
import sys

import pytest
from harness import MARTLET, ROOT
from peers import need_root
from smtp_client import send_mail


def status(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return {line.split(":", 1)[0]: line.split(":", 1)[1].split() for line in lines if ":" in line}


@pytest.fixture
def open_path(tmp_path):
    """pytest's directories are for their owner alone; another user has to get through."""
    path = tmp_path
    while path != path.parent and path.stat().st_uid == os.getuid() and str(path) != "/tmp":
        path.chmod(path.stat().st_mode | 0o011)
        path = path.parent
    return tmp_path


def test_root_is_given_up(make_relay, sink, open_path):
    need_root()
    relay = make_relay(routes={"*": sink.address}, smtp={"user": "nobody"})
    facts = status(relay.process.pid)
    assert "0" not in facts["Uid"] and "0" not in facts["Gid"] and "0" not in facts["Groups"]
    for thread in os.listdir(f"/proc/{relay.process.pid}/task"):
        assert "0" not in status(f"{relay.process.pid}/task/{thread}")["Uid"]
    assert int(facts["CapEff"][0], 16) == 0
    send_mail(relay, "a@a.test", ["b@b.test"], b"From: a@a.test\r\n\r\nx\r\n")
    sink.wait_for(1)
    assert "root given up" in relay.log_path.read_text()


def test_cores_are_off(make_relay, sink):
    relay = make_relay(routes={"*": sink.address})
    limits = open(f"/proc/{relay.process.pid}/limits").read()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] in (["1", "1"], ["0", "0"])


@pytest.mark.parametrize("user", ["no-such-user-here", "root"])
def test_a_wrong_user_stops_the_start(make_relay, user):
    need_root()
    relay = make_relay(started=False, smtp={"user": user})
    ran = subprocess.run(
        [MARTLET, "serve", "--config", relay.config, "--data", relay.data], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 1 and "[main] user" in ran.stderr


def test_what_only_root_can_read_stops_the_start(make_relay, open_path):
    need_root()
    relay = make_relay(started=False, smtp={"user": "nobody"}, files={"auth_flat_file.ini": "[users]\na = b\n"})
    os.chmod(relay.config / "auth_flat_file.ini", 0o600)
    ran = subprocess.run(
        [MARTLET, "serve", "--config", relay.config, "--data", relay.data], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 1 and "auth_flat_file.ini" in ran.stderr


@pytest.mark.parametrize(
    "mode, password, is_refused", [(0o644, "secret", True), (0o640, "secret", False), (0o644, "@file:password", False)]
)
def test_a_password_that_all_may_read_is_refused(make_relay, mode, password, is_refused):
    relay = make_relay(
        started=False,
        routes={"*": {"mx": ["127.0.0.1:25"], "auth_user": "u", "auth_pass": password}},
        files={"password": "secret\n"},
    )
    (relay.config / "routes.ini").chmod(mode)
    ran = relay.run("check")
    assert ran.returncode == (1 if is_refused else 0), ran.stdout
    assert ("routes.ini: holds a secret and everybody may read or change it (mode 644)" in ran.stdout) == is_refused


@pytest.mark.parametrize("text, reason", [(None, "there is no file"), ("nothing of the kind", "no PEM certificate")])
def test_check_looks_into_tls_ca_file(make_relay, text, reason):
    relay = make_relay(started=False, outbound={"tls_ca_file": "ca.pem"}, files={"ca.pem": text} if text else None)
    ran = relay.run("check")
    assert ran.returncode == 1, ran.stdout
    assert re.search(rf"outbound\.ini:\d+: tls_ca_file: .*{reason}", ran.stdout), ran.stdout
    relay.write("outbound.ini", "")
    relay.write("resolver.ini", "; DNSSEC\ntrust_anchor_file = missing.key\n")
    assert "resolver.ini:2: trust_anchor_file: there is no file" in relay.run("check").stdout


def test_sockets_of_systemd(make_relay, sink, tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        relay = make_relay(started=False, routes={"*": sink.address})
        log = open(tmp_path / "log", "w+b")
        script = (
            "import os,sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp'); "
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                script,
                str(listening.fileno()),
                MARTLET,
                "serve",
                "--config",
                str(relay.config),
                "--data",
                str(relay.data),
            ],
            stderr=log,
            pass_fds=[listening.fileno()],
        )
    try:
        from harness import wait_until

        wait_until(lambda: b" ready " in (tmp_path / "log").read_bytes(), timeout=60)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            assert client.recv(100).startswith(b"220 ")
        with pytest.raises(OSError):
            socket.create_connection(relay.address, timeout=5)
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("group, word", [("root", "the group of root"), ("shadow", "password hashes")])
def test_a_privileged_group_stops_the_start(make_relay, group, word):
    need_root()
    relay = make_relay(started=False, smtp={"user": "nobody", "group": group})
    ran = subprocess.run(
        [MARTLET, "serve", "--config", relay.config, "--data", relay.data], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 1 and "[main] group" in ran.stderr and word in ran.stderr


@pytest.mark.parametrize("file", ["smtp.ini", "me", "routes.ini", "outbound.ini"])
def test_root_repeats_nothing_of_a_file_that_was_swapped(make_relay, open_path, file):
    need_root()
    secret = open_path / "shadow"
    secret.write_text("root:$y$s3cret-hash:19000:0:99999:7:::\n[s3cret-section]\nlisten = s3cret-address\n")
    secret.chmod(0o600)
    relay = make_relay(started=False, smtp={"user": "nobody"})
    (relay.config / file).unlink(missing_ok=True)
    (relay.config / file).symlink_to(secret)
    ran = subprocess.run(
        [MARTLET, "serve", "--config", relay.config, "--data", relay.data],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **({"MARTLET_SMTP_USER": "nobody"} if file == "smtp.ini" else {})},
    )
    assert ran.returncode == 1 and file in ran.stderr and "s3cret" not in ran.stderr, ran.stderr


OURS = 12_345  # the relay's user, who may write the configuration


@pytest.mark.parametrize(
    "owners, is_written",
    [((OURS, 0), False), ((OURS, 54_321), False), ((OURS, OURS), True), ((0, 0), True), ((0, OURS), True)],
    ids=["to root's", "to another's", "to their own", "root's to root's", "root's to theirs"],
)
@pytest.mark.parametrize("place", ["file", "directory"])
def test_root_writes_through_no_link_of_another_user(tmp_path, owners, is_written, place):
    """Neither in the place of a file nor of a directory; `..data` of Kubernetes is root's, and is followed."""
    need_root()
    config, outside = tmp_path / "config", tmp_path / "outside"
    config.mkdir()
    outside.mkdir()
    target = outside / "admin.ini"
    target.write_text("[main]\n; mine\n")
    target.chmod(0o600)
    for path in (outside, target):
        os.chown(path, owners[1], owners[1])
    os.chown(config, OURS, OURS)
    link = config / ("..data" if place == "directory" else "admin.ini")
    link.symlink_to(outside if place == "directory" else target)
    os.chown(link, owners[0], owners[0], follow_symlinks=False)
    directory = link if place == "directory" else config
    before = target.read_text(), target.stat().st_ino
    ran = subprocess.run(
        [MARTLET, "token", "create", "x", "--scope", "all", "--config", directory], capture_output=True, text=True
    )
    assert (ran.returncode == 0) == is_written, ran
    assert ("[token x]" in target.read_text()) == is_written and link.is_symlink()
    if not is_written:
        assert (target.read_text(), target.stat().st_ino) == before and "link made by another user" in ran.stderr, ran
    assert target.stat().st_uid == owners[1] and sorted(os.listdir(outside)) == ["admin.ini"]


@pytest.mark.parametrize("kind", ["fifo", "file", "link", "live socket", "dead socket"])
def test_only_a_dead_socket_is_ever_removed(make_relay, kind):
    relay = make_relay(started=False)
    path = relay.data / "admin.sock"
    held = socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(relay.config / "me")
    else:
        held.bind(str(path))
        if kind == "live socket":
            held.listen()
        else:
            held.close()
    before = path.lstat()
    relay.start()
    is_same = path.lstat().st_ino == before.st_ino and path.lstat().st_mode == before.st_mode
    assert is_same == (kind != "dead socket")
    assert ("the API does not listen everywhere" in relay.log_path.read_text()) == is_same
    held.close()


def test_the_package_changes_files_by_descriptor_and_not_through_links(tmp_path):
    """Its script, with other places in it: a link, another name of a file, and a file that is not root's stay as they are."""
    need_root()
    etc, data, secret = tmp_path / "etc", tmp_path / "data", tmp_path / "secret"
    etc.mkdir()
    secret.write_text("x")
    secret.chmod(0o600)
    (etc / "link").symlink_to(secret)
    os.link(secret, etc / "other")
    (etc / "plain").write_text("x")
    (etc / "plain").chmod(0o644)
    (etc / "theirs").write_text("x")
    os.chmod(etc / "theirs", 0o600)
    os.chown(etc / "theirs", 65534, 65534)
    os.mkfifo(etc / "pipe")
    text = (ROOT / "deploy/debian/package/martlet.postinst").read_text()
    for old, new in (
        ("systemd-sysusers martlet.conf", ":"),
        ("/etc/martlet", str(etc)),
        ("/var/lib/martlet", str(data)),
        ('getgrnam("martlet")', 'getgrnam("nogroup")'),
        ("chgrp martlet", "chgrp nogroup"),
        ("-o martlet -g martlet", "-o nobody -g nogroup"),
    ):
        assert old in text
        text = text.replace(old, new)
    ran = subprocess.run(["sh", "-c", text, "sh", "configure"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert secret.stat().st_mode & 0o7777 == 0o600 and secret.stat().st_gid == os.getgid()
    assert (etc / "plain").stat().st_mode & 0o7777 == 0o664 and (etc / "plain").stat().st_gid == 65534
    assert (etc / "theirs").stat().st_mode & 0o7777 == 0o600
    assert data.stat().st_mode & 0o7777 == 0o751
