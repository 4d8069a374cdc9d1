#!/bin/sh
# Builds a Kubernetes control plane and the program, and shows a small cluster on a machine inside this
# machine: network, mounts and processes of its own, which the kernel takes away when the demo ends,
# however it ends.
set -eu
. "$(dirname "$0")/demo-prepare.sh"

KUBE_DHCP_CONTROLPLANE=$(hack/controlplane.sh)
export KUBE_DHCP_CONTROLPLANE
echo "Building (six to ten minutes the first time, on two cores) ..."
# DEMO_PROFILE=dev: what `make test` built.
profile=${DEMO_PROFILE:-release}
cargo build --locked --profile "$profile" --bin kube-dhcp --example cluster_demo
programs=$target/$profile
[ "$profile" != dev ] || programs=$target/debug

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
