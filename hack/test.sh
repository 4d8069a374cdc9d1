#!/bin/bash
# All that a change has to pass, step by step; ends with what each step took, and which failed.
#
# Most tests wait for what happens at intervals, so two lanes of them run side by side. What the second one says
# comes after the first.
set -uo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
work=$(mktemp -d) || exit
lane=$work/first second="" failed=0
trap 'exit 130' INT
trap 'exit 143' TERM
trap leave EXIT

leave() {
    if [ -n "$second" ]; then
        kill -- "-$second" 2>/dev/null
        cat "$work/second.log"
    fi
    rm -rf "$work"
}

# step NAME COMMAND...
step() {
    local name=$1 began=$SECONDS result=ok
    shift
    echo "== $name"
    "$@" || result=FAILED failed=1
    printf '%6d s  %-6s  %s\n' $((SECONDS - began)) $result "$name" >>"$lane.summary"
    [ $result = ok ]
}

finish() {
    echo "== summary"
    cat "$work"/*.summary
    printf '%6d s  all\n' $SECONDS
    exit $failed
}

# suite NAME [TESTS AT A TIME]
suite() {
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-${2:-$(nproc)}} step "$1" "$cargo" test --locked --test "$1"
}

# As it is shipped: where a number that overflows wraps. It is built first, for the program that the tests start is
# the one that was built last; and is run without cargo, which would make it that one again.
own=profile.dev.package.kube-dhcp
shipped=
build_shipped() {
    local built
    built=$("$cargo" test --locked --config "$own.debug-assertions=false" --config "$own.overflow-checks=false" \
        --test fuzz --no-run --message-format=json) || return
    shipped=$(sed -n 's/.*"executable":"\([^"]*\/fuzz-[^"]*\)".*/\1/p' <<<"$built")
    [ -x "$shipped" ]
}

# With the cgroups of version 2 alone it is known that the nodes come up, and not that all else does.
on_nodes() { grep -q '^[1-9]' /proc/self/cgroup; }

# Without these the rest says nothing.
step "packages" hack/packages.sh test || finish
step "control plane" hack/controlplane.sh || finish
step "format and lints" make --no-print-directory lint || finish
step "build as it is shipped" build_shipped || finish
step "build" "$cargo" test --locked --no-run || finish
! on_nodes || step "nodes" make --no-print-directory nodes || finish

others() {
    step "units" "$cargo" test --locked --quiet --lib --bins
    for name in tests/*/main.rs tests/*.rs; do
        name=${name#tests/} name=${name%/main.rs} name=${name%.rs}
        case $name in agent | cluster) ;; *) suite "$name" ;; esac
    done
    KUBE_DHCP_FUZZ_INPUTS=${KUBE_DHCP_FUZZ_INPUTS:-200000} step "fuzz, as it is shipped" "$shipped" --nocapture
    step "in another kernel" make --no-print-directory test-vm
    if on_nodes; then
        step "on real nodes" make --no-print-directory test-cluster
    else
        echo "     -    not run  on real nodes: this machine has cgroup v2 alone (make test-cluster)" >>"$lane.summary"
    fi
    return $failed
}

set -m
(lane=$work/second others) >"$work/second.log" 2>&1 </dev/null &
second=$!
set +m
at_a_time=$((3 * $(nproc)))
suite agent $at_a_time
# Most of these have a control plane of their own, in a GiB of memory.
room=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
[ "$room" -ge $at_a_time ] || at_a_time=$((room > 2 ? room : 2))
suite cluster $at_a_time
echo "== meanwhile"
wait "$second" || failed=1
second=
cat "$work/second.log"
finish
