#!/bin/sh
# Builds a Kubernetes control plane and the program, and shows a small cluster on a machine inside this
# machine: network, mounts and processes of its own, which the kernel takes away when the demo ends,
# however it ends.
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
KUBE_DHCP_CONTROLPLANE=$(hack/controlplane.sh)
export KUBE_DHCP_CONTROLPLANE
echo "Building (a few minutes the first time) ..."
# DEMO_PROFILE=dev: what `make test` built.
profile=${DEMO_PROFILE:-release}
cargo build --locked --profile "$profile" --quiet --bin kube-dhcp --example cluster_demo
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
programs=$target/$profile
[ "$profile" != dev ] || programs=$target/debug

work=$(mktemp -d)
# dnsmasq drops its privileges and passes through.
chmod 755 "$work"
# What was killed may still be writing.
trap 'rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }' EXIT
export TMPDIR="$work" PATH="$programs:$KUBE_DHCP_CONTROLPLANE:$PATH:/usr/sbin:/sbin"
# The first process of a machine hears no Ctrl-C: it is ended from outside, and all others with it.
exec 3<&0
unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private -- sh -euc '
    mount -t tmpfs -o mode=755 none /run
    mount -t sysfs none /sys
    ip link set lo up
    exec "$1/examples/cluster_demo"' sh "$programs" <&3 &
demo=$!
trap 'kill -9 "$demo"; wait "$demo" 2>/dev/null || true; exit 130' INT TERM
wait "$demo"
