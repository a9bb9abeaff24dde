"""test_oauth.py - `martlet oauth login` against a provider of our own, and what becomes of the tokens."""

import json
import re
import stat
import subprocess
import urllib.parse

import pytest
from api import Api
from harness import MARTLET, Relay, environment
from mail_apis import MailProvider
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer
from waiting import wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: oauth\r\n\r\nhello\r\n"
REFRESH = "refresh/secret+1"


@pytest.fixture
def provider():
    with MailProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).issue("127.0.0.1", "localhost")


def login(place, *arguments, given=None):
    return subprocess.run(
        [MARTLET, "oauth", "login", *arguments, "--client-id", "client-1", "--config", str(place)],
        capture_output=True,
        text=True,
        input=given,
        timeout=120,
        env=environment(),
    )


def no_secret(result, *secrets):
    for secret in secrets:
        assert secret not in result.stdout and secret not in result.stderr


def pending(word):
    return 400, {"error": word, "error_description": "not yet"}, {}


def test_a_device_code_becomes_a_refresh_token(make_relay, provider, pair, tmp_path):
    provider.tokens = [pending("authorization_pending"), pending("authorization_pending")]
    provider.tokens.append(provider.good_token(refresh_token=REFRESH))
    result = login(
        tmp_path,
        *("microsoft", "--endpoint", provider.url, "--tenant", "example.org", "--user", "relay@example.org"),
        *("--client-secret", "plain-secret"),
    )
    assert result.returncode == 0, result.stderr
    assert f"Open {provider.url}/device and type the code WDJB-MJHT" in result.stderr
    no_secret(result, REFRESH, "device-secret", "plain-secret", "access-1")
    file = tmp_path / "secrets" / "microsoft-refresh"
    assert file.read_text() == REFRESH + "\n" and stat.S_IMODE(file.stat().st_mode) == 0o600
    asked, *questions = provider.forms
    assert asked["scope"] == "https://outlook.office.com/SMTP.Send offline_access"
    assert [q["grant_type"] for q in questions] == ["urn:ietf:params:oauth:grant-type:device_code"] * 3
    assert questions[0]["client_secret"] == "plain-secret" and questions[0]["device_code"] == "device-secret"
    # The lines that are printed are a route that works.
    lines = dict(line.split(" = ", 1) for line in re.sub(r" +=", " =", result.stdout).splitlines() if " = " in line)
    assert lines["oauth_token_url"] == f"{provider.url}/example.org/oauth2/v2.0/token"
    assert lines["mx"] == "smtp.office365.com:587" and lines["oauth_client_secret"].startswith("@file:")
    with TLSPeer(pair, users={}, mechanisms=["XOAUTH2"], tokens=["access-2"]) as peer:
        lines.update(mx=f"{peer.address[0]}:{peer.address[1]}", oauth_client_secret="plain-secret")
        lines["oauth_refresh_token"] = f"@file:{file}"
        relay = make_relay(routes={"*": lines}, outbound={"enable_tls": True})
        send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        assert peer.wait_for(1)[0]["user"] == "relay@example.org"
    assert provider.forms[-1]["refresh_token"] == REFRESH
    # It is not replaced by accident.
    again = login(tmp_path, "microsoft", "--endpoint", provider.url)
    assert again.returncode == 1 and "is there already; --force" in again.stderr


@pytest.mark.parametrize(
    "word, said",
    [
        ("expired_token", "ended before anybody typed it"),
        ("access_denied", "has said no"),
        ("invalid_client", "allow public client flows"),
    ],
)
def test_a_login_that_comes_to_nothing_says_why(provider, tmp_path, word, said):
    provider.tokens = [pending(word)]
    result = login(tmp_path, provider.url, "--scope", "mail")
    assert result.returncode == 1 and said in result.stderr, result.stderr
    assert not list((tmp_path / "secrets").iterdir())


def test_without_a_refresh_token_nothing_is_written(provider, tmp_path):
    result = login(tmp_path, provider.url, "--scope", "mail")
    assert result.returncode == 1 and "no refresh token" in result.stderr
    assert not list((tmp_path / "secrets").iterdir())


def test_google_goes_through_a_browser(provider, tmp_path):
    """Its device codes take no scope of mail; the state ties what is pasted to this login."""
    wrong = login(tmp_path, "google", "--endpoint", provider.url, given="http://127.0.0.1:8085/?state=x&code=y\n")
    assert wrong.returncode == 1 and "another login" in wrong.stderr
    process = subprocess.Popen(
        [
            MARTLET,
            "oauth",
            "login",
            "google",
            "--endpoint",
            provider.url,
            "--client-id",
            "c",
            "--config",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    said = ""
    while "Paste that address" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    address = next(line for line in said.splitlines() if line.startswith(provider.url))
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
    assert query["scope"] == "https://mail.google.com/" and query["access_type"] == "offline"
    provider.tokens = [provider.good_token(refresh_token=REFRESH)]
    code = urllib.parse.urlencode({"state": query["state"], "code": "4/0Ab"})
    out, rest = process.communicate(f"{query['redirect_uri']}?{code}\n", timeout=60)
    assert process.returncode == 0, rest
    assert REFRESH not in said + out + rest and "mx                  = smtp.gmail.com:587" in out
    form = provider.forms[-1]
    assert (form["grant_type"], form["code"]) == ("authorization_code", "4/0Ab")
    assert len(form["code_verifier"]) >= 43
    assert (tmp_path / "secrets" / "google-refresh").read_text().strip() == REFRESH


def grant(provider, **more):
    return {
        "auth_user": "relay@example.org",
        "oauth_token_url": f"{provider.url}/token",
        "oauth_client_id": "client",
        **more,
    }


def test_an_application_asks_for_itself(make_relay, provider, pair):
    with TLSPeer(pair, users={}, mechanisms=["XOAUTH2"], tokens=["access-1"]) as peer:
        scope = "https://outlook.office365.com/.default"
        route = grant(provider, oauth_client_secret="s", oauth_scope=scope)
        route["mx"] = f"{peer.address[0]}:{peer.address[1]}"
        relay = make_relay(routes={"*": route}, outbound={"enable_tls": True})
        send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
        peer.wait_for(1)
    expected = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "s", "scope": scope}
    assert provider.forms == [expected]


def doctor(relay):
    result = subprocess.run(
        [MARTLET, "doctor", "--json", "--probe", "none", "--config", str(relay.config), "--data", str(relay.data)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    return {found["check"]: found for found in json.loads(result.stdout)}


def test_what_ends_is_told_of_in_time(make_api, provider):
    """The last use is 80 days ago, and the server does not take the token: an event, a line, metrics and doctor say so."""
    provider.tokens = [(400, {"error": "invalid_grant"}, {})] * 20
    route = {"mx": "127.0.0.1:9", **grant(provider, oauth_refresh_token=REFRESH)}
    relay, api = make_api(routes={"*": route}, outbound={"oauth_idle_days": 90})
    used = wait_until(lambda: next((relay.data / "oauth").glob("*.used"), None), what="a first use")
    relay.stop()
    long_ago = int(used.read_text()) - 80 * 86_400_000
    used.write_text(str(long_ago))
    relay.start()
    line = relay.wait_log("a refresh token is about to end", timeout=60)
    assert line["user"] == "relay@example.org" and "invalid_grant" in line["reason"]
    api = Api(relay)
    wait_until(lambda: "token.expiring" in str(api.ask("GET", "/v1/events?type=token.expiring")[2]), what="the event")
    metrics = str(api.ask("GET", "/metrics")[2])
    assert "martlet_oauth_failures_total 1" in metrics and "martlet_oauth_access_token_seconds 0" in metrics
    idle = re.search(r"martlet_oauth_refresh_token_idle_seconds (\d+)", metrics)
    assert abs(int(idle.group(1)) - 80 * 86_400) < 3600
    found = doctor(relay)
    assert found["access token"]["state"] == "bad" and "oauth login" in found["access token"]["fix"]
    assert found["refresh token"]["state"] == "odd" and "80 days" in found["refresh token"]["detail"]
    relay.stop()
    # Once for each end, over a restart too.
    provider.tokens = []
    relay.start()
    wait_until(lambda: int(used.read_text()) > long_ago, what="a use by the relay itself, without mail")
    assert len(relay.log_lines("a refresh token is about to end")) == 1
    assert provider.forms[-1]["refresh_token"] == REFRESH


def test_passwords_at_microsoft_are_told_to_end(tmp_path):
    route = {"mx": "smtp.office365.com:587", "auth_user": "u", "auth_pass": "p", "tls": "off"}
    relay = Relay(tmp_path, routes={"*": route}, resolver="127.0.0.1@9")
    relay.write_config()
    found = doctor(relay)["login"]
    assert found["state"] == "odd" and "December 2026" in found["detail"] and "oauth login microsoft" in found["fix"]
