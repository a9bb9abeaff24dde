"""test_api_limits.py - what one client of the API can take from the others: connections and memory."""

import http.client
import json
import socket
import threading

from api import MAIL

MIB = 1 << 20


def ask_from(api, source, path):
    connection = http.client.HTTPConnection(*api.address, timeout=10, source_address=(source, 0))
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_one_address_shuts_nobody_out(make_api):
    _, api = make_api("timeout = 60\n")
    held = []
    try:
        for _number in range(48):
            connection = socket.create_connection(api.address, timeout=10, source_address=("127.0.0.2", 0))
            held.append(connection)
            try:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
            except OSError:
                pass
        for source in ("127.0.0.3", "127.0.0.1"):
            for path in ("/livez", "/readyz", "/v1/stats", "/v1/queue"):
                assert ask_from(api, source, path) == 200, (source, path)
    finally:
        for connection in held:
            connection.close()


def test_many_addresses_shut_no_newcomer_out(make_api):
    _, api = make_api("timeout = 60\n")
    held = []
    try:
        for number in range(2, 10):
            for _number in range(20):
                connection = socket.create_connection(api.address, timeout=10, source_address=(f"127.0.0.{number}", 0))
                held.append(connection)
                try:
                    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
                except OSError:
                    pass
        for path in ("/livez", "/readyz", "/v1/stats"):
            assert ask_from(api, "127.0.0.77", path) == 200, path
    finally:
        for connection in held:
            connection.close()


def test_a_body_of_small_values_costs_what_it_is_long(make_api):
    relay, api = make_api()
    body = b'{"from":"a@a.test","subject":"s","text":"t","to":[' + b"0," * (19 * MIB) + b"0]}"
    before = relay.rss_peak
    answers = []

    def send():
        answers.append(api.ask("POST", "/v1/messages", body, Content_Type="application/json"))

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert {answer[0] for answer in answers} <= {413, 503}, [answer[0] for answer in answers]
    for status, headers, answer in answers:
        assert answer["status"] == status
        assert status != 503 or int(headers["Retry-After"]) > 0
    # One body beyond the API's half of memory_for_mail (32 MiB), both twice while their arrays grow.
    assert relay.rss_peak - before < 160 * MIB, f"{(relay.rss_peak - before) / MIB} MiB"
    status, _, answer = api.ask("POST", "/v1/messages", {"from": "a@a.test", "to": ["b@b.test"], "text": "t"})
    assert status == 202, answer


def test_bodies_held_open_are_in_the_budget(make_api):
    relay, api = make_api("connections_per_client = 32\n")
    before = relay.rss_peak
    held = []
    piece = MAIL + b"x" * 70 + b"\r\n"
    piece *= MIB // len(piece)

    def hold(source):
        connection = socket.create_connection(api.address, timeout=20, source_address=(source, 0))
        held.append(connection)
        try:
            connection.sendall(
                b"POST /v1/messages?from=a@a.test&to=b@b.test HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: message/rfc822\r\nContent-Length: 26214400\r\n\r\n"
            )
            for _ in range(24):
                connection.sendall(piece)
        except OSError:
            pass  # beyond what there is memory for, the connection ends

    holders = [threading.Thread(target=hold, args=(f"127.0.0.{2 + number % 4}",)) for number in range(16)]
    for holder in holders:
        holder.start()
    for holder in holders:
        holder.join()
    try:
        assert relay.rss_peak - before < 160 * MIB, f"{(relay.rss_peak - before) / MIB} MiB"
        # Mail can be stopped whatever memory is used up, and others are told when to come again.
        assert api.ask("PATCH", "/v1/outbound", {"disabled": True})[0] == 200
        status, headers, answer = api.ask(
            "POST", "/v1/messages?from=a@a.test&to=b@b.test", MAIL * 40_000, Content_Type="message/rfc822"
        )
        assert status == 202 or (status == 503 and int(headers["Retry-After"]) > 0), answer
    finally:
        for connection in held:
            connection.close()


def test_a_message_as_large_as_may_be_gets_through(make_api):
    # Half of the memory for mail is less than the text alone: it is the one that may go beyond.
    _, api = make_api(smtp={"memory_for_mail": "2M", "limits.message_bytes": "4M"})
    text = "x" * 70 + "\n"
    body = {"from": "a@a.test", "to": ["b@b.test"], "text": text * (3 * MIB // len(text))}
    status, _, answer = api.ask("POST", "/v1/messages", body)
    assert status == 202, answer
    status, _, answer = api.ask("POST", "/v1/messages", {**body, "text": text * (5 * MIB // len(text))})
    assert status == 413, answer


def test_small_bodies_have_small_limits(make_api):
    _, api = make_api()
    body = json.dumps({"domain": "a" * 200_000}).encode()
    for path in ("/v1/queue/flush", "/v1/queue/actions"):
        assert api.ask("POST", path, body, Content_Type="application/json")[0] == 413
