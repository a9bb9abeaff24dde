"""image.py - deploy/Dockerfile built by buildah and run by podman, with bases that debootstrap made: no registry is asked.

Images and containers live in a directory of the test's own; the network of a container is its own loopback and nothing
else.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from harness import MARTLET, ROOT
from install import make_roots, swift_libraries

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
BASES = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)


class Engine:
    """buildah and podman on a store below `place`."""

    def __init__(self, place):
        for program in ("buildah", "podman", "runc"):
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")
        if os.geteuid() != 0:
            pytest.skip("needs root rights")
        self.place = Path(place)
        self.options = ["--root", str(place / "store"), "--runroot", str(place / "run"), "--storage-driver"]
        # What copies every layer is slow, and works on any file system.
        overlay = subprocess.run(["buildah", *self.options, "overlay", "info"], capture_output=True)
        if overlay.returncode != 0:
            shutil.rmtree(place / "store", ignore_errors=True)
        self.options.append("overlay" if overlay.returncode == 0 else "vfs")
        self.containers = []

    def _run(self, command, timeout, given=None):
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, input=given)

    def podman(self, *arguments, timeout=60, given=None):
        command = ["podman", *self.options, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]
        return self._run(command, timeout, given)

    def load(self, root, name):
        """A directory as an image of one layer."""
        archive = self.place / "base.tar"
        subprocess.run(["tar", "-C", str(root), "--one-file-system", "-cf", str(archive), "."], check=True)
        found = self.podman("import", str(archive), name, timeout=300)
        archive.unlink()
        assert found.returncode == 0, found.stderr

    def build(self, context, dockerfile, *more, timeout=300, tag="localhost/martlet"):
        """In OCI's format; what the build said."""
        how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--format", "oci"]
        command = ["buildah", *self.options, "bud", *how, *more, "-t", tag, "-f", str(dockerfile)]
        built = self._run([*command, str(context)], timeout)
        # The first thing that failed is the reason, the last one says where.
        assert built.returncode == 0, built.stdout[-2000:] + built.stderr[:4000] + " … " + built.stderr[-2000:]
        return built.stdout + built.stderr

    def size(self, name):
        """Bytes of an image, its base included."""
        shown = self.podman("image", "inspect", name, "--format", "{{.Size}}")
        assert shown.returncode == 0, shown.stderr
        return int(shown.stdout)

    def start(self, name, *options):
        """A container with a loopback of its own; skips where the machine allows none."""
        self.containers.append(name)
        limits = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
        started = self.podman("run", "-d", "--name", name, "--network", "none", *limits, *options, "localhost/martlet")
        if started.returncode != 0 and re.search("permi|not permitted|denied|cgroup", started.stderr):
            pytest.skip(f"podman cannot run a container here: {started.stderr[-300:]}")
        assert started.returncode == 0, started.stderr

    def close(self):
        for name in self.containers:
            self.podman("rm", "-f", "-t", "0", name)
        shutil.rmtree(self.place, ignore_errors=True)


def runtime_stage(engine):
    """The second stage of the Dockerfile as it is, with what the first would have made of this MARTLET."""
    context = engine.place / "context"
    out = context / "out"
    for directory in ("usr/bin", "etc/martlet", "var/lib/martlet", "run/secrets"):
        (out / directory).mkdir(parents=True)
    binary = out / "usr/bin/martlet"
    if subprocess.run(["strip", "-o", str(binary), MARTLET], capture_output=True).returncode != 0:
        shutil.copy(MARTLET, binary)
    binary.chmod(0o755)
    for file in (ROOT / "config").iterdir():
        text = file.read_text()
        if file.name == "smtp.ini":
            text = re.sub(r"^listen *=.*", "listen = 0.0.0.0:2525", text, flags=re.M)
        (out / "etc/martlet" / file.name).write_text(text)
        (out / "etc/martlet" / file.name).chmod(0o664)
    for name in re.findall(r"ln -s martlet /out/usr/bin/(\w+)", DOCKERFILE):
        (out / "usr/bin" / name).symlink_to("martlet")
    shutil.copytree(ROOT / "deploy", context / "deploy")
    second = DOCKERFILE[DOCKERFILE.index(f"FROM {BASES[1]}") :]
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(f"FROM scratch AS build\nCOPY out /out\n\n{second}")
    engine.load(make_roots()[0], BASES[1])
    said = engine.build(context, dockerfile)
    return said, binary.stat().st_size


# What swift.org asks for on Debian, beside the toolchain itself.
FOR_SWIFT = (
    "binutils-gold ca-certificates gcc git libcurl4-openssl-dev libedit2 libgcc-12-dev libncurses6 libpython3.11 libsqlite3-0 "
    "libstdc++-12-dev libxml2 libz3-4 pkg-config tzdata zlib1g-dev"
)
# What a machine without a way out says; the last is SwiftPM about what it could not clone.
NO_NETWORK = (
    "Could not resolve|Temporary failure|Failed to clone|unable to access|Unable to fetch|Unable to locate package"
    "|config --get remote.origin.url' failed"
)


def mirrors():
    """The options that lend what this machine's git has in place of other hosts: its settings, and directories."""
    settings = Path("/etc/gitconfig")
    found = subprocess.run(
        ["git", "config", "--file", str(settings), "--name-only", "--get-regexp", r"^url\..*\.insteadof$"],
        capture_output=True,
        text=True,
    )
    places = {name.removeprefix("url.").rpartition(".")[0] for name in found.stdout.split()}
    places = {place for place in places if place.startswith("/") and Path(place).is_dir()}
    lent = [settings, *sorted(places)] if places else []
    return [word for path in lent for word in ("-v", f"{str(path).rstrip('/')}:{str(path).rstrip('/')}:ro")]


def whole_image(engine):
    """Both stages from the sources, with the toolchain of this machine in place of the one in Swift's image.

    A skip where there is no network: packages and the sources of dependencies come from there, or from where this machine's
    git has them.
    """
    swift = shutil.which("swift")
    if not swift:
        pytest.skip("there is no Swift toolchain")
    toolchain = Path(swift).resolve().parents[2]
    # What is imported again is another image of the same name.
    engine.load(make_roots()[0], BASES[1])
    base = engine.place / "base"
    base.mkdir()
    lines = [
        f"FROM {BASES[1]}",
        f"RUN apt-get update && apt-get install -y --no-install-recommends {FOR_SWIFT}",
        "ENV PATH=/toolchain/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    (base / "Dockerfile").write_text("\n".join(lines) + "\n")
    try:
        engine.build(base, base / "Dockerfile", timeout=900, tag=BASES[0])
        lent = ["-v", f"{toolchain}:/toolchain:ro", *mirrors()]
        lent += ["--ignorefile", str(ROOT / "deploy/Dockerfile.dockerignore")]
        return engine.build(ROOT, ROOT / "deploy/Dockerfile", *lent, timeout=5400)
    except AssertionError as refusal:
        if re.search(NO_NETWORK, str(refusal)):
            pytest.skip(f"no network for the whole build: {str(refusal)[-300:]}")
        raise


def lent_libraries():
    """The Swift library for an executable that does not have it inside; nothing for the one that is shipped."""
    swift = swift_libraries()
    if not swift:
        return []
    return ["-v", f"{swift}:/usr/lib/swift/linux:ro", "-e", "LD_LIBRARY_PATH=/usr/lib/swift/linux"]


def composed(secrets):
    """The options of podman for every line of compose.yaml that it can carry, and the names of those that it cannot.

    `secrets` is a directory with a file for each secret.
    """
    service = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["relay"]
    options, left = [], []
    for key, value in service.items():
        match key:
            case "user":
                options += ["--user", value]
            case "read_only":
                options += ["--read-only", "--read-only-tmpfs=false"] if value else []
            case "cap_drop":
                options += [word for name in value for word in ("--cap-drop", name)]
            case "security_opt":
                options += [word for name in value for word in ("--security-opt", name)]
            case "environment":
                options += [word for name, text in value.items() for word in ("-e", f"{name}={text}")]
            case "volumes":
                options += [word for volume in value for word in ("-v", volume)]
            case "secrets":
                assert all((Path(secrets) / name).exists() for name in value)
                options += ["-v", f"{secrets}:/run/secrets:ro"]
            case "restart":
                options += ["--restart", value]
            case "stop_grace_period":
                options += ["--stop-timeout", value.removesuffix("s")]
            case "healthcheck":
                # Without systemd nobody calls it by the clock; the test does.
                test = str(value["test"][1:]).replace("'", '"')
                options += ["--health-cmd", test, "--health-retries", str(value["retries"])]
                options += ["--health-interval", "disable", "--health-timeout", value["timeout"]]
            case _:
                left.append(key)
    return options, left
