"""test_namespace.py - names and the world behind them, with real ports 25, 53 and 443 and a real unbound.

Everything runs in a network namespace of the test's own (`namespace`); where that is not permitted the tests are skipped.
"""

import socket
import time

import pytest
from harness import SOAK
from namespace import Namespace, Resolver, Root, Swallower
from scripted import ScriptedServer
from story import events, first_event, submit, wait_event
from tls_peers import Authority, WebServer
from waiting import PATIENCE, wait_until

GOOD = "198.51.100.25"
PATIENT = {"temp_fail_intervals": "1h*20", "connect_timeout": 3, "greeting_timeout": 5, "concurrency_max": 1200}


@pytest.fixture
def network():
    with Namespace() as network:
        yield network


@pytest.fixture
def root(network, closing):
    return closing(Root())


@pytest.fixture
def sink(network, closing):
    return closing(ScriptedServer(host=GOOD, port=25))


def submit_some(relay, root, seconds, word, interval=0.5):
    """A mail to a good domain, each time another one, twice a second: `{queue id: when it was sent}`."""
    sent = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        domain = f"{word}{len(sent)}.test"
        root.good(domain, GOOD)
        sent[submit(relay, f"u@{domain}")] = time.monotonic()
        time.sleep(interval)
    return sent


def waits(relay, sent, timeout=20):
    """How long each mail took, seconds; a mail that was deferred fails the test."""
    wait_until(
        lambda: all(events(relay, i) for i in sent),
        timeout,
        lambda: f"{sum(1 for i in sent if not events(relay, i))} of {len(sent)} are late; {relay.log_tail()}",
        0.05,
    )
    lines = {i: events(relay, i)[0] for i in sent}
    failed = [line.raw for event, line in lines.values() if event != "delivered"]
    assert not failed, failed
    return sorted(float(line["delay_s"]) for _, line in lines.values())


def test_dead_domains_defer_no_good_mail(make_relay, root, sink, closing):
    """11.3.1: each dead domain has a name server of its own that never answers."""
    dead = [f"dead{number}.test" for number in range(1000 if SOAK else 250)]
    root.kill(*dead)
    relay = make_relay(resolver=closing(Resolver(root)), outbound=PATIENT)
    for begin in range(0, len(dead), 50):
        submit(relay, [f"u@{domain}" for domain in dead[begin : begin + 50]])
    sent = submit_some(relay, root, 40 if SOAK else 16, "good")
    found = waits(relay, sent)
    # A lookup is a part of it; the lane, the session and the transaction are the rest.
    assert found[int(len(found) * 0.99)] < 2 * PATIENCE, found


def test_hosts_that_swallow_packets_hold_up_no_good_domain(make_relay, root, sink, closing):
    """Six domains with forty mails each, and four hosts each that neither take a connection nor refuse one; as shipped."""
    for number in range(6):
        hosts = [f"203.0.113.{number * 4 + n + 1}" for n in range(4)]
        for host in hosts:
            closing(Swallower(host))
        root.records[(f"dead{number}.test", "MX")] = [(10, f"mx{n}.dead{number}.test") for n in range(4)]
        for n, host in enumerate(hosts):
            root.records[(f"mx{n}.dead{number}.test", "A")] = [host]
    relay = make_relay(resolver=closing(Resolver(root)))
    swallowed = [submit(relay, f"u@dead{number}.test") for number in range(6) for _ in range(40)]
    found = waits(relay, submit_some(relay, root, 4, "good"))
    assert not any(events(relay, i) for i in swallowed), "nobody refused a connection"
    assert found[-1] < 2 * PATIENCE, found


@pytest.mark.parametrize("how", ["silent", "refusing"])
def test_after_the_resolver_was_away_mail_goes_at_once(make_relay, root, sink, closing, how):
    resolver = closing(Resolver(root))
    relay = make_relay(resolver=resolver, outbound=PATIENT)
    waits(relay, submit_some(relay, root, 1, "before"))
    (resolver.freeze if how == "silent" else resolver.away)()
    submit_some(relay, root, 10 if SOAK else 7, "during")
    (resolver.thaw if how == "silent" else resolver.back)()
    time.sleep(1)
    found = waits(relay, submit_some(relay, root, 3, "after"))
    assert found[-1] < 2 * PATIENCE, found


def test_hanging_policy_servers_hold_up_no_good_domain(make_relay, root, sink, closing, tmp_path):
    authority = Authority(tmp_path / "authority")
    policy = "version: STSv1\nmode: testing\nmx: *.good.test\nmax_age: 86400\n"
    web = closing(
        WebServer(
            lambda path, body: (200, {"Content-Type": "text/plain"}, policy.encode()),
            authority.issue("mta-sts.good.test"),
            host="203.0.113.10",
            port=443,
        )
    )
    hanging = closing(socket.create_server(("203.0.113.99", 443), backlog=512))
    assert hanging
    for number in range(40):
        domain = f"hang{number}.test"
        root.good(domain, GOOD)
        root.records[(f"_mta-sts.{domain}", "TXT")] = ["v=STSv1; id=1;"]
        root.records[(f"mta-sts.{domain}", "A")] = ["203.0.113.99"]
    root.good("good.test", GOOD)
    root.records[("_mta-sts.good.test", "TXT")] = ["v=STSv1; id=1;"]
    root.records[("mta-sts.good.test", "A")] = ["203.0.113.10"]
    relay = make_relay(
        resolver=closing(Resolver(root)), outbound={**PATIENT, "enable_tls": True, "tls_ca_file": authority.certificate}
    )
    for number in range(40):
        submit(relay, f"u@hang{number}.test")
    begin = time.monotonic()
    queue_id = submit(relay, "u@good.test")
    wait_event(relay, queue_id, "delivered")
    assert time.monotonic() - begin < 6 * PATIENCE
    assert web.requests == [("GET", "/.well-known/mta-sts.txt", "")]
    # A policy that cannot be had in time is none for now (RFC 8461 §3.3), so their mail goes too.
    wait_until(lambda: len(sink.messages) == 41, 40, lambda: f"41 messages, {len(sink.messages)} came")


def test_equal_hosts_share_the_load_by_session(make_relay, root, network, closing):
    sinks = [closing(ScriptedServer(host=f"198.51.100.{n}", port=25)) for n in (31, 32, 33, 34)]
    root.records[("d.test", "MX")] = [(10, f"mx{n}.d.test") for n in range(4)]
    for number, sink in enumerate(sinks):
        root.records[(f"mx{number}.d.test", "A")] = [sink.host]
    relay = make_relay(resolver=root, outbound={**PATIENT, "messages_per_session": 1, "pool_timeout": 1})
    for _ in range(60):
        submit(relay, "u@d.test")
    wait_until(lambda: sum(len(s.messages) for s in sinks) == 60, 30, "60 messages")
    assert all(len(s.messages) >= 3 for s in sinks), [len(s.messages) for s in sinks]


def test_ourselves_in_the_list_and_our_equals_are_not_gone_to(make_relay, root, network, closing):
    """RFC 5321 §5.1, without dice: by address, and in the first place."""
    good, beside = (closing(ScriptedServer(host=f"198.51.100.{n}", port=25)) for n in (41, 42))
    root.records[("us.test", "A")] = ["192.0.2.1"]
    root.records[("good.mx.test", "A")] = [good.host]
    root.records[("beside.mx.test", "A")] = [beside.host]
    root.records[("behind.test", "MX")] = [(5, "good.mx.test"), (10, "us.test"), (10, "beside.mx.test")]
    root.records[("equal.test", "MX")] = [(10, "us.test"), (10, "beside.mx.test")]
    relay = make_relay(resolver=root, outbound={**PATIENT, "messages_per_session": 1})
    for _ in range(8):
        assert first_event(relay, submit(relay, "u@behind.test"))[0] == "delivered"
        event, line = first_event(relay, submit(relay, "u@equal.test", sender=""))
        assert event == "bounced" and "5.4.6" in line["reply"], line.raw
    good.refuse()
    event, _ = first_event(relay, submit(relay, "u@behind.test"))
    assert event == "deferred"
    assert beside.sessions == []


def test_a_flush_forgets_old_records_and_failures(make_relay, root, sink):
    root.ttl = 600
    root.good("moved.test", "198.51.100.66")
    root.records[("broken.test", "MX")] = "SERVFAIL"
    relay = make_relay(resolver=root, outbound={**PATIENT, "lane_rest_max": 1})
    waiting = [submit(relay, f"u@{domain}") for domain in ("moved.test", "broken.test")]
    assert [first_event(relay, i)[0] for i in waiting] == ["deferred", "deferred"]
    root.good("moved.test", GOOD)
    root.good("broken.test", GOOD)
    relay.hup()
    for queue_id in waiting:
        wait_event(relay, queue_id, "delivered")
