//! The Debian package: installed, upgraded, removed and purged in a Debian of its own that systemd has
//! booted. `make test-deb` builds what it needs; root.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, also their helpers")]

#[path = "../lab/mod.rs"]
mod lab;

mod debian;

use std::time::Duration;

use debian::Debian;
use lab::eventually;

/// What only a failure waits for.
const LONG: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a Debian of its own: make test-deb"]
fn it_is_installed_serves_through_an_upgrade_and_leaves_nothing() {
    let debian = Debian::boot();
    install(&debian);
    as_its_readme_says(&debian);
    the_journal_has_each_time_once(&debian);
    a_guest_has_its_address(&debian);
    it_serves_through_restarts_and_an_upgrade(&debian);
    what_was_served_ends_with_the_package(&debian);
    a_purge_leaves_nothing_but_the_users_files(&debian);
}

fn install(debian: &Debian) {
    debian.sh("dpkg --install /kube-dhcp.deb");
    until_active(debian);
    let status = eventually("the agent has looked around", LONG, || debian.try_sh("kube-dhcp status").ok());
    assert!(status.ends_with("Nothing is declared.\n"), "{status}");
    assert_eq!(debian.sh("systemctl is-enabled kube-dhcp"), "enabled\n");
    debian.sh("kubectl-dhcp --help; zcat /usr/share/man/man1/kube-dhcp-status.1.gz | grep -q leases");
    assert!(debian.sh("kubectl_complete-dhcp sta").starts_with("status\t"));
    debian.sh("bash -n /usr/share/bash-completion/completions/kube-dhcp");
    let verified = debian.sh("systemd-analyze verify --man=no kube-dhcp.service 2>&1");
    assert!(!verified.contains("kube-dhcp.service"), "{verified}");
    println!("{}", debian.sh("systemd-analyze security --no-pager kube-dhcp.service | tail -n 1"));
}

fn until_active(debian: &Debian) {
    eventually("the service is active", LONG, || debian.try_sh("systemctl is-active kube-dhcp").ok());
}

/// `/etc/kube-dhcp/README`, command by command.
fn as_its_readme_says(debian: &Debian) {
    let readme = debian.sh("cat /etc/kube-dhcp/README");
    let commands: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(commands.len() > 3, "{readme}");
    for command in commands {
        debian.sh(command);
    }
    until_served(debian);
}

fn the_journal_has_each_time_once(debian: &Debian) {
    let said = debian.sh("journalctl --unit kube-dhcp --output cat --grep 'INFO|WARN'");
    let begins = |line: &str| ["INFO", "WARN"].iter().any(|level| line.trim_start().starts_with(level));
    assert!(!said.is_empty() && said.lines().all(begins), "{said}");
}

fn until_served(debian: &Debian) {
    eventually("the network is served", LONG, || {
        let status = debian.sh("kube-dhcp status");
        status.lines().any(|line| line.starts_with("edge/site ") && line.contains(" True ")).then_some(())
    });
}

fn a_guest_has_its_address(debian: &Debian) {
    debian.sh("ip netns add guest
        ip link add port1 type veth peer name eth0 netns guest
        ip -n guest link set eth0 address 02:00:00:00:00:01 up
        ip link set port1 master br0 up");
    asks(debian);
    let leases = debian.sh("kube-dhcp leases");
    assert!(leases.contains("10.20.0.21"), "{leases}");
}

fn asks(debian: &Debian) {
    let said = debian.sh("ip netns exec guest udhcpc -i eth0 -n -q -f -t 10 -T 1 -s /bin/true 2>&1");
    assert!(said.contains("lease of 10.20.0.21 obtained"), "{said}");
}

fn it_serves_through_restarts_and_an_upgrade(debian: &Debian) {
    let agent = || debian.sh("systemctl show --property=MainPID --value kube-dhcp");
    let dnsmasq = debian.sh("pidof dnsmasq");
    for how in [
        "systemctl restart kube-dhcp",
        "kill -KILL $(systemctl show --property=MainPID --value kube-dhcp)",
        "dpkg --install /kube-dhcp.deb",
    ] {
        let before = agent();
        debian.sh(how);
        eventually("another agent runs", LONG, || (agent() != before && agent() != "0\n").then_some(()));
        until_active(debian);
        asks(debian);
        until_served(debian);
        assert_eq!(debian.sh("pidof dnsmasq"), dnsmasq, "{how}");
    }
    assert!(debian.sh("cat /etc/default/kube-dhcp").contains("bridge:br0"), "settings are kept");
}

fn what_was_served_ends_with_the_package(debian: &Debian) {
    debian.sh("ip netns del guest");
    debian.sh("dpkg --remove kube-dhcp");
    assert!(debian.try_sh("pidof dnsmasq kube-dhcp").is_err());
    assert_eq!(debian.sh("ls /run/netns; ip -brief link | grep -v '^lo ' || true"), "");
    debian.sh("test -d /var/lib/kube-dhcp/allocations");
    // Installed again it is what it was.
    debian.sh("dpkg --install /kube-dhcp.deb");
    until_served(debian);
}

fn a_purge_leaves_nothing_but_the_users_files(debian: &Debian) {
    debian.sh("dpkg --purge kube-dhcp");
    assert!(debian.try_sh("pidof dnsmasq kube-dhcp").is_err());
    let left = debian
        .sh("find / -xdev -path /proc -prune -o -name '*kube*dhcp*' ! -name kube-dhcp.deb -print; \
                          find /run -name '*dhcp*'");
    assert_eq!(left, "/etc/kube-dhcp\n");
    assert_eq!(debian.sh("ls /etc/kube-dhcp"), "network.yaml\n");
}
