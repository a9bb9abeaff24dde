"""mail_corpus.py - mail files of every shape we have met, made here and always the same.

`FILES` maps a name to the octets of a file with CRLF line ends. What is odd about each is in its name.
"""

import random

_RNG = random.Random(5322)
_ANY = bytes(c for c in range(1, 256) if c not in (10, 13))


def _noise(length):
    return bytes(_RNG.choice(_ANY) for _ in range(length))


def _mail(*fields, text=b"text\r\n"):
    return b"".join(field + b"\r\n" for field in fields) + b"\r\n" + text


_PARTS = (
    b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: inner@a.test\r\nDate: inner\r\n\r\nReceived: in the text\r\n--b--\r\nepilogue\r\n"
)

FILES = {
    "plain": _mail(b"From: a@a.test", b"To: b@b.test", b"Subject: plain"),
    "no header": b"just text\r\n",
    "no header, a colon later": b"dear all: hello\r\nSubject: none\r\n\r\ntext\r\n",
    "no header, begins with From": b"From here on all is text\r\nand more of it\r\n",
    "empty line first": b"\r\ntext\r\n",
    "three empty lines": b"\r\n\r\n\r\n",
    "header alone": b"From: a@a.test\r\nSubject: alone\r\n",
    "header and empty line alone": b"From: a@a.test\r\n\r\n",
    "header without empty line": b"From: a@a.test\r\nSubject: x\r\nno field here\r\n\r\ntext\r\n",
    "field in eight bits ends the header": b"From: a@a.test\r\nSubj\xe9t: x\r\n\r\ntext\r\n",
    "field without a name": b"From: a@a.test\r\n: x\r\n\r\ntext\r\n",
    "blank before colon": _mail(b"From : a@a.test", b"Date\t:x", b"Message-ID  : <1@a.test>"),
    "empty fields": _mail(b"From:", b"To:", b"Date:", b"Subject:   "),
    "folded": _mail(b"From: a@a.test", b"Subject: one\r\n two\r\n\tthree\r\n ", b"X:\r\n y"),
    "folded first": b" folded\r\nFrom: a@a.test\r\n\r\ntext\r\n",
    "folded by a line of blanks": _mail(b"From: a@a.test", b"Subject: x\r\n  \t \r\n y"),
    "mailbox file": b"From a@a.test Sun Nov 22 10:00:00 2026\r\n" + _mail(b"From: a@a.test", b"Date: x"),
    "mailbox file, quoted": b">From a Sun Nov 22 10:00:00 2026\r\n" + _mail(b"From: a@a.test"),
    "mailbox file, folded": b"From a\r\n folded\r\n" + _mail(b"From: a@a.test", text=b"From b\r\n>From c\r\n"),
    "mailbox lines in the text": _mail(b"From: a@a.test", text=b"From b Sun Nov 22\r\nFrom: c\r\n"),
    "many hops": _mail(*[b"Received: from a by b;\r\n\tdate %d" % n for n in range(40)], b"From: a@a.test"),
    "mixed case": _mail(b"fRoM: a@a.test", b"DATE: x", b"mEssage-iD: <1@a.test>"),
    "twice": _mail(b"From: a@a.test", b"Date: 1", b"Date: 2", b"Message-ID: <1>", b"Message-ID: <2>"),
    "long line in the header": _mail(b"From: a@a.test", b"Subject: " + b"word " * 4000),
    "long line in the text": _mail(b"From: a@a.test", text=b"x" * 200_000 + b"\r\n.\r\n" + b"." * 5000 + b"\r\n"),
    "998 and 999": _mail(b"From: a@a.test", text=b"x" * 998 + b"\r\n" + b"y" * 999 + b"\r\n"),
    "dots": _mail(b"From: a@a.test", text=b".\r\n..\r\n...\r\n.x\r\n..x\r\n. \r\n\r\n.\r\n"),
    "dots in a folded field": _mail(b"From: a@a.test", b"Subject: x\r\n .\r\n ..y"),
    "dot first": b".\r\n.a: b\r\n\r\n.\r\n",
    "blanks at line ends": _mail(b"From: a@a.test   \t", b"Subject: x ", text=b"x \r\n\t\r\n   \r\n\r\n"),
    "many empty lines": _mail(b"From: a@a.test", text=b"\r\n" * 3000 + b"x" + b"\r\n" * 3000),
    "latin-1": _mail(b"From: Ren\xe9 <a@a.test>", b"Subject: \xfc\xdf", text=b"\xe4\xf6\xfc\r\n"),
    "utf-8": _mail(
        "From: Ännë <a@a.test>".encode(), "Subject: 🙂 e\u0301".encode(), text="ß\u2028\u0085x\r\n".encode()
    ),
    "utf-8 with a mark first": b"\xef\xbb\xbfFrom: a@a.test\r\n\r\ntext\r\n",
    "broken utf-8": _mail(b"From: a@a.test", text=b"\xc3\r\n\xa9\xff\xfe\xf8\x80\r\n"),
    "utf-16 without NUL": _mail(b"From: a@a.test", text="文字化け".encode("utf-16-le").replace(b"\n", b"x") + b"\r\n"),
    "controls": _mail(b"From: a@a.test", text=bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n"),
    "binary": _mail(b"From: a@a.test", text=b"".join(_noise(997) + b"\r\n" for _ in range(300))),
    "escape sequences": _mail(b"From: a@a.test", b"Subject: \x1b[31mred", text=b"\x1b]0;title\x07\r\n"),
    "multipart": _mail(
        b"From: a@a.test", b"MIME-Version: 1.0", b"Content-Type: multipart/mixed; boundary=b", text=_PARTS
    ),
    "signed by somebody": _mail(b"DKIM-Signature: v=1; a=x; b=\r\n\tabc;", b"From: a@a.test", b"ARC-Seal: i=1"),
    "secret recipients": _mail(b"From: a@a.test", b"Bcc: c@c.test", b"Resent-Bcc : d@d.test"),
    "names of other languages": _mail(b"__proto__: x", b"constructor: y", b"toString: z", b"From: a@a.test"),
    "a thousand fields": _mail(*[b"X-%d: %d" % (n, n) for n in range(1000)], b"From: a@a.test"),
    "smtp inside": _mail(b"From: a@a.test", text=b"RSET\r\nMAIL FROM:<x@x.test>\r\nDATA\r\nQUIT\r\nBDAT 3 LAST\r\n"),
}
for _number in range(40):
    _fields = [
        _RNG.choice([b"X-A", b"Subject", b"To", b"date", b"X" * 70]) + b": " + _noise(_RNG.randrange(80))
        for _ in range(_RNG.randrange(1, 9))
    ]
    _lines = [_noise(_RNG.choice([0, 1, 3, 76, 500, 1200])) + b"\r\n" for _ in range(_RNG.randrange(60))]
    FILES[f"noise {_number}"] = _mail(b"From: a@a.test", *_fields, text=b"".join(_lines))
