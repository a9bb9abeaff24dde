"""test_memory.py - what clients can make the relay hold has a bound, kept under a limit of the address space."""

import re
import subprocess

from peers import need
from smtp_client import SmtpClient

CLIENTS, RECIPIENTS = 150, 1000
BUDGET = 16 << 20
# What a process of Swift takes besides: heaps of its threads (64 MiB of address space each), stacks, buffers of sockets.
SLACK = 160 << 20


def test_envelopes_stay_within_the_memory_for_mail(make_relay, sink, check):
    """150 clients with 1 000 recipients each, none of which ends its transaction, and ordinary mail beside them."""
    need("prlimit")
    relay = make_relay(
        routes={"*": sink.address},
        smtp={
            "memory_for_mail": "16M",
            "limits.recipients": RECIPIENTS,
            "limits.connections": 400,
            "limits.connections_per_client": 400,
        },
    )
    with relay.session() as client:
        client.message("a@a.test", ["b@b.test"], b"Subject: first\r\n\r\nx\r\n")
    size = int(re.search(r"VmPeak:\s+(\d+) kB", open(f"/proc/{relay.pid}/status").read())[1]) << 10
    subprocess.run(["prlimit", f"--pid={relay.pid}", f"--as={size + BUDGET + SLACK}"], check=True)
    relay.reset_rss_peak()
    before = relay.rss
    name = "r" * 230
    commands = b"".join(b"RCPT TO:<%s%d@%s.test>\r\n" % (name.encode(), n, b"d" * 60) for n in range(RECIPIENTS))
    clients, accepted, refused = [], 0, 0
    try:
        for _ in range(CLIENTS):
            client = SmtpClient(relay.address, timeout=60)
            clients.append(client)
            client.expect(220)
            client.ehlo()
            client.mail()
            client.send(commands)
            codes = [client.read_reply() for _ in range(RECIPIENTS)]
            accepted += sum(reply.code == 250 for reply in codes)
            refused += sum(reply.code == 452 and reply.status == "4.3.1" for reply in codes)
        check.equal(accepted + refused, CLIENTS * RECIPIENTS, "250 or 452 for each")
        check(accepted > 10_000, f"the budget is used: {accepted}")
        check(refused > CLIENTS * RECIPIENTS // 2, f"and kept: {refused}")
        grown = relay.rss_peak - before
        check(grown < BUDGET + (48 << 20), f"resident memory grew by {grown >> 20} MiB")
        with relay.session() as client:
            client.message("a@a.test", ["ordinary@b.test"], b"Subject: ordinary\r\n\r\nx\r\n")
        sink.wait_for(2)
        # The refusals end no session, and the place of those who leave is free again.
        for client in clients[: CLIENTS // 2]:
            client.command("RSET", 250)
        client = clients[0]
        client.mail()
        client.rcpt("again@b.test")
        check.equal(client.data(b"Subject: again\r\n\r\nx\r\n").code, 250, "mail after the flood")
    finally:
        for client in clients:
            client.close()
    check(relay.is_running, "alive")
