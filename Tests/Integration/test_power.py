"""test_power.py - power cuts on the real process (C2): whatever the disk may have forgotten, what was acknowledged is there.

The relay runs under shims/disk.c, which records its system calls on the spool. Each cut takes a point of that record,
builds a disk on which only synced bytes and names are sure (disk_image.py), and starts a fresh relay on it.
"""

import os
import random
import shutil
import time

from disk_image import Disk, read_events
from harness import SOAK
from ledger import Ledger, LedgerSink, Load, build_shim, start_anew, submit
from waiting import wait_until


class CutLedger(Ledger):
    """What a fresh relay must still deliver after a cut at some point of the record."""

    def __init__(self, whole, cut):
        super().__init__(seed=whole.seed)
        self.complete = whole.complete
        self.lines = []
        for token, (_, _, mark) in whole.acknowledged.items():
            if mark > cut:
                continue
            for recipient in whole.complete[token][1]:
                if not any(at <= cut for _, at, _ in whole.delivered.get((token, recipient), [])):
                    self.waiting.add((token, recipient))
        self.acknowledged = whole.acknowledged
        self.owed = len(self.waiting)


def record(make_relay, lab, closing, tmp_path, seconds, neutered=False, kills=True):
    """Runs a relay under load and records it: deliveries, deferrals, large bodies, several segments; ends with kill -9."""
    shim = build_shim("disk", tmp_path)
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    trace = tmp_path / "trace"
    trace.touch()
    relay.env = {"LD_PRELOAD": shim, "SHIM_DIR": str(relay.data), "SHIM_LOG": str(trace)}
    if neutered:
        relay.env["SHIM_NEUTER"] = "1"
    ledger.mark = lambda: os.path.getsize(trace)
    start_anew(relay)
    load = Load(lab, ledger, relay, clients=6, large=0.02, abandon=0.02, backlog=800, pace=0.002).start()
    big = Load(lab, ledger, relay, clients=2, backlog=800, pace=0.01)
    big._make = lambda: ledger.make(ledger.random.randint(200_000, 900_000))
    big.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.5)
        sink.refused = b"451 4.3.0 Not now\r\n" if ledger.random.random() < 0.4 else None
        if ledger.random.random() < 0.3:
            sink.stop()
            time.sleep(0.2)
            sink.start()
    if neutered:  # something must be owed when it dies, or nothing can be missed
        sink.stop()
        wait_until(lambda: ledger.waiting, 10, "mail that is not delivered")
    relay.kill() if kills else relay.stop()
    sink.stop()
    load.stop()
    big.stop()
    ledger.damaged.clear()
    return ledger, read_events(trace)


def compare(disk, root, copy):
    """With everything kept, the built disk equals the real one: the record misses no call."""
    disk.build(copy, random.Random(0), "all")

    def files(top):
        # What processes share of the history is memory, made anew by whoever opens it: it is never written.
        found = (path for path in sorted(top.rglob("*")) if path.is_file() and not path.name.endswith("-shm"))
        return {path.relative_to(top): path for path in found}

    real, built = files(root), files(copy)
    assert real.keys() == built.keys(), f"only in one: {sorted(map(str, real.keys() ^ built.keys()))}"
    for name, path in real.items():
        assert path.read_bytes() == built[name].read_bytes(), f"{name} differs"
    shutil.rmtree(copy)


def revive(make_relay, lab, closing, ledger, events, root, cut, keep, pick, patience):
    """A fresh relay on the disk after the cut. Returns its ledger when everything owed has come, or time is up."""
    after = CutLedger(ledger, cut)
    sink = closing(LedgerSink(lab, after)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    Disk(events, root, cut).build(relay.data, pick, keep)
    start_anew(relay)
    relay.hup()
    try:
        wait_until(lambda: not after.waiting, patience, "deliveries", interval=0.05)
    except AssertionError:
        pass
    relay.log_text = relay.log_tail(40)
    relay.kill()
    sink.stop()
    shutil.rmtree(relay.data, ignore_errors=True)
    return after, relay


def test_power_cuts_forget_nothing_acknowledged(make_relay, lab, closing, tmp_path):
    cuts = 50 if SOAK else 10
    ledger, events = record(make_relay, lab, closing, tmp_path, seconds=40 if SOAK else 10)
    root = next(tmp_path.glob("relay-*")) / "data"
    syncs = [e for e in events if e.kind == "S"]
    written = sum(e.length for e in events if e.kind == "W")
    print(f"\nrecord: {len(events)} calls, {written >> 20} MiB written, {len(syncs)} syncs; {ledger.summary()}")
    assert len(ledger.acknowledged) > 100
    pick = random.Random(ledger.seed)
    first = min(mark for _, _, mark in ledger.acknowledged.values())
    last = events[-1].end
    owed = 0
    for number in range(cuts):
        cut = pick.randint(first, last) if number else last
        keep = ("some", "none", "some", "all")[number % 4]
        after, relay = revive(make_relay, lab, closing, ledger, events, root, cut, keep, pick, patience=45)
        owed += after.owed
        what = f"seed {ledger.seed}, cut {number} at {cut} of {last}, unsynced kept: {keep}, owed {after.owed}"
        assert not after.waiting, (
            f"{len(after.waiting)} acknowledged lost: {after.lost()[:5]}; {what}\n{relay.log_text}"
        )
        assert not after.damaged, f"damaged {after.damaged[:5]}; {what}\n{relay.log_text}"
        assert not after.unknown, f"unknown {after.unknown[:5]}; {what}\n{relay.log_text}"
    print(f"{cuts} cuts: {owed} messages owed by the disks, 0 lost, 0 damaged")
    assert owed > cuts


def test_the_record_misses_no_call(make_relay, lab, closing, tmp_path):
    """With everything kept, the built disk is the real one, byte for byte: what the other tests stand on."""
    ledger, events = record(make_relay, lab, closing, tmp_path, seconds=3, kills=False)
    root = next(tmp_path.glob("relay-*")) / "data"
    compare(Disk(events, root, events[-1].end), root, tmp_path / "copy")
    assert len(ledger.acknowledged) > 50


def test_control_a_relay_that_does_not_sync_is_found_out(make_relay, lab, closing, tmp_path):
    """The same cut with syncs that do nothing: the test must see the loss, or it proves nothing."""
    ledger, events = record(make_relay, lab, closing, tmp_path, seconds=3, neutered=True)
    root = next(tmp_path.glob("relay-*")) / "data"
    after, _ = revive(
        make_relay, lab, closing, ledger, events, root, events[-1].end, "none", random.Random(1), patience=3
    )
    assert after.owed > 0
    assert len(after.waiting) == after.owed, "a disk on which nothing was synced brought messages back"


def test_each_acknowledgement_follows_a_sync(make_relay, lab, closing, tmp_path):
    """Invariant 1: one message at a time, and each 250 has a sync of the file, for a new file also of its directory, before it."""
    shim = build_shim("disk", tmp_path)
    ledger = Ledger()
    trace = tmp_path / "trace"
    trace.touch()
    sink = closing(LedgerSink(lab, ledger))  # down: the spool's notes of deliveries would mix in
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"temp_fail_intervals": "1h*10"})
    relay.env = {"LD_PRELOAD": shim, "SHIM_DIR": str(relay.data), "SHIM_LOG": str(trace)}
    start_anew(relay)
    ledger.mark = lambda: os.path.getsize(trace)
    sizes = [1024, 1_500_000, 30_000, 2_000_000, 500]
    begun = []
    for size in sizes:
        begun.append(os.path.getsize(trace))
        submit(lab, ledger, relay, [ledger.make(size)])
    relay.kill()
    events = read_events(trace)
    for size, start, (token, (_, _, mark)) in zip(sizes, begun, ledger.acknowledged.items()):
        between = [e for e in events if start <= e.at and e.end <= mark]
        body = [e for e in between if e.kind == "W" and token.encode() in bytes(e.data)]
        assert body, f"{token} was not written before its 250"
        for inode in {e.inode for e in body}:
            last = max(e.at for e in body if e.inode == inode)
            assert any(
                e.kind == "S" and not e.flag and not e.error and e.inode == inode and e.offset > last for e in between
            ), f"no sync of the file between the bytes of {token} ({size} bytes) and its 250"
            names = [name for name, known in Disk(events, relay.data, mark).names.items() if known == inode]
            assert names, f"the name of the file with {token} ({size} bytes) was not durable before its 250"
