"""story.py — the life of a message as the log tells it, for tests that ask "what became of it?"."""

import re

from smtp_client import send_mail
from waiting import wait_until

EVENTS = {"delivered": "delivered", "delivery deferred": "deferred", "bounced": "bounced"}


def text(subject="x", body=b"hello\r\n", extra=b""):
    return b"From: <a@report.test>\r\nSubject: " + subject.encode() + b"\r\n" + extra + b"\r\n" + body


def events(relay, queue_id, recipient=None):
    """`[(event, line)]` of a message, or of one of its recipients, in order."""
    found = []
    for line in relay.log:
        event = EVENTS.get(line.message)
        if event and line["id"] == queue_id:
            named = [r.strip("<>") for r in re.split(r"[,\s]+", line["to"] or "")]
            if recipient is None or recipient in named:
                found.append((event, line))
    return found


def first_event(relay, queue_id, recipient=None, timeout=20.0):
    """`(event, line)`: the first thing that became of it."""
    return wait_until(
        lambda: next(iter(events(relay, queue_id, recipient)), None),
        timeout,
        lambda: f"an event of {queue_id} {recipient or ''}; log:\n{relay.log_tail()}",
        0.02,
    )


def wait_event(relay, queue_id, event, recipient=None, timeout=20.0):
    """The line of the first such event."""
    return wait_until(
        lambda: next((l for e, l in events(relay, queue_id, recipient) if e == event), None),
        timeout,
        lambda: f"{queue_id} {recipient or ''} {event}; log:\n{relay.log_tail()}",
        0.02,
    )


def submit(relay, recipients, sender="a@report.test", content=None, **how):
    """Sends one message and returns its queue id."""
    recipients = [recipients] if isinstance(recipients, str) else recipients
    return send_mail(relay, sender, recipients, content or text(), **how)
