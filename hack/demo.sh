#!/bin/sh
# Builds the program and shows it on a machine inside this machine: network, mounts and processes of
# its own, which the kernel takes away when the demo ends, however it ends.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "The demo makes network namespaces: run it as root." >&2
    exit 1
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust 1.89 or later." >&2
    exit 1
fi
echo "Building (a few minutes the first time) ..."
cargo build --locked --release --quiet --bin kube-dhcp --example ask
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private -- \
    hack/demo-inside.sh "$target/release" "$work"
