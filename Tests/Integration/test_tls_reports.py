"""test_tls_reports.py - sessions of a running relay are counted for their domains, and a report goes out although TLS is broken."""

import base64
import gzip
import json
import re
import subprocess
import time

import pytest
from api import Api
from dns_server import DnsServer
from peers import loopback_address, need_root
from smtp_client import send_mail
from tls_peers import Authority, TLSPeer
from waiting import wait_until

MAIL = b"From: a@a.test\r\nSubject: report\r\n\r\nhello\r\n"
CONTACT = {
    "enable_tls": True,
    "local_mx_ok": True,
    "tls_timeout": 2,
    "tls_fallback_after": 0,
    "tls_report_contact": "tls@relay.test",
    "tls_report_organization": "Relay & sons",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def peers(closing, authority):
    """`peers({domain: how})`: a DNS server whose domains lead to a peer each, and the peers by their domains."""
    need_root()

    def make(ways):
        found, zone = {}, {}
        for domain, how in ways.items():
            address = loopback_address()
            found[domain] = closing(TLSPeer(authority.issue(f"mx.{domain}"), how=how, host=address, port=25))
            zone |= {(domain, "MX"): [(10, f"mx.{domain}")], (f"mx.{domain}", "A"): [address]}
        return found, closing(DnsServer(zone))

    return make


def results(api, domain):
    status, _, answer = api.ask("GET", f"/v1/tls-reports?domain={domain}")
    assert status == 200
    return [policy for item in answer["items"] for policy in item["policies"]]


def test_sessions_are_counted_for_their_domains(make_api, peers):
    _, dns = peers({"good.test": "starttls", "bare.test": "none", "broken.test": "drop"})
    relay, api = make_api(outbound=CONTACT, resolver=dns)
    for domain in ("good.test", "bare.test", "broken.test"):
        send_mail(relay, "a@a.test", [f"b@{domain}"], MAIL)
    wait_until(lambda: len(relay.log_lines("delivered")) == 3, what="all mail to arrive")
    good = results(api, "good.test")
    assert [one["policy"]["policy-type"] for one in good] == ["no-policy-found"]
    assert good[0]["policy"]["policy-domain"] == "good.test"
    assert good[0]["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 0}
    assert [one["result-type"] for one in results(api, "bare.test")[0]["failure-details"]] == ["starttls-not-supported"]
    broken = results(api, "broken.test")[0]["failure-details"]
    assert {one["result-type"] for one in broken} == {"validation-failure"}
    assert broken[0]["receiving-mx-hostname"] == "mx.broken.test" and broken[0]["failure-reason-code"]
    assert results(api, "other.test") == []
    assert api.ask("GET", "/v1/tls-reports?domain=a%20b")[0] == 422
    shown = subprocess.run(
        [relay.binary, "tls-reports", "--data", str(relay.data)], capture_output=True, text=True, timeout=60
    )
    assert "good.test" in shown.stdout and "starttls-not-supported" in shown.stdout
    before = api.ask("GET", "/v1/tls-reports")[2]["items"]
    relay.stop()
    relay.start()
    assert Api(relay).ask("GET", "/v1/tls-reports")[2]["items"] == before


def test_nothing_is_counted_without_a_contact(make_api, peers):
    _, dns = peers({"good.test": "starttls"})
    relay, api = make_api(outbound={**CONTACT, "tls_report_contact": ""}, resolver=dns)
    send_mail(relay, "a@a.test", ["b@good.test"], MAIL)
    relay.wait_log("delivered")
    answer = api.ask("GET", "/v1/tls-reports")[2]
    assert answer["contact"] is None and answer["items"] == []


def test_a_report_arrives_although_tls_is_broken(make_api, peers):
    """Its address stands in the DNS of the domain; the peer that takes it has no TLS, and what it is told of is its own."""
    found, dns = peers({"b.test": "garbage"})
    dns.records[("_smtp._tls.b.test", "TXT")] = ["v=TLSRPTv1; rua=mailto:tls@b.test"]
    relay, api = make_api(outbound=CONTACT, resolver=dns)
    relay.stop()
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86400))
    policy = {
        "policy": {"policy-type": "sts", "policy-string": ["version: STSv1"], "policy-domain": "b.test"},
        "summary": {"total-successful-session-count": 7, "total-failure-session-count": 2},
        "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2}],
    }
    (relay.data / "tls-results.json").write_text(json.dumps([{"day": day, "domain": "b.test", "policies": [policy]}]))
    relay.start()
    mail = found["b.test"].wait_for(1)[0]
    content = mail["data"] if isinstance(mail["data"], str) else mail["data"].decode()
    for line in ("TLS-Report-Domain: b.test", "TLS-Required: No", 'From: "Relay & sons" <tls@relay.test>'):
        assert line in content, content
    packed = re.search(r"application/tlsrpt\+gzip\r?\n(?:.+\r?\n)*\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)", content).group(1)
    report = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert report["policies"] == [policy] and report["organization-name"] == "Relay & sons"
    assert report["date-range"]["start-datetime"] == f"{day}T00:00:00Z"
    api = Api(relay)
    told = wait_until(lambda: api.ask("GET", "/v1/tls-reports")[2]["sent"], what="the report to be told")
    assert told[0]["target"] == "mailto:tls@b.test" and told[0]["trouble"] is None
    # Its own sessions are none of its figures.
    relay.wait_log("delivered")
    assert results(api, "b.test") == []
