//! Manifests that are wrong: what was good stays in force, and the place of the mistake is told.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;

use crate::lab::{Mac, eventually};
use crate::manifests::{fixed, lan};
use crate::site::{LONG, Site, patiently};

const VM1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

fn until_problem(site: &Site, place: &str, message: &str) {
    patiently(&format!("{place} {message}"), |instead| {
        let problems = site.status().problems();
        *instead = format!("{problems:#?}");
        problems.iter().any(|(p, m)| p.ends_with(place) && m.contains(message)).then_some(())
    });
}

fn until_no_problem(site: &Site) {
    eventually("no problem", LONG, || site.status().problems().is_empty().then_some(()));
}

#[test]
fn a_broken_file_keeps_serving_also_over_a_restart() {
    let site = Site::new();
    let good = fixed("vm1", Mac::nth(1), "10.0.0.20", "");
    site.write("lan.yaml", &lan());
    site.write("vm1.yaml", &good);
    let agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    for (text, place, message) in [
        (good.replace("spec:", "spec: ["), "vm1.yaml:", ""),
        (good.replace("networkRef", "networkReff"), "vm1.yaml:6", "networkReff"),
        (good.replace("10.0.0.20", "10.0.0.2x"), "vm1.yaml:8", "spec.addresses[0].ip"),
        (good.clone() + "  hostname: 7\n", "vm1.yaml:9", "spec.hostname"),
        (good.clone() + "  hostname: a\n  hostname: b\n", "vm1.yaml:10", "hostname"),
        ("\u{0}\u{1}".to_owned(), "vm1.yaml", ""),
    ] {
        site.write("vm1.yaml", &text);
        if place == "vm1.yaml:" || place == "vm1.yaml" {
            let broken = || site.status().problems().iter().any(|(p, _)| p.contains("vm1.yaml"));
            eventually("the problem is told", LONG, || broken().then_some(()));
        } else {
            until_problem(&site, place, message);
        }
        site.until_leased(&guest, VM1);
    }
    // What is in no copy yet, and in no file that can be read, no other agent knows.
    eventually("the copy has the Port", LONG, || {
        let copy = std::fs::read_to_string(site.state.join("manifests.json")).ok()?;
        copy.contains("\"vm1\"").then_some(())
    });
    agent.kill9();
    let agent = site.start();
    assert_eq!(agent.actions(), Vec::<String>::new());
    site.until_leased(&guest, VM1);
    assert!(!site.status().problems().is_empty());
    // Other files are read all the while.
    site.write("vm2.yaml", &fixed("vm2", Mac::nth(2), "10.0.0.21", ""));
    site.until_leased(&site.guest(2), Ipv4Addr::new(10, 0, 0, 21));
    site.write("vm1.yaml", &good);
    until_no_problem(&site);
    site.until_leased(&guest, VM1);
}

#[test]
fn what_may_not_change_is_refused_and_the_old_is_served() {
    let site = Site::new();
    let vm1 = fixed("vm1", Mac::nth(1), "10.0.0.20", "");
    site.write("lan.yaml", &(lan() + &vm1));
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    for (old, new, field) in [
        ("cidr: 10.0.0.0/24", "cidr: 10.0.0.0/16", "spec.cidr"),
        ("physicalNetworkRef: {name: lan}", "physicalNetworkRef: {name: other}", "spec.physicalNetworkRef"),
    ] {
        let text = lan().replace(old, new) + &vm1;
        site.write("lan.yaml", &text);
        let line = text.lines().position(|line| line.contains(new)).unwrap() + 1;
        until_problem(&site, &format!("lan.yaml:{line}"), field);
    }
    let ack = site.until_leased(&guest, VM1);
    assert_eq!(ack.option(1), Some(&[255, 255, 255, 0][..]));
    site.write("lan.yaml", &(lan() + &vm1));
    until_no_problem(&site);
}

#[test]
fn the_same_object_twice_counts_once() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    site.write("b.yaml", &fixed("vm1", Mac::nth(2), "10.0.0.21", ""));
    until_problem(&site, "b.yaml:2", "Duplicate value");
    site.until_leased(&site.guest(1), VM1);
    assert!(site.guest(2).silent());
}

/// As kubelet mounts a `ConfigMap`: files are links into `..data`, itself a link that is replaced.
#[test]
fn a_config_maps_swap_is_seen() {
    let site = Site::new();
    let revision = |name: &str, ip: &str| {
        let directory = site.manifests.join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("lan.yaml"), lan()).unwrap();
        std::fs::write(directory.join("vm1.yaml"), fixed("vm1", Mac::nth(1), ip, "")).unwrap();
        symlink(name, site.manifests.join("..data_tmp")).unwrap();
        std::fs::rename(site.manifests.join("..data_tmp"), site.manifests.join("..data")).unwrap();
    };
    revision("..2026_1", "10.0.0.20");
    for name in ["lan.yaml", "vm1.yaml"] {
        symlink(format!("..data/{name}"), site.manifests.join(name)).unwrap();
    }
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    revision("..2026_2", "10.0.0.21");
    std::fs::remove_dir_all(site.manifests.join("..2026_1")).unwrap();
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 21));
    until_no_problem(&site);
}

#[test]
fn an_unreadable_directory_tears_nothing_down() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    let away = site.lab.state().join("away");
    std::fs::rename(&site.manifests, &away).unwrap();
    let told = || !site.status().problems().is_empty();
    eventually("the missing directory is told", LONG, || told().then_some(()));
    site.until_leased(&guest, VM1);
    agent.kill9();
    let _agent = site.start();
    site.until_leased(&guest, VM1);
    std::fs::rename(&away, &site.manifests).unwrap();
    until_no_problem(&site);
    site.write("b.yaml", &fixed("vm2", Mac::nth(2), "10.0.0.21", ""));
    site.until_leased(&site.guest(2), Ipv4Addr::new(10, 0, 0, 21));
}

#[test]
fn a_directory_that_cannot_be_read_says_nothing_of_what_is_in_no_copy_either() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, VM1);
    agent.kill9();
    let servers = site.dnsmasq_pids();
    // As after a kill before the first copy was written; it may not be yet.
    let forget = || drop(std::fs::remove_file(site.state.join("manifests.json")));
    forget();
    let away = site.lab.state().join("away");
    std::fs::rename(&site.manifests, &away).unwrap();
    let agent = site.start();
    until_problem(&site, "manifests", "cannot be read");
    assert_eq!(site.plan(), Vec::<String>::new());
    std::fs::rename(&away, &site.manifests).unwrap();
    site.until_ready("Port", "vm1");
    site.until_leased(&guest, VM1);
    assert_eq!((agent.actions(), site.dnsmasq_pids()), (Vec::new(), servers));
    agent.kill9();
    forget();
    std::fs::rename(&site.manifests, &away).unwrap();
    let _agent = site.start();
    until_problem(&site, "manifests", "cannot be read");
    std::fs::remove_file(away.join("a.yaml")).unwrap();
    std::fs::rename(&away, &site.manifests).unwrap();
    eventually("nobody serves any more", LONG, || {
        (site.dnsmasq_pids().is_empty() && site.network_dirs().is_empty()).then_some(())
    });
}

#[test]
fn damaged_allocations_tear_nothing_down() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    site.start().stop();
    let ledgers = crate::site::files_of(&site.state.join("allocations"));
    let (ledger, good) = (&ledgers[0], std::fs::read(&ledgers[0]).unwrap());
    std::fs::write(ledger, "{").unwrap();
    let agent = site.start();
    site.until_not_ready("Network", "lan", "StateUnreadable", ledger.to_str().unwrap());
    site.until_leased(&site.guest(1), VM1);
    assert_eq!(agent.actions(), Vec::<String>::new());
    assert_eq!(std::fs::read(ledger).unwrap(), b"{");
    std::fs::write(ledger, good).unwrap();
    site.until_ready("Port", "vm1");
    assert_eq!(agent.actions(), Vec::<String>::new());
}
