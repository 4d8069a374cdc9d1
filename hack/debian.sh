#!/bin/sh
# Prints the path of an archive with a Debian that systemd boots, for tests of the package. Makes it once.
set -eu
cd "$(dirname "$0")/.."

archive=$PWD/target/debian-root/bookworm.tar
if [ ! -e "$archive" ]; then
    mkdir -p "${archive%/*}"
    echo "Making a Debian, once: a minute" >&2
    # What the package depends on is there: it is installed without a network.
    mmdebstrap --quiet --variant=apt --include=systemd-sysv,dbus,iproute2,procps,udhcpc,dnsmasq-base,iptables \
        bookworm "${archive%.tar}.new.tar" http://deb.debian.org/debian >&2
    mv "${archive%.tar}.new.tar" "$archive"
fi
echo "$archive"
