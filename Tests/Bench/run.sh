#!/usr/bin/env bash
# run.sh — Martlet beside tuned Postfix and beside limit_relay (a C program that does only the unavoidable work), in one
# run, A B C A B C, with the field's own tools: smtp-source → relay → smtp-sink. Needs root (control groups, private Postfix).
#
#   Tests/Bench/run.sh matrix  [--cells short|full|smoke|SIZE:SESSIONS:MODE:RCPT,…] [--repeat N]   delivered/s, CPU, ratios
#   Tests/Bench/run.sh latency [--rate N] [--many]                                                 dot→250, 250→delivered
#   Tests/Bench/run.sh queue   [-n N]                                                              a large queue, each relay in turn
#   Tests/Bench/run.sh tls     [--size N] [--sessions N]                                           CPU per message, STARTTLS both ways
#   Tests/Bench/run.sh milter  [--cells …] [--repeat N]                                            Postfix and Martlet, each with the same milter
#   Tests/Bench/run.sh guard OLD-BINARY                                                            ten minutes; status 1: 5 % slower than it
#   Tests/Bench/run.sh history                                                                     the same program with and without history; status 1: 5 % slower, 10 % more CPU
#   Tests/Bench/run.sh shipped                                                                     the same program with all shipped files and with none; status 1: 2 % slower
#   Tests/Bench/run.sh shared  [--cells …] [--repeat N]                                            Postfix, the spool, and a queue in PostgreSQL on this machine
#   Tests/Bench/run.sh syscalls                                                                    syncs, files, connections per message
#
# MARTLET names the program (default: the release build); BENCH_BEFORE one that the matrix measures beside it, in turns; with
# BENCH_HISTORY=off no history is kept. Results go to standard output and to $OUT (JSON lines) when set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export PEERS=${PEERS:-/opt/peers}
what=${1:-matrix}; [ $# -gt 0 ] && shift
if [ "$what" = guard ]; then
    BENCH_BEFORE=$(realpath "${1:?guard needs an older executable}"); shift
    [ -x "$BENCH_BEFORE" ] || { echo "$BENCH_BEFORE cannot be run" >&2; exit 2; }
fi
[ -x "$PEERS/limit/limit_relay" ] && [ -d "$PEERS/postfix-tuned" ] || "$here/setup-peers.sh"
program=${MARTLET:-$top/.build/release/martlet}
case $what in history | shipped) BENCH_BEFORE=$program ;; esac
[ -x "$program" ] || (cd "$top" && swift build -c release --product martlet)

work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/martlet-bench.XXXXXX"); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/config" "$work/data"
echo relay.test > "$work/config/me"
echo 127.0.0.0/8 > "$work/config/relay_acl_allow"
printf '[main]\nlisten = 127.0.0.1:2700\n' > "$work/config/smtp.ini"
printf '[*]\nmx = 127.0.0.1:2560\n' > "$work/config/routes.ini"
[ "${BENCH_HISTORY-}" != off ] || printf 'history = false\n' > "$work/config/events.ini"
martlet="martlet,port=2700,sink=2560,cmd=$program serve --config $work/config --data $work/data"
before=()
if [ -n "${BENCH_BEFORE-}" ]; then
    cp -r "$work/config" "$work/before"; mkdir "$work/before-data"
    printf '[main]\nlisten = 127.0.0.1:2701\n' > "$work/before/smtp.ini"
    printf '[*]\nmx = 127.0.0.1:2561\n' > "$work/before/routes.ini"
    printf '[main]\nlisten = 127.0.0.1:0\n' > "$work/before/admin.ini"
    [ "$what" != history ] || printf 'history = false\n' > "$work/before/events.ini"
    before=(--relay "before,port=2701,sink=2561,cmd=$BENCH_BEFORE serve --config $work/before --data $work/before-data")
fi

if [ "$what" = shipped ]; then
    for file in "$top"/config/*; do [ -e "$work/config/${file##*/}" ] || cp "$file" "$work/config/"; done
    chmod 600 "$work"/config/*
fi

case $what in
tls)
    grep -q tlsproxy "$PEERS/postfix-tls/conf/master.cf" 2>/dev/null || "$here/setup-peers.sh"
    cp "$PEERS/tls.key" "$work/config/tls_key.pem"; cp "$PEERS/tls.crt" "$work/config/tls_cert.pem"; chmod 600 "$work/config/tls_key.pem"
    printf '[*]\nmx = 127.0.0.1:2570\ntls = require\n' > "$work/config/routes.ini"
    printf '[main]\nlisten = 127.0.0.1:2720\n' > "$work/config/smtp.ini"
    cc -O2 -o "$work/tls_floor" "$here/tls_floor.c" -lssl -lcrypto && "$work/tls_floor" "$PEERS/tls.key" "$PEERS/tls.crt"
    python3 "$here/tls_cost.py" --relay postfix-tls --relay "martlet-tls,port=2720,sink=2570,${martlet#*sink=2560,}" ${OUT:+--out "$OUT"} "$@" ;;
matrix)   python3 "$here/run_matrix.py" --relay postfix-tuned --relay limit "${before[@]}" --relay "$martlet" ${OUT:+--out "$OUT"} "$@" ;;
shared)   # 4 KiB, ten and a hundred sessions: ratios of one run to Postfix and to the spool, the database on the same processors.
    cp -r "$work/config" "$work/shared"; mkdir "$work/shared-data"
    printf '[main]\nlisten = 127.0.0.1:2702\n' > "$work/shared/smtp.ini"
    printf '[*]\nmx = 127.0.0.1:2562\n' > "$work/shared/routes.ini"
    printf '[main]\nlisten = 127.0.0.1:0\n' > "$work/shared/admin.ini"
    shared="shared,port=2702,sink=2562,cmd=$program serve --config $work/shared --data $work/shared-data"
    python3 "$here/shared_queue.py" "$work/shared/storage.ini" \
        python3 "$here/run_matrix.py" --relay postfix-tuned --relay "$martlet" --relay "$shared" ${OUT:+--out "$OUT"} \
        --cells 4096:10:d:1,4096:100:d:1 --repeat 3 "$@" ;;
guard)    # Six kinds of flow, two executables, two seconds each in turns: thirteen rounds are ten minutes.
    python3 "$here/run_matrix.py" "${before[@]}" --relay "$martlet" --out "$work/guard.jsonl" --repeat 13 --seconds 2 \
        --cells 1024:1:d:1,1024:10:d:1,1024:100:d:1,1024:10:1:1,10240:10:d:1,102400:10:d:1 "$@" >&2
    python3 "$here/guard.py" "$work/guard.jsonl" ;;
shipped)
    python3 "$here/run_matrix.py" "${before[@]}" --relay "$martlet" --out "$work/shipped.jsonl" --repeat 20 --seconds 2 \
        --cells 1024:10:d:1,1024:100:d:1 "$@" >&2
    python3 "$here/guard.py" "$work/shipped.jsonl" --slower 2 --cpu 2 ;;
history)
    python3 "$here/run_matrix.py" "${before[@]}" --relay "$martlet" --out "$work/history.jsonl" --repeat 13 --seconds 2 \
        --cells 1024:10:d:1,1024:100:d:1,10240:10:d:1,10240:100:d:1 "$@" >&2
    python3 "$here/guard.py" "$work/history.jsonl" --slower 5 --cpu 10 ;;
milter)   # One OpenDKIM that verifies (none of the mail is signed: what is measured is the talk with it), asked by both.
    type opendkim >/dev/null || { echo "milter needs Debian's opendkim" >&2; exit 2; }
    m=$PEERS/postfix-milter; mkdir -p "$m/conf" "$m/spool" "$m/data"; chown root:root "$m/spool"; chown postfix "$m/data"
    sed 's,postfix-tuned,postfix-milter,g; s/^relayhost = .*/relayhost = [127.0.0.1]:2580/' "$PEERS/postfix-tuned/conf/main.cf" > "$m/conf/main.cf"
    printf 'smtpd_milters = inet:127.0.0.1:2790\nmilter_default_action = tempfail\n' >> "$m/conf/main.cf"
    sed 's/^127.0.0.1:2611 /127.0.0.1:2631 /' "$PEERS/postfix-tuned/conf/master.cf" > "$m/conf/master.cf"; chmod 644 "$m"/conf/*
    printf 'Mode v\nSocket inet:2790@127.0.0.1\nSyslog no\nUMask 007\nPidFile %s/opendkim.pid\n' "$work" > "$work/opendkim.conf"
    opendkim -f -x "$work/opendkim.conf" & milter=$!
    trap 'kill $milter 2>/dev/null; rm -rf "$work"' EXIT
    for _ in $(seq 100); do (: > /dev/tcp/127.0.0.1/2790) 2>/dev/null && break; sleep 0.1; done
    printf '[opendkim]\nsocket = inet:127.0.0.1:2790\n' > "$work/config/milters.ini"
    python3 "$here/run_matrix.py" --relay "postfix-milter,port=2631,sink=2580,stop=/usr/sbin/postfix -c $m/conf stop,cmd=/usr/sbin/postfix -c $m/conf start" \
        --relay "$martlet" ${OUT:+--out "$OUT"} --cells 1024:10:d:1,1024:100:d:1,1024:10:1:1,10240:10:d:1 "$@" ;;
latency)  python3 "$here/latency.py" --relay postfix-tuned --relay limit --relay "$martlet" "$@" ;;
syscalls) python3 "$here/syscounts.py" --relay postfix-tuned --relay limit --relay "$martlet" "$@" ;;
queue)
    flush="kill -HUP \$(ss -ltnpH sport = :2700 | grep -o 'pid=[0-9]*' | cut -d= -f2)"  # its title is the queue's, not its command line
    for relay in postfix-tuned limit "$martlet"; do
        args=(); case $relay in martlet,*) args=(--flush-cmd "$flush") ;; esac
        python3 "$here/queue_scale.py" --relay "$relay" "${args[@]}" "$@"
    done ;;
*) sed -n '2,14p' "$0"; exit 2 ;;
esac
