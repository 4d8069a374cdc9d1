#!/bin/bash
# All that a change has to pass, step by step; ends with what each step took, and which failed.
#
# Most tests wait for what happens at intervals, so two lanes of them run side by side. What the second one says
# comes after the first.
set -uo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
work=$(mktemp -d)
second=
trap 'exit 130' INT TERM
trap '[ -z "$second" ] || kill -- "-$second" 2>/dev/null; rm -rf "$work"' EXIT
lane=$work/first

# step NAME COMMAND...
step() {
    local name=$1 began=$SECONDS result=ok
    shift
    echo "== $name"
    "$@" || result=FAILED
    printf '%6d s  %-6s  %s\n' $((SECONDS - began)) $result "$name" >>"$lane.summary"
    [ $result = ok ]
}

finish() {
    echo "== summary"
    cat "$work"/*.summary
    printf '%6d s  all\n' $SECONDS
    ! grep -q ' FAILED ' "$work"/*.summary
    exit
}

# suite NAME [TESTS AT A TIME]
suite() {
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-${2:-$(nproc)}} step "$1" "$cargo" test --locked --test "$1"
}

# As it is shipped: where a number that overflows wraps.
own=profile.dev.package.kube-dhcp
shipped() {
    "$cargo" test --locked --config "$own.debug-assertions=false" --config "$own.overflow-checks=false" --test fuzz "$@"
}

# With the cgroups of version 2 alone it is known that the nodes come up, and not that all else does.
on_nodes() { grep -q '^[1-9]' /proc/self/cgroup; }

# Without these the rest says nothing.
step "packages" hack/packages.sh test || finish
step "control plane" hack/controlplane.sh || finish
step "format and lints" make --no-print-directory lint || finish
step "build" "$cargo" test --locked --no-run || finish
step "build as it is shipped" shipped --no-run || finish
! on_nodes || step "nodes" make --no-print-directory nodes || finish

others() {
    step "units" "$cargo" test --locked --quiet --lib --bins
    for name in tests/*/main.rs tests/*.rs; do
        name=${name#tests/} name=${name%/main.rs} name=${name%.rs}
        case $name in agent | cluster) ;; *) suite "$name" ;; esac
    done
    KUBE_DHCP_FUZZ_INPUTS=${KUBE_DHCP_FUZZ_INPUTS:-200000} step "fuzz, as it is shipped" shipped -- --nocapture
    step "in another kernel" make --no-print-directory test-vm
    if on_nodes; then
        step "on real nodes" make --no-print-directory test-cluster
    else
        echo "     -    not run  on real nodes: this machine has cgroup v2 alone (make test-cluster)" >>"$lane.summary"
    fi
}

set -m
(lane=$work/second others) >"$work/second.log" 2>&1 &
second=$!
set +m
at_a_time=$((3 * $(nproc)))
suite agent $at_a_time
suite cluster $at_a_time
echo "== meanwhile"
wait "$second"
second=
cat "$work/second.log"
finish
