"""test_cluster_move.py - a spool into a database and back, many messages: nothing is lost, and memory does not grow with them.

With `TEST_SOAK=1` it is a hundred thousand messages each way.
"""

import re
import subprocess
import time
from pathlib import Path

from api import Api, token
from harness import SOAK, environment
from ledger import Ledger, LedgerSink, submit
from test_cluster import database, tool, waiting  # noqa: F401
from waiting import PATIENCE, wait_until

COUNT = 100_000 if SOAK else 1_000
# What a program has that does nothing, and a kilobyte of each message; the long ones alone are more than that together.
MOST_MEMORY_MB = 80 + COUNT // 1000
LARGE, LARGE_SIZE = 25 if not SOAK else 60, 4_000_000


def high_water(pid):
    """Kilobytes of memory that a process had at most; its rusage would have those of whoever made it."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0


def moved(relay, way, data):
    """The command, and the most memory that it had: `(what it printed, MB, seconds)`."""
    command = [relay.binary, "storage", way, "--config", str(relay.config), "--data", str(data)]
    began, most = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        while process.poll() is None:
            most = max(most, high_water(process.pid))
            time.sleep(0.01)
        printed = process.stdout.read()
    assert process.returncode == 0, printed
    return printed, most / 1024, time.monotonic() - began


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


def test_a_relay_is_drained_into_a_node(make_relay, database, lab, closing, tmp_path):  # noqa: F811
    """`martlet drain` to a node of a shared queue: it is the node's mail then, and any node's. From a node it is refused."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    how = {"outbound": {"temp_fail_intervals": "1h*100", "lane_rest_max": 1}, "routes": {"*": sink.address}}
    old = make_relay(me="old.test", **how)
    submit(lab, ledger, old, [ledger.make(recipients=1 + n % 2) for n in range(60)] + [ledger.make(2_000_000)])
    files = {"storage.ini": database.ini("a"), "admin.ini": "listen = 127.0.0.1:0\n"}
    node = make_relay(started=False, files=files, me="node.test", **how)
    secret = tmp_path / "token"
    secret.write_text(token(node, "peer", "queue:write,status:read"))
    node.start()

    def drain(relay):
        to = [
            "--to",
            f"http://127.0.0.1:{Api(node).address[1]}",
            "--to-token-file",
            str(secret),
            "--data",
            str(relay.data),
        ]
        command = [relay.binary, "drain", *to]
        return subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, env=environment())

    run = drain(old)
    assert run.returncode == 0 and run.stdout.startswith("61 messages went to"), run.stdout + run.stderr
    assert waiting(database) == 61
    refused = drain(node)
    assert refused.returncode != 0 and "martlet nodes drain a" in refused.stderr
    # Another node has it when this one is gone.
    node.kill()
    other = make_relay(files={"storage.ini": database.ini("b")}, me="other.test", **how)
    other.wait_log("mail taken over from nodes that are gone", timeout=30)
    sink.start()
    other.hup()
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)
    assert {copies[0][2] for copies in ledger.delivered.values()} == {"other.test"}
