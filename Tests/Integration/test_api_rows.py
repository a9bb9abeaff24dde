"""test_api_rows.py - the admin API under attack, row by row, and the table of source addresses.

W1  tokens                test_tokens_open_what_their_scopes_say (test_api), test_no_token_no_body
W2  injection             test_bodies_that_are_wrong_change_nothing, test_submitted_mail_arrives_as_it_was_meant,
                          test_routes_keep_their_secrets (test_api), test_source_addresses_by_api
W3  hostile bodies        test_bodies_that_are_wrong_change_nothing, test_endless_chunks_are_cut (test_api),
                          test_every_body_has_a_limit
W4  paths                 test_names_in_paths_never_are_files
W5  framing               test_ambiguous_framing_ends_the_connection (test_api)
W6  slow clients          test_slow_clients_are_ended_and_others_served (test_api), test_a_slow_body_is_ended,
                          test_mail_flows_past_hostile_clients
W7  edits and crashes     test_concurrent_edits_lose_nothing (test_api), test_an_acknowledged_edit_survives_a_crash
W8  secrets               test_routes_keep_their_secrets (test_api), test_errors_tell_nothing_of_the_machine
W9  other sites           test_pages_of_other_sites_are_refused (test_api)
"""

import json
import re
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
from api import MAIL, Api, token
from harness import ROOT
from smtp_client import send_mail
from test_api_manual import operations
from tls_peers import Authority
from waiting import wait_until

sys.path.insert(0, str(ROOT / "Tests/Bench"))
from api_load import hostile_clients


def test_no_token_no_body(make_api):
    relay, api = make_api()
    token(relay)
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 401, what="the new token to be noticed")
    for path in ["/v1/messages", "/v1/queue/actions", "/v1/nothing"]:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n"
        )
        for more in ["", "Authorization: Bearer \r\n", "Authorization: Basic QWxhZGRpbjpvcGVu\r\n"]:
            answer = api.raw(f"{head}{more}\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 401"), "answered before the body came"


def test_every_body_has_a_limit(make_api):
    _, api = make_api("body_bytes = 64K\n")
    paths = [(method, pattern.pattern.replace("[^/]+", "x")) for method, pattern, _ in operations() if method != "GET"]
    assert len(paths) > 12
    for method, path in paths:
        answer = api.raw(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: 999999999999\r\n\r\n".encode()
        )
        assert re.match(rb"HTTP/1.1 (413|404|400)", answer), (method, path, answer[:80])
        assert b"413" in answer[:20] or method == "DELETE", (method, path)


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "..", "%2e%2e", "a%00b", "a%0ab", "%ff", "a%2fb", "%5c..", "x" * 5000]
)
def test_names_in_paths_never_are_files(make_api, name):
    relay, api = make_api()
    before = sorted(path.name for path in relay.directory.rglob("*") if path.suffix != ".seg")
    for place in ["/v1/queue", "/v1/jobs", "/v1/routes", "/v1/outbound-ips"]:
        for method, body in [("GET", None), ("DELETE", None), ("PUT", {"mx": ["m.test"], "ip": "127.0.0.1"})]:
            status, _, answer = api.ask(method, f"{place}/{name}", body)
            # 415: a message is put as bytes of another type, whatever it is called.
            assert status in (400, 404, 405, 414, 415, 422, 431), (method, place, status)
            assert b"root:" not in json.dumps(answer, default=repr).encode()
    assert before == sorted(path.name for path in relay.directory.rglob("*") if path.suffix != ".seg")


def test_a_slow_body_is_ended(make_api):
    _, api = make_api("timeout = 1\n")
    with socket.create_connection(api.address, timeout=20) as connection:
        connection.sendall(
            b"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 60000\r\n\r\n"
        )
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 60:
                connection.sendall(b" ")
                connection.settimeout(0.1)
                try:
                    if connection.recv(1000) == b"":
                        raise ConnectionResetError
                except TimeoutError:
                    pass
        assert time.monotonic() - began < 50


def test_mail_flows_past_hostile_clients(make_api, sink):
    """64 clients do all of rows W3, W5 and W6 at once; Tests/Bench/api_load.py measures what that costs."""
    relay, api = make_api("timeout = 5\n", routes={"*": sink.address})
    stop = threading.Event()
    threads = hostile_clients(api.address, stop)
    try:
        began = time.monotonic()
        for _number in range(50):
            send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        sink.wait_for(50, timeout=60)
        assert time.monotonic() - began < 30
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(threads) == 64
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 200, what="the API to be free again")
    assert api.ask("GET", "/v1/stats")[2]["totals"]["delivered"] == 50


def test_an_acknowledged_edit_survives_a_crash(make_api):
    relay, api = make_api(files={"routes.ini": "; by hand\n"})
    for _ in range(3):
        acknowledged, stop = [], threading.Event()

        def edit(start=api.ask("GET", "/v1/routes")[2]["total"]):
            number = start
            while not stop.is_set():
                try:
                    if api.ask("PUT", f"/v1/routes/d{number}.test", {"mx": [f"m{number}.test"]})[0] in (200, 201):
                        acknowledged.append(number)
                except (OSError, ValueError):
                    return
                except Exception:  # http.client: a torn answer
                    return
                number += 1

        editor = threading.Thread(target=edit)
        editor.start()
        end = time.monotonic() + 20
        while len(acknowledged) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        relay.kill()
        stop.set()
        editor.join(30)
        assert len(acknowledged) >= 5
        text = (relay.config / "routes.ini").read_text()
        assert text.startswith("; by hand\n")
        assert not {n for n in acknowledged if f"[d{n}.test]\nmx = m{n}.test" not in text}
        api = Api(relay.start())
        known = {item["match"] for item in api.ask("GET", "/v1/routes")[2]["items"]}
        assert not {n for n in acknowledged if f"d{n}.test" not in known}


def test_errors_tell_nothing_of_the_machine(make_api):
    relay, api = make_api()
    secret = {"mx": ["m.test"], "auth_user": "u", "auth_pass": "s3 cret"}
    assert api.ask("PUT", "/v1/routes/a.test", secret)[0] == 201
    assert not stat.S_IMODE((relay.config / "routes.ini").stat().st_mode) & 0o007, "it holds a password now"
    answers = [
        api.ask(*question)
        for question in [
            ("GET", "/v1/nothing"),
            ("GET", "/v1/queue/x"),
            ("PATCH", "/v1/outbound", {"inet_prefer": "/etc/shadow"}),
            ("PUT", "/v1/routes/b.test", {**secret, "auth_pass": "@file:secrets/none"}),
            ("PUT", "/v1/routes/b.test", {**secret, "auth_pass": "@env:HOME"}),
            ("PUT", "/v1/routes/b.test", {**secret, "bind": "203.0.113.9"}),
            ("POST", "/v1/messages", {"from": "a@a.test"}),
            ("PUT", "/v1/outbound-ips/b.test", {"ip": "203.0.113.9"}),
        ]
    ]
    for status, _, answer in answers:
        assert status < 500, answer
        text = json.dumps(answer)
        assert not re.search(rf"{re.escape(str(relay.directory))}|s3 cret|\.swift|root|Optional\(", text), text


def test_source_addresses_by_api(make_api):
    relay, api = make_api(files={"outbound_ip.ini": "; mine\n[sender news@a.test]\nip = 127.0.0.2\n"})
    listed = api.ask("GET", "/v1/outbound-ips")[2]
    assert listed["total"] == 1 and listed["items"][0] == {
        "match": "sender news@a.test",
        "ip": ["127.0.0.2"],
        "helo": None,
        "pool": None,
        "address": [],
    }
    status, headers, made = api.ask("PUT", "/v1/outbound-ips/B.test", {"ip": "127.0.0.3", "helo": "Out.a.test"})
    assert status == 201 and made == {
        "match": "recipient b.test",
        "ip": ["127.0.0.3"],
        "helo": "out.a.test",
        "pool": None,
        "address": [],
    }
    tag = headers["ETag"]
    for same in ["b.test", "recipient%20b.test", "recipient%20B.TEST"]:
        assert api.ask("GET", f"/v1/outbound-ips/{same}")[2] == made
    for name, match in [
        ("sender%20d.test", "sender d.test"),
        ("user%20app", "user app"),
        ("*", "*"),
        ("client%2010.0.0.0%2f8", "client 10.0.0.0/8"),
        ("c@b.test", "recipient c@b.test"),
    ]:
        status, _, value = api.ask("PUT", f"/v1/outbound-ips/{name}", {"ip": ["127.0.0.4"]})
        assert status == 201 and value["match"] == match and api.ask("GET", f"/v1/outbound-ips/{name}")[2] == value
    assert api.ask("PUT", "/v1/outbound-ips/b.test", {"ip": "127.0.0.5"}, If_Match=tag)[0] == 412
    assert api.ask("DELETE", "/v1/outbound-ips/b.test", If_Match=tag)[0] == 412
    assert api.ask("PUT", "/v1/outbound-ips/b.test", {"ip": "127.0.0.5"}, If_None_Match="*")[0] == 412
    tag = api.ask("GET", "/v1/outbound-ips/b.test")[1]["ETag"]
    status, headers, value = api.ask("PATCH", "/v1/outbound-ips/b.test", {"ip": "127.0.0.5"}, If_Match=tag)
    assert status == 200 and value == {**made, "ip": ["127.0.0.5"]} and headers["ETag"] != tag
    assert api.ask("PATCH", "/v1/outbound-ips/b.test", {"helo": None})[2]["helo"] is None
    assert api.ask("PATCH", "/v1/outbound-ips/nobody.test", {"helo": "x.test"})[0] == 404
    assert api.ask("PUT", "/v1/outbound-ips/b.test", value)[0] == 200, "what comes out goes in"
    for wrong in [
        {"ip": ["127.0.0.1", "127.0.0.2"]},
        {"ip": []},
        {"ip": None},
        {"ip": "no"},
        {"ip": "127.0.0.1", "helo": "a b"},
        {"ip": "127.0.0.1", "helo": "x\n[y]"},
        {"ip": "127.0.0.1", "more": 1},
        {"ip": "127.0.0.1", "match": "recipient c.test"},
        {},
    ]:
        status, _, problem = api.ask("PUT", "/v1/outbound-ips/d.test", wrong)
        assert status == 422 and problem["errors"], wrong
    for address in ("203.0.113.9", ["203.0.113.9"]):
        status, _, problem = api.ask("PUT", "/v1/outbound-ips/d.test", {"ip": address})
        assert status == 422 and problem["errors"][0]["pointer"] == "/ip/0", problem
    text = (relay.config / "outbound_ip.ini").read_text()
    assert text.startswith("; mine\n[sender news@a.test]\nip = 127.0.0.2\n") and "recipient d.test" not in text
    assert api.ask("DELETE", "/v1/outbound-ips/b.test")[0] == 204
    assert api.ask("DELETE", "/v1/outbound-ips/b.test")[0] == 404
    assert "recipient b.test" not in (relay.config / "outbound_ip.ini").read_text()


def test_a_binding_is_in_force_at_once(make_api, sink):
    relay, api = make_api(routes={"*": sink.address})
    assert api.ask("PUT", "/v1/outbound-ips/b.test", {"ip": "127.0.0.7", "helo": "seven.test"})[0] == 201
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    send_mail(relay, "a@a.test", ["b@c.test"], MAIL)
    sessions = {message.accepted[0]: message.session for message in sink.wait_for(2)}
    assert (sessions["b@b.test"].peer[0], sessions["b@b.test"].helo) == ("127.0.0.7", "EHLO seven.test")
    assert (sessions["b@c.test"].peer[0], sessions["b@c.test"].helo) == ("127.0.0.1", "EHLO relay.test")


def test_changes_say_what_they_change(make_api):
    relay, api = make_api(outbound={"disabled": True}, routes={"*": "127.0.0.1:1"})
    for name in ["x@a.test", "y@a.test", "z@b.test"]:
        send_mail(relay, "s@s.test", [name], MAIL)
    change = lambda *question: api.ask(*question)[2]["messages_rerouted"]
    assert change("PUT", "/v1/routes/a.test", {"mx": ["127.0.0.1:2"]}) == 2
    assert change("PATCH", "/v1/routes/a.test", {"mx": ["127.0.0.1:3"]}) == 2
    assert change("PUT", "/v1/routes/y@a.test", {"mx": ["127.0.0.1:4"]}) == 1
    assert change("DELETE", "/v1/routes/y@a.test") == 1
    assert change("PUT", "/v1/routes/c.test", {"mx": ["127.0.0.1:5"]}) == 0
    assert change("PUT", "/v1/routes", {"items": [{"match": "*", "mx": ["127.0.0.1:1"]}]}) == 2
    look = {"action": "remove", "filter": {"recipient": "*@a.test"}, "dry_run": True}
    found = api.ask("POST", "/v1/queue/actions", look)[2]
    assert found["matched"] == 2 and len(found["sample"]) == 2 and found["bytes"] > 2 * len(MAIL)


def test_the_api_over_tls(make_relay, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    relay = make_relay(
        files={
            "admin.ini": "listen = 127.0.0.1:0\ncertificate = api_cert.pem\nkey = api_key.pem\n",
            "api_cert.pem": certificate.read_bytes(),
            "api_key.pem": key.read_bytes(),
        }
    )
    port = [line for line in relay.log if line.message == "ready"][-1]["api"].split(",")[0].rpartition(":")[2]

    def curl(*arguments):
        return subprocess.run(
            ["curl", "-s", "--max-time", "20", "--resolve", f"localhost:{port}:127.0.0.1", *arguments],
            capture_output=True,
            timeout=40,
        )

    answer = curl("--cacert", authority.certificate, f"https://localhost:{port}/v1/stats")
    assert answer.returncode == 0 and json.loads(answer.stdout)["messages"] == 0
    answer = curl(
        "--cacert",
        authority.certificate,
        "-X",
        "PATCH",
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"disabled":true}',
        f"https://localhost:{port}/v1/outbound",
    )
    assert json.loads(answer.stdout)["disabled"] is True
    assert curl(f"https://localhost:{port}/v1/stats").returncode == 60, "no certificate of this world"
    assert curl("--cacert", authority.certificate, "--tls-max", "1.1", f"https://localhost:{port}/livez").returncode
    assert curl(f"http://localhost:{port}/livez").stdout == b"", "nothing in the clear"


def test_a_dashboard_of_another_origin_reads_the_api_when_it_is_named(make_api):
    page = "https://dash.example.org"
    relay, open_api = make_api(f"allowed_origins = {page}\n")
    assert open_api.ask("GET", "/v1/stats", Origin=page)[0] == 403, "without a token no page gets in"
    api = Api(relay, token(relay))
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 200, what="the token")
    status, headers, _ = api.ask("GET", "/v1/stats", Origin=page)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, page, "Origin")
    assert "Access-Control-Allow-Credentials" not in headers and headers["X-Request-Id"]
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
    status, headers, _ = api.ask("OPTIONS", "/v1/outbound", Origin=page, **asked)
    assert status == 204 and "PATCH" in headers["Access-Control-Allow-Methods"]
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    status, headers, _ = api.ask("OPTIONS", "/v1/outbound", Origin="https://evil.example", **asked)
    assert status == 405 and "Access-Control-Allow-Origin" not in headers


def test_a_probe_may_add_a_query_and_bring_an_id(make_api):
    _, api = make_api()
    status, headers, _ = api.ask("GET", "/livez?x", **{"X-Request-Id": "probe-17"})
    assert (status, headers["X-Request-Id"]) == (200, "probe-17")
    assert api.ask("GET", "/readyz?nocache=1")[0] == 200
    status, _, problem = api.ask("POST", "/v1/messages", b"\xef\xbb\xbf{}", Content_Type="application/json")
    assert status == 400 and "byte order mark" in problem["detail"], problem
