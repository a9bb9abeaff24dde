"""test_contract_refusals.py - what openapi.yaml forbids is refused: every type, bound, enum, unknown and missing member.

For each operation there is one request that is right. What is derived from the contract makes it wrong in one place at a
time; an answer that is not a refusal means that code and contract say two things.
"""

import copy
import http.client
import json

import pytest
import yaml
from harness import ROOT
from smtp_client import send_mail

CONTRACT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
MAIL = b"From: a@a.test\r\nTo: b@b.test\r\nSubject: contract\r\n\r\nbody\r\n"
HOST = {"exchange": "127.0.0.1", "port": 1, "priority": 1, "tls": "may", "using_lmtp": False}
# Right bodies, with as many members as there can be, because only what is there is made wrong from the inside.
RIGHT = {
    "putRewriting": {"rules": [{"match": "@host.internal", "becomes": "@example.org"}]},
    "putStaging": {"redirect": "team@example.org", "senders": ["staging.example"]},
    "editStaging": {"senders": ["staging.example"]},
    "sendTest": {"from": "a@a.test", "to": "test@example.com", "subject": "s", "text": "t", "wait_s": 1},
    "putArchive": {"to": ["archive@vault.test"], "senders": ["@report.test"], "required": True},
    "editArchive": {"form": "headers"},
    "putLimit": {"rate": "20/m", "connections": 3, "mx": []},
    "editLimit": {"rate": "30/m"},
    "addSuppressions": {"items": [{"target": "gone@put.example", "note": "ticket 9"}]},
    "resetLimit": {},
    "replayLimits": {"messages": 5, "limits": "[lane *]\nrate = 1/s\n"},
    "classifyReply": {"reply": "550 5.1.1 user unknown", "phase": "recipient"},
    "parkCredential": {"reason": "ticket 9"},
    "addAppPassword": {"name": "phone", "senders": ["a@a.test"], "networks": ["192.0.2.0/24"]},
    "pauseScope": {"scope": "domain put.example", "reason": "ticket 7"},
    "resetDestination": {},
    "retryMessage": {},
    "holdMessage": {"reason": "waiting"},
    "releaseMessage": {},
    "beginDeparture": {"to": "relay-2.example.net:8025"},
    "reviveMessage": {},
    "flushQueue": {"domain": "example.com"},
    "actOnQueue": {"action": "hold", "filter": {"domain": "nowhere.example", "min_age_s": 1}, "dry_run": True},
    "submitMessage": {
        "from": "a@a.test",
        "to": ["held@example.com"],
        "subject": "s",
        "text": "t",
        "headers": {"X-A": "b"},
        "tags": {"a": "b"},
        "attachments": [{"filename": "a", "content": "YQ==", "content_type": "text/plain"}],
        "envelope": {"mail_from": "a@a.test", "rcpt_to": ["held@example.com"]},
    },
    "editOutbound": {"disabled": True},
    "replaceRoutes": {
        "items": [{"match": "example.com", "mx": [HOST]}, {"match": "put.example", "mx": [HOST]}],
        "total": 2,
        "total_exact": True,
        "next": None,
    },
    "putRoute": {"match": "put.example", "mx": [HOST], "messages_rerouted": 0, "messages_rerouted_exact": True},
    "editRoute": {"match": "put.example", "mx": [HOST], "messages_rerouted": 0, "messages_rerouted_exact": True},
    "putOutboundIP": {"ip": ["127.0.0.1"], "helo": "out.example", "pool": None, "address": []},
    "editOutboundIP": {"ip": ["127.0.0.1"], "helo": "out.example", "pool": None, "address": []},
    "putNetwork": {"network": "192.0.2.0/24", "comment": "the shop", "origin": "file"},
    "editNetwork": {"network": "192.0.2.0/24", "comment": "the shop", "origin": "file"},
    "putListener": {"address": "127.0.0.1:40025", "tls": "starttls", "origin": "file"},
    "editListener": {"address": "127.0.0.1:40025", "tls": "starttls", "origin": "file"},
    "putUser": {"name": "app", "password": "secret", "method": "sha512", "password_set": True},
    "editUser": {"name": "app", "password": "secret", "method": "sha512", "password_set": True},
    "putDKIMKey": {"domain": "put.example", "selector": "s1", "signs": False, "type": "ed25519"},
    "stepDKIMRotation": {"step": "prepare", "selector": "s3", "type": "ed25519"},
    "editDKIMKey": {"domain": "put.example", "selector": "s1", "signs": False, "type": "ed25519"},
    "putWebhook": {"url": "https://hooks.invalid/mail", "types": ["delivery.*"], "batch": 2, "enabled": False},
    "editWebhook": {"url": "https://hooks.invalid/mail", "format": "ses", "timeout_s": 5, "secret_previous": None},
    "enableWebhook": {},
    "replayWebhook": {"from": 1, "to": None},
    "rotateWebhook": {},
    "testWebhook": {},
}
QUERIES = {"explainRoute": {"recipient": "a@example.com"}}
PLACES = {
    "id": None,
    "match": "put.example",
    "network": "192.0.2.0%2F24",
    "address": "127.0.0.1:40025",
    "name": "app",
    "app": "none",
    "domain": "put.example",
    "selector": "s1",
    "scope": "lane%20put.example",
    "table": "senders",
    "whose": "login%20put",
    "lane": "put.example",
}
ONE_OF_EACH = {
    "string": "x",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [1],
    "object": {"surely-unknown": 1},
    "null": None,
}


def resolved(schema):
    while "$ref" in schema:
        found = CONTRACT
        for part in schema["$ref"].split("/")[1:]:
            found = found[part]
        schema = found
    return schema


def choices(schema):
    schema = resolved(schema)
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return [inner for choice in schema[word] for inner in choices(choice)]
    return [schema]


def types(schema):
    """The types that a schema allows; none when it says nothing."""
    found = set()
    for choice in choices(schema):
        kind = choice.get("type")
        if kind is None:
            return set()
        found |= set(kind) if isinstance(kind, list) else {kind}
    return found | ({"integer"} if "number" in found else set())


def wrong_values(schema):
    """Values that the schema itself forbids."""
    allowed = types(schema)
    if allowed:
        for kind, value in ONE_OF_EACH.items():
            if kind not in allowed and not (kind == "number" and "integer" in allowed):
                yield f"{kind} for {'|'.join(sorted(allowed))}", value
        if "integer" in allowed and "number" not in allowed:
            yield "a fraction for an integer", 1.5
    variants = choices(schema)
    if len(variants) != 1:
        return
    only = variants[0]
    if "enum" in only:
        yield "none of the enum", "surely-none-of-these"
    if "minimum" in only:
        yield "below the minimum", only["minimum"] - 1
    if "maximum" in only:
        yield "above the maximum", only["maximum"] + 1
    if "maxLength" in only:
        yield "too long", "a" * (only["maxLength"] + 1)
    if only.get("minLength"):
        yield "too short", ""


def mutations(schema, value, path=()):
    """Pairs of what is wrong and (path, wrong value); a path that does not exist yet adds a member."""
    for name, wrong in wrong_values(schema) if path else ():
        yield name, path, wrong
    for choice in choices(schema):
        if isinstance(value, dict) and "properties" in choice:
            properties = choice["properties"]
            if choice.get("additionalProperties") is False:
                yield "an unknown member", (*path, "surely-unknown"), 1
            for name in choice.get("required", ()):
                yield "a required member is missing", (*path, name), KeyError
            for name, inner in properties.items():
                if name in value:
                    yield from mutations(inner, value[name], (*path, name))
                else:
                    for what, wrong in wrong_values(inner):
                        yield what, (*path, name), wrong
        elif isinstance(value, list) and value and "items" in choice:
            yield from mutations(choice["items"], value[0], (*path, 0))


def changed(value, path, wrong):
    value = copy.deepcopy(value)
    place = value
    for step in path[:-1]:
        place = place[step]
    if wrong is KeyError:
        place.pop(path[-1], None)
    elif isinstance(place, list):
        place[path[-1]] = wrong
    else:
        place[path[-1]] = wrong
    return value


def operations():
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "operationId" in operation:
                yield method.upper(), path, operation


def json_body(operation):
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind.endswith("json"):
            return kind, content["schema"]
    return None


@pytest.fixture
def house(make_api):
    """A relay that delivers nothing, with a message, and the path of each operation."""
    relay, api = make_api(
        routes={"example.com": "127.0.0.1:1", "put.example": "127.0.0.1:1"},
        files={"outbound.ini": "disabled = true\n", "outbound_ip.ini": "[recipient put.example]\nip = 127.0.0.1\n"},
    )
    send_mail(relay, "a@a.test", ["held@example.com"], MAIL)
    PLACES["id"] = api.ask("GET", "/v1/queue")[2]["items"][0]["id"]
    return relay, api


def files(relay):
    return {path.name: path.read_bytes() for path in relay.config.iterdir() if path.is_file()}


def place(path):
    for name, value in PLACES.items():
        path = path.replace("{" + name + "}", value or "x")
    return path


def test_every_body_that_the_contract_forbids_is_refused(house):
    relay, api = house
    taken = []
    count = 0
    for method, path, operation in operations():
        described = json_body(operation)
        if not described:
            continue
        kind, schema = described
        right = RIGHT[operation["operationId"]]
        status, _, answer = api.ask(method, place(path), json.dumps(right).encode(), Content_Type=kind)
        assert 200 <= status < 300, (operation["operationId"], status, answer)
        before = files(relay)
        for what, where, wrong in mutations(schema, right):
            count += 1
            body = json.dumps(changed(right, where, wrong)).encode()
            status, headers, answer = api.ask(method, place(path), body, Content_Type=kind)
            name = f"{operation['operationId']} {'/'.join(map(str, where))}: {what}"
            if status not in (400, 413, 422) or headers.get("Content-Type") != "application/problem+json":
                taken.append(f"{name} -> {status} {answer}")
            elif not answer["detail"]:
                taken.append(f"{name} -> no detail")
        if operation["requestBody"].get("required"):
            for body in (b"", None):
                count += 1
                status = api.ask(method, place(path), body, Content_Type=kind)[0]
                if status not in (400, 411, 415, 422):
                    taken.append(f"{operation['operationId']}: an empty body -> {status}")
        if files(relay) != before:
            taken.append(f"{operation['operationId']}: files were changed")
    assert not taken, "\n".join(taken)
    assert count > 300, f"only {count} requests were derived"


def test_every_operation_asks_for_a_token(make_api):
    """Without one and with a wrong one; a wrong one comes from an address of its own, because too many are a 429."""
    _, api = make_api(env={"MARTLET_ADMIN_TOKEN": "a-token-of-thirty-two-characters"})
    open_to_all = []
    for number, (method, path, operation) in enumerate(operations()):
        if operation.get("security") == []:
            continue
        for token in (None, "wrong"):
            connection = http.client.HTTPConnection(
                *api.address, timeout=20, source_address=(f"127.0.1.{number + 1}", 0)
            )
            connection.request(
                method,
                place(path.replace("{id}", "0000000000001")),
                headers={"Authorization": f"Bearer {token}"} if token else {},
            )
            status = connection.getresponse().status
            connection.close()
            if status != 401:
                open_to_all.append(f"{method} {path} {token} -> {status}")
    assert not open_to_all, "\n".join(open_to_all)


def test_every_query_that_the_contract_forbids_is_refused(house):
    _, api = house
    taken = []
    count = 0
    for method, path, operation in operations():
        if operation["operationId"] in ("checkLiveness", "checkReadiness", "showContract", "showMetrics"):
            continue
        base = "".join(f"&{name}={value}" for name, value in QUERIES.get(operation["operationId"], {}).items())
        wrongs = [("unknown", "surely-unknown=1")]
        for parameter in operation.get("parameters", ()):
            parameter = resolved(parameter)
            if parameter["in"] != "query":
                continue
            schema = resolved(parameter["schema"])
            name = parameter["name"]
            kind = schema.get("type")
            if kind in ("integer", "boolean"):
                wrongs += [("type", f"{name}=x"), ("empty", f"{name}="), ("blank", f"{name}=%201")]
            if "minimum" in schema:
                wrongs.append(("minimum", f"{name}={schema['minimum'] - 1}"))
            if "maximum" in schema:
                wrongs.append(("maximum", f"{name}={schema['maximum'] + 1}"))
            inner = resolved(schema.get("items", schema))
            if "enum" in inner:
                wrongs.append(("enum", f"{name}=surely-none-of-these"))
            if kind != "array":
                wrongs.append(("twice", f"{name}=1&{name}=1"))
        body = RIGHT.get(operation["operationId"])
        for what, query in wrongs:
            count += 1
            url = f"{place(path)}?{query}" + ("" if query.split("=")[0] in base else base)
            kind = json_body(operation)
            fields = {"Content_Type": kind[0]} if kind and body is not None else {}
            sent = json.dumps(body).encode() if kind and body is not None else None
            status = api.ask(method, url, sent, **fields)[0]
            # A path parameter that does not exist any more is another refusal than the one that is looked for.
            if status not in (400, 422):
                taken.append(f"{operation['operationId']} ?{query}: {what} -> {status}")
    assert not taken, "\n".join(taken)
    assert count > 50, f"only {count} requests were derived"
