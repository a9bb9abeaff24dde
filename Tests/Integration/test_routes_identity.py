"""test_routes_identity.py - what is read and put back unchanged changes nothing; what is based on an old version is refused."""

import pytest
from api import JSON

TABLE = """\
; the table, as somebody wrote it
[*]
mx = 127.0.0.1:2526 , 127.0.0.2
tls = require

; comments stay
[Example.com]
mx = smtp.example.net priority=5 auth_user=u auth_pass=p
  ; and blanks too
[direct.example]
direct = true

[sender a@b.test]
mx = 127.0.0.1:24 using_lmtp=true
[sender a@b.test to *.example.org]
mx = 127.0.0.3
[gone.example]
reject = gone for good
[nowhere.example]
; a comment
discard = true
[sink.example]
mx = 127.0.0.1 implicit_tls=false on_auth_unavailable=send_without
"""


@pytest.fixture
def house(make_api):
    return make_api(files={"routes.ini": TABLE})


def test_the_table_put_back_is_the_file_to_the_octet(house):
    relay, api = house
    status, headers, table = api.ask("GET", "/v1/routes")
    assert status == 200 and table["total"] == 8
    status, after, answer = api.ask("PUT", "/v1/routes", table, If_Match=headers["ETag"])
    assert status == 200, answer
    assert (relay.config / "routes.ini").read_text() == TABLE
    assert after["ETag"] == headers["ETag"]


def test_a_route_put_back_is_the_file_to_the_octet(house):
    relay, api = house
    for route in api.ask("GET", "/v1/routes")[2]["items"]:
        path = "/v1/routes/" + route["match"].replace(" ", "%20")
        status, _, answer = api.ask("PUT", path, route)
        assert status == 200, answer
        # Members in another order, as other languages write them.
        status, _, answer = api.ask("PUT", path, dict(sorted(route.items(), reverse=True)))
        assert status == 200, answer
    assert (relay.config / "routes.ini").read_text() == TABLE


def test_one_route_changed_leaves_the_others_alone(house):
    relay, api = house
    _, _, table = api.ask("GET", "/v1/routes")
    for route in table["items"]:
        if route["match"] == "sink.example":
            route["mx"][0]["port"] = 2600
    assert api.ask("PUT", "/v1/routes", table)[0] == 200
    text = (relay.config / "routes.ini").read_text()
    assert text.startswith(TABLE[: TABLE.index("[sink.example]")]) and "2600" in text


@pytest.mark.parametrize(
    "form,status",
    [
        ("{tag}", 200),
        ('"other", {tag}', 200),
        ('"a,b" ,{tag},', 200),
        ("*", 200),
        ('"other"', 412),
        ('"other", "more"', 412),
        ("W/{tag}", 412),
        ('W/{tag}, "other"', 412),
        ("other", 400),
        ('"other" {tag}', 400),
        ('*, "other"', 400),
    ],
)
def test_if_match_is_a_list(house, form, status):
    _, api = house
    tag = api.ask("GET", "/v1/outbound")[1]["ETag"]
    answer = api.ask("PATCH", "/v1/outbound", b'{"disabled":true}', If_Match=form.format(tag=tag), **JSON)
    assert answer[0] == status, answer


def test_total_is_what_the_filter_finds(make_api):
    from smtp_client import send_mail

    relay, api = make_api(files={"outbound.ini": "disabled = true\n"})
    for number in range(6):
        send_mail(relay, f"s{number % 2}@a.test", [f"r{number}@b.test"], b"Subject: x\r\n\r\nx\r\n")
    for query, count in (("", 6), ("sender=s0@a.test", 3), ("recipient=r1@b.test", 1), ("recipient=*@c.test", 0)):
        _, _, page = api.ask("GET", f"/v1/queue?limit=2&{query}")
        assert (page["total"], page["total_exact"]) == (count, True), query
        assert len(page["items"]) == min(2, count)
