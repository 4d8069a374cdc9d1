//! dnsmasq's command line: what belongs to the network and its subnets, and nothing a tenant wrote
//! but names, numbers and texts that were parsed, each as the value of an option.
//!
//! The line of a running process is its observed state: as long as it is equal, the process stays.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::kinds::{IPXE, matches4, matches6};
use super::render::{DHCPV4, DHCPV6, GONE};
use super::{Layout, txt};
use crate::node::INNER_DEVICE;
use crate::service::{Addressing, Advertisement, Asker, Scope, Service};
use crate::types::{Hex, IpRange, NetworkUid};

/// The command line that gives guests `service`.
pub fn argv(service: &Service, layout: &Layout) -> Vec<String> {
    let path = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
    let strangers = if service.is_open() { &OPEN[..] } else { &CLOSED };
    let mut argv: Vec<String> = FIXED.iter().chain(strangers).map(|&arg| arg.to_owned()).collect();
    argv.push(format!("--interface={INNER_DEVICE}"));
    argv.push(path("pid-file", layout.pid()));
    argv.push(path("log-facility", layout.log()));
    argv.push(path("dhcp-leasefile", layout.leases()));
    argv.push(path("dhcp-hostsdir", layout.hosts()));
    argv.push(path("dhcp-optsdir", layout.options()));
    argv.push(path("hostsdir", layout.names()));
    argv.extend(IPXE.iter().map(|&arg| arg.to_owned()).chain(matches4()));
    argv.extend(ranges(service));
    argv.extend(service.mtu.map(|mtu| format!("--dhcp-option-force=option:mtu,{mtu}")));
    argv.extend(service.advertisement.iter().flat_map(|said| advertisements(said, &service.scopes)));
    argv.extend(service.asker.iter().flat_map(asker));
    if service.scopes.iter().any(|scope| scope.cidr.addr().is_ipv6()) {
        argv.push(format!("--dhcp-duid={DUID_ENTERPRISE},{}", Hex(&service.identity)));
        argv.push("--quiet-dhcp6".to_owned());
        argv.extend(matches6());
    }
    if let Some(domain) = &service.domain {
        argv.push(format!("--domain={domain}"));
        argv.push(format!("--local=/{domain}/"));
    }
    argv.extend(service.txt.iter().map(txt::argument));
    // Without a server behind it: reverse look-ups of the subnet stay here.
    argv.extend(service.reverse.iter().map(|net| format!("--rev-server={net}")));
    argv.extend(service.forwarders.iter().map(|ip| format!("--server={ip}")));
    argv
}

const FIXED: [&str; 11] = [
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-hosts",
    "--no-resolv",
    "--bind-dynamic",
    "--except-interface=lo",
    // Known guests are answered with or without a lease of this process.
    "--dhcp-authoritative",
    // The default is 1,000; leases have their bound in the addresses that there are.
    "--dhcp-lease-max=16777216",
    // A line for each packet would let a guest fill the disk.
    "--quiet-dhcp",
    // Names without a dot are the network's own; without the second, their missing types are refused
    // where there is no forwarder.
    "--local=//",
    "--domain-needed",
];

/// Strangers meet silence.
const CLOSED: [&str; 1] = ["--dhcp-ignore=tag:!known"];

/// Strangers are answered in DHCPv4: without looking for their address on the segment first, for which known
/// guests would wait; with no name that they call themselves by; and all of them, so that the kernel, whose
/// table of neighbours is the whole node's, need not remember each.
const OPEN: [&str; 4] = [
    "--dhcp-ignore=tag:!known,tag:dhcpv6",
    "--no-ping",
    "--dhcp-ignore-names=tag:!known",
    "--dhcp-broadcast=tag:!known",
];

/// The enterprise of the servers' DUIDs: reserved, so that nobody else's are like ours.
const DUID_ENTERPRISE: u32 = 0;

/// The DUID of a network's servers (DUID-EN, RFC 8415 §11.3).
pub fn server_duid(uid: NetworkUid) -> Vec<u8> {
    const DUID_EN: u16 = 2;
    [&DUID_EN.to_be_bytes()[..], &DUID_ENTERPRISE.to_be_bytes(), &uid.bytes()].concat()
}

fn ranges(service: &Service) -> Vec<String> {
    let mut ranges: Vec<_> =
        service.scopes.iter().flat_map(|scope| range(scope).into_iter().chain(dynamic(scope))).collect();
    let is_read = service.scopes.iter().any(Scope::has_dhcp);
    if service.advertisement.is_some() && !is_read {
        ranges.push(format!("--dhcp-range={NOBODYS}"));
    }
    ranges
}

/// Without a range of DHCP dnsmasq does not read the options' directory. The device has no address in this
/// one, so that it is nobody's and not advertised.
const NOBODYS: &str = "tag:known,::ffff:0:0,static,96";

/// In seconds: a guest that was not known when it asked hears it within this time.
const INTERVAL: u16 = 60;

/// Of ranges that are `static` dnsmasq sends none, or with `--enable-ra` of all; with a lifetime of 0 it is
/// no router.
fn advertisements(said: &Advertisement, scopes: &[Scope]) -> impl Iterator<Item = String> {
    let mtu = said.mtu.map_or("off".to_owned(), |mtu| mtu.to_string());
    let of_dhcp = |scope: &Scope| scope.advertised && scope.addressing == Addressing::Dhcp;
    let all = scopes.iter().any(of_dhcp).then(|| "--enable-ra".to_owned());
    let how = [format!("--ra-param={INNER_DEVICE},mtu:{mtu},{INTERVAL},0"), "--quiet-ra".to_owned()];
    how.into_iter().chain(all)
}

/// None of a subnet that only a router tells its guests of.
fn range(scope: &Scope) -> Option<String> {
    let mode = match (scope.addressing, scope.advertised) {
        (Addressing::Dhcp, _) | (Addressing::Stateless, false) => "static",
        (Addressing::Stateless, true) => "ra-stateless",
        (Addressing::Slaac, true) => "slaac",
        (Addressing::Slaac, false) => return None,
    };
    let net = scope.cidr.network();
    let (size, lease) = (size(scope), lease(scope));
    let whom = if net.is_ipv4() { "tag:known".to_owned() } else { format!("tag:known,tag:!{GONE}") };
    Some(format!("--dhcp-range=set:{},{whom},{net},{mode},{size},{lease}", scope.key))
}

/// The addresses for strangers.
fn dynamic(scope: &Scope) -> impl Iterator<Item = String> {
    let (key, size, lease) = (&scope.key, size(scope), lease(scope));
    scope.dynamic.iter().map(move |IpRange { first, last }| {
        format!("--dhcp-range=set:{key},{STRANGERS},{first},{last},{size},{lease}")
    })
}

const STRANGERS: &str = "tag:!known";

fn size(scope: &Scope) -> String {
    match scope.cidr {
        IpNet::V4(net) => net.netmask().to_string(),
        IpNet::V6(net) => net.prefix_len().to_string(),
    }
}

fn lease(scope: &Scope) -> String {
    match scope.lease_seconds {
        u32::MAX => "infinite".to_owned(),
        seconds => seconds.to_string(),
    }
}

/// The addresses that a process with this command line gives to strangers.
pub fn dynamic_ranges(argv: &[String]) -> Vec<IpRange> {
    let range = |arg: &String| {
        let fields: Vec<_> = arg.strip_prefix("--dhcp-range=")?.split(',').collect();
        let [_, STRANGERS, first, last, ..] = fields[..] else { return None };
        Some(IpRange { first: first.parse().ok()?, last: last.parse().ok()? })
    };
    argv.iter().filter_map(range).collect()
}

/// Known, so that it is answered, and without an address.
fn asker(asker: &Asker) -> [String; 2] {
    let Asker { mac, device } = asker;
    [format!("--dhcp-host={mac},{DHCPV4}"), format!("--dhcp-host={device},{DHCPV6}")]
}

/// Whether a process with the command line `is` answers `ip` as one with `shall` would: the range that
/// has the address is the same.
pub fn same_range(is: &[String], shall: &[String], ip: IpAddr) -> bool {
    is == shall || range_of(shall, ip).is_none_or(|(range, _)| is.contains(range))
}

/// For how long a process with this command line gives `ip`; `None` for ever, or not at all.
pub fn lease_seconds(argv: &[String], ip: IpAddr) -> Option<u32> {
    range_of(argv, ip)?.1.parse().ok()
}

/// The range that has an address, and the lease time in it.
fn range_of(argv: &[String], ip: IpAddr) -> Option<(&String, &str)> {
    argv.iter().find_map(|arg| {
        let fields: Vec<_> = arg.strip_prefix("--dhcp-range=")?.split(',').collect();
        let [_, .., net, _, size, lease] = fields[..] else { return None };
        let mask = || ipnet::ip_mask_to_prefix(size.parse().ok()?).ok();
        let length = size.parse().ok().or_else(mask)?;
        let net = IpNet::new(net.parse().ok()?, length).ok()?;
        net.contains(&ip).then_some((arg, lease))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::service::{OptionList, Options};
    use crate::types::MacAddr;

    #[test]
    fn the_whole_command_line() {
        let scope = |key: &str, cidr: &str, lease_seconds| Scope {
            key: key.into(),
            cidr: cidr.parse().unwrap(),
            addressing: Addressing::Dhcp,
            advertised: false,
            dynamic: Vec::new(),
            lease_seconds,
            options: OptionList::default(),
        };
        let service = Service {
            scopes: vec![
                scope("s1", "10.0.0.0/24", 86_400),
                scope("s2", "10.0.1.0/30", u32::MAX),
                scope("s3", "2001:db8::/64", 86_400),
            ],
            mtu: Some(1400),
            domain: Some("vm.example.org".parse().unwrap()),
            txt: ["b,c".parse().unwrap(), "_a.b,--x,y".parse().unwrap()].into(),
            reverse: vec!["10.0.0.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            forwarders: vec!["192.0.2.53".parse().unwrap()],
            asker: Some(Asker { mac: MacAddr::local([1; 5]), device: MacAddr::local([2; 5]) }),
            ..Service::default()
        };
        let uid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let argv = argv(&service, &Layout::new(Path::new("/state"), uid));
        let without: Vec<_> = argv.iter().filter(|arg| !arg.contains("10.0.1.0,")).cloned().collect();
        assert!(same_range(&without, &argv, [10, 0, 0, 7].into()));
        assert!(!same_range(&without, &argv, [10, 0, 1, 1].into()));
        assert!(same_range(&argv, &argv, [10, 0, 1, 1].into()));
        let without: Vec<_> = argv.iter().filter(|arg| !arg.contains("2001:db8::,")).cloned().collect();
        assert!(!same_range(&without, &argv, "2001:db8::5".parse().unwrap()));
        assert!(same_range(&argv, &argv, "2001:db8::5".parse().unwrap()));
        let seconds = |ip: &str| lease_seconds(&argv, ip.parse().unwrap());
        assert_eq!((seconds("10.0.0.7"), seconds("2001:db8::5")), (Some(86_400), Some(86_400)));
        assert_eq!((seconds("10.0.1.1"), seconds("10.0.2.1")), (None, None));
        let kinds = |arg: &&String| !arg.contains("-match=") && !arg.contains("--tag-if=");
        let argv: Vec<_> = argv.iter().filter(kinds).cloned().collect();
        insta::assert_snapshot!(argv.join("\n").replace(&uid.to_string(), "UID"), @r"
        dnsmasq
        --conf-file=/dev/null
        --no-hosts
        --no-resolv
        --bind-dynamic
        --except-interface=lo
        --dhcp-authoritative
        --dhcp-lease-max=16777216
        --quiet-dhcp
        --local=//
        --domain-needed
        --dhcp-ignore=tag:!known
        --interface=dhcp0
        --pid-file=/state/networks/UID/pid
        --log-facility=/state/networks/UID/log
        --dhcp-leasefile=/state/networks/UID/leases
        --dhcp-hostsdir=/state/networks/UID/hosts
        --dhcp-optsdir=/state/networks/UID/options
        --hostsdir=/state/networks/UID/names
        --dhcp-userclass=set:ipxe,iPXE
        --dhcp-range=set:s1,tag:known,10.0.0.0,static,255.255.255.0,86400
        --dhcp-range=set:s2,tag:known,10.0.1.0,static,255.255.255.252,infinite
        --dhcp-range=set:s3,tag:known,tag:!gone,2001:db8::,static,64,86400
        --dhcp-option-force=option:mtu,1400
        --dhcp-host=02:01:01:01:01:01,tag:!dhcpv6
        --dhcp-host=02:02:02:02:02:02,tag:dhcpv6
        --dhcp-duid=0,00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
        --quiet-dhcp6
        --domain=vm.example.org
        --local=/vm.example.org/
        --txt-record=_a.b,--x,y
        --txt-record=b,c
        --rev-server=10.0.0.0/24
        --rev-server=2001:db8::/64
        --server=192.0.2.53
        ");
    }

    /// What is on the line for IPv6 subnets, by how their guests get addresses and who advertises.
    fn six(scopes: &[(Addressing, bool)], mtu: Option<u16>) -> Vec<String> {
        let scope = |(n, (addressing, advertised)): (usize, &(Addressing, bool))| Scope {
            key: format!("s{n}"),
            cidr: format!("2001:db8:a{n}::/64").parse().unwrap(),
            addressing: *addressing,
            dynamic: Vec::new(),
            advertised: *advertised,
            lease_seconds: 3600,
            options: OptionList::default(),
        };
        let advertised = scopes.iter().any(|(_, advertised)| *advertised);
        let service = Service {
            scopes: scopes.iter().enumerate().map(scope).collect(),
            advertisement: advertised.then(|| Advertisement { mtu, options: Options::new() }),
            ..Service::default()
        };
        let uid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let argv = argv(&service, &Layout::new(Path::new("/state"), uid));
        let parts = ["--dhcp-range=", "--ra-param=", "--enable-ra"];
        argv.into_iter().filter(|arg| parts.iter().any(|part| arg.starts_with(part))).collect()
    }

    #[test]
    fn a_subnet_is_advertised_where_it_says_so() {
        use Addressing::{Dhcp, Slaac, Stateless};
        assert_eq!(six(&[(Slaac, false)], None), <[&str; 0]>::default());
        let range =
            |n, mode| format!("--dhcp-range=set:s{n},tag:known,tag:!gone,2001:db8:a{n}::,{mode},64,3600");
        let param = |mtu: &str| format!("--ra-param=dhcp0,mtu:{mtu},60,0");
        let nobodys = "--dhcp-range=tag:known,::ffff:0:0,static,96".to_owned();
        assert_eq!(six(&[(Stateless, false), (Slaac, false)], None), [range(0, "static")]);
        assert_eq!(six(&[(Slaac, true)], Some(1400)), [range(0, "slaac"), nobodys, param("1400")]);
        assert_eq!(six(&[(Stateless, true)], None), [range(0, "ra-stateless"), param("off")]);
        assert_eq!(
            six(&[(Dhcp, true), (Slaac, true)], None),
            [range(0, "static"), range(1, "slaac"), param("off"), "--enable-ra".to_owned()]
        );
        assert_eq!(
            six(&[(Dhcp, false), (Slaac, true)], None),
            [range(0, "static"), range(1, "slaac"), param("off")]
        );
    }
}
