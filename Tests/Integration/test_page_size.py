"""test_page_size.py - what each view of the page costs: lines of its own, what is loaded for it, in how many requests.

Told from the files as they stand: a view's modules are what `app.js` loads for it, with whatever they import.
"""

import gzip
import re

from harness import ROOT

PAGE = ROOT / "Sources/CPage/page"
# Bytes, compressed, and requests of the first load; what a view may add to it.
FIRST, MORE, REQUESTS = 60 * 1024, 24 * 1024, 12


def text(name):
    return (PAGE / name).read_text()


def imports(name):
    return set(re.findall(r"^import [^;]*? from '\./([\w.]+)';", text(name), re.M | re.S))


def closure(name):
    found, left = set(), [name]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += imports(one)
    return found


def size(names):
    return sum(len(gzip.compress((PAGE / name).read_bytes(), 9)) for name in names)


def views():
    return re.findall(r"^  (\w+): \{ scope: .*?import\('\./([\w.]+)'\)", text("app.js"), re.M)


def test_each_view_is_small():
    preloaded = set(re.findall(r"\{\{place\}\}/([\w.]+)", text("index.html"))) | {"index.html"}
    # The two views that are opened most.
    first = preloaded | closure("app.js") | closure("now.js") | closure("queue.js")
    assert first == preloaded, f"loaded at once and not named by index.html: {first - preloaded}"
    print(f"first load: {size(first)} bytes in {len(first)} requests, {sum(lines(name) for name in first)} lines")
    assert size(first) <= FIRST and len(first) <= 21
    every = views()
    assert len(every) >= 20
    for view, module in every:
        more = closure(module) - first
        print(f"{view:13} {lines(module):4} lines of {module}; {size(more):6} bytes more in {len(more)} requests")
        assert size(more) <= MORE and len(more) <= REQUESTS, view
        assert lines(module) <= 250, f"{module} does too much"


def lines(name):
    return len(text(name).splitlines())


def test_every_word_is_there():
    """One table of words: no key is asked for that it does not have."""
    known = set(re.findall(r"^  '?([\w.?/-]+(?: \w+)?)'?: ", text("words.js"), re.M))
    code = "\n".join(text(path.name) for path in PAGE.glob("*.js") if path.name != "words.js")
    asked = set(re.findall(r"\bt\('([\w.?/ -]+)'", code))
    assert asked <= known, sorted(asked - known)
