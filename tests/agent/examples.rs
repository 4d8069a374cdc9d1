//! The examples that users read: each is served as it stands, and its guests get what it says.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use dhcproto::v4::DhcpOption;
use serde_json::Value;

use crate::agent::Agent;
use crate::lab::{Ask, DnsReply, DnsSocket, Guest, Mac, MessageType, raw, rtype, txt};
use crate::site::{Site, patiently};

const DATACENTRE: &str = "datacentre=bridge:br0";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Declares these files of an example, and starts an agent that serves all of it.
fn serve<'s>(site: &'s Site, name: &str, files: &[&str], physical: &str) -> Agent<'s> {
    for file in files {
        site.write(file, &std::fs::read_to_string(example(name).join(file)).unwrap());
    }
    let agent = site.launch().physical(&[physical]).start_ready();
    until_all_ready(site);
    agent
}

fn until_all_ready(site: &Site) {
    patiently("all objects are Ready", |instead| {
        *instead = site.run(&["status", "--state-dir", site.state.to_str().unwrap()]);
        let lines = instead.lines().filter(|line| line.contains('/')).count();
        let ready = instead.lines().filter(|line| line.contains('/') && line.contains(" True ")).count();
        (lines > 2 && lines == ready).then_some(())
    });
}

fn ip4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// Whom the network's own DNS says to be of this name.
fn resolve(site: &Site, server: Ipv4Addr, name: &str) -> DnsReply {
    DnsSocket::new(&site.lab, Some(&site.namespace()), server).ask(name, rtype::A)
}

#[test]
fn a_plain_network() {
    let site = Site::new();
    let _agent = serve(&site, "lan", &["network.yaml", "ports.yaml"], DATACENTRE);
    let ack = site.until_leased(&site.guest(1), ip4(20));
    assert_eq!(ack.addresses(3), [ip4(1)]);
    let routes: &[u8] = &[16, 10, 8, 10, 0, 0, 254, 0, 10, 0, 0, 1];
    assert_eq!(ack.option(121), Some(routes));
    let ack = site.guest(2).dora();
    assert_eq!((ack.addresses(42), ack.text(12).as_deref()), (vec![ip4(1)], Some("db")));
}

#[test]
fn both_families() {
    let site = Site::new();
    let _agent = serve(&site, "dual-stack", &["network.yaml", "ports.yaml"], DATACENTRE);
    let ip6 = |last: &str| format!("2001:db8:0:1::{last}").parse().unwrap();
    let web = site.guest(2);
    site.until_leased(&web, ip4(80));
    site.until_leased6(&site.lab.twin6(web.netns(), Mac::nth(2)), ip6("80"));
    let vm1 = site.guest(1);
    site.until_leased(&vm1, ip4(11));
    site.until_leased6(&site.lab.twin6(vm1.netns(), Mac::nth(1)), ip6("11"));
    let server = vm1.discover(&[]).unwrap().server();
    let dns = DnsSocket::new(&site.lab, Some(&site.namespace()), server);
    let both = dns.ask("web.vm.example.org", rtype::AAAA);
    assert_eq!(both, DnsReply::found(&["2001:db8:0:1::443", "2001:db8:0:1::80"]));
}

#[test]
fn bare_metal_that_boots_from_the_network() {
    let site = Site::new();
    let _agent = serve(&site, "pxe", &["network.yaml", "ports.yaml"], DATACENTRE);
    let (one, two) = (site.guest(1), site.guest(2));
    site.until_leased(&one, ip4(21));
    site.until_leased(&two, ip4(22));
    let told = |guest: &Guest<'_>, said: &[DhcpOption]| {
        let ask = Ask::new(MessageType::Discover).want(&[66, 67, 150]).options(said);
        let offer = guest.answer(&ask);
        assert_eq!((offer.siaddr(), offer.addresses(150)), (ip4(2), vec![ip4(2)]));
        offer.text(67).map(|file| file.trim_end_matches('\0').to_owned())
    };
    let (bios, uefi, ipxe) = (raw(93, &[0, 0]), raw(93, &[0, 7]), raw(77, b"iPXE"));
    assert_eq!(told(&one, &[]), None);
    assert_eq!(told(&one, std::slice::from_ref(&bios)).unwrap(), "undionly.kpxe");
    assert_eq!(told(&one, std::slice::from_ref(&uefi)).unwrap(), "snponly.efi");
    assert_eq!(told(&one, &[uefi.clone(), ipxe.clone()]).unwrap(), "http://10.0.0.2/boot.ipxe");
    assert_eq!(told(&two, &[bios, ipxe]).unwrap(), "http://10.0.0.2/rescue.ipxe");
    assert_eq!(told(&two, &[uefi]).unwrap(), "snponly.efi");
}

#[test]
fn an_address_that_two_machines_share() {
    let site = Site::new();
    let _agent = serve(&site, "vip", &["network.yaml", "ports.yaml"], DATACENTRE);
    let one = site.guest(1).dora();
    let two = site.guest(2).dora();
    assert_eq!([one.yiaddr(), two.yiaddr()], [ip4(11), ip4(12)]);
    assert_eq!(resolve(&site, one.server(), "web.vm.example.org"), DnsReply::found(&["10.0.0.100"]));
}

#[test]
fn two_tenants_with_the_same_addresses() {
    let site = Site::new();
    let files = ["admin.yaml", "team-a.yaml", "team-b.yaml"];
    let _agent = serve(&site, "two-tenants", &files, "datacentre=bridge:br-{vlan}");
    for (bridge, last) in [("br-101", 101), ("br-102", 102)] {
        let ack = site.until_leased(&site.lab.guest(bridge, Mac::nth(1)), ip4(last));
        let tenant = if last == 101 { "team-a.example.org" } else { "team-b.example.org" };
        assert_eq!(ack.text(15).as_deref(), Some(tenant));
    }
}

#[test]
fn a_virtual_machine_of_kubevirt() {
    let text = std::fs::read_to_string(example("kubevirt").join("machine.yaml")).unwrap();
    let objects: Vec<Value> =
        text.split("\n---\n").map(|object| serde_saphyr::from_str(object).unwrap()).collect();
    let config: Value = serde_json::from_str(objects[0]["spec"]["config"].as_str().unwrap()).unwrap();
    assert_eq!(DATACENTRE, format!("datacentre=bridge:{}", config["bridge"].as_str().unwrap()));
    let machine = &objects[1]["spec"]["template"]["spec"];
    let mac = machine["domain"]["devices"]["interfaces"][0]["macAddress"].as_str().unwrap();
    assert_eq!(machine["networks"][0]["multus"]["networkName"], objects[0]["metadata"]["name"]);
    let site = Site::new();
    let _agent = serve(&site, "kubevirt", &["network.yaml"], DATACENTRE);
    let guest = site.guest(13);
    assert_eq!(guest.mac().to_string(), mac);
    site.until_leased(&guest, ip4(11));
}

#[test]
fn a_box_without_a_cluster() {
    let settings = std::fs::read_to_string(example("edge").join("default")).unwrap();
    let options = settings.lines().find_map(|line| line.strip_prefix("OPTIONS=")).unwrap();
    let words: Vec<_> = options.trim_matches('"').split(' ').collect();
    let of = |flag: &str| words[words.iter().position(|word| *word == flag).unwrap() + 1];
    assert!(words.contains(&"--create-bridges"));
    let site = Site::new();
    site.write("a.yaml", &std::fs::read_to_string(example("edge").join("network.yaml")).unwrap());
    let physical = [of("--physical-network")];
    let launch = site.launch().physical(&physical).node(&["--dns-forwarder", of("--dns-forwarder")]);
    let _agent = launch.start_ready();
    until_all_ready(&site);
    let address = Ipv4Addr::new(10, 20, 0, 21);
    let ack = site.until_leased(&site.guest(1), address);
    assert_eq!((ack.seconds(51), ack.addresses(42)), (Some(604_800), vec![Ipv4Addr::new(10, 20, 0, 1)]));
    let hub = resolve(&site, ack.server(), "hub.site.example.org");
    assert_eq!(hub, DnsReply::found(&["10.20.0.5"]));
    let dns = DnsSocket::new(&site.lab, Some(&site.namespace()), ack.server());
    let told = dns.ask("_site.site.example.org", rtype::TXT);
    assert_eq!(told, DnsReply::found(&[&txt(&["name=harbour", "rack=2"])]));
    assert!(site.run_shell("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").contains("--server=192.0.2.53"));
}
