"""test_api.py - the admin API as scripts use it: rows W1-W9, persistence, the queue, submission, metrics."""

import concurrent.futures
import functools
import json
import operator
import os
import re
import shutil
import socket
import subprocess
import time

import pytest
from api import JSON, MAIL, Api, command, token
from harness import ROOT, Relay
from smtp_client import send_mail
from waiting import wait_until


def test_tokens_open_what_their_scopes_say(make_api):
    relay, api = make_api()
    assert api.ask("GET", "/v1/stats")[0] == 200, "loopback without any token is open"
    secret = token(relay, "reader", "queue:read,status:read")
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 401, what="the new token to be noticed")
    reader = Api(relay, secret)
    assert reader.ask("GET", "/v1/queue")[0] == 200
    status, headers, problem = reader.ask("POST", "/v1/queue/flush")
    assert status == 403 and "queue:write" in problem["detail"] and problem["type"] == "urn:martlet:problem:forbidden"
    for near in ["", secret[:-1], secret + "x", secret.upper(), "\u00e4"]:
        status, headers, _ = Api(relay).ask("GET", "/v1/queue", Authorization=f"Bearer {near}".encode())
        assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer")
    for path in ["/v1/queue/../queue", "//v1/queue", "/v1/nothing", "/v1/queue%2f..", "/metrics", "/v1/routes"]:
        assert api.ask("GET", path)[0] in (400, 401), path
    for path in ["/livez", "/readyz", "/openapi.yaml"]:
        assert api.ask("GET", path)[0] == 200, path
    assert secret not in relay.log_tail(1000) and secret not in (relay.config / "admin.ini").read_text()
    assert command(relay, "token", "revoke", "reader").returncode == 0
    wait_until(lambda: reader.ask("GET", "/v1/queue")[0] == 401, what="the revocation to be noticed")
    assert api.ask("GET", "/v1/queue")[0] == 401, "the end of the last token opens nothing"


def test_an_open_listener_needs_a_token(tmp_path, closing):
    relay = closing(Relay(tmp_path, files={"admin.ini": "listen = 0.0.0.0:0\n"})).start(wait=False)
    assert relay.process.wait(20) == 1
    assert "token" in relay.log_tail()


def test_a_body_beyond_the_limit_is_not_awaited(make_api):
    _, api = make_api("body_bytes = 64K\n")
    answer = api.raw(
        b"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413"), answer[:100]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Host: b",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: +2",
    ],
)
def test_ambiguous_framing_ends_the_connection(make_api, head):
    _, api = make_api()
    hidden = b"{}GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = f"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    answer = api.raw(request.encode() + hidden)
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"queued_bytes" not in answer, "what was hidden behind it is not served"


@pytest.mark.parametrize(
    "body,status",
    [
        (b"{", 400),
        (b'{"disabled":true,"disabled":false}', 400),
        (b"[" * 100_000, 413),
        (b'{"reason":"\\ud800"}', 400),
        (b'{"reason":"\xff"}', 400),
        (b'{"reason":"a\\r\\n[x]"}', 422),
        (b'{"reason":"a\\u0000"}', 422),
        (b'{"reason":"\\u2028"}', 422),
        (b'{"nope":1}', 422),
        (b'{"concurrency_max":1e999}', 400),
        (b'{"concurrency_max":99999999999}', 422),
        (b'{"disabled":"yes"}', 422),
        (b"[]", 422),
    ],
)
def test_bodies_that_are_wrong_change_nothing(make_api, body, status):
    relay, api = make_api()
    before = (relay.config / "outbound.ini").read_bytes()
    answer = api.ask("PATCH", "/v1/outbound", body, **JSON)
    assert answer[0] == status and answer[2]["status"] == status, answer
    assert (relay.config / "outbound.ini").read_bytes() == before


def test_endless_chunks_are_cut(make_api):
    _, api = make_api("body_bytes = 64K\n")
    request = b"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(api.address, timeout=20) as connection:
        connection.sendall(request)
        with pytest.raises(OSError):
            for _ in range(10_000):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def test_slow_clients_are_ended_and_others_served(make_api, sink):
    relay, api = make_api("timeout = 2\n", routes={"*": sink.address})
    slow = [socket.create_connection(api.address, timeout=20) for _ in range(24)]
    try:
        for connection in slow:
            connection.sendall(b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _number in range(10):
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        sink.wait_for(10)
        ended = 0
        deadline = time.monotonic() + 12
        while ended < len(slow) and time.monotonic() < deadline:
            ended = 0
            for connection in slow:
                try:
                    connection.sendall(b"a")
                    connection.settimeout(0.01)
                    ended += connection.recv(4096) == b""
                except TimeoutError:
                    pass
                except OSError:
                    ended += 1
            time.sleep(0.2)
        assert ended == len(slow), f"{ended} of {len(slow)} slow connections were ended"
        assert api.ask("GET", "/v1/stats")[0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_pages_of_other_sites_are_refused(make_api):
    _, api = make_api()
    assert api.ask("POST", "/v1/queue/flush", Origin="http://evil.test")[0] == 403
    assert api.ask("GET", "/v1/queue", Host="evil.test")[0] == 421
    assert api.ask("POST", "/v1/queue/flush", b"x=1", Content_Type="text/plain")[0] == 415
    status, headers, _ = api.ask("OPTIONS", "/v1/queue")
    assert status == 405 and "GET" in headers["Allow"] and "Access-Control-Allow-Origin" not in headers


def test_the_toggle_is_in_the_file_and_in_force(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"outbound.ini": "; mine\ndisabled = false ; why\n; end\n"})
    status, headers, value = api.ask("GET", "/v1/outbound")
    assert status == 200 and value["disabled"] is False
    tag = headers["ETag"]
    status, headers, value = api.ask("PATCH", "/v1/outbound", {"disabled": True, "reason": "moving"}, If_Match=tag)
    assert (
        status == 200 and value["disabled"] is True and value["disabled_reason"] == "moving" and headers["ETag"] != tag
    )
    text = (relay.config / "outbound.ini").read_text()
    assert text.startswith("; mine\ndisabled = true ; why\n") and "; end" in text
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False}, If_Match=tag)[0] == 412
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("GET", "/v1/outbound")[2]["disabled"] is True, "survives kill -9"
    message = api.ask("GET", "/v1/queue")[2]["items"][0]
    assert api.ask("GET", f"/v1/queue/{message['id']}")[2]["waiting_because"][0]["code"] == "disabled"
    assert not sink.messages
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    sink.wait_for(1)


def test_concurrent_edits_lose_nothing(make_api):
    _relay, api = make_api()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        put = lambda n: api.ask("PUT", f"/v1/routes/d{n}.test", {"mx": [f"m{n}.test"]})[0]
        assert set(pool.map(put, range(24))) == {201}
    whole = api.ask("GET", "/v1/routes")[2]
    assert whole["total"] == 24 and whole["next"] is None
    pages, cursor = [], ""
    while cursor is not None:
        page = api.ask("GET", f"/v1/routes?limit=10{cursor and '&cursor=' + cursor}")[2]
        pages.append(page["items"])
        cursor = page["next"]
    assert [len(page) for page in pages] == [10, 10, 4] and functools.reduce(operator.iadd, pages, []) == whole["items"]
    assert api.ask("GET", "/v1/routes?cursor=gone.test")[0] == 422
    assert api.ask("PATCH", "/v1/outbound", {}, Content_Type="application/json")[0] == 200


def test_routes_keep_their_secrets(make_api):
    relay, api = make_api(routes={"*": "127.0.0.1:1"})
    route = {
        "mx": ["m.test:587", {"exchange": "192.0.2.1", "using_lmtp": True}],
        "auth_user": "u",
        "auth_pass": "s3 cret",
    }
    status, headers, value = api.ask("PUT", "/v1/routes/EXAMPLE.test", route)
    assert status == 201 and headers["Location"] == "/v1/routes/example.test"
    assert [mx["port"] for mx in value["mx"]] == [587, 24] and all(mx["auth_pass_set"] for mx in value["mx"])
    assert api.ask("PATCH", "/v1/routes/example.test", {"tls": "verify"})[2]["mx"][0]["tls"] == "verify"
    assert "auth_pass = s3 cret" in (relay.config / "routes.ini").read_text()
    back = api.ask("GET", "/v1/routes/example.test")[2]
    assert api.ask("PUT", "/v1/routes/example.test", back)[0] == 200, "what comes out goes in"
    assert "auth_pass = s3 cret" in (relay.config / "routes.ini").read_text()
    everything = json.dumps(
        [
            api.ask("GET", path)[2]
            for path in ["/v1/routes", "/v1/routes/example.test", "/v1/explain?recipient=a@example.test"]
        ]
    )
    assert "s3 cret" not in everything + relay.log_tail(1000)
    assert (
        api.ask("PUT", "/v1/routes/a.test", {"mx": ["m.test"], "auth_user": "u", "auth_pass": "@file:/etc/passwd"})[0]
        == 422
    )
    for reference in ["@file:admin.ini", "@file:secrets/../tls_key.pem", "@env:HOME", "@env:MARTLET_ADMIN_TOKEN"]:
        wanted = {"mx": ["m.test"], "auth_user": "u", "auth_pass": reference}
        assert api.ask("PUT", "/v1/routes/a.test", wanted)[0] == 422, reference
    assert api.ask("PUT", "/v1/routes/..%2fx", {"mx": ["m.test"]})[0] == 400
    assert api.ask("PUT", "/v1/routes/a%0d%0ab", {"mx": ["m.test"]})[0] == 400
    assert api.ask("PUT", "/v1/routes/b.test", {"mx": ["m.test]\n[x"]})[0] == 422
    assert api.ask("DELETE", "/v1/routes/example.test")[0] == 200
    assert api.ask("GET", "/v1/routes/example.test")[0] == 404


def test_the_queue_by_hand(make_api):
    relay, api = make_api(outbound={"disabled": True})
    for number in range(5):
        send_mail(relay, "a@a.test", [f"b@d{number}.test"], MAIL)
    first = api.ask("GET", "/v1/queue?limit=2")[2]
    assert first["total"] == 5 and len(first["items"]) == 2
    second = api.ask("GET", f"/v1/queue?limit=10&cursor={first['next']}")[2]
    ids = [item["id"] for item in first["items"] + second["items"]]
    assert len(set(ids)) == 5 and second["next"] is None
    lines = api.ask("GET", "/v1/queue", Accept="application/x-ndjson")[2].splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    status, headers, content = api.ask("GET", f"/v1/queue/{ids[0]}/content")
    assert status == 200 and content.endswith(b"\r\nbody\r\n") and int(headers["Content-Length"]) == len(content)
    assert api.ask("HEAD", f"/v1/queue/{ids[0]}")[0] == 200
    assert api.ask("POST", f"/v1/queue/{ids[0]}/hold", {"reason": "look"})[0] == 200
    assert api.ask("GET", "/v1/queue?state=held")[2]["total"] == 1
    assert api.ask("POST", f"/v1/queue/{ids[0]}/retry")[0] == 409
    assert api.ask("POST", f"/v1/queue/{ids[0]}/release")[0] == 200
    assert api.ask("POST", "/v1/queue/actions", {"action": "remove", "filter": {}})[0] == 422, "empty is not all"
    dry = api.ask("POST", "/v1/queue/actions", {"action": "remove", "filter": {"domain": "d1.test"}, "dry_run": True})[
        2
    ]
    assert dry["matched"] == 1
    job = api.ask("POST", "/v1/queue/actions", {"plan": dry["plan"]})[2]
    assert api.ask("GET", f"/v1/jobs/{job['id']}?wait_s=10")[2]["done"] == 1
    assert api.ask("DELETE", f"/v1/queue/{ids[0]}")[0] == 204
    assert api.ask("DELETE", f"/v1/queue/{ids[0]}")[0] == 404
    assert api.ask("GET", "/v1/stats")[2]["messages"] == 3


def test_a_key_makes_a_post_count_once(make_api):
    relay, api = make_api(outbound={"disabled": True})
    mail = {"from": "a@a.test", "to": "b@b.test", "subject": "once", "text": "x"}
    first = api.ask("POST", "/v1/messages", mail, Idempotency_Key="k1")
    assert first[0] == 202
    again = api.ask("POST", "/v1/messages", mail, Idempotency_Key="k1")
    assert again[2] == first[2] and again[1]["Idempotency-Replayed"] == "true"
    assert api.ask("POST", "/v1/messages", {**mail, "text": "y"}, Idempotency_Key="k1")[0] == 422
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("POST", "/v1/messages", mail, Idempotency_Key="k1")[2] == first[2], "also after kill -9"
    assert api.ask("GET", "/v1/queue")[2]["total"] == 1


def test_submitted_mail_arrives_as_it_was_meant(make_api, sink):
    _relay, api = make_api(routes={"*": sink.address})
    mail = {
        "from": "Jörg Öl <a@a.test>",
        "to": ['"B, C" <b@b.test>'],
        "bcc": "c@c.test",
        "subject": "Grüße " * 20,
        "text": ".\nFrom me\n" + "ü" * 2000,
        "html": "<p>x</p>",
        "headers": {"X-A": "b"},
        "attachments": [{"filename": "ä.txt", "content": "aGVsbG8=", "content_type": "text/plain"}],
    }
    assert api.ask("POST", "/v1/messages", mail)[0] == 202
    import email
    import email.policy

    seen = email.message_from_bytes(sink.wait_for(1)[0].data, policy=email.policy.default)
    assert (seen["From"] == "Jörg Öl <a@a.test>" and seen["Subject"] == ("Grüße " * 20).strip()) or seen[
        "Subject"
    ] == "Grüße " * 20
    assert seen["Bcc"] is None and seen["Message-ID"] and seen["Date"] and seen["X-A"] == "b"
    assert seen.get_body(["plain"]).get_content().replace("\r\n", "\n") == ".\nFrom me\n" + "ü" * 2000 + "\n"
    assert next(seen.iter_attachments()).get_content() == "hello"
    for evil in [
        {"subject": "a\r\nBcc: x@x.test"},
        {"headers": {"X\r\nBcc": "x"}},
        {"headers": {"From": "x@x.test"}},
        {"headers": {"X": "a\nb"}},
        {"from": "a@a.test>\r\nRCPT TO:<x@x.test"},
        {"to": ["x@x.test\r\n"]},
    ]:
        assert api.ask("POST", "/v1/messages", {**mail, **evil})[0] == 422, evil
    raw = b"Subject: raw\n\n.\nbody"
    assert api.ask("POST", "/v1/messages?from=%3C%3E&to=b%2Bx@b.test", raw, Content_Type="message/rfc822")[0] == 202


# Names that are there from the start and count up from zero.
SERIES = """
    martlet_messages_accepted_total martlet_messages_rejected_total martlet_recipients_total martlet_delivery_failures_total
    martlet_delivery_delay_seconds_count martlet_attempt_phase_seconds_count martlet_queue_messages martlet_queue_bytes
    martlet_queue_oldest_age_seconds martlet_queue_age_seconds martlet_queue_messages_older martlet_outbound_connections
    martlet_outbound_connections_total martlet_outbound_tls_total martlet_outbound_disabled martlet_dns_lookups_total
    martlet_dns_lookup_seconds_count martlet_hook_seconds_count martlet_hook_failures_total
    martlet_http_requests_total martlet_http_request_seconds_count martlet_auth_attempts_total martlet_spool_fsync_seconds_count
""".split()


def families(page):
    """`{name of a series: [(labels, value)]}`."""
    found = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", page.decode(), re.M):
        found.setdefault(name, []).append((labels, float(value)))
    return found


def test_mail_for_later_waits_for_its_time(make_api, sink):
    relay, api = make_api(routes={"*": sink.address})
    mail = {"from": "a@a.test", "to": "b@b.test", "text": "x"}
    clock = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    assert api.ask("POST", "/v1/messages", {**mail, "subject": "past", "send_at": clock(-60)})[0] == 202
    assert [m.data.count(b"past") for m in sink.wait_for(1)] == [1]
    far = api.ask("POST", "/v1/messages", {**mail, "subject": "far", "send_at": clock(3600)})[2]["id"]
    soon = api.ask(
        "POST",
        f"/v1/messages?from=a@a.test&to=b@b.test&send_at={clock(8)}",
        b"Subject: soon\n\nx\n",
        Content_Type="message/rfc822",
    )[2]["id"]
    for wrong in ["tomorrow", clock(400 * 86400)]:
        assert api.ask("POST", "/v1/messages", {**mail, "send_at": wrong})[0] == 422
    shown = api.ask("GET", f"/v1/queue/{far}")[2]
    assert shown["state"] == "held" and shown["held"]["reason"] == "send_at" and shown["held"]["until"]
    assert shown["waiting_because"][0]["code"] == "held" and shown["waiting_because"][0]["until"]
    assert api.ask("POST", "/v1/queue/flush")[0] == 202, "does not hurry it"
    relay.kill()
    relay.start()
    api = Api(relay)
    assert api.ask("GET", f"/v1/queue/{far}")[2]["held"] == shown["held"], "also after kill -9"
    assert b"soon" in sink.wait_for(2)[1].data
    assert api.ask("GET", f"/v1/queue/{soon}")[0] in (404, 410)
    assert api.ask("POST", f"/v1/queue/{far}/release")[0] == 200
    assert b"far" in sink.wait_for(3)[2].data


def test_metrics_are_what_prometheus_expects(make_api, sink):
    relay, api = make_api(routes={"*": sink.address})
    status, headers, page = api.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    found = families(page)
    for name in SERIES:
        assert found.get(name) and all(value == 0 for _, value in found[name]), name
    for name in [
        "martlet_build_info",
        "martlet_config_last_reload_success",
        "martlet_spool_free_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ]:
        assert found[name][0][1] > 0, name
    for name in ["martlet_queue_messages", "martlet_queue_bytes", "martlet_queue_oldest_age_seconds"]:
        assert {labels for labels, _ in found[name]} == {
            f'state="{s}"' for s in ["waiting", "in_progress", "temp_failed", "held", "dying"]
        }
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    sink.wait_for(1)
    delivered = ('result="delivered",route="*"', 1)
    wait_until(lambda: delivered in families(api.ask("GET", "/metrics")[2])["martlet_recipients_total"])
    page = api.ask("GET", "/metrics")[2]
    found = families(page)
    assert found["martlet_outbound_connections_total"] == [('result="failed"', 0), ('result="opened"', 1)]
    assert ('route="*"', 1) in found["martlet_outbound_connections"]
    assert ('listener="smtp"', 1) in found["martlet_messages_accepted_total"]
    phases = dict(found["martlet_attempt_phase_seconds_count"])
    assert phases == {
        'phase="connect"': 1,
        'phase="data"': 1,
        'phase="dns"': phases['phase="dns"'],
        'phase="envelope"': 1,
        'phase="tls"': 0,
    }
    assert ('route="/metrics"', 0) not in found["martlet_http_request_seconds_count"]
    if promtool := shutil.which("promtool"):
        checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)
        assert checked.returncode == 0, checked.stderr
    else:
        pytest.skip("promtool is not installed")


def test_metrics_are_those_of_the_manual(make_api):
    """Metrics.md names every metric with its type and labels, and none that is not there."""
    page = make_api()[1].ask("GET", "/metrics")[2].decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
    manual = (ROOT / "Sources/martlet/martlet.docc/Metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", manual, re.M)
    assert {name: kind for name, kind, _ in rows} == types
    for name, kind, text in rows:
        series = re.search(rf"^{name}{'_count' if kind == 'histogram' else ''}(?:\{{(.*)\}})? ", page, re.M)
        labels = set(re.findall(r'(\w+)="', series[1] or ""))
        assert labels == set(re.findall(r"`(\w+)`", text)), name


def test_metrics_count_refusals_and_routes(make_api, sink):
    """Refusals by reason; a route has a label of its own unless its name could be an address, or there are too many."""
    many = {f"d{number}.test": sink.address for number in range(25)}
    relay, api = make_api(
        routes={"*": sink.address, "box@c.test": sink.address, **many}, smtp={"limits.message_bytes": 2000}
    )
    send_mail(relay, "a@a.test", ["x@b.test", "box@c.test", *[f"x@{name}" for name in many]], MAIL)
    with pytest.raises(Exception, match="552"):
        send_mail(
            relay, "a@a.test", ["x@b.test"], b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 40
        )
    wait_until(
        lambda: (
            sum(v for k, v in families(api.ask("GET", "/metrics")[2])["martlet_recipients_total"] if "delivered" in k)
            == 27
        )
    )
    found = families(api.ask("GET", "/metrics")[2])
    assert ('code="552",listener="smtp",reason="too_large"', 1) in found["martlet_messages_rejected_total"]
    delivered = {
        labels.split('route="')[1][:-1]: count
        for labels, count in found["martlet_recipients_total"]
        if "delivered" in labels
    }
    assert delivered["*"] == 1 and delivered["address"] == 1 and "box" not in str(delivered)
    # Sixteen of the 25, whichever were used first, and dns, *, address and other, whenever those were.
    assert len(delivered) == 20 and delivered["other"] == 27 - sum(v for k, v in delivered.items() if k != "other") > 0


def test_plugins_judge_submitted_mail_too(hooked, sink):
    answers = {
        "DENY": {"code": "DENY", "message": "not today"},
        "LATER": {"code": "DENYSOFT", "message": "come back"},
        "TAKE": {"code": "OK"},
        "GO": {"code": "CONT", "rcpt_to": ["other@b.test"]},
    }
    relay, hook = hooked(
        {"queue_outbound": lambda q: answers[q["transaction"]["mail_from"].split("@")[0].upper()]},
        routes={"*": sink.route},
        files={"admin.ini": "listen = 127.0.0.1:0\n"},
    )
    api = Api(relay)
    submit = lambda name: api.ask("POST", "/v1/messages", {"from": f"{name}@a.test", "to": "b@b.test", "text": "x"})
    status, _, problem = submit("deny")
    assert status == 403 and "550" in problem["reply"] and "not today" in problem["reply"]
    status, headers, problem = submit("later")
    assert status == 503 and "450" in problem["reply"] and headers["Retry-After"]
    status, _, taken = submit("take")
    assert status == 202
    relay.wait_log("message taken by a plugin", id=taken["id"])
    relay.wait_log("message rejected by a plugin", count=2)
    status, _, queued = submit("go")
    assert status == 202
    assert [message.sender for message in sink.wait_for(1)] == ["go@a.test"]
    relay.wait_log("message accepted", id=queued["id"])
    assert not relay.log_lines("message accepted", id=taken["id"])
    assert len(hook.asked("queue_outbound")) == 4


def test_the_socket_needs_no_token(make_api):
    relay, _ = make_api()
    token(relay)
    with socket.socket(socket.AF_UNIX) as connection:
        path = os.path.relpath(relay.data / "admin.sock")
        connection.connect(min(path, str(relay.data / "admin.sock"), key=len))
        connection.sendall(b"GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
