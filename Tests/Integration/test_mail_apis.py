"""test_mail_apis.py - delivery over HTTPS: Microsoft Graph and Amazon SES, by a provider of our own."""

import json
import subprocess

import pytest
from harness import MARTLET, Relay, environment
from mail_apis import ACCESS_KEY, SECRET_KEY, MailProvider
from smtp_client import send_mail

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: posted\r\n\r\n.hello\r\n"


@pytest.fixture
def provider():
    with MailProvider() as provider:
        yield provider


def graph(provider, **more):
    return {
        "mx": f"http+graph://127.0.0.1:{provider.port}",
        "auth_user": "relay@a.test",
        "oauth_token_url": f"{provider.url}/token",
        "oauth_client_id": "client",
        "oauth_client_secret": "app-secret",
        "oauth_scope": "https://graph.microsoft.com/.default",
        **more,
    }


def ses(provider):
    place = f"http+ses://127.0.0.1:{provider.port}/eu-west-1"
    return {"mx": place, "auth_user": ACCESS_KEY, "auth_pass": SECRET_KEY}


def start(make_relay, route, **more):
    outbound = {"temp_fail_intervals": "1s*50", "lane_rest_max": 1, **more.pop("outbound", {})}
    return make_relay(routes={"*": route}, outbound=outbound, **more)


def test_one_post_for_all_recipients(make_relay, provider):
    relay = start(make_relay, graph(provider), arguments=["--log-level", "trace"])
    people = ["b@b.test", "c@c.test", "d@d.test"]
    send_mail(relay, "a@a.test", people, MAIL)
    (post,) = provider.wait_posts(1)
    assert post["mailbox"] == "relay@a.test" and post["recipients"] == people
    assert post["message"].endswith(b"\r\n\r\n.hello\r\n") and b"\r\nTo: b@b.test\r\n" in post["message"]
    lines = relay.wait_log("delivered", count=3) and relay.log_lines("delivered")
    assert {line["to"] for line in lines} == set(people)
    assert lines[0]["mx"] == f"http+graph://127.0.0.1:{provider.port}" and "HTTP 202" in lines[0]["reply"]
    text = relay.log_path.read_text()
    assert "app-secret" not in text and "access-1" not in text
    # A session carries more than one, with the same token.
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    provider.wait_posts(2)
    assert len(provider.forms) == 1


def test_nobody_beside_the_envelope_gets_it(make_relay, provider):
    """Graph sends to whom the header names: the envelope decides all the same."""
    relay = start(make_relay, graph(provider))
    mail = b"To: b@b.test, x@x.test\r\nCc: y@y.test\r\nBcc: z@z.test\r\nSubject: s\r\n\r\nx\r\n"
    send_mail(relay, "a@a.test", ["b@b.test", "hidden@h.test"], mail)
    (post,) = provider.wait_posts(1)
    assert post["recipients"] == ["b@b.test", "hidden@h.test"]
    assert b"X-Original-To: b@b.test, x@x.test\r\n" in post["message"]


def test_ses_has_an_envelope(make_relay, provider):
    relay = start(make_relay, ses(provider))
    mail = b"From: a@a.test\r\nTo: x@x.test\r\nSubject: s\r\n\r\nx\r\n"
    people = [f"p{n:02}@b.test" for n in range(60)]
    send_mail(relay, "bounces@a.test", people, mail)
    posts = provider.wait_posts(2)
    assert sorted(len(post["recipients"]) for post in posts) == [10, 50], "a request has 50 at most"
    assert sorted(person for post in posts for person in post["recipients"]) == people
    assert posts[0]["message"].endswith(mail) and posts[0]["feedback"] == "bounces@a.test"
    relay.wait_log("delivered", count=60)
    assert not relay.log_lines("delivery deferred") and SECRET_KEY not in relay.log_path.read_text()


def error(status, code, **headers):
    return status, {"error": {"code": code, "message": "in words"}}, headers


def test_a_refused_token_is_fetched_anew_once(make_relay, provider):
    relay = start(make_relay, graph(provider))
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    provider.wait_posts(1)
    provider.good_tokens.clear()
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    provider.wait_posts(2)
    assert len(provider.forms) == 2 and not relay.log_lines("delivery deferred")


@pytest.mark.parametrize(
    "answer, reply",
    [
        (error(403, "ErrorSendAsDenied"), "550 5.7.60"),
        (error(400, "ErrorInvalidRecipients"), "550 5.1.3"),
        (error(413, ""), "552 5.3.4"),
    ],
)
def test_what_concerns_the_message_is_final(make_relay, provider, answer, reply):
    provider.graph = [answer]
    relay = start(make_relay, graph(provider))
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    line = relay.wait_log("bounced", to="b@b.test")
    assert line["reply"].startswith(reply) and f"HTTP {answer[0]}" in line["reply"], line.raw


def test_what_concerns_the_account_or_the_server_waits(make_relay, provider):
    provider.graph = [
        error(500, "Oops"),
        error(403, "ErrorAccessDenied"),
        error(429, "Throttled", **{"Retry-After": "2"}),
    ]
    relay = start(make_relay, graph(provider))
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    posts = provider.wait_posts(4)
    relay.wait_log("delivered")
    replies = [line["reply"] for line in relay.log_lines("delivery deferred")]
    assert any(reply.startswith("451 4.3.0") for reply in replies), replies
    assert any(reply.startswith("451 4.7.0") for reply in replies), replies
    # A word about load is nobody's failure; it is not asked again before it wants to be.
    assert posts[3]["at"] - posts[2]["at"] > 1.9
    assert not relay.log_lines("bounced")


def test_without_an_answer_it_may_be_a_duplicate(make_relay, provider):
    provider.graph = ["hang up"]
    relay = start(make_relay, graph(provider))
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    line = relay.wait_log("delivery deferred")
    assert line["reason"] == "may be delivered twice", line.raw
    relay.wait_log("delivered")


def test_what_is_too_large_comes_back_with_the_reason(make_relay, provider):
    relay = start(make_relay, graph(provider))
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 45_000)
    line = relay.wait_log("bounced", to="b@b.test", timeout=60)
    assert "5.3.4" in line["reply"] and "3000000" in line["reply"], line.raw
    assert all(post["recipients"] == ["a@a.test"] for post in provider.posts), "the report alone"


def test_out_of_reach_is_out_of_reach(make_relay, provider):
    relay = start(make_relay, ses(provider))
    provider.close()
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    line = relay.wait_log("delivery deferred")
    assert "451 4.4.1" in line["reply"], line.raw


def test_explain_says_how_it_goes(make_api, provider):
    relay, api = make_api(routes={"*": graph(provider)})
    status, _, found = api.ask("GET", "/v1/explain?recipient=b@b.test")
    host = found["mx"][0]
    assert status == 200
    assert host["exchange"] == f"http+graph://127.0.0.1:{provider.port}" and host["port"] is None
    assert host["tls_because"] == "https" and host["auth_user"] == "relay@a.test"
    assert "app-secret" not in str(found)
    # What the API shows, it takes.
    send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    provider.wait_posts(1)
    status, _, found = api.ask("GET", "/v1/routes/*")
    assert status == 200 and found["mx"][0]["exchange"] == host["exchange"], found


@pytest.mark.parametrize(
    "change, said",
    [
        ({"tls": "off"}, "tls: means nothing"),
        ({"mx": "http+graph://graph.example"}, "is not host"),
        ({"mx": "https+ses:eu-west-1"}, "an access key and its secret"),
        ({"port": "25"}, "port: means nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, provider, change, said):
    relay = Relay(tmp_path, routes={"*": graph(provider, **change)})
    relay.write_config()
    result = relay.run("check")
    assert result.returncode == 1 and said in result.stdout + result.stderr, result.stdout


def test_doctor_gets_a_token_and_posts_nothing(tmp_path, provider):
    relay = Relay(tmp_path, routes={"*": graph(provider)})
    relay.write_config()
    command = [MARTLET, "doctor", "--json", "--probe", "none", "--config", str(relay.config), "--data", str(relay.data)]
    answer = subprocess.run(command, capture_output=True, timeout=120, env=environment())
    found = {one["check"]: one for one in json.loads(answer.stdout)}
    assert found["smart host"]["state"] == "good" and "over HTTPS" in found["smart host"]["detail"], found["smart host"]
    assert found["access token"]["state"] == "good", found["access token"]
    assert len(provider.forms) == 1 and not provider.posts
    provider.tokens = [(401, {"error": "invalid_client"}, {})] * 5
    answer = subprocess.run(command, capture_output=True, timeout=120, env=environment())
    found = {one["check"]: one for one in json.loads(answer.stdout)}
    assert "invalid_client" in found["access token"]["detail"] and "new one" in found["access token"]["fix"]
