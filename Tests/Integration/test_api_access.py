"""test_api_access.py - who may send, and as whom, by the API: networks, users and keys of DKIM; dry runs; scopes."""

import smtplib
import socket
import ssl

import pytest
from api import Api, token
from smtp_client import SmtpClient, send_mail
from waiting import free_port, wait_until

MAIL = b"From: a@a.test\r\nSubject: x\r\n\r\nx\r\n"
NETWORKS = """\
; who may relay
127.0.0.1   # this machine
  192.0.2.0/24 ; the shop
"""


def test_networks_keep_comments_and_count_at_once(make_api):
    relay, api = make_api(files={"relay_acl_allow": NETWORKS}, allow=())
    status, headers, listed = api.ask("GET", "/v1/networks")
    assert [(n["network"], n["comment"]) for n in listed["items"]] == [
        ("127.0.0.1/32", "this machine"),
        ("192.0.2.0/24", "the shop"),
    ]
    dry = api.ask("PUT", "/v1/networks/127.0.0.2?dry_run=true")
    assert dry[0] == 200 and dry[2]["changed"] and "+127.0.0.2/32" in dry[2]["diff"]
    assert (relay.config / "relay_acl_allow").read_text() == NETWORKS
    with SmtpClient(relay.address, source="127.0.0.2") as client:
        client.expect(220)
        client.ehlo()
        client.mail("a@a.test")
        client.command("RCPT TO:<x@y.test>", 550)
    assert api.ask("PUT", "/v1/networks/127.0.0.2", {"comment": "app"}, If_Match='"other"')[0] == 412
    status, _, made = api.ask("PUT", "/v1/networks/127.0.0.2", {"comment": "app"}, If_Match=headers["ETag"])
    assert status == 201 and made == {"network": "127.0.0.2/32", "comment": "app", "origin": "file"}
    assert (relay.config / "relay_acl_allow").read_text() == NETWORKS + "127.0.0.2/32 ; app\n"
    with SmtpClient(relay.address, source="127.0.0.2") as client:
        client.expect(220)
        client.ehlo()
        client.mail("a@a.test")
        client.command("RCPT TO:<x@y.test>", 250)
    # What comes out goes in, and the file is the same to the octet.
    before = (relay.config / "relay_acl_allow").read_bytes()
    for item in api.ask("GET", "/v1/networks")[2]["items"]:
        assert api.ask("PUT", "/v1/networks/" + item["network"].replace("/", "%2F"), item)[0] == 200
    assert (relay.config / "relay_acl_allow").read_bytes() == before
    # The same network by another name.
    assert api.ask("GET", "/v1/networks/[::ffff:192.0.2.9]%2F120")[2]["comment"] == "the shop"
    assert api.ask("PATCH", "/v1/networks/192.0.2.0%2F24", {"comment": None})[2]["comment"] is None
    assert api.ask("PATCH", "/v1/networks/192.0.3.0%2F24", {"comment": "x"})[0] == 404
    assert api.ask("DELETE", "/v1/networks/192.0.2.0%2F24?dry_run=true")[0] == 200
    assert api.ask("DELETE", "/v1/networks/192.0.2.0%2F24")[0] == 204
    assert api.ask("DELETE", "/v1/networks/192.0.2.0%2F24")[0] == 404
    for wrong in ["0.0.0.0%2F0", "[::]%2F0", "example.com", "10.0.0.0%2F33"]:
        assert api.ask("PUT", f"/v1/networks/{wrong}")[0] == 422, wrong
    for comment in ["a\nb", " a", "", "x" * 201, 5]:
        assert api.ask("PUT", "/v1/networks/10.0.0.1", {"comment": comment})[0] == 422, comment


def test_the_first_network_beside_a_missing_file_keeps_loopback(make_relay):
    relay = make_relay(started=False, files={"admin.ini": "listen = 127.0.0.1:0\n"})
    (relay.config / "relay_acl_allow").unlink(missing_ok=True)
    relay.write_config = lambda: None
    api = Api(relay.start())
    (relay.config / "relay_acl_allow").unlink(missing_ok=True)
    wait_until(lambda: api.ask("GET", "/v1/networks")[2]["items"][0]["origin"] == "default", what="no file")
    assert api.ask("PUT", "/v1/networks/192.0.2.7")[0] == 201
    assert (relay.config / "relay_acl_allow").read_text() == "127.0.0.0/8\n::1/128\n192.0.2.7/32\n"
    for item in api.ask("GET", "/v1/networks")[2]["items"]:
        assert api.ask("DELETE", "/v1/networks/" + item["network"].replace("/", "%2F"))[0] == 204
    # An empty file is no missing one: nobody may relay, and the next network stands alone.
    assert api.ask("GET", "/v1/networks")[2]["items"] == []
    assert api.ask("PUT", "/v1/networks/192.0.2.8")[0] == 201
    assert (relay.config / "relay_acl_allow").read_text() == "192.0.2.8/32\n"


def test_listeners_move_at_once_and_sessions_stay(make_api, authority):
    chain, key = authority.issue("127.0.0.1")
    port, other = free_port(), free_port()
    relay, api = make_api(files={"tls_cert.pem": chain.read_text(), "tls_key.pem": key.read_text()})
    first = f"127.0.0.1:{relay.address[1]}"
    listed = api.ask("GET", "/v1/listeners")[2]["items"]
    assert listed == [{"address": first, "tls": "starttls", "origin": "file", "section": None}]
    with SmtpClient(relay.address) as client:
        client.expect(220)
        dry = api.ask("PUT", f"/v1/listeners/127.0.0.1:{port}?dry_run=true")
        assert dry[0] == 200 and f"+listen = {first}, 127.0.0.1:{port}" in dry[2]["diff"]
        assert api.ask("PUT", f"/v1/listeners/127.0.0.1:{port}")[0] == 201
        assert api.ask("PUT", f"/v1/listeners/127.0.0.1:{other}", {"tls": "implicit"})[0] == 201
        relay.wait_log("listening", count=2)
        with SmtpClient(("127.0.0.1", port)) as second:
            second.expect(220)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", other, timeout=20, context=context) as third:
            assert third.ehlo()[0] == 250
        for item in api.ask("GET", "/v1/listeners")[2]["items"]:
            assert api.ask("PUT", f"/v1/listeners/{item['address']}", item)[0] == 200
        assert api.ask("DELETE", f"/v1/listeners/{first}")[0] == 204
        relay.wait_log("listening", count=3)
        assert client.command("EHLO x.test", 250).is_positive, "sessions that stand are kept"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(relay.address, timeout=5)
    text = (relay.config / "smtp.ini").read_text()
    assert f"listen = 127.0.0.1:{port}\n" in text and f"smtps_listen = 127.0.0.1:{other}\n" in text
    assert api.ask("PATCH", f"/v1/listeners/127.0.0.1:{other}", {"tls": "starttls"})[2]["tls"] == "starttls"
    assert api.ask("DELETE", f"/v1/listeners/127.0.0.1:{other}")[0] == 204
    assert api.ask("DELETE", f"/v1/listeners/127.0.0.1:{port}")[0] == 409, "the last one stays"
    for wrong, body in [
        ("192.0.2.1:25", {}),
        ("127.0.0.1", {}),
        ("host:25", {}),
        ("127.0.0.1:0", {}),
        ("127.0.0.1:9", {"tls": "x"}),
    ]:
        assert api.ask("PUT", f"/v1/listeners/{wrong}", body)[0] == 422, wrong
    assert api.ask("DELETE", "/v1/listeners/127.0.0.1:9")[0] == 404


def test_a_listener_that_cannot_be_had_is_refused(make_api):
    """409 with the reason, by a rehearsal as well, and nothing is written; what was free a moment ago is free."""
    relay, api = make_api()
    before = (relay.config / "smtp.ini").read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("0.0.0.0", 0)) as wide:
        for port, address in ((taken.getsockname()[1], "127.0.0.1"), (taken.getsockname()[1], "0.0.0.0")):
            for query in ("?dry_run=true", ""):
                status, _, problem = api.ask("PUT", f"/v1/listeners/{address}:{port}{query}")
                assert status == 409 and "already in use; is another server running there?" in problem["detail"], (
                    problem
                )
        assert api.ask("PUT", f"/v1/listeners/127.0.0.1:{wide.getsockname()[1]}")[0] == 409
        # Our own socket stands in the way of a wider one as well.
        assert api.ask("PUT", f"/v1/listeners/0.0.0.0:{relay.address[1]}")[0] == 409
    assert (relay.config / "smtp.ini").read_text() == before
    assert len(api.ask("GET", "/v1/listeners")[2]["items"]) == 1
    port = free_port()
    for _ in range(5):
        assert api.ask("PUT", f"/v1/listeners/127.0.0.1:{port}")[0] == 201
        assert api.ask("DELETE", f"/v1/listeners/127.0.0.1:{port}")[0] == 204


def test_every_change_of_a_file_can_be_rehearsed(make_api):
    """Each says what would change and changes nothing; what would be refused is."""
    relay, api = make_api(files={"limits.ini": "", "dkim.ini": ""})
    assert api.ask("PUT", "/v1/outbound-ips/*", {"ip": ["127.0.0.1"]})[0] == 201
    assert api.ask("PUT", "/v1/dkim-keys/x.test/old", {"type": "ed25519"})[0] == 201

    def files():
        return {path: path.read_bytes() for path in sorted(relay.config.rglob("*")) if path.is_file()}

    before = files()
    for method, path, body, changed, line in [
        ("PATCH", "/v1/outbound", {"concurrency_max": 77}, True, "+concurrency_max = 77"),
        ("PATCH", "/v1/outbound", {"disabled": True, "reason": "moving"}, True, "+disabled = true"),
        ("PATCH", "/v1/outbound", {}, False, ""),
        ("PUT", "/v1/outbound-ips/sender%20x.test", {"ip": ["127.0.0.2"]}, True, "+[sender x.test]"),
        ("PATCH", "/v1/outbound-ips/*", {"helo": "out.x.test"}, True, "+helo = out.x.test"),
        ("DELETE", "/v1/outbound-ips/*", None, True, "-[*]"),
        ("PUT", "/v1/dkim-keys/x.test/new", {"type": "ed25519"}, True, "+selectors = old, new"),
        ("PUT", "/v1/dkim-keys/x.test/new", {"type": "ed25519", "signs": False}, True, ""),
        ("PATCH", "/v1/dkim-keys/x.test/old", {"signs": False}, True, "-selectors = old"),
        ("PATCH", "/v1/dkim-keys/x.test/old", {"signs": True}, False, ""),
        ("DELETE", "/v1/dkim-keys/x.test/old", None, True, "-selectors = old"),
    ]:
        status, _, answer = api.ask(method, path + "?dry_run=true", body)
        assert (status, answer["dry_run"], answer["changed"]) == (200, True, changed), (path, answer)
        assert line in answer["diff"], (path, answer)
        assert files() == before, path
    for method, path, body, status in [
        ("PATCH", "/v1/outbound", {"concurrency_max": 0}, 422),
        ("PUT", "/v1/outbound-ips/*", {"ip": ["192.0.2.1"]}, 422),
        ("DELETE", "/v1/outbound-ips/sender%20y.test", None, 404),
        ("PUT", "/v1/dkim-keys/x.test/old", {"private_key": "x"}, 409),
        ("DELETE", "/v1/dkim-keys/x.test/none", None, 404),
        ("PATCH", "/v1/outbound", {"disabled": True}, 422),
    ]:
        query = "?dry_run=perhaps" if status == 422 and body == {"disabled": True} else "?dry_run=true"
        assert api.ask(method, path + query, body)[0] in (status, 400), path
    assert files() == before and api.ask("GET", "/v1/outbound")[2]["disabled"] is False
    assert [item["selector"] for item in api.ask("GET", "/v1/dkim-keys")[2]["items"]] == ["old"]


def test_what_a_variable_says_is_not_edited(make_api):
    _, api = make_api(env={"MARTLET_ALLOW_NETWORKS": "192.0.2.0/24"})
    listed = api.ask("GET", "/v1/networks")[2]["items"]
    assert {item["origin"] for item in listed} == {"environment"} and listed[0]["network"] == "192.0.2.0/24"
    assert api.ask("PUT", "/v1/networks/192.0.2.8")[0] == 409
    assert api.ask("DELETE", "/v1/networks/192.0.2.0%2F24")[0] == 409


@pytest.mark.parametrize("method", ["yescrypt", "sha512", "bcrypt", "scram"])
def test_users_log_in_with_what_was_given(make_api, method):
    relay, api = make_api(files={"auth_flat_file.ini": "; ours\n[core]\nallow_plaintext = true\n"}, allow=())
    status, _, made = api.ask("PUT", "/v1/users/app@x.test", {"password": "eins zwei", "method": method})
    assert status == 201 and made == {"name": "app@x.test", "password_set": True, "password_kind": method}
    text = (relay.config / "auth_flat_file.ini").read_text()
    assert text.startswith("; ours\n[core]\nallow_plaintext = true\n") and "eins" not in text
    assert (relay.config / "auth_flat_file.ini").stat().st_mode & 0o007 == 0

    def login(password):
        with smtplib.SMTP(*relay.address, timeout=20) as client:
            client.login("app@x.test", password)
            client.sendmail("a@a.test", ["x@y.test"], MAIL)

    login("eins zwei")
    assert api.ask("PUT", "/v1/users/app@x.test", made)[0] == 200, "what comes out goes in"
    assert (relay.config / "auth_flat_file.ini").read_text() == text
    assert api.ask("PATCH", "/v1/users/app@x.test", {"password": "drei", "method": method})[0] == 200
    with pytest.raises(smtplib.SMTPAuthenticationError):
        login("eins zwei")
    login("drei")
    assert "drei" not in str(api.ask("GET", "/v1/users")) + "".join(line.raw for line in relay.log)
    assert api.ask("DELETE", "/v1/users/app@x.test")[0] == 204
    assert api.ask("GET", "/v1/users/app@x.test")[0] == 404


def test_users_in_the_wrong_shape(make_api):
    relay, api = make_api()
    known = "$6$abcdefgh$" + "a" * 86
    assert api.ask("PUT", "/v1/users/moved", {"password_hash": known})[2]["password_kind"] == "sha512"
    assert known in (relay.config / "auth_flat_file.ini").read_text()
    for body, status in [
        ({}, 422),
        ({"password": ""}, 422),
        ({"password": "x", "password_hash": known}, 422),
        ({"password_hash": "plain"}, 422),
        ({"password_hash": "$1$abcdefgh$0123456789012345678901"}, 422),
        ({"password": "x", "method": "md5"}, 422),
        ({"password": "x" * 512}, 422),
        ({"password": "x", "name": "other"}, 422),
    ]:
        assert api.ask("PUT", "/v1/users/app", body)[0] == status, body
    for name in ["a%3Db", "%20a", "%5Ba", "%3Ba"]:
        assert api.ask("PUT", f"/v1/users/{name}", {"password": "x"})[0] == 422, name
    assert api.ask("PATCH", "/v1/users/nobody", {"password": "x"})[0] == 404
    assert api.ask("PUT", "/v1/users/moved", {"password": "x"}, If_None_Match="*")[0] == 412
    dry = api.ask("PUT", "/v1/users/app?dry_run=true", {"password": "geheim"})
    assert dry[0] == 200 and dry[2]["changed"] and "geheim" not in str(dry) and "$" not in dry[2]["diff"]
    assert api.ask("GET", "/v1/users/app")[0] == 404


def test_keys_of_dkim(make_api, sink):
    relay, api = make_api(routes={"*": sink.address}, files={"dkim.ini": "; keys\n"})
    path = "/v1/dkim-keys/a.test/s1"
    status, _, made = api.ask("PUT", path, {"type": "ed25519", "signs": False})
    assert status == 201 and not made["signs"] and made["record"]["name"] == "s1._domainkey.a.test", made
    assert made["record"]["value"].startswith("v=DKIM1; k=ed25519; p=")
    key = relay.config / "dkim" / "a.test" / "s1.pem"
    assert key.stat().st_mode & 0o077 == 0 and "PRIVATE" in key.read_text()
    assert (relay.config / "dkim.ini").read_text() == "; keys\n"
    assert api.ask("PATCH", path, {"signs": True})[2]["signs"]
    assert (relay.config / "dkim.ini").read_text() == "; keys\n\n[a.test]\nselectors = s1\n"
    send_mail(relay, "a@a.test", ["x@y.test"], MAIL)
    assert b"DKIM-Signature:" in sink.wait_for(1)[0].data
    # A key is never replaced: the DNS is about the old one.
    assert api.ask("PUT", path, {"private_key": key.read_text()})[0] == 409
    assert api.ask("PUT", path, api.ask("GET", path)[2])[0] == 200
    pem = key.read_text()
    assert api.ask("PUT", "/v1/dkim-keys/b.test/s2", {"private_key": pem})[0] == 201
    assert api.ask("GET", "/v1/dkim-keys/b.test/s2")[2]["record"]["value"] == made["record"]["value"]
    rsa = api.ask("PUT", "/v1/dkim-keys/a.test/s2", {"bits": 1024})
    assert rsa[0] == 201 and (rsa[2]["type"], rsa[2]["bits"]) == ("rsa", 1024)
    listed = api.ask("GET", "/v1/dkim-keys")[2]
    assert [(k["domain"], k["selector"]) for k in listed["items"]] == [
        ("a.test", "s1"),
        ("a.test", "s2"),
        ("b.test", "s2"),
    ]
    assert "PRIVATE" not in str(listed) and "PRIVATE" not in "".join(line.raw for line in relay.log)
    assert api.ask("DELETE", path)[0] == 204 and not key.exists()
    assert "selectors = s2\n" in (relay.config / "dkim.ini").read_text()
    assert api.ask("DELETE", path)[0] == 404
    for wrong, body in [
        ("a.test/S_1", {}),
        ("a.test/..%2Fx", {}),
        ("[1.2.3.4]/s", {}),
        ("a.test/s3", {"type": "ecdsa"}),
        ("a.test/s3", {"bits": 512}),
        ("a.test/s3", {"private_key": "nonsense"}),
        ("a.test/s3", {"domain": "b.test"}),
    ]:
        assert api.ask("PUT", f"/v1/dkim-keys/{wrong}", body)[0] in (400, 422), (wrong, body)
    assert not (relay.config / "dkim" / "a.test" / "s3.pem").exists()
    relay.restart()


def test_a_change_of_routes_is_tried_first(make_api):
    relay, api = make_api(routes={"*": "127.0.0.1:9"}, outbound={"disabled": True})
    send_mail(relay, "a@a.test", ["x@y.test"], MAIL)
    before = (relay.config / "routes.ini").read_text()
    status, _, dry = api.ask(
        "PUT", "/v1/routes/y.test?dry_run=true", {"mx": ["127.0.0.1:25"], "auth_user": "u", "auth_pass": "geheim"}
    )
    assert status == 200 and dry["dry_run"] and dry["messages_rerouted"] == 1
    assert "+mx = 127.0.0.1:25" in dry["diff"] and "geheim" not in dry["diff"]
    assert api.ask("PUT", "/v1/routes/y.test?dry_run=true", {"mx": ["b d"]})[0] == 422
    assert api.ask("DELETE", "/v1/routes/*?dry_run=true")[2]["changed"]
    assert api.ask("PUT", "/v1/routes?dry_run=true", {"items": []})[2]["changed"]
    assert (relay.config / "routes.ini").read_text() == before
    assert api.ask("GET", "/v1/routes")[2]["total"] == 1
    assert not relay.log_lines("changed through the API")


def test_access_has_scopes_of_its_own(make_relay):
    relay = make_relay(started=False, files={"admin.ini": "listen = 127.0.0.1:0\n"})
    config = token(relay, "config", "config:read,config:write,routes:write")
    reads = token(relay, "reads", "access:read")
    writes = token(relay, "writes", "access:write")
    relay.start()
    for path in ["/v1/networks", "/v1/users", "/v1/dkim-keys"]:
        assert Api(relay, config).ask("GET", path)[0] == 403
        assert Api(relay, reads).ask("GET", path)[0] == 200
    assert Api(relay, config).ask("PUT", "/v1/networks/192.0.2.1")[0] == 403
    assert Api(relay, reads).ask("PUT", "/v1/networks/192.0.2.1")[0] == 403
    assert Api(relay, writes).ask("PUT", "/v1/networks/192.0.2.1")[0] == 201


def test_listeners_of_sections_are_shown_and_changed_in_the_file(make_relay):
    relay = make_relay(started=False, files={"admin.ini": "listen = 127.0.0.1:0\n"})
    port = relay.listen[0][1]
    plain, other = f"127.0.0.3:{port}", f"127.0.0.4:{port}"
    lines = f"[listener app]\nlisten = {plain}, {other}\nauth_required = true\n"
    with (relay.config / "smtp.ini").open("a") as file:
        file.write(lines)
    relay.start()
    api = Api(relay)
    listed = api.ask("GET", "/v1/listeners")[2]["items"]
    assert [(item["address"], item["tls"], item["section"]) for item in listed[-2:]] == [
        (plain, "starttls", "app"),
        (other, "starttls", "app"),
    ]
    one = api.ask("GET", f"/v1/listeners/{plain}")[2]
    assert one == listed[-2] and one["origin"] == "file"
    for method, body in (("PUT", one), ("PATCH", {"tls": "implicit"}), ("DELETE", None)):
        status, _, problem = api.ask(method, f"/v1/listeners/{plain}", body)
        assert status == 409 and "[listener app]" in problem["detail"], problem
    assert lines in (relay.config / "smtp.ini").read_text()
