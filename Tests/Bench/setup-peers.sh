#!/bin/bash
# setup-peers.sh - put the peers of the benchmark on a Debian 12 machine (run as root).
#   Postfix  : the installed Debian package, with config, spool and data folders of its own
#   limit    : limit_relay.c, our own reference ceiling; logsink.c, a stand-in syslog daemon
# Everything listens on 127.0.0.1 only.  Ports: see PORT_/SINK_ below; run_matrix.py has the same table.
set -e
P=${PEERS:-/opt/peers}; HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p $P/limit; chmod 755 $P
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends strace gcc libc6-dev postfix >/dev/null
gcc -O2 -pthread -o $P/limit/limit_relay $HERE/limit_relay.c
gcc -O2 -o $P/limit/logsink $HERE/logsink.c

# ---------------------------------------------------------------- Postfix, default and tuned
mkpostfix() {   # name port sinkport extra-main.cf-lines
    local d=$P/postfix-$1; mkdir -p $d/conf $d/spool $d/data; chown root:root $d/spool; chown postfix $d/data
    cat > $d/conf/main.cf <<C
compatibility_level = 3.6
queue_directory = $d/spool
data_directory = $d/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:$3
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
alias_database =
local_recipient_maps =
biff = no
syslog_name = postfix-$1
$4
C
    # Debian's master.cf with our listener, without chroot, up to the first pipe(8) example
    awk -v l="127.0.0.1:$2 inet n - n - - smtpd" '/^#/ || !NF { next } /^(maildrop|uucp)/ { exit }
        $1=="smtp" && $2=="inet" { print l; next } /^[ \t]/ { print; next } { $5="n"; print }' \
        /etc/postfix/master.cf.proto > $d/conf/master.cf
    chmod 644 $d/conf/*
}
mkpostfix default 2601 2536 ""
# what an expert sets for a throughput relay: no artificial input delay, enough processes, wide and reused
# output to the one smart host, no per-message DNS or address rewriting work, milter/proxy maps unused.
mkpostfix tuned 2611 2526 "in_flow_delay = 0
default_process_limit = 200
max_use = 10000
smtp_destination_concurrency_limit = 50
initial_destination_concurrency = 20
default_destination_concurrency_failed_cohort_limit = 10
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = 127.0.0.1
smtp_connection_reuse_count_limit = 0
smtp_connection_reuse_time_limit = 300s
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 50000
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtp_dns_support_level = disabled
disable_dns_lookups = yes
smtp_tls_security_level = none
smtpd_tls_security_level = none
hash_queue_names = deferred, defer
enable_long_queue_ids = yes
minimal_backoff_time = 30s
maximal_backoff_time = 60s
queue_run_delay = 30s"

# ---------------------------------------------------------------- with TLS on both sides, and a sink that speaks it
[ -f $P/tls.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=relay.test \
    -keyout $P/tls.key -out $P/tls.crt 2>/dev/null && cat $P/tls.key $P/tls.crt > $P/tls.pem
mkpostfix tls 2621 2570 "$(sed -n '/^in_flow_delay/,/^queue_run_delay/p' $P/postfix-tuned/conf/main.cf |
    sed 's/^smtp_tls_security_level.*/smtp_tls_security_level = encrypt/; s/^smtpd_tls_security_level.*/smtpd_tls_security_level = may/')
smtpd_tls_chain_files = $P/tls.pem
smtp_tls_session_cache_database = btree:\$data_directory/smtp_scache
smtp_tls_connection_reuse = yes"
echo "tlsproxy unix - - n - 0 tlsproxy" >> $P/postfix-tls/conf/master.cf    # keeps TLS sessions open for the next message
mkpostfix sink 2570 1 "smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = $P/tls.pem
default_process_limit = 200
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
default_transport = discard
relayhost =
maillog_file = /dev/shm/relaybench/sink-tls-2570.log
maillog_file_prefixes = /dev/shm"
rm -rf $P/sink-tls-2570; mv $P/postfix-sink $P/sink-tls-2570; sed -i "s,postfix-sink,sink-tls-2570,g" $P/sink-tls-2570/conf/main.cf
grep -q ^postlog $P/sink-tls-2570/conf/master.cf || echo "postlog unix-dgram n - n - 1 postlogd" >> $P/sink-tls-2570/conf/master.cf

chmod a+rx $P
echo "peers ready under $P"
