"""The guard of Tests/Bench tells a slower executable from a noisy machine."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "Bench"))

import guard

SPEEDS = (1.0, 1.6, 0.8, 1.2, 0.9, 1.4)  # of the machine, from round to round
NOISE = (1.01, 0.98, 1.02, 0.99, 1.0, 1.01)


def lines(*, rate=1.0, cpu=1.0, only=None):
    """Two cells; what is changed of `martlet` is changed in all of them, or in the one of so many sessions."""
    for sessions in (10, 100):
        for i, (speed, noise) in enumerate(zip(SPEEDS, NOISE, strict=True)):
            for relay in ("before", "martlet"):
                is_new = relay == "martlet"
                changes = is_new and only in (None, sessions)
                yield {
                    "relay": relay, "size": 1024, "sess": sessions, "mode": "d", "rcpt": 1, "i": i,
                    "delivered_s": 9000 * speed * (noise if is_new else 1) * (rate if changes else 1),
                    "cpu_us": 100 / speed * (cpu if changes else 1),
                }  # fmt: skip


@pytest.mark.parametrize(
    "change, passes",
    [
        ({}, True),
        ({"rate": 1.2}, True),
        ({"rate": 0.97}, True),
        ({"rate": 0.93}, False),
        ({"cpu": 1.1}, False),
        ({"cpu": 0.8}, True),
        ({"rate": 0.93, "only": 100}, False),
    ],
)
def test_five_percent_fail(change, passes):
    said, passed = guard.judge(list(lines(**change)))
    assert passed == passes, said
    assert any("WORSE" in line for line in said) != passes


def test_nothing_measured_is_no_pass():
    assert guard.judge([])[1] is False
