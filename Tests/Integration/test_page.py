"""test_page.py - the page in a real browser: every view, every theme and width, without a mouse, without a complaint."""

import os
import re
import shutil

import pytest
from api import token
from page_house import VIEWS, expect, needs_browser, picture, ready
from waiting import wait_until

pytestmark = needs_browser

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def test_the_first_load_is_small_and_guarded(page_relays, check):
    relays = page_relays()
    status, headers, body = relays.api.ask("GET", "/", Accept_Encoding="gzip")
    check.equal(status, 200, "the page")
    check.equal(headers.get("Content-Security-Policy"), POLICY, "policy")
    check.equal(headers.get("Content-Encoding"), "gzip", "compressed")
    check.equal(headers.get("X-Content-Type-Options"), "nosniff", "no guessing")
    plain = relays.api.ask("GET", "/")[2]
    check("style=" not in plain.decode() and "<style" not in plain.decode(), "nothing inline")
    names = re.findall(r'(?:href|src)="(page/[0-9a-f]{16}/[\w.]+)"', plain.decode())
    check(len(names) > 8, names)
    size = len(body)
    for name in set(names):
        status, headers, data = relays.api.ask("GET", "/" + name, Accept_Encoding="gzip")
        check.equal(status, 200, name)
        check("immutable" in headers["Cache-Control"] and "Accept-Encoding" in headers["Vary"], name)
        check.equal(headers.get("Content-Security-Policy"), POLICY, name)
        size += len(data)
    check(size <= 60 * 1024, f"first load of {size} bytes")
    print(f"first load: {size} bytes in {len(set(names)) + 1} requests")
    check.equal(relays.api.ask("GET", f"/page/{'0' * 16}/app.js")[0], 404, "another version")
    check.equal(relays.api.ask("GET", "/" + names[0].rpartition("/")[0] + "/..%2f..%2fme")[0], 400, "a way out")
    off = page_relays(admin="page = false\n")
    for method, path in (("GET", "/"), ("GET", "/" + names[0])):
        check.equal(off.api.ask(method, path)[0], 404, f"{path} where it is off")


def test_now_says_what_waits_and_why(opened):
    relays, page = opened(fill=3)
    expect(page.get_by_text("Delivering.", exact=True)).to_be_visible()
    waiting = page.get_by_role("region", name="What waits, by destination and age")
    expect(waiting.get_by_role("link", name="3 for later.example, waiting ≤ 5 min")).to_be_visible()
    problem = page.locator("li.problem", has_text="later.example")
    expect(problem).to_contain_text("3 parcels")
    expect(problem).to_contain_text("try later, greylisted")
    problem.get_by_role("link", name="Its mail").click()
    expect(page.get_by_text("3 messages", exact=True)).to_be_visible()
    assert "reason=greylisted" in page.url and "route=later.example" in page.url
    assert relays.api.ask("GET", "/v1/stats/waiting")[2]["problems"][0]["parcels"] == 3


@pytest.mark.parametrize("width,scheme", [(1280, "light"), (1280, "dark"), (400, "light")])
def test_every_view_is_fit_for_everybody(opened, width, scheme):
    """Axe finds nothing, nothing is wider than the window, and nothing complains."""
    from axe_playwright_python.sync_playwright import Axe

    relays, page = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    message = relays.ids["later.example"][0]
    bad = []
    for view in [*VIEWS, f"message/{message}", "destination/later.example", "routes/later.example", "routes/+"]:
        page.goto(f"{relays.url}#/{view}")
        expect(page.locator("main h1").first).to_be_attached()
        ready(page, view.partition("/")[0])
        expect(page.get_by_text("Loading…")).to_have_count(0)
        found = Axe().run(page)
        if found.violations_count:
            bad.append(f"{view}: {found.generate_report()}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            bad.append(f"{view} is {wide} wider than the window")
        picture(page, f"{view.replace('/', '-')}-{scheme}-{width}")
    assert not bad, "\n".join(bad)


def test_the_keyboard_is_enough(opened):
    relays, page = opened("#/queue")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(4)
    for key in ("j", "j", "x"):
        page.keyboard.press(key)
    second = rows.nth(1)
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_contain_text(relays.ids["later.example"][1])
    page.keyboard.press("Escape")
    expect(rows.nth(1)).to_be_focused()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Retry…")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Hold 1 message until somebody releases it?")
    page.keyboard.type("look at it")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 message is held.")).to_be_visible()
    held = relays.api.ask("GET", "/v1/queue?state=held")[2]["items"]
    assert [(row["id"], row["held"]["reason"]) for row in held] == [(relays.ids["later.example"][1], "look at it")]
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("state:held")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next row")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_text("no such mailbox here").first).to_be_visible()


def test_a_refresh_keeps_what_is_selected_and_counts_what_is_new(opened):
    relays, page = opened("#/queue?route=later.example")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("x")
    new = relays.send("late@later.example")
    button = page.get_by_role("button", name="1 new message: refresh")
    expect(button).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(2)
    button.click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.locator(f'tr[data-id="{new}"]')).to_be_visible()
    expect(page.locator("tbody tr").first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("1 selected")).to_be_visible()


def test_a_token_opens_what_it_may_and_no_more(browser, page_relays):
    relays = page_relays()
    all_of_it = token(relays.relay, "boss")
    reader = token(relays.relay, "reader", "status:read,queue:read")
    wait_until(lambda: relays.api.ask("GET", "/v1/stats")[0] == 401, what="the tokens to be noticed")
    context = browser.context(relays.url)
    page = context.new_page()
    page.goto(relays.url)
    page.get_by_label("Token").fill("nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("is not taken")
    page.get_by_label("Token").fill(reader)
    page.keyboard.press("Enter")
    views = page.get_by_role("navigation")
    expect(views.get_by_role("link", name="Queue")).to_be_visible()
    expect(views.get_by_role("link", name="Routes")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop delivery…")).to_have_count(0)
    cookie = next(one for one in context.cookies() if one["name"].startswith("martlet_session_"))
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/"
    assert cookie["value"] not in (relays.relay.config / "admin.ini").read_text() + relays.relay.log_tail(1000)
    # The cookie alone changes nothing, and another site's page may not even look.
    jar = {"Cookie": f"{cookie['name']}={cookie['value']}"}

    def ask(*words, **fields):
        """Once more where the browser's connections and ours are too many for one client at that moment."""
        return wait_until(lambda: (got := relays.api.ask(*words, **fields))[0] != 503 and got, what="a seat")

    assert ask("GET", "/v1/stats", **jar)[0] == 200
    assert ask("DELETE", "/v1/session", **jar)[0] == 403
    assert ask("GET", "/v1/stats", **jar, Sec_Fetch_Site="same-site")[0] == 403
    assert ask("GET", "/v1/stats", **jar, Origin="http://evil.example")[0] == 403
    assert ask("POST", "/v1/queue/flush", **jar, X_Martlet_Page="1")[0] == 403
    sessions = ask("GET", "/v1/sessions", Authorization=f"Bearer {all_of_it}")[2]["items"]
    assert [one["token"] for one in sessions] == ["reader"]
    revoked = ask("DELETE", f"/v1/sessions/{sessions[0]['id']}", Authorization=f"Bearer {all_of_it}")[0]
    assert revoked == 204 and ask("GET", "/v1/stats", **jar)[0] == 401
    expect(page.get_by_label("Token")).to_be_visible()
    page.get_by_label("Token").fill(all_of_it)
    page.keyboard.press("Enter")
    expect(views.get_by_role("link", name="Routes")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert ask("GET", "/v1/sessions", Authorization=f"Bearer {all_of_it}")[2]["items"] == []
    context.close()
    browser.calm()


def test_the_cookie_is_secure_where_there_is_tls(page_relays):
    relays = page_relays()
    secret = token(relays.relay)
    wait_until(lambda: relays.api.ask("GET", "/v1/stats")[0] == 401, what="the token to be noticed")
    for more, isSecure in (({}, False), ({"X_Forwarded_Proto": "https"}, True)):
        headers = relays.api.ask("POST", "/v1/session", Authorization=f"Bearer {secret}", **more)[1]
        cookie = headers["Set-Cookie"]
        assert ("; Secure" in cookie) == isSecure and "HttpOnly; SameSite=Strict" in cookie, cookie


def test_two_relays_of_one_host_do_not_log_each_other_out(browser, page_relays):
    """A browser sends the cookies of a host to all its ports: each relay has a name of its own for the session."""
    both = [page_relays(), page_relays()]
    secrets = [token(relays.relay) for relays in both]
    for relays in both:
        wait_until(lambda relays=relays: relays.api.ask("GET", "/v1/stats")[0] == 401, what="the tokens to be noticed")
    context = browser.context("http://127.0.0.1:")
    pages = [context.new_page() for _ in both]
    for relays, page, secret in zip(both, pages, secrets):
        page.goto(relays.url)
        page.get_by_label("Token").fill(secret)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
    for page in pages:
        page.reload()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
    pages[0].get_by_role("button", name="Log out").click()
    expect(pages[0].get_by_label("Token")).to_be_visible()
    pages[1].reload()
    expect(pages[1].get_by_role("button", name="Log out")).to_be_visible()
    context.close()
    browser.calm()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_message_is_printed_as_ink_on_paper(opened, tmp_path, scheme):
    """Only what is said of the message, black on white whatever the theme, nothing cut off, and where it is from."""
    relays, page = opened(color_scheme=scheme)
    long = relays.send(
        "paper@later.example", "on paper", body="\r\n".join(f"line {n} " + "x" * 200 for n in range(120))
    )
    page.goto(f"{relays.url}#/message/{long}")
    page.get_by_role("button", name="Show headers and body").click()
    expect(page.locator("pre").nth(1)).to_contain_text("line 119")
    page.emulate_media(media="print")
    for gone in ("header.top", "button", "a.button", ".notices"):
        assert page.locator(gone).locator("visible=true").count() == 0, gone
    expect(page.get_by_text(f"From {relays.url}#/message/{long}")).to_be_visible()
    colours = page.evaluate(
        """() => [...document.querySelectorAll('main h1, main dd, main td, main li, main pre, main a')].map((one) => {
            const style = getComputedStyle(one);
            return `${style.color} on ${getComputedStyle(document.documentElement).getPropertyValue('--card')}`;
        })"""
    )
    assert set(colours) == {"rgb(0, 0, 0) on #fff"}, set(colours)
    # Nothing scrolls on paper.
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('main pre, main .scroll')]
            .filter((one) => one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1).length"""
    )
    assert hidden == 0
    paper = tmp_path / "message.pdf"
    page.pdf(path=str(paper), prefer_css_page_size=True)
    assert paper.read_bytes().count(b"/Type /Page\n") >= 2 or paper.stat().st_size > 10_000
    folder = os.environ.get("TEST_SCREENSHOTS")
    if folder:
        shutil.copy(paper, f"{folder}/message-{scheme}.pdf")
    picture(page, f"message-print-{scheme}")
