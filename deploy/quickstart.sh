#!/bin/bash
# quickstart.sh — from a clean clone to a running relay.
#
#   deploy/quickstart.sh          build, then run a relay on the shipped config/ in the foreground; Ctrl-C ends it
#   deploy/quickstart.sh --demo   build, then send one mail through a relay to a next hop on this machine and show it
#
# The relay gets a scratch data directory, kept when it ends, unless MARTLET_DATA_DIR names one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh

case "${1-}" in
"" | --demo) ;;
*) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac

if ! command -v swift >/dev/null; then
    cat >&2 <<'HINT'
Martlet is built with Swift 6.2 or newer, and there is no `swift` on this machine. Two ways to get it:
  https://www.swift.org/install/linux/      swiftly, or a tarball to unpack under /opt and put on the PATH
  docker run -it --network host -v "$PWD":/martlet -w /martlet swift:6.2 deploy/quickstart.sh
Then run this command again.
HINT
    exit 1
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -1)
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" = 6 ] && [ "$minor" -lt 2 ]; }; then
    echo "Swift 6.2 or newer is needed; this is $(swift --version 2>/dev/null | head -1)." >&2
    exit 1
fi

sections=(build run)
[ "${1-}" != --demo ] || sections+=(demo)
install_packages "${sections[@]}"

echo "Building (a few minutes the first time) ..."
swift build -c release --product martlet
martlet=$(swift build -c release --show-bin-path)/martlet

if [ "${1-}" = --demo ]; then exec python3 deploy/demo.py "$martlet" config; fi

"$martlet" check --config config
data=${MARTLET_DATA_DIR:-$(mktemp -d /tmp/martlet-XXXXXX)}
mkdir -p "$data"
listen=$(sed -n 's/^listen *= *\([^, ]*\).*/\1/p' config/smtp.ini 2>/dev/null | head -1)
listen=${listen:-127.0.0.1:2525}
cat <<HELP

The relay starts on $listen with config/ and the data directory $data.
Send a first mail from another terminal, with addresses of your own (the example.com of the DNS takes no mail); it goes
where the DNS says, or where config/routes.ini says:

    swaks --server $listen --from you@example.org --to somebody@example.com
    curl --crlf smtp://$listen --mail-from you@example.org --mail-rcpt somebody@example.com --upload-file README.md

Ask it how it is, by the tool or by the API:

    $martlet status --data $data
    curl --unix-socket $data/admin.sock http://localhost/v1/stats

The log below tells what becomes of it: one line per event, the id of the mail on each. Ctrl-C drains and ends it;
to see a mail arrive without the DNS, run deploy/quickstart.sh --demo.

HELP
exec "$martlet" serve --config config --data "$data"
