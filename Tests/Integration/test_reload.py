"""test_reload.py - every file of config/ is read again while the relay runs; a broken one changes nothing and is named."""

import base64
import dataclasses
import subprocess
import time
import typing

import pytest
from api import Api
from dns_server import DnsServer
from harness import ROOT
from story import submit, wait_event
from waiting import PATIENCE, accepts, free_port, host_port, wait_until

ROUTES = "[refused.test]\nmx = {refuser}\n[direct.test]\ndirect = true\n[*]\nmx = {sink}\n"


class World:
    """A relay with a running configuration, and what the new texts of its files are about."""

    def __init__(self, make_relay, make_server, closing, make_hook, authority):
        self.sink, self.other = make_server(), make_server()
        self.refuser = make_server({"RCPT": "550 5.1.1 unknown"})
        self.dns = closing(DnsServer({("direct.test", "MX"): [(0, ".")]}))
        self.hook = make_hook({"queue_outbound": {"code": "DENY", "message": "hooked"}})
        self.authority = authority
        self.relay = make_relay(
            allow=["127.0.0.1/32", "::1/128"],
            resolver="127.0.0.1@9",
            files={
                "routes.ini": ROUTES.format(sink=self.sink.route, refuser=self.refuser.route),
                "admin.ini": "listen = 127.0.0.1:0\n",
            },
        )

    def file(self, name):
        return (self.relay.config / name).read_text()

    def private(self, name, content):
        path = self.relay.config / f".{name}.new"
        path.write_text(content)
        path.chmod(0o600)
        path.rename(self.relay.config / name)

    def last(self):
        """What arrived for a message that was just submitted."""
        count = len(self.sink.messages)
        submit(self.relay, "b@b.test")
        return self.sink.wait_for(count + 1)[-1]

    def offers(self):
        with self.relay.session() as client:
            client.send(b"EHLO again.test\r\n")
            return client.read_reply().text

    # -- one pair for each file: writes the new text, and says whether it is in force

    def me(self):
        self.relay.write("me", "reloaded.test\n")

    def me_holds(self):
        with self.relay.connect() as client:
            return "reloaded.test" in client.expect(220).text

    def smtp(self):
        self.relay.write("smtp.ini", self.file("smtp.ini") + "[limits]\nmessage_bytes = 54321\n")

    def smtp_holds(self):
        return "SIZE 54321" in self.offers()

    def auth(self):
        self.private("auth_flat_file.ini", "[users]\nalice = open sesame\n")

    def auth_holds(self):
        with self.relay.session() as client:
            client.send(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0open sesame") + b"\r\n")
            return client.read_reply().code == 235

    def outbound(self):
        self.relay.write("outbound.ini", self.file("outbound.ini") + "received_header = Reloaded\n")

    def outbound_holds(self):
        return b"(Reloaded)" in self.last().data

    def template(self):
        self.relay.write("outbound.bounce_message", "Reloaded, {to}\n")

    def template_holds(self):
        count = len(self.sink.messages)
        submit(self.relay, "b@refused.test")
        return b"Reloaded, b@refused.test" in self.sink.wait_for(count + 1)[-1].data

    def aliases(self):
        self.relay.write("aliases", "root: ann@b.test\n")

    def aliases_hold(self):
        count = len(self.sink.messages)
        submit(self.relay, "root@localhost")
        return self.sink.wait_for(count + 1)[-1].recipients == ["ann@b.test"]

    def routes(self):
        self.relay.write("routes.ini", f"[*]\nmx = {self.other.route}\n")

    def routes_hold(self):
        submit(self.relay, "b@b.test")
        return self.other.wait_for(1)

    def addresses(self):
        self.relay.write("outbound_ip.ini", "[*]\nip = 127.0.0.9\n")

    def addresses_hold(self):
        return self.last().session.peer[0] == "127.0.0.9"

    def pace(self):
        self.relay.write("limits.ini", "[lane *]\nrate = 7/m\n")

    def pace_holds(self):
        explained = Api(self.relay).ask("GET", "/v1/explain?recipient=a@b.test")[2]
        return [one["value"] for one in explained["limits_in_force"]] == ["7/m"]

    def rewriting(self):
        self.relay.write("rewrite.ini", "[recipients]\n@b.test = @rewritten.test\n")

    def rewriting_holds(self):
        return Api(self.relay).ask("GET", "/v1/explain?recipient=a@b.test")[2]["recipient"] == "a@rewritten.test"

    def archive(self):
        self.relay.write("archive.ini", "[law]\nto = keep@vault.test\n")

    def archive_holds(self):
        count = len(self.sink.messages)
        submit(self.relay, "b@b.test")
        return ["keep@vault.test"] in [one.recipients for one in self.sink.wait_for(count + 2)[count:]]

    def resolver(self):
        self.relay.write("resolver.ini", f"forward = {self.dns.forward}\n")

    def resolver_holds(self):
        return "null MX" in wait_event(self.relay, submit(self.relay, "b@direct.test"), "bounced")["reply"]

    def admin(self):
        self.relay.write("admin.ini", f"listen = 127.0.0.1:0\n[token t]\nhash = sha256:{'0' * 64}\nscopes = all\n")

    def admin_holds(self):
        return Api(self.relay).ask("GET", "/v1/outbound")[0] == 401

    def tls(self):
        chain, key = self.authority.issue("relay.test")
        self.private("other_key.pem", key.read_text())
        self.relay.write("other_cert.pem", chain.read_text())
        self.relay.write("tls.ini", "key = other_key.pem\ncert = other_cert.pem\n")

    def tls_holds(self):
        return "STARTTLS" in self.offers()

    def dkim(self):
        self.relay.write("dkim.ini", "")
        made = subprocess.run(
            [
                self.relay.binary,
                "dkim",
                "generate",
                "report.test",
                "--selector",
                "s1",
                "--type",
                "ed25519",
                "--config",
                str(self.relay.config),
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert made.returncode == 0, made.stderr

    def dkim_holds(self):
        return b"DKIM-Signature:" in self.last().data

    def allow(self):
        self.relay.write("relay_acl_allow", "127.0.0.0/8\n")

    def allow_holds(self):
        return submit(self.relay, "b@b.test", source="127.0.0.5")

    def certificates(self):
        self.relay.write("relay_acl_certs", "00" * 32 + "\n")

    def certificates_hold(self):
        return self.relay.log_lines("configuration looks odd", file="relay_acl_certs")

    def hooks(self):
        self.relay.write("hooks.ini", self.hook.ini())

    def hooks_hold(self):
        with self.relay.session() as client:
            client.mail("a@report.test")
            client.rcpt("b@b.test")
            client.command("DATA", 354)
            return "hooked" in client.command("Subject: x\r\n\r\nx\r\n.").text

    def events(self):
        self.relay.write("events.ini", "tag_header = X-Reloaded\n")

    def events_hold(self):
        """Heard at once, in force at the next start, and said so."""
        return self.relay.wait_log("history changes at the next start")

    def storage(self):
        self.relay.write("storage.ini", "node = another\n")

    def storage_holds(self):
        """Heard at once, in force at the next start, and said so."""
        return self.relay.wait_log("storage changes at the next start")

    def classes(self):
        self.relay.write("bounce_classes.ini", "[ours]\nclass = policy\ncode = 541\n")

    def logins(self):
        self.relay.write("logins.ini", "[ldap a]\nurl = ldap://127.0.0.1:1\nuser_dn = uid=%u\n")

    def milters(self):
        self.relay.write("milters.ini", "[gone]\nsocket = unix:/nowhere\ndefault = accept\n")

    def milters_hold(self):
        """Mail goes on, and the log says what it went on without."""
        submit(self.relay, "b@b.test")
        return self.relay.wait_log("milter gives no verdict", milter="gone")

    def suppressions(self):
        self.relay.write("suppressions.ini", "check = off\n")

    def is_heard(self):
        """That it was read is all that shows here; `test_classes.py` and `test_suppressions.py` see what it does."""
        return self.relay.is_running

    def patience(self):
        self.relay.write("plugin_timeout", "60\n")

    def patience_holds(self):
        """A program may take less than that, and this one takes more than the default."""
        self.relay.write("hooks.ini", self.hook.ini(timeout=50))
        return wait_until(lambda: len(self.relay.log_lines("configuration changed")) >= 2)


@dataclasses.dataclass
class Case:
    broken: str | bytes
    line: int | None
    change: typing.Callable
    holds: typing.Callable


CASES = {
    "me": Case("# ours\nno host name!\n", 2, World.me, World.me_holds),
    "smtp.ini": Case("listen = 127.0.0.1\n", 1, World.smtp, World.smtp_holds),
    "auth_flat_file.ini": Case("[core]\nmethods = HANDSHAKE\n", 2, World.auth, World.auth_holds),
    "outbound.ini": Case("disabled = perhaps\n", 1, World.outbound, World.outbound_holds),
    "outbound.bounce_message": Case(b"one\n\xff\n", 2, World.template, World.template_holds),
    "routes.ini": Case("[*]\nmx = no host!\n", 2, World.routes, World.routes_hold),
    "outbound_ip.ini": Case("[*]\nip = here\n", 2, World.addresses, World.addresses_hold),
    "limits.ini": Case("[lane *]\nrate = soon\n", 2, World.pace, World.pace_holds),
    "rewrite.ini": Case("[senders]\n@a.test = b\n", 2, World.rewriting, World.rewriting_holds),
    "archive.ini": Case("[law]\nto = nobody\n", 2, World.archive, World.archive_holds),
    "resolver.ini": Case("; ours\nforward = nowhere\n", 2, World.resolver, World.resolver_holds),
    "admin.ini": Case("listen = 127.0.0.1:0\nconnections = many\n", 2, World.admin, World.admin_holds),
    "tls.ini": Case("minVersion = TLSv9\n", 1, World.tls, World.tls_holds),
    "dkim.ini": Case("[report.test]\nselectors = No!\n", 2, World.dkim, World.dkim_holds),
    "aliases": Case("root: ann@b.test\nroot: |cat\n", 2, World.aliases, World.aliases_hold),
    "relay_acl_allow": Case("127.0.0.0/8\n10.0.0.\n", 2, World.allow, World.allow_holds),
    "relay_acl_certs": Case("; ours\nzz\n", 2, World.certificates, World.certificates_hold),
    "hooks.ini": Case("[policy]\nhooks = get_mx\n", 1, World.hooks, World.hooks_hold),
    "events.ini": Case("; ours\naddresses = some\n", 2, World.events, World.events_hold),
    "storage.ini": Case("; ours\nqueue = somewhere\n", 2, World.storage, World.storage_holds),
    "bounce_classes.ini": Case("; ours\n[a]\nclass = nonsense\n", 3, World.classes, World.is_heard),
    "suppressions.ini": Case("; ours\ncheck = some\n", 2, World.suppressions, World.is_heard),
    "logins.ini": Case("; ours\n[ldap a]\nurl = ldap://127.0.0.1\n", 2, World.logins, World.is_heard),
    "milters.ini": Case("; ours\n[a]\nsocket = here\n", 3, World.milters, World.milters_hold),
    "plugin_timeout": Case("# seconds\nsoon\n", 2, World.patience, World.patience_holds),
}


def test_the_table_has_every_file():
    assert set(CASES) == {path.name for path in (ROOT / "config").iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_each_file_is_read_again(make_relay, make_server, closing, make_hook, authority, name):
    world, case = World(make_relay, make_server, closing, make_hook, authority), CASES[name]
    relay = world.relay
    before = world.file(name) if (relay.config / name).exists() else None
    with relay.session() as client:
        client.mail("a@report.test")
        client.rcpt("open@b.test")

        relay.write(name, case.broken)
        said = relay.wait_log("configuration is invalid, the last good one stays", file=name)
        assert said["line"] == (None if case.line is None else str(case.line)), said.raw
        world.last()

        if before is None:
            (relay.config / name).unlink()
        else:
            relay.write(name, before)
        began = time.monotonic()
        case.change(world)
        relay.wait_log("configuration changed")
        took = time.monotonic() - began
        assert took < 10 * PATIENCE, f"two seconds are promised, {took:.1f} were taken"
        assert case.holds(world)

        # The transaction that was open all the time ends as it began: nobody was dropped.
        client.command("DATA", 354)
        reply = client.command("Subject: open\r\n\r\nx\r\n.")
        assert reply.code == (550 if name in ("hooks.ini", "plugin_timeout") else 250), reply
    assert relay.is_running


# ------------------------------------------------------------------------------------------------ listen


def listen(relay, *places):
    relay.write("smtp.ini", "listen = " + ", ".join(places) + "\n")


def test_listening_addresses_move_and_sessions_stay(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    old, new = relay.address, ("127.0.0.2", free_port("127.0.0.2"))
    with relay.session() as client:
        client.mail("a@report.test")
        client.rcpt("b@b.test")
        listen(relay, host_port(new))
        relay.wait_log("listening", listen=host_port(new))
        assert accepts(new) and not accepts(old)
        client.command("DATA", 354)
        client.command("Subject: x\r\n\r\nx\r\n.", 250)
    relay.addresses = [new]
    submit(relay, "b@b.test")
    sink.wait_for(2)


def test_an_address_that_one_of_the_old_is_part_of(make_relay, sink):
    relay = make_relay(routes={"*": sink.route})
    port = relay.address[1]
    listen(relay, f"0.0.0.0:{port}")
    relay.wait_log("listening", listen=f"0.0.0.0:{port}")
    assert accepts(("127.0.0.1", port)) and accepts(("127.0.0.3", port))
    submit(relay, "b@b.test")
    sink.wait_for(1)


def test_an_address_that_cannot_be_had_changes_nothing(make_relay, sink):
    """`sink` sits there already."""
    relay = make_relay(routes={"*": sink.route})
    old, free = relay.address, ("127.0.0.2", free_port("127.0.0.2"))
    listen(relay, host_port(sink.address), host_port(free))
    line = relay.wait_log("cannot listen, the old addresses stay")
    assert line["listen"] == host_port(sink.address) and "in use" in line["reason"], line.raw
    relay.wait_log("configuration changed")
    assert accepts(old)
    listen(relay, host_port(free))
    relay.wait_log("listening", listen=host_port(free))
    assert accepts(free) and not accepts(old)
