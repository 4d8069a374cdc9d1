#!/bin/sh
# Boots another kernel, Debian's, with nothing in it but some programs of this machine and a test binary of ours, and
# runs one test there as root. Prints what the machine says; its last line is "vm: NUMBER", the test's exit code.
#
#   boot.sh TEST-BINARY TEST-NAME PROGRAM      for x86-64; needs what `hack/packages.sh test` installs
#
# The kernel is fetched once, into target/vm. Without KVM it all is some ten times slower than here.
set -eu
test=$1 name=$2 program=$3
here=$(dirname "$(realpath "$0")")
cache=$here/../../target/vm
seconds=${KUBE_DHCP_VM_SECONDS:-600}
work=$(mktemp -d)
mkdir -p "$cache"
fetched=$(mktemp -d "$cache/fetch-XXXXXX")
trap 'rm -rf "$work" "$fetched"' EXIT
root=$work/root

kernel() {
    ls -d "$cache"/kernel-* 2>/dev/null | head -1 | grep . && return
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
    # As another user apt may not write here, and it says so.
    (cd "$fetched" && apt-get download -qq "$package" >&2)
    dpkg -x "$fetched"/*.deb "$fetched/x"
    # Two that start at once make the same.
    mv -T "$fetched/x" "$cache/kernel-$package" 2>/dev/null || true
    echo "$cache/kernel-$package"
}

# Files by their paths here, with the libraries that they need.
put() {
    for file in "$@"; do
        mkdir -p "$root$(dirname "$file")"
        [ -e "$root$file" ] || cp -L "$file" "$root$file"
        ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            [ -e "$root$library" ] || cp -L "$library" "$root$library"
        done
    done
}

kernel=$(kernel)
version=$(ls "$kernel/lib/modules")
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp" "$root/etc" "$root/bin" "$root/sbin"
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for file in passwd group protocols services nsswitch.conf; do cp "/etc/$file" "$root/etc"; done
PATH=$PATH:/usr/sbin:/sbin
# Not those of busybox: its shell takes its own programs before any other, its cat needs somebody who reads.
put /bin/sh
for tool in cat dnsmasq ip bridge unshare nsenter mount; do put "$(command -v $tool)"; done
nft=$(dirname "$(command -v iptables)")/xtables-nft-multi
put "$nft" /usr/lib/*/xtables/*.so
for tool in iptables ip6tables iptables-save ip6tables-save; do ln -s xtables-nft-multi "$root$(dirname "$nft")/$tool"; done
put "$test" "$program"
strip "$root$test" "$root$program"

modules=lib/modules/$version
mkdir -p "$root/$modules/kernel/drivers/net" "$root/$modules/kernel/net"
cp "$kernel/$modules"/modules.* "$root/$modules"
cp -r "$kernel/$modules/kernel/lib" "$kernel/$modules/kernel/crypto" "$root/$modules/kernel"
for part in 802 8021q bridge llc netfilter ipv4 ipv6 packet; do
    [ ! -e "$kernel/$modules/kernel/net/$part" ] || cp -r "$kernel/$modules/kernel/net/$part" "$root/$modules/kernel/net"
done
cp "$kernel/$modules/kernel/drivers/net/veth.ko" "$root/$modules/kernel/drivers/net"
depmod -b "$root" "$version"

cat >"$root/init" <<END
#!/bin/busybox sh
/bin/busybox mkdir -p /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin KUBE_DHCP_TEST_VM=1 RUST_BACKTRACE=1
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
ln -s /proc/self/fd /dev/fd
for module in bridge veth 8021q nf_tables; do modprobe \$module; done
ip link set lo up
"$test" --exact "$name" --include-ignored --nocapture --test-threads=1 </dev/null
echo "vm: \$?"
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
timeout "$seconds" qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 1536 -nographic -no-reboot -nodefaults -serial stdio \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 rdinit=/init" </dev/null
