"""test_peer_matrix.py - one relay beside some two hundred next hops that each misbehave once in a way of their own.

Every stage of the dialogue meets every kind of misbehaviour, over ESMTP with and without PIPELINING and over LMTP, all at
the same time. Whatever a peer did: each recipient has one fate, a copy that was taken or a line in one report; a second
copy only where the answer to a dot never came; and connections stay in proportion to the mail.
"""

import collections
import dataclasses

from peers import report_of
from scripted import Do, Drop, Reset, Sequence, Wait
from smtp_client import SmtpClient
from waiting import wait_until

MESSAGES = 3
SIZES = (2, 1, 3)  # recipients of each

PAUSE = Wait(0.05, then=b"")

# What is said or done once instead of the usual answer: (action, it ends the session by itself).
KINDS = {
    "later": ("451 4.3.0 later", False),
    "bare later": ("450 busy", False),
    "two lines": ("451-4.3.0 not\n451 4.3.0 now", False),
    "bare LF": (b"451 4.3.0 later\n", False),
    "wrong digits": ("451 5.7.1 later", False),
    "goodbye": (Do("421 4.3.2 closing", Drop()), True),
    "never": ("554 5.7.1 no", False),
    "bare never": ("550 no", False),
    "nonsense": (b"hello there\r\n", True),
    "drop": (Drop(), True),
    "half a reply": (Drop(b"25"), True),
    "reset": (Reset(), True),
    "in pieces": (Do(b"45", PAUSE, b"1 4.3", PAUSE, b".0 later\r\n"), False),
}
STAGES = ("BANNER", "GREETING", "MAIL", "RCPT", "RCPT:1", "DATA", "DOT")
# Where the mail is settled already: nothing of it may be asked for again.
AFTER = {"IDLE": ("goodbye", "drop", "reset"), "QUIT": ("later", "never", "nonsense", "drop", "reset")}
PROTOCOLS = ("esmtp", "plain", "lmtp")


@dataclasses.dataclass
class Hop:
    name: str
    stage: str
    kind: str
    peer: object
    recipients: set = dataclasses.field(default_factory=set)

    @property
    def may_double(self):
        """A dot whose answer never came says nothing about what became of the mail (RFC 5321 §4.2.5), and behind an answer
        over LMTP that is none nobody can tell whose the next one is."""
        return self.stage == "DOT" and (KINDS[self.kind][1] and self.kind != "goodbye")


def hops(make_server):
    made = []
    cells = [(s, k) for s in STAGES for k in KINDS] + [(s, k) for s, kinds in AFTER.items() for k in kinds]
    for protocol in PROTOCOLS:
        for stage, kind in cells:
            named = {"GREETING": "LHLO" if protocol == "lmtp" else "EHLO"}.get(stage, stage)
            capabilities = None if protocol != "plain" else ("8BITMIME", "ENHANCEDSTATUSCODES")
            peer = make_server(
                {named: Sequence(KINDS[kind][0], None)}, lmtp=protocol == "lmtp", capabilities=capabilities
            )
            if stage == "QUIT":
                peer.script["QUIT"] = KINDS[kind][0]
            made.append(Hop(f"h{len(made)}.test", stage, kind, peer))
    return made


def test_two_hundred_ways_to_fail(make_relay, make_server, sink, record_property):
    matrix = hops(make_server)
    assert len(matrix) >= 200
    relay = make_relay(
        routes={"sender.test": sink.address, **{hop.name: hop.peer.route for hop in matrix}},
        outbound={"temp_fail_intervals": "1s*100", "lane_rest_max": 1, "concurrency_max": 1000},
    )
    with SmtpClient(relay.address) as client:
        client.expect(220)
        client.ehlo()
        for number in range(MESSAGES):
            for hop in matrix:
                to = [f"r{number}{letter}@{hop.name}" for letter in "abc"[: SIZES[number]]]
                client.message("from@sender.test", to, b"Subject: matrix\r\n\r\nbody\r\n")
                hop.recipients |= set(to)
        client.quit()

    everybody = {one for hop in matrix for one in hop.recipients}

    def refused():
        return collections.Counter(
            group["final-recipient"].split(";")[1].strip()
            for report in sink.messages
            for group in report_of(report.data)[3]
        )

    def settled():
        taken = {one for hop in matrix for one in hop.peer.copies()}
        return everybody - taken - set(refused())

    wait_until(
        lambda: not settled(), 240, lambda: f"{len(settled())} wait: {sorted(settled())[:20]}\n{relay.log_tail(20)}"
    )
    wait_until(
        lambda: len(relay.log_lines("message finished")) >= MESSAGES * len(matrix), 60, lambda: "not all are finished"
    )
    assert relay.stop() == 0

    bounced, wrong = refused(), []
    doubles = connections = 0
    for hop in matrix:
        copies = hop.peer.copies()
        doubtful = collections.Counter(one for t in hop.peer.transactions for one in t.doubtful)
        for one in hop.recipients:
            fates = copies.get(one, 0) + bounced.get(one, 0)
            if fates != 1 and not (hop.may_double and fates <= 2):
                wrong.append(
                    f"{hop.stage} {hop.kind}: {one} was taken {copies.get(one, 0)} times, reported {bounced[one]}"
                )
            if doubtful[one] and not hop.may_double:
                wrong.append(f"{hop.stage} {hop.kind}: {one} was sent for nothing")
            doubles += doubtful[one]
        if bounced.keys() & hop.recipients and hop.kind not in ("never", "bare never", "wrong digits"):
            wrong.append(f"{hop.stage} {hop.kind}: what passes was taken for permanent")
        if hop.peer.violations:
            wrong.append(f"{hop.stage} {hop.kind}: {hop.peer.violations[:2]}")
        # One for each message at most, one for the failure, one that was on its way when it came.
        if hop.peer.connections > MESSAGES + 2:
            wrong.append(f"{hop.stage} {hop.kind}: {hop.peer.connections} connections for {MESSAGES} messages")
        connections += hop.peer.connections
    figures = {
        "peers": len(matrix),
        "connections_per_message": round(connections / (MESSAGES * len(matrix)), 2),
        "copies_in_doubt": doubles,
        "reported": sum(bounced.values()),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)
    assert not wrong, f"{figures}\n" + "\n".join(wrong[:60])
    assert figures["connections_per_message"] <= 1.0, figures
