//! Manifests of IPv6 that are wrong: told on the object, and the others are served.

use crate::lab::Mac;
use crate::manifests::{fixed, lan, port, subnet};
use crate::site::{Site, patiently};

use super::{Both, dual, ip4, ip6, lan_v6, lan46};

#[test]
fn an_ipv6_address_in_a_network_of_ipv4() {
    let site = Site::new();
    site.write("lan.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.32", "")));
    let six = format!("addresses: [{{ip: {}}}, {{ip: '{}'}}]", ip4(0x21), ip6(0x21));
    site.write("vm2.yaml", &port("vm2", "lan", Mac::nth(2), &six));
    let _agent = site.start();
    site.until_not_ready("Port", "vm2", "AddressOutsideSubnet", "2001:db8::21");
    let (one, two) = (Both::new(&site, 1), Both::new(&site, 2));
    site.until_leased(&one.four, ip4(0x20));
    assert!(two.six.silent());
    site.write("six.yaml", &lan_v6(""));
    site.until_ready("Port", "vm2");
    two.until_leased(&site, 0x21);
}

#[test]
fn subnets_that_are_not_served_harm_no_other() {
    let site = Site::new();
    site.write("a.yaml", &(lan46() + &dual(1, 0x20, "")));
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    let stateful = "ipv6: {addressMode: DHCPv6Stateful}";
    let wrong = [
        ("2001:db8:2::/63", stateful.to_owned(), "spec.cidr", "64"),
        ("2001:db8:2::/65", "ipv6: {addressMode: SLAAC}".to_owned(), "spec", "64"),
        (
            "2001:db8:2::/64",
            "ipv6: {addressMode: SLAAC}\noptions: [{name: sntp-server, values: ['2001:db8::9']}]".to_owned(),
            "spec.options",
            "DHCPv6Stateless",
        ),
        (
            "2001:db8:2::/64",
            "ipv6: {addressMode: DHCPv6Stateful, routerAdvertisements: Server}".to_owned(),
            "spec.ipv6.routerAdvertisements",
            "lan-v6",
        ),
        (
            "2001:db8:2::/64",
            format!("{stateful}\ndhcp: {{renewalSeconds: 600}}"),
            "spec.dhcp.renewalSeconds",
            "half",
        ),
        ("2001:db8:2::/64", String::new(), "spec", "ipv6"),
        ("fe80::/64", stateful.to_owned(), "spec.cidr", "fe80::/10"),
    ];
    for (cidr, more, field, part) in wrong {
        site.write("b.yaml", &subnet("b", "lan", cidr, &more));
        told(&site, field, part);
        site.remove("b.yaml");
        // Another one of its name would be a change of it.
        patiently("it is gone", |_| site.status().object("Subnet", "b").is_none().then_some(()));
    }
    let renewal = guest.six.sarr();
    assert_eq!(renewal.addresses(), [ip6(0x20)]);
    guest.until_leased(&site, 0x20);
    site.until_ready("Network", "lan");
}

/// As a condition of Subnet `b`, or as a problem of its file: what is in no schema gets no further.
fn told(site: &Site, field: &str, part: &str) {
    patiently(&format!("{field} is told"), |instead| {
        let status = site.status();
        let condition = status.condition("Subnet", "b", "Ready");
        *instead = format!("{condition:?} {:#?}", status.problems());
        let is_it = |message: &str| message.contains(field) && message.contains(part);
        let problem = status.problems().iter().any(|(place, m)| place.contains("b.yaml") && is_it(m));
        (problem || condition.is_some_and(|c| c.status == "False" && is_it(&c.message))).then_some(())
    });
}
