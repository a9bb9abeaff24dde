# tools.sh — to be sourced: the tools of the tests that Debian does not have, in a place outside the tree.

tools_place=${XDG_CACHE_HOME:-$HOME/.cache}/martlet-tests-venv
tools_wanted="schemathesis==4.32.5 ruff==0.17.6 playwright==1.65.2 axe-playwright-python==0.1.8"

# Silent and quick when they are there; without schemathesis and Playwright the tests of the contract and of the page say that
# they were skipped. Playwright drives Debian's Chromium; its own is not fetched.
install_python_tools() {
    [ "$(cat "$tools_place/wanted" 2>/dev/null)" != "$tools_wanted" ] || return 0
    /usr/bin/python3 -m venv "$tools_place" &&
        "$tools_place/bin/pip" install -q --disable-pip-version-check $tools_wanted &&
        echo "$tools_wanted" >"$tools_place/wanted" && return
    echo "the tools of the tests cannot be installed: $tools_wanted" >&2
    return 1
}
