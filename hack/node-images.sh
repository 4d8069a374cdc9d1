#!/bin/bash
# Builds the image from the Dockerfile where no registry is at hand, and what else nodes of the tests run;
# prints the directory with the archives that containerd imports. The bases are made of Debian's packages.
# Root, buildah and mmdebstrap are needed.
#
# node-images.sh [PROGRAM]
#
# PROGRAM stands for what the Dockerfile's first stage would build. Without it that stage runs, with this
# machine's Rust: ten to twenty minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "$*" >&2; }

program=${1:-}
images=${KUBE_DHCP_IMAGES:-$PWD/target/nodes/images}
store=${KUBE_DHCP_IMAGE_STORE:-$PWD/target/nodes/store}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
made_from() {
    cat Dockerfile hack/image.sh hack/image-root.sh "$0"
    if [ -n "$program" ]; then cat "$program"; else git rev-parse HEAD; fi
}
stamp=$(made_from | sha256sum | cut -c1-16)
mkdir -p "$images" "$store"
# Two runs must not build the same thing side by side.
exec 9>"$store/lock"
flock 9
if [ "$(cat "$images/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "$images"
    exit 0
fi
rm -f "$images"/*

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="--root $store/root --runroot $store/run --storage-driver overlay"
# shellcheck disable=SC2086
in_store() { buildah $flags "$@"; }
has() { in_store inspect --type image "$1" >/dev/null 2>&1; }
archive() { in_store push --quiet "$1" "docker-archive:$images/$2:$1"; }

debian=docker.io/library/debian:bookworm-slim
if ! has $debian; then
    say "Making a Debian, once: half a minute."
    mmdebstrap --quiet --variant=minbase bookworm "$work/debian.tar" http://deb.debian.org/debian >&2
    container=$(in_store from scratch)
    in_store add --quiet "$container" "$work/debian.tar" / >/dev/null
    in_store commit --quiet --rm "$container" $debian >/dev/null
fi

build="--pull=never --isolation=chroot --network=host"
if [ -n "$program" ]; then
    mkdir "$work/build"
    cp "$program" "$work/build/kube-dhcp"
    strip "$work/build/kube-dhcp"
    build="$build --build-context=build=$work/build"
else
    rust=docker.io/library/rust:1.89-slim-bookworm
    if ! has $rust; then
        say "Making a Debian with gcc, once: a minute."
        container=$(in_store from --pull-never $debian)
        in_store run --isolation=chroot --network=host "$container" -- sh -ec 'export DEBIAN_FRONTEND=noninteractive
            apt-get update -qq; apt-get install -y -qq --no-install-recommends gcc libc6-dev ca-certificates' >&2
        in_store config --env PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CARGO_HOME=/cargo "$container"
        in_store commit --quiet --rm "$container" $rust >/dev/null
    fi
    registry=${CARGO_HOME:-$HOME/.cargo}/registry
    build="$build --volume=$(rustc --print sysroot):/rust:ro --volume=$registry:/cargo/registry"
fi
image=docker.io/library/kube-dhcp:$version
say "Building $image"
IMAGE=$image IMAGE_TOOL=buildah IMAGE_TOOL_FLAGS=$flags IMAGE_FLAGS=$build hack/image.sh >/dev/null 2>"$work/log" || {
    cat "$work/log" >&2
    exit 1
}
archive "$image" kube-dhcp.tar

# What holds a pod's namespaces.
sandbox=localhost/kube-dhcp-test/sandbox:1
if ! has $sandbox; then
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || { say "busybox is not static: install busybox-static." && exit 1; }
    container=$(in_store from scratch)
    in_store add --quiet "$container" "$(command -v busybox)" /busybox >/dev/null
    in_store config --entrypoint '["/busybox", "sleep", "infinity"]' --user 65535:65535 "$container"
    in_store commit --quiet --rm "$container" $sandbox >/dev/null
fi
archive $sandbox sandbox.tar
in_store rmi --prune >/dev/null 2>&1 || true
echo "$stamp" >"$images/stamp"
echo "$images"
