"""test_install_files.py — deploy/: dashboard, alerts and compose files name what a running relay has; sockets of systemd."""

import ipaddress
import json
import re
import smtplib
import subprocess

import pytest
from harness import MARTLET, ROOT, environment
from peers import need
from scripted import Sink
from smtp_client import send_mail
from waiting import free_port, wait_until

yaml = pytest.importorskip("yaml")
MAIL = b"Subject: x\r\n\r\nhello\r\n"
# Prometheus adds these to whatever it scrapes.
ADDED = {"instance", "job"}


def metrics(relay):
    return subprocess.run(
        ["curl", "-sS", "--fail", "--unix-socket", str(relay.data / "admin.sock"), "http://localhost/metrics"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture
def page(make_relay, make_server, closing):
    """The metrics of a relay that has seen a delivery, a deferral, a bounce and a refusal: `{name: {label: {values}}}`."""
    sink = closing(Sink())
    refuses, defers = make_server({"RCPT": "550 5.1.1 nobody"}), make_server({"RCPT": "450 4.2.1 later"})
    relay = make_relay(
        routes={
            "good.test": sink.route,
            "bad.test": f"127.0.0.1:{refuses.port}",
            "later.test": f"127.0.0.1:{defers.port}",
            "*": sink.route,
        },
        outbound={"temp_fail_intervals": "1h*5"},
    )
    for domain in ("good", "bad", "later"):
        send_mail(relay, "a@a.test", [f"b@{domain}.test"], MAIL)
    with smtplib.SMTP(*relay.address, timeout=20) as client:
        client.ehlo("x")
        client.mail("a@a.test"), client.rcpt("b@good.test"), client.putcmd("DATA"), client.getreply()
        client.send(b"Subject: bare\n\nx\r\n.\r\n")
        assert client.getreply()[0] == 550
    for word in ("delivered", "bounced", "delivery deferred"):
        wait_until(lambda: any(line.message == word for line in relay.log), what=word)
    found = {}
    for line in metrics(relay).splitlines():
        if line and not line.startswith("#"):
            name, labels = re.match(r"([a-z_:]+)(?:\{(.*)\})? ", line).groups()
            known = found.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels or ""):
                known.setdefault(label, set()).add(value)
    return found


def dashboard():
    board = json.loads((ROOT / "deploy/grafana/martlet.json").read_text())
    return board, [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def alerts():
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_dashboard_and_alerts_name_what_a_relay_has(page, check):
    """Every metric and label is on its page, and so is every value that an expression asks for."""
    board, expressions = dashboard()
    expressions += [rule["expr"] for rule in alerts()]
    assert len(expressions) > 25
    for text in expressions:
        selectors = re.findall(r"\b((?:martlet|process)_[a-z_]+)(?:\{([^}]*)\})?", text)
        check(selectors or text.startswith("up{"), f"no metric in {text}")
        labels = set(ADDED)
        for name, matchers in selectors:
            if not check(name in page, f"{name} is not on the page"):
                continue
            labels |= page[name].keys()
            for label, _how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
                if label in ADDED:
                    continue
                check(label in page[name], f"{name} has no label {label}")
                for one in value.split("|"):
                    check(one in page[name].get(label, ()), f"{name}: {label} is never {one}")
        for words in re.findall(r"\bby \(([^)]*)\)", text):
            check({word.strip() for word in words.split(",")} <= labels, f"by ({words}) in {text}")
    for panel in board["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{ *(\w+) *}}", target.get("legendFormat", "")):
                check(label in target["expr"], f"{panel['title']}: nothing is by {label}")
    for rule in alerts():
        words = " ".join(rule["annotations"].values())
        check({"summary", "action"} <= rule["annotations"].keys(), f"{rule['alert']} says what and what to do")
        for command in re.findall(r"`martlet ([a-z-]+)", words):
            check(subprocess.run([MARTLET, "help", command], capture_output=True).returncode == 0, f"martlet {command}")


def test_prometheus_understands_all_of_it(tmp_path):
    need("promtool")
    rules = [
        {"record": f"one:{index}", "expr": text.replace("$instance", ".*")} for index, text in enumerate(dashboard()[1])
    ]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    for command in (
        ["rules", ROOT / "deploy/prometheus/alerts.yml"],
        ["rules", tmp_path / "board.yml"],
        ["config", ROOT / "deploy/prometheus/prometheus.demo.yml"],
    ):
        if command[0] == "config":
            # In the container both files are in one directory too.
            command = ["config", "--syntax-only", command[1]]
        result = subprocess.run(["promtool", "check", *map(str, command)], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_fires_when_it_should():
    """promtool runs the rules over made-up hours; no rule is without such a test."""
    need("promtool")
    file = ROOT / "deploy/prometheus/alerts.test.yml"
    result = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    cases = [case for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {rule["alert"] for rule in alerts()} == {case["alertname"] for case in cases if case.get("exp_alerts")}


def ignored(path):
    """Whether the build context leaves a file out: the last line that fits decides (docs.docker.com, dockerignore)."""
    is_ignored = False
    for line in (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.lstrip("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        # A directory takes everything in it along.
        if re.fullmatch(pattern + "(?:/.*)?", path):
            is_ignored = not line.startswith("!")
    return is_ignored


def test_the_build_context_holds_what_is_built_and_no_secret():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    needed = [name for name in tracked if name.startswith(("Sources/", "Tests/", "config/", "deploy/", "Package"))]
    assert len(needed) > 400 and not [name for name in needed if ignored(name)]
    for secret in (
        ".env",
        "deploy/.env",
        "deploy/.env.production",
        "config/tls_key.pem",
        "config/tls/relay.key",
        "config/dkim/example.org/default.key",
        "deploy/secrets/smtp_password",
        "relay.pem",
        ".git/config",
        "notes.txt",
        "data/queue/1.seg",
        ".build/debug/martlet",
        "deploy/admin_token.txt",
        "home/.ssh/id_ed25519",
    ):
        assert ignored(secret), secret


# Of the Compose specification, what is used here.
SERVICE = {
    "build",
    "image",
    "user",
    "read_only",
    "cap_drop",
    "security_opt",
    "environment",
    "ports",
    "volumes",
    "networks",
    "secrets",
    "restart",
    "stop_grace_period",
    "healthcheck",
    "depends_on",
}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.demo.yaml"])
def test_compose_files_hold_together(name, tmp_path, check):
    text = (ROOT / "deploy" / name).read_text()
    whole = yaml.safe_load(text)
    check(set(whole) <= {"services", "volumes", "networks", "secrets"}, f"top level: {set(whole)}")
    addresses = {}
    for service, what in whole["services"].items():
        check(set(what) <= SERVICE, f"{service}: {set(what) - SERVICE}")
        check(
            ":latest" not in what["image"]
            and (what["image"] == "martlet" or ":v" in what["image"] or ":1" in what["image"]),
            f"{service}: {what['image']} has no version",
        )
        for port in what.get("ports", []):
            check(port.startswith("127.0.0.1:"), f"{service}: {port} is open to everybody")
        for volume in what.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                check((ROOT / "deploy" / source).is_file(), f"{source} is not in the tree")
            else:
                check(source in whole["volumes"], f"volume {source} is not declared")
                check(target in ("/var/lib/martlet", "/etc/martlet"), f"nothing is kept in {target}")
        for secret in what.get("secrets", []):
            check(secret in whole["secrets"], f"secret {secret} is not declared")
        networks = what["networks"]
        for network in networks:
            subnet = ipaddress.ip_network(whole["networks"][network]["ipam"]["config"][0]["subnet"])
            if isinstance(networks, dict):
                addresses[service] = networks[network]["ipv4_address"]
                check(ipaddress.ip_address(addresses[service]) in subnet, f"{service} is outside of {subnet}")
    relay = whole["services"]["relay"]
    check(relay["user"].split(":")[0] not in ("0", "root") and relay["read_only"] is True, "it is confined")
    check(relay["cap_drop"] == ["ALL"] and "no-new-privileges:true" in relay["security_opt"], "it is confined")
    dockerfile = ROOT / "deploy" / relay["build"]["context"] / relay["build"]["dockerfile"]
    check(dockerfile.resolve() == ROOT / "deploy/Dockerfile", f"built from {dockerfile}")
    check("/var/lib/martlet" in str(relay["volumes"]), "the queue is on a volume")
    # The relay understands every name and value.
    variables = dict(relay["environment"])
    check(all(isinstance(value, str) for value in variables.values()), f"YAML numbers and booleans: {variables}")
    for key, value in variables.items():
        if value.startswith("/run/secrets/"):
            check(value.rsplit("/", 1)[1] in relay["secrets"], f"{value} is no secret of the service")
            (tmp_path / "secret").write_text("the password")
            variables[key] = str(tmp_path / "secret")
    result = subprocess.run(
        [MARTLET, "check", "--config", str(ROOT / "config")],
        capture_output=True,
        text=True,
        env={**environment(), **variables},
    )
    check(result.returncode == 0, result.stdout + result.stderr)
    # Who may relay is in the network, and its gateway, behind which strangers may hide, is not.
    allowed = ipaddress.ip_network(variables["MARTLET_ALLOW_NETWORKS"])
    config = next(iter(whole["networks"].values()))["ipam"]["config"][0]
    check(allowed.subnet_of(ipaddress.ip_network(config["subnet"])), f"{allowed} is not of the network")
    if "gateway" in config:
        check(ipaddress.ip_address(config["gateway"]) not in allowed, "the gateway may relay")
    if addresses:
        check(variables["MARTLET_SMARTHOST_HOST"] == addresses["sink"], "the smart host is the sink")
        scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.demo.yml").read_text())["scrape_configs"][0]
        check(scraped["static_configs"][0]["targets"] == [f"{addresses['relay']}:8025"], "Prometheus asks the relay")
        check(scraped["authorization"]["credentials"] == variables["MARTLET_ADMIN_TOKEN"], "with its token")


def test_systemd_starts_it_at_the_first_connection(make_relay, sink):
    """As martlet.socket does: systemd listens, the relay comes when somebody knocks, and that client is served."""
    need("systemd-socket-activate")
    port = free_port()
    relay = make_relay(started=False, routes={"*": sink.route})
    relay.prefix = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=smtp"]
    relay.start(wait=False)
    wait_until(lambda: "Listening on" in relay.log_path.read_text(), what="systemd's socket")
    assert not [line for line in relay.log if line.message == "ready"]
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("a@a.test", ["b@b.test"], MAIL)
    sink.wait_for(1)
    (ready,) = [line for line in relay.log if line.message == "ready"]
    assert ready["listen"] == f"127.0.0.1:{port}"
