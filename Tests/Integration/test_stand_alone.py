"""test_stand_alone.py - G10: what is broken in one configuration file, or a configuration that cannot be written, does not keep
the switch that stops mail from working; it is named until it is mended."""

import os

import pytest
from api import Api, token
from story import submit
from waiting import wait_until

BROKEN = "configuration is invalid, the last good one stays"


@pytest.fixture
def world(make_relay, sink):
    relay = make_relay(routes={"*": sink.route}, files={"admin.ini": "listen = 127.0.0.1:0\n"})
    return relay, Api(relay, token(relay)), sink


def check(api, name="configuration"):
    status, _, body = api.ask("GET", "/readyz")
    assert status == 200, body
    return body["status"], next(one for one in body["checks"] if one["name"] == name)


def is_queued(api, count=1):
    wait_until(lambda: api.ask("GET", "/v1/stats")[2]["messages"] == count, what="the message in the queue")


def test_a_broken_route_table_does_not_keep_mail_flowing(world):
    relay, api, sink = world
    good = (relay.config / "routes.ini").read_text()
    relay.write("routes.ini", "[*]\nmx =\n")
    relay.wait_log(BROKEN, file="routes.ini", line="2")

    # By file.
    relay.write("outbound.ini", (relay.config / "outbound.ini").read_text() + "disabled = true\n")
    wait_until(lambda: api.ask("GET", "/v1/outbound")[2]["disabled"], what="the switch")
    submit(relay, "b@b.test")
    is_queued(api)
    assert not sink.messages

    # Named everywhere, while it lasts.
    state, one = check(api)
    assert state == "degraded" and one["status"] == "degraded" and "routes.ini:2" in one["detail"]
    stats = api.ask("GET", "/v1/stats")[2]
    assert [(e["file"], e["line"]) for e in stats["config_errors"]] == [("routes.ini", 2)]
    assert stats["disabled"] and stats["disabled_origin"] == "file"
    metrics = api.ask("GET", "/metrics")[2].decode()
    assert 'martlet_config_broken{file="routes.ini"} 1' in metrics
    assert 'martlet_config_broken{file="outbound.ini"} 0' in metrics
    assert "martlet_config_last_reload_success 0" in metrics
    health = relay.run("healthcheck", "--data", str(relay.data))
    assert health.returncode == 0 and "degraded" in health.stdout and "routes.ini:2" in health.stdout, health
    status = relay.run("status", "--data", str(relay.data))
    assert "routes.ini:2" in status.stdout, status

    # What is shown is what is in force, and says so.
    for path in ("/v1/routes", "/v1/routes/*"):
        code, headers, body = api.ask("GET", path)
        assert code == 200 and headers["Config-Broken"] == "routes.ini:2" and headers["ETag"], (path, headers)
        assert str(sink.port) in str(body), body
    assert "Config-Broken" not in api.ask("GET", "/v1/outbound-ips")[1]

    # By API, in both directions; the last good table is in force.
    assert api.ask("PATCH", "/v1/outbound", {"disabled": False})[0] == 200
    sink.wait_for(1)
    assert api.ask("PATCH", "/v1/outbound", {"disabled": True, "reason": "again"})[0] == 200
    assert api.ask("GET", "/v1/outbound")[2]["disabled_reason"] == "again"

    # The broken file itself: not while the result is broken; mended by SIGHUP.
    status, _, body = api.ask("PUT", "/v1/routes/new.test", {"mx": ["127.0.0.1:2500"]})
    assert status == 409 and "routes.ini" in body["detail"], body
    relay.write("routes.ini", good)
    relay.hup()
    relay.wait_log("configuration file is in order again", file="routes.ini")
    assert check(api) == ("ready", {"name": "configuration", "status": "ok", "detail": "every file is in force"})
    assert api.ask("GET", "/v1/stats")[2]["config_errors"] == []
    assert "Config-Broken" not in api.ask("GET", "/v1/routes")[1]
    assert 'martlet_config_broken{file="routes.ini"} 0' in api.ask("GET", "/metrics")[2].decode()
    assert api.ask("PUT", "/v1/routes/new.test", {"mx": ["127.0.0.1:2500"]})[0] == 201


@pytest.mark.parametrize("content", [b"[*]\nmx = \xff\n", None], ids=["no UTF-8", "a directory"])
def test_a_table_that_cannot_be_read_is_shown_as_it_was(make_relay, sink, content):
    relay = make_relay(
        routes={"*": sink.route},
        files={"admin.ini": "listen = 127.0.0.1:0\n", "outbound_ip.ini": "[recipient b.test]\nip = 127.0.0.2\n"},
    )
    api = Api(relay, token(relay))
    paths = {"routes.ini": "/v1/routes", "outbound_ip.ini": "/v1/outbound-ips"}
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 200, what="the token")
    good = {file: api.ask("GET", path)[2] for file, path in paths.items()}
    for file in paths:
        (relay.config / file).unlink()
        if content is None:
            (relay.config / file).mkdir()
        else:
            (relay.config / file).write_bytes(content)
    relay.hup()
    for file, path in paths.items():
        relay.wait_log(BROKEN, file=file)
        for one in (path, f"{path}/{good[file]['items'][0]['match'].replace(' ', '%20')}"):
            code, headers, body = api.ask("GET", one)
            assert code == 200 and headers["Config-Broken"].startswith(file), (one, body)
            assert body == (good[file] if one == path else good[file]["items"][0])


def test_an_edit_that_mends_the_broken_file_is_taken(world):
    relay, api, _ = world
    relay.write("routes.ini", "[*]\nmx = 127.0.0.1:2500\n[broken.test]\nmx =\n")
    relay.wait_log(BROKEN, file="routes.ini")
    assert api.ask("PUT", "/v1/routes/broken.test", {"mx": ["127.0.0.1:2501"]})[0] in (200, 201)
    relay.wait_log("configuration file is in order again", file="routes.ini")
    assert check(api)[0] == "ready"


@pytest.fixture
def read_only(make_relay, sink):
    # The superuser writes where it likes; without that right it is like everybody.
    root = os.geteuid() == 0
    prefix = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if root else []
    relay = make_relay(routes={"*": sink.route}, files={"admin.ini": "listen = 127.0.0.1:0\n"}, prefix=prefix)
    api = Api(relay, token(relay))
    wait_until(lambda: api.ask("GET", "/v1/stats")[0] == 200, what="the token")
    paths = [relay.config, *relay.config.iterdir()]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444 if path.name != "admin.ini" else 0o400)
    yield relay, api, sink
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o600)


def test_with_a_read_only_configuration_the_switch_is_kept_beside_the_queue(read_only):
    relay, api, sink = read_only
    status, headers, body = api.ask("PATCH", "/v1/outbound", {"disabled": True, "reason": "maintenance"})
    assert status == 200, body
    assert (body["disabled"], body["disabled_reason"], body["disabled_origin"]) == (
        True,
        "maintenance",
        "data_directory",
    )
    assert api.ask("GET", "/v1/outbound")[1]["ETag"] == headers["ETag"]
    relay.wait_log("delivery switch kept in the data directory")
    # Everything else is refused as before.
    assert api.ask("PATCH", "/v1/outbound", {"disabled": True, "concurrency_max": 3})[0] == 409
    submit(relay, "b@b.test")
    is_queued(api)

    # It holds over a restart, and another word about the file's keys does not end it.
    relay.restart()
    api = Api(relay, api.headers["Authorization"].split()[1])
    state = api.ask("GET", "/v1/outbound")[2]
    assert (state["disabled"], state["disabled_origin"]) == (True, "data_directory")
    assert not sink.messages
    for path in (relay.config, relay.config / "outbound.ini"):
        path.chmod(0o755)
    text = (relay.config / "outbound.ini").read_text()
    relay.write("outbound.ini", text + "concurrency_max = 7\n")
    wait_until(lambda: api.ask("GET", "/v1/outbound")[2]["concurrency_max"] == 7, what="the other key")
    assert api.ask("GET", "/v1/outbound")[2]["disabled"]

    # The file says something else about the switch: it wins.
    relay.write("outbound.ini", text + "disabled = false\n")
    sink.wait_for(1)
    state = api.ask("GET", "/v1/outbound")[2]
    assert (state["disabled"], state["disabled_origin"]) == (False, "file")
    assert not (relay.data / "delivery_switch").exists()
