//! The same answers, as dhclient takes them. (busybox's udhcpc6 is in no package that the tests need.)

use crate::site::Site;

use super::{dual, lan_v6, lan46, until_leases};

#[test]
fn dhclient_takes_all_of_it_comes_again_and_releases() {
    let site = Site::new();
    let subnet =
        "dhcp: {leaseDurationSeconds: 7200}\noptions: [{name: sntp-server, values: ['2001:db8::1']}]";
    let lan = lan46().replace(&lan_v6(""), &lan_v6(subnet));
    site.write("a.yaml", &(lan + &dual(1, 0x20, "")));
    let _agent = site.start();
    let guest = site.guest(1);
    let client = guest.dhclient6();
    let bound = client.start().expect("dhclient has no lease");
    for (name, value) in [
        ("reason", "BOUND6"),
        ("new_ip6_address", "2001:db8::20"),
        ("new_dhcp6_name_servers", "2001:db8::10"),
        ("new_dhcp6_domain_search", "vm.example.org."),
        ("new_dhcp6_sntp_servers", "2001:db8::1"),
        ("new_max_life", "7200"),
    ] {
        assert_eq!(bound.get(name).map(String::as_str), Some(value), "{name} in {bound:?}");
    }
    // DHCPv6 says nothing of what is on the link: a router would advertise it.
    site.lab.run_in(guest.netns(), "ip -6 route replace 2001:db8::/64 dev eth0");
    let dig = guest.dig("2001:db8::10".parse().unwrap(), "vm1.vm.example.org", "AAAA");
    assert_eq!(dig.answers, ["2001:db8::20"]);
    client.stop();
    let bound = client.start().expect("dhclient has no lease after a restart");
    assert_eq!(bound["new_ip6_address"], "2001:db8::20");
    until_leases(&site, "2001:db8::20 ", 1);
    client.release();
    until_leases(&site, "2001:db8::20 ", 0);
    site.until_ready("Port", "vm1");
}

#[test]
fn dhclients_of_both_families_have_one_device() {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "")));
    let _agent = site.start();
    let guest = site.guest(1);
    let (four, six) = (guest.dhclient(), guest.dhclient6());
    assert_eq!(four.start().expect("no lease of IPv4")["new_ip_address"], "10.0.0.32");
    assert_eq!(six.start().expect("no lease of IPv6")["new_ip6_address"], "2001:db8::20");
    until_leases(&site, "vm1", 2);
    four.release();
    six.release();
    until_leases(&site, "vm1", 0);
}
