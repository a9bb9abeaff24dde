"""reports.py — reading delivery status notifications (RFC 3464) the way a mailing list manager would."""

import email
import email.policy
import re
from dataclasses import dataclass


@dataclass
class Report:
    raw: bytes
    message: object
    human: str
    per_message: object
    per_recipient: list
    original: object  # the third part
    original_type: str

    def field(self, recipient, name):
        for block in self.per_recipient:
            if address(block["Final-Recipient"]) == recipient:
                return block[name]
        raise AssertionError(f"{recipient} is not in the report")

    def with_action(self, action):
        return [address(b["Final-Recipient"]) for b in self.per_recipient if str(b["Action"]).lower() == action]

    @property
    def failed(self):
        return self.with_action("failed")

    @property
    def original_bytes(self):
        """The original message or its header, as it stands in the report."""
        boundary = self.message.get_boundary().encode()
        last = self.raw.split(b"--" + boundary)[3]
        return last.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def address(field):
    kind, _, text = str(field).partition(";")
    assert kind.strip().lower() in ("rfc822", "utf-8"), f"address type in {field!r}"
    return text.strip().strip("<>")


def parse(raw):
    """A `Report`; asserts that it is one."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report", message.get_content_type()
    assert message.get_param("report-type") == "delivery-status", message["Content-Type"]
    assert not message.defects, message.defects
    parts = list(message.iter_parts())
    assert len(parts) in (2, 3), f"{len(parts)} parts"
    for part in parts:
        assert not part.defects, (part.get_content_type(), part.defects)
    assert parts[0].get_content_type() == "text/plain", parts[0].get_content_type()
    assert parts[1].get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    blocks = parts[1].get_payload()
    assert isinstance(blocks, list) and len(blocks) >= 2, "delivery-status without a recipient"
    third = parts[2] if len(parts) == 3 else None
    return Report(
        raw,
        message,
        parts[0].get_content(),
        blocks[0],
        [b for b in blocks[1:] if b.keys()],
        third,
        third.get_content_type() if third else "",
    )


def check(report, small=True):
    """What holds for every failure or delay report."""
    raw = report.raw
    if small:
        assert len(raw) < 65536, f"{len(raw)} octets"
    assert b"\n" not in raw.replace(b"\r\n", b"") and b"\r" not in raw.replace(b"\r\n", b""), "bare CR or LF"
    longest = max(len(line) for line in raw.split(b"\r\n"))
    assert longest <= 998, f"line of {longest} octets"
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        assert len(report.message.get_all(name, [])) == 1, f"{len(report.message.get_all(name, []))} {name} headers"
    assert report.message["Auto-Submitted"], "no Auto-Submitted header (RFC 3834)"
    assert str(report.per_message["Reporting-MTA"]).lower().startswith("dns;"), report.per_message["Reporting-MTA"]
    for block in report.per_recipient:
        assert address(block["Final-Recipient"])
        action = str(block["Action"]).strip().lower()
        assert action in ("failed", "delayed", "delivered", "relayed", "expanded"), action
        status = str(block["Status"]).split()[0]
        wanted = {"failed": "45", "delayed": "4"}.get(action, "2")
        assert re.fullmatch(rf"[{wanted}]\.\d{{1,3}}\.\d{{1,3}}", status), f"{action} with status {status!r}"
        known = {
            "original-recipient",
            "final-recipient",
            "action",
            "status",
            "remote-mta",
            "diagnostic-code",
            "last-attempt-date",
            "final-log-id",
            "will-retry-until",
        }
        assert {name.lower() for name in block} <= known, f"fields {block.keys()}"


def check_unharmed(report):
    """A hostile reply text did not leave its place."""
    raw = report.raw
    head = raw.split(b"\r\n\r\n", 1)[0]
    assert b"victim" not in head.lower(), "the peer's text is in the header of the report"
    assert report.message["Bcc"] is None and not report.message.get_all("X-1")
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", raw), "control character in the report"
    allowed = {
        "reporting-mta",
        "original-envelope-id",
        "received-from-mta",
        "arrival-date",
        "dsn-gateway",
        "x-queue-id",
        "x-martlet-queue-id",
    }
    assert {k.lower() for k in report.per_message} <= allowed, report.per_message.keys()
    for block in report.per_recipient:
        for name, value in block.items():
            assert "\n" not in str(value) and len(str(value)) < 4096, f"{name} of {len(str(value))} characters"
    types = [p.get_content_type() for p in report.message.iter_parts()]
    assert len(types) <= 3 and types[1].endswith("delivery-status"), types
