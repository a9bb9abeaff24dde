"""test_drain.py - one relay is emptied into another: each message with its state, once, whoever is killed meanwhile."""

import json
import random
import subprocess
import time

import pytest
from api import Api, token
from harness import SOAK, environment
from ledger import Ledger, LedgerSink, submit, try_one
from scripted import Sink
from smtp_client import send_mail
from tls_peers import Authority
from waiting import PATIENCE, free_port, wait_until

MAIL = b"From: a@a.test\r\nSubject: %s\r\n\r\nbody\r\n"
LONG = {"temp_fail_intervals": "1h*10"}
TYPE = "application/vnd.martlet.message"


def drain(relay, *arguments, started=False, **variables):
    command = [relay.binary, "drain", "--data", str(relay.data), *arguments]
    how = {"env": {**environment(), **{f"MARTLET_{k}": v for k, v in variables.items()}}, "text": True}
    if started:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    return subprocess.run(command, capture_output=True, timeout=120 * PATIENCE, **how)


def tool(relay, *arguments):
    command = [relay.binary, *arguments, "--data", str(relay.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment()).stdout


def events(relay, kind):
    text = tool(relay, "events", "--after", "0", "--limit", "100000", "--json", "--type", kind)
    return [json.loads(line)["data"] for line in text.splitlines() if line]


def listed(api):
    return api.ask("GET", "/v1/queue?limit=1000")[2]["items"]


def states(api, id):
    """What is known of each recipient, with the minute of the next attempt."""
    return [
        (
            r["address"],
            r["state"],
            r["attempts"],
            (r["next_attempt_at"] or "")[:16],
            r["last_reply"] and r["last_reply"]["text"],
        )
        for r in api.ask("GET", f"/v1/queue/{id}")[2]["recipients"]
    ]


@pytest.fixture
def pair(make_relay):
    """`pair(target)`: a relay whose next hop is not there, and one with a token whose next hop is `target`; their APIs."""

    def make(target, **how):
        admin = {"admin.ini": "listen = 127.0.0.1:0\n"}
        dead = ("127.0.0.1", free_port())
        here = make_relay(routes={"*": dead}, outbound={**LONG, "lane_rest_max": 1}, files=admin, me="here.test", **how)
        there = make_relay(started=False, routes={"*": target}, files=admin, me="there.test")
        secret = token(there, "peer", "queue:write,status:read")
        everything = token(there, "all")
        there.start()
        return here, Api(here), there, Api(there, everything), secret

    return make


def place(api):
    return f"http://127.0.0.1:{api.address[1]}"


def test_what_waits_goes_with_its_state(pair, lab, closing):
    """Attempts, what became of each recipient, holds, a time, three megabytes; the door is closed, and opens again."""
    port, ledger = free_port(), Ledger()
    hop = closing(Sink({"RCPT": lambda _, to: "451 4.2.0 later" if to.startswith("later") else None}))
    here, api, there, peer, secret = pair(("127.0.0.1", port))
    here.routes = {"*": hop.address}
    here.write_config()
    here.hup()
    both = send_mail(here, "a@a.test", ["now@b.test", "later@b.test"], MAIL % b"both")
    later = ("later@b.test", "temp_failed")
    wait_until(lambda: later in [one[:2] for one in states(api, both)], 30, lambda: f"a deferral: {states(api, both)}")
    for one in (api, peer):
        assert one.ask("PATCH", "/v1/outbound", {"disabled": True})[0] == 200
    big = send_mail(here, "a@a.test", ["big@b.test"], MAIL % b"big" + b"line of text, line of text\r\n" * 110_000)
    held = send_mail(here, "a@a.test", ["held@b.test"], MAIL % b"held")
    timed = send_mail(here, "a@a.test", ["timed@b.test"], MAIL % b"timed")
    tool(here, "queue", "hold", held, "--because", "look at it, please")
    until = time.strftime("%Y-%m-%dT12:00:00Z", time.gmtime(time.time() + 90 * 86_400))
    assert api.ask("POST", f"/v1/queue/{timed}/hold", {"reason": "new year", "until": until})[0] == 200
    before, known = api.ask("GET", f"/v1/queue/{both}")[2], states(api, both)

    dry = drain(here, "--to", place(peer), "--dry-run", TO_TOKEN=secret)
    assert dry.returncode == 0, dry.stderr
    assert "4 messages would go to" in dry.stdout and len(listed(api)) == 4
    done = drain(here, "--to", place(peer), TO_TOKEN=secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("4 messages went to 127.0.0.1:"), done.stdout
    assert listed(api) == []
    assert sorted(row["id"] for row in listed(peer)) == sorted([both, big, held, timed])

    after = peer.ask("GET", f"/v1/queue/{both}")[2]
    for name in ("sender", "size_bytes", "queued_at"):
        assert after[name] == before[name], name
    assert states(peer, both) == known
    assert "look at it, please" in tool(there, "queue", "show", held)
    assert until[:19] in json.dumps(peer.ask("GET", f"/v1/queue/{timed}")[2])
    wait_until(lambda: len(events(there, "message.arrived")) == 4, 30, "the events")
    assert [e["message_id"] for e in events(there, "message.arrived")] == [
        e["message_id"] for e in events(here, "message.left")
    ]
    assert {e["subject"] for e in events(there, "message.arrived")} == {"here.test"}

    assert api.ask("GET", "/readyz")[0] == 503
    assert try_one(lab, ledger, here, ledger.make()).startswith(b"452")
    assert "takes mail again" in drain(here, "--stop").stdout
    assert api.ask("GET", "/readyz")[0] == 200
    sink = closing(Sink(port=port))
    assert peer.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    tool(there, "flush")
    sink.wait_for(2)
    tool(there, "queue", "release", held)
    sink.wait_for(3)
    got = {m.recipients[0].strip("<>").split("@")[0]: m for m in sink.messages}
    assert sorted(got) == ["big", "held", "later"], "who had it already does not get it again"
    assert got["big"].data.count(b"line of text") == 220_000


def test_killed_on_either_side(pair, lab, closing):
    """kill -9 of the command, of either relay, at random while messages go: none is lost, and none goes twice."""
    ledger = Ledger()
    sink = LedgerSink(lab, ledger)
    closing(sink)
    here, _, there, peer, secret = pair(sink.address)
    there.write("outbound.ini", "disabled = true\n")
    there.hup()
    wait_until(lambda: peer.ask("GET", "/v1/outbound")[2]["disabled"] is True, 30, "the switch")
    admin = f"listen = 127.0.0.1:{peer.address[1]}\n"
    text = (there.config / "admin.ini").read_text().replace("listen = 127.0.0.1:0\n", admin)
    there.write("admin.ini", text)
    count = 3000 if SOAK else 120
    submit(lab, ledger, here, [ledger.make(recipients=1 + n % 2) for n in range(count)])
    pick = random.Random(ledger.seed)
    kills = 0
    while kills < (60 if SOAK else 6):
        run = drain(here, "--to", place(peer), "--wait", "20", TO_TOKEN=secret, started=True)
        time.sleep(pick.uniform(0.15, 0.6))
        victim = pick.choice(["command", "here", "there"])
        if run.poll() is not None:
            break
        kills += 1
        if victim == "command":
            run.kill()
        elif victim == "here":
            here.kill()
            here.start()
        else:
            there.kill()
            there.start()
        run.wait(120 * PATIENCE)
        run.stdout.close()
    last = drain(here, "--to", place(peer), TO_TOKEN=secret)
    assert last.returncode == 0, last.stdout + last.stderr
    print(f"\n{kills} kills, then: {last.stdout.strip()}")
    rows = []
    peer = Api(there, peer.headers["Authorization"].split()[1])
    wait_until(lambda: peer.ask("GET", "/v1/queue?limit=1")[2]["total"] == count, 30, "all of it there")
    cursor = ""
    while cursor is not None:
        page = peer.ask("GET", f"/v1/queue?limit=1000{cursor}")[2]
        rows += page["items"]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert not [row for row in rows if row["state"] == "held"], "a mark that nobody took away"
    sink.start()
    there.write("outbound.ini", "temp_fail_intervals = 1s*100\nlane_rest_max = 1\nenable_tls = false\n")
    there.hup()
    ledger.wait_delivered(90 * PATIENCE)
    ledger.check(duplicates=0)
    assert {copies[0][2] for copies in ledger.delivered.values()} == {"there.test"}


def test_what_came_once_is_known(pair, closing):
    """Delivered or not, after a restart too; another message of the same name gets another one, a changed byte is refused."""
    sink = closing(Sink())
    here, api, there, peer, _ = pair(sink.address)
    id = send_mail(here, "a@a.test", ["b@b.test"], MAIL % b"once")
    begin = {"to": "there:8025"}
    wait_until(
        lambda: api.ask("POST", f"/v1/queue/{id}/departure", begin)[0] == 200, 30, "a message that no session has"
    )
    _, headers, record = api.ask("POST", f"/v1/queue/{id}/departure", begin)
    assert headers["Content-Type"] == TYPE
    # It is held here, and its way to another relay is refused until this one is known to have it or not.
    status, _, problem = api.ask("POST", f"/v1/queue/{id}/departure", {"to": "elsewhere:1"})
    assert (status, problem["destination"]) == (409, "there:8025")
    assert "on its way to there:8025" in tool(here, "queue", "show", id)
    here.restart()
    api = Api(here)
    assert api.ask("GET", f"/v1/queue/{id}")[2]["state"] == "held"

    def put(bytes_, name=id):
        return peer.ask("PUT", f"/v1/queue/{name}?from=here", bytes_, Content_Type=TYPE)

    damaged = bytearray(record)
    damaged[-20] ^= 1
    assert put(bytes(damaged))[0] == 400
    assert put(record[:-1])[0] == 400
    newer = record[:16] + b"\x02" + record[17:]
    status, _, problem = put(newer)
    assert status == 422 and "newer martlet" in json.dumps(problem), problem
    assert put(record, "0000000000001")[0] == 422
    assert put(record)[::2] == (201, {"id": id, "known": False})
    sink.wait_for(1)
    wait_until(lambda: listed(peer) == [], 30, "an empty queue there")
    assert put(record)[::2] == (200, {"id": id, "known": True})
    there.restart()
    peer.address = Api(there).address
    assert put(record)[::2] == (200, {"id": id, "known": True})
    # It was refused, says somebody: it goes on here as it was before.
    assert api.ask("DELETE", f"/v1/queue/{id}/departure?to=there:8025")[0] == 204
    assert api.ask("GET", f"/v1/queue/{id}")[2]["state"] != "held"
    assert api.ask("DELETE", f"/v1/queue/{id}/departure?to=there:8025&arrived=true")[0] == 409
    assert len(sink.messages) == 1


def test_a_name_that_is_another_messages(pair):
    here, api, _, peer, _ = pair(("127.0.0.1", free_port()))
    id = send_mail(here, "a@a.test", ["b@b.test"], MAIL % b"mine")
    api.ask("POST", f"/v1/queue/{id}/hold", {})
    wait_until(lambda: api.ask("GET", f"/v1/queue/{id}")[2]["state"] == "held", 30, "a hold")
    _, _, mine = api.ask("POST", f"/v1/queue/{id}/departure", {"to": "there"})
    # The same name, and another text: as if both relays had taken a message in the same millisecond.
    assert peer.ask("PUT", f"/v1/queue/{id}", mine, Content_Type=TYPE)[0] == 201
    api.ask("DELETE", f"/v1/queue/{id}/departure?to=there&arrived=true")
    other = crc_signed(mine.replace(b"Subject: mine", b"Subject: hers"))
    status, _, answer = peer.ask("PUT", f"/v1/queue/{id}", other, Content_Type=TYPE)
    assert status == 201 and answer["id"] != id, answer
    assert len(listed(peer)) == 2


def crc_signed(record):
    """The record with the checksum of what stands in it."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    value = 0xFFFFFFFF
    for byte in record[:-4]:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return record[:-4] + (value ^ 0xFFFFFFFF).to_bytes(4, "little")


def test_what_cannot_be_done_is_said(pair, lab):
    """No token, too little of one, no protection, no room, nobody there: a sentence, and nothing has changed here."""
    here, api, there, peer, secret = pair(("127.0.0.1", free_port()))
    ledger = Ledger()
    submit(lab, ledger, here, [ledger.make() for _ in range(3)])

    def refused(*arguments, **variables):
        run = drain(here, *arguments, "--wait", "1", **variables)
        assert run.returncode not in (0, 1), run.stdout
        assert len(listed(api)) == 3
        assert "held" not in {row["state"] for row in listed(api)}
        return run.stderr

    assert "a token is needed" in refused("--to", place(peer))
    weak = token(there, "weak", "status:read")
    there.hup()
    wait_until(lambda: "scope queue:write" in refused("--to", place(peer), TO_TOKEN=weak), 30, "the token to be known")
    assert api.ask("GET", "/readyz")[0] == 200, "the door is closed for somebody who cannot do anything"
    assert "in the clear" in refused("--to", "http://relay.example.net:8025", TO_TOKEN=secret)
    assert "cannot connect" in refused("--to", f"http://127.0.0.1:{free_port()}", TO_TOKEN=secret)
    assert peer.ask("POST", "/v1/drain")[0] == 200
    assert "is being drained itself" in refused("--to", place(peer), TO_TOKEN=secret)
    assert peer.ask("DELETE", "/v1/drain")[0] == 200
    # A message that is larger than the other relay takes stays here, and the others go.
    api.ask("DELETE", "/v1/drain")
    submit(lab, ledger, here, [ledger.make(3_000_000)])
    there.smtp["limits.message_bytes"] = "1M"
    there.smtp["limits.recipients"] = 100
    admin = (there.config / "admin.ini").read_text()
    there.write_config()
    there.write("admin.ini", admin.replace("listen = 127.0.0.1:0", f"listen = 127.0.0.1:{peer.address[1]}"))
    there.restart()
    run = drain(here, "--to", place(peer), "--wait", "1", TO_TOKEN=secret)
    assert run.returncode == 75 and run.stdout.startswith("3 messages went to"), run.stdout + run.stderr
    assert "stays here" in run.stderr
    assert [row["state"] == "held" for row in listed(api)] == [False]


def test_over_tls_with_an_authority_of_ours(make_relay, tmp_path, closing):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    files = {
        "admin.ini": "listen = 127.0.0.1:0\ncertificate = api_cert.pem\nkey = api_key.pem\n",
        "api_cert.pem": certificate.read_bytes(),
        "api_key.pem": key.read_bytes(),
    }
    sink = closing(Sink())
    there = make_relay(started=False, routes={"*": sink.address}, files=files)
    secret_file = tmp_path / "token"
    secret_file.write_text(token(there, "peer", "queue:write,status:read"))
    there.start()
    here = make_relay(routes={"*": ("127.0.0.1", free_port())}, outbound={"temp_fail_intervals": "1h*10"})
    send_mail(here, "a@a.test", ["b@b.test"], MAIL % b"x")
    to = f"https://localhost:{Api(there).address[1]}"
    run = drain(here, "--to", to, "--to-token-file", str(secret_file))
    assert run.returncode == 69 and "no trusted TLS connection" in run.stderr, run.stderr
    run = drain(here, "--to", to, "--to-token-file", str(secret_file), "--to-ca", str(authority.certificate), "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"sent": 1, "known": 0, "refused": 0, "left": 0, "to": to[8:]}
    tool(there, "flush")
    sink.wait_for(1)


def test_what_a_session_has_goes_last(pair, lab, closing):
    """A message that is on its way out is left until that is over, and is delivered from here; the others go."""
    ledger = Ledger()
    hop = closing(LedgerSink(lab, ledger, dot_delay=2.0)).start()
    here, _, _, peer, secret = pair(hop.address)
    here.routes = {"*": hop.address}
    here.outbound["concurrency_per_lane"] = 1
    here.write_config()
    here.restart()
    api = Api(here)
    submit(lab, ledger, here, [ledger.make() for _ in range(4)])
    wait_until(lambda: "in_progress" in {row["state"] for row in listed(api)}, 30, "a session")
    run = drain(here, "--to", place(peer), TO_TOKEN=secret)
    assert run.returncode == 0, run.stdout + run.stderr
    ledger.wait_delivered(60 * PATIENCE)
    ledger.check(duplicates=0)
    by = [copies[0][2] for copies in ledger.delivered.values()]
    print(f"\n{run.stdout.strip()}: {by}")
    assert 1 <= by.count("here.test") <= 2 and by.count("there.test") == 4 - by.count("here.test")
    assert f"{by.count('there.test')} messages went to" in run.stdout
