#!/bin/sh
# Installs what the demo needs, with the argument `test` what the tests need besides, with `nodes` what real
# nodes of tests need, and with `deb` what the test of the Debian package needs; or says what is missing.
set -eu

# command:Debian package
needed="dnsmasq:dnsmasq-base iptables:iptables ip:iproute2 udhcpc:udhcpc dhclient:isc-dhcp-client
dig:bind9-dnsutils unshare:util-linux sysctl:procps nft:nftables pidof:sysvinit-utils strace:strace curl:curl cc:gcc"
case ${1:-} in
test) needed="$needed ovs-vswitchd:openvswitch-switch promtool:prometheus lua5.4:lua5.4
qemu-system-x86_64:qemu-system-x86 busybox:busybox-static depmod:kmod strip:binutils" ;;
nodes) needed="runc:runc /usr/lib/cni/ptp:containernetworking-plugins buildah:buildah mmdebstrap:mmdebstrap
busybox:busybox-static ps:procps strip:binutils" ;;
deb) needed="mmdebstrap:mmdebstrap systemd-nspawn:systemd-container xz:xz-utils" ;;
esac

missing=""
for pair in $needed; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "These packages are missing:$missing. Install them, or run this as root." >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "These are missing, by the names of their Debian packages:$missing. Install them and try again." >&2
    exit 1
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# No service is started: tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
