"""test_environment.py — every key of every file by its variable and by a file that a `…_FILE` names; secrets stay secrets."""

import json
import re
import subprocess

import pytest
from harness import MARTLET, ROOT, environment
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer

# What keys take that are no small number; a new key that is neither a number nor here makes the table test fail.
VALUES = {
    "queue": "postgresql://db.example/martlet",
    "migrate": "false",
    "smtps_listen": "127.0.0.1:2465",
    "proxy": "127.0.0.1:2465",
    "proxy_networks": "192.0.2.0/24",
    "xclient_networks": "192.0.2.1",
    "xforward_networks": "192.0.2.1",
    "listen": "127.0.0.1:2626",
    "lenient": "127.0.0.0/8",
    "drop": "false",
    "acme_directory": "https://acme.example/directory",
    "acme_names": "mail.example.org",
    "acme_contact": "admin@example.org",
    "acme_terms_agreed": "true",
    "acme_challenge": "dns-01",
    "acme_listen": "127.0.0.1:8080",
    "local_sender": "noreply@example.org",
    "memory_for_mail": "64M",
    "message_bytes": "20M",
    "in_memory_bytes": "64K",
    "header_bytes": "64K",
    "command_bytes": "2K",
    "body_bytes": "30M",
    "methods": "PLAIN,LOGIN",
    "constrain_sender": "true",
    "constrain_from": "refuse",
    "allow_plaintext": "true",
    "enable_tls": "true",
    "disabled": "true",
    "always_split": "true",
    "local_mx_ok": "true",
    "ipv6_enabled": "true",
    "hosts": "true",
    "require_if_match": "true",
    "require_token": "true",
    "page": "false",
    "honorCipherOrder": "true",
    "requestCert": "true",
    "inet_prefer": "v4",
    "forward": "127.0.0.53@5353",
    "socket_mode": "0660",
    "metrics_allow": "10.0.0.0/8",
    "history": "false",
    "history_bytes": "64M",
    "journal_bytes": "64M",
    "event_file": "events.jsonl",
    "event_file_bytes": "1M",
    "event_file_count": "3",
    "addresses": "hash",
    "check": "drop",
    "feed": "true",
    "store": "hash",
    "tag_header": "X-Campaign",
    "minVersion": "TLSv1.3",
    "headers": "From, Subject",
    "oversign": "From",
    "ciphers": "HIGH",
    "temp_fail_intervals": "1m, 5m*3",
    "received_header": "Martlet",
    "user": "nobody",
    "group": "nogroup",
    "allowed_sender_domains": "example.net",
    "disabled_reason": "a pause",
    "socket": "/run/martlet/admin.sock",
    "bare_lf_replies": "false",
    "client_certificate": "false",
    "unreachable_counts": "true",
    "queue_lifetime": "5d",
    "long_lines": "encode",
    "postmaster": "postmaster@example.net",
    "tls_report_contact": "tls@example.net",
    "tls_report_organization": "Example",
    "allowed_origins": "https://dash.example.org",
}
LISTS = {"MARTLET_HOSTNAME": "out1.example.net", "MARTLET_ALLOW_NETWORKS": "10.0.0.0/8, 192.0.2.0/24"}


def word(text):
    return re.sub(r"[^A-Z0-9]", "_", text.upper())


def variable(row):
    stem = word(row["file"].split(".")[0])
    return "_".join(["MARTLET", stem, *([word(row["section"])] if row["section"] else []), word(row["key"])])


def ask(command, variables):
    return subprocess.run(
        [MARTLET, *command, "--config", str(ROOT / "config")],
        capture_output=True,
        text=True,
        timeout=30,
        env={**environment(), **variables},
    )


def rows(variables):
    result = ask(("config", "show", "--origin", "--json"), variables)
    assert result.returncode == 0, result
    return [row for row in json.loads(result.stdout) if row["key"]]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """For keys that name files."""
    place = tmp_path_factory.mktemp("paths")
    chain, key = Authority(place / "authority").issue("relay.test")
    anchor = place / "root.key"
    anchor.write_text(". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n")
    key.chmod(0o600)
    return {
        "tls_ca_file": chain,
        "certificate": chain,
        "cert": chain,
        "key": key,
        "clientCA": chain,
        "trust_anchor_file": anchor,
    }


def test_every_key_has_its_variable(paths, tmp_path, check):
    """One by one each is known and valid; all together, and all out of files, each is the origin of its key."""
    table = rows({})
    assert len(table) > 80
    given = {variable(row): str(paths.get(row["key"], VALUES.get(row["key"], "7"))) for row in table}
    assert len(given) == len(table), "two keys share a variable"
    # A user is looked up when the relay starts, not when it is checked.
    result = ask(("check",), given)
    check(result.returncode == 0, f"all together: {result.stdout}{result.stderr}")
    files = {}
    for name, value in given.items():
        (tmp_path / name).write_text(value + "\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    result = ask(("check",), files)
    check(result.returncode == 0, f"all out of files: {result.stdout}{result.stderr}")
    for variables in (given, files):
        for row in rows(variables):
            name = variable(row)
            wanted = name if variables is given else f"{name}_FILE"
            check(row.get("variable") == wanted, f"{wanted}: {row}")
            check(row["value"] == given[name], f"{wanted} has another value: {row}")


@pytest.mark.parametrize("name", sorted(LISTS))
def test_files_that_are_lists_have_variables(name, tmp_path):
    (tmp_path / "value").write_text(LISTS[name] + "\n")
    for variables in ({name: LISTS[name]}, {f"{name}_FILE": str(tmp_path / "value")}):
        result = ask(("config", "show", "--origin", "--json"), variables)
        found = [row["value"] for row in json.loads(result.stdout) if row.get("variable") in variables]
        assert found == re.split(", *", LISTS[name]), result.stdout


@pytest.mark.parametrize(
    "name, hint",
    [
        ("MARTLET_OUTBOUND_CONCURRENCYMAX", "MARTLET_OUTBOUND_CONCURRENCY_MAX"),
        ("MARTLET_SMARTHOST", "MARTLET_SMARTHOST_"),
        ("MARTLET_HOSTNAM", "MARTLET_HOSTNAME"),
        ("MARTLET_ZZZZZZZZZZZZ", "Install.md"),
    ],
)
def test_an_unknown_variable_stops_the_start_with_a_hint(make_relay, name, hint):
    relay = make_relay(started=False, env={name: "x"})
    result = relay.run("check")
    assert result.returncode == 1 and hint in result.stdout + result.stderr, result
    relay.start(wait=False)
    assert relay.process.wait(20) == 1 and hint in relay.log_path.read_text()
    relay.process = None


def test_another_image_s_name_is_said_once(make_relay, sink):
    relay = make_relay(env={"RELAYHOST": sink.route, "POSTFIX_myhostname": "out1.example.net"})
    notes = [line["reason"] for line in relay.log if line.message == "environment understood"]
    assert sorted(notes) == [
        "POSTFIX_myhostname is understood; here it is called MARTLET_HOSTNAME",
        "RELAYHOST is understood; here it is called MARTLET_SMARTHOST_HOST",
    ], notes
    send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: x\r\n\r\nhello\r\n")
    sink.wait_for(1)


def test_secrets_are_never_shown(make_relay, tmp_path):
    """Not in the most talkative log, not by `config show`, not by the API's clients; and they work."""
    password, token = "pass-0123456789-word", "token-0123456789-0123456789-0123456789"
    (tmp_path / "password").write_text(password + "\n")
    with TLSPeer(Authority(tmp_path / "authority").issue("127.0.0.1"), users={"apikey": password}) as peer:
        variables = {
            "MARTLET_SMARTHOST_HOST": f"127.0.0.1:{peer.address[1]}",
            "MARTLET_SMARTHOST_USERNAME": "apikey",
            "MARTLET_SMARTHOST_PASSWORD_FILE": str(tmp_path / "password"),
            "MARTLET_ADMIN_TOKEN": token,
        }
        relay = make_relay(env=variables, arguments=["--log-level", "trace"])
        send_mail(relay, "a@a.test", ["b@b.test"], b"Subject: x\r\n\r\nhello\r\n")
        peer.wait_for(1)
        assert peer.logins and peer.logins[0][1] == "apikey"
        said = [
            relay.log_path.read_text(),
            relay.run("route", "list", "--json").stdout,
            relay.run("explain", "b@b.test", "--json").stdout,
        ]
        for path in relay.directory.rglob("*"):
            if path.is_file() and path.suffix != ".seg":
                said.append(path.read_bytes().decode("utf-8", "replace"))
        shown = subprocess.run(
            [MARTLET, "config", "show", "--origin", "--json", "--config", str(relay.config)],
            text=True,
            capture_output=True,
            env={**environment(), **variables},
        ).stdout
        assert "MARTLET_SMARTHOST_PASSWORD_FILE" in shown
        for text in (*said, shown):
            assert password not in text and token not in text
        # Nor do the arguments or the title of the process show them.
        assert (
            password not in subprocess.run(["ps", "-o", "args=", str(relay.pid)], capture_output=True, text=True).stdout
        )
