"""install.py — a Debian of its own in a directory: what the image and the packages are tried in.

Made by debootstrap with exactly the run-time packages of deploy/packages.txt, once, and kept in /var/tmp; a machine
without root rights, debootstrap or a mirror skips these tests, and says so.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import MARTLET, ROOT

CACHE = Path(os.environ.get("MARTLET_ROOT_CACHE", "/var/tmp"))
# What the scripts of our Debian package call, and the image does not have.
FOR_PACKAGES = ("systemd-standalone-sysusers", "systemd-standalone-tmpfiles")
MIRROR = os.environ.get("TEST_MIRROR", "http://deb.debian.org/debian")


def packages(section):
    """The names of a section of deploy/packages.txt."""
    script = f". deploy/packages.sh && packages {section}"
    text = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line.split("|")[0].strip() for line in text.split("\n") if line]


def make_roots():
    """Two roots, made when they are not there: with exactly the run-time packages, and with `FOR_PACKAGES` too.

    debootstrap takes minutes, so it runs once for both.
    """
    for program in ("debootstrap", "bwrap"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root rights to make a root directory")
    suite = "bookworm"
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            suite = line.split("=")[1]
    names = sorted({*packages("run"), *FOR_PACKAGES})
    key = hashlib.sha256(" ".join([suite, *names]).encode()).hexdigest()[:12]
    exact, larger = CACHE / f"martlet-roots-{key}/exact", CACHE / f"martlet-roots-{key}/larger"
    exact.parent.mkdir(parents=True, exist_ok=True)
    with open(exact.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (exact / "complete").exists():
            return exact, larger
        for place in (exact, larger):
            shutil.rmtree(place, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(names)}", suite, str(larger), MIRROR]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=500)
        except subprocess.TimeoutExpired:
            result = None
        if result is None or result.returncode != 0:
            shutil.rmtree(larger, ignore_errors=True)
            pytest.skip(f"debootstrap could not make a root: {result.stdout[-300:] if result else 'too slow'}")
        subprocess.run(["cp", "-a", "--reflink=auto", str(larger), str(exact)], check=True)
        subprocess.run(["chroot", str(exact), "dpkg", "--purge", *FOR_PACKAGES], check=True, capture_output=True)
        for path in ("usr/bin/martlet", "etc/martlet/.keep", "var/lib/martlet/.keep", "usr/lib/swift/linux/.keep"):
            (exact / path).parent.mkdir(parents=True, exist_ok=True)
            (exact / path).touch()
        (exact / "complete").touch()
    return exact, larger


def swift_libraries():
    """Where the Swift run-time library is that MARTLET loads; None for an executable that has it inside."""
    text = subprocess.run(["ldd", MARTLET], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        if "libswiftCore.so" in line:
            return Path(line.split("=>")[1].split("(")[0].strip()).parent
    return None


def in_root(root, binds=(), uid=4711, gid=0, variables=None):
    """The beginning of a command that runs in the root: read-only, no capabilities, any uid, the network of the host.

    `binds` are (source, place, "rw" or "ro"). The Swift library is lent to an executable that is not linked statically:
    everything else has to be in the root.
    """
    command = [
        "bwrap",
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--die-with-parent",
        "--uid",
        str(uid),
        "--gid",
        str(gid),
        "--cap-drop",
        "ALL",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/sbin:/usr/bin:/sbin:/bin",
        "--ro-bind",
        str(root),
        "/",
        "--ro-bind",
        MARTLET,
        "/usr/bin/martlet",
    ]
    swift = swift_libraries()
    if swift:
        command += [
            "--ro-bind",
            str(swift),
            "/usr/lib/swift/linux",
            "--setenv",
            "LD_LIBRARY_PATH",
            "/usr/lib/swift/linux",
        ]
    command += ["--dev", "/dev", "--proc", "/proc"]
    for source, place, how in binds:
        command += ["--bind" if how == "rw" else "--ro-bind", str(source), place]
    for name, value in (variables or {}).items():
        command += ["--setenv", name, value]
    return command
