#!/bin/sh
# Builds the program and shows it on a machine inside this machine: network, mounts and processes of
# its own, which the kernel takes away when the demo ends, however it ends.
set -eu
. "$(dirname "$0")/demo-prepare.sh"

echo "Building (six to ten minutes the first time, on two cores) ..."
cargo build --locked --release --bin kube-dhcp --example ask
unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private -- \
    hack/demo-inside.sh "$target/release" "$work"
