"""test_install_package.py — the Debian packages, built, checked by lintian, installed, upgraded, removed and purged."""

import fcntl
import os
import re
import shutil
import subprocess

import pytest
from harness import MARTLET, ROOT
from install import make_roots, swift_libraries


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages of the executable under test, and the next version of the relay's; built once for all workers."""
    if not shutil.which("dh") or not shutil.which("lintian"):
        pytest.skip("debhelper and lintian are not installed")
    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "packages"
    place.mkdir(exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(place.glob("martlet_1.0.1_*.deb")):
            build(place)
    return place


def build(place):
    result = subprocess.run(
        ["deploy/debian/build.sh", MARTLET, str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "MARTLET_PACKAGE_VERSION": "1.0.0"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    # The next version, packed by hand: another number and another default configuration.
    tree = place / "next"
    subprocess.run(["dpkg-deb", "-R", str(next(place.glob("martlet_*.deb"))), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("Version: 1.0.0", "Version: 1.0.1"))
    (tree / "etc/martlet/resolver.ini").write_text("; another default\n")
    subprocess.run(["dpkg-deb", "-Znone", "-b", str(tree), str(place)], check=True, capture_output=True)


@pytest.fixture
def system(tmp_path):
    """A root of its own, to be changed."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", str(make_roots()[1]), str(root)], check=True)
    swift = swift_libraries()
    if swift:
        shutil.copytree(
            swift,
            root / "opt/swift/usr/lib/swift/linux",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("*.swiftmodule", "*.a", "x86_64", "aarch64"),
        )
    yield root
    shutil.rmtree(root, ignore_errors=True)


def run(root, *command, check=True, text=None, variables=None):
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LD_LIBRARY_PATH": "/opt/swift/usr/lib/swift/linux",
        **(variables or {}),
    }
    # Not a mere chroot: a Swift program finds its arguments in /proc.
    place = ["bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc"]
    result = subprocess.run(
        [*place, *command], capture_output=True, text=True, timeout=200, input=text, env=environment
    )
    assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result


def test_lintian_has_nothing_to_say(packages):
    files = [str(file) for file in packages.glob("*_1.0.0_*.deb")]
    assert len(files) == 2
    text = subprocess.run(
        ["lintian", "--allow-root", "--tag-display-limit", "0", *files], capture_output=True, text=True
    ).stdout
    # The toolchain's path is in an executable that was linked with its shared library; the package's own is not.
    dynamic = ("custom-library-search-path",) if swift_libraries() else ()
    problems = [
        line for line in text.splitlines() if line[:2] in ("E:", "W:") and not any(tag in line for tag in dynamic)
    ]
    assert not problems, "\n".join(problems)


def test_the_life_of_a_package(packages, system):
    """Install, change, upgrade, remove, purge: settings that were changed stay, and so does a queue."""
    for file in packages.glob("*.deb"):
        shutil.copy(file, system / "tmp")
    run(system, "dpkg", "-i", "/tmp/martlet_1.0.0_amd64.deb")
    assert "/etc/martlet: configuration is valid\n" in run(system, "martlet", "check").stdout
    assert run(system, "stat", "-c", "%U %a", "/var/lib/martlet").stdout == "martlet 751\n"
    assert run(system, "stat", "-c", "%G %a", "/etc/martlet/routes.ini").stdout == "martlet 660\n"
    # The relay's user can read all it needs.
    run(system, "setpriv", "--reuid=martlet", "--regid=martlet", "--clear-groups", "martlet", "check")

    changed = system / "etc/martlet/outbound.ini"
    changed.write_text("concurrency_max = 7\n")
    run(system, "dpkg", "-i", "/tmp/martlet_1.0.1_amd64.deb")
    assert changed.read_text() == "concurrency_max = 7\n"
    assert (system / "etc/martlet/resolver.ini").read_text() == "; another default\n"

    run(system, "dpkg", "-i", "--force-depends", "/tmp/martlet-sendmail_1.0.0_amd64.deb")
    for path in ("usr/sbin/sendmail", "usr/lib/sendmail", "usr/bin/mailq", "usr/sbin/postqueue", "usr/sbin/postsuper"):
        assert run(system, "readlink", "-f", f"/{path}").stdout == "/usr/bin/martlet\n"
    refused = run(system, "sendmail", "-t", check=False, text="Subject: nobody\n\n")
    assert refused.returncode == 64 and "no recipients" in refused.stderr
    run(system, "dpkg", "-r", "martlet-sendmail")

    queue = system / "var/lib/martlet/queue"
    queue.mkdir()
    (queue / "00000000.seg").write_bytes(b"mail")
    run(system, "dpkg", "-r", "martlet")
    assert changed.exists() and not (system / "usr/bin/martlet").exists()
    purged = run(system, "dpkg", "-P", "martlet")
    assert (queue / "00000000.seg").exists() and "is left where it is" in purged.stdout
    assert not changed.exists()


def test_an_executable_and_a_unit(system):
    """That block of Install.md, in a clone at /src; what needs a running systemd is only looked at."""
    page = (ROOT / "Sources/martlet/martlet.docc/Install.md").read_text()
    (block,) = [text for text in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) if "sysusers.d" in text]
    clone = system / "src"
    for name in ("config", "deploy"):
        shutil.copytree(ROOT / name, clone / name)
    (clone / ".build/release").mkdir(parents=True)
    shutil.copy(MARTLET, clone / ".build/release/martlet")
    tried = [line for line in block.splitlines() if not line.startswith(("swift build", "systemctl"))]
    assert len(tried) == len(block.splitlines()) - 2
    (system / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    run(system, "bash", "-euc", "cd /src\n" + "\n".join(tried))
    assert "configuration is valid\n" in run(system, "martlet", "check", "--config", "/etc/martlet").stdout
    assert run(system, "stat", "-c", "%G %a", "/etc/martlet").stdout == "martlet 2775\n"
    run(
        system,
        "setpriv",
        "--reuid=martlet",
        "--regid=martlet",
        "--clear-groups",
        "martlet",
        "check",
        "--config",
        "/etc/martlet",
    )
    for unit in ("martlet.service", "martlet.socket"):
        assert (system / "etc/systemd/system" / unit).is_file()


def test_man_pages_and_completions_come_from_the_parser(packages, tmp_path):
    subprocess.run(["dpkg", "-x", str(next(packages.glob("martlet_1.0.0_*.deb"))), str(tmp_path)], check=True)
    pages = sorted(file.name for file in (tmp_path / "usr/share/man/man1").iterdir())
    assert {"martlet.1.gz", "martlet-serve.1.gz", "martlet-queue-list.1.gz", "martlet-doctor.1.gz"} <= set(pages)
    shown = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(tmp_path / "usr/share/man/man1/martlet-serve.1.gz")],
        capture_output=True,
        text=True,
        env={**os.environ, "MANPAGER": "cat"},
    )
    assert shown.returncode == 0 and "log-format" in shown.stdout, shown
    bash = tmp_path / "usr/share/bash-completion/completions/martlet"
    subprocess.run(["bash", "-n", str(bash)], check=True)
    assert "send-test" in bash.read_text()
