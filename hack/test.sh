#!/bin/bash
# All that a change has to pass, step by step; ends with what each step took, and which failed.
set -uo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
summary="" failed=0

# step NAME COMMAND...
step() {
    local name=$1 began=$SECONDS result=ok
    shift
    echo "== $name"
    "$@" || result=FAILED failed=1
    summary+=$(printf '%6d s  %-6s  %s' $((SECONDS - began)) $result "$name")$'\n'
    [ $result = ok ]
}

finish() {
    echo "== summary"
    printf '%s%6d s  all\n' "$summary" $SECONDS
    exit $failed
}

# Without these the rest says nothing.
step "packages" hack/packages.sh test || finish
step "control plane" hack/controlplane.sh || finish
step "format and lints" make --no-print-directory lint || finish
step "build" "$cargo" test --locked --no-run || finish

step "units" "$cargo" test --locked --quiet --lib --bins
for suite in tests/*/main.rs tests/*.rs; do
    suite=${suite#tests/} suite=${suite%/main.rs} suite=${suite%.rs}
    threads=$(nproc)
    # Much of the time their tests wait for what happens at intervals.
    case $suite in agent | cluster) threads=$((2 * threads)) ;; esac
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-$threads} step "$suite" "$cargo" test --locked --test "$suite"
done
# As it is shipped: where a number that overflows wraps.
own=profile.dev.package.kube-dhcp
KUBE_DHCP_FUZZ_INPUTS=${KUBE_DHCP_FUZZ_INPUTS:-200000} step "fuzz, as it is shipped" "$cargo" test --locked \
    --config "$own.debug-assertions=false" --config "$own.overflow-checks=false" --test fuzz -- --nocapture
step "in another kernel" make --no-print-directory test-vm
# With the cgroups of version 2 alone it is known that the nodes come up, and not that all else does.
if grep -q '^[1-9]' /proc/self/cgroup; then
    step "on real nodes" make --no-print-directory test-cluster
else
    summary+=$'     -    not run  on real nodes: this machine has cgroup v2 alone (make test-cluster)\n'
fi
finish
