"""test_image.py - the image, for real: deploy/Dockerfile built by buildah, run by podman with the lines of compose.yaml."""

import json
import re
import tempfile
import time
from pathlib import Path

import pytest
from harness import SOAK
from image import BASES, DOCKERFILE, Engine, composed, lent_libraries, runtime_stage, whole_image
from waiting import wait_until

# Above the base, without the executable: libraries, their lists, and links.
MOST_BESIDE_THE_RELAY = 32 << 20


@pytest.fixture(scope="module")
def engine():
    # podman takes no longer path of its own than fifty characters.
    engine = Engine(Path(tempfile.mkdtemp(prefix="martlet-image-", dir="/var/tmp")))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def image(engine):
    """What the build said, and the bytes of the executable."""
    return runtime_stage(engine)


def test_the_run_time_stage_builds_in_the_format_of_oci(engine, image):
    said, relay = image
    assert not re.search("^SHELL", DOCKERFILE, re.M) and "Bad substitution" not in said
    added = engine.size("localhost/martlet") - engine.size(BASES[1])
    assert relay <= added < relay + MOST_BESIDE_THE_RELAY, f"{added >> 20} MiB above {BASES[1]}"
    shown = json.loads(engine.podman("image", "inspect", "localhost/martlet").stdout)[0]["Config"]
    assert (shown["User"], shown["Entrypoint"], shown["Cmd"]) == ("10001", ["martlet"], ["serve"])
    assert shown["StopSignal"] == "SIGTERM" and "/var/lib/martlet" in shown["Volumes"]
    assert set(shown["ExposedPorts"]) == {"2525/tcp", "8025/tcp"}


def test_compose_as_far_as_podman_can_carry_it(engine, image, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "provider").write_text("the password\n")
    options, left = composed(secrets)
    # A build of its own, a name of its own, and a network that only the engine of a whole machine can make.
    assert sorted(left) == ["build", "image", "networks"]
    engine.start("relay", *options, *lent_libraries())

    def log():
        found = engine.podman("logs", "relay")
        return found.stdout + found.stderr

    def inside(*command, given=None):
        options = ["-i"] if given else []
        return engine.podman("exec", *options, "relay", *command, given=given)

    wait_until(lambda: '"message":"ready"' in log(), 30, log)
    identity = inside("cat", "/proc/1/status").stdout
    assert re.search(r"^Uid:\t10001\t10001", identity, re.M) and re.search(r"^NoNewPrivs:\t1", identity, re.M)
    assert set(re.findall(r"^Cap\w+:\t(\w+)", identity, re.M)) == {"0" * 16}
    assert "Read-only" in inside("touch", "/etc/x").stderr
    assert engine.podman("healthcheck", "run", "relay").returncode == 0

    # `docker exec relay sendmail`, and what people look with.
    mail = "Subject: hi\nTo: you@example.org\n\nhello\n"
    sent = inside("sendmail", "-t", "-f", "app@example.net", given=mail)
    assert sent.returncode == 0, sent.stderr
    assert "you@example.org" in inside("mailq").stdout
    status = inside("martlet", "status", "--json")
    assert status.returncode == 0 and json.loads(status.stdout)["messages"] == 1
    # The API edits its files, the password stays where it is.
    assert inside("martlet", "outbound", "disable", "--reason", "maintenance").returncode == 0
    way = inside("martlet", "explain", "you@example.org")
    assert "smtp.provider.example" in way.stdout and "the password" not in way.stdout + log()

    begin = time.monotonic()
    assert engine.podman("stop", "relay").returncode == 0
    assert time.monotonic() - begin < 10
    assert engine.podman("inspect", "relay", "--format", "{{.State.ExitCode}}").stdout.strip() == "0"
    assert '"message":"ready"' in log()


@pytest.mark.skipif(not SOAK, reason="the whole build takes six minutes on two processors: TEST_SOAK=1")
def test_the_whole_image_builds_from_the_sources(engine):
    """The Dockerfile as it is, from a context with nothing but what reaches the build; what it made says its version."""
    whole_image(engine)
    shown = json.loads(engine.podman("image", "inspect", "localhost/martlet").stdout)[0]["Config"]
    assert (shown["User"], shown["Entrypoint"], shown["Cmd"]) == ("10001", ["martlet"], ["serve"])
    engine.start("whole")
    wait_until(
        lambda: "ready" in engine.podman("logs", "whole").stderr, 60, lambda: engine.podman("logs", "whole").stderr
    )
    assert engine.podman("exec", "whole", "martlet", "healthcheck").returncode == 0
    # It is the whole of it: no Swift library is lent to it.
    assert engine.podman("exec", "whole", "martlet", "--version").stdout.strip()
