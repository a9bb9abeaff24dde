"""test_login_directory.py - a directory says who may log in: slapd from Debian."""

import os
import shutil
import socket
import subprocess

import pytest
from test_logins import login
from waiting import wait_until

SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
ROOT_DN = "cn=admin,dc=a,dc=test"
CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
argsfile {place}/args
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{root}" read by anonymous auth by * none
database mdb
suffix "dc=a,dc=test"
rootdn "{root}"
rootpw admin
directory {place}/db
"""
ENTRIES = """dn: dc=a,dc=test
objectClass: dcObject
objectClass: organization
o: a
dc: a

dn: uid=alice,dc=a,dc=test
objectClass: inetOrgPerson
cn: Alice
sn: A
mail: alice@a.test
userPassword: open sesame

dn: uid=twin,dc=a,dc=test
objectClass: inetOrgPerson
cn: Twin
sn: T
mail: twin@a.test
mail: other@a.test
userPassword: open sesame

dn: uid=twin2,dc=a,dc=test
objectClass: inetOrgPerson
cn: Twin
sn: T
mail: twin@a.test
userPassword: open sesame
"""


@pytest.fixture
def slapd(tmp_path):
    yield from running(tmp_path)


@pytest.fixture
def slapd_with_tls(tmp_path, authority):
    """Its certificate is for 127.0.0.1; passwords are taken behind TLS alone."""
    chain, key = authority.issue("127.0.0.1")
    yield from running(tmp_path, f"TLSCertificateFile {chain}\nTLSCertificateKeyFile {key}\nsecurity simple_bind=112\n")


def running(tmp_path, tls=""):
    if not os.path.exists(SLAPD):
        pytest.skip("slapd is not installed")
    (tmp_path / "db").mkdir()
    conf = tmp_path / "slapd.conf"
    conf.write_text(tls + CONF.format(place=tmp_path, root=ROOT_DN))
    added = subprocess.run(["slapadd", "-f", conf], input=ENTRIES, text=True, capture_output=True)
    if added.returncode and shutil.which("slapadd", path="/usr/sbin"):
        added = subprocess.run(["/usr/sbin/slapadd", "-f", conf], input=ENTRIES, text=True, capture_output=True)
    assert added.returncode == 0, added.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"ldap://127.0.0.1:{port}"
    process = subprocess.Popen([SLAPD, "-f", conf, "-h", url, "-d", "0"], stderr=subprocess.PIPE)

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, what="slapd to listen")
    yield url, process
    process.kill()
    process.wait()


SEARCH = (
    "[ldap a]\nurl = {url}\nbase = dc=a,dc=test\nfilter = (mail=%u)\nbind_dn = "
    + ROOT_DN
    + "\nbind_password = {secret}\n"
)
OWN = "[core]\nmax_delay = 1s\n"


def make(make_api, sink, logins):
    before = os.umask(0o077)
    try:
        files = {"logins.ini": logins, "auth_flat_file.ini": OWN}
        return make_api(routes={"*": sink.address}, allow=[], files=files)
    finally:
        os.umask(before)


def test_who_can_bind_may_log_in(make_api, sink, slapd):
    url, _ = slapd
    relay, _ = make(make_api, sink, SEARCH.format(url=url, secret="admin"))
    assert login(relay, "alice@a.test", "open sesame") == (235, 250)
    assert login(relay, "alice@a.test", "wrong")[0] == 535
    for name in ("*", "alice@a.test)(uid=*", "nobody@a.test", "twin@a.test"):
        assert login(relay, name, "open sesame")[0] == 535, name
    assert "more than one entry fits" in relay.log_path.read_text()
    (relay.config / "logins.ini").write_text(f"[ldap a]\nurl = {url}\nuser_dn = uid=%l,dc=a,dc=test\n")
    wait_until(
        lambda: login(relay, "alice@elsewhere.test", "open sesame")[0] == 235, what="the template to be in force"
    )
    assert login(relay, "twin,dc=a,dc=test@a.test", "open sesame")[0] == 535


def test_trouble_is_454(make_api, sink, slapd):
    url, process = slapd
    relay, _ = make(make_api, sink, SEARCH.format(url=url, secret="another"))
    assert login(relay, "alice@a.test", "open sesame")[0] == 454, "the searcher's password is ours to mend"
    (relay.config / "logins.ini").write_text(SEARCH.format(url=url, secret="admin") + "starttls = yes\n")
    wait_until(
        lambda: "Protocol error" in relay.log_path.read_text() or login(relay, "x@a.test", "y")[0] == 0, what="no TLS"
    )
    process.kill()
    process.wait()
    assert login(relay, "alice@a.test", "open sesame")[0] == 454
    assert "open sesame" not in relay.log_path.read_text()


def test_the_password_goes_behind_starttls_to_whom_the_authority_vouches_for(
    make_api, sink, slapd_with_tls, authority, tmp_path
):
    url, _ = slapd_with_tls
    trusted = f"starttls = yes\nca_file = {authority.certificate}\n"
    relay, _ = make(make_api, sink, SEARCH.format(url=url, secret="admin") + trusted)
    assert login(relay, "alice@a.test", "open sesame") == (235, 250)
    assert login(relay, "alice@a.test", "wrong")[0] == 535
    text = SEARCH.format(url=url, secret="admin")
    # In the clear the directory takes no password; it does not get one where its certificate is a stranger's, or for another name.
    other = url.replace("127.0.0.1", "localhost")
    for lines in (text, text + "starttls = yes\n", text.replace(url, other) + trusted):
        (relay.config / "logins.ini").write_text(lines)
        wait_until(lambda: login(relay, "alice@a.test", "open sesame")[0] == 454, what="no login")
    (relay.config / "logins.ini").write_text(text + trusted)
    wait_until(lambda: login(relay, "alice@a.test", "open sesame")[0] == 235, what="the breaker to close")
