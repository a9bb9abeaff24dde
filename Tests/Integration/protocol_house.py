"""protocol_house.py - what the tests of SMTP's server side share: limits, a message, a look whether a session lives."""

LIMITS = {
    "limits.message_bytes": 262_144,
    "limits.recipients": 150,
    "limits.errors": 1000,
    "limits.header_bytes": 131072,
}
SIZE = LIMITS["limits.message_bytes"]
MESSAGE = (
    b"From: a@a.test\r\nTo: b@b.test\r\nSubject: a test\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@a.test>\r\n\r\nA line.\r\n"
)


def alive(client, check, what):
    """The session must still be in order."""
    check.equal(client.command("NOOP").code, 250, f"NOOP after {what}")
