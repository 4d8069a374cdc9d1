#!/bin/sh
# Builds the book of docs/ into target/book, beside the files that its pages link to.
# `hack/book.sh install` installs what that takes.
set -eu
cd "$(dirname "$0")/.."
version=0.5.4

if [ "${1:-}" = install ]; then
    exec cargo install --quiet --locked mdbook --version $version
fi
if ! command -v mdbook >/dev/null 2>&1; then
    echo "mdbook is missing: hack/book.sh install, or cargo install --locked mdbook --version $version" >&2
    exit 1
fi
rm -rf target/book
said=$(mdbook build 2>&1) || { echo "$said" >&2; exit 1; }
# It warns of what would be shown wrong, such as a tag that is none.
if echo "$said" | grep -E 'WARN|ERROR' >&2; then exit 1; fi
cp -R examples deploy target/book
echo "target/book/docs/index.html"
