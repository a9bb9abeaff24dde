"""peers.py - real mail and name servers as peers, each with private configuration and data, on loopback.

A program that is not installed makes the test a reported skip.
"""

import email
import email.policy
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from waiting import Program, accepts, find_program, free_port, wait_listening, wait_until


def run(*command, timeout=60, **how):
    return subprocess.run([str(c) for c in command], capture_output=True, timeout=timeout, text=True, **how)


def report_of(data):
    """A bounce, parsed; `(message, human text, {per-message}, [{per-recipient}], original part)`."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report", message.get_content_type()
    assert message.get_param("report-type") == "delivery-status"
    parts = list(message.iter_parts())
    assert len(parts) in (2, 3), [p.get_content_type() for p in parts]
    assert parts[0].get_content_type() == "text/plain"
    assert parts[1].get_content_type() == "message/delivery-status"
    groups = [{k.lower(): v for k, v in group.items()} for group in parts[1].get_payload() if group.items()]
    return message, parts[0].get_content(), groups[0], groups[1:], parts[2] if len(parts) == 3 else None


def need(*names):
    """Path of a program, or a skip that names it."""
    path = find_program(*names)
    if path is None:
        pytest.skip(f"{names[0]} is not installed")
    return path


def need_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


def public_directory(word):
    """A directory that daemons with users of their own can reach."""
    directory = Path(tempfile.mkdtemp(prefix=f"martlet-{word}-", dir="/tmp"))
    directory.chmod(0o755)
    return directory


def loopback_address():
    """One of the sixteen million addresses of this machine, for servers that must have port 25 or 53."""
    return f"127.{random.randrange(64, 120)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"


class Postfix:
    """A private Postfix. Mail for `local` goes to `maildir`; everything else to `next_hop` (ip, port)."""

    MASTER = """{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

    def __init__(self, next_hop=None, local="local.test", extra=""):
        need_root()
        self.command = need("postfix")
        self.directory = public_directory("postfix")
        self.port = free_port()
        self.log = self.directory / "log" / "mail.log"
        conf, spool, data, mail = (self.directory / name for name in ("conf", "spool", "data", "mail"))
        for folder in (conf, spool, data, mail, self.log.parent):
            folder.mkdir()
        shutil.chown(data, "postfix")
        shutil.chown(mail, "nobody", "nogroup")
        nobody, nogroup = mail.stat().st_uid, mail.stat().st_gid
        self.maildir = mail / "box"
        (conf / "recipients").write_text("/^box/ box/\n")
        (conf / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = {f"[{next_hop[0]}]:{next_hop[1]}" if next_hop else ""}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
disable_dns_lookups = yes
default_transport = smtp
virtual_mailbox_domains = {local}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = regexp:{conf}/recipients
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nogroup}
virtual_alias_maps =
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {self.log}
maillog_file_prefixes = {self.directory}
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
{extra}
""")
        (conf / "master.cf").write_text(self.MASTER.format(listen=f"127.0.0.1:{self.port}"))
        self.conf = conf
        ran = subprocess.run([self.command, "-c", str(conf), "start"], capture_output=True, text=True)
        try:
            wait_listening(
                self.address, 20, f"postfix ({ran.stderr}{self.log.read_text() if self.log.exists() else ''})"
            )
        except AssertionError:
            self.close()
            raise

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def mails(self):
        """Delivered files of the mailbox, as octets with LF line ends."""
        return [path.read_bytes() for path in sorted((self.maildir / "new").glob("*"))] if self.maildir.exists() else []

    def close(self):
        subprocess.run([self.command, "-c", str(self.conf), "stop"], capture_output=True)
        wait_until(lambda: not accepts(self.address), 10, "the end of postfix")
        shutil.rmtree(self.directory, ignore_errors=True)


class Dovecot:
    """A private Dovecot that serves LMTP over TCP and a Unix socket, with a mailbox for any name."""

    def __init__(self):
        need_root()
        if not os.path.exists("/usr/lib/dovecot/lmtp"):
            pytest.skip("dovecot-lmtpd is not installed")
        self.directory = public_directory("dovecot")
        self.port, self.socket = free_port(), self.directory / "lmtp.sock"
        mail = self.directory / "mail"
        mail.mkdir()
        shutil.chown(mail, "nobody", "nogroup")
        uid, gid = mail.stat().st_uid, mail.stat().st_gid
        conf = self.directory / "dovecot.conf"
        conf.write_text(f"""base_dir = {self.directory}/run
instance_name = {self.directory.name}
protocols = lmtp
listen = 127.0.0.1
log_path = {self.directory}/log
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:{mail}/%n
postmaster_address = postmaster@dovecot.test
lmtp_save_to_detail_mailbox = no
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
service stats {{
  client_limit = 100
}}
plugin {{
  quota = maildir:box
}}
""")
        self.process = Program([need("dovecot"), "-F", "-c", str(conf)], self.directory / "out")
        self.mail = mail
        try:
            wait_listening(self.address, 15, "dovecot LMTP")
        except AssertionError:
            text = "".join(
                p.read_text(errors="replace") for p in (self.directory / "out", self.directory / "log") if p.exists()
            )
            self.close()
            raise AssertionError(f"dovecot did not start: {text}") from None

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def mails(self, user):
        return [path.read_bytes() for path in sorted((self.mail / user / "new").glob("*"))]

    def close(self):
        self.process.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class NameServer:
    """A name server of Debian's on a port of loopback, configured by a subclass."""

    def __init__(self, name, configuration):
        self.configuration = self.directory / f"{name}.conf"
        self.configuration.write_text(configuration)
        self.process = Program([need(name), "-d", "-c", str(self.configuration)], self.directory / "log")
        try:
            wait_listening(("127.0.0.1", self.port), 10, name)
        except AssertionError:
            self.close()
            raise

    def place(self, name):
        need(name)
        self.directory = public_directory(name)
        self.port = free_port()

    @property
    def forward(self):
        return f"127.0.0.1@{self.port}"

    def close(self):
        self.process.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Nsd(NameServer):
    """A real authoritative name server for zones, given as the text of master files; `sign` may change the files."""

    def __init__(self, zones, sign=lambda server: {}):
        self.place("nsd")
        for zone, text in zones.items():
            (self.directory / zone).write_text(
                f"$ORIGIN {zone}.\n$TTL 2\n@ SOA ns.{zone}. host.{zone}. 1 60 60 60 1\n@ NS ns\nns A 127.0.0.1\n{text}"
            )
        files = {zone: zone for zone in zones} | sign(self)
        super().__init__(
            "nsd",
            f"""server:
  ip-address: 127.0.0.1@{self.port}
  username: ""
  chroot: ""
  zonesdir: "{self.directory}"
  pidfile: "{self.directory}/pid"
  xfrdfile: "{self.directory}/xfrd"
  zonelistfile: "{self.directory}/zonelist"
  xfrdir: "{self.directory}"
  database: ""
  server-count: 1
remote-control:
  control-enable: no
"""
            + "".join(f"zone:\n  name: {zone}\n  zonefile: {file}\n" for zone, file in files.items()),
        )


class Unbound(NameServer):
    """A real recursive resolver in front of authoritative servers: `{zone: address}`; `more` are further lines of `server:`."""

    def __init__(self, zones, more=""):
        self.place("unbound")
        stubs = "".join(f"stub-zone:\n  name: {zone}\n  stub-addr: {address}\n" for zone, address in zones.items())
        super().__init__(
            "unbound",
            f"""server:
  interface: 127.0.0.1
  port: {self.port}
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  local-zone: "test." nodefault
  num-threads: 1
  {more}
{stubs}remote-control:
  control-enable: no
""",
        )


class SmtpSink:
    """Postfix's smtp-sink; each transaction becomes a file of `mails()`."""

    def __init__(self, *options):
        program = need("smtp-sink")
        self.directory = public_directory("sink")
        self.port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        (self.directory / "mail").mkdir(mode=0o777)
        (self.directory / "mail").chmod(0o777)
        self.process = Program(
            [program, *user, "-R", str(self.directory), "-d", "mail/%M.", *options, f"127.0.0.1:{self.port}", "1000"],
            self.directory / "log",
            cwd=self.directory,
        )
        try:
            wait_listening(self.address, 10, "smtp-sink")
        except AssertionError:
            self.close()
            raise

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def mails(self):
        return [path.read_bytes() for path in (self.directory / "mail").iterdir() if path.stat().st_size]

    def close(self):
        self.process.close()
        shutil.rmtree(self.directory, ignore_errors=True)
