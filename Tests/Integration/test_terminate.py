"""test_terminate.py - SIGTERM drains (C6) and SIGHUP may come at any rate (C7): nothing is lost, nothing comes twice."""

import os
import signal
import time

import pytest
from harness import SOAK
from ledger import Ledger, LedgerSink, Load, crashed, set_aside, start_anew, submit
from smtp_client import SmtpClient
from waiting import PATIENCE, wait_until

LIMIT = 15  # seconds from SIGTERM to the end


def stop_in_time(relay, number=signal.SIGTERM):
    began = time.monotonic()
    relay.signal(number)
    status = relay.process.wait(40 * PATIENCE)
    took = time.monotonic() - began
    assert status == 0, f"exit status {status}:\n{relay.log_tail()}"
    assert took <= LIMIT * PATIENCE, f"{took:.1f} s until the end"
    return took


@pytest.mark.parametrize("delay", [0.0, 1.0], ids=["quick next hop", "slow next hop"])
def test_stop_under_load_loses_and_repeats_nothing(make_relay, lab, closing, delay):
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=delay)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    load = Load(lab, ledger, relay, large=0.01, abandon=0.01, backlog=300 if delay else 2000).start()
    stops, took = (100 if SOAK else 10) // (2 if delay else 1), []
    for _ in range(stops):
        before = sink.received
        wait_until(lambda: sink.received > before, 30, "deliveries")
        time.sleep(ledger.random.uniform(0.0, 0.8))
        took.append(stop_in_time(relay))
        start_anew(relay)
    load.stop()
    sink.dot_delay = 0
    relay.hup()
    ledger.wait_delivered(90)
    print(f"\n{stops} stops, dot answered after {delay} s: {ledger.summary()}; longest stop {max(took):.2f} s")
    ledger.check(duplicates=0)
    assert len(ledger.acknowledged) > stops
    assert set_aside(relay) == []
    assert crashed(relay) == []


def test_draining_relay_takes_nothing_new(make_relay, lab, closing):
    """While a slow dot is awaited, ten seconds at most: new connections and transactions are turned away, the running one is
    settled."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=min(4 * PATIENCE, 8))).start()
    relay = make_relay(routes={"*": sink.address})
    idle = closing(relay.session())
    submit(lab, ledger, relay, [ledger.make(1000)])
    wait_until(lambda: sink.received == 1, 15, "the delivery")
    relay.signal(signal.SIGTERM)
    replies = []

    def turned_away():
        try:
            with SmtpClient(relay.address, timeout=5) as late:
                late.send(b"NOOP\r\n")
                line = late.read_line()
                replies.append(line[:3])
                return line[:3] in (b"421", "421")
        except (OSError, AssertionError, EOFError):
            replies.append("refused")
            return True

    wait_until(turned_away, 2, "new connections turned away")
    assert relay.is_running, "the dot that was sent is awaited"
    end = time.monotonic() + 1
    while time.monotonic() < end and relay.is_running:
        assert turned_away(), f"a connection was served while draining: {replies[-1]}"
        time.sleep(0.1)
    try:
        idle.send(b"MAIL FROM:<a@a.test>\r\n")
        line = idle.read_line()
        assert line[:3] in (b"421", "421", b"", ""), f"{line} to a new transaction while draining"
    except (OSError, EOFError, AssertionError) as error:
        assert "while draining" not in str(error)
    assert relay.process.wait(LIMIT * PATIENCE) == 0
    assert not ledger.waiting
    start_anew(relay)
    time.sleep(1)  # what must not happen has no event to wait for
    ledger.check(duplicates=0)


def test_dot_that_is_never_answered_does_not_hold_the_stop(make_relay, lab, closing):
    """Ten seconds are granted to a dot; then the message stays in the queue and is tried again."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=3600)).start()
    relay = make_relay(routes={"*": sink.address})
    submit(lab, ledger, relay, [ledger.make(1000) for _ in range(3)])
    wait_until(lambda: sink.received >= 1, 15, "a delivery")
    took = stop_in_time(relay)
    sink.stop()
    sink.dot_delay = 0
    sink.start()
    start_anew(relay)
    relay.hup()
    # A message whose dot was not answered is not delivered: it must come again.
    wait_until(lambda: len(ledger.delivered) == 3 and ledger.extra_copies() >= 1 and not ledger.waiting, 30, "the rest")
    print(f"\nunanswered dot: stopped after {took:.1f} s; {ledger.summary()}")
    ledger.check(duplicates=3)


def test_silent_next_hop_is_left_at_once(make_relay, lab, closing, make_server):
    """Before the dot nothing is owed to anyone: a transaction that has not sent it is given up without waiting."""
    from scripted import Stall

    server = make_server({"DATA": Stall(3600)})
    relay = make_relay(routes={"*": server.address})
    ledger = Ledger()
    submit(lab, ledger, relay, [ledger.make(1000) for _ in range(3)])
    server.wait_sessions(1)
    took = stop_in_time(relay)
    assert took <= 5 * PATIENCE, f"{took:.1f} s for transactions that had not sent their dot"
    server.heal()
    start_anew(relay)
    relay.hup()
    server.wait_for(3, 30)
    assert sorted(server.copies().values()) == [1, 1, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_impatient_signals_end_in_a_clean_stop(make_relay, lab, closing, number):
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=0.5)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    load = Load(lab, ledger, relay, clients=4, backlog=100).start()
    wait_until(lambda: sink.received > 5, 20, "deliveries")
    for _ in range(3):
        relay.signal(number)
    stop_in_time(relay, number)
    start_anew(relay)
    load.stop()
    ledger.wait_delivered(60)
    ledger.check(duplicates=0)


def test_storm_of_hangups(make_relay, lab, closing):
    """C7: 200 signals in 5 s (1 000 in 30 s), with mail that is flowing and mail that is deferred."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"temp_fail_intervals": "1h*100"})
    start_anew(relay)
    pid = relay.pid
    load = Load(lab, ledger, relay, large=0.005).start()
    signals, seconds = (1000, 30) if SOAK else (200, 5)
    began = time.monotonic()
    for n in range(signals):
        relay.hup()
        if n % 40 == 20:
            sink.refused = b"451 4.3.0 Not now\r\n" if sink.refused is None else None
        time.sleep(max(0.0, began + (n + 1) * seconds / signals - time.monotonic()))
    sink.refused = None
    load.stop()
    assert relay.is_running and relay.pid == pid
    os.kill(pid, 0)
    relay.hup()
    ledger.wait_delivered(60)
    print(f"\n{signals} hang-ups in {time.monotonic() - began:.1f} s: {ledger.summary()}")
    ledger.check(duplicates=0)
    assert len(ledger.acknowledged) > 200
    assert crashed(relay) == []
