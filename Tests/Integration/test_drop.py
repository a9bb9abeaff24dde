"""test_drop.py - sendmail while the relay is down: what it keeps, who brings it in, and what else may lie there."""

import os
import stat
import subprocess

import pytest
from harness import MARTLET, environment
from peers import need_root
from waiting import wait_until

NOBODY = 65534


@pytest.fixture
def hand_in(tmp_path):
    """`hand_in(relay, subject, user=…)`: sendmail, as another user where that is asked for."""

    def run(relay, subject, *recipients, user=None):
        link = tmp_path / "sendmail"
        if not link.exists():
            link.symlink_to(MARTLET)
        place = {"MARTLET_CONFIG_DIR": str(relay.config), "MARTLET_DATA_DIR": str(relay.data)}
        return subprocess.run(
            [str(link), "-f", "app@x.test", *(recipients or ["b@x.test"])],
            input=f"Subject: {subject}\n\n.hello\n",
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment(), **place},
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )

    return run


def drop_of(relay):
    return relay.data / "drop"


def kept(relay):
    return sorted(drop_of(relay).iterdir())


def test_mail_waits_for_the_relay(make_relay, sink, hand_in):
    """Nobody hears an error, nobody but the relay sees it, and it arrives once."""
    relay = make_relay(routes={"*": sink.address})
    relay.stop()
    for number in range(3):
        ran = hand_in(relay, f"down {number}", "b@x.test", "c@x.test")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert stat.S_IMODE(drop_of(relay).stat().st_mode) == 0o1733 and len(kept(relay)) == 3
    relay.start()
    sink.wait_for(3)
    wait_until(lambda: not kept(relay), 20, "an empty drop")
    assert {subject: len(found) for subject, found in sink.by_subject().items()} == {f"down {n}": 1 for n in range(3)}
    message = sink.messages[0]
    assert message.sender == "app@x.test" and sorted(message.recipients) == ["b@x.test", "c@x.test"]
    assert message.data.endswith(b"\r\n\r\n.hello\r\n")
    relay.wait_log("mail of the drop handed in")
    assert hand_in(relay, "up").returncode == 0 and not kept(relay)
    relay.stop()
    assert len(sink.wait_for(4)) == 4


def test_another_user(make_relay, sink, hand_in, tmp_path):
    """Whoever it is may leave mail, cannot see any, and cannot take any away."""
    need_root()
    relay = make_relay(routes={"*": sink.address})
    relay.stop()
    path = relay.data
    while path != path.parent and path.is_relative_to("/tmp"):
        if path != relay.data:
            path.chmod(path.stat().st_mode | 0o011)
        path = path.parent
    tmp_path.chmod(0o755)
    relay.config.chmod(0o755)
    assert hand_in(relay, "root's").returncode == 0
    ran = hand_in(relay, "nobody's", user=NOBODY)
    assert ran.returncode == 0, ran.stderr
    owners = sorted(file.stat().st_uid for file in kept(relay))
    assert owners == [0, NOBODY]
    (mine,) = [file for file in kept(relay) if file.stat().st_uid == 0]
    for command in (["ls", str(drop_of(relay))], ["rm", "-f", str(mine)], ["mv", str(mine), "/tmp/stolen"]):
        assert subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True).returncode != 0
    relay.start()
    sink.wait_for(2)
    assert sorted(sink.by_subject()) == ["nobody's", "root's"]


def test_what_others_put_there(make_relay, sink, hand_in):
    """Pipes, links, huge files and rubbish: read by nobody, in nobody's way."""
    relay = make_relay(routes={"*": sink.address}, smtp={"limits.message_bytes": 100_000})
    relay.stop()
    drop = drop_of(relay)
    letter = "martlet drop 1\n{}\n{}"

    def put(name, rest):
        (drop / ("m" + name * 32)).write_text(letter.format(len(rest), rest))

    secret = relay.config / "secret"
    secret.write_text(letter.format(31, "a@x.test\nb@x.test\n\nSubject: no\n\n"))
    os.mkfifo(drop / ("m" + "0" * 32))
    (drop / ("m" + "1" * 32)).symlink_to(secret)
    os.link(secret, drop / ("m" + "2" * 32))
    with open(drop / ("m" + "3" * 32), "wb") as file:
        file.truncate(1 << 40)
    (drop / ("m" + "4" * 32)).mkdir()
    (drop / ("m" + "5" * 32)).write_bytes(os.urandom(1000))
    (drop / "other").write_text(letter.format(0, ""))
    put("6", "a@x.test\nb@x.test>\r\nRCPT TO:<c@x.test\n\nx")
    put("7", "a@x.test\nb@x.test\n\nSubject: dots\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@x.test>\r\n")
    (drop / ("m" + "8" * 32)).write_text(letter.format(99, "a@x.test\n"))
    assert hand_in(relay, "good").returncode == 0
    relay.start()
    sink.wait_for(2)
    wait_until(lambda: len(relay.log_lines("mail of the drop not taken, it is kept")) == 3, 20, "three lines")
    # As large as that, it is worth no place.
    relay.wait_log("mail of the drop not taken")
    found = sink.by_subject()
    assert sorted(found) == ["dots", "good"] and found["dots"][0].data.endswith(b"\r\n.\r\nMAIL FROM:<evil@x.test>\r\n")
    assert {file.name[1] for file in kept(relay)} == {"0", "1", "4", "8", "t"}
    aside = relay.data / "drop-refused"
    assert {file.name[1] for file in aside.iterdir()} == {"2", "5", "6"}
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700


def test_what_the_relay_refuses_is_kept(make_relay, sink, hand_in):
    """Who may not relay may not by the drop; a recipient that is refused does not keep the others."""
    relay = make_relay(routes={"*": sink.address}, allow=())
    relay.stop()
    assert hand_in(relay, "denied").returncode == 0
    relay.start()
    line = relay.wait_log("mail of the drop not taken, it is kept")
    assert "5.7.1" in line["reason"] and b"Subject: denied" in open(line["path"], "rb").read()
    assert not kept(relay) and not sink.messages


def test_the_sender_hears_of_what_is_refused(make_relay, sink, hand_in):
    """sendmail said 0: whoever the message is from gets a report, and nothing is left lying about."""
    routes = "[*]\nmx = {}:{}\n[closed.test]\nreject = 550 5.7.1 not from here\n".format(*sink.address)
    relay = make_relay(files={"routes.ini": routes}, smtp={"allowed_sender_domains": "x.test"})
    relay.stop()
    assert hand_in(relay, "half", "b@x.test", "c@closed.test").returncode == 0
    relay.start()
    found = sink.wait_for(2)
    report = next(message for message in found if message.sender == "")
    assert report.recipients == ["app@x.test"] and b"c@closed.test" in report.data and b"Subject: half" in report.data
    wait_until(lambda: not kept(relay), 20, "an empty drop")
    # Refused as a whole: the sender's domain is none of ours any more.
    relay.stop()
    assert hand_in(relay, "all", "b@x.test").returncode == 0
    relay.smtp["allowed_sender_domains"] = "y.test"
    relay.write_config()
    relay.start()
    report = sink.wait_for(3)[-1]
    assert report.sender == "" and report.recipients == ["app@x.test"] and b"b@x.test" in report.data
    relay.wait_log("mail of the drop not taken", count=2)
    assert not kept(relay) and not list((relay.data / "drop-refused").iterdir())


def test_a_drop_that_is_off(make_relay, sink, hand_in):
    """Nobody can put anything there, whoever it is; what lies there already still goes in."""
    relay = make_relay(routes={"*": sink.address})
    relay.stop()
    assert hand_in(relay, "early").returncode == 0
    relay.smtp["drop"] = False
    relay.write_config()
    relay.start()
    sink.wait_for(1)
    wait_until(lambda: stat.S_IMODE(drop_of(relay).stat().st_mode) == 0o700, 20, "a drop that is shut")
    relay.stop()
    ran = hand_in(relay, "late")
    assert ran.returncode == 75 and ran.stderr and not kept(relay)
    relay.smtp["drop"] = True
    relay.write_config()
    relay.start()
    wait_until(lambda: stat.S_IMODE(drop_of(relay).stat().st_mode) == 0o1733, 20, "a drop that is open")
