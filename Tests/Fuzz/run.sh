#!/bin/bash
# run.sh — libFuzzer on the parsers that read what others wrote.
#
#   Tests/Fuzz/run.sh [--seconds N] [TARGET…]     N seconds a target (default 60), all targets unless some are named
#
# Begins with the committed corpus. An input that breaks a property or traps is left in .build-fuzz/found/TARGET-…; when
# the parser is mended, the smallest form of it goes into Tests/Fuzz/Corpus/TARGET and is replayed by every test run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=60 targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=${2-}; shift ;;
    -*) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
    *) targets+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls Tests/Fuzz/Corpus)
place=.build-fuzz
mkdir -p "$place/found"
FUZZ_DRIVER=1 swift build --scratch-path "$place" --sanitize fuzzer --product FuzzDriver >"$place/build.log" 2>&1 ||
    { grep -E 'error:' "$place/build.log" | head -20; echo "build (fuzz): FAILED"; exit 1; }
driver=$(FUZZ_DRIVER=1 swift build --scratch-path "$place" --sanitize fuzzer --show-bin-path)/FuzzDriver
passed=0 failed=0
for target in "${targets[@]}"; do
    mkdir -p "$place/corpus/$target"
    if FUZZ_TARGET=$target "$driver" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$place/found/$target-" "$place/corpus/$target" "Tests/Fuzz/Corpus/$target" >"$place/$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$target: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$place/$target.log") inputs"
    else
        failed=$((failed + 1))
        echo "$target: FAILED, see $place/$target.log and $place/found/"
        grep -aE 'Fatal error|ERROR: libFuzzer' "$place/$target.log" | head -3
    fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" = 0 ]
