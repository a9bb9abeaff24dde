# packages.sh — to be sourced: `packages SECTION…` prints names from packages.txt, `install_packages SECTION…` installs
# those that are missing and is silent and quick when there are none.

packages_list=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/packages.txt

# One requirement a line; alternatives are parted by `|`.
packages() {
    local section
    for section; do
        awk -v wanted="[$section]" '
            { sub(/#.*/, ""); gsub(/[ \t]+/, "") }
            /^\[/ { on = $0 == wanted; next }
            on && length' "$packages_list"
    done | sort -u
}

package_is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

package_is_known() { apt-cache show "$1" >/dev/null 2>&1; }

missing_packages() {
    local line name alternatives found
    for line in $(packages "$@"); do
        IFS='|' read -ra alternatives <<<"$line"
        found=
        for name in "${alternatives[@]}"; do
            if package_is_installed "$name"; then found=yes; fi
        done
        [ -n "$found" ] || echo "$line"
    done
}

# Services are not started: a package of the tests must not begin to listen on this machine.
install_packages() {
    local missing line name names=() root=()
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "Missing packages (names of Debian): $missing" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "As root: apt-get install $missing" >&2; return 1; }
        root=(sudo)
    fi
    echo "Installing: $(echo $missing)"
    "${root[@]}" apt-get update -qq || return 1
    for line in $missing; do
        for name in ${line//|/ }; do
            if package_is_known "$name"; then names+=("$name"); break; fi
        done
    done
    local policy=/usr/sbin/policy-rc.d status=0 own=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
        "${root[@]}" chmod 755 $policy
        own=yes
    fi
    echo "postfix postfix/main_mailer_type select No configuration" | "${root[@]}" debconf-set-selections 2>/dev/null
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}" \
        >/dev/null || status=1
    [ -z "$own" ] || "${root[@]}" rm -f $policy
    return $status
}
