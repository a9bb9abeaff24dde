"""test_docs.py — README and Install.md keep their word: every command, flag, file and variable they name is there, and the
blocks that need neither a container engine nor minutes are run as they stand."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
from harness import MARTLET, ROOT, environment
from peers import need
from scripted import Sink
from waiting import host_port, wait_until

PAGES = [ROOT / "README.md", ROOT / "Sources/martlet/martlet.docc/Install.md"]
# What others bring; the name alone is checked.
OTHERS = {"docker", "swift", "apt", "systemctl", "systemd-sysusers", "swaks", "curl", "install"}


def blocks(path, language="sh"):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


def commands(text):
    """The commands of a block as lists of words."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((at for at, word in enumerate(words) if word in ("&&", "|", ";")), len(words))
            if words[:end]:
                yield words[:end]
            words = words[end + 1 :]


@pytest.fixture(scope="module")
def parser():
    """`{("queue", "list"): {"--domain", …}}` out of the executable itself."""
    text = subprocess.run([MARTLET, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout
    known = {}

    def add(command, path):
        flags = {f"--{name['name']}" for one in command.get("arguments", []) for name in one.get("names", [])}
        known[path] = flags
        for one in command.get("subcommands", []):
            add(one, (*path, one["commandName"]))

    add(json.loads(text)["command"], ())
    return known


def check_martlet(words, parser, check):
    path = ()
    while len(path) < len(words) and (*path, words[len(path)]) in parser:
        path += (words[len(path)],)
    check(path, f"martlet {' '.join(words)}: no such command")
    for word in words[len(path) :]:
        if word.startswith("--"):
            check(word.split("=")[0] in parser[path], f"martlet {' '.join(path)} has no {word}")


def check_command(words, parser, check):
    name, rest = words[0], words[1:]
    if name == "martlet":
        return check_martlet(rest, parser, check)
    if "/" in name:
        script = ROOT / name
        if not check(os.access(script, os.X_OK), f"{name} is no script of the tree"):
            return None
        flags = [word for word in rest if word.startswith("--")]
        # What a script passes on is known by what it calls.
        text = script.read_text() + (ROOT / "Tests/run.sh").read_text()
        return [check(flag in text, f"{name} has no {flag}") for flag in flags]
    check(name in OTHERS, f"who is {name}?")
    if name == "docker" and "martlet" in rest:
        at = rest.index("martlet")
        if rest[0] == "exec":
            check_martlet(rest[at + 1 :], parser, check)
    for word in rest:
        if re.match(r"(deploy|config|Sources|Tests)/", word):
            check(list(ROOT.glob(word)), f"{name}: {word} is not in the tree")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_of_the_blocks_is_there(page, parser, check):
    found = [words for block in blocks(page) for words in commands(block)]
    assert len(found) > 4
    for words in found:
        check_command(words, parser, check)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_name_in_the_text_is_there(page, parser, check):
    text = page.read_text()
    for words in re.findall(r"`martlet ([a-z][^`]*)`", text):
        # `queue show|hold`, `serve --config DIR [--log-format text|json]`
        if re.fullmatch(r"[\d/]+", words):
            continue
        check_martlet(re.sub(r"[\[\]…]", " ", words).split(), parser, check)
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        check((page.parent / path).exists(), f"{path} is linked and not there")
    for path in re.findall(r"`{1,2}((?:\.ci|deploy|config|Sources|Tests)/[\w./*-]*)", text):
        check(list(ROOT.glob(path.rstrip("/"))), f"{path} is not in the tree")
    for path in re.findall(r"`(\w+/[\w+/.]+\.(?:swift|md))`", text):
        check((ROOT / "Sources" / path).exists(), f"Sources/{path} is not in the tree")
    for name in sorted(set(re.findall(r"\bMARTLET_[A-Z0-9_]+\b", text))):
        if re.search(rf"{name}<|{name}…", text) or name.endswith("_"):
            continue
        result = subprocess.run(
            [MARTLET, "config", "show", "--config", str(ROOT / "config")],
            capture_output=True,
            text=True,
            env={**environment(), name: ""},
        )
        check("no variable of Martlet" not in result.stdout + result.stderr, f"{name} is no variable")


def test_the_names_of_the_table_mean_what_it_says(check):
    """Each variable, also by the names of other images, sets what its row says."""
    values = {
        "MARTLET_HOSTNAME": "out1.example.net",
        "MARTLET_LISTEN": "127.0.0.1:2626",
        "MARTLET_ALLOW_NETWORKS": "10.0.0.0/8",
        "MARTLET_ALLOWED_SENDER_DOMAINS": "example.net",
        "MARTLET_SMARTHOST_HOST": "smtp.example.net",
        "MARTLET_SMARTHOST_PORT": "587",
        "MARTLET_SMARTHOST_USERNAME": "apikey",
        "MARTLET_SMARTHOST_PASSWORD": "s3cr3t-s3cr3t",
        "MARTLET_SMARTHOST_TLS": "verify",
        "MARTLET_DNS": "127.0.0.53",
        "MARTLET_ADMIN_LISTEN": "127.0.0.1:8026",
        "MARTLET_LOG_FORMAT": "json",
        "MARTLET_LOG_LEVEL": "info",
        "MARTLET_LOG_ADDRESSES": "hash",
    }
    needs_login = {"MARTLET_SMARTHOST_USERNAME", "MARTLET_SMARTHOST_PASSWORD"}
    table = re.findall(r"^\| (`MARTLET_[^|]*)\|[^|]*\|([^|]*)\|$", PAGES[1].read_text(), re.M)
    assert len(table) > 8
    shown = 0
    for cell, others in table:
        first, *more = re.findall(r"`(\w+)`", cell)
        natives = [first, *(one if one.startswith("MARTLET") else first[: first.rindex("_")] + one for one in more)]
        for other in [*natives, *re.findall(r"`(\w+)`", others)]:
            end = {"USER": "USERNAME"}.get(other.rsplit("_", 1)[-1], other.rsplit("_", 1)[-1])
            native = (
                other if other in natives else next((one for one in natives if one.endswith(f"_{end}")), natives[0])
            )
            if native not in values:
                continue  # a directory, a token: nothing to be shown
            variables = {other: values[native]}
            if native.startswith("MARTLET_SMARTHOST_"):
                variables.setdefault("MARTLET_SMARTHOST_HOST", values["MARTLET_SMARTHOST_HOST"])
                if native == "MARTLET_SMARTHOST_HOST" and other != native:
                    del variables["MARTLET_SMARTHOST_HOST"]
                if native in needs_login:
                    (twin,) = needs_login - {native}
                    variables[twin] = values[twin]
            result = subprocess.run(
                [MARTLET, "config", "show", "--origin", "--json", "--config", str(ROOT / "config")],
                capture_output=True,
                text=True,
                env={**environment(), **variables},
            )
            if not check(result.returncode == 0, f"{other}: {result.stderr}{result.stdout}"):
                continue
            check("s3cr3t" not in result.stdout, f"{other} is shown")
            if not native.startswith("MARTLET_LOG"):
                port = native == "MARTLET_SMARTHOST_PORT"
                check(port or f'"{other}"' in result.stdout, f"{other} is nobody's origin: {result.stdout[-300:]}")
            shown += 1
    check(shown > 20, f"{shown} names of the table were tried")


def test_looking_after_it(make_relay, closing, tmp_path):
    """The last block of Install.md, and what quickstart.sh tells people to try, word for word."""
    need("swaks", "curl")
    sink = closing(Sink())
    relay = make_relay(routes={"*": sink.route})
    (block,) = [block for block in blocks(PAGES[1]) if "martlet explain" in block]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/martlet").symlink_to(MARTLET)
    variables = {
        **environment(),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "MARTLET_DATA_DIR": str(relay.data),
    }

    def bash(text, variables):
        result = subprocess.run(
            ["bash", "-euc", text], cwd=ROOT, capture_output=True, text=True, env=variables, timeout=60
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    (hints,) = re.findall(r"<<HELP\n(.*?)^HELP", (ROOT / "deploy/quickstart.sh").read_text(), re.M | re.S)
    tried = "\n".join(line for line in hints.splitlines() if line.startswith("    "))
    assert len(tried.splitlines()) == 4
    place = {"listen": host_port(relay.address), "data": str(relay.data), "martlet": MARTLET}
    said = bash(tried, {**variables, **place})
    wait_until(lambda: len(sink.messages) == 2, what="the mails of swaks and curl")
    assert "Delivering" in said and '"in_progress"' in said, said

    said = bash(block, variables)
    assert "Delivering" in said and "No mail waits." in said and str(sink.port) in said, said
    assert bash("martlet status", variables).startswith("Delivery is disabled")


def test_the_demo_shows_a_mail_arrive(tmp_path):
    """What quickstart.sh --demo runs when it has built."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    result = subprocess.run(
        ["/usr/bin/python3", "deploy/demo.py", MARTLET, str(tmp_path / "config")],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert result.returncode == 0 and "This mail went through Martlet." in result.stdout, result.stdout + result.stderr
