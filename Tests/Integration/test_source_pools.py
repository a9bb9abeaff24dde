"""test_source_pools.py - pools of source addresses by a running relay: shares, a spent day, an address that is blocked, the API.

Loopback has many addresses, so 127.0.0.2-127.0.0.9 serve as the addresses of the machine.
"""

from collections import Counter
from urllib.parse import quote

from api import Api
from story import submit
from waiting import wait_until

POOL = """
[pool main]
address = 127.0.0.2 weight 3 helo two.test
address = 127.0.0.3 helo three.test
[*]
pool = main
"""
COLD = "127.0.0.2"


def senders(sink):
    """How many messages came from which address."""
    found = Counter()
    for session in sink.sessions:
        commands = [c.decode() if isinstance(c, bytes) else c for c in session.commands]
        found[session.peer[0]] += sum(c.upper().startswith("MAIL FROM") for c in commands)
    return found


def members(answer):
    return {one["ip"][0]: one for one in answer["source_pool"]["members"]}


def test_mail_is_shared_and_connections_are_kept(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"outbound_ip.ini": POOL})
    for number in range(60):
        submit(relay, f"r{number}@b.test")
    sink.wait_for(60)
    found = senders(sink)
    assert set(found) == {"127.0.0.2", "127.0.0.3"} and found["127.0.0.2"] > found["127.0.0.3"] > 3, found
    assert len(sink.sessions) < 40, "mail of an address shares its sessions"
    way = api.ask("GET", "/v1/explain?recipient=x@b.test")[2]
    assert way["next_hop"] == "[*] from 127.0.0.2 (two.test) of pool main", way["next_hop"]
    assert (way["mx"][0]["bind"], way["mx"][0]["helo"]) == ("127.0.0.2", "two.test")
    assert way["source_pool"]["name"] == "main" and way["source_pool"]["origin"] == "outbound_ip.ini:2"
    assert all(one["takes_mail"] for one in way["source_pool"]["members"])
    lanes = api.ask("GET", "/v1/destinations/*")[2]["lanes"]
    assert all(lane["source_pool"] is None or lane["source_pool"]["name"] == "main" for lane in lanes)


def test_a_spent_day_goes_over_the_other_address(make_api, sink):
    limits = f"[source {COLD}]\nwarmup = 2, 4\n"
    relay, api = make_api(routes={"*": sink.address}, files={"outbound_ip.ini": POOL, "limits.ini": limits})
    for number in range(30):
        submit(relay, f"r{number}@b.test")
    sink.wait_for(30)
    assert senders(sink) == {COLD: 2, "127.0.0.3": 28}, "nothing is delayed while another one is warm"
    way = api.ask("GET", "/v1/explain?recipient=x@b.test")[2]
    spent = members(way)[COLD]
    assert not spent["takes_mail"] and spent["because"] == f"warmup 2, 4 of warmup * from {COLD} (limits.ini:2)"
    assert spent["until"].endswith("T00:00:00Z") or spent["until"].endswith("T00:00:00.000Z"), spent
    assert way["mx"][0]["bind"] == "127.0.0.3"
    # With `wait` its part waits for tomorrow, and says so.
    relay.write("limits.ini", limits + "overflow = wait\n")
    relay.wait_log("configuration changed", file="limits.ini")
    ids = [submit(relay, f"w{number}@b.test") for number in range(20)]
    wait_until(lambda: api.ask("GET", "/v1/queue")[2]["total"] > 0 and len(sink.messages) > 30, what="some to wait")
    waiting = wait_until(
        lambda: [
            one
            for one in (api.ask("GET", f"/v1/queue/{name}")[2] for name in ids)
            if any("warmup" in (reason.get("rule") or "") for reason in one.get("waiting_because", []))
        ],
        what="a message to say why it waits",
    )
    assert waiting[0]["waiting_because"][0]["origin"] == "limits.ini:2"
    assert senders(sink)[COLD] == 2


def test_mail_leaves_an_address_that_is_blocked(make_api, make_server):
    def answer(session, recipient):
        if session.peer[0] == COLD and "@blocks.test" in recipient:
            return "450 4.7.1 Your IP address is blocked, see our postmaster"
        return None

    peer = make_server({"RCPT": answer})
    limits = (
        "[reaction blocked]\nwhen = /is blocked/\nthreshold = 2/1h\ndo = other_source 1h\n"
        "[reaction tries]\nwhen = /is blocked/\ndo = defer 1s\n"
    )
    routes = {"blocks.test": peer.address, "other.test": peer.address}
    relay, api = make_api(
        routes=routes, files={"outbound_ip.ini": POOL, "limits.ini": limits}, outbound={"temp_fail_intervals": "1s*100"}
    )
    for number in range(12):
        submit(relay, f"b{number}@blocks.test")
    held = wait_until(lambda: api.ask("GET", "/v1/reactions")[2]["items"], what="the address to be left")[0]
    assert held["scope"] == f"lane blocks.test from {COLD}" and held["key"] == "other_source", held
    assert held["value"] == "3600s" and held["origin"] == "limits.ini:1"
    peer.wait_for(12)
    assert {message.session.peer[0] for message in peer.messages} == {"127.0.0.3"}
    told = wait_until(
        lambda: api.ask("GET", "/v1/events?type=destination.slowed")[2]["items"], what="the event to be written"
    )
    assert "mail leaves from another address" in told[0]["data"]["text"], told
    left = members(api.ask("GET", "/v1/explain?recipient=x@blocks.test")[2])[COLD]
    assert not left["takes_mail"] and left["because"].startswith("other_source ") and "limits.ini:1" in left["because"]
    fared = {(one["ip"][0], one["place"]): one for one in api.ask("GET", "/v1/source-health")[2]["items"]}
    assert fared[("127.0.0.3", "blocks.test")]["delivered"] == 12 and fared[("127.0.0.3", "blocks.test")]["healthy"]
    assert fared[(COLD, "blocks.test")]["blocked"] >= 2, fared
    ran = relay.run("ip", "health")
    assert ran.returncode == 0 and "blocks.test" in ran.stdout, ran.stdout + ran.stderr
    # Other next hops have it as before, also after a kill.
    for _ in range(2):
        assert members(api.ask("GET", "/v1/explain?recipient=x@other.test")[2])[COLD]["takes_mail"]
        wait_until((relay.data / "reactions").exists, what="the reaction to be on the disk")
        relay.kill()
        relay.start()
        api = Api(relay)
        assert [one["scope"] for one in api.ask("GET", "/v1/reactions")[2]["items"]] == [held["scope"]]
    assert api.ask("DELETE", f"/v1/reactions/{quote(held['scope'])}")[0] == 204
    assert members(api.ask("GET", "/v1/explain?recipient=x@blocks.test")[2])[COLD]["takes_mail"]


def test_pools_by_the_api_and_by_hand(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"outbound_ip.ini": "; mine\n"})
    place = "/v1/outbound-ips/"
    body = {"address": ["127.0.0.2 weight 2 helo two.test", "127.0.0.3"]}
    status, headers, made = api.ask("PUT", place + "pool%20main", body)
    assert status == 201 and made["match"] == "pool main" and made["address"] == body["address"], made
    assert (made["ip"], made["pool"], made["helo"]) == ([], None, None)
    assert api.ask("PUT", place + "pool%20main", made, If_Match=headers["ETag"])[0] == 200, "what comes out goes in"
    status, _, bound = api.ask("PUT", place + "sender%20a.test", {"pool": "main"})
    assert status == 201 and bound["pool"] == "main" and bound["ip"] == [], bound
    assert api.ask("PUT", place + "sender%20a.test", bound)[0] == 200
    assert api.ask("PATCH", place + "sender%20a.test", {"ip": ["127.0.0.4"]})[2]["pool"] is None
    back = api.ask("PATCH", place + "sender%20a.test", {"pool": "main"})[2]
    assert back["pool"] == "main" and back["ip"] == []
    for name, wrong, pointer in [
        ("pool%20x", {"ip": "127.0.0.2"}, "/ip"),
        ("pool%20x", {}, "/address"),
        ("pool%20x", {"address": ["127.0.0.2"], "helo": "a.test"}, "/helo"),
        ("sender%20b.test", {"address": ["127.0.0.2"]}, "/address"),
        ("sender%20b.test", {"ip": "127.0.0.2", "pool": "main"}, "/pool"),
        ("sender%20b.test", {}, "/ip"),
    ]:
        status, _, problem = api.ask("PUT", place + name, wrong)
        assert status == 422 and problem["errors"][0]["pointer"] == pointer, (wrong, problem)
    for name, wrong, words in [
        ("pool%20x", {"address": ["192.0.2.7"]}, "192.0.2.7 is not an address of this machine"),
        ("pool%20x", {"address": ["127.0.0.2", "127.0.0.2"]}, "is in the pool twice"),
        ("sender%20b.test", {"pool": "moon"}, "there is no [pool moon]"),
    ]:
        status, _, problem = api.ask("PUT", place + name, wrong)
        assert status == 422 and words in str(problem), (wrong, problem)
    status, _, problem = api.ask("DELETE", place + "pool%20main")
    assert status in (409, 422) and "there is no [pool main]" in str(problem), problem
    assert "; mine" in (relay.config / "outbound_ip.ini").read_text()
    ran = relay.run("ip", "set", "recipient c.test", "--pool", "main")
    assert ran.returncode == 0, ran.stderr
    ran = relay.run("ip", "set", "pool main", "127.0.0.5 weight 9", "127.0.0.6")
    assert ran.returncode == 0 and "127.0.0.5 weight 9" in ran.stdout, ran.stdout + ran.stderr
    submit(relay, "x@c.test")
    sink.wait_for(1)
    assert sink.sessions[0].peer[0] in {"127.0.0.5", "127.0.0.6"}


def test_a_change_of_the_pool_reaches_mail_that_waits(make_api, sink):
    relay, api = make_api(
        routes={"*": sink.address},
        files={"outbound_ip.ini": POOL, "limits.ini": "[source 127.0.0.2]\ndaily = 1\noverflow = wait\n"},
    )
    for number in range(20):
        submit(relay, f"r{number}@b.test")
    wait_until(lambda: api.ask("GET", "/v1/queue")[2]["total"] > 5, what="mail to wait for its day")
    relay.write("outbound_ip.ini", "[pool main]\naddress = 127.0.0.9\n[*]\npool = main\n")
    sink.wait_for(20)
    assert senders(sink)["127.0.0.9"] > 5


def test_without_another_address_mail_waits_and_says_so(make_api, make_server):
    peer = make_server({"RCPT": "450 4.7.1 Your IP address is blocked"})
    limits = "[reaction blocked]\nwhen = /is blocked/\ndo = other_source 2h\n"
    files = {"outbound_ip.ini": f"[*]\nip = {COLD}\n", "limits.ini": limits}
    relay, api = make_api(routes={"*": peer.address}, files=files)
    submit(relay, "one@b.test")
    wait_until(lambda: api.ask("GET", "/v1/reactions")[2]["items"], what="the address to be left")
    told = wait_until(
        lambda: api.ask("GET", "/v1/events?type=destination.slowed")[2]["items"], what="the event to be written"
    )
    assert "no other address takes its mail, which waits" in told[0]["data"]["text"], told
    message = submit(relay, "two@b.test")
    because = wait_until(
        lambda: [
            reason
            for reason in api.ask("GET", f"/v1/queue/{message}")[2]["waiting_because"]
            if (reason.get("rule") or "").startswith("other_source ")
        ],
        what="the mail to say why it waits",
    )[0]
    assert because["origin"] == "limits.ini:1" and because["until"] is not None, because
    destination = api.ask("GET", "/v1/destinations/*")[2]["lanes"][0]
    assert destination["source_pool"] is None
    assert {one["key"] for one in destination["limits"]} == {"other_source"}, destination
