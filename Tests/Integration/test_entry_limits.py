"""test_entry_limits.py - limits on the way in: a stolen login is stopped, told of at once, and parked over a kill."""

import os
import smtplib
import subprocess
import time
from urllib.parse import quote

import pytest
from api import Api, token
from waiting import free_port, wait_until

MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: in\r\n\r\nhello\r\n"
USERS = "[users]\nstolen = open sesame\nhonest = open sesame\n"
LIMITS = "[in login *]\nmessages = 3/h\n[in login stolen]\nthen = park\n"


@pytest.fixture
def counted(make_api, sink):
    def make(limits=LIMITS, **how):
        before = os.umask(0o077)
        try:
            files = {"auth_flat_file.ini": USERS, "limits.ini": limits}
            return make_api(routes={"*": sink.address}, files=files, **how)
        finally:
            os.umask(before)

    return make


def credentials(relay, *arguments):
    words = [relay.binary, "credentials", *arguments, "--data", str(relay.data)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def on_disk(relay):
    """What each login has used, as a kill leaves it."""
    path, used = relay.data / "limits.in", {}
    for words in [line.split() for line in path.read_text().splitlines()] if path.exists() else []:
        if words[:2] == ["used", "login"]:
            used[words[2]] = sum(int(count) for word in words[7:] for count in word.split(":")[3].split(","))
    return used


def send(relay, user, count=1, to="b@b.test", at=None):
    """What the relay says to each of some messages."""
    said = []
    with smtplib.SMTP(*(at or relay.address), timeout=60) as client:
        client.ehlo("client.test")
        client.login(user, "open sesame")
        for _ in range(count):
            try:
                client.sendmail("a@a.test", [to], MAIL)
                said.append(250)
            except smtplib.SMTPDataError as error:
                said.append(error.smtp_code)
    return said


def test_a_stolen_login_is_stopped_and_told_at_once(counted):
    relay, api = counted()
    assert send(relay, "honest") == [250]
    assert send(relay, "stolen", 3) == [250] * 3
    began = time.time()
    assert send(relay, "stolen", 3) == [450] * 3
    found = wait_until(
        lambda: api.ask("GET", "/v1/events?type=credential.limited")[2]["items"], what="the alarm to be an event"
    )
    assert len(found) == 1 and found[0]["data"]["subject"] == "login stolen", found
    assert "messages 3/h of login stolen (limits.ini:2), then park" in found[0]["data"]["text"]
    # Written when the first surplus mail came, whatever the machine took to show it.
    assert "too much mail comes in" in relay.log_path.read_text()
    metrics = api.ask("GET", "/metrics")[2].decode()
    assert 'martlet_credentials_surplus_total{scope="login"} 1' in metrics, "what is parked is no surplus"
    assert "martlet_credentials_parked 1" in metrics and "martlet_credentials_refused_total 2" in metrics
    assert 'reason="limited"' in metrics
    assert began - 5 < relay_time(found[0]) < time.time() + 5
    # Others go on, and a kill changes nothing.
    assert send(relay, "honest", 2) == [250] * 2
    wait_until(lambda: on_disk(relay) == {"stolen": 3, "honest": 3}, what="the use to be on the disk")
    assert "parked " in (relay.data / "limits.in").read_text()
    relay.kill()
    relay.start()
    api = Api(relay)
    assert send(relay, "stolen", 2) == [450] * 2
    assert send(relay, "honest") == [450], "three an hour, before and after"
    one = api.ask("GET", "/v1/credentials/stolen")[2]
    assert one["parked"]["reason"].startswith("messages 3/h of login stolen") and one["parked"]["by"] == ""
    assert one["last_address"] == "127.0.0.1" and one["last_seen"] and one["surplus"] == 1
    assert one["limits"] == [
        {
            "measure": "messages",
            "limit": "3/h",
            "window_s": 3600,
            "used": 3,
            "most": 3,
            "opens_at": one["limits"][0]["opens_at"],
            "then": "park",
            "origin": "limits.ini:2",
        }
    ]
    ran = credentials(relay, "release", "stolen")
    assert ran.returncode == 0, ran.stderr
    assert send(relay, "stolen") == [250]
    wait_until(
        lambda: "credential.released" in [one["type"] for one in api.ask("GET", "/v1/events?limit=1000")[2]["items"]],
        what="the release to be an event",
    )


def relay_time(event):
    from datetime import datetime

    return datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


def test_a_login_is_parked_by_hand_and_listed(counted):
    relay, api = counted(limits="")
    assert api.ask("GET", "/v1/credentials/nobody")[0] == 404
    ran = credentials(relay, "park", "honest", "--reason", "ticket 7")
    assert ran.returncode == 0, ran.stderr
    assert send(relay, "honest", 2) == [450] * 2 and send(relay, "stolen") == [250]
    items = {one["name"]: one for one in api.ask("GET", "/v1/credentials")[2]["items"]}
    assert items["honest"]["parked"]["reason"] == "ticket 7" and items["stolen"]["parked"] is None
    assert "ticket 7" not in relay.log_path.read_text().split("changed through the API")[0]
    assert "honest" in credentials(relay).stdout
    assert api.ask("POST", "/v1/credentials/honest/release")[0] == 200
    assert api.ask("POST", "/v1/credentials/honest/release")[0] == 404
    assert send(relay, "honest") == [250]


def test_the_api_counts_alike(counted):
    relay, _ = counted(limits="[in login token:shop]\nmessages = 1/h\n[in sender_domain big.test]\nbytes = 10/h\n")
    shop, other = Api(relay, token(relay, "shop")), Api(relay, token(relay, "other"))
    mail = {"from": "a@a.test", "to": ["b@b.test"], "subject": "s", "text": "t"}
    wait_until(lambda: other.ask("GET", "/v1/stats")[0] == 200, what="both tokens to be known")
    assert shop.ask("POST", "/v1/messages", mail)[0] == 202
    status, headers, problem = shop.ask("POST", "/v1/messages", mail)
    assert status == 429 and int(headers["Retry-After"]) > 3000, (status, headers, problem)
    assert other.ask("POST", "/v1/messages", mail)[0] == 202
    status, _, problem = other.ask("POST", "/v1/messages", {**mail, "from": "a@big.test"})
    assert status == 403 and "more bytes in one message" in problem["detail"], "it would never fit"
    assert other.ask("GET", "/v1/credentials/token%3Ashop")[2]["limits"][0]["used"] == 1


def test_what_is_too_much_is_held(counted):
    relay, api = counted(limits="[in login *]\nmessages = 1/h\nthen = hold\n")
    assert send(relay, "honest", 3) == [250, 250, 450]
    held = api.ask("GET", "/v1/queue?state=held")[2]["items"]
    assert len(held) == 1, held
    one = api.ask("GET", f"/v1/queue/{held[0]['id']}")[2]
    assert "too much: messages 1/h of login honest" in str(one)


def test_sections_of_mail_that_comes_in_by_the_api(counted):
    """The same table as limits of mail that goes out: comments stay, what comes out goes in, and it is in force at once."""
    relay, api = counted("; ours\n[in login *]\nmessages = 3/h ; a few\n[lane a.test]\nrate = 5/m\n")
    listed = api.ask("GET", "/v1/limits")[2]
    assert [item["scope"] for item in listed["items"]] == ["in login *", "lane a.test"] and listed["total"] == 2
    first = listed["items"][0]
    assert first["messages"] == "3/h" and first["rate"] is None and first["origin"] == "limits.ini:2"
    for item in listed["items"]:
        assert api.ask("PUT", f"/v1/limits/{quote(item['scope'])}", item)[0] == 200
    assert "; ours\n[in login *]\nmessages = 3/h ; a few\n" in (relay.config / "limits.ini").read_text()
    path = "/v1/limits/" + quote("in login honest")
    dry = api.ask("PUT", path + "?dry_run=true", {"messages": "1/h", "then": "550"})
    assert dry[0] == 200 and "[in login honest]" in dry[2]["diff"]
    status, _, made = api.ask("PUT", path, {"messages": "1/h", "then": "550"})
    assert status == 201 and made["then"] == "550" and made["scope"] == "in login honest", made
    assert send(relay, "honest", 2) == [250, 550] and send(relay, "stolen", 2) == [250, 250]
    assert api.ask("PATCH", path, {"messages": None, "recipients": "50/d"})[2]["messages"] is None
    # A section without a word about messages is over what * says of them.
    for wrong in ({"messages": "1"}, {"rate": "5/m"}, {"mx": ["a.test"]}, {"then": "drop"}, {"together": "true"}):
        assert api.ask("PATCH", path, wrong)[0] == 422, wrong
    for name in ("in user x", "in login", "in network x", "in"):
        assert api.ask("PUT", f"/v1/limits/{quote(name)}", {"messages": "1/h"})[0] == 422, name
    assert api.ask("DELETE", path)[0] == 204 and api.ask("GET", path)[0] == 404
    assert api.ask("PATCH", "/v1/limits/lane%20a.test", {"messages": "1/h"})[0] == 422


def test_what_waits_of_a_login_is_bounded_over_a_kill(counted):
    limits = "[in login *]\nwaiting_messages = 3\n[in login token:shop]\nwaiting_bytes = 2000\n"
    relay, _ = counted(limits=limits, outbound={"disabled": True})
    secret = token(relay, "shop")
    shop = Api(relay, secret)
    mail = {"from": "a@a.test", "to": ["b@b.test"], "subject": "s", "text": "t" * 1200}
    wait_until(lambda: shop.ask("GET", "/v1/stats")[0] == 200, what="the token to be known")
    assert shop.ask("POST", "/v1/messages", mail)[0] == 202
    status, headers, problem = shop.ask("POST", "/v1/messages", mail)
    assert status == 429 and "452 4.3.1 too many bytes wait already" in problem["detail"], problem
    assert headers["Retry-After"] and send(relay, "stolen", 4) == [250] * 3 + [452] and send(relay, "honest") == [250]
    events = wait_until(
        lambda: [one["data"]["text"] for one in shop.ask("GET", "/v1/events?type=credential.limited")[2]["items"]],
        what="the alarm to be an event",
    )
    assert any("waiting_bytes 2000 of login token:shop (limits.ini:4), then 450" in text for text in events), events
    relay.kill()
    relay.start()
    shop = Api(relay, secret)
    one = wait_until(
        lambda: (found := shop.ask("GET", "/v1/credentials/stolen")[2])["waiting"]["messages"] == 3 and found,
        what="the queue to be known",
    )
    assert one["waiting"]["bytes"] > 3 * len(MAIL) and one["limits"][0]["measure"] == "waiting_messages"
    assert (one["limits"][0]["used"], one["limits"][0]["most"], one["limits"][0]["window_s"]) == (3, 3, 0)
    assert send(relay, "stolen") == [452] and shop.ask("POST", "/v1/messages", mail)[0] == 429
    assert "waiting_messages 3 of 3" in credentials(relay).stdout
    # What leaves makes room.
    relay.write("outbound.ini", (relay.config / "outbound.ini").read_text().replace("true", "false"))
    wait_until(lambda: shop.ask("GET", "/v1/credentials/stolen")[2]["waiting"]["messages"] == 0, what="it to be sent")
    assert send(relay, "stolen") == [250] and shop.ask("POST", "/v1/messages", mail)[0] == 202


def test_different_recipients_are_known_after_a_kill(counted):
    relay, _ = counted(limits="[in login *]\ndistinct_recipients = 2/d\nthen = 550\n")
    assert [send(relay, "stolen", to=to)[0] for to in ("x@b.test", "y@b.test", "X@b.test")] == [250] * 3
    wait_until(lambda: (relay.data / "limits.people").exists(), what="recipients to be on the disk")
    wait_until(
        lambda: "people login stolen" in (relay.data / "limits.people").read_text(), what="those of the login as well"
    )
    relay.kill()
    relay.start()
    assert [send(relay, "stolen", to=to)[0] for to in ("z@b.test", "y@b.test")] == [550, 250]
    assert send(relay, "honest", to="z@b.test") == [250]
    limit = Api(relay).ask("GET", "/v1/credentials/stolen")[2]["limits"][0]
    assert (limit["measure"], limit["used"], limit["then"]) == ("distinct_recipients", 2, "550")
    assert "x@b.test" not in (relay.data / "limits.people").read_text()


def test_a_login_whose_mail_bounces_is_stopped(make_server, make_api):
    server = make_server({"RCPT": "550 5.1.1 nobody of that name"})
    before = os.umask(0o077)
    try:
        files = {"auth_flat_file.ini": USERS, "limits.ini": "[in login *]\nbounce_ratio = 50%/d from 4\nthen = park\n"}
        relay, api = make_api(routes={"*": server.address}, files=files)
    finally:
        os.umask(before)
    assert send(relay, "stolen", 4) == [250] * 4

    def seen():
        return api.ask("GET", "/v1/credentials/stolen")[2]["limits"][0]["used"] == 100

    wait_until(seen, what="bounces to be counted")
    assert send(relay, "stolen", 2) == [450] * 2 and send(relay, "honest") == [250]
    one = api.ask("GET", "/v1/credentials/stolen")[2]
    assert one["parked"]["reason"] == "bounce_ratio 50%/d from 4 of login stolen (limits.ini:2)"


def test_a_listener_has_limits_of_its_own(counted):
    inside = ("127.0.0.1", free_port())
    relay, api = counted(
        limits="[in listener inside]\nmessages = 2/h\n", smtp={"listener inside.listen": f"{inside[0]}:{inside[1]}"}
    )
    assert send(relay, "honest", 3) == [250] * 3
    assert send(relay, "honest", at=inside) == [250] and send(relay, "stolen", 2, at=inside) == [250, 450]
    items = api.ask("GET", "/v1/credentials?kind=listener")[2]["items"]
    assert [(one["name"], one["limits"][0]["used"], one["waiting"]) for one in items] == [("inside", 2, None)]
    events = wait_until(
        lambda: api.ask("GET", "/v1/events?type=credential.limited")[2]["items"], what="the alarm to be an event"
    )
    assert events[0]["data"]["subject"] == "listener inside"
