"""test_dns.py — finding the next hop in a DNS that is helpful, broken or hostile (A13, RFC 5321 §5.1, RFC 7505).

Peers listen on port 25 of loopback addresses of their own, so these tests need root; without it they are skipped. The relay
asks only the test's own name server.
"""

import os
import random
import struct
import time

import pytest
import reports
from dns_server import DnsServer, encode_name
from scripted import Drop
from story import events, first_event, submit, text, wait_event
from waiting import fresh_address, wait_until

LOCAL = {
    "local_mx_ok": True,
    "connect_timeout": 2,
    "greeting_timeout": 5,
    "temp_fail_intervals": "1s*100",
    "lane_rest_max": 1,
    "pool_timeout": 1,
}


@pytest.fixture
def bench(make_relay, make_dns, sink):
    """`bench(records, **outbound)` -> (relay, dns); reports go to `sink` by a route."""

    def make(records, dns_class=None, files=None, smtp=None, **outbound):
        dns = make_dns(records) if dns_class is None else dns_class(records)
        relay = make_relay(
            routes={"report.test": sink.route}, resolver=dns, outbound={**LOCAL, **outbound}, files=files, smtp=smtp
        )
        return relay, dns

    return make


def report_status(sink, recipient, count=1):
    """The Status field for a recipient in the only report that arrived."""
    message = sink.wait_for(count)[-1]
    report = reports.parse(message.data)
    reports.check(report)
    return str(report.field(recipient, "Status")).split()[0]


# ------------------------------------------------------------------------------------------------ the ordinary cases


def test_mx_is_used(bench, peer25):
    peer = peer25()
    relay, dns = bench({("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): [peer.host]})
    queue_id = submit(relay, "u@d.test")
    peer.wait_for(1)
    line = wait_event(relay, queue_id, "delivered")
    assert peer.copies() == {"u@d.test": 1}
    assert "mx.d.test" in line.raw and peer.host in line.raw, line.raw
    assert dns.asked("d.test", "MX") >= 1


def test_implicit_mx(bench, peer25):
    peer = peer25()
    relay, _ = bench({("d.test", "A"): [peer.host]})
    submit(relay, "u@d.test")
    assert peer.wait_for(1)[0].recipients == ["u@d.test"]


def test_lowest_priority_first(bench, peer25):
    first, second, third = peer25(), peer25(), peer25()
    relay, _ = bench(
        {
            ("d.test", "MX"): [(30, "c.d.test"), (5, "a.d.test"), (10, "b.d.test")],
            ("a.d.test", "A"): [first.host],
            ("b.d.test", "A"): [second.host],
            ("c.d.test", "A"): [third.host],
        },
        messages_per_session=1,
    )
    for _ in range(6):
        submit(relay, "u@d.test")
    first.wait_for(6)
    assert second.sessions == [] and third.sessions == []


def test_equal_priorities_are_shuffled(bench, peer25):
    first, second = peer25(), peer25()
    records = {("a.mx.test", "A"): [first.host], ("b.mx.test", "A"): [second.host]}
    for number in range(24):
        records[(f"d{number}.test", "MX")] = [(10, "a.mx.test"), (10, "b.mx.test")]
    relay, _ = bench(records)
    for number in range(24):
        submit(relay, f"u@d{number}.test")
    wait_until(lambda: len(first.messages) + len(second.messages) == 24, 20, "24 messages")
    # All 24 by chance at one of the two: once in eight million runs.
    assert first.messages and second.messages, (len(first.messages), len(second.messages))


@pytest.mark.parametrize(
    "fault", ["refused", "421 banner", "554 banner", "close", "MAIL 451", "DATA 451", "dot 451", "no address"]
)
def test_next_mx_after_trouble(bench, peer25, fault):
    scripts = {
        "421 banner": {"BANNER": "421 4.3.2 busy"},
        "554 banner": {"BANNER": "554 5.3.2 no"},
        "MAIL 451": {"MAIL": "451 4.3.0 later"},
        "DATA 451": {"DATA": "451 4.3.0 later"},
        "dot 451": {"DOT": "451 4.3.0 later"},
    }
    good = peer25()
    records = {("d.test", "MX"): [(10, "bad.d.test"), (20, "good.d.test")], ("good.d.test", "A"): [good.host]}
    if fault == "refused":
        records[("bad.d.test", "A")] = [fresh_address()]
    elif fault == "close":
        records[("bad.d.test", "A")] = [peer25({"BANNER": Drop()}).host]
    elif fault != "no address":
        records[("bad.d.test", "A")] = [peer25(scripts[fault]).host]
    relay, _ = bench(records)
    queue_id = submit(relay, "u@d.test")
    good.wait_for(1)
    wait_event(relay, queue_id, "delivered")
    assert [e for e, _ in events(relay, queue_id)] == ["delivered"], relay.log_tail()


def test_second_address_of_a_host(bench, peer25):
    peer = peer25()
    relay, _ = bench(
        {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): [fresh_address(), fresh_address(), peer.host]}
    )
    queue_id = submit(relay, "u@d.test")
    peer.wait_for(1)
    assert first_event(relay, queue_id)[0] == "delivered"


def test_all_hosts_dead_defers_and_heals(bench, peer25):
    peer = peer25(listening=False)
    relay, _ = bench(
        {
            ("d.test", "MX"): [(10, "a.d.test"), (20, "b.d.test")],
            ("a.d.test", "A"): [fresh_address()],
            ("b.d.test", "A"): [peer.host],
        }
    )
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id)[0] == "deferred"
    peer.listen()
    peer.wait_for(1)
    wait_event(relay, queue_id, "delivered")


def test_address_literal_needs_no_dns(bench, peer25):
    peer = peer25()
    relay, dns = bench({})
    submit(relay, f"u@[{peer.host}]")
    assert peer.wait_for(1)[0].recipients == [f"u@[{peer.host}]"]
    assert not [q for q in dns.queries if q[0] != "report.test"]


# ------------------------------------------------------------------------------------------------ both families


def test_aaaa_only(bench, peer_v6):
    relay, _ = bench({("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::1"]})
    submit(relay, "u@d.test")
    assert peer_v6.wait_for(1)


def test_implicit_mx_with_aaaa_only(bench, peer_v6):
    relay, _ = bench({("d.test", "AAAA"): ["::1"]})
    submit(relay, "u@d.test")
    assert peer_v6.wait_for(1)


@pytest.mark.parametrize("prefer", ["v4", "v6"])
def test_preferred_family_comes_first(bench, peer_v6, peer25, prefer):
    v4 = peer25()
    relay, _ = bench(
        {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::1"], ("mx.d.test", "A"): [v4.host]},
        inet_prefer=prefer,
    )
    for _ in range(4):
        submit(relay, "u@d.test")
    wanted, other = (v4, peer_v6) if prefer == "v4" else (peer_v6, v4)
    wanted.wait_for(4)
    assert other.sessions == []


def test_dead_aaaa_falls_back_to_a(bench, peer25, peer_v6):
    v4 = peer25()
    peer_v6.close()
    relay, _ = bench(
        {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::1"], ("mx.d.test", "A"): [v4.host]},
        inet_prefer="v6",
    )
    queue_id = submit(relay, "u@d.test")
    v4.wait_for(1)
    assert first_event(relay, queue_id)[0] == "delivered"


# ------------------------------------------------------------------------------------------------ aliases


def test_domain_is_an_alias_of_one_with_mx(bench, peer25):
    peer = peer25()
    relay, _ = bench(
        {("alias.test", "CNAME"): "d.test", ("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): [peer.host]}
    )
    submit(relay, "u@alias.test")
    assert peer.wait_for(1)[0].recipients == ["u@alias.test"], "the address is not rewritten (RFC 5321 §5.1)"


def test_domain_is_an_alias_of_one_with_address(bench, peer25):
    peer = peer25()
    relay, _ = bench({("alias.test", "CNAME"): "d.test", ("d.test", "A"): [peer.host]})
    submit(relay, "u@alias.test")
    assert peer.wait_for(1)


def test_mx_names_an_alias(bench, peer25):
    peer = peer25()
    relay, _ = bench(
        {
            ("d.test", "MX"): [(10, "alias.d.test")],
            ("alias.d.test", "CNAME"): "mx.d.test",
            ("mx.d.test", "A"): [peer.host],
        }
    )
    submit(relay, "u@d.test")
    assert peer.wait_for(1)


@pytest.mark.parametrize(
    "records",
    [
        {("d.test", "CNAME"): "e.test", ("e.test", "CNAME"): "d.test"},
        {("d.test", "CNAME"): "d.test"},
        {
            ("d.test", "MX"): [(10, "mx.d.test")],
            ("mx.d.test", "CNAME"): "mx.e.test",
            ("mx.e.test", "CNAME"): "mx.d.test",
        },
    ],
    ids=["two names", "itself", "behind MX"],
)
def test_alias_loop_ends(bench, records):
    relay, dns = bench(records)
    queue_id = submit(relay, "u@d.test")
    event, _ = first_event(relay, queue_id, timeout=40)
    assert event in ("deferred", "bounced")
    assert len(dns.queries) < 400, "the loop was followed for ever"


# ------------------------------------------------------------------------------------------------ no such place


def test_null_mx_bounces_at_once(bench, sink):
    relay, _ = bench({("d.test", "MX"): [(0, "")], ("d.test", "A"): ["127.0.0.1"]})
    queue_id = submit(relay, "u@d.test")
    event, line = first_event(relay, queue_id)
    assert event == "bounced" and "5.1.10" in line.raw, line.raw
    assert report_status(sink, "u@d.test") == "5.1.10"


def test_nxdomain_bounces_at_once(bench, sink):
    relay, _ = bench({})
    queue_id = submit(relay, "u@nowhere.test")
    event, line = first_event(relay, queue_id)
    assert event == "bounced" and "5.1.2" in line.raw, line.raw
    assert report_status(sink, "u@nowhere.test") == "5.1.2"


def test_domain_without_any_host_bounces(bench, sink):
    relay, _ = bench({("d.test", "TXT"): ["hello"]})
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id)[0] == "bounced"
    assert report_status(sink, "u@d.test") in ("5.1.2", "5.4.4")


def test_mx_host_without_address_is_accounted_for(bench):
    relay, _ = bench({("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "TXT"): ["no address here"]})
    assert first_event(relay, submit(relay, "u@d.test"))[0] in ("bounced", "deferred")


def test_one_domain_fails_others_do_not(bench, peer25, sink):
    """One message, four domains: each recipient has a fate of its own."""
    peer = peer25()
    relay, _ = bench({("good.test", "A"): [peer.host], ("null.test", "MX"): [(0, "")], ("sick.test", "*"): "SERVFAIL"})
    queue_id = submit(relay, ["u@good.test", "u@null.test", "u@sick.test", "u@none.test"])
    assert first_event(relay, queue_id, "u@good.test")[0] == "delivered"
    assert first_event(relay, queue_id, "u@null.test")[0] == "bounced"
    assert first_event(relay, queue_id, "u@none.test")[0] == "bounced"
    assert first_event(relay, queue_id, "u@sick.test", 40)[0] == "deferred"
    named = [r for m in sink.wait_for(2) for r in reports.parse(m.data).failed]
    assert sorted(named) == ["u@none.test", "u@null.test"]


# ------------------------------------------------------------------------------------------------ back to ourselves

OURSELVES = {
    "loopback": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): ["127.0.0.1"]},
    "another loopback address": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): ["127.9.8.7"]},
    "loopback v6": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::1"]},
    "mapped loopback": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::ffff:127.0.0.1"]},
    "unspecified": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): ["0.0.0.0"]},
    "unspecified v6": {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "AAAA"): ["::"]},
    "implicit MX": {("d.test", "A"): ["127.0.0.1"]},
    "several": {
        ("d.test", "MX"): [(10, "a.d.test"), (20, "b.d.test")],
        ("a.d.test", "A"): ["127.0.0.1"],
        ("b.d.test", "A"): ["0.0.0.0"],
    },
    "our own name": {("d.test", "MX"): [(10, "relay.test")], ("relay.test", "A"): ["127.0.0.1"]},
}


@pytest.mark.parametrize("kind", OURSELVES)
def test_mx_to_ourselves_bounces(bench, sink, kind):
    relay, _ = bench(OURSELVES[kind], local_mx_ok=False)
    queue_id = submit(relay, "u@d.test")
    event, line = first_event(relay, queue_id)
    assert event == "bounced" and "5.4.6" in line.raw, line.raw
    assert report_status(sink, "u@d.test") == "5.4.6"


def test_address_of_an_interface_is_ourselves(bench, sink):
    addresses = [a for a in os.popen("hostname -I").read().split() if ":" not in a and not a.startswith("127.")]
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    relay, _ = bench({("d.test", "A"): [addresses[0]]}, local_mx_ok=False)
    event, line = first_event(relay, submit(relay, "u@d.test"))
    assert event == "bounced" and "5.4.6" in line.raw, line.raw


def test_local_literal_bounces(bench, sink):
    relay, _ = bench({}, local_mx_ok=False)
    event, line = first_event(relay, submit(relay, "u@[127.0.0.1]"))
    assert event == "bounced" and "5.4.6" in line.raw, line.raw


# ------------------------------------------------------------------------------------------------ a sick DNS


@pytest.mark.parametrize("sickness", ["SERVFAIL", "REFUSED"])
def test_server_trouble_defers_and_heals(bench, peer25, sickness):
    peer = peer25()
    relay, dns = bench({("d.test", "*"): sickness})
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id, timeout=40)[0] == "deferred"
    del dns.records[("d.test", "*")]
    dns.records[("d.test", "MX")] = [(10, "mx.d.test")]
    dns.records[("mx.d.test", "A")] = [peer.host]
    peer.wait_for(1, timeout=40)
    wait_event(relay, queue_id, "delivered")
    assert peer.copies() == {"u@d.test": 1}


def test_trouble_with_the_address_defers(bench):
    relay, _ = bench({("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "*"): "SERVFAIL"})
    assert first_event(relay, submit(relay, "u@d.test"), timeout=40)[0] == "deferred"


def test_silence_defers_and_delays_nobody(bench, peer25):
    peer = peer25()
    relay, dns = bench({("mute.test", "*"): "SILENT", ("d.test", "A"): [peer.host]})
    silent = submit(relay, [f"u{n}@mute.test" for n in range(3)])
    wait_until(lambda: dns.asked("mute.test"), 5, "the question")
    started = time.monotonic()
    for _ in range(5):
        submit(relay, "u@d.test")
    peer.wait_for(5, timeout=3)
    assert time.monotonic() - started < 3
    assert first_event(relay, silent, timeout=90)[0] == "deferred"


class Forger(DnsServer):
    """Before each true answer come forged ones: other ids, the evil address."""

    evil = "127.0.0.66"

    def _answers(self, packet, is_udp):
        identity, _, questions = struct.unpack_from(">HHH", packet)
        if is_udp and questions == 1:
            question = packet[12 : packet.index(b"\0", 12) + 5]
            kind = struct.unpack_from(">H", question, len(question) - 4)[0]
            for number in [(identity + delta) & 0xFFFF for delta in (1, -1, 256, -256, 0x8000)] + random.sample(
                range(65536), 20
            ):
                if number == identity:
                    continue
                head = struct.pack(">HHHHHH", number, 0x8580, 1, 1 if kind in (1, 15) else 0, 0, 0)
                record = b""
                if kind == 1:
                    record = (
                        b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 3600, 4) + bytes(int(x) for x in self.evil.split("."))
                    )
                elif kind == 15:
                    data = struct.pack(">H", 1) + encode_name("evil.test")
                    record = b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 3600, len(data)) + data
                yield head + question + record
        yield from super()._answers(packet, is_udp)


def test_forged_answers_are_ignored(bench, peer25, closing):
    peer, evil = peer25(), peer25()

    class ThisForger(Forger):
        pass

    ThisForger.evil = evil.host
    relay, _ = bench(
        {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): [peer.host], ("evil.test", "A"): [evil.host]},
        dns_class=lambda records: closing(ThisForger(records)),
    )
    queue_id = submit(relay, "u@d.test")
    peer.wait_for(1, timeout=40)
    wait_event(relay, queue_id, "delivered")
    assert evil.sessions == []


def test_only_forged_answers_deliver_nothing(bench, peer25):
    evil = peer25()
    relay, _dns = bench({("d.test", "*"): "WRONG_ID", ("evil.test", "A"): [evil.host]})
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id, timeout=90)[0] == "deferred"
    assert evil.sessions == []


def test_truncated_answer_is_asked_again_by_tcp(bench, peer25):
    peer = peer25()
    many = [(10, "mx.d.test")] + [(50 + n, f"host-with-a-rather-long-name-{n}.d.test") for n in range(60)]
    relay, _ = bench({("d.test", "MX"): "TRUNCATE", ("d.test", "MX", 0): many, ("mx.d.test", "A"): [peer.host]})
    submit(relay, "u@d.test")
    assert peer.wait_for(1)


def test_200_mx_the_first_is_good(bench, peer25):
    peer = peer25()
    records = {("d.test", "MX"): [(n + 1, f"m{n}.d.test") for n in range(200)], ("m0.d.test", "A"): [peer.host]}
    records.update({(f"m{n}.d.test", "A"): [fresh_address()] for n in range(1, 200)})
    relay, _ = bench(records)
    submit(relay, "u@d.test")
    assert peer.wait_for(1)


def test_200_dead_mx_end_in_a_deferral(bench):
    records = {("d.test", "MX"): [(n + 1, f"m{n}.d.test") for n in range(200)]}
    records.update({(f"m{n}.d.test", "A"): [fresh_address()] for n in range(200)})
    relay, _ = bench(records)
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id, timeout=20)[0] == "deferred"


def test_200_busy_mx_are_not_all_tried(bench, peer25):
    """A domain must not make one message open hundreds of connections."""
    peer = peer25({"BANNER": "421 4.3.2 busy"})
    records = {("d.test", "MX"): [(n + 1, f"m{n}.d.test") for n in range(200)]}
    records.update({(f"m{n}.d.test", "A"): [peer.host] for n in range(200)})
    relay, _ = bench(records, temp_fail_intervals="1h*5")
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id)[0] == "deferred"
    assert 1 <= len(peer.sessions) <= 50, f"{len(peer.sessions)} connections for one attempt"


def test_a_host_with_60_addresses_is_not_tried_60_times(bench, peer25):
    """Every address refuses by greeting; the attempt ends early enough for the next."""
    peer = peer25({"BANNER": "421 4.3.2 busy"})
    relay, _ = bench(
        {("d.test", "MX"): [(10, "mx.d.test")], ("mx.d.test", "A"): [peer.host] + [fresh_address() for _ in range(59)]},
        temp_fail_intervals="1h*5",
    )
    queue_id = submit(relay, "u@d.test")
    assert first_event(relay, queue_id)[0] == "deferred"
    assert len(peer.sessions) <= 5


def labels(*parts):
    return [p if isinstance(p, bytes) else p.encode() for p in parts]


ODD_NAMES = {
    "CR LF": labels(b"a\r\nRCPT TO:<evil@evil.test>", "test"),
    "NUL": labels(b"mx\0evil", "test"),
    "space": labels(b"a b", "test"),
    "quotes": labels(b'a"b', "test"),
    "brackets": labels(b"[127.0.0.1]", "test"),
    "dot in a label": labels(b"a.b", "test"),
    "high octets": labels(b"\xff\xfe\x80", "test"),
    "escape": labels(b"\x1b[31m", "test"),
    "slash and backslash": labels(b"..\\/etc", "test"),
    "colon": labels(b"host:25", "test"),
    "longest": labels(*[b"x" * 63] * 3, b"y" * 61),
    "many labels": labels(*[b"z"] * 126),
}


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_odd_names_in_mx(bench, peer25, kind):
    """A name that is no host name is skipped or taken as what it is, never carried into SMTP or the log."""
    peer = peer25()
    odd = ODD_NAMES[kind]
    relay, _ = bench({("d.test", "MX"): [(10, odd), (20, "mx.d.test")], ("mx.d.test", "A"): [peer.host]})
    queue_id = submit(relay, "u@d.test")
    peer.wait_for(1, timeout=30)
    line = wait_event(relay, queue_id, "delivered")
    assert "mx.d.test" in line.raw
    assert peer.copies() == {"u@d.test": 1} and peer.violations == []
    assert not any(c in l.raw for l in relay.log for c in "\r\0\x1b")
    assert all(l.message for l in relay.log), "a log line was broken in two"


@pytest.mark.parametrize("kind", ["CR LF", "NUL", "brackets", "dot in a label"])
def test_odd_names_alone(bench, peer25, kind):
    relay, _ = bench({("d.test", "MX"): [(10, ODD_NAMES[kind])]})
    assert first_event(relay, submit(relay, "u@d.test"), timeout=30)[0] in ("bounced", "deferred")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x85\x80",
        b"\x85\x80\0\1\0\1\0\0\0\0",
        b"\xff" * 200,
        b"\x85\x80\0\1\xff\xff\xff\xff\xff\xff" + b"\xc0\x0c" * 100,
        b"\x85\x80\0\1\0\1\0\0\0\0\1d\4test\0\0\x0f\0\1\xc0\x0c\0\x0f\0\1\0\0\0\1\xff\xff\0",
    ],
    ids=["empty", "short", "header only", "all ones", "absurd counts", "rdata beyond the end"],
)
def test_broken_packets_defer(bench, packet):
    relay, _ = bench({("d.test", "*"): packet})
    assert first_event(relay, submit(relay, "u@d.test"), timeout=90)[0] == "deferred"


def test_routes_come_before_the_dns(make_relay, make_dns, make_server):
    server, dns = make_server(), make_dns({("d.test", "MX"): [(0, "")]})
    relay = make_relay(routes={"d.test": server.route}, resolver=dns)
    submit(relay, "u@d.test")
    server.wait_for(1)
    assert dns.asked("d.test") == 0


def test_route_host_name_is_resolved(make_relay, make_dns, make_server):
    server = make_server()
    dns = make_dns({("smart.test", "A"): ["127.0.0.1"], ("smart.test", "MX"): [(0, "")]})
    relay = make_relay(routes={"*": f"smart.test:{server.port}"}, resolver=dns)
    submit(relay, "u@d.test")
    assert server.wait_for(1)
    assert dns.asked("d.test") == 0


def test_many_domains_at_once(bench, peer25):
    peer = peer25()
    records = {("mx.test", "A"): [peer.host]}
    records.update({(f"d{n}.test", "MX"): [(10, "mx.test")] for n in range(300)})
    relay, _ = bench(records)
    submit(relay, [f"u@d{n}.test" for n in range(300)], content=text("many"))
    wait_until(lambda: len(peer.copies()) == 300, 30, lambda: f"300 recipients: {len(peer.copies())}")
    assert set(peer.copies().values()) == {1}
