"""test_system.py - what the operating system does to a relay: no descriptors (C8), clock jumps (C9), half-written
configuration (C10), and how much memory it takes for large mail and for a long queue."""

import asyncio
import os
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest
from harness import MARTLET, SOAK
from ledger import Client, Ledger, LedgerSink, Load, build_shim, crashed, start_anew, submit, try_one
from waiting import PATIENCE, wait_until

DAY = 86_400


def cpu_seconds(pid):
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------- descriptors


@pytest.mark.parametrize("limit", [64, 128])
def test_exhausted_descriptors_pause_accept_and_nothing_else(make_relay, lab, closing, limit):
    """C8: more connections than descriptors. No spinning, queued mail leaves, open sessions work, and all is well after."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger))
    relay = make_relay(
        started=False,
        routes={"*": sink.address},
        prefix=["prlimit", f"--nofile={limit}:{limit}"],
        outbound={"temp_fail_intervals": "1h*10"},
    )
    start_anew(relay)
    submit(
        lab,
        ledger,
        relay,
        [ledger.make(2000) for _ in range(30)] + [ledger.make(1_300_000) for _ in range(2)],
        clients=4,
    )
    wait_until(lambda: len(relay.log_lines("delivery deferred")) >= 32, 20, "deferrals")
    early = closing(relay.session())
    crowd = []

    async def connect():
        _reader, writer = await asyncio.open_connection("127.0.0.1", relay.listen[0][1])
        crowd.append(writer)

    async def connect_all():
        await asyncio.gather(*(connect() for _ in range(limit * 2)))

    lab.run(connect_all(), 30)
    before, began = cpu_seconds(relay.pid), time.monotonic()
    time.sleep(3)  # the figure is taken over this time
    used = (cpu_seconds(relay.pid) - before) / (time.monotonic() - began)
    print(f"\n{limit} descriptors, {len(crowd)} connections: {used * 100:.1f} % CPU, {relay.descriptors} open")
    assert used < 0.25, f"{used * 100:.0f} % of a processor while nobody says anything: accept spins"
    sink.start()
    relay.hup()
    wait_until(
        lambda: not ledger.waiting, 30, lambda: f"deliveries without free descriptors: {len(ledger.waiting)} missing"
    )
    early.send(b"NOOP\r\n")
    early.expect(250)
    lab.call(lambda: [writer.transport.abort() for writer in crowd])
    wait_until(lambda: (try_one(lab, ledger, relay, ledger.make(2000), 5) or b"")[:3] == b"250", 10, "accepting again")
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(20)] + [ledger.make(1_300_000)])
    ledger.wait_delivered(20)
    ledger.check(duplicates=0)
    assert crashed(relay) == []


def test_descriptors_that_run_out_and_return_lose_nothing(make_relay, lab, closing):
    """The limit sinks and rises while mail flows."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    load = Load(lab, ledger, relay, clients=16, large=0.02).start()
    for _ in range(20 if SOAK else 4):
        for limit in (10, 1024, 24, 1024):
            subprocess.run(["prlimit", "--pid", str(relay.pid), f"--nofile={limit}:"], check=True)
            time.sleep(0.3)
    load.stop()
    relay.hup()
    ledger.wait_delivered(60)
    print(f"\n{ledger.summary()}")
    ledger.check()
    assert crashed(relay) == []


# ---------------------------------------------------------------------------------------------------- clock


@pytest.fixture
def clock(tmp_path):
    """`clock(relay)` puts the relay's wall clock under our hand; returns the function that sets it off by seconds."""
    path = tmp_path / "clock"
    path.write_bytes(bytes(8))
    shim = build_shim("clock", tmp_path)

    def take(relay):
        relay.env = {"LD_PRELOAD": shim, "SHIM_CLOCK_FILE": str(path)}

        def off(seconds):
            with open(path, "r+b") as file:
                file.write(struct.pack("<q", seconds))

        return off

    return take


@pytest.mark.parametrize("jump", [DAY, -DAY, 400 * DAY, -400 * DAY], ids=["+1 day", "-1 day", "+400 days", "-400 days"])
def test_clock_jump_while_running(make_relay, lab, closing, clock, jump):
    """C9: waits are measured, not read off the wall: no stampede, nothing expires, no timeout fires, no timer sleeps on."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, refuse=b"451 4.3.0 Not now\r\n")).start()
    relay = make_relay(
        started=False,
        routes={"*": sink.address},
        smtp={"timeouts.command": 30, "timeouts.data": 30},
        outbound={"temp_fail_intervals": "4s, 1h*20"},
    )
    off = clock(relay)
    relay.start()
    idle = closing(relay.session())
    half = closing(relay.session())
    half.mail()
    half.rcpt(f"half@{ledger.prefix}.test")
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(50)])
    began = time.monotonic()
    relay.wait_log("delivery deferred", count=50, timeout=20)
    first_round = sink.attempts
    assert first_round == 50
    off(jump)
    time.sleep(1.5)  # long before the retry is due
    if time.monotonic() - began < 3.5:
        assert sink.attempts == first_round, "a retry came early: the jump moved the timer"
    wait_until(lambda: sink.attempts >= 100, 20, "the retry after 4 s in spite of the jump")
    assert time.monotonic() - began >= 3.5, "the retry came early"
    relay.wait_log("delivery deferred", count=100, timeout=20)
    off(jump * 2)
    time.sleep(2)  # what must not happen has no event to wait for
    assert sink.attempts == 100, f"stampede: {sink.attempts} attempts, the next one is due in an hour"
    assert not relay.log_lines("bounced"), "expired early"
    idle.send(b"NOOP\r\n")
    idle.expect(250)
    half.send(b"NOOP\r\n")
    half.expect(250)
    sink.refused = None
    submit(lab, ledger, relay, [ledger.make(2000)])
    wait_until(lambda: len(ledger.delivered) == 1, 15, "new mail flows")
    relay.hup()
    ledger.wait_delivered(20)
    ledger.check(duplicates=0)
    stamp = relay.log[-1].time[:10]
    expected = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 2 * jump))
    assert stamp == expected, f"the shim did not move the clock ({stamp}, not {expected}): the test proved nothing"


def test_clock_jump_while_a_dot_is_awaited(make_relay, lab, closing, clock):
    """A jump of a day is no timeout of a delivery that is under way."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, dot_delay=3)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    off = clock(relay)
    relay.start()
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(5)])
    wait_until(lambda: sink.received >= 1, 15, "a dot")
    for seconds in (DAY, -DAY, 0):
        off(seconds)
        time.sleep(0.5)
    relay.wait_log("message finished", count=5, timeout=30)
    assert not relay.log_lines("delivery deferred"), relay.log_tail(10)
    ledger.check(duplicates=0)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["+1 day", "-1 day"])
def test_clock_jump_across_a_restart(make_relay, lab, closing, clock, jump):
    """The clock is wrong at the next start. A day ahead: nothing expires. A day back: nothing waits a day longer."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger, refuse=b"451 4.3.0 Not now\r\n")).start()
    relay = make_relay(started=False, routes={"*": sink.address}, outbound={"temp_fail_intervals": "6s*3, 1h*10"})
    off = clock(relay)
    relay.start()
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(50)])
    relay.wait_log("delivery deferred", count=50, timeout=20)
    relay.stop()
    off(jump)
    before = sink.attempts
    relay.start()
    began = time.monotonic()
    wait_until(
        lambda: sink.attempts >= before + 50, 30, "the retry that was due 6 s after the first attempt", interval=0.05
    )
    took = time.monotonic() - began
    relay.wait_log("delivery deferred", count=100, timeout=20)
    assert not relay.log_lines("bounced"), "expired early"
    print(f"\nclock {jump:+d} s at the restart: retried after {took:.1f} s, {sink.attempts} attempts for 50 messages")
    assert sink.attempts <= 150, "stampede"
    sink.refused = None
    relay.hup()
    ledger.wait_delivered(20)
    ledger.check(duplicates=0)


# ---------------------------------------------------------------------------------------------------- configuration

BROKEN = {
    "routes.ini cut in a host": ("routes.ini", "[*]\nmx = 127.0.0.1:\n"),
    "routes.ini cut in a section": ("routes.ini", "[*"),
    "routes.ini with binary": ("routes.ini", b"[*]\nmx = \x00\xff\xfe\x01\n"),
    "routes.ini with a key of nobody": ("routes.ini", "[*]\nmx = 127.0.0.1:25\nmxx = 3\n"),
    "outbound.ini cut in a number": ("outbound.ini", "concurrency_max = \n"),
    "outbound.ini with a word for a number": ("outbound.ini", "maxTempFailures = many\n"),
    "outbound.ini beyond 64 bit": ("outbound.ini", "concurrency_max = 99999999999999999999999\n"),
    "outbound.ini with a bad interval": ("outbound.ini", "temp_fail_intervals = 1m, 5x*2\n"),
    "relay_acl_allow with half a network": ("relay_acl_allow", "127.0.0.0/8\n10.0.0.\n"),
    "relay_acl_allow beyond 32 bits": ("relay_acl_allow", "0.0.0.0/33\n"),
    "smtp.ini with a bad limit": ("smtp.ini", None),
}


def names_line(text, file):
    """Says the text which line of the file is wrong? `file:3` for people, `file=… line=3` in the log."""
    return re.search(rf"{re.escape(file)}:\d+|file=\S*{re.escape(file)}\"? .*\bline=\d+", text) is not None


def broken_text(relay, name):
    file, text = BROKEN[name]
    if text is None:
        text = (relay.config / "smtp.ini").read_text() + "\n[limits]\nerrors = -1\n"
    return file, text


@pytest.mark.parametrize("name", BROKEN, ids=lambda name: name.replace(" ", "_"))
def test_half_written_file_keeps_the_last_good_one(make_relay, lab, closing, name):
    """C10, invariant 7: told by file and line, and not used; a good file later is."""
    ledger = Ledger()
    sink = closing(LedgerSink(lab, ledger)).start()
    relay = make_relay(routes={"*": sink.address})
    file, text = broken_text(relay, name)
    relay.write(file, text)
    relay.hup()
    line = wait_until(
        lambda: next((one for one in relay.log if one.level in ("warning", "error") and file in one.raw), None),
        15,
        lambda: f"a line about {file}\n{relay.log_tail()}",
    )
    assert names_line(line.raw, file), f"no line number: {line.raw}"
    submit(lab, ledger, relay, [ledger.make(2000) for _ in range(3)])
    ledger.wait_delivered(15)
    checked = relay.run("check")
    assert checked.returncode == 1 and names_line(checked.stdout + checked.stderr, file), checked
    other = closing(LedgerSink(lab, ledger)).start()
    relay.routes = {"*": other.address}
    relay.write_config()
    relay.hup()

    def moved():
        submit(lab, ledger, relay, [ledger.make(2000)])
        return other.received

    wait_until(moved, 15, "the good file used", interval=0.2)
    ledger.wait_delivered(15)
    ledger.check(duplicates=0)


@pytest.mark.parametrize("name", BROKEN, ids=lambda name: name.replace(" ", "_"))
def test_half_written_file_refuses_the_start(make_relay, name):
    relay = make_relay(started=False, routes={"*": ("127.0.0.1", 9)})
    file, text = broken_text(relay, name)
    relay.write(file, text)
    done = subprocess.run(
        [MARTLET, "serve", "--config", str(relay.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
        errors="replace",
    )
    said = done.stdout + done.stderr
    assert 0 < done.returncode < 128, f"{done.returncode}: {said}"
    assert names_line(said, file), f"no file and line: {said}"


def test_empty_files_are_defaults_and_open_nothing(make_relay, lab, closing):
    """An empty relay_acl_allow lets nobody relay, an empty routes.ini is no route; none of them stops the start."""
    relay = make_relay(started=False, resolver="127.0.0.1@9")
    for file in ("routes.ini", "outbound.ini", "relay_acl_allow", "resolver.ini"):
        relay.write(file, "")
    relay.start()
    with relay.session() as client:
        client.mail()
        client.send(b"RCPT TO:<b@b.test>\r\n")
        assert client.read_reply().code == 550


def test_file_that_cannot_be_read_refuses_the_start(make_relay):
    """A directory under the name of a file: not "no file, so the defaults"."""
    relay = make_relay(started=False, routes={"*": ("127.0.0.1", 9)})
    for file in ("relay_acl_allow", "routes.ini"):
        (relay.config / file).unlink()
        (relay.config / file).mkdir()
        done = subprocess.run(
            [MARTLET, "serve", "--config", str(relay.config), "--data", str(relay.data)],
            capture_output=True,
            text=True,
            timeout=20 * PATIENCE,
        )
        assert 0 < done.returncode < 128 and file in done.stdout + done.stderr, done
        (relay.config / file).rmdir()
        relay.write_config()


# ---------------------------------------------------------------------------------------------------- memory, start


def test_memory_stays_flat_with_large_mail(make_relay, lab, closing):
    """60 messages of 20 MB over 20 connections (1 000 over 50) to a slow next hop."""
    ledger = Ledger()
    count, clients = (1000, 50) if SOAK else (60, 20)
    sink = closing(LedgerSink(lab, ledger, rate=2_000_000)).start()
    relay = make_relay(started=False, routes={"*": sink.address})
    start_anew(relay)
    idle = relay.rss
    one = ledger.make(20_000_000)
    left = [count]

    async def client():
        connection = await Client(relay.listen[0][1], 600).open()
        try:
            while left[0] > 0:
                left[0] -= 1
                mail = ledger.make(300)
                mail.data += one.data
                await connection.send(mail, ledger)
        finally:
            connection.close()

    async def everyone():
        await asyncio.gather(*(client() for _ in range(clients)))

    began = time.monotonic()
    lab.run(everyone(), 3600)
    accepted = time.monotonic() - began
    middle = relay.rss_peak
    sink.rate = 0
    ledger.wait_delivered(3000 if SOAK else 300)
    peak = relay.rss_peak
    print(
        f"\n{count} x 20 MB over {clients} connections in {accepted:.0f} s, delivered after "
        f"{time.monotonic() - began:.0f} s: idle {idle >> 20} MiB, peak {middle >> 20} MiB while accepting, "
        f"{peak >> 20} MiB in all"
    )
    ledger.check(duplicates=0)
    assert peak <= 256 << 20, f"peak {peak >> 20} MiB"


def test_long_queue_is_small_and_starts_at_once(make_relay, lab, closing):
    """20 000 (100 000) deferred messages of 2 KiB: bytes for each above idle, and the time from start to banner."""
    ledger = Ledger()
    count = 100_000 if SOAK else 20_000
    sink = closing(LedgerSink(lab, ledger))
    relay = make_relay(
        started=False, routes={"*": sink.address}, outbound={"temp_fail_intervals": "2h*10", "lane_rest_max": 60}
    )
    empty = start_anew(relay)
    time.sleep(0.5)  # whatever a start still does
    idle = relay.rss
    at = 0
    while at < count:
        submit(lab, ledger, relay, [ledger.make(1800) for _ in range(5000)], clients=16)
        at += 5000
    busy = relay.rss
    relay.hup()
    settled = [0]

    def calm():
        before, settled[0] = settled[0], relay.rss
        return abs(before - settled[0]) < 100_000

    wait_until(calm, 60, "steady memory", interval=2)
    running = relay.rss
    relay.kill()
    crash = start_anew(relay)
    relay.stop()
    clean = start_anew(relay)
    wait_until(calm, 60, "steady memory", interval=2)
    restarted = relay.rss
    print(
        f"\n{count} queued: idle {idle >> 10} KiB, after accepting {busy >> 10} KiB, later {running >> 10} KiB "
        f"({(running - idle) / count:.0f} B each), after a restart {restarted >> 10} KiB "
        f"({(restarted - idle) / count:.0f} B each); banner after {empty * 1000:.0f} ms empty, {crash * 1000:.0f} ms "
        f"after a kill, {clean * 1000:.0f} ms after a stop"
    )
    assert (restarted - idle) / count <= 400, f"{(restarted - idle) / count:.0f} bytes for a queued message"
    assert max(crash, clean) <= 3 * PATIENCE, "the queue makes the restart slow"
    sink.start()
    began = time.monotonic()
    relay.hup()
    ledger.wait_delivered(300)
    print(f"drained at {count / (time.monotonic() - began):.0f} messages/s (the Python next hop is the limit)")
    ledger.check(duplicates=0)
