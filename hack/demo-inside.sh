#!/bin/bash
# The demo itself, on a machine of its own. Started by demo.sh.
set -euo pipefail
export PATH="$1:$1/examples:$PATH:/usr/sbin:/sbin"
manifests=$2/manifests state=$2/state log=$2/agent.log
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
ip link set lo up

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { sed 's/^/    /'; }
now() { date +%s%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.0f", (b - a) / 1e6}'; }
fail() { echo "$*" >&2; tail -n 20 "$log" >&2; exit 1; }

# until_true WHAT COMMAND...: waits, at most ten seconds
until_true() {
    local what=$1 n
    shift
    for n in $(seq 1000); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.01
    done
    fail "$what did not happen"
}
is_ready() { [ "$(curl -so /dev/null -w '%{http_code}' http://127.0.0.1:9467/readyz)" = 200 ]; }
start_agent() {
    kube-dhcp agent --manifests "$manifests" --state-dir "$state" \
        --physical-network datacentre=bridge:br0 --create-bridges 2>>"$log" &
    agent=$!
    until_true "the start" is_ready
}
dnsmasq_pid() { cat "$state"/networks/*/pid; }
# A guest is a namespace with a network card in the bridge.
plug() {
    ip netns add "$1"
    ip link add "$1" type veth peer name eth0 netns "$1"
    ip link set "$1" master br0 up
    ip -n "$1" link set eth0 address "$2" up
    until_true "the link" grep -q 3 "/sys/class/net/$1/brport/state"
}

say "1. A Network, a Subnet and two Ports, as YAML in a directory"
mkdir -p "$manifests"
cp examples/lan/*.yaml "$manifests"
grep -hE '^kind|^  name:|cidr|macAddress|hostname' "$manifests"/*.yaml | show

say "2. kube-dhcp agent --manifests DIR --physical-network datacentre=bridge:br0 --create-bridges"
began=$(now)
start_agent
echo "serving after $(since "$began") ms" | show
kube-dhcp status --state-dir "$state" | grep -v '^This node' | cut -c1-110 | show

say "3. A guest with MAC 02:00:00:00:00:01 asks for its address (udhcpc)"
plug vm1 02:00:00:00:00:01
cat >"$2/lease.sh" <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
echo "address $ip/$mask, router $router, DNS $dns, domain $domain, MTU $mtu, lease $lease s"
echo "routes $staticroutes"
END
chmod 755 "$2/lease.sh"
ip netns exec vm1 udhcpc -q -n -i eth0 -s "$2/lease.sh" -O mtu -O domain -O staticroutes 2>/dev/null | show

say "4. It looks up another Port's name, and back"
server=$(ip -n "$(ip netns ls | grep -o '^kdhcp-[^ ]*')" -4 -o address show dhcp0 | grep -oE '[0-9.]+/' | head -n 1)
server=${server%/}
ask_dns() { ip netns exec vm1 dig +short +time=2 "@$server" "$@"; }
echo "db.vm.example.org -> $(ask_dns db.vm.example.org)" | show
echo "$(ask_dns db.vm.example.org) -> $(ask_dns -x "$(ask_dns db.vm.example.org)")" | show

say "5. A Port is added; the guest with its MAC is already asking"
plug vm2 02:00:00:00:00:99
cat >"$2/new.yaml" <<'END'
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {name: new-eth0, namespace: team-a}
spec: {networkRef: {name: lan}, macAddress: "02:00:00:00:00:99", hostname: new}
END
ip netns exec vm2 ask 02:00:00:00:00:99 "$2/new.yaml" "$manifests/new.yaml" | show

say "6. dnsmasq is killed"
old=$(dnsmasq_pid)
began=$(now)
kill -9 "$old"
is_back() { local pid; pid=$(dnsmasq_pid) && [ "$pid" != "$old" ] && ask_dns db.vm.example.org | grep -q .; }
until_true "the recovery" is_back
echo "serving again after $(since "$began") ms: process $old is now $(dnsmasq_pid)" | show

say "7. The agent is killed, and started again"
old=$(dnsmasq_pid)
kill -9 "$agent"
wait "$agent" 2>/dev/null || true
echo "without an agent: db.vm.example.org -> $(ask_dns db.vm.example.org)" | show
start_agent
[ "$old" = "$(dnsmasq_pid)" ] || fail "dnsmasq was restarted"
echo "adopted: dnsmasq is still process $old" | show

say "8. All manifests are removed"
rm "$manifests"/*.yaml
nothing_left() { [ -z "$(ls "$state/networks")" ] && ! ip netns ls | grep -q kdhcp && ! pgrep -x dnsmasq; }
until_true "the removal" nothing_left
ip netns delete vm1
ip netns delete vm2
kill "$agent"
wait "$agent" || fail "the agent ended badly"
echo "namespaces, device, bridge ports, rules, files and dnsmasq are gone" | show
say "Done. This machine is as it was before."
