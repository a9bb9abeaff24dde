"""test_api_fuzz.py - seeded mutated requests, sent as bytes: no crash, no 5xx, nobody gets in without a token.

Row "API fuzz" of the goal table: 100 000 with TEST_SOAK=1, a short form in CI. A failure names the seed and the request.
"""

import json
import random
import re
import socket

import pytest
from api import MAIL, Api, token
from harness import SOAK
from smtp_client import send_mail
from test_api_manual import operations
from waiting import wait_until

COUNT = 100_000 if SOAK else 3_000
PUBLIC = {b"/livez", b"/readyz", b"/openapi.yaml", b"/"}
BODIES = [
    {"disabled": False, "reason": "x"},
    {"concurrency_max": 50},
    {"mx": ["m.test:2525"], "tls": "may"},
    {"mx": [{"exchange": "192.0.2.1", "port": 24, "using_lmtp": True}], "auth_user": "u", "auth_pass": "p"},
    {"ip": ["127.0.0.2"], "helo": "h.test"},
    {"items": []},
    {"from": "a@a.test", "to": ["b@b.test"], "subject": "s", "text": "t"},
    {"action": "retry", "filter": {"domain": "b.test"}, "dry_run": True},
    {"reason": "why"},
    {"domain": "b.test"},
    {},
]
VALUES = [
    None,
    True,
    -1,
    0,
    1e308,
    2**63,
    -(2**63) - 1,
    "",
    "\u0000",
    "\r\n[x]",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [[[[]]]],
    "*",
    "é",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b": ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"%00",
    b"%2f..",
    b"../",
    b"?limit=1",
    b"&",
    b"Host: x\r\n",
    b"Expect: 100-continue\r\n",
    b" HTTP/1.0",
    b"{",
    b'"',
    b"\\u0000",
    b"9" * 40,
]


def changed(value, rng):
    """A JSON value with some part of it replaced, dropped or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        how = rng.randrange(4)
        if how == 0:
            return {name: item for name, item in value.items() if name != key}
        if how == 1:
            return {**value, rng.choice(["x", "", "a" * 300, key.upper(), "\u2028"]): rng.choice(VALUES)}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.6:
        return value + [changed(value[0], rng)]
    return rng.choice(VALUES)


def mutated(data, rng):
    """Bytes with a few of them flipped, cut, doubled or joined by others."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        place = rng.randrange(len(data) + 1)
        how = rng.randrange(4)
        if how == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[place : place + rng.randrange(1, 12)]
        elif how == 2:
            data[place:place] = data[place : place + rng.randrange(1, 60)]
        else:
            data[place:place] = rng.choice(PIECES)
    return bytes(data)


def request(rng, paths, names, secret):
    """A request, and whether its token was left alone."""
    method, path = rng.choice(paths)
    path = path.replace("*", rng.choice(names)).encode()
    body = b""
    if rng.random() < 0.6:
        value = rng.choice(BODIES)
        body = json.dumps(changed(value, rng) if rng.random() < 0.7 else value).encode()
    kind = rng.choice(
        [b"application/json", b"application/json", b"message/rfc822", b"text/plain", b"application/merge-patch+json"]
    )
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n" % (method.encode(), path, kind)
    if body or rng.random() < 0.3:
        head += b"Content-Length: %d\r\n" % len(body)
    isKnown = rng.random() < 0.7
    near = rng.choice(["", secret[:-1], secret + "x", secret.swapcase(), "x" * len(secret)])
    head += b"Authorization: Bearer %s\r\n" % (secret if isKnown else near).encode()
    return mutated(head, rng) + b"Connection: close\r\n\r\n" + mutated(body, rng), isKnown


def statuses(address, data):
    """The status of every answer to some bytes, until the server closes."""
    with socket.create_connection(address, timeout=30) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # it has read enough
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", received, re.M)]


@pytest.mark.parametrize("share", range(2))
def test_mutated_requests(make_api, share):
    relay, api = make_api("timeout = 5\n", outbound={"disabled": True})
    for _ in range(5):
        send_mail(relay, "a@a.test", ["b@b.test"], MAIL)
    secret = token(relay, "fuzz")
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 401, what="the token to be noticed")
    known = Api(relay, secret)
    listed = [item["id"] for item in known.ask("GET", "/v1/queue")[2]["items"]]
    paths = [(method, pattern.pattern.replace("[^/]+", "*")) for method, pattern, _ in operations()]
    names = [*listed[:3], "b.test", "*", "sender%20a@a.test", "..%2f..%2fetc", "%0d%0a", "x" * 300, "c@b.test"]
    seed, process, seen = 20_261_128 + share, relay.pid, {}
    rng = random.Random(seed)
    for number in range(COUNT // 2):
        data, isKnown = request(rng, paths, names, secret)
        got = statuses(known.address, data)
        for status in got:
            # 505 is what a version of HTTP that does not exist is answered with.
            assert status < 500 or status == 505, (seed, number, status, data)
            # What was cut in two by a mutation is more than one request, and a token may have been made right by chance.
            isOpen = data.split(b" ", 2)[1:2] and data.split(b" ")[1].split(b"?")[0] in PUBLIC
            assert isKnown or isOpen or secret.encode() in data or not 200 <= status < 300, (seed, number, status, data)
            seen[status] = seen.get(status, 0) + 1
        if number % 2000 == 1999:
            # Names that mutations made up would make the files, and with them every edit, ever longer.
            assert known.ask("PUT", "/v1/routes", {"items": []})[0] == 200
    assert relay.pid == process and relay.process.poll() is None
    assert {200, 400, 401, 404, 422} <= set(seen), seen
    assert known.ask("GET", "/v1/stats")[0] == 200
    relay.write("outbound.ini", "disabled = true\n")
    assert relay.process.poll() is None
