#!/bin/sh
# Builds the image from this commit and prints its name. The same commit, bases and Debian give the same image.
#
# IMAGE        its name; default: kube-dhcp:VERSION
# IMAGE_TOOL   buildah, podman or docker; default: the first of them that is there
# IMAGE_FLAGS  further flags, such as --platform=linux/arm64, --build-arg=BASE=debian@sha256:...
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
# Whatever the image is made of.
made_of="Dockerfile .dockerignore Cargo.toml Cargo.lock src benches hack/image-root.sh"
# shellcheck disable=SC2086
[ -z "$(git status --porcelain -- $made_of 2>/dev/null)" ] || commit=$commit-changed
# All times in the image are the commit's.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
image=${IMAGE:-kube-dhcp:$version}

tool=${IMAGE_TOOL:-}
for candidate in buildah podman docker; do
    [ -n "$tool" ] || ! command -v "$candidate" >/dev/null 2>&1 || tool=$candidate
done
case ${tool##*/} in
"") echo "buildah, podman or docker is missing." >&2 && exit 1 ;;
docker) times="--build-arg=SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" ;;
*) times=--timestamp=$SOURCE_DATE_EPOCH ;;
esac
# shellcheck disable=SC2086
$tool ${IMAGE_TOOL_FLAGS:-} build $times --build-arg="VERSION=$version" --build-arg="COMMIT=$commit" \
    ${IMAGE_FLAGS:-} --tag="$image" . >&2
echo "$image"
