#!/bin/bash
# Prints the directory that holds etcd, kube-apiserver, kube-controller-manager, kubectl and helm, for
# the tests against a real API server. Builds them there when they are not there yet; progress goes to
# stderr.
#
# KUBEBUILDER_ASSETS      use the binaries of this directory, build nothing
# KUBE_DHCP_CONTROLPLANE  where to build them; default: target/controlplane/bin
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "$*" >&2; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for name in etcd kube-apiserver kubectl; do
        [ -x "$KUBEBUILDER_ASSETS/$name" ] || { say "KUBEBUILDER_ASSETS has no $name: $KUBEBUILDER_ASSETS"; exit 1; }
    done
    [ -x "$KUBEBUILDER_ASSETS/kube-controller-manager" ] ||
        say "KUBEBUILDER_ASSETS has no kube-controller-manager: namespaces will not end, tests that need that will fail."
    [ -x "$KUBEBUILDER_ASSETS/helm" ] || say "KUBEBUILDER_ASSETS has no helm: the chart's tests will fail."
    echo "$KUBEBUILDER_ASSETS"
    exit 0
fi

bin=${KUBE_DHCP_CONTROLPLANE:-$PWD/target/controlplane/bin}
module=tests/controlplane
# Whatever decides what is built is part of the stamp.
stamp=$(cat "$module/go.mod" "$module/go.sum" "$0" | sha256sum | cut -c1-16)
is_built() { [ "$(cat "$bin/stamp" 2>/dev/null)" = "$stamp" ]; }

if is_built; then
    echo "$bin"
    exit 0
fi
command -v go >/dev/null 2>&1 || {
    say "go is missing: install Go 1.26 or later, or set KUBEBUILDER_ASSETS to a directory with the binaries."
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
version=$(awk '$2 == "k8s.io/kubernetes" { print $3 } $1 == "k8s.io/kubernetes" { print $2 }' "$module/go.mod" | head -n 1)
minor=$(echo "$version" | cut -d . -f 2)
about=k8s.io/component-base/version
flags="-s -w -X $about.gitVersion=$version -X $about.gitMajor=1 -X $about.gitMinor=$minor"

say "Building a control plane $version and helm, once: some ten minutes on two cores."
number=0
packages=(go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl} helm.sh/helm/v4/cmd/helm)
for package in "${packages[@]}"; do
    number=$((number + 1))
    began=$SECONDS
    say "  $number of ${#packages[@]}: $package"
    (cd "$module" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "$flags" -o "$fresh/" "$package")
    say "         $((SECONDS - began)) s"
done
mv "$fresh/server" "$fresh/etcd"
echo "$stamp" >"$fresh/stamp"
rm -rf "$bin"
mv "$fresh" "$bin"
echo "$bin"
