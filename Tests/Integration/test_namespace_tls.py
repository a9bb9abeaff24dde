"""test_namespace_tls.py - hosts that swallow packets, and protection, with real ports 25 and 443 in a namespace of the test's own."""

import random
import subprocess
import time

import pytest
from harness import SOAK
from namespace import Namespace, Root
from scripted import ScriptedServer
from story import events, first_event, submit, wait_event
from tls_peers import Authority, TLSPeer, WebServer
from waiting import PATIENCE, wait_until

LIVE = "198.51.100.25"


@pytest.fixture
def network():
    with Namespace() as network:
        yield network


@pytest.fixture
def swallowing(network):
    """Addresses 100.64.0.0/16: behind a cable that nobody listens at, so that a SYN gets no answer of any kind."""
    for command in (
        "link add hole type veth peer name end",
        "link set hole up arp off",
        "link set end up arp off",
        "route add 100.64.0.0/16 dev hole src 192.0.2.1",
    ):
        made = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no device to lose packets in: {made.stderr.strip()}")
    return lambda number: f"100.64.{number // 250}.{number % 250 + 1}"


@pytest.fixture
def root(network, closing):
    return closing(Root())


def submit_some(relay, count, domain="live.test"):
    """A mail to a domain that is well, twice a second: `[queue id]`."""
    sent = []
    for _ in range(count):
        sent.append(submit(relay, f"u@{domain}"))
        time.sleep(0.5)
    return sent


def test_hosts_that_swallow_packets_hold_up_nobody(make_relay, root, swallowing, closing):
    """11.3.4: six domains of forty hosts with four dead addresses each, all sessions wanted, shipped time limits."""
    sink = closing(ScriptedServer(host=LIVE, port=25))
    root.good("live.test", LIVE)
    for domain in range(6):
        hosts = [f"mx{host}.dead{domain}.test" for host in range(40)]
        root.records[(f"dead{domain}.test", "MX")] = [(10 * n, host) for n, host in enumerate(hosts)]
        for number, host in enumerate(hosts):
            root.records[(host, "A")] = [swallowing((domain * 40 + number) * 4 + n) for n in range(4)]
    relay = make_relay(
        resolver=root, outbound={"concurrency_max": 20, "connect_timeout": 30, "temp_fail_intervals": "1m*20"}
    )
    for domain in range(6):
        submit(relay, [f"u{n}@dead{domain}.test" for n in range(20)])
    sent = submit_some(relay, 60 if SOAK else 14)
    wait_until(
        lambda: all(events(relay, i) for i in sent),
        60,
        lambda: f"{sum(not events(relay, i) for i in sent)} of {len(sent)} are late; {relay.log_tail()}",
    )
    waits = sorted(float(events(relay, i)[0][1]["delay_s"]) for i in sent)
    assert len(sink.messages) == len(sent)
    # Every slot may be on its way to a dead host when the first one comes; silent openings give way after a second.
    assert waits[-1] < 3 * PATIENCE and waits[len(waits) // 2] < PATIENCE, waits


def test_addresses_that_swallow_packets_come_last(make_api, root, swallowing, closing):
    """Who answered no connection is tried behind the others: the second mail goes at once, over a restart too."""
    sink = closing(ScriptedServer(host=LIVE, port=25))
    dead = [swallowing(n) for n in range(2)]
    root.records[("far.test", "MX")] = [(10, "dead.far.test"), (20, "mixed.far.test")]
    root.records[("dead.far.test", "A")] = dead
    root.records[("mixed.far.test", "A")] = [LIVE]
    relay, api = make_api(resolver=root, outbound={"connect_timeout": 5, "messages_per_session": 1})
    first = wait_event(relay, submit(relay, "u@far.test"), "delivered")
    assert float(first["delay_s"]) >= 4.5, "the dead host comes first"
    for _ in range(2):
        hosts = api.ask("GET", "/v1/explain?recipient=u@far.test")[2]["mx"]
        assert [(host["exchange"], host["put_off"]) for host in hosts] == [
            ("dead.far.test", True),
            ("mixed.far.test", False),
        ]
        assert {known["trait"] for session in hosts[0]["sessions"] for known in session["learnt"]} == {"silent"}
        then = wait_event(relay, submit(relay, "u@far.test"), "delivered")
        assert float(then["delay_s"]) < 4, then.raw
        wait_until(lambda: (relay.data / "peers").exists(), 10, "the memory on disk")
        relay.restart()
        api = type(api)(relay)
    # The last one that is left is tried all the same.
    sink.refuse()
    assert first_event(relay, submit(relay, "v@far.test"))[0] == "deferred"
    wait_until(lambda: any("dead.far.test" in line.raw for line in relay.log_lines("delivery deferred")), 10)


@pytest.mark.parametrize("spelling", ["b\u00fccher.test", "BU\u0308CHER.test", "xn--bcher-kva.test"])
def test_the_policy_of_a_domain_in_every_spelling(make_relay, root, closing, tmp_path, spelling):
    """11.3.3: enforced, on the real ports; the host that does as it says gets the mail, the other one none, not even in the clear."""
    domain = "xn--bcher-kva.test"
    authority = Authority(tmp_path / "authority")
    text = f"version: STSv1\nmode: enforce\nmx: *.{domain}\nmax_age: 86400\n"
    web = closing(
        WebServer(
            lambda path, body: (200, {"Content-Type": "text/plain"}, text.encode()),
            authority.issue(f"mta-sts.{domain}"),
            host="203.0.113.10",
            port=443,
        )
    )
    good = closing(TLSPeer(authority.issue(f"mx2.{domain}"), host="198.51.100.42", port=25))
    bad = closing(TLSPeer(authority.issue("else.test"), host="198.51.100.41", port=25))
    plain = closing(ScriptedServer(host="198.51.100.43", port=25))
    root.records[(f"_mta-sts.{domain}", "TXT")] = ["v=STSv1; id=1;"]
    root.records[(f"mta-sts.{domain}", "A")] = ["203.0.113.10"]
    root.records[(domain, "MX")] = [(10, f"mx1.{domain}"), (20, f"mx3.{domain}"), (30, f"mx2.{domain}")]
    for number, peer in ((1, bad), (2, good), (3, plain)):
        root.records[(f"mx{number}.{domain}", "A")] = [peer.host]
    relay = make_relay(
        resolver=root,
        outbound={"enable_tls": True, "tls_ca_file": authority.certificate, "temp_fail_intervals": "1h*5"},
    )
    line = wait_event(relay, submit(relay, f"u@{spelling}", parameters="SMTPUTF8"), "delivered")
    assert line["tls"].endswith(" verified")
    assert ("GET", "/.well-known/mta-sts.txt") in [request[:2] for request in web.requests]
    good.refuse()
    good.hang_up_all()
    event, line = first_event(relay, submit(relay, f"v@{spelling}", parameters="SMTPUTF8"))
    assert event == "deferred", line.raw
    assert bad.messages == [] and plain.messages == [] and len(good.messages) == 1


@pytest.mark.parametrize("seed", range(12 if SOAK else 3))
def test_what_is_explained_of_mx_records_is_what_hosts_see(make_api, root, closing, tmp_path, seed):
    """Domains that were made up: hosts that take mail, turn us away or are shut, with TLS and without."""
    dice, addresses = random.Random(seed), (f"198.51.100.{n}" for n in range(100, 200))
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("mx.test")
    relay, api = make_api(resolver=root, outbound={"enable_tls": True, "temp_fail_intervals": "1h*5"})
    for number in range(8):
        domain, hosts = f"d{number}.test", {}
        for place in dice.sample(range(10), dice.randint(1, 3)):
            name = f"mx{place}.{domain}"
            found = [next(addresses) for _ in range(dice.randint(1, 2))]
            for address in found:
                kind = dice.choice(["takes", "takes", "turns away", "shut"])
                script = {"BANNER": "554 5.3.2 not for you"} if kind == "turns away" else {}
                how = dice.choice(["starttls", "none"])
                if kind != "shut":
                    hosts[address] = closing(TLSPeer(pair, how, host=address, port=25, script=script))
                else:
                    hosts[address] = None
            root.records[(domain, "MX")] = root.records.get((domain, "MX"), []) + [(place, name)]
            root.records[(name, "A")] = found
        told = api.ask("GET", f"/v1/explain?recipient=u@{domain}")[2]["mx"]
        assert [host["priority"] for host in told] == sorted(place for place, _ in root.records[(domain, "MX")])
        order = [(session["address"], session["tls"]) for host in told for session in host["sessions"]]
        assert {address for address, _ in order} == set(hosts)
        seen, taker = set(), None
        for address, tls in order:
            peer = hosts[address]
            if peer is None:
                continue
            seen.add(address)
            if "BANNER" not in peer.script:
                taker = (address, tls == "may" and peer.how == "starttls")
                break
        event, line = first_event(relay, submit(relay, f"u@{domain}"))
        assert event == ("delivered" if taker else "deferred"), (order, line.raw)
        met = {address for address, peer in hosts.items() if peer and peer.sessions}
        # Beside the one that is taken its host's next address may be knocked at, when the machine is slow (RFC 8305).
        beside = {s["address"] for host in told for s in host["sessions"] if taker and taker[0] in host["addresses"]}
        assert seen <= met <= seen | beside, (order, line.raw)
        assert {address for address, peer in hosts.items() if peer and peer.mails} == ({taker[0]} if taker else set())
        if taker:
            [mail] = hosts[taker[0]].mails
            assert bool(mail["tls"]) == taker[1], (order, mail)
