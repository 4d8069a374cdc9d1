#!/bin/sh
# Copies the program, dnsmasq, iptables and what they load from this Debian into an empty root, with the
# packages' copyrights and what a scanner wants to know of them. Run by the Dockerfile.
#
# image-root.sh ROOT
set -eu
root=$1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 022

mkdir -p "$root"
cd "$root"
mkdir -p dev etc proc run sys tmp usr/bin usr/lib usr/lib64 usr/sbin var/lib/dpkg/status.d var/lib/kube-dhcp
chmod 1777 tmp
for name in bin lib lib64 sbin; do ln -s "usr/$name" $name; done
ln -s /run var/run

# The file under its own name, where this system has it, and which package it is of.
take() {
    for file in "$@"; do
        place=$(realpath "$(dirname "$file")")/$(basename "$file")
        [ ! -e "$root$place" ] || continue
        mkdir -p "$root$(dirname "$place")"
        cp -L --preserve=mode "$file" "$root$place"
        note "$(realpath "$file")"
    done
}
note() {
    package=$(dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "${1#/usr}" 2>/dev/null) || return 0
    package=${package%%:*}
    [ ! -e "var/lib/dpkg/status.d/$package" ] || return 0
    dpkg-query -s "$package" >"var/lib/dpkg/status.d/$package"
    mkdir -p "usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "usr/share/doc/$package/"
}
libraries() { ldd "$@" | grep -oE '(=> )?/[^ ]+ \(0x' | grep -oE '/[^ ]+'; }

multi=/usr/sbin/xtables-nft-multi
extensions=$(find /usr/lib -path '*/xtables/*.so')
# shellcheck disable=SC2086
take /usr/local/bin/kube-dhcp /usr/sbin/dnsmasq $multi $extensions
# shellcheck disable=SC2046,SC2086
take $(libraries /usr/local/bin/kube-dhcp /usr/sbin/dnsmasq $multi $extensions | sort -u)
for name in iptables ip6tables; do ln -s xtables-nft-multi "usr/sbin/$name"; done

grep -E '^(root|nobody|dnsmasq):' /etc/passwd >etc/passwd
grep -E '^(root|nogroup|dip|dnsmasq):' /etc/group >etc/group
echo 'kube-dhcp:x:65532:65532::/:/usr/sbin/nologin' >>etc/passwd
echo 'kube-dhcp:x:65532:' >>etc/group
echo 'hosts: files dns' >etc/nsswitch.conf
cp /etc/os-release etc/os-release

# It must run there and not only here.
head -c 4096 /dev/urandom >dev/urandom
chroot . /usr/local/bin/kube-dhcp --version
chroot . /usr/sbin/dnsmasq --version
chroot . /usr/sbin/iptables --version
rm dev/urandom
find . -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
