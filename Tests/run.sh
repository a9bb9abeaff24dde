#!/bin/bash
# run.sh — every suite, from a clean clone: installs what is missing, builds, runs, counts.
#
#   Tests/run.sh [--soak] [--unit | --integration] [--only PATTERN]
#
#   --soak          the long forms of the reliability tests, libFuzzer for minutes a parser, and ThreadSanitizer
#   --unit          only the suites in Swift
#   --integration   only the black-box suites
#   --only PATTERN  only tests whose name has PATTERN in it
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh
. Tests/tools.sh

unit=yes integration=yes only=
while [ $# -gt 0 ]; do
    case $1 in
    --soak) export TEST_SOAK=1 ;;
    --unit) integration= ;;
    --integration) unit= ;;
    --only) only=${2-}; shift ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
    esac
    shift
done

if ! command -v swift >/dev/null; then
    echo "There is no Swift toolchain on this machine; deploy/quickstart.sh says how to get one." >&2
    exit 1
fi
install_packages build run package test || exit 1
install_python_tools || true

work=$(mktemp -d /tmp/martlet-tests-XXXXXX)
passed=0 failed=0 skipped=0 second=0
rules=(--explicit-target-dependency-import-check error)

# Prints one suite's figures and adds them up.
count() { # NAME PASSED FAILED SKIPPED
    printf '%-12s %5d passed %4d failed %4d skipped\n' "$@"
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
}

# The compiler does not see that a header embeds this file.
[ openapi.yaml -ot Sources/CContract/shim.h ] || touch Sources/CContract/shim.h Sources/Admin/ContractEndpoint.swift

# Builds, showing what went wrong; a warning about our own code is wrong.
build() { # NAME ARGUMENT…
    local name=$1 log=$work/$1.log began=$SECONDS
    shift
    if ! swift build "${rules[@]}" "$@" >"$log" 2>&1; then
        grep -E '(error|warning):' "$log" | sort -u | head -60
        echo "build ($name): FAILED"
        return 1
    fi
    if grep -E "^$PWD/(Sources|Tests)/.*warning:" "$log" | sort -u | grep .; then
        echo "build ($name): FAILED, warnings"
        return 1
    fi
    echo "build ($name): ok, $((SECONDS - began)) s"
}

# Adds up a JUnit file: prints PASSED FAILED SKIPPED, and 0 1 0 when there is none or nothing ran.
figures() {
    /usr/bin/python3 - "$1" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
total = bad = skipped = 0
try:
    for suite in tree.parse(sys.argv[1]).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        bad += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
except (OSError, tree.ParseError):
    pass
# One test may have several failures noted.
print(max(0, total - bad - skipped), bad, skipped) if total else print(0, 1, 0)
PYTHON
}

# A few failures may be the doing of the tests beside them on a small machine: they are run again, alone. What passes then
# is counted apart, because it may as well be a race: the first failure stays in the output. More than a few are no accident.
again_limit=5

# Moves what passed alone from failed to a figure of its own, in `figures` of the caller.
forgive() { # NAMES
    echo "passed at the second try, alone: $1"
    second=$((second + figures[1]))
    figures[0]=$((figures[0] + figures[1])) figures[1]=0
}

again_unit() { # LOG
    local names
    names=$(grep -aE '^✘ Test [A-Za-z_]+\(' "$1" | sed -E 's/^✘ Test ([A-Za-z_]+)\(.*/\1/' | sort -u | paste -sd '|')
    [ -n "$names" ] || return
    if swift test --skip-build --no-parallel --filter "($names)" >"$work/unit-again.log" 2>&1; then
        forgive "$names"
    else
        grep -aE '^✘|^↳|error:|Fatal error|Crash' "$work/unit-again.log" | head -100
    fi
}

again_integration() { # LOG
    local names
    mapfile -t names < <(grep -aE '^(FAILED|ERROR) ' "$1" | sed -E 's/^(FAILED|ERROR) //; s/ - .*//' | sort -u)
    [ "${#names[@]}" -gt 0 ] || return
    if /usr/bin/python3 -m pytest -q -rfEs -p no:cacheprovider "${names[@]}" >"$work/integration-again.log" 2>&1; then
        forgive "${names[*]}"
    else
        tail -200 "$work/integration-again.log"
    fi
}

run_unit() {
    build debug --build-tests || { count unit 0 1 0; return; }
    local log=$work/unit.log
    swift test --skip-build --parallel --xunit-output "$work/unit.xml" ${only:+--filter "$only"} >"$log" 2>&1
    local status=$?
    local result=$work/unit-swift-testing.xml
    [ -e "$result" ] || result=$work/unit.xml
    [ $status = 0 ] || grep -aE '^✘|^↳|error:|Fatal error|Crash' "$log" | head -100
    local figures
    read -ra figures <<<"$(figures "$result")"
    # A process that died says nothing in its report.
    if [ $status != 0 ] && [ "${figures[1]}" = 0 ]; then figures[1]=1; fi
    if [ "${figures[1]}" != 0 ] && [ "${figures[1]}" -le "$again_limit" ]; then again_unit "$log"; fi
    count unit "${figures[@]}"
}

run_integration() {
    build release -c release --product martlet || { count integration 0 1 0; return; }
    MARTLET=$(swift build -c release --show-bin-path)/martlet
    export MARTLET
    local log=$work/integration.log
    /usr/bin/python3 -m pytest -n "${TEST_WORKERS:-4}" -q -rfEs -p no:cacheprovider --junitxml "$work/integration.xml" \
        ${only:+-k "$only"} Tests/Integration >"$log" 2>&1
    local status=$?
    local figures
    read -ra figures <<<"$(figures "$work/integration.xml")"
    # 5: no test has such a name.
    if [ $status = 5 ] && [ -n "$only" ]; then figures=(0 0 0); fi
    if [ $status != 0 ] && [ $status != 5 ] && [ "${figures[1]}" = 0 ]; then figures[1]=1; fi
    if [ "${figures[1]}" != 0 ]; then tail -400 "$log"; else grep -aE '^SKIPPED' "$log"; fi
    if [ "${figures[1]}" != 0 ] && [ "${figures[1]}" -le "$again_limit" ]; then again_integration "$log"; fi
    count integration "${figures[@]}"
}

# libFuzzer, minutes a parser; its corpus is replayed by the unit suites in every run.
run_fuzz() {
    Tests/Fuzz/run.sh --seconds "${TEST_FUZZ_SECONDS:-120}" | tee "$work/fuzz.log"
    local figures
    read -ra figures < <(sed -n 's/^fuzz: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$work/fuzz.log")
    count fuzz "${figures[0]:-0}" "${figures[1]:-1}" 0
}

# ThreadSanitizer over the unit suites. Not in every run: a build of its own and code that is ten times slower cost more
# than everything else together. Seeded properties try a tenth, since what they look for is not a race.
run_threads() {
    local log=$work/threads.log status shim=$work/mutex.so
    clang -O2 -Wall -Wextra -fPIC -shared -o "$shim" Tests/Threads/mutex.c -ldl || { count threads 0 1 0; return; }
    if ! swift build "${rules[@]}" --scratch-path .build-threads --sanitize thread --build-tests >"$log" 2>&1; then
        grep -E 'error:' "$log" | sort -u | head -20
        count threads 0 1 0
        return
    fi
    # Preloaded, it tells the sanitizer what it cannot see of Swift's Mutex; nothing is suppressed.
    LD_PRELOAD=$shim TEST_SOAK='' TEST_EFFORT=0.1 TEST_PATIENCE=10 TSAN_OPTIONS="halt_on_error=0 exitcode=66" swift test "${rules[@]}" --scratch-path .build-threads \
        --sanitize thread --skip-build --no-parallel --xunit-output "$work/threads.xml" >>"$log" 2>&1
    status=$?
    local races result=$work/threads-swift-testing.xml figures
    [ -e "$result" ] || result=$work/threads.xml
    races=$(grep -ac 'WARNING: ThreadSanitizer' "$log")
    grep -a -A12 'WARNING: ThreadSanitizer' "$log" | head -80
    read -ra figures <<<"$(figures "$result")"
    [ "$status" = 0 ] && [ "$races" = 0 ] || figures[1]=$((figures[1] + races + (races == 0 && figures[1] == 0)))
    count threads "${figures[@]}"
}

[ -z "$unit" ] || run_unit
[ -z "$integration" ] || run_integration
if [ -n "$unit" ] && [ -n "${TEST_SOAK-}" ] && [ -z "$only" ]; then run_fuzz; run_threads; fi
if [ "$failed" = 0 ]; then rm -rf "$work"; else echo "logs: $work"; fi
[ "$second" = 0 ] || echo "of these $second passed at the second try, named above: look for the race"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
