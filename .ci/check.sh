#!/bin/bash
# check.sh — everything that needs no build: format, rules of Python, floors, lint. Each step says what it counted.
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

# Python as strictly as Swift: format and rules of Tests/ruff.toml.
check_python() {
    echo "python: $(find Tests -name '*.py' | wc -l) files"
    . deploy/packages.sh && . Tests/tools.sh && install_packages test && install_python_tools || return 1
    "$tools_place/bin/ruff" format --quiet --check Tests && "$tools_place/bin/ruff" check --quiet Tests
}

step format check_format
step python check_python
step floors .ci/floors.sh
step lint .ci/lint.sh
exit $status
