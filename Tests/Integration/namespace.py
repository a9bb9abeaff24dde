"""namespace.py - a network of the test's own: real ports 25, 53 and 443 at any address, a real unbound, nobody outside.

The kernel keeps the namespace of each thread: `Namespace` moves the thread that enters it, and with it every socket,
thread and program that is started inside; what was outside stays there. Nothing but loopback is in it, and
whole networks are made addresses of it, so that servers of the test listen wherever a case wants them.

    with Namespace() as network:
        root = closing(Root({("good.test", "MX"): [(10, "mx.good.test")], ("mx.good.test", "A"): ["198.51.100.25"]}))
        root.kill("dead.test")             # delegated to a server of its own that never answers
        resolver = closing(Resolver(root))
        relay = make_relay(resolver=resolver, outbound={...})
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from dns_server import TYPES, DnsServer, encode_name
from peers import Unbound, need
from waiting import Program, find_program, wait_listening

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _namespace_of_thread():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network with loopback alone, for the thread that enters it; skips the test where that is not permitted.

    NETWORKS are local as a whole and yet no addresses of an interface: the relay does not take them for its own, as it
    does OWN. IPv6 addresses of `NETWORK6` can be bound and reached too.
    """

    NETWORKS = ("198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")
    NETWORK6 = "2001:db8:25::/64"
    OWN = ("192.0.2.1/32", "2001:db8::1/128")

    def __enter__(self):
        if find_program("ip") is None:
            pytest.skip("iproute2 is not installed")
        self._outside = _namespace_of_thread()
        if _libc.unshare(_CLONE_NEWNET) != 0:
            os.close(self._outside)
            pytest.skip(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")
        try:
            self._furnish()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _furnish(self):
        commands = ["link set lo up"]
        commands += [f"address add {own} dev lo" for own in self.OWN]
        commands += [f"route add local {network} dev lo" for network in self.NETWORKS]
        commands += [f"-6 route add local {self.NETWORK6} dev lo"]
        for command in commands:
            subprocess.run([find_program("ip"), *command.split()], check=True, capture_output=True)
        Path("/proc/sys/net/ipv6/ip_nonlocal_bind").write_text("1")

    def __exit__(self, *_):
        if _libc.setns(self._outside, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the thread cannot leave its namespace")
        os.close(self._outside)


class Silence:
    """Port 53 of every address that nobody else has: questions arrive, and nobody reads them."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("0.0.0.0", 53))

    def close(self):
        self._socket.close()


class Swallower:
    """A host whose port 25 takes no connection and refuses none: its queue is full, and what comes is dropped."""

    def __init__(self, host):
        self._listener = socket.socket()
        self._listener.bind((host, 25))
        self._listener.listen(0)
        self._fillers = [socket.socket() for _ in range(3)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex((host, 25))

    def close(self):
        for one in (*self._fillers, self._listener):
            one.close()


class Root(DnsServer):
    """The name server of every domain that works, at port 53; what it was told to `kill` it delegates.

    The server of a dead domain has an address of its own, so that a resolver learns nothing about the next one's.
    """

    ADDRESS = "198.51.100.53"

    def __init__(self, records=None, ttl=60):
        self._dead = 0
        self._silence = Silence()
        super().__init__(records, host=self.ADDRESS, port=53, ttl=ttl)

    def kill(self, *domains):
        for domain in domains:
            self._dead += 1
            number = self._dead
            server = f"198.18.{number // 250}.{number % 250 + 1}"
            for name in (domain, f"_mta-sts.{domain}", f"mta-sts.{domain}"):
                self.records[(name, "*")] = _referral(domain, server)
            self.records[(f"ns.{domain}", "A")] = [server]
            self.records[(f"ns.{domain}", "AAAA")] = []

    def good(self, domain, *addresses, mx=None):
        """A domain with one MX host of these addresses."""
        host = mx or f"mx.{domain}"
        self.records[(domain, "MX")] = [(10, host)]
        self.records[(host, "A")] = list(addresses)

    def close(self):
        self._silence.close()
        super().close()


def _referral(zone, server):
    """What the server above a zone says about anything in it: ask that address."""

    def answer(name, kind):
        host = f"ns.{zone}"
        question = encode_name(name) + struct.pack(">HH", TYPES.get(kind) or int(kind), 1)
        target = encode_name(host)
        authority = encode_name(zone) + struct.pack(">HHIH", TYPES["NS"], 1, 600, len(target)) + target
        glue = target + struct.pack(">HHIH", TYPES["A"], 1, 600, 4) + socket.inet_aton(server)
        return struct.pack(">HHHHH", 0x8100, 1, 0, 1, 1) + question + authority + glue

    return answer


class Resolver(Unbound):
    """unbound with the sizes it has by itself, recursive from our root for `test` and `example`; it can go away and come back."""

    def __init__(self, root, more=""):
        zones = {"test": root.host, "example": root.host}
        super().__init__(zones, f"qname-minimisation: no\n  do-ip6: no\n  {more}")

    def freeze(self):
        """Questions get no answer, until `thaw`."""
        self.process.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.process.send_signal(signal.SIGCONT)

    def away(self):
        """The program is gone: questions are refused by the kernel, until `back`."""
        self.process.close()

    def back(self):
        self.process = Program([need("unbound"), "-d", "-c", str(self.configuration)], self.directory / "log")
        wait_listening(("127.0.0.1", self.port), 10, "unbound")

    def close(self):
        self.thaw()
        super().close()
