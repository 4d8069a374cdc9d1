//! A thousand ports in one network; a thousand networks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::lab::{Guest, Mac, eventually};
use crate::manifests::{network, port, subnet};
use crate::site::{Site, files_of, patiently};

fn wide() -> String {
    network("lan", "") + &subnet("wide", "lan", "10.0.0.0/16", "")
}

/// Port `n` with the `n`-th address above 10.0.16.0.
fn nth(n: u32) -> String {
    port(&format!("vm{n}"), "lan", Mac::nth(n), &format!("addresses: [{{ip: {}}}]", ip(n)))
}

fn ip(n: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 0, 16, 0)) + n).into()
}

fn lease_all(site: &Site, like: &Guest<'_>, numbers: impl Iterator<Item = u32>) {
    for n in numbers {
        assert_eq!(site.lab.twin(like, Mac::nth(n)).dora().yiaddr(), ip(n));
    }
}

/// Offers to all of them, leases for every tenth.
fn ask_all(site: &Site, like: &Guest<'_>, numbers: impl Iterator<Item = u32>) {
    for n in numbers {
        let guest = site.lab.twin(like, Mac::nth(n));
        let offer = if n % 10 == 0 { Some(guest.dora()) } else { guest.discover(&[]) };
        assert_eq!(offer.map(|offer| offer.yiaddr()), Some(ip(n)), "port {n}");
    }
}

fn assert_all_ready(site: &Site, count: u32) {
    site.until_ready("Network", "lan");
    site.until_ready("Port", &format!("vm{count}"));
    let status = site.status();
    let ports = &status.object("Network", "lan").unwrap()["status"]["ports"];
    assert_eq!((ports["total"].as_u64(), ports["ready"].as_u64()), (Some(count.into()), Some(count.into())));
}

fn hosts_files(site: &Site) -> BTreeSet<String> {
    let paths = files_of(&site.network_dir().join("hosts"));
    paths.into_iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_thousand_ports_of_a_thousand_files_and_a_hundred_more_at_once() {
    let site = Site::new();
    site.write("lan.yaml", &wide());
    (1..=1000).for_each(|n| site.write(&format!("vm{n}.yaml"), &nth(n)));
    let _agent = site.start();
    let like = site.guest(9_999);
    lease_all(&site, &like, 1..=1000);
    let process = site.dnsmasq_pids();
    site.write("vm1001.yaml", &nth(1001));
    site.until_leased(&site.lab.twin(&like, Mac::nth(1001)), ip(1001));

    site.until_ready("Port", "vm1001");
    let before = hosts_files(&site);
    site.write("more.yaml", &(1002..=1101).map(nth).collect::<String>());
    site.until_leased(&site.lab.twin(&like, Mac::nth(1101)), ip(1101));
    lease_all(&site, &like, 1002..=1101);
    let new: Vec<_> = hosts_files(&site).difference(&before).cloned().collect();
    assert!(new.len() == 1 && new[0].starts_with("add-"), "{new:?}");
    assert_eq!(site.dnsmasq_pids(), process, "additions need no restart");
    assert_all_ready(&site, 1101);
    assert!(site.lab.twin(&like, Mac::nth(5_000)).silent());
}

#[test]
fn a_thousand_ports_of_one_file() {
    let site = Site::new();
    site.write("all.yaml", &(wide() + &(1..=1000).map(nth).collect::<String>()));
    let _agent = site.start();
    let like = site.guest(9_999);
    ask_all(&site, &like, 1..=1000);
    assert_eq!(site.lab.twin(&like, Mac::nth(1)).dora().yiaddr(), ip(1));
    let all = |last| wide() + &(2..=last).map(nth).collect::<String>();
    site.write("all.yaml", &all(1001));
    site.until_leased(&site.lab.twin(&like, Mac::nth(1001)), ip(1001));
    site.until_silent(&site.lab.twin(&like, Mac::nth(1)));
    site.until_ready("Port", "vm1001");
    site.until_ready("Network", "lan");
    // The copy of the manifests, which `plan` starts from, is written after all was served.
    crate::six::until_nothing_to_do(&site);
}

/// How long the pod's start-up probe waits for `/livez` (deploy/agent.yaml).
const PROBED: Duration = Duration::from_secs(300);
const NETWORKS: u64 = 1000;

#[test]
#[ignore = "two minutes: cargo test --test agent many::a_thousand_networks -- --ignored --nocapture"]
fn a_thousand_networks_of_a_node_start_are_adopted_and_end() {
    let site = Site::new();
    for n in 0..NETWORKS {
        let name = format!("net{n}");
        let network = network(&name, "").replace("name: lan", &format!("name: p{n}"));
        let net = format!("10.{}.{}.0/24", n / 256, n % 256);
        let port = port(&format!("vm{n}"), &name, Mac::nth(n.try_into().unwrap()), "");
        site.write(&format!("{name}.yaml"), &(network + &subnet(&name, &name, &net, "") + &port));
    }
    let mappings: Vec<_> = (0..NETWORKS).map(|n| format!("p{n}=bridge:b{n}")).collect();
    let launch = site.launch().physical(&mappings.iter().map(String::as_str).collect::<Vec<_>>());
    let agent = launch.start();
    until_all_served("from nothing", &site);
    let servers = site.dnsmasq_pids();
    assert_eq!(servers.len() as u64, NETWORKS);
    agent.kill9();
    let agent = launch.start();
    until_all_served("after kill -9", &site);
    assert_eq!(site.dnsmasq_pids(), servers, "none was started anew");
    site.remove_all();
    let began = Instant::now();
    patiently("no network is known", |_| (site.metric("networks") == Some(0)).then_some(()));
    println!("none is served after {:.1?}", began.elapsed());
    site.until_nothing_remains();
    println!("taken down after {:.1?}", began.elapsed());
    agent.stop();
}

/// Tells what a kubelet would see meanwhile.
fn until_all_served(what: &str, site: &Site) {
    let (began, mut alive) = (Instant::now(), None);
    let (first, slowest) = eventually(&format!("all are served, {what}"), PROBED, || {
        let asked = Instant::now();
        match (site.get("/livez"), alive) {
            (Some((200, _)), None) => alive = Some((began.elapsed(), Duration::ZERO)),
            (Some((200, _)), Some((first, slowest))) => alive = Some((first, asked.elapsed().max(slowest))),
            (answer, Some(_)) => panic!("{what}: /livez says {answer:?}"),
            (_, None) => {}
        }
        alive.filter(|_| site.metric("networks_ready") == Some(NETWORKS))
    });
    let all = began.elapsed();
    println!(
        "{what}: all are served after {all:.1?}; /livez is heard from {first:.1?} on, within {slowest:.1?}"
    );
}
