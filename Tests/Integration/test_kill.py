"""test_kill.py - kill -9 at any moment (C1) and a next hop that dies and returns (C11): nothing acknowledged is lost."""

import random
import re
import time

from harness import SOAK
from ledger import Ledger, LedgerSink, Load, crashed, set_aside, start_anew, submit, wait_banner
from waiting import PATIENCE


def report(title, ledger, **figures):
    print(f"\n{title}: {ledger.summary()}; " + ", ".join(f"{key} {value}" for key, value in figures.items()))


def name_of_life(number):
    """The relay's host name in its n-th life: the next hop hears it in EHLO, so each copy tells which process sent it."""
    return f"life{number}.relay.test"


def explain_duplicates(ledger, kills, window):
    """Extra copies per kill. No process may send two, and each that is repeated was sent within `window` s of the kill."""
    per_kill, latest = [0] * len(kills), 0.0
    for key, copies in ledger.duplicates:
        for (first, _, by), (second, _, later) in zip(copies, copies[1:]):
            assert by != later, f"{by} itself sent {key} twice, {second - first:.3f} s apart"
            life = int(re.match(r"life(\d+)\.", by)[1])
            gap = kills[life] - first
            assert gap <= window, f"{key} was delivered {gap:.3f} s before the kill and was still not settled"
            per_kill[life] += 1
            latest = max(latest, gap)
    return per_kill, latest


def drain(relay, ledger, seconds=90):
    """Everything waiting is due now, and must arrive."""
    relay.hup()
    ledger.wait_delivered(seconds)


def kill_loop(make_relay, lab, closing, cycles, shortest, longest, budget, **load_how):
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address}, me=name_of_life(0))
    start_anew(relay)
    load = Load(lab, ledger, relay, **load_how).start()
    pick, kills, starts, began = random.Random(ledger.seed), [], [], time.monotonic()
    for number in range(cycles):
        time.sleep(pick.uniform(shortest, longest))
        relay.process.kill()
        kills.append(time.monotonic())
        relay.process.wait()
        relay.write("me", name_of_life(number + 1) + "\n")
        starts.append(start_anew(relay))
    took = time.monotonic() - began
    load.stop()
    drain(relay, ledger)
    per_kill, latest = explain_duplicates(ledger, kills, window=2 * PATIENCE)
    report(
        f"{cycles} kills in {took:.0f} s",
        ledger,
        duplicates_per_kill=f"mean {sum(per_kill) / cycles:.2f} max {max(per_kill)}",
        latest_before_kill=f"{latest * 1000:.0f} ms",
        restart=f"mean {sum(starts) / cycles * 1000:.0f} ms max {max(starts) * 1000:.0f} ms",
    )
    ledger.check()
    assert sum(per_kill) / cycles <= 10, f"duplicates per kill {per_kill}"
    assert max(per_kill) <= 100, f"duplicates per kill {per_kill}"  # sessions in flight and one batch of notes
    assert set_aside(relay) == [], "a kill tears the end of the log, which is no damage"
    assert crashed(relay) == []
    assert took < budget * PATIENCE
    return ledger, relay


def test_kill_loop_under_load(make_relay, lab, closing):
    """G1, G4: the ledger of acknowledged messages survives any number of kills."""
    cycles = 200 if SOAK else 100
    ledger, relay = kill_loop(
        make_relay,
        lab,
        closing,
        cycles,
        shortest=0.02,
        longest=2.0 if SOAK else 0.8,
        budget=900 if SOAK else 150,
        large=0.01,
        abandon=0.02,
        domains=("a.test", "b.test"),
    )
    assert len(ledger.acknowledged) >= (20_000 if SOAK else 2_000)
    extra = ledger.extra_copies()
    relay.stop()
    start_anew(relay)
    time.sleep(1)  # what must not happen has no event to wait for
    assert ledger.extra_copies() == extra, "a settled message came back after a clean stop"
    ledger.check()


def test_kill_loop_with_large_bodies(make_relay, lab, closing):
    """The same for bodies that lie in files of their own."""
    kill_loop(
        make_relay,
        lab,
        closing,
        cycles=100 if SOAK else 12,
        shortest=0.05,
        longest=1.0,
        budget=600 if SOAK else 90,
        large=0.6,
        abandon=0.1,
        backlog=60,
    )


def test_kill_during_start(make_relay, lab, closing):
    """Kills in the middle of recovery, again and again: the next recovery still knows everything."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    pick = random.Random(ledger.seed)
    for _ in range(50 if SOAK else 15):
        load = Load(lab, ledger, relay, large=0.02).start()
        time.sleep(0.2)
        relay.kill()
        load.stop()
        for _ in range(3):
            start_anew(relay, wait=False)
            time.sleep(pick.uniform(0, 0.15))
            relay.kill()
        start_anew(relay)
    drain(relay, ledger)
    report("kills during start", ledger)
    ledger.check()
    assert set_aside(relay) == []


def test_kill_during_recovery_of_deferred_mail(make_relay, lab, closing):
    """1 000 deferred messages, one kill after another while they are read: each arrives exactly once."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, refuse=b"451 4.3.0 Not now\r\n")).start()
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"temp_fail_intervals": "1h*100"})
    start_anew(relay)
    submit(lab, ledger, relay, [ledger.make(2048) for _ in range(985)] + [ledger.make(1_200_000) for _ in range(15)])
    relay.wait_log("delivery deferred", count=1000, timeout=60)
    sink.stop()
    relay.kill()
    usual = start_anew(relay)
    relay.kill()
    pick = random.Random(ledger.seed)
    for n in range(50 if SOAK else 8):
        start_anew(relay, wait=False)
        time.sleep(pick.uniform(0, 1.5 * usual + 0.05))
        if n % 2 and relay.is_running:
            relay.hup()  # every second one dies while it tries, in vain, to deliver
            time.sleep(pick.uniform(0, 0.3))
        relay.kill()
    sink.refused = None
    sink.start()
    restart = start_anew(relay)
    drain(relay, ledger)
    report("kills during recovery", ledger, restart=f"{restart * 1000:.0f} ms")
    assert len(ledger.acknowledged) == 1000
    ledger.check(duplicates=0)
    assert set_aside(relay) == []


def test_next_hop_dies_and_returns_under_load(make_relay, lab, closing):
    """C11: the next hop resets its sessions and its port, several times, with mail flowing."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"concurrency_per_lane": 10})
    start_anew(relay)
    load = Load(lab, ledger, relay, large=0.01, pace=0.005).start()
    deaths = 60 if SOAK else 6
    for _ in range(deaths):
        time.sleep(0.6)
        sink.stop()
        time.sleep(0.4)
        sink.start()
    load.stop()
    relay.hup()
    ledger.wait_delivered(90)
    report(f"{deaths} deaths of the next hop", ledger)
    # What the dying next hop had taken but could not answer comes again: at most one transaction for each session.
    ledger.check(duplicates=deaths * 10 * 3)
    assert crashed(relay) == []


def test_relay_and_next_hop_die_together(make_relay, lab, closing):
    """Both ends fail at random; only copies may be too many, and only for what was in flight."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    load = Load(lab, ledger, relay, large=0.01, abandon=0.02, backlog=1000).start()
    pick = random.Random(ledger.seed)
    for _ in range(100 if SOAK else 15):
        time.sleep(pick.uniform(0.05, 0.4))
        what = pick.choice(("relay", "sink", "both"))
        if what != "relay":
            sink.stop()
        if what != "sink":
            relay.kill()
            start_anew(relay, wait=False)
        if what != "relay":
            time.sleep(pick.uniform(0, 0.3))
            sink.start()
        wait_banner(relay)
    load.stop()
    drain(relay, ledger)
    report("both die", ledger)
    ledger.check()
    assert set_aside(relay) == []
    assert crashed(relay) == []
