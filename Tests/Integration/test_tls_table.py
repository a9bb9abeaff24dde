"""test_tls_table.py - Tests/Tables/tls_policy.table against real peers: every row that a wire can show.

The same rows are run as values by TLSPolicyTests. Here each meets four hosts of a DNSSEC-signed zone: one with a certificate
that an authority and a TLSA record vouch for, one that nobody vouches for, one whose STARTTLS is stripped, and one whose
TLS is broken. What is seen is whether the mail arrived, and how well protected.
"""

import smtplib
import ssl
from pathlib import Path

from harness import ROOT
from peers import loopback_address, need_root
from smtp_client import send_mail
from test_dane import SignedZone
from tls_peers import Authority, TLSPeer, WebServer, digest, json_answer
from waiting import PATIENCE, wait_until

MAIL = b"From: a@a.test\r\nSubject: row\r\n\r\nhello\r\n"
HOSTS = {"good": "starttls", "bad": "starttls", "none": "none", "garbage": "garbage"}
COLUMNS = "route on demand implicit login dane sts broken socket decision because".split()
BOGUS = "ca" * 32


def table():
    lines = (
        line.split("#")[0].split() for line in Path(ROOT, "Tests/Tables/tls_policy.table").read_text().splitlines()
    )
    rows = [dict(zip(COLUMNS, line)) for line in lines if line]
    assert rows[0] == dict(zip(COLUMNS, COLUMNS))
    return [Row(number, cells) for number, cells in enumerate(rows[1:], 1)]


class Row:
    def __init__(self, number, cells):
        self.number, self.cells = number, cells
        self.is_implicit = cells["implicit"] == "yes"
        self.by_mx = cells["sts"] != "absent"
        self.hosts = [host for host in HOSTS if not (self.is_implicit and host == "garbage")]

    def __str__(self):
        return f"row {self.number}: " + " ".join(self.cells.values())

    def can_be_met(self):
        """MTA-STS is for mail by MX records, which no route has a word on; TLS that nobody demands breaks without TLSA; a
        route that contradicts itself does not get past `martlet check`; a Unix socket is no place for these peers, and none of them refuses mail in the clear."""
        if (
            self.cells["socket"] == "yes"
            or self.cells["broken"] == "clear"
            or (self.is_implicit and self.cells["route"] == "off")
        ):
            return False
        if self.by_mx and (self.cells["route"] != "-" or self.cells["login"] == "yes"):
            return False
        return not (self.cells["broken"] == "yes" and (self.is_implicit or self.cells["dane"] != "absent"))

    def name(self, host):
        return f"r{self.number}{host}.signed.test"

    def domain(self, host):
        """Whom the mail is for: a domain with MX records, or one that a route names."""
        return f"s{self.number}{host}.signed.test" if self.by_mx else f"s{self.number}{host}.test"

    def expected(self, host):
        level = self.cells["decision"].rstrip("+")
        may_fall_back = self.cells["decision"].endswith("+")
        if level == "refuse":
            return "waits"
        if level == "off":
            return "clear"
        if host == "good":
            return {"verify": "verified", "dane": "dane"}.get(level, "unverified")
        if host == "bad":
            return "unverified" if level in ("may", "require") else "waits"
        if host == "none":
            return "clear" if level == "may" else "waits"
        return "clear" if may_fall_back else "waits"


class World:
    """Peers, zone, policies and hook for all the rows."""

    def __init__(self, rows, authority, closing):
        self.rows, self.authority, self.closing = rows, authority, closing
        other = Authority(authority.directory / "other", "an authority that nobody knows")
        good = authority.issue("*.signed.test")
        self.pairs = {"good": good, "bad": other.issue("*.signed.test"), "none": good, "garbage": good}
        shared = {
            (host, implicit): self.peer(host, "implicit" if implicit and how == "starttls" else how)
            for host, how in HOSTS.items()
            for implicit in (False, True)
        }
        self.peers = {}
        for row in rows:
            for host in row.hosts:
                own = row.cells["broken"] == "yes"
                self.peers[row.number, host] = self.peer(host, "garbage") if own else shared[host, row.is_implicit]
        names = [f"mta-sts.{row.domain(host)}" for row in rows if row.by_mx for host in row.hosts]
        pair = authority.issue(*names)
        self.webs = {}
        for verdict, pattern in (("match", "*.signed.test"), ("mismatch", "*.other.test")):
            text = f"version: STSv1\r\nmode: enforce\r\nmx: {pattern}\r\nmax_age: 86400\r\n".encode()
            answer = lambda path, body, text=text: (200, {"Content-Type": "text/plain"}, text)
            self.webs[verdict] = closing(WebServer(answer, pair, loopback_address(), 443))
        self.hook = closing(
            WebServer(
                lambda path, body: json_answer(200, {"code": "CONT", "notes": {"force_tls": "force@a.test" in body}})
            )
        )
        self.zone = closing(SignedZone("".join(self.records()), edit=lambda text: text.replace(BOGUS, "fe" * 32)))

    def peer(self, host, how):
        return self.closing(
            TLSPeer(
                self.pairs[host],
                how=how,
                host=loopback_address(),
                port=25,
                users={"u": "p"},
                clear=True,
                keywords=("REQUIRETLS",),
            )
        )

    def records(self):
        tlsa = {
            "usable": f"3 1 1 {digest(self.pairs['good'][0])}",
            "unusable": f"1 1 1 {'ab' * 32}",
            "failed": f"3 1 1 {BOGUS}",
        }
        for row in self.rows:
            for host in row.hosts:
                name, domain = (text.removesuffix(".signed.test") for text in (row.name(host), row.domain(host)))
                yield f"{name} A {self.peers[row.number, host].address[0]}\n"
                if row.cells["dane"] in tlsa:
                    yield f"_25._tcp.{name} TLSA {tlsa[row.cells['dane']]}\n"
                if row.by_mx:
                    web = self.webs[row.cells["sts"]].address[0]
                    yield f'{domain} MX 10 {name}\n_mta-sts.{domain} TXT "v=STSv1; id=1;"\nmta-sts.{domain} A {web}\n'

    def routes(self):
        routes = {}
        for row in self.rows:
            for host in row.hosts:
                mx = {"mx": f"{row.name(host)}:25"}
                if row.cells["broken"] == "yes":
                    routes[f"warm{row.number}{host}.test"] = {**mx, "tls": "may"}
                if row.by_mx:
                    continue
                route = routes[row.domain(host)] = mx
                if row.cells["route"] != "-":
                    route["tls"] = row.cells["route"]
                if row.is_implicit:
                    route["implicit_tls"] = True
                if row.cells["login"] == "yes":
                    route.update(auth_user="u", auth_pass="p")
        return routes

    def relay(self, make_relay, is_enabled):
        chain, key = self.authority.issue("relay.test")
        return make_relay(
            routes=self.routes(),
            outbound={
                "enable_tls": is_enabled,
                "local_mx_ok": True,
                "tls_timeout": 5,
                "tls_fallback_after": 1,
                "tls_ca_file": self.authority.certificate,
            },
            files={
                "resolver.ini": f"forward = 127.0.0.1@{self.zone.port}\ntrust_anchor_file = {self.zone.anchor}\n",
                "hooks.ini": f"[force]\nurl = http://127.0.0.1:{self.hook.address[1]}/\nhooks = queue_outbound\n",
                "tls_key.pem": key.read_bytes(),
                "tls_cert.pem": chain.read_bytes(),
            },
        )


def submit(relay, row):
    """By the message itself: `require` is what the hook sets, `verify` is REQUIRETLS."""
    recipients = [f"b@{row.domain(host)}" for host in row.hosts]
    if row.cells["demand"] == "verify":
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP(*relay.address, timeout=15 * PATIENCE) as client:
            client.starttls(context=anybody)
            client.sendmail("a@a.test", recipients, MAIL, mail_options=["REQUIRETLS"])
    else:
        send_mail(relay, "force@a.test" if row.cells["demand"] == "require" else "a@a.test", recipients, MAIL)


def test_every_row_against_real_hosts(make_relay, closing, tmp_path, check):
    need_root()
    rows = [row for row in table() if row.can_be_met()]
    assert len(rows) > 40
    world = World(rows, Authority(tmp_path / "authority"), closing)
    relays = {word: world.relay(make_relay, word == "yes") for word in ("yes", "no")}

    def seen(relay, recipient):
        """How the first attempt for a recipient ended."""
        for line in relay.log:
            if line["to"] == recipient and line.message in ("delivered", "delivery deferred", "bounced"):
                return ((line["tls"] or "clear").split()[-1] if line.message == "delivered" else "waits"), line.raw

    # TLS that breaks, where it was a wish: remembered from here on.
    broken = [row for row in rows if row.cells["broken"] == "yes"]
    for row in broken:
        send_mail(relays[row.cells["on"]], "a@a.test", [f"b@warm{row.number}{host}.test" for host in row.hosts], MAIL)
    for row in broken:
        for host in row.hosts:
            recipient = f"b@warm{row.number}{host}.test"
            wait_until(lambda: seen(relays[row.cells["on"]], recipient), 30, f"{recipient} of {row}")
            world.peers[row.number, host].how = HOSTS[host]
    for row in rows:
        submit(relays[row.cells["on"]], row)
    for row in rows:
        for host in row.hosts:
            recipient = f"b@{row.domain(host)}"
            got, line = wait_until(lambda: seen(relays[row.cells["on"]], recipient), 30, f"{recipient} of {row}")
            check.equal(got, row.expected(host), f"{row}, host {host}: {line}")
    # What arrived in the clear is where the table has it, by the word of the hosts themselves.
    clear = {mail["rcpt"][0] for peer in set(world.peers.values()) for mail in peer.mails if not mail["tls"]}
    for row in rows:
        for host in row.hosts:
            is_clear = any(row.domain(host) in recipient for recipient in clear)
            check.equal(is_clear, row.expected(host) == "clear", f"{row}, host {host}: in the clear")
