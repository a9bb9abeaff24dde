#!/usr/bin/env python3
"""queue_scale.py - a relay with a large queue: next hop down, inject N messages, list, restart, next hop up, drain.

  queue_scale.py --relay postfix-tuned -n 100000 [--size 2048] [--sess 20] [--drain 300] [--inject 400]
For a relay given as 'NAME,port=..,sink=..,cmd=..' add --list-cmd, --flush-cmd (run by sh; optional).
Prints one JSON line: accept rate; memory of the process tree and of its largest process with the queue full;
time of the queue listing and its number of lines; disk used; time to stop, to start again until 220, and until
the listing shows the queue again; drain rate (messages/s until all delivered, or over --drain seconds).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_matrix as R

P = R.P
CTL = {}  # name: (list command, flush command, spool folder)
for v in ("default", "tuned"):
    CTL["postfix-" + v] = (
        f"postqueue -c {P}/postfix-{v}/conf -j",
        f"postqueue -c {P}/postfix-{v}/conf -f",
        f"{P}/postfix-{v}/spool",
    )
CTL["limit"] = (None, None, None)


def sh(c):
    t = time.time()
    r = subprocess.run(c, shell=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.time() - t, r.stdout.count(b"\n")


def biggest(g):
    best = (0, 0, "")
    for p in g.pids():
        try:
            rss = int(re.search(r"^VmRSS:\s+(\d+)", R.rd(f"/proc/{p}/status"), re.M).group(1))
            c = R.rd(f"/proc/{p}/comm").strip()
            best = max(best, (rss, p, c))
        except (OSError, AttributeError):
            pass
    return {"proc": best[2], "rss_mb": round(best[0] / 1024, 1)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--relay", required=True)
    ap.add_argument("-n", type=int, default=100000)
    ap.add_argument("--size", type=int, default=2048)
    ap.add_argument("--sess", type=int, default=20)
    ap.add_argument("--drain", type=float, default=300)
    ap.add_argument("--inject", type=float, default=400)
    ap.add_argument("--list-cmd")
    ap.add_argument("--flush-cmd")
    ap.add_argument("--no-restart", action="store_true")
    ap.add_argument("--out")
    a = ap.parse_args()
    r = R.Relay(a.relay)
    g = r.g
    lst, flush, spool = CTL.get(r.name, (None, None, None))
    lst = a.list_cmd or lst
    flush = a.flush_cmd or flush
    res = {"relay": r.name, "n": a.n, "size": a.size, "sess": a.sess, "spin_ms": round(R.spin(), 1)}

    def say(**k):
        res.update(k)
        print(k, file=sys.stderr, flush=True)

    try:
        r.start()
        say(empty_anon_mb=round(g.anon() / 2**20, 1), empty_pss_mb=round(g.pss() / 2**20, 1))
        c0, d0, t = g.cpu(), R.disk(), time.time()
        p = R.source(r.port, a.n, a.size, a.sess, True, 1)
        peak = 0
        bigp = {"rss_mb": 0}
        while p.poll() is None and time.time() - t < a.inject:
            time.sleep(0.25)
            peak = max(peak, g.anon())
            if int((time.time() - t) * 4) % 20 == 0:
                bigp = max(bigp, biggest(g), key=lambda x: x["rss_mb"])
        if p.poll() is None:
            p.terminate()
            p.wait()
            say(inject="stopped at the time limit")
        el = time.time() - t
        err = p.stderr.read().decode()[-200:]
        if err.strip():
            say(error=err.strip())
        say(
            accept_s=round(a.n / el, 1),
            accept_cpu_us=round((g.cpu()[0] - c0[0]) / a.n, 1),
            accept_disk_b=round((R.disk() - d0) / a.n),
            peak_anon_mb=round(peak / 2**20, 1),
            peak_biggest=bigp,
        )
        time.sleep(5)
        say(full_anon_mb=round(g.anon() / 2**20, 1), full_pss_mb=round(g.pss() / 2**20, 1), full_biggest=biggest(g))
        if spool:
            say(
                spool_mb=round(
                    int(subprocess.run(["du", "-sk", spool], capture_output=True, text=True).stdout.split()[0]) / 1024,
                    1,
                ),
                files=int(
                    subprocess.run(f"find {spool} -type f | wc -l", shell=True, capture_output=True, text=True).stdout
                ),
            )
        if lst:
            t1, _n1 = sh(lst)
            t2, n2 = sh(lst)
            say(list_s=round(t1, 2), list2_s=round(t2, 2), listed=n2)
        if not a.no_restart:
            t = time.time()
            r.stop()
            ts = time.time() - t
            c0 = g.cpu()
            td = r.start(wait=300)
            say(stop_s=round(ts, 2), start_s=round(td, 2))
            if lst and flush != "RESTART":
                t = time.time()
                n3 = -1
                while time.time() - t < 60 and n3 < n2 * 0.999:
                    _, n3 = sh(lst)
                say(restart_until_listed_s=round(td + time.time() - t, 2))
            time.sleep(3)
            say(
                after_restart_cpu_s=round((g.cpu()[0] - c0[0]) / 1e6, 2),
                after_restart_anon_mb=round(g.anon() / 2**20, 1),
                after_restart_biggest=biggest(g),
            )
        if flush == "RESTART":
            r.stop()
        s = R.Sink(r.sink)
        t0 = time.time()
        c0 = g.cpu()
        if flush == "RESTART":
            r.start(wait=300)
        elif flush:
            subprocess.Popen(["sh", "-c", g.enter() + flush], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        first = None
        left = a.n
        t10 = t90 = None
        while time.time() - t0 < a.drain:
            n, mt = s.count()
            if n and first is None:
                first = time.time() - t0
            if n >= 0.1 * left and t10 is None:
                t10 = (time.time(), n)
            if n >= 0.9 * left and t90 is None:
                t90 = (time.time(), n)
            if n >= left:
                break
            time.sleep(0.2)
        n, mt = s.count()
        el = (mt if n >= left else time.time()) - t0
        if t10 and not t90 and n > t10[1]:
            t90 = (time.time(), n)
        if t90:
            say(drain_rate_10_90=round((t90[1] - t10[1]) / (t90[0] - t10[0]), 1))  # without the wait for retry timers
        say(
            drained=n,
            drain_s=round(el, 1),
            drain_rate=round(n / el, 1),
            first_after_s=round(first or -1, 2),
            drain_cpu_us=round((g.cpu()[0] - c0[0]) / max(1, n), 1),
            drain_anon_mb=round(g.anon() / 2**20, 1),
            drain_biggest=biggest(g),
            spin2_ms=round(R.spin(), 1),
        )
        s.stop()
    finally:
        r.stop()
        line = json.dumps(res)
        print(line)
        if a.out:
            open(a.out, "a").write(line + "\n")


if __name__ == "__main__":
    main()
