# Sourced by the demos: goes to the repository, sees that this is root with cargo, sets $target and $work,
# a directory that goes with the demo.
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "The demo makes network namespaces: run it as root." >&2
    exit 1
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust 1.89 or later." >&2
    exit 1
fi
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
work=$(mktemp -d)
# dnsmasq drops its privileges and passes through.
chmod 755 "$work"
# What was killed may still be writing.
trap 'rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }' EXIT
trap 'exit 130' INT TERM
