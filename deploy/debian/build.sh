#!/bin/bash
# build.sh — the Debian packages `martlet` and `martlet-sendmail`, of an executable that is already built.
#
#   swift build -c release --product martlet
#   deploy/debian/build.sh [EXECUTABLE] [DIRECTORY]      the packages are put in DIRECTORY (default: the current one)
#
# Needs the packages of [package] in deploy/packages.txt. Man pages and completions come out of the executable itself.
set -euo pipefail
out=$(realpath "${2:-.}")
executable=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/../../.build/release/martlet}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. deploy/packages.sh
install_packages package

version=${MARTLET_PACKAGE_VERSION:-$(env -i PATH="$PATH" "$executable" version | sed 's/^martlet //')}
work=$(mktemp -d /tmp/martlet-deb-XXXXXX)
trap 'rm -rf "$work"' EXIT
tree=$work/martlet-$version
mkdir -p "$tree/debian" "$tree/built"

cp deploy/debian/package/* "$tree/debian/"
cp deploy/systemd/martlet.{service,socket,sysusers,tmpfiles} "$tree/debian/"
cp -r config "$tree/config"
cp LICENSE README.md deploy/prometheus/alerts.yml deploy/grafana/martlet.json "$tree/"
install -m 0755 "$executable" "$tree/built/martlet"
python3 deploy/debian/manpages.py "$executable" "$version" "$tree/built/man"
for shell in bash zsh fish; do
    env -i PATH="$PATH" "$executable" --generate-completion-script $shell > "$tree/built/martlet.$shell"
done
sed -i '1{/^#!/d}' "$tree/built/martlet.bash"  # it is sourced, not run
# The libraries of the distribution this is built on; the list itself is deploy/packages.txt.
packages run | sed 's/ *| */ | /' | paste -sd, - | sed 's/,/, /g' > "$tree/built/depends"
sed -i "s/@depends@/$(cat "$tree/built/depends")/" "$tree/debian/control"
cat > "$tree/debian/changelog" <<CHANGES
martlet ($version) stable; urgency=medium

  * Build of version $version; the history is in the repository.

 -- Martlet maintainers <maintainers@martlet.invalid>  $(date -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
CHANGES
chmod 0755 "$tree/debian/rules"
log=$work/log
if ! (cd "$tree" && DEB_BUILD_OPTIONS=noautodbgsym dpkg-buildpackage -b -us -uc --no-check-builddeps) >"$log" 2>&1; then
    tail -40 "$log" >&2
    exit 1
fi
cp "$work"/*.deb "$out/"
ls "$out"/martlet*_"$version"_*.deb
