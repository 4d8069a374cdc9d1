//! Leases: who really holds which address, and what the agent says of it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::{Mac, PATIENCE, eventually};
use crate::manifests::{fixed, lan, lan_v4, subnet, vlan};
use crate::site::{LONG, Site};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

fn table(site: &Site) -> String {
    site.run(&["leases", "--state-dir", site.state.to_str().unwrap()])
}

/// The file is written after the answer is sent.
fn until_told(site: &Site, count: usize) -> Vec<Value> {
    eventually("the leases are there", PATIENCE, || {
        Some(site.leases(&[])).filter(|leases| leases.len() == count)
    })
}

/// What somebody else may have written into the file.
fn damage(site: &Site, text: &[u8]) {
    let path = site.network_dir().join("leases");
    OpenOptions::new().append(true).open(path).unwrap().write_all(text).unwrap();
}

#[test]
fn they_are_told_with_an_agent_and_without_one() {
    let site = Site::new();
    let v6 = subnet("lan-v6", "lan", "2001:db8::/64", "ipv6: {addressMode: DHCPv6Stateful}");
    let both = "addresses: [{ip: 10.0.0.20}, {ip: '2001:db8::20'}]";
    let vm = fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1");
    site.write("a.yaml", &(lan() + &v6 + &vm.replace("addresses: [{ip: 10.0.0.20}]", both)));
    let agent = site.start();
    assert_eq!(table(&site), "No leases.\n");
    let guest = site.guest(1);
    let six = site.lab.twin6(guest.netns(), Mac::nth(1));
    site.until_leased(&guest, ADDRESS);
    site.until_leased6(&six, "2001:db8::20".parse().unwrap());
    let leases = until_told(&site, 2);
    let (v4, v6) = (&leases[0], &leases[1]);
    for (field, value) in [
        ("namespace", json!("team-a")),
        ("network", json!("lan")),
        ("ip", json!("10.0.0.20")),
        ("family", json!("IPv4")),
        ("port", json!({"name": "vm1", "macAddress": Mac::nth(1).to_string()})),
        ("macAddress", json!(Mac::nth(1).to_string())),
        ("heldByOther", json!(false)),
        ("hostname", json!("vm1")),
    ] {
        assert_eq!(v4[field], value, "{field}: {v4}");
    }
    assert_eq!((&v6["ip"], &v6["duid"]), (&json!("2001:db8::20"), &json!("00:03:00:01:02:00:00:00:00:01")));
    assert_eq!((&v6["iaid"], &v6["macAddress"]), (&json!(1), &json!(Mac::nth(1).to_string())));
    let time =
        |lease: &Value, field: &str| lease[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let day = time(v4, "expires").duration_since(time(v4, "renewed"));
    assert_eq!(day.as_secs(), 86_400);
    agent.kill9();
    assert_eq!(site.leases(&[]), leases);
    site.lab.signal("KILL", site.dnsmasq_pids()[0]);
    eventually("dnsmasq is gone", PATIENCE, || site.dnsmasq_pids().is_empty().then_some(()));
    let without = site.leases(&[]);
    assert_eq!((without.len(), &without[0]["renewed"]), (2, &Value::Null), "its lease time is not known");
    assert_eq!(without[0]["expires"], v4["expires"]);
}

/// One Port's lease, and an agent that is dead.
fn left() -> Site {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.start();
    site.until_leased(&site.guest(1), ADDRESS);
    until_told(&site, 1);
    agent.kill9();
    site
}

#[test]
fn another_holder_is_marked_and_a_damaged_line_hides_none() {
    let site = left();
    damage(&site, b"rubbish\n\xff\xfe \x1b[2J\n0 zz:00:00:00:00:01 10.0.0.21 * *\n");
    damage(&site, b"0 02:00:00:00:00:09 10.0.0.20 * 01:02:03\n0 02:00:00:00:00:08 10.0.0.99 * *\n4102444");
    let leases = site.leases(&[]);
    let others: Vec<_> = leases.iter().filter(|lease| lease["heldByOther"] == json!(true)).collect();
    let [other] = &others[..] else { panic!("{leases:?}") };
    assert_eq!(
        (&other["macAddress"], &other["clientID"]),
        (&json!(Mac::nth(9).to_string()), &json!("01:02:03"))
    );
    assert_eq!((leases.len(), &other["expires"]), (3, &json!("never")));
    let text = table(&site);
    assert!(text.contains("it is 02:00:00:00:00:01's"), "{text}");
    assert!(text.contains("no Port has the address"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_file_cut_anywhere_is_no_mistake() {
    let site = left();
    let path = site.network_dir().join("leases");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(site.leases(&[]).len() <= 1, "{length}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(table(&site), "No leases.\n");
}

#[test]
fn they_are_chosen_by_namespace_network_and_port() {
    let site = Site::new();
    let other = vlan("two", 5) + &lan_v4("").replace("lan", "two");
    let vm2 = fixed("vm2", Mac::nth(2), "10.0.0.20", "").replace("{name: lan}", "{name: two}");
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "") + &other + &vm2));
    let _agent = site.launch().physical(&["lan=bridge:br0", "trunk=bridge:br-{vlan}"]).start_ready();
    site.until_leased(&site.guest(1), ADDRESS);
    site.until_leased(&site.lab.guest("br-5", Mac::nth(2)), ADDRESS);
    until_told(&site, 2);
    for (filter, ports) in [
        (&["-n", "team-a"][..], &["vm1", "vm2"][..]),
        (&["--network", "two"], &["vm2"]),
        (&["--port", "vm1"], &["vm1"]),
        (&["--network", "two", "--port", "vm1"], &[]),
        (&["--namespace", "team-b"], &[]),
    ] {
        let found: Vec<_> =
            site.leases(filter).iter().map(|l| l["port"]["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, ports, "{filter:?}");
    }
}

/// With an agent that looks at nothing unless it is told.
#[test]
fn they_are_counted_when_they_are_given() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.launch().more(&["--resync-seconds", "3600"]).start_ready();
    site.until_ready("Port", "vm1");
    let before = agent.actions();
    site.until_leased(&site.guest(1), ADDRESS);
    let counted = || (site.metric("leases{family=\"IPv4\"}") == Some(1)).then_some(());
    eventually("the lease is counted", LONG, counted);
    assert_eq!(site.metric("leases{family=\"IPv6\"}"), Some(0));
    assert_eq!(agent.actions(), before, "nothing is done for it");
}

#[test]
fn a_lease_that_dnsmasq_does_not_give_up_is_a_condition_of_its_port_until_it_is_gone() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.launch().more(&["--resync-seconds", "3600"]).start_ready();
    site.until_ready("Port", "vm1");
    let conflict = || site.status().condition("Port", "vm1", "AddressConflict");
    assert_eq!(conflict(), None);
    damage(&site, b"0 02:00:00:00:00:09 10.0.0.20 * *\n");
    let told = eventually("it is told", LONG, conflict);
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "LeaseHeldByOther"));
    assert!(told.message.contains("02:00:00:00:00:09 holds the lease of 10.0.0.20"), "{told:?}");
    site.until_ready("Port", "vm1");
    // dnsmasq never had it in memory, and writes the file anew.
    site.until_leased(&site.guest(1), ADDRESS);
    eventually("it is over", LONG, || conflict().is_none().then_some(()));
}
