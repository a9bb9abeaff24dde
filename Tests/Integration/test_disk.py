"""test_disk.py - a disk that is full (C4) or fails (C3), a spool that is damaged (C5), a second process on it."""

import os
import random
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from disk_image import Disk, read_events
from harness import MARTLET
from ledger import Ledger, LedgerSink, Load, build_shim, crashed, set_aside, start_anew, submit, try_one
from waiting import PATIENCE, wait_until

# ---------------------------------------------------------------------------------------------------- full


@pytest.fixture
def small_disk():
    """`small_disk(path, "160m")` mounts a file system of that size there."""
    mounted = []

    def mount(path, size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode:
            pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")
        mounted.append(str(path))
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    """Takes every free block below `path`; returns the file that holds them."""
    ballast = Path(path) / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            block = bytes(size)
            try:
                while file.write(block) == size:
                    pass
            except OSError:
                continue
    return ballast


def test_full_disk_refuses_delivers_and_recovers(make_relay, lab, closing, small_disk):
    """C4: 452 4.3.1, nothing acknowledged is lost, deliveries go on, and space that comes back is used without a restart."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger))
    relay = make_relay(started=False, routes={"*": sink.address})
    small_disk(relay.data, "300m")
    start_anew(relay)
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(60)] + [ledger.make(1_500_000) for _ in range(4)])
    wait_until(lambda: relay.log_lines("delivery deferred"), 20, "deferrals")
    ballast = fill(relay.data)
    replies = []

    def attempt(size):
        reply = try_one(lab, ledger, relay, ledger.make(size))
        fill(relay.data)
        assert reply is not None, "the connection broke instead of a reply"
        assert reply[:3] == b"250" or reply[:9] == b"452 4.3.1", f"{reply} on a full disk"
        replies.append((size, reply[:3]))
        return reply[:3]

    for _ in range(15):
        assert attempt(3_000_000) == b"452", "a large body was accepted on a full disk"
    for _ in range(200):  # what is preallocated may still be used, honestly
        if attempt(900_000) == b"452":
            break
    assert {attempt(900_000) for _ in range(10)} == {b"452"}
    small = [attempt(2_000) for _ in range(60)]
    pid = relay.pid
    sink.start()
    relay.hup()
    wait_until(lambda: not ledger.waiting, 60, lambda: f"deliveries on a full disk: {len(ledger.waiting)} are missing")
    assert relay.pid == pid and relay.is_running
    began = time.monotonic()
    ballast.unlink()
    for size in [2000, 3_000_000]:  # a small one may go into what is preallocated, a large one asks the file system
        wait_until(
            lambda: (try_one(lab, ledger, relay, ledger.make(size)) or b"")[:3] == b"250",
            10,
            "accepting again",
            interval=0.2,
        )
    back = time.monotonic() - began
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(20)] + [ledger.make(3_000_000)])
    ledger.wait_delivered(30)
    print(
        f"\nfull disk: {sum(r == b'452' for _, r in replies)} of {len(replies)} refused, {small.count(b'250')} of {len(small)} "
        f"small ones fitted in what was preallocated, accepting again after {back:.2f} s; {ledger.summary()}"
    )
    ledger.check(duplicates=0)
    assert relay.pid == pid and crashed(relay) == []


def test_disk_that_fills_under_load(make_relay, lab, closing, small_disk):
    """Filling up in the middle of everything, and a kill -9 on top: what was acknowledged is there."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, rate=200_000)).start()
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"concurrency_per_lane": 4})
    small_disk(relay.data, "220m")
    start_anew(relay)
    load = Load(lab, ledger, relay, large=0.2, backlog=100_000).start()
    wait_until(lambda: len(load.refusals) >= 50, 90, lambda: f"refusals; {ledger.summary()}")
    bad = [(stage, reply) for _, stage, reply in load.refusals if not reply.startswith(b"452 4.3.1")]
    assert not bad, bad[:5]
    relay.kill()
    start_anew(relay)
    sink.rate = 0
    time.sleep(1)
    load.stop()
    relay.hup()
    ledger.wait_delivered(90)
    print(f"\nfilled under load: {ledger.summary()}")
    ledger.check()
    assert set_aside(relay) == [] and crashed(relay) == []


# ---------------------------------------------------------------------------------------------------- failing


@pytest.fixture(scope="module")
def disk_shim(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    return build_shim("disk", tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(
    "call,error,code",
    [
        ("sync", "EIO", b"451"),
        ("write", "EIO", b"451"),
        ("write", "ENOSPC", b"452 4.3.1"),
        ("open", "EIO", b"451"),
        ("open", "ENOSPC", b"452 4.3.1"),
        ("open", "EMFILE", b"4"),
    ],
)
def test_failing_disk_never_gets_a_250(make_relay, lab, closing, tmp_path, disk_shim, call, error, code):
    """C3: 4xx while the disk fails, no second sync that pretends, mail flows again when it works, nothing refused is sent."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    flag, trace = tmp_path / "flag", tmp_path / "trace"
    trace.touch()
    relay.env = {"LD_PRELOAD": disk_shim, "SHIM_DIR": str(relay.data), "SHIM_FLAG": str(flag), "SHIM_LOG": str(trace)}
    start_anew(relay)
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(20)] + [ledger.make(1_500_000)])
    relay.wait_log("message finished", count=21, timeout=30)
    time.sleep(0.3)  # the notes of that are written by now; else one of them would meet the failure before the message
    flag.write_text(f"{call}={error}\n")
    refused = []
    for n in range(24):
        mail = ledger.make(1_500_000 if n % 3 == 2 or call == "open" else 2000)
        reply = try_one(lab, ledger, relay, mail)
        assert reply is not None and reply[:1] == b"4", f"{reply} while {call} fails with {error}"
        refused.append((mail.token, reply))
    assert refused[0][1].startswith(code), f"{refused[0][1]} to the first message when {call} fails with {error}"
    odd = [reply for _, reply in refused if not reply.startswith((code, b"452 4.3.1"))]
    assert not odd, f"{odd[:3]} while no new segment can be opened"
    flag.unlink()
    pid = relay.pid
    wait_until(
        lambda: (try_one(lab, ledger, relay, ledger.make(2000)) or b"")[:3] == b"250",
        10,
        "accepting again",
        interval=0.2,
    )
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(20)] + [ledger.make(1_500_000)])
    ledger.wait_delivered(30)
    ledger.check(duplicates=0)
    assert relay.pid == pid and crashed(relay) == []
    sent = {token for token, _ in ledger.delivered} & {token for token, _ in refused}
    assert not sent, f"answered 4xx and delivered all the same: {sent}"

    # The same disk after a power cut: bytes whose sync failed are gone for good, whatever a later sync said.
    sink.stop()
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(10)] + [ledger.make(1_500_000)])
    flag.write_text(f"{call}={error}\n")
    for _ in range(4):
        try_one(lab, ledger, relay, ledger.make(1_500_000 if call == "open" else 2000))
    flag.unlink()
    wait_until(
        lambda: (try_one(lab, ledger, relay, ledger.make(2000)) or b"")[:3] == b"250",
        10,
        "accepting again",
        interval=0.2,
    )
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(10)])
    relay.kill()
    fresh = make_relay(started=False, routes={"*": sink.address})
    events = read_events(trace)
    Disk(events, relay.data, events[-1].end).build(fresh.data, random.Random(1), "none")
    sink.start()
    start_anew(fresh)
    fresh.hup()
    ledger.wait_delivered(30)
    ledger.check()


# ---------------------------------------------------------------------------------------------------- damaged


class Spool:
    """A spool with two segments and some large bodies, made once; each test damages a copy."""

    def __init__(self, directory, ledger):
        self.directory, self.ledger = Path(directory), ledger

    def copy(self, target):
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", "--sparse=always", str(self.directory), str(target)], check=True)
        return Layout(Path(target) / "queue", self.ledger)


class Layout:
    """Where each message lies: token -> (file, first byte of its text, end), found by the text itself."""

    def __init__(self, queue, ledger):
        self.queue, self.ledger, self.places = queue, ledger, {}
        self.segments = sorted(queue.glob("*.seg"))
        for path in [*self.segments, *sorted((queue / "large").glob("*.eml"))]:
            whole = path.read_bytes()
            at = whole.find(b"X-Token: ")
            while at >= 0:
                token = whole[at + 9 : whole.index(b"\r\n", at)].decode()
                end = whole.index(f"end of {token}\r\n".encode(), at) + len(f"end of {token}\r\n")
                self.places[token] = (path, at, end)
                at = whole.find(b"X-Token: ", end)
        assert self.places.keys() == ledger.acknowledged.keys()
        assert len([path for path in self.segments if self.inside(path)]) == 2, (
            "the spool is not what the tests are made for"
        )

    def inside(self, path):
        """Tokens in a file, in order."""
        return sorted((t for t, place in self.places.items() if place[0] == path), key=lambda t: self.places[t][1])

    def change(self, path, at, data):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(data)

    def flip(self, path, at, bit=3):
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << bit]))


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    from harness import Relay
    from ledger import Lab

    lab, ledger, directory = Lab(), Ledger(), tmp_path_factory.mktemp("spool")
    sink = LedgerSink(lab, ledger)
    relay = Relay(directory, routes={"*": sink.address}, outbound={"temp_fail_intervals": "1h*10"})
    try:
        relay.start()
        order = [2000] * 30 + [850_000] * 110 + [2000] * 30 + [1_300_000] * 3
        for at in range(0, len(order), 10):
            submit(lab, ledger, relay, [ledger.make(size) for size in order[at : at + 10]], clients=2)
            # One after the other: while mail waits for its first attempt it takes memory, and bodies would go to files.
            wait_until(lambda: len(relay.log_lines("delivery deferred")) >= min(at + 10, len(order)), 30, "deferrals")
        relay.stop()
    finally:
        relay.kill()
        lab.close()
    yield Spool(relay.data, ledger)
    relay.close()


def cut_in_the_middle(layout):
    path = layout.segments[0]
    token = layout.inside(path)[40]
    at = sum(layout.places[token][1:]) // 2
    os.truncate(path, at)
    return {t for t in layout.inside(path) if layout.places[t][2] > at}, True


def zeroed_range(layout):
    path = layout.segments[0]
    at = layout.places[layout.inside(path)[50]][1] + 1000
    layout.change(path, at, bytes(1_000_000))
    return {
        t for t in layout.inside(path) if layout.places[t][1] - 1000 < at + 1_000_000 and layout.places[t][2] > at
    }, True


def flipped_in_a_body(layout):
    path = layout.segments[0]
    token = layout.inside(path)[20]
    layout.flip(path, layout.places[token][1] + 1200)
    return {token}, True


def flipped_in_each_header_byte(layout):
    """One bit in each byte between one message's text and the next one's: length, checksum, kind, envelope."""
    path, damaged = layout.segments[0], set()
    tokens = layout.inside(path)
    for n in range(12):
        before, token = tokens[2 * n], tokens[2 * n + 1]
        start, end = layout.places[before][2], layout.places[token][1]
        layout.flip(path, min(start + n * 3 + 1, end - 1), n % 8)
        damaged |= {before, token}  # the byte may belong to the end of the one or to the start of the other
    return damaged, True


def flipped_in_the_index(layout):
    path = layout.segments[0]
    end = max(layout.places[t][2] for t in layout.inside(path))
    whole = path.read_bytes()
    last = len(whole.rstrip(b"\0"))
    if last <= end + 8:
        pytest.skip("a sealed segment has nothing behind its messages")
    for at in range(last - 1, max(end + 8, last - 400), -37):
        layout.flip(path, at)
    return set(), False


def empty_segment(layout):
    path = layout.segments[0]
    os.truncate(path, 0)
    return set(layout.inside(path)), False


def missing_segment(layout):
    path = layout.segments[0]
    path.unlink()
    return set(layout.inside(path)), False


def garbage_tail(layout):
    path = layout.segments[-1]
    end = max([layout.places[t][2] for t in layout.inside(path)], default=0)
    last = max(end, len(path.read_bytes().rstrip(b"\0")))
    layout.change(path, last + 64, random.Random(5).randbytes(100_000))
    with open(path, "ab") as file:
        file.write(random.Random(6).randbytes(5000))
    return set(), False


def duplicated_segment(layout):
    path = layout.segments[0]
    twin = path.with_name(str(int(path.stem) + 7_000_000).zfill(len(path.stem)) + ".seg")
    shutil.copyfile(path, twin)
    return set(), False


def damaged_large_body(layout):
    path = sorted((layout.queue / "large").glob("*.eml"))[1]
    (token,) = layout.inside(path)
    layout.flip(path, sum(layout.places[token][1:]) // 2)
    return {token}, True


def truncated_large_body(layout):
    path = sorted((layout.queue / "large").glob("*.eml"))[0]
    os.truncate(path, 700_000)
    return set(layout.inside(path)), False


def missing_large_body(layout):
    path = sorted((layout.queue / "large").glob("*.eml"))[0]
    path.unlink()
    return set(layout.inside(path)), False


def swapped_segments(layout):
    first, second = layout.segments[:2]
    aside = first.with_suffix(".x")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    return set(), False


DAMAGES = [
    cut_in_the_middle,
    zeroed_range,
    flipped_in_a_body,
    flipped_in_each_header_byte,
    flipped_in_the_index,
    empty_segment,
    missing_segment,
    garbage_tail,
    duplicated_segment,
    damaged_large_body,
    truncated_large_body,
    missing_large_body,
    swapped_segments,
]


def deliver_what_is_left(make_relay, lab, closing, spool, prepare):
    """Starts a relay on a prepared copy of the spool; returns it with the ledger and the messages that need not come."""
    known = spool.ledger
    ledger = Ledger(seed=known.seed)
    ledger.count, ledger.complete, ledger.acknowledged = known.count, dict(known.complete), dict(known.acknowledged)
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    layout = spool.copy(relay.data)
    hopeless, visible = prepare(layout)
    must = {
        (token, to)
        for token, (_, recipients) in known.complete.items()
        if token in known.acknowledged
        for to in recipients
    }
    ledger.waiting = {key for key in must if key[0] not in hopeless}
    start_anew(relay)
    relay.hup()
    wait_until(
        lambda: not ledger.waiting,
        60,
        lambda: f"intact mail: {len(ledger.waiting)} of {len(must)} missing, {ledger.lost()[:5]}\n{relay.log_tail(20)}",
    )
    assert not ledger.damaged, f"damaged mail was delivered: {ledger.damaged[:5]}"
    assert not ledger.unknown, ledger.unknown[:5]
    return relay, ledger, hopeless, visible


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda function: function.__name__.replace("_", " "))
def test_damaged_spool_gives_back_everything_intact(make_relay, lab, closing, spool, damage):
    """C5: starts, delivers every intact message, never a damaged one, and keeps what it could not read for a human."""
    relay, ledger, hopeless, visible = deliver_what_is_left(make_relay, lab, closing, spool, damage)
    came = {token for token, _ in ledger.delivered} & hopeless
    print(
        f"\n{damage.__name__}: {len(ledger.delivered)} delivered, {len(hopeless)} touched of which {len(came)} came, "
        f"set aside: {set_aside(relay)[:6]}"
    )
    if visible:
        assert wait_until(lambda: set_aside(relay), 10, "something under corrupt/")
        assert [line for line in relay.log if line.level in ("warning", "error")], "damage leaves a line in the log"
    assert ledger.extra_copies() == 0, f"twice: {ledger.duplicates[:3]}"
    submit(lab, ledger, relay, [ledger.make(2000), ledger.make(1_400_000)])
    ledger.wait_delivered(15)
    relay.stop()
    copies = ledger.extra_copies()
    start_anew(relay)
    relay.hup()
    submit(lab, ledger, relay, [ledger.make(2000)])
    ledger.wait_delivered(15)
    assert ledger.extra_copies() == copies and not ledger.damaged, "the second start brought something back"


def foreign_things(layout):
    """Six kinds of things that are not ours, under names of ours and of others, in the queue and among the large bodies."""
    stem = layout.segments[0].stem
    number = int(stem)

    def segment(n):
        return str(number + n).zfill(len(stem)) + ".seg"

    for folder, names in (
        (layout.queue, [segment(9_000_000 + n) for n in range(5)]),
        (layout.queue / "large", [f"0000000000{n}00.eml" for n in range(5)]),
    ):
        (folder / names[0]).write_bytes(b"not a segment, not a message\n" * 100)
        (folder / names[1]).mkdir()
        (folder / names[1] / "inside").write_text("x")
        (folder / names[2]).symlink_to("/etc/passwd")
        os.mkfifo(folder / names[3])
        (folder / names[4]).symlink_to(folder / "does-not-exist")
        (folder / "README").write_text("a human was here\n")
        (folder / "dir").mkdir()
        (folder / "link").symlink_to("/etc/passwd")
        os.mkfifo(folder / "fifo")
        (folder / "dangling").symlink_to("/nowhere/at/all")
        (folder / ("n" * 251 + ".seg")).write_bytes(b"long")
        (folder / ("9" * 251 + ".seg")).write_bytes(bytes(100))
        (folder / (str(2**64) + ".seg")).write_bytes(bytes(100))
        (folder / "0.seg").touch()
        os.close(os.open(bytes(folder) + b"/\xff\xfe\x01 \n.seg", os.O_CREAT | os.O_WRONLY))
    return set(), False


def test_foreign_things_in_the_queue_are_left_or_set_aside(make_relay, lab, closing, spool):
    before = Path("/etc/passwd").stat()
    relay, ledger, _, _ = deliver_what_is_left(make_relay, lab, closing, spool, foreign_things)
    assert ledger.extra_copies() == 0
    after = Path("/etc/passwd").stat()
    assert (before.st_size, before.st_mtime_ns, before.st_mode) == (after.st_size, after.st_mtime_ns, after.st_mode)
    secret = Path("/etc/passwd").read_bytes()[:40]
    for path in Path(relay.data).rglob("*"):
        try:
            copy = stat.S_ISREG(path.lstat().st_mode) and path.read_bytes().startswith(secret)
        except FileNotFoundError:
            continue  # the relay has just given it back
        assert not copy, f"{path} is a copy of what a symlink pointed at"
    submit(lab, ledger, relay, [ledger.make(2000), ledger.make(1_400_000)])
    ledger.wait_delivered(15)
    assert crashed(relay) == []


def test_symlinked_large_body_is_not_followed(make_relay, lab, closing, spool, tmp_path):
    """The body of a message is replaced by a link to an intact copy elsewhere, and to a file that is nobody's business."""

    def prepare(layout):
        first, second, _ = sorted((layout.queue / "large").glob("*.eml"))
        hopeless = set(layout.inside(first)) | set(layout.inside(second))
        elsewhere = tmp_path / "elsewhere"
        shutil.move(first, elsewhere)
        first.symlink_to(elsewhere)
        second.unlink()
        second.symlink_to("/etc/passwd")
        return hopeless, False

    _relay, ledger, hopeless, _ = deliver_what_is_left(make_relay, lab, closing, spool, prepare)
    assert not {token for token, _ in ledger.delivered} & hopeless, "a symlink was followed"
    assert (tmp_path / "elsewhere").exists()


# ---------------------------------------------------------------------------------------------------- offline, twice


def test_spool_check_and_export(make_relay, spool, tmp_path):
    """Offline: an intact spool is called so; on a damaged one the damage is named and the rest comes out byte for byte."""
    relay = make_relay(started=False)
    layout = spool.copy(relay.data)
    good = relay.run("spool", "check")
    assert good.returncode == 0, good.stdout + good.stderr
    damaged = flipped_in_a_body(layout)[0] | missing_large_body(layout)[0]
    bad = relay.run("spool", "check")
    print(f"\n{bad.stdout}{bad.stderr}")
    assert bad.returncode != 0, "a damaged spool was called good"
    assert layout.segments[0].name in bad.stdout + bad.stderr, "the damaged segment is not named"
    out = tmp_path / "export"
    done = relay.run("spool", "export", "--to", str(out))
    print(f"{done.stdout}{done.stderr}")
    found = {}
    for path in out.rglob("*.eml"):
        whole = path.read_bytes()
        at = whole.find(b"X-Token: ")
        token = whole[at + 9 : whole.index(b"\r\n", at)].decode()
        found[token] = whole[at:]
    import hashlib

    for token, (digest, _) in spool.ledger.complete.items():
        if token in damaged:
            assert token not in found or hashlib.sha1(found[token]).digest() == digest
        else:
            assert token in found, f"{token} was not exported"
            assert hashlib.sha1(found[token]).digest() == digest, f"{token} was exported with other bytes"
    sheets = list(out.rglob("*.json"))
    assert len(sheets) == len(found), "each message has its envelope beside it"


def test_second_process_on_the_same_data_is_refused(make_relay, lab, closing):
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(routes={"*": sink.address})
    other = make_relay(started=False, routes={"*": sink.address})
    done = subprocess.run(
        [MARTLET, "serve", "--config", str(other.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
    )
    said = done.stdout + done.stderr
    assert done.returncode not in (0, -6, -4, -11, 132, 133, 134), f"{done.returncode}: {said}"
    assert "lock" in said.lower() or "another process" in said.lower() or "in use" in said.lower(), said
    assert "ready" not in said.split()
    submit(lab, ledger, relay, [ledger.make(2000)])
    ledger.wait_delivered(15)
    offline = relay.run("spool", "check")
    assert offline.returncode != 0 or "lock" in (offline.stdout + offline.stderr).lower(), "checked while in use"


def test_data_directory_that_cannot_be_used_is_named(make_relay):
    """A plain file where the spool should be: an error with the path, no crash, no start with something else."""
    relay = make_relay(started=False)
    (relay.data / "queue").write_text("not a directory\n")
    done = subprocess.run(
        [MARTLET, "serve", "--config", str(relay.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
    )
    said = done.stdout + done.stderr
    assert done.returncode > 0 and done.returncode not in (132, 133, 134), f"{done.returncode}: {said}"
    assert "queue" in said, said
