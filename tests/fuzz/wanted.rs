//! What a dnsmasq is to be told, from the objects as they were written and who of them was accepted.

use std::net::Ipv4Addr;

use kube_dhcp::desired::Desired;
use serde_json::Value;

use crate::court::is_in_network;
use crate::model::Model;
use crate::scene::{STATE, Scene, Subject, UID};
use crate::wanted_options::{option, routes};

const FIXED: [&str; 12] = [
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-hosts",
    "--no-resolv",
    "--bind-dynamic",
    "--except-interface=lo",
    "--dhcp-authoritative",
    "--dhcp-ignore=tag:!known",
    "--dhcp-lease-max=16777216",
    "--quiet-dhcp",
    "--local=//",
    "--domain-needed",
];

const FILES: [(&str, &str); 6] = [
    ("pid-file", "pid"),
    ("log-facility", "log"),
    ("dhcp-leasefile", "leases"),
    ("dhcp-hostsdir", "hosts"),
    ("dhcp-optsdir", "options"),
    ("hostsdir", "names"),
];

/// A subnet that was accepted.
struct Subnet<'a> {
    subject: &'a Subject,
    network: u32,
    length: u32,
    gateway: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

impl<'a> Subnet<'a> {
    fn new(subject: &'a Subject) -> Self {
        let (network, length) = net(text(&subject.spec["cidr"]));
        let gateway = match subject.spec["gateway"]["type"].as_str() {
            Some("None") => None,
            Some("Address") => Some(text(&subject.spec["gateway"]["address"]).parse().unwrap()),
            _ => Some(Ipv4Addr::from(network + u32::from(length < 31))),
        };
        Self { subject, network, length, gateway, server: None }
    }

    fn has_dhcp(&self) -> bool {
        self.subject.spec["dhcp"]["mode"] != "Disabled"
    }

    fn cidr(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.network), self.length)
    }

    fn range(&self) -> String {
        let (key, net) = (self.subject.key('s'), Ipv4Addr::from(self.network));
        let mask = Ipv4Addr::from(mask(self.length));
        let lease = match self.subject.spec["dhcp"]["leaseDurationSeconds"].as_u64() {
            None => "86400".to_owned(),
            Some(4_294_967_295) => "infinite".to_owned(),
            Some(seconds) => seconds.to_string(),
        };
        format!("--dhcp-range=set:{key},tag:known,{net},static,{mask},{lease}")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Network and prefix length.
pub fn net(cidr: &str) -> (u32, u32) {
    let (ip, length) = cidr.split_once('/').unwrap();
    let (ip, length): (Ipv4Addr, u32) = (ip.parse().unwrap(), length.parse().unwrap());
    (u32::from(ip) & mask(length), length)
}

fn mask(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

fn quads<'a>(ips: impl Iterator<Item = &'a Value>) -> Vec<u8> {
    ips.flat_map(|ip| text(ip).parse::<Ipv4Addr>().unwrap().octets()).collect()
}

/// See the module.
pub fn wanted(scene: &Scene, desired: &Desired) -> Model {
    let accepted = scene.subnets.values().filter(|subnet| is_in_network(desired, &subnet.name));
    let mut subnets: Vec<_> = accepted.map(Subnet::new).collect();
    let has_room = |subnet: &Subnet<'_>| desired.subnets[&subnet.subject.name].problem.is_none();
    let with_dhcp = subnets.iter_mut().filter(|subnet| subnet.has_dhcp() && has_room(subnet));
    for (subnet, server) in with_dhcp.zip(&desired.server_addresses) {
        subnet.server = Some(*server);
    }
    let mut model = Model { argv: argv(scene, &subnets), ..Model::default() };
    for subnet in subnets.iter().filter(|subnet| subnet.server.is_some()) {
        scope(scene, subnet, &subnets, &mut model);
    }
    for port in scene.ports.values() {
        one_port(scene, port, desired, &subnets, &mut model);
    }
    model
}

fn domain(scene: &Scene) -> Option<String> {
    scene.network.spec["dns"]["domain"].as_str().map(str::to_lowercase)
}

fn argv(scene: &Scene, subnets: &[Subnet<'_>]) -> Vec<String> {
    let mut argv: Vec<_> = FIXED.iter().map(|&arg| arg.to_owned()).collect();
    argv.push("--interface=dhcp0".to_owned());
    argv.extend(FILES.map(|(option, file)| format!("--{option}={STATE}/networks/{UID}/{file}")));
    argv.extend(subnets.iter().filter(|s| s.server.is_some()).map(Subnet::range));
    if let Some(domain) = domain(scene) {
        argv.extend([format!("--domain={domain}"), format!("--local=/{domain}/")]);
    }
    argv.extend(subnets.iter().map(|subnet| format!("--rev-server={}", subnet.cidr())));
    let forwarding = &scene.network.spec["dns"]["forwarding"];
    match forwarding["type"].as_str() {
        Some("None") => {}
        Some("Node") => argv.push("--server=192.0.2.54".to_owned()),
        Some("Addresses") => argv.extend(list(&forwarding["addresses"]).map(|ip| {
            let ip: std::net::IpAddr = text(ip).parse().unwrap();
            format!("--server={ip}")
        })),
        _ => argv.push("--server=192.0.2.53".to_owned()),
    }
    argv
}

fn scope(scene: &Scene, subnet: &Subnet<'_>, all: &[Subnet<'_>], model: &mut Model) {
    let (spec, network) = (&subnet.subject.spec, &scene.network.spec);
    let key = subnet.subject.key('s');
    let mut put = |code: u8, bytes: Vec<u8>| drop(model.options.insert((key.clone(), code), bytes));
    put(3, subnet.gateway.map(|ip| ip.octets().to_vec()).unwrap_or_default());
    put(
        6,
        match spec["dns"]["type"].as_str() {
            Some("None") => Vec::new(),
            Some("Addresses") => quads(list(&spec["dns"]["addresses"])),
            _ => subnet.server.unwrap().octets().to_vec(),
        },
    );
    if let Some(mtu) = network["mtu"].as_u64() {
        put(26, u16::try_from(mtu).unwrap().to_be_bytes().to_vec());
    }
    // Those two dnsmasq cannot send as an option; it sends its --domain instead.
    if let Some(domain) = domain(scene).filter(|domain| !["s", "i"].contains(&domain.as_str())) {
        put(15, domain.into_bytes());
    }
    for (code, field) in [(58, "renewalSeconds"), (59, "rebindingSeconds")] {
        if let Some(seconds) = spec["dhcp"][field].as_u64() {
            put(code, u32::try_from(seconds).unwrap().to_be_bytes().to_vec());
        }
    }
    let others = all.iter().filter(|other| other.cidr() != subnet.cidr());
    let on_link: Vec<_> = others.map(|other| (other.network, other.length)).collect();
    let own: Vec<_> = list(&spec["hostRoutes"])
        .map(|route| (net(text(&route["destination"])), text(&route["nextHop"]).parse().unwrap()))
        .collect();
    let routes = routes(&on_link, &own, subnet.gateway, (subnet.network, subnet.length));
    if !routes.is_empty() {
        put(121, routes.clone());
        put(249, routes);
    }
    for written in list(&network["options"]).chain(list(&spec["options"])) {
        let (code, bytes) = option(written).unwrap_or_else(|| panic!("accepted: {written}"));
        put(code, bytes);
    }
}

fn one_port(scene: &Scene, port: &Subject, desired: &Desired, subnets: &[Subnet<'_>], model: &mut Model) {
    let Some(view) = desired.ports.get(&port.name).filter(|view| view.problem.is_none()) else { return };
    let spec = &port.spec;
    let hostname = |ip: &Ipv4Addr| {
        let own = spec["hostname"].as_str().map(str::to_lowercase);
        own.unwrap_or_else(|| format!("host-{}", ip.to_string().replace('.', "-")))
    };
    let domain = domain(scene);
    let below = |name: &String| {
        domain.as_ref().is_some_and(|domain| name == domain || name.ends_with(&format!(".{domain}")))
    };
    let plain = |name: &String| name.len() <= 253 && name.split('.').all(is_label);
    for (ip, _) in &view.addresses {
        let full = domain.as_ref().map(|domain| format!("{}.{domain}", hostname(ip)));
        let mut names: Vec<_> = full.filter(|name| name.len() <= 253).into_iter().collect();
        names.push(hostname(ip));
        let more = list(&spec["dnsNames"]).map(|name| text(name).to_ascii_lowercase());
        names.extend(more.filter(|name| plain(name) && below(name)));
        model.names.insert(*ip, names);
    }
    let served = |name: &String| subnets.iter().any(|s| s.subject.name == *name && s.server.is_some());
    let offered = view.addresses.iter().find(|(_, subnet)| served(subnet));
    let mac = spec["macAddress"].as_str().filter(|_| spec["dhcp"] != "Disabled");
    if let (Some(mac), Some((ip, _))) = (mac, offered) {
        model.hosts.insert(mac.to_lowercase(), (port.key('p'), *ip, hostname(ip)));
        for written in list(&spec["options"]) {
            let (code, bytes) = option(written).unwrap_or_else(|| panic!("accepted: {written}"));
            model.options.insert((port.key('p'), code), bytes);
        }
    }
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
