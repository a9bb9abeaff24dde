#!/bin/bash
# lint.sh — the house rules that a formatter does not know: lengths, docstrings, banned words, paths.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bad=0

report() { # RULE LINES
    local count=0
    [ -z "$2" ] || count=$(wc -l <<<"$2")
    [ -z "$2" ] || sed "s/^/$1: /" <<<"$2"
    bad=$((bad + count))
}

mapfile -t sources < <(find Sources Package.swift -name '*.swift' | sort)
mapfile -t tests < <(find Tests -name '*.swift' | sort)
mapfile -t scripts < <(find .ci deploy Tests -name '*.sh' -o -path .ci/run -type f | sort)
tracked=$(git ls-files 2>/dev/null || find . -path ./.git -prune -o -path ./.build -prune -o -type f -print)

# Files of at most 500 lines, tests of 800.
report "file too long" "$(wc -l "${sources[@]}" | awk '$1 > 500 && $2 != "total" { print $2 " has " $1 " lines" }')"
report "file too long" "$(wc -l "${tests[@]}" | awk '$1 > 800 && $2 != "total" { print $2 " has " $1 " lines" }')"

report "file too long" "$(find Tests -name '*.py' -exec wc -l {} + | awk '$1 > 800 && $2 != "total" { print $2 " has " $1 " lines" }')"

# Functions of at most 60 lines. The formatter's indentation tells where one ends; one inside another counts for both.
report "function too long" "$(awk '
    FNR == 1 { depth = 0 }
    match($0, /^ *((@[A-Za-z]+|package|private|fileprivate|internal|static|mutating|override|consuming|borrowing|convenience|nonisolated) +)*(func |init[?(<]|deinit|subscript[(<])/) {
        match($0, /^ */)
        # What a protocol asks for has no end of its own.
        while (depth && indent[depth] >= RLENGTH) depth--
        depth++; indent[depth] = RLENGTH; start[depth] = FNR; name[depth] = $0
        if ($0 ~ /}$/) { depth-- }
        next
    }
    depth && match($0, /^ *}/) && RLENGTH == indent[depth] + 1 {
        length_ = FNR - start[depth] + 1
        if (length_ > 60) { sub(/^ */, "", name[depth]); print FILENAME ":" start[depth] " " length_ " lines: " name[depth] }
        depth--
    }' "${sources[@]}")"

# A docstring before every `package` type and function. Not asked of an init, a stored property, an operator, and a
# function that a protocol of ours describes (its docstring is there).
report "no docstring" "$(awk '
    pass == 1 {
        if ($0 ~ /^(package )?protocol /) { inside = 1 }
        else if ($0 ~ /^}/) { inside = 0 }
        else if (inside && match($0, /func [A-Za-z_0-9]+/)) { known[substr($0, RSTART + 5, RLENGTH - 5)] = 1 }
        next
    }
    FNR == 1 { documented = 0; count += 0; known["log"] = known["hash"] = 1 }
    /^ *\/\/\// { documented = 1; next }
    /^ *@/ { if ($0 !~ /package /) next }
    /^ *(@[A-Za-z()_]+ +)*package ((final|static|mutating|indirect|consuming|borrowing|nonisolated) +)*(struct|class|enum|actor|protocol|func|subscript|typealias) / {
        name = ""
        if (match($0, /func [A-Za-z_0-9]+/)) name = substr($0, RSTART + 5, RLENGTH - 5)
        isOperator = $0 ~ /func [^A-Za-z_]/ || $0 ~ /subscript/
        if (!documented && !isOperator && !(name in known)) { line = $0; sub(/^ */, "", line); print FILENAME ":" FNR " " line }
    }
    { documented = 0 }' pass=1 "${sources[@]}" pass=2 "${sources[@]}")"

# Every file says what it is.
report "no header comment" "$(for file in "${sources[@]}" "${tests[@]}"; do
    case $file in Package.swift) continue ;; esac
    head -1 "$file" | grep -qE "^// $(basename "$file" | sed 's/[.+]/\\&/g') — " || echo "$file"
done)"

ban() { # RULE PATTERN FILE…: lines of code; comments may say anything
    local rule=$1 pattern=$2
    shift 2
    report "$rule" "$(grep -nE "$pattern" "$@" /dev/null | grep -vE '^[^:]+:[0-9]+: *//')"
}

ban "banned" '\btry!|\bas!|\b(fatalError|preconditionFailure|precondition|unsafeBitCast)\(' "${sources[@]}"
ban "banned" 'nonisolated\(unsafe\)|DispatchQueue|DispatchSemaphore|Task\.detached|\bNSLock' "${sources[@]}" "${tests[@]}"
# Synchronization has no condition variable; the doorbell is the one place that needs it.
mapfile -t lockless < <(printf '%s\n' "${sources[@]}" "${tests[@]}" | grep -v '^Sources/Files/Doorbell.swift$')
ban "banned" 'pthread_mutex' "${lockless[@]}"
# The environment is asked for in one place, and read by one rule: Config/Environment.
mapfile -t elsewhere < <(printf '%s\n' "${sources[@]}" | grep -v '^Sources/Process/')
ban "environment" '\b(getenv|secure_getenv|setenv|putenv|unsetenv)\(|\benviron\b' "${elsewhere[@]}"
ban "no public" '^ *(public|open) +(final |static |class |struct |enum |protocol |actor |func |var |let |init|extension |typealias |import )' "${sources[@]}"
ban "no Foundation" '^ *((package|internal|private) +)?import +Foundation *$' "${sources[@]}" "${tests[@]}"
ban "name says nothing" '\b(class|struct|enum|protocol|actor) [A-Za-z]*(Manager|Helper|Helpers|Util|Utils|Base)\b' "${sources[@]}" "${tests[@]}"
# Text from outside is octets: Characters see another text than whoever reads it. `utf8` on the line passes, and so does a
# comment `// characters: why` on it or right above it.
mapfile -t outside < <(printf '%s\n' "${sources[@]}" |
    grep -E '^Sources/(SMTP|Admin|Config|RemoteHooks|DNS|Delivery|Departure|Intake|Ingest|Queue|Storage|MessageFormat|Operator|JSON|HTTPClient|Mail|Log|Doctor|Process|Files|OpenSSL|Hooks|Webhooks|Passwords|Suppression|History|Chronicle|Database|Page|Milter|Filters|TLSReports|Compression|martlet)/')
report "characters for octets" "$(awk '
    /^ *\/\// { isPardoned = isPardoned || /characters:/; next }
    {
        isOctets = /utf8|withOctets|isSame\(octets:/
        if (!isPardoned && !isOctets && $0 !~ /\/\/ characters:/ &&
            /\.has(Prefix|Suffix)([^A-Za-z]|$)|\.split\(separator: "|\.(first|last)Index\(of: "|\.contains\("|\.(first|last) [!=]= "|\.(lower|upper)cased\(\)|\.is(Number|Letter|Whitespace|Newline)([^A-Za-z]|$)|\[Character: |: Character[,)=]|\.split *\{ *\$0 == "/) {
            line = $0; sub(/^ */, "", line); print FILENAME ":" FNR " " line
        }
        isPardoned = 0
    }' "${outside[@]}")"
ban "tests do not sleep" 'Task\.sleep|\b(usleep|sleep)\(' "${tests[@]}"
report "unproven @unchecked Sendable" "$(awk '
    /@unchecked Sendable/ && $0 !~ /^ *\/\// && $0 !~ /\/\// && previous !~ /^ *\/\// { print FILENAME ":" FNR }
    { previous = $0 }' "${sources[@]}")"
# In a type that cannot be copied, `optional?.part = value` leaks what was there (Swift 6.3.1; SMTPTests show it): let a
# method of the part's type do it.
mapfile -t noncopyable < <(grep -lE "\b(struct|enum|extension) ($(grep -ohE '(struct|enum) [A-Za-z]+: ~Copyable' "${sources[@]}" | sed -E 's/.* ([A-Za-z]+):.*/\1/' | paste -sd '|'))\b" "${sources[@]}")
ban "leaks in a noncopyable type" '\b[a-z][A-Za-z0-9]*([?!](\.[A-Za-z0-9]+)+|[?!]) = ' "${noncopyable[@]}"
report "unfinished" "$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' "${sources[@]}" "${tests[@]}")"
report "place of a machine" "$(grep -nE '/(home|Users)/[a-z]+/|/tmp/[a-z]/' $tracked 2>/dev/null | grep -v '^\.ci/lint\.sh:')"
# Every file and test that the documentation names is there.
promised=(README.md Sources/martlet/martlet.docc/*.md)
found_promised() { # NAME, as it stands between backticks
    case $1 in
    *.py::*) grep -qE "^def ${1#*::}\(" "Tests/Integration/${1%%::*}" ;;
    *.table) [ -e "Tests/Tables/$1" ] || [ -e "$1" ] ;;
    *.dialogue) [ -e "Tests/Dialogues/$1" ] || [ -e "$1" ] ;;
    *.swift) [ -e "Sources/$1" ] || [ -e "$1" ] ;;
    *Tests.*) grep -qE "func ${1#*.}\(" Tests/*/"${1%%.*}.swift" ;;
    esac 2>/dev/null
}
mapfile -t promises < <(grep -ohE '`[A-Za-z0-9_/+]+(\.py::\w+|\.table|\.dialogue|\.swift|Tests\.\w+)`' "${promised[@]}" | tr -d '`' | sort -u)
report "named and not there" "$(for name in "${promises[@]}"; do found_promised "$name" || echo "$name"; done)"
[ "${#promises[@]}" -gt 50 ] || report "documentation" "names too little"
report "blank in a path" "$(grep ' ' <<<"$tracked")"
# The page: one job a file, no markup out of text, no inline styles (the CSP refuses them), no word outside its table.
mapfile -t page < <(find Sources/CPage/page -type f | sort)
report "file too long" "$(wc -l "${page[@]}" | awk '$1 > 250 && $2 != "total" && $2 !~ /words\.js$/ { print $2 " has " $1 " lines" }')"
report "markup out of text" "$(grep -nE '\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|DOMParser' "${page[@]}")"
report "inline style or handler" "$(grep -nE "style=|\.style\b|'style'|<style|cssText|<[a-z]+ [^>]*\bon[a-z]+=" "${page[@]}")"
report "no header comment" "$(for file in "${page[@]}"; do
    case $file in *.js) head -1 "$file" | grep -qE "^// $(basename "$file") — " || echo "$file" ;; esac
done)"
report "not in CPage/shim.h" "$(for file in "${page[@]}"; do grep -qF "page/$(basename "$file")\"" Sources/CPage/shim.h || echo "$file"; done)"
report "no such word" "$(grep -hoE "\bt\('[^']+'" "${page[@]}" | sed -E "s/^t\('([^']+)'/\1/" | sort -u | while read -r word; do
    grep -qE "^  ('$word'|$word):" Sources/CPage/page/words.js || echo "$word"
done)"
report "shell syntax" "$(for file in "${scripts[@]}"; do bash -n "$file" 2>&1; done)"

echo "lint: ${#sources[@]} source files, ${#tests[@]} test files, ${#scripts[@]} scripts, ${#promises[@]} promises, ${#page[@]} files of the page, $bad wrong"
[ "$bad" = 0 ] && [ "${#sources[@]}" -gt 0 ] && [ "${#tests[@]}" -gt 0 ]
