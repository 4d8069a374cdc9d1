//! Networks as Neutron's API gives them: imported, served, and each of their guests asked. What Neutron's
//! agent would have answered is read from its own objects here, by none of the import's rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::lab::{self, Answer, Answer6, Ask, Guest, Guest6, Mac, MessageType};
use crate::site::{BIN, Site};

/// Ports that Neutron's agent leaves out, or that are its own.
const NO_GUESTS: [&str; 4] =
    ["network:dhcp", "network:floatingip", "network:distributed", "network:router_ha_interface"];

struct Vector {
    name: String,
    input: Value,
}

/// A quarter of them.
fn vectors(part: usize) -> impl Iterator<Item = Vector> {
    let all: BTreeMap<String, Value> = serde_json::from_str(include_str!("../import/vectors.json")).unwrap();
    let quarter = all.into_iter().enumerate().filter(move |(n, _)| n % 4 == part);
    quarter.map(|(_, (name, input))| Vector { name, input })
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn ips(value: &Value, field: &str) -> Vec<IpAddr> {
    list(value, field).iter().map(|ip| ip.as_str().unwrap().parse().unwrap()).collect()
}

impl Vector {
    /// Imports it into the site's manifests.
    fn import(&self, site: &Site) {
        let input = site.state.with_file_name("neutron.json");
        lab::write_alone(&input, &self.input.to_string());
        let import = ["import", "neutron", "--input", input.to_str().unwrap(), "--physical-network", "lan"];
        let mut command = site.lab.command(BIN);
        let done = lab::output(command.args(import).args(["--out", site.manifests.to_str().unwrap()]));
        assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
    }

    /// Those whom Neutron's agent answers if they have an address, and others.
    fn guests(&self) -> impl Iterator<Item = &Value> {
        list(&self.input, "ports").iter().filter(|port| !NO_GUESTS.contains(&text(port, "device_owner")))
    }

    /// The port's addresses in subnets with DHCP, in Neutron's order, and each one's subnet.
    fn addresses<'v>(&'v self, port: &'v Value, six: bool) -> Vec<(IpAddr, &'v Value)> {
        let subnets = list(&self.input, "subnets");
        let of = |fixed: &Value| {
            let subnet = subnets.iter().find(|subnet| subnet["id"] == fixed["subnet_id"])?;
            let ip: IpAddr = text(fixed, "ip_address").parse().unwrap();
            (subnet["enable_dhcp"] == true && ip.is_ipv6() == six).then_some((ip, subnet))
        };
        list(port, "fixed_ips").iter().filter_map(of).collect()
    }

    /// Of a family's guests that DHCP gives addresses: the one that is offered.
    fn offered<'v>(&'v self, port: &'v Value, six: bool) -> Option<(IpAddr, &'v Value)> {
        let by_dhcp = |(_, subnet): &(IpAddr, &Value)| {
            let mode = text(subnet, "ipv6_address_mode");
            let none = mode.is_empty() && text(subnet, "ipv6_ra_mode").is_empty();
            !six || mode == "dhcpv6-stateful" || none
        };
        self.addresses(port, six).into_iter().rfind(by_dhcp)
    }

    /// Whether the port itself sets an option that this one stands for in either family.
    fn sets(port: &Value, names: &[&str]) -> bool {
        list(port, "extra_dhcp_opts").iter().any(|option| {
            let name = option["opt_name"].as_str().unwrap_or_default();
            names.contains(&name)
        })
    }
}

fn mac(port: &Value) -> Mac {
    let bytes: Vec<u8> =
        text(port, "mac_address").split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Mac(bytes.try_into().unwrap())
}

fn octets4(ips: Vec<IpAddr>) -> Vec<Ipv4Addr> {
    ips.into_iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }).collect()
}

fn octets6(ips: Vec<IpAddr>) -> Vec<Ipv6Addr> {
    ips.into_iter().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }).collect()
}

/// Everything that one guest is told in DHCPv4.
fn check4(vector: &Vector, port: &Value, guest: &Guest<'_>, settled: &Answer) {
    let (ip, subnet) = vector.offered(port, false).unwrap();
    let (name, config) = (format!("{} {}", vector.name, guest.mac()), &vector.input["config"]);
    assert_eq!(IpAddr::V4(settled.yiaddr()), ip, "{name}");
    let gateway = subnet["gateway_ip"].as_str().map(|ip| ip.parse::<Ipv4Addr>().unwrap());
    assert_eq!(settled.addresses(3), Vec::from_iter(gateway), "{name}: routers");
    let dns = octets4(ips(subnet, "dns_nameservers"));
    let wanted = match &dns[..] {
        [] => vec![settled.server()],
        [none] if none.is_unspecified() => Vec::new(),
        _ => dns,
    };
    assert_eq!(settled.addresses(6), wanted, "{name}: DNS servers");
    let domain = config["dns_domain"].as_str().unwrap_or("openstacklocal");
    assert_eq!(settled.text(15).unwrap_or_default(), domain, "{name}: domain");
    let lease = config["dhcp_lease_duration"].as_u64().unwrap_or(86_400);
    assert_eq!(settled.seconds(51).map(u64::from), Some(lease), "{name}: lease time");
    let mtu = vector.input["networks"][0]["mtu"].as_u64().filter(|mtu| *mtu > 0);
    let told = settled.option(26).map(|mtu| u64::from(u16::from_be_bytes(mtu.try_into().unwrap())));
    assert_eq!(told, mtu, "{name}: MTU");
    let assigned = list(port, "dns_assignment").iter().find(|a| a["ip_address"] == ip.to_string());
    if let Some(assigned) = assigned {
        assert_eq!(settled.text(12).as_deref(), Some(text(assigned, "hostname")), "{name}: host name");
    }
    if Vector::sets(port, &["bootfile-name"]) {
        let file = list(port, "extra_dhcp_opts").iter().find(|option| option["opt_name"] == "bootfile-name");
        let request = Ask::new(MessageType::Request).ciaddr(settled.yiaddr()).want(&[67]);
        let sent = guest.ask(&request).and_then(|ack| ack.text(67)).unwrap_or_default();
        assert_eq!(sent.trim_end_matches('\0'), text(file.unwrap(), "opt_value"), "{name}: boot file");
    }
}

fn check6(vector: &Vector, port: &Value, guest: &Guest6<'_>, settled: &Answer6) {
    let (ip, subnet) = vector.offered(port, true).unwrap();
    let name = format!("{} {}", vector.name, guest.mac());
    assert_eq!(settled.addresses().first().copied().map(IpAddr::V6), Some(ip), "{name}");
    if !Vector::sets(port, &["dns-server", "23", "dns-servers"]) {
        let dns = octets6(ips(subnet, "dns_nameservers"));
        if !dns.is_empty() {
            assert_eq!(settled.list(23), dns, "{name}: DNS servers");
        }
    }
}

/// Imports, serves and asks each of a quarter; how many answers were compared.
fn ask_all(part: usize) -> usize {
    let mut compared = 0;
    for vector in vectors(part) {
        let site = Site::new();
        // There is one although a network without DHCP makes none.
        site.lab.bridge("br0");
        vector.import(&site);
        let _agent = site.start();
        for port in vector.guests() {
            let guest = site.lab.guest("br0", mac(port));
            match vector.offered(port, false) {
                Some((IpAddr::V4(ip), _)) => {
                    check4(&vector, port, &guest, &site.until_leased(&guest, ip));
                    compared += 1;
                }
                // One device may be several of its ports.
                _ if vector
                    .guests()
                    .any(|other| mac(other) == mac(port) && vector.offered(other, false).is_some()) => {}
                _ => assert!(guest.silent(), "{} {}: answered without an address", vector.name, guest.mac()),
            }
            let six = site.lab.twin6(guest.netns(), mac(port));
            if let Some((IpAddr::V6(_), _)) = vector.offered(port, true) {
                check6(&vector, port, &six, &six.sarr());
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn guests_of_imported_networks_get_what_neutron_gave_them_1() {
    assert!(ask_all(0) > 10);
}

#[test]
fn guests_of_imported_networks_get_what_neutron_gave_them_2() {
    assert!(ask_all(1) > 10);
}

#[test]
fn guests_of_imported_networks_get_what_neutron_gave_them_3() {
    assert!(ask_all(2) > 10);
}

#[test]
fn guests_of_imported_networks_get_what_neutron_gave_them_4() {
    assert!(ask_all(3) > 10);
}
