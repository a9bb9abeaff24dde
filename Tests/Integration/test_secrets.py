"""test_secrets.py - a password in every place where one can stand, and everything that the relay says searched for it.

S1  references by combining marks   test_a_client_names_no_file_and_no_variable
S2  secrets of changed routes       test_a_secret_stays_only_with_what_it_was_given_for
S3  what is shown                   test_nothing_shows_a_password
S4  values that would be cut        test_a_password_is_refused_rather_than_cut
"""

import json
import subprocess

import pytest
from api import MAIL
from harness import MARTLET
from smtp_client import send_mail

CANARY = "k4narie-Vogel"


@pytest.mark.parametrize("mark", ["", "\u0301", "\u200d", "\u0308\u0301"])
def test_a_client_names_no_file_and_no_variable(make_api, mark):
    relay, api = make_api()
    for value in [
        f"@env:{mark}PATH",
        f"@file:{mark}/etc/passwd",
        f"@file:{mark}admin.ini",
        f"@file:secrets/..{mark}/x/..",
    ]:
        for name in ["auth_pass", "oauth_client_secret", "oauth_refresh_token"]:
            for body in [
                {"mx": ["127.0.0.1:1"], "auth_user": "u", name: value},
                {"mx": [{"exchange": "127.0.0.1", "auth_user": "u", name: value}]},
            ]:
                status, _, answer = api.ask("PUT", "/v1/routes/x.test", body)
                assert status == 422 and answer["errors"][0]["pointer"].endswith(f"/{name}"), answer
    assert "x.test" not in (relay.config / "routes.ini").read_text() if (relay.config / "routes.ini").exists() else True


def test_a_secret_stays_only_with_what_it_was_given_for(make_api):
    relay, api = make_api()
    login = {"mx": ["m.test:587"], "auth_user": "u", "auth_pass": CANARY, "tls": "verify"}
    grant = {
        "mx": ["m.test:587"],
        "auth_user": "u",
        "oauth_token_url": "https://t.test/token",
        "oauth_client_id": "c",
        "oauth_client_secret": CANARY,
        "oauth_refresh_token": CANARY,
    }
    assert api.ask("PUT", "/v1/routes/a.test", login)[0] == api.ask("PUT", "/v1/routes/g.test", grant)[0] == 201
    before = (relay.config / "routes.ini").read_bytes()
    for route, change in [
        ("a.test", {"mx": ["m.test:588"]}),
        ("a.test", {"tls": "off"}),
        ("a.test", {"tls": None}),
        ("a.test", {"auth_user": "v"}),
        ("a.test", {"mx": [{"exchange": "m.test", "port": 25, "auth_user": "u", "auth_pass_set": True}]}),
        ("g.test", {"oauth_token_url": "https://evil.test/"}),
        ("g.test", {"oauth_token_url": "http://127.0.0.1:80@evil.test/"}),
        ("g.test", {"mx": ["m.test:25"]}),
    ]:
        status, _, answer = api.ask("PATCH", f"/v1/routes/{route}", change)
        assert status == 422 and answer["errors"][0]["pointer"], (change, answer)
        assert CANARY not in json.dumps(answer)
    table = api.ask("GET", "/v1/routes")[2]
    for item in table["items"]:
        moved = {**item, "mx": [{**mx, "port": 588} for mx in item["mx"]]}
        assert api.ask("PUT", f"/v1/routes/{item['match']}", moved)[0] == 422
        renamed = {"items": [{**item, "match": "other.test"}]}
        assert api.ask("PUT", "/v1/routes", renamed)[0] == 422, "a new route keeps nothing"
        assert api.ask("PUT", f"/v1/routes/{item['match']}", item)[0] == 200
    assert api.ask("PUT", "/v1/routes", table)[0] == 200
    assert (relay.config / "routes.ini").read_bytes() == before, "what comes out goes in, and changes no byte"
    assert api.ask("PATCH", "/v1/routes/a.test", {"tls": "dane"})[0] == 200
    assert api.ask("PATCH", "/v1/routes/a.test", {"tls": "off", "auth_pass": "another"})[0] == 200


def test_nothing_shows_a_password(make_api):
    relay, api = make_api()
    relay.write(
        "routes.ini",
        f"[*]\nmx = smtp://u:{CANARY}@127.0.0.1:1\n[b.test]\nmx = 127.0.0.1:1 auth_user=u auth_pass={CANARY}\n"
        f"[c.test]\nmx = 127.0.0.1:1\nauth_user = u\nauth_pass = @{CANARY}\n; auth_pass = {CANARY}\n",
    )
    relay.wait_log("configuration changed")
    send_mail(relay, "a@a.test", ["x@b.test", "x@c.test", "x@d.test"], MAIL)
    said = [relay.log_tail(1000)]
    for path in ["/v1/routes", "/v1/queue", "/v1/outbound", "/v1/stats", "/metrics"]:
        status, _, answer = api.ask("GET", path)
        assert status == 200
        said.append(json.dumps(answer) if not isinstance(answer, str | bytes) else str(answer))
    said += [json.dumps(api.ask("GET", f"/v1/explain?recipient=x@{name}.test")[2]) for name in "bcd"]
    said.append(json.dumps(api.ask("PATCH", "/v1/routes/c.test", {"priority": 4})[2]))
    said.append(json.dumps(api.ask("DELETE", "/v1/routes/b.test")[2]))
    for flags in [[], ["--origin"], ["--json"]]:
        command = [MARTLET, "config", "show", "--config", str(relay.config), *flags]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    said.append(relay.log_tail(1000))
    for text in said:
        assert "4narie" not in text, text


@pytest.mark.parametrize(
    "lines",
    [
        f"mx = h.test auth_user=u auth_pass={CANARY},Secret9.tail",
        f"mx = h.test auth_user=u auth_pass={CANARY} Secret9.tail",
        f"mx = h.test auth_user=u auth_pass={CANARY} ;tail",
        f"mx = h.test\nauth_user = u\nauth_pass = {CANARY} ;tail",
        f"mx = h.test\nauth_user = u\nauth_pass = {CANARY} ",
        f"mx = smtp://u:{CANARY},x@h.test",
    ],
)
def test_a_password_is_refused_rather_than_cut(make_api, lines):
    relay, api = make_api()
    relay.write("routes.ini", f"[a.test]\n{lines}\n")
    found = subprocess.run([MARTLET, "check", "--config", str(relay.config)], capture_output=True, text=True)
    assert found.returncode == 1 and "routes.ini:" in found.stderr + found.stdout, found
    assert "4narie" not in found.stderr + found.stdout and "ecret9" not in found.stderr + found.stdout
    relay.write("routes.ini", "")
    for password in ["a ;b", " a", "a ", "a\t"]:
        body = {"mx": ["h.test"], "auth_user": "u", "auth_pass": password}
        status, _, answer = api.ask("PUT", "/v1/routes/z.test", body)
        assert status == 422 and answer["errors"][0]["pointer"] == "/auth_pass", answer
    body = {"mx": ["h.test", {"exchange": "g.test", "auth_pass": "c,d"}], "auth_user": "u", "auth_pass": "a,b"}
    status, _, answer = api.ask("PUT", "/v1/routes/z.test", body)
    assert status == 422 and answer["errors"][0]["pointer"].endswith("/auth_pass"), answer
    assert "@file:secrets/" in json.dumps(answer)
