//! Agent and dnsmasq end, with notice or without: DHCPv6 goes on.

use crate::lab::{Guest6, eventually};
use crate::site::{LONG, Site};

use super::{Both, dual, ip6, lan46, server_duid, until_leases, until_nothing_to_do};

fn site() -> Site {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "") + &dual(2, 0x21, "")));
    site
}

fn assert_renewed(site: &Site, guest: &Guest6<'_>) {
    let renewal = guest.renew(ip6(0x20), &server_duid(site)).expect("no answer to RENEW");
    assert_eq!(renewal.lifetimes()[0].valid, 86_400);
    assert_eq!(renewal.server(), server_duid(site));
}

#[test]
fn a_killed_agents_work_is_adopted_as_it_is() {
    let site = site();
    let agent = site.start();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    let process = site.dnsmasq_pids();
    agent.kill9();
    assert_renewed(&site, &guest.six);
    let agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let passes = site.passes();
    eventually("three resyncs", LONG, || (site.passes() >= passes + 3).then_some(()));
    assert_eq!((agent.actions(), site.dnsmasq_pids()), (vec![], process));
    assert_renewed(&site, &guest.six);
    guest.until_leased(&site, 0x20);
}

#[test]
fn a_killed_dnsmasq_is_there_again_with_its_leases_and_its_name() {
    let site = site();
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    until_leases(&site, "vm1", 2);
    let process = site.dnsmasq_pids();
    site.lab.signal("KILL", process[0]);
    eventually("another process", LONG, || {
        let now = site.dnsmasq_pids();
        (now.len() == 1 && now != process).then_some(())
    });
    eventually("it answers", LONG, || guest.six.solicit());
    assert_renewed(&site, &guest.six);
    guest.until_leased(&site, 0x20);
    site.assert_nothing_to_do();
}

#[test]
fn what_changed_while_both_were_away_is_in_force_when_they_are_back() {
    let site = site();
    let agent = site.start();
    let (one, two) = (Both::new(&site, 1), Both::new(&site, 2));
    one.until_leased(&site, 0x20);
    two.until_leased(&site, 0x21);
    until_leases(&site, "2001:db8::", 2);
    agent.kill9();
    let process = site.dnsmasq_pids();
    site.lab.signal("KILL", process[0]);
    eventually("it is gone", LONG, || site.dnsmasq_pids().is_empty().then_some(()));
    // Its address is the first one's now, whose old one is nobody's.
    site.write("a.yaml", &(lan46() + &dual(1, 0x21, "")));
    let _agent = site.start();
    one.until_leased(&site, 0x21);
    assert!(two.six.silent());
    until_leases(&site, "2001:db8::", 1);
    site.assert_nothing_to_do();
}

#[test]
fn what_is_damaged_of_ipv6_is_mended() {
    let site = site();
    let agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    let namespace = site.namespace();
    for damage in [
        "ip -n NS address delete 2001:db8::10/64 dev dhcp0",
        "ip -n NS address add 2001:db8:9::9/64 dev dhcp0",
        "ip -n NS -6 route delete default",
        "ip -n NS neighbour flush dev dhcp0 nud permanent",
        "ip netns exec NS nft delete table ip6 kube-dhcp",
        "ip netns exec NS nft flush ruleset",
        "ip netns exec NS ip6tables -w -t mangle -F",
        "ip -n NS link set dhcp0 down",
        "ip -n NS link delete dhcp0",
    ] {
        let before = agent.actions().len();
        site.run_shell(&damage.replace("NS", &namespace));
        eventually(&format!("something is done about {damage}"), LONG, || {
            (agent.actions().len() > before).then_some(())
        });
        until_nothing_to_do(&site);
        eventually(&format!("it answers after {damage}"), LONG, || guest.six.solicit());
        assert_renewed(&site, &guest.six);
    }
}
