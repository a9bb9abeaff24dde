"""test_route_names.py - names of routes in a hosts file and behind a search list; names of MX records are the DNS's."""

import json
import subprocess

import pytest
from api import Api
from harness import MARTLET, environment
from story import submit
from waiting import wait_until


def way(relay, recipient):
    status, _, answer = Api(relay).ask("GET", f"/v1/explain?recipient={recipient}")
    assert status == 200, answer
    (host,) = answer["mx"]
    return host["addresses"], host["addresses_because"]


@pytest.fixture
def world(make_api, make_dns, sink, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 provider # of the container\n127.9.9.9 mx.d.test\n")
    records = {
        ("d.test", "MX"): [(10, "mx.d.test")],
        ("mx.d.test", "A"): ["127.8.8.8"],
        ("short.in.test", "A"): ["127.0.0.1"],
        ("provider", "A"): ["127.8.8.8"],
    }
    resolver = f"forward = {make_dns(records).forward}\nroute_hosts = {hosts}\nsearch = no.test in.test\n"
    port = sink.address[1]
    relay, _ = make_api(
        routes={"a.test": f"provider:{port}", "b.test": f"short:{port}", "c.test": f"mx.d.test:{port}"},
        files={"resolver.ini": resolver},
        outbound={"local_mx_ok": True},
    )
    return relay, hosts


def test_names_of_routes(world, sink):
    """The hosts file first, the search list for short names, and neither for the MX of a domain."""
    relay, hosts = world
    assert way(relay, "u@a.test") == (["127.0.0.1"], "hosts")
    assert way(relay, "u@b.test") == (["127.0.0.1"], "search")
    assert way(relay, "u@c.test") == (["127.9.9.9"], "hosts")
    assert way(relay, "u@d.test") == (["127.8.8.8"], "dns")
    for recipient in ("u@a.test", "u@b.test"):
        submit(relay, recipient)
    assert {message.recipients[0] for message in sink.wait_for(2)} == {"u@a.test", "u@b.test"}
    hosts.write_text("127.7.7.7 provider\n")
    wait_until(lambda: way(relay, "u@a.test") == (["127.7.7.7"], "hosts"), 10, "the hosts file is read again")
    hosts.unlink()
    assert way(relay, "u@a.test") == (["127.8.8.8"], "dns")


def test_the_doctor_says_which_rule(world, sink):
    relay, hosts = world
    relay.write("routes.ini", f"[*]\nmx = provider:{sink.address[1]}\n")
    ran = subprocess.run(
        [MARTLET, "doctor", "--config", str(relay.config), "--data", str(relay.data), "--probe", "none", "--json"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    (found,) = [one for one in json.loads(ran.stdout) if one["check"] == "smart host"]
    assert f"its name found by {hosts}" in str(found), found
