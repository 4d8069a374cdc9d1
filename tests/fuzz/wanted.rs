//! What a dnsmasq is to be told, from the objects as they were written and who of them was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kube_dhcp::desired::Desired;
use serde_json::Value;

use crate::court::is_in_network;
use crate::identity::{calls_itself, known_by};
use crate::model::{Code, Host, Model, Options, is_mac};
use crate::model_options::ADVERTISED;
use crate::net::{Net, octets};
use crate::scene::{STATE, Scene, Subject, UID};
use crate::wanted_options::{option, routes, wire_name};
use crate::wanted_subnet::{Subnet, list, text};
use crate::wanted_txt::arguments;

const FIXED: [&str; 11] = [
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-hosts",
    "--no-resolv",
    "--bind-dynamic",
    "--except-interface=lo",
    "--dhcp-authoritative",
    "--dhcp-lease-max=16777216",
    "--quiet-dhcp",
    "--local=//",
    "--domain-needed",
];

/// Architectures and their numbers.
const MACHINES: [(&str, u8); 13] = [
    ("x86-bios", 0),
    ("x86-uefi", 6),
    ("x64-uefi", 7),
    ("x64-uefi", 9),
    ("arm32-uefi", 10),
    ("arm64-uefi", 11),
    ("riscv64-uefi", 27),
    ("x86-http", 15),
    ("x64-http", 16),
    ("arm32-http", 18),
    ("arm64-http", 19),
    ("riscv64-http", 28),
    ("power-opal", 14),
];

/// None of them.
fn machines() -> String {
    let mut tags: Vec<_> = MACHINES.iter().map(|(tag, _)| format!(",tag:!{tag}")).collect();
    tags.dedup();
    tags.concat()
}

const FILES: [(&str, &str); 6] = [
    ("pid-file", "pid"),
    ("log-facility", "log"),
    ("dhcp-leasefile", "leases"),
    ("dhcp-hostsdir", "hosts"),
    ("dhcp-optsdir", "options"),
    ("hostsdir", "names"),
];

fn v4(ip: IpAddr) -> Ipv4Addr {
    let IpAddr::V4(ip) = ip else { panic!("{ip} is given to an IPv4 guest") };
    ip
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
    let mut model = Model::default();
    for subnet in subnets.iter().filter(|subnet| subnet.server.is_some() && !subnet.is_slaac()) {
        let tag = subnet.subject.key('s');
        model
            .options
            .extend(scope(scene, subnet, &subnets).into_iter().map(|(code, b)| ((tag.clone(), code), b)));
    }
    advertised(scene, &subnets, &mut model);
    for port in scene.ports.values() {
        one_port(scene, port, desired, &subnets, &mut model);
    }
    let offered: BTreeSet<_> = model.hosts.values().flat_map(|host| &host.ips).copied().collect();
    let held = desired.ports.values().flat_map(|view| &view.addresses).map(|(ip, _)| *ip);
    let mut taken: BTreeSet<_> = held.filter(|ip| !offered.contains(ip)).collect();
    taken.extend(subnets.iter().flat_map(|subnet| [subnet.gateway, subnet.server]).flatten());
    taken.extend(subnets.iter().flat_map(Subnet::named));
    for subnet in &mut subnets {
        subnet.leave_to_strangers(&taken);
    }
    model.argv = argv(scene, &subnets);
    if subnets.iter().any(Subnet::is_dynamic) {
        let answered = model.hosts.keys().filter(|(_, six)| !six).map(|(who, _)| who.clone());
        let answered: BTreeSet<_> =
            answered.chain([asker(), own()]).flat_map(|who| calls_itself(&who)).collect();
        let is_free = |who: &String| calls_itself(who).iter().all(|name| !answered.contains(name));
        let silent = scene.ports.values().filter_map(|port| known_by(&port.spec, false)).filter(is_free);
        model.silent = silent.collect();
    }
    before_dhcpv6(scene, desired, &subnets, &mut model);
    model
}

/// What all advertised subnets tell, once each, as far as 255 bytes hold it.
fn advertised(scene: &Scene, subnets: &[Subnet<'_>], model: &mut Model) {
    let all: Vec<_> = subnets.iter().filter(|subnet| subnet.is_advertised()).collect();
    let told: Vec<_> = all.iter().map(|subnet| scope(scene, subnet, subnets)).collect();
    let (mut servers, mut names): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    let put = |items: &mut Vec<&[u8]>, item: &'_ [u8]| {
        items.concat().len() + item.len() <= 255 && !items.contains(&item)
    };
    for options in &told {
        for ip in options.get(&Code::V6(23)).iter().flat_map(|bytes| bytes.chunks(16)) {
            if put(&mut servers, ip) {
                servers.push(ip);
            }
        }
        for name in options.get(&Code::V6(24)).iter().flat_map(|bytes| bytes.split_inclusive(|b| *b == 0)) {
            if put(&mut names, name) {
                names.push(name);
            }
        }
    }
    let mut say = |code, items: Vec<&[u8]>| {
        model.options.insert((ADVERTISED.to_owned(), Code::V6(code)), items.concat())
    };
    if !all.is_empty() {
        say(23, servers);
    }
    if !names.is_empty() {
        say(24, names);
    }
}

/// Whom it hears, and whom it need not look for.
fn before_dhcpv6(scene: &Scene, desired: &Desired, subnets: &[Subnet<'_>], model: &mut Model) {
    let six = model.hosts.keys().filter(|(_, six)| *six).map(|(who, _)| who.clone());
    let mut guests: BTreeSet<_> = six.filter(|who| is_mac(who)).collect();
    let known = |port: &&Subject| {
        known_by(&port.spec, true).is_some_and(|who| model.hosts.contains_key(&(who, true)))
            && desired.ports[&port.name].problem.is_none()
    };
    let devices = scene.ports.values().filter(known).filter_map(|port| port.spec["macAddress"].as_str());
    guests.extend(devices.map(str::to_lowercase));
    if subnets.iter().any(Subnet::is_advertised) {
        let accepted = scene.ports.values().filter(|port| desired.ports[&port.name].problem.is_none());
        let soliciting = accepted.filter(|port| port.spec["dhcp"] != "Disabled");
        guests.extend(soliciting.filter_map(|port| port.spec["macAddress"].as_str()).map(str::to_lowercase));
    }
    if subnets.iter().any(|subnet| subnet.has_dhcpv6() || subnet.is_advertised()) {
        model.known = Some(guests.iter().cloned().chain([asker()]).collect());
    }
    for subnet in subnets {
        if let Some(IpAddr::V6(server)) = subnet.server {
            model.neighbours.insert(server, own());
        }
    }
    model.neighbours.extend(guests.into_iter().map(|mac| (link_local(&mac), mac)));
}

/// The server's device.
fn own() -> String {
    local(&UID.replace('-', ""))
}

/// Who asks it in the agent's name.
fn asker() -> String {
    let id = uuid::Uuid::new_v5(&UID.parse().unwrap(), b"the agent of n1");
    local(&id.simple().to_string())
}

fn local(hex: &str) -> String {
    with_colons(&format!("02{}", &hex[..10]))
}

fn with_colons(hex: &str) -> String {
    let pairs: Vec<_> = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]).collect();
    pairs.join(":")
}

/// RFC 4291, appendix A.
fn link_local(mac: &str) -> Ipv6Addr {
    let octets: Vec<_> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    let (half, rest) = octets.split_at(3);
    let mut bytes = [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0], half, &[0xff, 0xfe], rest].concat();
    bytes[8] ^= 2;
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())
}

fn domain(scene: &Scene) -> Option<String> {
    scene.network.spec["dns"]["domain"].as_str().map(str::to_lowercase)
}

fn argv(scene: &Scene, subnets: &[Subnet<'_>]) -> Vec<String> {
    let strangers: &[&str] = if subnets.iter().any(Subnet::is_dynamic) {
        &[
            "--dhcp-ignore=tag:!known,tag:dhcpv6",
            "--no-ping",
            "--dhcp-ignore-names=tag:!known",
            "--dhcp-broadcast=tag:!known",
        ]
    } else {
        &["--dhcp-ignore=tag:!known"]
    };
    let mut argv: Vec<_> = FIXED.iter().chain(strangers).map(|&arg| arg.to_owned()).collect();
    argv.push("--interface=dhcp0".to_owned());
    argv.extend(FILES.map(|(option, file)| format!("--{option}={STATE}/networks/{UID}/{file}")));
    argv.extend(["--dhcp-match=set:ipxe,175", "--dhcp-userclass=set:ipxe,iPXE"].map(str::to_owned));
    argv.extend(MACHINES.map(|(tag, number)| format!("--dhcp-match=set:{tag},option:client-arch,{number}")));
    argv.push(format!("--tag-if=set:no-arch{}", machines()));
    argv.extend(subnets.iter().filter(|s| s.server.is_some()).flat_map(Subnet::ranges));
    let four = subnets.iter().any(|s| s.server.is_some_and(|ip| ip.is_ipv4()));
    let mtu = scene.network.spec["mtu"].as_u64().filter(|_| four);
    argv.extend(mtu.map(|mtu| format!("--dhcp-option-force=option:mtu,{mtu}")));
    argv.extend(advertising(scene, subnets));
    argv.push(format!("--dhcp-host={},tag:!dhcpv6", asker()));
    argv.push(format!("--dhcp-host={},tag:dhcpv6", own()));
    if subnets.iter().any(|s| s.server.is_some_and(|ip| ip.is_ipv6())) {
        let duid = with_colons(&UID.replace('-', ""));
        argv.extend([format!("--dhcp-duid=0,{duid}"), "--quiet-dhcp6".to_owned()]);
        let match6 = |(tag, number)| format!("--dhcp-match=set:{tag},option6:61,00:{number:02x}");
        argv.extend(MACHINES.map(match6));
    }
    if let Some(domain) = domain(scene) {
        argv.extend([format!("--domain={domain}"), format!("--local=/{domain}/")]);
    }
    argv.extend(arguments(scene, domain(scene).as_deref()));
    argv.extend(subnets.iter().map(|subnet| format!("--rev-server={}", subnet.net)));
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

fn advertising(scene: &Scene, subnets: &[Subnet<'_>]) -> Vec<String> {
    if !subnets.iter().any(Subnet::is_advertised) {
        return Vec::new();
    }
    // Or the options would not be read.
    let read = subnets.iter().any(|s| s.has_dhcpv6() || s.server.is_some_and(|ip| ip.is_ipv4()));
    let nobodys = (!read).then(|| "--dhcp-range=tag:known,::ffff:0:0,static,96".to_owned());
    let mtu = scene.network.spec["mtu"].as_u64().map_or("off".to_owned(), |mtu| mtu.to_string());
    let how = [format!("--ra-param=dhcp0,mtu:{mtu},60,0"), "--quiet-ra".to_owned()];
    let managed = subnets.iter().any(|subnet| subnet.is_advertised() && !subnet.is_formed());
    nobodys.into_iter().chain(how).chain(managed.then(|| "--enable-ra".to_owned())).collect()
}

/// What its guests are told.
fn scope(scene: &Scene, subnet: &Subnet<'_>, all: &[Subnet<'_>]) -> BTreeMap<Code, Vec<u8>> {
    let mut options = BTreeMap::new();
    let mut put = |code, bytes| drop(options.insert(code, bytes));
    if subnet.net.is_ipv6() {
        scope_six(scene, subnet, &mut put);
    } else {
        scope_four(scene, subnet, all, &mut put);
    }
    let six = subnet.net.is_ipv6();
    for written in list(&scene.network.spec["options"]) {
        let sent = option(written, None).unwrap_or_else(|| panic!("accepted: {written}"));
        let of_family = sent.into_iter().filter(|(code, _)| matches!(code, Code::V6(_)) == six);
        of_family.for_each(|(code, bytes)| put(code, bytes));
    }
    for written in list(&subnet.subject.spec["options"]) {
        let sent = option(written, Some(six)).unwrap_or_else(|| panic!("accepted: {written}"));
        for (code, bytes) in sent {
            put(code, bytes);
        }
    }
    // What the network says is told to all, whether they ask or not.
    let mtu = scene.network.spec["mtu"].as_u64().and_then(|mtu| u16::try_from(mtu).ok());
    options.retain(|code, bytes| {
        *code != Code::V4(26) || Some(&bytes[..]) != mtu.map(u16::to_be_bytes).as_ref().map(|mtu| &mtu[..])
    });
    options
}

fn scope_six(scene: &Scene, subnet: &Subnet<'_>, put: &mut impl FnMut(Code, Vec<u8>)) {
    put(Code::V6(23), subnet.resolvers());
    if let Some(domain) = domain(scene) {
        put(Code::V6(24), wire_name(&domain).unwrap());
    }
}

fn scope_four(scene: &Scene, subnet: &Subnet<'_>, all: &[Subnet<'_>], put: &mut impl FnMut(Code, Vec<u8>)) {
    let spec = &subnet.subject.spec;
    put(Code::V4(3), subnet.gateway.map(octets).unwrap_or_default());
    put(Code::V4(6), subnet.resolvers());
    // Those two dnsmasq cannot send as an option; it sends its --domain instead.
    if let Some(domain) = domain(scene).filter(|domain| !["s", "i"].contains(&domain.as_str())) {
        put(Code::V4(15), domain.into_bytes());
    }
    for (code, field) in [(58, "renewalSeconds"), (59, "rebindingSeconds")] {
        if let Some(seconds) = spec["dhcp"][field].as_u64() {
            put(Code::V4(code), u32::try_from(seconds).unwrap().to_be_bytes().to_vec());
        }
    }
    let others = all.iter().filter(|other| other.net != subnet.net && !other.net.is_ipv6());
    let on_link: Vec<_> = others.map(|other| other.net).collect();
    let own: Vec<_> = list(&spec["hostRoutes"])
        .map(|route| (Net::new(text(&route["destination"])), text(&route["nextHop"]).parse().unwrap()))
        .collect();
    let routes = routes(&on_link, &own, subnet.gateway.map(v4), subnet.net);
    if !routes.is_empty() {
        put(Code::V4(121), routes.clone());
        put(Code::V4(249), routes);
    }
}

fn one_port(scene: &Scene, port: &Subject, desired: &Desired, subnets: &[Subnet<'_>], model: &mut Model) {
    let Some(view) = desired.ports.get(&port.name).filter(|view| view.problem.is_none()) else { return };
    let spec = &port.spec;
    let domain = domain(scene);
    let below = |name: &String| {
        domain.as_ref().is_some_and(|domain| name == domain || name.ends_with(&format!(".{domain}")))
    };
    let plain = |name: &String| name.len() <= 253 && name.split('.').all(is_label);
    for (ip, _) in &view.addresses {
        let short = hostname(spec, *ip);
        let full = domain.as_ref().map(|domain| format!("{short}.{domain}"));
        let mut names: Vec<_> = full.filter(|name| name.len() <= 253).into_iter().collect();
        names.push(short);
        let more = list(&spec["dnsNames"]).map(|name| text(name).to_ascii_lowercase());
        names.extend(more.filter(|name| plain(name) && below(name)));
        model.names.insert(*ip, names);
    }
    if spec["dhcp"] == "Disabled" {
        return;
    }
    let served = |name: &String| subnets.iter().find(|s| s.subject.name == *name && s.server.is_some());
    for six in [false, true] {
        let Some(who) = known_by(spec, six) else { continue };
        let of_family = view.addresses.iter().filter(|(ip, _)| ip.is_ipv6() == six);
        let all: Vec<_> = of_family.filter_map(|(ip, name)| Some((*ip, served(name)?))).collect();
        let given: Vec<_> = all.iter().filter(|(_, subnet)| !subnet.is_formed()).collect();
        let stateless = all.iter().find(|(_, subnet)| subnet.is_formed() && !subnet.is_slaac());
        let Some((first, subnet)) = given.first().copied().or(stateless) else { continue };
        // A DHCPv4 client has one address.
        let most = if six { usize::MAX } else { 1 };
        let ips: Vec<_> = given.iter().map(|(ip, _)| *ip).take(most).collect();
        let name = if ips.is_empty() { String::new() } else { hostname(spec, *first) };
        let own = own_options(spec, six);
        let tag = if six && own.is_empty() { subnet.subject.key('s') } else { port.key('p') };
        // In DHCPv6 both at once: it is not always told in which subnet a guest is.
        let of_subnet = if six && !own.is_empty() { scope(scene, subnet, subnets) } else { BTreeMap::new() };
        let told = of_subnet.into_iter().chain(own);
        model.options.extend(told.map(|(code, bytes)| ((port.key('p'), code), bytes)).collect::<Options>());
        model.hosts.insert((who, six), Host { tag, ips, name });
    }
}

fn own_options(spec: &Value, six: bool) -> BTreeMap<Code, Vec<u8>> {
    let sent = |written: &Value| option(written, None).unwrap_or_else(|| panic!("accepted: {written}"));
    let all = list(&spec["options"]).flat_map(sent);
    all.filter(|(code, _)| matches!(code, Code::V6(_)) == six).collect()
}

fn hostname(spec: &Value, ip: IpAddr) -> String {
    let own = spec["hostname"].as_str().map(str::to_lowercase);
    own.unwrap_or_else(|| {
        let name = format!("host-{}", ip.to_string().replace(['.', ':'], "-"));
        // `2001:db8::` has an end that no name has.
        if name.ends_with('-') { name + "0" } else { name }
    })
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
