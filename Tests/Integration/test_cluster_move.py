"""test_cluster_move.py - a spool into a database and back, many messages: nothing is lost, and memory does not grow with them.

With `TEST_SOAK=1` it is a hundred thousand messages each way.
"""

import os
import subprocess
import time

from harness import SOAK, environment
from ledger import Ledger, LedgerSink, submit
from test_cluster import database, tool, waiting  # noqa: F401
from waiting import PATIENCE, wait_until

COUNT = 100_000 if SOAK else 1_000
# Of a program with debug information; the bodies below are more than that together.
MOST_MEMORY_MB = 220
LARGE, LARGE_SIZE = 60, 4_000_000


def moved(relay, way, data):
    """The command, and the most memory that it had: `(what it printed, MB, seconds)`."""
    command = [relay.binary, "storage", way, "--config", str(relay.config), "--data", str(data)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    printed = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, printed
    return printed, usage.ru_maxrss / 1024, time.monotonic() - began


def test_many_messages_move_there_and_back(make_relay, database, lab, closing):  # noqa: F811
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"routes": {"*": sink.address}, "outbound": {"temp_fail_intervals": "1h*100", "lane_rest_max": 1}}
    old = make_relay(**how)
    mails = [ledger.make(600, recipients=1 + n % 2) for n in range(COUNT)]
    submit(lab, ledger, old, mails, seconds=3600)
    submit(lab, ledger, old, [ledger.make(LARGE_SIZE) for _ in range(LARGE)], seconds=600)
    held = sorted(queue_id for queue_id, *_ in ledger.acknowledged.values())[:: COUNT // 10]
    for queue_id in held:
        tool(old, "queue", "hold", queue_id, "--because", f"ticket {queue_id}")
    old.stop()
    old.write("storage.ini", database.ini("a"))
    total = COUNT + LARGE
    printed, memory, seconds = moved(old, "import", old.data)
    assert printed == f"{total} messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert waiting(database) == total
    assert database.number("SELECT count(*) FROM martlet.hold") == len(held)
    print(f"\nto the database: {total} in {seconds:.1f} s, {total / seconds:.0f} a second, {memory:.0f} MB")
    assert memory < MOST_MEMORY_MB
    new = make_relay(started=False, **how)
    new.write("storage.ini", database.ini("a"))
    printed, memory, seconds = moved(new, "export", new.data)
    assert printed == f"{total} messages moved, 0 were there already, 0 cannot be read and stay\n"
    assert waiting(database) == 0
    print(f"to a spool: {total} in {seconds:.1f} s, {total / seconds:.0f} a second, {memory:.0f} MB")
    assert memory < MOST_MEMORY_MB
    (new.config / "storage.ini").unlink()
    sink.start()
    new.start(timeout=300)
    new.hup()
    ways = sum(len(mail.recipients) for mail in mails) + LARGE
    wait_until(lambda: ways - len(ledger.waiting) >= ways - 2 * len(held), 1800 * PATIENCE, "all but what is held")
    for queue_id in held:
        assert f"ticket {queue_id}" in tool(new, "queue", "show", queue_id)
        tool(new, "queue", "release", queue_id)
    new.hup()
    ledger.wait_delivered(120 * PATIENCE)
    ledger.check(duplicates=0)
