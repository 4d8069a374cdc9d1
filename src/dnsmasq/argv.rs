//! dnsmasq's command line: what belongs to the network and its subnets, and nothing a tenant wrote
//! but names and numbers that were parsed.
//!
//! The line of a running process is its observed state: as long as it is equal, the process stays.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::options::hex;
use super::render::{DHCPV4, DHCPV6, GONE};
use crate::node::INNER_DEVICE;
use crate::service::{Asker, Scope, Service};
use crate::types::NetworkUid;

/// Where the files of one network's dnsmasq are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The network's part of the state directory.
    pub fn new(state: &Path, uid: NetworkUid) -> Self {
        Self { dir: Self::all(state).join(uid.to_string()) }
    }

    /// The directory that holds one directory for each network.
    pub fn all(state: &Path) -> PathBuf {
        state.join("networks")
    }

    /// The directory of this network.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Watched: whom to answer.
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Watched: with which options.
    pub fn options(&self) -> PathBuf {
        self.dir.join("options")
    }

    /// Watched: names.
    pub fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    /// Written by dnsmasq.
    pub fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }

    /// Written by dnsmasq.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Written by dnsmasq.
    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }
}

/// The command line that gives guests `service`.
pub fn argv(service: &Service, layout: &Layout) -> Vec<String> {
    let path = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
    let mut argv: Vec<String> = FIXED.iter().map(|&arg| arg.to_owned()).collect();
    argv.push(format!("--interface={INNER_DEVICE}"));
    argv.push(path("pid-file", layout.pid()));
    argv.push(path("log-facility", layout.log()));
    argv.push(path("dhcp-leasefile", layout.leases()));
    argv.push(path("dhcp-hostsdir", layout.hosts()));
    argv.push(path("dhcp-optsdir", layout.options()));
    argv.push(path("hostsdir", layout.names()));
    argv.extend(service.scopes.iter().map(range));
    argv.extend(service.asker.iter().flat_map(asker));
    if service.scopes.iter().any(|scope| scope.cidr.addr().is_ipv6()) {
        argv.push(format!("--dhcp-duid={DUID_ENTERPRISE},{}", hex(&service.identity)));
        argv.push("--quiet-dhcp6".to_owned());
    }
    if let Some(domain) = &service.domain {
        argv.push(format!("--domain={domain}"));
        argv.push(format!("--local=/{domain}/"));
    }
    // Without a server behind it: reverse look-ups of the subnet stay here.
    argv.extend(service.reverse.iter().map(|net| format!("--rev-server={net}")));
    argv.extend(service.forwarders.iter().map(|ip| format!("--server={ip}")));
    argv
}

const FIXED: [&str; 12] = [
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-hosts",
    "--no-resolv",
    "--bind-dynamic",
    "--except-interface=lo",
    // Known guests are answered with or without a lease of this process; others never.
    "--dhcp-authoritative",
    "--dhcp-ignore=tag:!known",
    // The default is 1,000; a lease is only ever given to a port.
    "--dhcp-lease-max=16777216",
    // A line for each packet would let a guest fill the disk.
    "--quiet-dhcp",
    // Names without a dot are the network's own; without the second, their missing types are refused
    // where there is no forwarder.
    "--local=//",
    "--domain-needed",
];

/// The enterprise of the servers' DUIDs: reserved, so that nobody else's are like ours.
const DUID_ENTERPRISE: u32 = 0;

/// The DUID of a network's servers (DUID-EN, RFC 8415 §11.3).
pub fn server_duid(uid: NetworkUid) -> Vec<u8> {
    const DUID_EN: u16 = 2;
    [&DUID_EN.to_be_bytes()[..], &DUID_ENTERPRISE.to_be_bytes(), &uid.bytes()].concat()
}

/// Without `--enable-ra` a range of IPv6 that is `static` brings no router advertisements.
fn range(scope: &Scope) -> String {
    let net = scope.cidr.network();
    let size = match scope.cidr {
        IpNet::V4(net) => net.netmask().to_string(),
        IpNet::V6(net) => net.prefix_len().to_string(),
    };
    let lease = match scope.lease_seconds {
        u32::MAX => "infinite".to_owned(),
        seconds => seconds.to_string(),
    };
    let whom = if net.is_ipv4() { "tag:known".to_owned() } else { format!("tag:known,tag:!{GONE}") };
    format!("--dhcp-range=set:{},{whom},{net},static,{size},{lease}", scope.key)
}

/// Known, so that it is answered, and without an address.
fn asker(asker: &Asker) -> [String; 2] {
    let Asker { mac, device } = asker;
    [format!("--dhcp-host={mac},{DHCPV4}"), format!("--dhcp-host={device},{DHCPV6}")]
}

/// Whether a process with the command line `is` answers `ip` as one with `shall` would: the range that
/// has the address is the same.
pub fn same_range(is: &[String], shall: &[String], ip: IpAddr) -> bool {
    let has = |arg: &&String| {
        let fields: Vec<_> = arg.strip_prefix("--dhcp-range=").unwrap_or_default().split(',').collect();
        let [_, .., net, _, size, _] = fields[..] else { return false };
        let mask = || ipnet::ip_mask_to_prefix(size.parse().ok()?).ok();
        let length = size.parse().ok().or_else(mask);
        let net = net.parse().ok().zip(length).and_then(|(net, length)| IpNet::new(net, length).ok());
        net.is_some_and(|net| net.contains(&ip))
    };
    shall.iter().find(has).is_none_or(|range| is.contains(range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddr;
    use std::collections::BTreeMap;

    #[test]
    fn the_whole_command_line() {
        let scope = |key: &str, cidr: &str, lease_seconds| Scope {
            key: key.into(),
            cidr: cidr.parse().unwrap(),
            lease_seconds,
            options: BTreeMap::new(),
        };
        let service = Service {
            scopes: vec![
                scope("s1", "10.0.0.0/24", 86_400),
                scope("s2", "10.0.1.0/30", u32::MAX),
                scope("s3", "2001:db8::/64", 86_400),
            ],
            domain: Some("vm.example.org".parse().unwrap()),
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
        insta::assert_snapshot!(argv.join("\n").replace(&uid.to_string(), "UID"), @r"
        dnsmasq
        --conf-file=/dev/null
        --no-hosts
        --no-resolv
        --bind-dynamic
        --except-interface=lo
        --dhcp-authoritative
        --dhcp-ignore=tag:!known
        --dhcp-lease-max=16777216
        --quiet-dhcp
        --local=//
        --domain-needed
        --interface=dhcp0
        --pid-file=/state/networks/UID/pid
        --log-facility=/state/networks/UID/log
        --dhcp-leasefile=/state/networks/UID/leases
        --dhcp-hostsdir=/state/networks/UID/hosts
        --dhcp-optsdir=/state/networks/UID/options
        --hostsdir=/state/networks/UID/names
        --dhcp-range=set:s1,tag:known,10.0.0.0,static,255.255.255.0,86400
        --dhcp-range=set:s2,tag:known,10.0.1.0,static,255.255.255.252,infinite
        --dhcp-range=set:s3,tag:known,tag:!gone,2001:db8::,static,64,86400
        --dhcp-host=02:01:01:01:01:01,tag:!dhcpv6
        --dhcp-host=02:02:02:02:02:02,tag:dhcpv6
        --dhcp-duid=0,00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
        --quiet-dhcp6
        --domain=vm.example.org
        --local=/vm.example.org/
        --rev-server=10.0.0.0/24
        --rev-server=2001:db8::/64
        --server=192.0.2.53
        ");
    }
}
