#!/bin/bash
# Prints the directory that holds kubelet, kube-scheduler, containerd, its shim and ctr, for the tests
# on real nodes. Builds them there when they are not there yet; progress goes to stderr.
#
# KUBE_DHCP_NODES  where to build them; default: target/nodes/bin
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "$*" >&2; }

bin=${KUBE_DHCP_NODES:-$PWD/target/nodes/bin}
modules=tests/nodes
release_of() { awk '$1 == "k8s.io/kubernetes" { print $2 } $2 == "k8s.io/kubernetes" { print $3 }' "$1" | head -n 1; }
version=$(release_of "$modules/kubernetes/go.mod")
# A kubelet may not be newer than its API server.
[ "$version" = "$(release_of tests/controlplane/go.mod)" ] || {
    say "$modules/kubernetes/go.mod and tests/controlplane/go.mod name two releases of Kubernetes."
    exit 1
}
# Whatever decides what is built is part of the stamp.
stamp=$(cat "$modules"/*/go.mod "$modules"/*/go.sum "$0" | sha256sum | cut -c1-16)
is_built() { [ "$(cat "$bin/stamp" 2>/dev/null)" = "$stamp" ]; }

if is_built; then
    echo "$bin"
    exit 0
fi
command -v go >/dev/null 2>&1 || {
    say "go is missing: install Go 1.26 or later."
    exit 1
}
mkdir -p "$(dirname "$bin")"
# Two test runs must not build the same thing side by side.
exec 9>"$bin.lock"
flock 9
if is_built; then
    echo "$bin"
    exit 0
fi

fresh=$bin.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"
about=k8s.io/component-base/version
flags="-s -w -X $about.gitVersion=$version -X $about.gitMajor=1 -X $about.gitMinor=$(echo "$version" | cut -d . -f 2)"

# build MODULE FLAGS TAGS PACKAGE...
build() {
    local module=$1 flags=$2 tags=$3 package began
    shift 3
    for package in "$@"; do
        began=$SECONDS
        (cd "$modules/$module" &&
            CGO_ENABLED=0 go build -mod=readonly -trimpath -tags "$tags" -ldflags "$flags" -o "$fresh/" "$package")
        say "  $package: $((SECONDS - began)) s"
    done
}
say "Building the programs of a node, Kubernetes $version, once: some eight minutes on two cores."
build kubernetes "$flags" "" k8s.io/kubernetes/cmd/{kubelet,kube-scheduler}
build containerd "-s -w" "no_btrfs no_zfs no_devmapper no_aufs" \
    github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
echo "$stamp" >"$fresh/stamp"
rm -rf "$bin"
mv "$fresh" "$bin"
echo "$bin"
