"""test_api_framing.py - what is no HTTP hears problem+json too, or nothing: never a page of HTML."""

import json

import pytest

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
PATCH = b"PATCH /v1/outbound HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_,status",
    [
        (b"GARBAGE\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01" * 20 + b"\r\n\r\n", None),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez FOO/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (HEAD + b"no colon\r\n\r\n", 400),
        (HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (HEAD + b"X: a\r\n" * 20_000 + b"\r\n", 431),
        (HEAD + b"Cookie: " + b"a=b;" * 12_000 + b"\r\n\r\n", 431),
        (HEAD + b"\r\n" + HEAD + b"no colon\r\n\r\n", 400),
        (PATCH + b"Content-Length: x\r\n\r\n", 400),
        (PATCH + b"Content-Length: 99999999999999999999999\r\n\r\n", 413),
        (PATCH + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (PATCH + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (PATCH + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxxxxxx\r\n", 400),
        (PATCH + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", 413),
        (PATCH + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nbad\r\n\r\n", 400),
        (b"GET /livez\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez\0/../v1/queue HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez\0HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez?a=b\0&c=d HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET\0 /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET\0X /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET \0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (HEAD + b"\r\n" + HEAD.replace(b"livez", b"live\0z") + b"\r\n", 400),
        (HEAD + b"X-A: a\0b\r\n\r\n", 400),
        (HEAD + b"X-A: \0b\r\n\r\n", 400),
        (HEAD + b"X-A: a\0\r\nX-B: b\r\n\r\n", 400),
        (HEAD + b"X-A: a\0b\r\nX-B: b\r\n\r\n", 400),
        (HEAD + b"X\0-A: a\r\n\r\n", 400),
        (HEAD + b"X-A\0: a\r\n\r\n", 400),
        (HEAD + b"\0X-A: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\0.evil\r\nX-A: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\nHost: localhost\nX-A: a\0b\n\n", 400),
        (HEAD + b"Authorization: Bearer \0x\r\n\r\n", 400),
        (HEAD + b"\r\n" + HEAD + b"X-A: a\0b\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ],
    # Requests are too long for names.
    ids=range(42),
)
def test_no_page_of_html(make_api, request_, status):
    _, api = make_api()
    answer = api.raw(request_, timeout=2)
    assert b"<html" not in answer.lower(), answer
    # A reset may overtake an answer that came while the client still wrote.
    if answer:
        last = answer[answer.rindex(b"HTTP/1.1 ") :]
        head, _, body = last.partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head, answer
        assert json.loads(body)["status"] == int(head.split()[1]) == status, answer
    assert api.ask("GET", "/livez")[0] == 200
    # What is not cut is none of this: blanks in front of the URI, and a long query that is read in place.
    for line in (b"GET   /livez", b"GET /livez?a=" + b"b&c=" * 1000):
        answer = api.raw(line + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", timeout=2)
        assert answer.startswith(b"HTTP/1.1 200" if b"?" not in line else b"HTTP/1.1 4"), answer
        assert b"NUL" not in answer
    for fields in (b"X-A:\r\nX-B: b  \r\nX-C:\t c\r\n", b"X-A: a\r\n" * 300, b"X-A: " + b"a" * 40_000 + b"\r\n"):
        answer = api.raw(HEAD + fields + b"Connection: close\r\n\r\n", timeout=2)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    answer = api.raw(b"GET /livez HTTP/1.1\nHost: localhost\nX-A: a\nConnection: close\n\n", timeout=2)
    assert answer.startswith(b"HTTP/1.1 200"), answer
