//! Ports that are known by what their guests call themselves.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::{Answer, DhcpOption, Guest, Mac, MessageType, PATIENCE, eventually, hex};
use crate::manifests::{fixed, lan, lan_v4, network, object, subnet};
use crate::site::{Site, patiently};
use crate::six::until_nothing_to_do;

const ID: &[u8] = &[0xab, 0xcd, 0xef];
const OTHER: &[u8] = &[0xff, 1, 2, 3, 4, 5];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 21);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

/// Port `vm1`, 10.0.0.20, that is known by this.
fn vm1(id: &[u8], more: &str) -> String {
    let identity = format!("identity: {{type: ClientID, clientID: '{}'}}", hex(id));
    let addresses = format!("addresses: [{{ip: {ADDRESS}}}]");
    object("Port", "vm1", &format!("networkRef: {{name: lan}}\n{addresses}\n{identity}\n{more}"))
}

/// Network `lan` with `vm1`, and with `vm2` that is known by its MAC address.
fn site() -> Site {
    let site = Site::new();
    site.write("lan.yaml", &(lan() + &fixed("vm2", Mac::nth(2), "10.0.0.21", "")));
    site.write("vm1.yaml", &vm1(ID, ""));
    site
}

fn calling_itself<'s>(site: &'s Site, n: u32, id: &[u8]) -> Guest<'s> {
    site.guest(n).with_client_id(id)
}

/// The file is written after the answer is sent.
fn until_leases(site: &Site, ips: &[Ipv4Addr]) -> Vec<Value> {
    let ips: Vec<_> = ips.iter().map(|ip| json!(ip.to_string())).collect();
    let all = |leases: &Vec<Value>| leases.iter().map(|lease| lease["ip"].clone()).collect::<Vec<_>>() == ips;
    patiently(&format!("there are just the leases of {ips:?}"), |instead| {
        let leases = site.leases(&[]);
        *instead = format!("{leases:?}");
        Some(leases).filter(all)
    })
}

/// Whatever it asks about this address.
fn answers(guest: &Guest<'_>, ip: Ipv4Addr) -> Vec<Answer> {
    let asked = [
        guest.discover(&[]),
        guest.init_reboot(ip),
        guest.select(ip, SERVER),
        guest.renew(ip, SERVER),
        guest.rebind(ip),
        guest.inform(ip),
    ];
    asked.into_iter().flatten().collect()
}

#[test]
fn a_client_id_is_answered_whatever_the_mac_and_nobody_else_is() {
    let site = site();
    let agent = site.start();
    for n in [7, 8] {
        site.until_leased(&calling_itself(&site, n, ID), ADDRESS);
    }
    let (guest, neighbour) = (calling_itself(&site, 7, ID), site.guest(2));
    site.until_leased(&guest, ADDRESS);
    site.until_leased(&neighbour, NEIGHBOUR);
    assert_eq!(guest.renew(ADDRESS, SERVER).unwrap().kind(), MessageType::Ack);
    // Device 8 had the lease before, and 7 has it.
    let others = [(7, OTHER), (9, OTHER), (9, &ID[..2])].map(|(n, id)| calling_itself(&site, n, id));
    for stranger in [site.guest(8), site.guest(9)].into_iter().chain(others) {
        assert!(answers(&stranger, ADDRESS).is_empty());
    }
    // Neither gives the other's address to anybody.
    assert_eq!(guest.init_reboot(NEIGHBOUR).unwrap().kind(), MessageType::Nak);
    assert_eq!(neighbour.init_reboot(ADDRESS).unwrap().kind(), MessageType::Nak);
    let both = calling_itself(&site, 2, ID);
    assert_eq!(both.dora().yiaddr(), ADDRESS, "the identifier wins");
    assert_eq!(neighbour.dora().yiaddr(), NEIGHBOUR);
    site.until_leased(&guest, ADDRESS);
    let found = until_leases(&site, &[ADDRESS, NEIGHBOUR]);
    let lease = &found[0];
    assert_eq!((&lease["port"]["name"], &lease["clientID"]), (&json!("vm1"), &json!("ab:cd:ef")));
    assert_eq!(
        (&lease["macAddress"], &lease["heldByOther"]),
        (&json!(Mac::nth(7).to_string()), &json!(false))
    );
    site.until_ready("Port", "vm1");
    assert!(site.status().condition("Port", "vm1", "AddressConflict").is_none());
    let text = site.run(&["status", "--state-dir", site.state.to_str().unwrap()]);
    assert!(text.contains("client-id ab:cd:ef"), "{text}");
    let one = ["status", "--port", "team-a/vm1", "--state-dir", site.state.to_str().unwrap()];
    let text = site.run(&one);
    assert!(text.contains("KNOWN BY") && text.contains("client-id ab:cd:ef"), "{text}");
    // Restarts of the agent and of dnsmasq are nothing to it.
    let pids = site.dnsmasq_pids();
    agent.kill9();
    let _agent = site.start();
    assert_eq!(site.dnsmasq_pids(), pids);
    site.assert_nothing_to_do();
    site.lab.signal("KILL", pids[0]);
    patiently("its lease is renewed", |_| guest.renew(ADDRESS, SERVER));
}

#[test]
fn another_identity_gets_the_address_and_the_old_one_nothing() {
    let site = site();
    let _agent = site.start();
    let (old, new) = (calling_itself(&site, 7, ID), calling_itself(&site, 8, OTHER));
    site.until_leased(&old, ADDRESS);
    site.write("vm1.yaml", &vm1(OTHER, ""));
    site.until_leased(&new, ADDRESS);
    assert!(answers(&old, ADDRESS).is_empty());
    until_leases(&site, &[ADDRESS]);
    // From an identifier to a MAC address, whose guest calls itself by the old identifier.
    site.write("vm1.yaml", &fixed("vm1", Mac::nth(8), "10.0.0.20", ""));
    site.until_leased(&new, ADDRESS);
    site.until_leased(&calling_itself(&site, 8, ID), ADDRESS);
    site.until_silent(&calling_itself(&site, 9, OTHER));
    // And back: the MAC address alone is a stranger's.
    site.write("vm1.yaml", &vm1(ID, &format!("macAddress: '{}'", Mac::nth(8))));
    site.until_leased(&old, ADDRESS);
    site.until_silent(&calling_itself(&site, 8, OTHER));
    assert!(answers(&site.guest(8), ADDRESS).is_empty());
    site.until_ready("Port", "vm1");
    until_nothing_to_do(&site);
}

#[test]
fn a_removed_one_is_silent_its_lease_is_gone_and_its_device_may_be_a_ports() {
    let site = site();
    let _agent = site.start();
    let guest = calling_itself(&site, 2, ID);
    site.until_leased(&guest, ADDRESS);
    until_leases(&site, &[ADDRESS]);
    site.remove("vm1.yaml");
    // It is that of `vm2` now, by its MAC address.
    site.until_leased(&guest, NEIGHBOUR);
    until_leases(&site, &[NEIGHBOUR]);
    let other = calling_itself(&site, 7, ID);
    assert!(answers(&other, ADDRESS).is_empty());
    site.write("vm1.yaml", &vm1(ID, ""));
    site.until_leased(&other, ADDRESS);
    until_nothing_to_do(&site);
}

#[test]
fn the_same_identity_twice_is_a_condition_and_harms_nobody() {
    let site = site();
    let _agent = site.start();
    let guest = calling_itself(&site, 7, ID);
    site.until_leased(&guest, ADDRESS);
    let claims = |name: &str, id: &[u8]| vm1(id, "").replace("vm1", name).replace("10.0.0.20", "10.0.0.30");
    let by_default = [&[1][..], &Mac::nth(2).0].concat();
    site.write("b.yaml", &claims("aaa", ID));
    site.until_not_ready("Port", "aaa", "DuplicateIdentity", "the guest of Port vm1");
    site.write("b.yaml", &claims("aaa", &by_default));
    site.until_not_ready("Port", "aaa", "DuplicateIdentity", "the guest of Port vm2");
    assert_eq!(guest.dora().yiaddr(), ADDRESS);
    site.until_leased(&calling_itself(&site, 2, &by_default), NEIGHBOUR);
    site.remove("vm1.yaml");
    site.write("b.yaml", &claims("aaa", ID));
    site.until_leased(&guest, [10, 0, 0, 30].into());
}

#[test]
fn it_is_no_stranger_where_strangers_are_served() {
    let dynamic = "dhcp: {mode: Dynamic, dynamic: {first: 10.0.0.200, last: 10.0.0.203}}";
    let site = Site::new();
    let second = subnet("second", "lan", "10.1.0.0/24", "gateway: {type: None}");
    site.write("lan.yaml", &(network("lan", "") + &lan_v4(dynamic) + &second));
    site.write("vm1.yaml", &vm1(ID, ""));
    let _agent = site.start();
    let guest = calling_itself(&site, 7, ID);
    site.until_leased(&guest, ADDRESS);
    let strange = site.guest(8).dora().yiaddr();
    assert!(strange >= Ipv4Addr::new(10, 0, 0, 200), "without its identifier: {strange}");
    site.write("vm1.yaml", &vm1(ID, "dhcp: Disabled"));
    site.until_silent(&guest);
    site.remove("vm1.yaml");
    patiently("it is a stranger", |_| {
        guest.discover(&[]).filter(|offer| offer.yiaddr() >= Ipv4Addr::new(10, 0, 0, 200))
    });
}

#[test]
fn a_declined_address_is_served_again_once_nobody_else_has_it() {
    let site = site();
    let _agent = site.start();
    let guest = calling_itself(&site, 7, ID);
    site.until_leased(&guest, ADDRESS);
    until_leases(&site, &[ADDRESS]);
    guest.decline(ADDRESS, SERVER);
    site.until_leased(&guest, ADDRESS);
}

#[test]
fn dhclient_has_its_address_by_its_identifier_on_any_device() {
    let site = site();
    let _agent = site.start();
    site.until_leased(&calling_itself(&site, 9, ID), ADDRESS);
    for n in [7, 8] {
        let guest = site.guest(n);
        let client = guest.dhclient().calling_itself("ab:cd:ef");
        let bound = client.start().expect("dhclient has no lease");
        assert_eq!((&*bound["reason"], &*bound["new_ip_address"]), ("BOUND", "10.0.0.20"));
        client.stop();
        let bound = client.start().expect("dhclient has no lease after a restart");
        assert_eq!((&*bound["reason"], &*bound["new_ip_address"]), ("REBOOT", "10.0.0.20"));
        client.release();
    }
    let other = site.guest(7);
    assert!(other.dhclient().calling_itself("ab:cd:ee").start().is_none());
    let asked = DhcpOption::RequestedIpAddress(ADDRESS);
    assert!(other.discover(&[asked]).is_none());
    eventually("no lease is left", PATIENCE, || site.leases(&[]).is_empty().then_some(()));
}
