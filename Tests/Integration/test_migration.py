"""test_migration.py - a configuration directory that was written for Haraka loads; what is not understood is named."""

import pytest
from smtp_client import send_mail

# Written by hand from Haraka's documentation: old and later names side by side.
HARAKA = {
    "me": "relay.test\n",
    "outbound.ini": """; Haraka outbound
disabled=false
concurrency_max=40
enable_tls=false
maxTempFailures=5
temp_fail_intervals=10s, 1m*2, 1h
always_split=true
received_header=Haraka outbound
connect_timeout=12
local_mx_ok=false
inet_prefer=default
ipv6_enabled=1
pool_timeout=20
pool_concurrency_max=7
pool_waiting_queue_max=20
""",
    "outbound.bounce_message": """Received: (Haraka {pid} invoked for bounce); {date}
Date: {date}
From: MAILER-DAEMON@{me}
To: {from}
Subject: failure notice
Message-Id: {msgid}

I'm afraid I wasn't able to deliver your message "{subject}" to {recipients}.

{reason}

{extended_reason}
{explanation}
""",
    "smtp.ini": """; address to listen on (default: all IPv6 and IPv4 addresses, port 25)
listen=LISTEN
; Time in seconds to let sockets be idle with no activity
;inactivity_timeout=300
nodes=0
daemonize=false
graceful_shutdown=true
""",
    "relay_acl_allow": "127.0.0.0/8\n::1/128\n",
    "auth_flat_file.ini": "[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n\n[users]\nuser1=password1\n",
    "tls.ini": """key=tls_key.pem
cert=tls_cert.pem
requestCert=false
honorCipherOrder=true
minVersion=TLSv1.2
[outbound]
key=outbound_key.pem
cert=outbound_cert.pem
minVersion=TLSv1.2
rejectUnauthorized=false
no_tls_hosts[]=old.test
[redis]
disable_for_failed_hosts=true
[no_tls_hosts]
192.0.2.7
""",
    "plugin_timeout": "30\n",
    "plugins": "process_title\nauth/flat_file\nrelay\n",
    "log.ini": "[main]\nlevel=INFO\n",
    "loglevel": "INFO\n",
    "host_list": "relay.test\n",
    "outbound.concurrency_max": "100\n",
    "rcpt_to.routes.ini": "example.com=10.0.0.5:25\n",
    "queue_dir": "/var/spool/haraka\n",
    "databytes": "500000\n",
}


def haraka(relay):
    for name, text in HARAKA.items():
        relay.write(name, text.replace("LISTEN", f"{relay.listen[0][0]}:{relay.listen[0][1]}"))
    (relay.config / "auth_flat_file.ini").chmod(0o600)


def test_a_haraka_directory_loads_and_delivers(make_relay, sink):
    relay = make_relay(started=False, routes={"*": sink.route})
    haraka(relay)
    said = relay.run("check")
    assert said.returncode == 0 and "configuration is valid" in said.stdout, said.stdout
    # Nothing is ignored in silence: keys without an effect are named with their line, or with the key that is meant.
    for words in (
        "smtp.ini:5: warning: unknown key nodes",
        "smtp.ini:6: warning: unknown key daemonize",
        "outbound.ini:14: warning: pool_concurrency_max",
        "outbound.ini:15: warning: pool_waiting_queue_max",
        "tls.ini:7: warning: unknown key [outbound] key",
        "tls.ini:11: warning: unknown key [outbound] no_tls_hosts[], which is Haraka's: write tls = off",
        "tls.ini:15: warning: [no_tls_hosts] lists clients",
        "outbound.bounce_message:13: warning: {explanation} is no field",
        "databytes: warning: is not read; write message_bytes = 500000 below [limits]",
        "plugins: warning: is not read",
        "loglevel: warning: is not read",
        "queue_dir: warning: is not read",
        "outbound.concurrency_max: warning: is not read; write concurrency_max in outbound.ini",
        "rcpt_to.routes.ini: warning: is not read; write sections in routes.ini",
    ):
        assert words in said.stdout, said.stdout
    # The end is what it all comes to.
    assert [line.split(":")[0] for line in said.stdout.splitlines()[-3:]] == [
        "Who may relay",
        "How mail leaves",
        "What TLS does",
    ], said.stdout
    relay.start()
    send_mail(relay, "a@a.test", ["one@b.test", "two@b.test"], b"Subject: x\r\n\r\nx\r\n")
    messages = sink.wait_for(2)  # always_split
    assert all(b"(Haraka outbound)" in message.data for message in messages)


def test_what_protected_stops_the_start_and_hides_no_warning(make_relay, sink):
    relay = make_relay(started=False, routes={"*": sink.route})
    haraka(relay)
    relay.write("tls.ini", "[outbound]\nforce_tls_hosts[]=bank.test\n")
    said = relay.run("check")
    assert said.returncode == 1 and "tls.ini:2: force_tls_hosts[]: mail to bank.test had to go over TLS" in said.stdout
    assert "smtp.ini:5: warning: unknown key nodes" in said.stdout
    relay.start(wait=False)
    assert relay.process.wait(20) == 1 and "write tls = require" in relay.log_path.read_text()
    relay.process = None
    relay.write("tls.ini", "")
    assert relay.run("check").returncode == 0
    strict = relay.run("check", "--strict")
    assert strict.returncode == 1 and "--strict takes no warnings" in strict.stdout


def test_later_names_mean_what_they_say(make_relay, sink):
    relay = make_relay(started=False, routes={"*": sink.route})
    haraka(relay)
    shown = relay.run("check").stdout
    assert "pool_concurrency_max" in shown and "concurrency_per_lane" in shown
    assert "has no effect" in next(line for line in shown.splitlines() if "pool_waiting_queue_max" in line)


@pytest.mark.parametrize(
    "file, text, line, hint",
    [
        ("smtp.ini", "listen = 127.0.0.1:0\nsmtps_listn = [::1]:0\n", 2, "did you mean smtps_listen"),
        ("smtp.ini", "[limits]\nrecipents = 5\n", 2, "did you mean"),
        ("outbound.ini", "concurency_max = 5\n", 1, "did you mean concurrency_max"),
        ("outbound.ini", "maxTempFailure = 5\n", 1, "did you mean maxTempFailures"),
        ("routes.ini", "[*]\nmx = h.test\nauth_usr = u\n", 3, "did you mean auth_user"),
        ("routes.ini", "[*]\nmx = h.test prioritty=3\n", 2, "did you mean priority"),
        ("outbound_ip.ini", "[*]\nip = 127.0.0.2\nhelu = x.test\n", 3, "did you mean helo"),
        ("resolver.ini", "forwards = 127.0.0.1\n", 1, "did you mean forward"),
        ("admin.ini", "requir_token = true\n", 1, "did you mean require_token"),
        ("admin.ini", "[token t]\nhash = sha256:" + "0" * 64 + "\nscope = all\n", 1, "did you mean scopes"),
        ("auth_flat_file.ini", "[core]\nmethod = PLAIN\n", 2, "did you mean"),
        ("tls.ini", "minVersio = TLSv1.3\n", 1, "did you mean minVersion"),
        ("tls.ini", "[mail.test]\nkeys = a\n", 2, "did you mean"),
        ("dkim.ini", "header = From\n", 1, "did you mean headers"),
        ("dkim.ini", "[a.test]\nselectrs = s\n", 2, "a domain has selectors"),
        ("hooks.ini", "plugin = greylist_patience\n", 1, "there is only plugins"),
        ("hooks.ini", "[p]\nurl = http://127.0.0.1:1/\nhooks = get_mx\ntimout = 3\n", 4, "did you mean timeout"),
    ],
)
def test_unknown_keys_get_a_hint(make_relay, file, text, line, hint):
    relay = make_relay(started=False)
    relay.write(file, text)
    (relay.config / file).chmod(0o600)
    said = relay.run("check").stdout
    assert any(f"{file}:{line}: " in one and hint in one for one in said.splitlines()), said
