#!/usr/bin/env python3
"""run_matrix.py - measure store-and-forward SMTP relays: smtp-source -> relay -> smtp-sink, on loopback.

  setup-peers.sh                                    # once (root)
  run_matrix.py --relay postfix-tuned --relay limit # A B A B ..., one JSON line per run, medians + ratios
  run_matrix.py --relay postfix-tuned \\
                --relay 'new,port=2700,sink=2560,cmd=/path/new-relay --listen 127.0.0.1:2700 --smarthost 127.0.0.1:2560'
Any relay: 'NAME,port=N,sink=M,cmd=COMMAND' - COMMAND stays in the foreground or not (its whole process tree is
put into a control group and is found there), must listen on 127.0.0.1:N within 20 s, and must relay
everything to 127.0.0.1:M.  Optional before cmd=: stop=COMMAND, pidfile=PATH (not needed).
--relay direct = smtp-source straight into smtp-sink: what the two tools themselves can do.

What one run does: starts smtp-sink -c (once per relay), starts smtp-source with N messages, waits until the sink has counted
them all and its count has been still for 0.7 s.  The relays stay running between runs (idle), and the order
is rotated: cell 1: A B C, A B C ...; so drift of the machine hits all alike.
Figures of a JSON line:
  accepted_s   messages/s until smtp-source has its last 250      delivered_s  messages/s until the last one is in the sink
  cpu_us       user+sys CPU microseconds per message of the relay's whole process tree (cgroup, reaped children included)
  user_us, sys_us    its two parts           disk_b  bytes written to the block device per message (whole machine)
  anon_mb      peak anonymous memory of the relay's processes (cgroup v1 memory.stat rss), pss_mb: PSS at the end of accepting
  spin_ms      time of a fixed CPU loop around the run: compare runs of like spin_ms only, or use the ratios of one round
  load         1-minute load before the run  over    copies beyond N in the sink (duplicates or split recipients)
"""

import argparse
import atexit
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))  # so that the relays are stopped then, too
P = os.environ.get("PEERS", "/opt/peers")
SH = "/dev/shm/relaybench"
CG = "/sys/fs/cgroup"
U2 = CG + "/unified" if os.path.isdir(CG + "/unified") else CG  # cgroup v2 mount (hybrid or pure)


def postfix(d):
    return f"/usr/sbin/postfix -c {P}/{d}/conf start"


RELAYS = {  # name: (port, sink port, start command, stop command or None = SIGTERM to the group)
    "postfix-default": (2601, 2536, postfix("postfix-default"), f"/usr/sbin/postfix -c {P}/postfix-default/conf stop"),
    "postfix-tuned": (2611, 2526, postfix("postfix-tuned"), f"/usr/sbin/postfix -c {P}/postfix-tuned/conf stop"),
    "limit": (2615, 2530, f"{P}/limit/limit_relay 2615 2530 {P}/limit/log 20 1024 64", None),
    "direct": (2531, 2531, None, None),
}


def rd(p):
    with open(p) as f:
        return f.read()


class Group:
    """one control group per relay: v2 for CPU, v1 'memory' (where mounted) for anonymous memory"""

    def __init__(self, name):
        self.v1 = not os.path.exists(U2 + "/cgroup.controllers")  # cgroup v1 only: CPU from cpuacct
        self.dirs = [f"{CG}/cpuacct/bench-{name}" if self.v1 else f"{U2}/bench-{name}"]
        self.mem = f"{CG}/memory/bench-{name}"
        if os.path.isdir(CG + "/memory"):
            self.dirs.append(self.mem)
        for d in self.dirs:
            os.makedirs(d, exist_ok=True)

    def pids(self):
        return [int(x) for x in rd(self.dirs[0] + "/cgroup.procs").split()]

    def enter(self):
        return "".join(f"echo $$ > {d}/cgroup.procs; " for d in self.dirs)

    def cpu(self):
        if self.v1:
            ns = [int(rd(f"{self.dirs[0]}/cpuacct.usage{k}")) for k in ("", "_user", "_sys")]
            return tuple(x // 1000 for x in ns)
        d = dict(l.split() for l in rd(self.dirs[0] + "/cpu.stat").splitlines())
        return int(d["usage_usec"]), int(d["user_usec"]), int(d["system_usec"])

    def anon(self):
        try:
            m = re.search(r"^total_rss (\d+)", rd(self.mem + "/memory.stat"), re.M) or re.search(
                r"^anon (\d+)", rd(self.dirs[0] + "/memory.stat"), re.M
            )
            return int(m.group(1))
        except (OSError, AttributeError):
            return 0

    def pss(self, key="Pss"):
        t = 0
        for p in self.pids():
            try:
                t += int(re.search(rf"^{key}:\s+(\d+)", rd(f"/proc/{p}/smaps_rollup"), re.M).group(1))
            except (OSError, AttributeError):
                pass
        return t * 1024


def disk():  # bytes written, all whole disks
    t = 0
    for l in rd("/proc/diskstats").splitlines():
        f = l.split()
        if re.fullmatch(r"(vd|sd|nvme\d+n|xvd)[a-z0-9]", f[2]):
            t += int(f[9]) * 512
    return t


def logger():
    """a syslog socket that reads and throws away, unless the machine has one; ended at exit"""
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect("/dev/log")
        return
    except OSError:
        pass
    if os.path.exists(f"{P}/limit/logsink"):
        p = subprocess.Popen([f"{P}/limit/logsink", "/dev/log"])
        atexit.register(p.terminate)
        time.sleep(0.2)


class Relay:
    def __init__(self, spec):
        if "," in spec:  # NAME,port=..,sink=..,[stop=..,]cmd=...
            self.name, rest = spec.split(",", 1)
            opt, cmd = rest.split("cmd=", 1)
            kv = dict(x.split("=", 1) for x in opt.strip(",").split(",") if x)
            self.port, self.sink, self.cmd, self.stopcmd = int(kv["port"]), int(kv["sink"]), cmd, kv.get("stop")
        else:
            self.name = spec
            self.port, self.sink, self.cmd, self.stopcmd = RELAYS[spec]
        self.g = Group(self.name)
        self.s = None

    def start(self, prefix="", wait=20):
        if not self.cmd or self.g.pids():
            return 0.0
        logger()
        t = time.time()
        os.makedirs(SH, exist_ok=True)
        self.log = open(f"{SH}/{self.name}.log", "ab")
        self.p = subprocess.Popen(
            ["sh", "-c", self.g.enter() + f"ulimit -n 20000; exec {prefix} {self.cmd}"],
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        while time.time() - t < wait:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    s.settimeout(wait)
                    if s.recv(100).startswith(b"220"):
                        s.sendall(b"QUIT\r\n")
                        s.recv(100)
                        return time.time() - t
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{self.name}: no 220 on port {self.port}; see {SH}/{self.name}.log")

    def stop(self):
        """only processes of our own control group are signalled, by pid"""
        if self.s:
            self.s.stop()
            self.s = None
        if self.stopcmd:
            subprocess.run(self.stopcmd, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for sig in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            for p in self.g.pids():
                try:
                    os.kill(p, sig)
                except OSError:
                    pass
            for _ in range(100):
                if not self.g.pids():
                    return
                time.sleep(0.05)


class Sink:
    """smtp-sink -c with its counter in a file on tmpfs; the file's mtime is the time of the last message"""

    def __init__(self, port):
        os.makedirs(SH, exist_ok=True)
        self.f = f"{SH}/sink.{port}"
        self.o = open(self.f, "wb")
        self.p = subprocess.Popen(
            ["/usr/sbin/smtp-sink", "-4", "-u", "nobody", "-c", f"127.0.0.1:{port}", "4096"],
            stdout=self.o,
            stderr=subprocess.STDOUT,
        )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        self.base = 0

    def begin(self):
        self.base = 0
        self.base = self.count()[0]  # count from here

    def count(self):  # (messages, time of the last change)
        n = os.path.getsize(self.f)
        with open(self.f, "rb") as f:
            f.seek(max(0, n - 200))
            b = f.read()
        m = re.findall(rb"mesg=(\d+)", b)
        return (int(m[-1]) if m else 0) - self.base, os.stat(self.f).st_mtime

    def wait(self, n, limit, tick=None, quiet=0.7):
        """until n messages were counted and nothing came for `quiet` s; returns (count, time n was reached)"""
        t0 = time.time()
        last = -1
        hit = None
        t_change = time.time()
        while True:
            c, mt = self.count()
            if c != last:
                last, t_change, hit_t = c, time.time(), mt
            if c >= n and hit is None:
                hit = mt if c == n else time.time()
            if hit and time.time() - t_change > quiet:
                return c, hit_t if c == n else hit
            if time.time() - t0 > limit:
                return c, hit_t
            if tick:
                tick()
            time.sleep(0.02 if not hit else 0.1)

    def stop(self):
        self.p.terminate()
        self.p.wait()
        self.o.close()


def source(port, n, size, sess, many, rcpt):
    a = [
        "/usr/sbin/smtp-source",
        "-4",
        "-s",
        str(sess),
        "-m",
        str(n),
        "-l",
        str(size),
        "-r",
        str(rcpt),
        "-f",
        "sender@src.test",
        "-t",
        "user@dst.test",
    ]
    if many:
        a.append("-d")
    return subprocess.Popen(a + [f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def one(r, n, size, sess, many, rcpt, limit=120):
    load = float(rd("/proc/loadavg").split()[0])
    sp = spin()
    r.s = r.s or Sink(r.sink)  # stays up between runs: relays keep connections open
    sink = r.s
    sink.begin()
    g = r.g
    peak = [0]
    last = [0.0]

    def tick():
        if time.time() - last[0] > 0.15:
            last[0] = time.time()
            peak[0] = max(peak[0], g.anon())

    c0, d0, t0 = g.cpu(), disk(), time.time()
    p = source(r.port, n, size, sess, many, rcpt)
    while p.poll() is None:
        tick()
        time.sleep(0.005)
    ta = time.time() - t0
    err = p.stderr.read().decode()[-200:]
    pss = g.pss() if r.cmd else 0
    got, mt = sink.wait(n, limit, tick)
    td = mt - t0
    time.sleep(0.2)
    c1, d1 = g.cpu(), disk()
    sp = (sp + spin()) / 2
    res = {
        "relay": r.name,
        "size": size,
        "sess": sess,
        "mode": "d" if many else "1",
        "rcpt": rcpt,
        "n": n,
        "accepted_s": round(n / ta, 1),
        "delivered_s": round(min(got, n) / td, 1),
        "cpu_us": round((c1[0] - c0[0]) / n, 1),
        "user_us": round((c1[1] - c0[1]) / n, 1),
        "sys_us": round((c1[2] - c0[2]) / n, 1),
        "disk_b": round((d1 - d0) / n),
        "anon_mb": round(peak[0] / 2**20, 1),
        "pss_mb": round(pss / 2**20, 1),
        "load": load,
        "spin_ms": round(sp, 1),
        "over": got - n,
    }
    if err.strip() or got < n:
        res["error"] = (err.strip() or "") + ("" if got >= n else f" only {got} delivered")
    return res


def spin():
    """milliseconds for a fixed piece of CPU work: the virtual machine's cores change speed (noisy neighbours)"""
    t = time.perf_counter()
    x = 0
    for i in range(400000):
        x += i
    return (time.perf_counter() - t) * 1000


def quiet_machine(maxload):
    """others may use the machine: wait (at most 20 s) until the run queue is short"""
    for _ in range(40):
        a = [int(x) for x in rd("/proc/stat").splitlines()[0].split()[1:9]]
        time.sleep(0.25)
        b = [int(x) for x in rd("/proc/stat").splitlines()[0].split()[1:9]]
        d = [y - x for x, y in zip(a, b)]
        if 1 - (d[3] + d[4]) / max(1, sum(d)) < maxload:
            return


CELLS = {  # (size, sessions, many per connection, recipients)
    "full": [(s, c, m, 1) for s in (1024, 10240, 102400) for c in (1, 10, 100) for m in (0, 1)]
    + [(10240, 10, 0, 10), (10240, 10, 1, 10)],
    "short": [
        (1024, 10, 0, 1),
        (1024, 10, 1, 1),
        (10240, 1, 1, 1),
        (10240, 10, 0, 1),
        (10240, 10, 1, 1),
        (10240, 100, 1, 1),
        (102400, 10, 1, 1),
        (10240, 10, 1, 10),
    ],
    "smoke": [(1024, 10, 1, 1)],
}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--relay", action="append", required=True)
    ap.add_argument(
        "--cells", default="short", help="full | short | smoke | size:sessions:mode:rcpt,...  (mode 1 or d)"
    )
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="aimed length of one run; the number of messages follows from a short first run",
    )
    ap.add_argument("--max", type=int, default=20000)
    ap.add_argument("--out", help="also append the JSON lines here")
    ap.add_argument("--keep", action="store_true", help="leave the relays running")
    ap.add_argument("--maxload", type=float, default=0.25)
    a = ap.parse_args()
    cells = CELLS.get(a.cells) or [
        (int(x[0]), int(x[1]), x[2] == "d", int(x[3])) for x in (c.split(":") for c in a.cells.split(","))
    ]
    rs = [Relay(s) for s in a.relay]
    out = open(a.out, "a") if a.out else None
    allres = []
    try:
        for r in rs:
            r.start()
        for size, sess, many, rcpt in cells:
            ns = {}
            for r in rs:  # calibrate: also the warm-up
                k = max(2 * sess, 30)
                w = one(r, k, size, sess, many, rcpt)
                n = int(w["delivered_s"] * a.seconds)
                n = max(2 * sess, 20, min(n, a.max))
                ns[r.name] = n - n % sess
            for i in range(a.repeat):
                for r in rs:
                    quiet_machine(a.maxload)
                    x = one(r, ns[r.name], size, sess, many, rcpt)
                    x["i"] = i
                    allres.append(x)
                    line = json.dumps(x)
                    if out:
                        out.write(line + "\n")
                        out.flush()
                    print(line, flush=True)
            report(
                [
                    x
                    for x in allres
                    if (x["size"], x["sess"], x["mode"], x["rcpt"]) == (size, sess, "d" if many else "1", rcpt)
                ],
                rs,
            )
    finally:
        if not a.keep:
            for r in rs:
                r.stop()


def report(xs, rs):
    """medians of one cell; (x..) = median over the rounds of the ratio to the first relay named in the SAME round"""
    for r in rs:
        line = []
        for k in ("accepted_s", "delivered_s", "cpu_us", "disk_b", "pss_mb"):
            m = [x for x in xs if x["relay"] == r.name]
            v = statistics.median(x[k] for x in m)
            q = ""
            if r is not rs[0]:
                base = {x["i"]: x[k] for x in xs if x["relay"] == rs[0].name}
                ra = [x[k] / base[x["i"]] for x in m if base.get(x["i"])]
                if ra:
                    q = f" (x{statistics.median(ra):.2f})"
            line.append(f"{k}={v:g}{q}")
        print("#", r.name.ljust(18), *line, flush=True)


if __name__ == "__main__":
    main()
