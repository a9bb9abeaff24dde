"""conftest.py - fixtures shared by the integration tests: peers and relays that are closed whatever happens."""

import fcntl
import itertools
import os

import pytest
from api import Api
from dns_server import DnsServer
from harness import Relay
from hook_program import QUICK, HookServer
from ledger import Lab
from page_house import browser, opened, page_relays  # noqa: F401 - fixtures
from scripted import ScriptedServer, Sink
from tls_peers import Authority
from waiting import fresh_address, wait_until


@pytest.fixture
def closing():
    """`closing(thing)` returns it and closes it after the test, in reverse order."""
    things = []

    def add(thing):
        things.append(thing)
        return thing

    yield add
    for thing in reversed(things):
        thing.close()


@pytest.fixture(autouse=True)
def gives_back_disk(tmp_path):
    """Segments are 64 MiB each: a thousand tests must not keep theirs. Set up first, so torn down after the relays."""
    yield
    for segment in tmp_path.rglob("*.seg"):
        if segment.is_file() and not segment.is_symlink():
            segment.unlink()


@pytest.fixture
def make_relay(tmp_path, closing, request):
    """`make_relay(routes=…, smtp=…)` starts a relay (`started=False` only makes it). Afterwards those that still run
    are stopped with SIGTERM and must exit with 0; a failed test shows the end of their logs."""
    relays = []

    def make(started=True, **how):
        relay = closing(Relay(tmp_path, **how))
        relays.append(relay)
        return relay.start() if started else relay

    yield make
    problems = []
    for relay in relays:
        if relay.process is not None:
            try:
                if relay.is_running:
                    relay.stop(timeout=30)
                elif relay.process.returncode not in (0, -9, -15):
                    problems.append(f"relay ended with {relay.process.returncode}")
            except AssertionError as error:
                problems.append(str(error))
            bad = [line.raw for line in relay.log if line.level == "critical" or "Fatal error" in line.raw]
            problems += bad
            request.node.add_report_section("teardown", "relay log", relay.log_tail(80))
    assert not problems, "\n".join(problems)


@pytest.fixture
def make_api(make_relay):
    def make(admin="", **how):
        relay = make_relay(files={"admin.ini": f"listen = 127.0.0.1:0\n{admin}", **how.pop("files", {})}, **how)
        return relay, Api(relay)

    return make


@pytest.fixture
def sink(closing):
    return closing(Sink())


@pytest.fixture
def make_server(closing):
    """`make_server({"MAIL": "451 4.3.0 no"}, lmtp=False)`: a `ScriptedServer`."""
    return lambda *arguments, **how: closing(ScriptedServer(*arguments, **how))


@pytest.fixture
def make_dns(closing):
    return lambda records=None, **how: closing(DnsServer(records, **how))


@pytest.fixture
def make_hook(closing):
    return lambda answers=None, **how: closing(HookServer(answers, **how))


@pytest.fixture
def hooked(make_relay, make_hook):
    """`hooked({"get_mx": {...}}, routes=…, keys={"fail": "closed"})` gives a relay and its hook program."""

    def make(answers, keys=None, unix=None, files=None, **how):
        hook = make_hook(answers, unix=unix)
        how["outbound"] = {**QUICK, **how.get("outbound", {})}
        return make_relay(files={"hooks.ini": hook.ini(**(keys or {})), **(files or {})}, **how), hook

    return make


@pytest.fixture
def peer25(closing):
    """`peer25(script)`: an SMTP server on port 25 of an address of its own, reachable through the DNS."""

    def make(script=None, host=None, **how):
        for _ in range(50):
            try:
                return closing(ScriptedServer(script, host=host or fresh_address(), port=25, **how))
            except PermissionError:
                pytest.skip("port 25 needs root")
            except OSError:
                if host:
                    raise
        raise RuntimeError("no free address for port 25")

    return make


@pytest.fixture
def peer_v6(peer25):
    """A server on [::1]:25; one test of the machine at a time."""
    os.makedirs("/tmp/martlet-test-ports", exist_ok=True)
    with open("/tmp/martlet-test-ports/v6-25", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield peer25(host="::1")
        except OSError as error:
            pytest.skip(f"[::1]:25 is not to be had: {error}")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority that relays trust when `tls_ca_file` names it."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def lab():
    """The event loop for the clients and next hops of a ledger; a mistake in one of them fails the test."""
    lab = Lab()
    yield lab
    lab.close()
    assert not lab.errors, lab.errors


class Checks:
    """Collects many small checks of one test, so that the first failure does not hide the others.

    `check(condition, "what was expected")` counts; `check.equal(a, b, "what")` shows both sides. The test fails at its
    end when any failed, and the summary of the run prints how many there were.
    """

    def __init__(self):
        self.count, self.failures = 0, []

    def __call__(self, condition, what):
        self.count += 1
        if not condition:
            self.failures.append(str(what))
        return condition

    def equal(self, got, wanted, what):
        return self(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


@pytest.fixture
def check(request):
    checks = Checks()
    yield checks
    request.node.user_properties.append(("checks", checks.count))


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    outcome = yield
    checks = pyfuncitem.funcargs.get("check")
    if isinstance(checks, Checks) and checks.failures and outcome.excinfo is None:
        shown = "\n".join(f"  - {failure}" for failure in checks.failures[:40])
        raise AssertionError(f"{len(checks.failures)} of {checks.count} checks:\n{shown}")


def pytest_terminal_summary(terminalreporter):
    count = sum(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "checks" and getattr(report, "when", "") == "teardown"
    )
    if count:
        terminalreporter.write_line(f"{count} checks inside these tests")


_serial = itertools.count(1)


@pytest.fixture
def unique():
    """`unique("rcpt")`: a word that no other test uses."""
    return lambda word="u": f"{word}{os.getpid():x}x{next(_serial)}"


class House:
    """A relay whose every route leads to one sink, shared by the tests of a module."""

    def __init__(self, directory, **how):
        self.sink = Sink()
        self.relay = Relay(directory, routes={"*": self.sink.address}, **how).start()

    def arrived(self, recipient, timeout=15.0):
        """The one transaction that carried mail for this address."""

        def found():
            return [m for m in self.sink.messages if recipient in m.accepted]

        return wait_until(found, timeout, lambda: f"mail for {recipient}; log:\n{self.relay.log_tail()}")[0]

    def close(self):
        try:
            if self.relay.is_running:
                self.relay.stop(timeout=30)
            else:
                raise AssertionError(f"relay ended with {self.relay.process.returncode}:\n{self.relay.log_tail()}")
        finally:
            self.relay.close()
            self.sink.close()


@pytest.fixture(scope="module")
def make_house(tmp_path_factory):
    """`make_house(smtp=…)` for module fixtures."""
    houses = []

    def make(**how):
        houses.append(House(tmp_path_factory.mktemp("house"), **how))
        return houses[-1]

    yield make
    for house in houses:
        house.close()
