#!/bin/bash
# check.sh — everything that needs no build: format, floors, lint. Each step says what it counted.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0

step() {
    local name=$1
    shift
    if "$@"; then echo "$name: ok"; else echo "$name: FAILED"; status=1; fi
}

check_format() {
    echo "format: $(find Sources Tests -name '*.swift' | wc -l) files"
    swift format lint --strict --parallel -r Package.swift Sources Tests
}

step format check_format
step floors .ci/floors.sh
step lint .ci/lint.sh
exit $status
