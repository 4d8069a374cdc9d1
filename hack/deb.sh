#!/bin/sh
# Builds target/debian/kube-dhcp_VERSION-1_ARCHITECTURE.deb and prints its path. What is in it is said in Cargo.toml.
set -eu
cd "$(dirname "$0")/.."

version=3.8.0
tools=$PWD/target/tools
if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $version" ]; then
    echo "Building cargo-deb $version, once" >&2
    cargo install --quiet --locked --root "$tools" --version $version cargo-deb >&2
fi
cargo build --quiet --locked --release --bin kube-dhcp >&2
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/release/kube-dhcp

# Not checked in: what the program says of itself.
generated=target/debian/generated
rm -rf target/debian
mkdir -p $generated
"$program" man --out $generated/man
for shell in bash zsh fish; do
    "$program" completions $shell >$generated/$shell
done
"$tools/bin/cargo-deb" --quiet --no-build --locked --output target/debian/ >&2
ls "$PWD"/target/debian/*.deb
