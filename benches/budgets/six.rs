//! One network with 10,000 ports that have an address of either family, all leased in both; in DHCPv6.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::time::Instant;

use crate::lab::{ALL_DHCP, Body, Kind6, Lab, Mac, Packet6, Wire};
use crate::manifests::{Nic, leases, network};
use crate::one_more::{Guests, OneMore};
use crate::table::Table;

pub const ROWS: [&str; 4] = [
    "port added to 10,000 leased in DHCPv6 → answered",
    "10,000 leased in DHCPv6, one added: longest wait of others",
    "port added to 10,000 leased in DHCPv6 → answered, in a flood",
    "10,000 leased in DHCPv6, one added: longest wait of others, in a flood",
];

const NETWORK: &str = "six";

const CLIENT: u16 = 546;
const SERVER: u16 = 547;

fn ip6(nic: &Nic) -> Ipv6Addr {
    let [.., c, d] = nic.ip.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from_be_bytes([c, d]))
}

fn ports(nics: &[Nic]) -> String {
    nics.iter().fold(String::new(), |mut text, nic| {
        let Nic { name, mac, ip } = nic;
        write!(
            text,
            "---\napiVersion: kube-dhcp.io/v1alpha1\nkind: Port\nmetadata: {{name: {name}, namespace: bench}}\n\
             spec:\n  networkRef: {{name: {NETWORK}}}\n  macAddress: \"{mac}\"\n  hostname: {name}\n  \
             addresses: [{{ip: {ip}}}, {{ip: '{}'}}]\n",
            ip6(nic)
        )
        .unwrap();
        text
    })
}

fn subnet() -> String {
    format!(
        "---\napiVersion: kube-dhcp.io/v1alpha1\nkind: Subnet\nmetadata: {{name: {NETWORK}-v6, namespace: bench}}\n\
         spec:\n  networkRef: {{name: {NETWORK}}}\n  cidr: 2001:db8::/64\n  \
         ipv6: {{addressMode: DHCPv6Stateful}}\n  pools: [{{first: '2001:db8::10', last: '2001:db8::ff'}}]\n"
    )
}

/// Of both families; the time is far off.
fn held(nics: &[Nic]) -> String {
    let line = |nic: &Nic| format!("4102444800 1 {} {} 00:03:00:01:{}\n", ip6(nic), nic.name, nic.mac);
    leases(nics) + &nics.iter().map(line).collect::<String>()
}

pub fn all_leased(table: &mut Table) {
    let manifests = network(NETWORK, "lan", None, "10.0.0.0/16") + &subnet();
    let six = OneMore { network: NETWORK, rows: ROWS, manifests, ports, leases: held };
    six.measure(table, Solicitors::new);
}

/// Many guests on one device.
struct Solicitors {
    wire: Wire,
    xid: Cell<u32>,
}

impl Solicitors {
    fn new(lab: &Lab, bridge: &str) -> Self {
        let netns = format!("guests-{bridge}");
        lab.plug(bridge, &netns, "eth0", Mac::nth(0x00fe_0000));
        lab.set_ipv6(&netns, "eth0", "disable_ipv6", "1");
        Self { wire: Wire::open(lab, Some(&netns), "eth0"), xid: Cell::new(1) }
    }
}

impl Guests for Solicitors {
    /// Sends a SOLICIT.
    fn ask(&self, mac: Mac) -> u32 {
        let xid = self.xid.get();
        self.xid.set(xid + 1);
        let [_, a, b, c] = xid.to_be_bytes();
        let option = |code: u8, value: &[u8]| {
            let length = u8::try_from(value.len()).unwrap();
            [&[0, code, 0, length], value].concat()
        };
        let duid = [&[0, 3, 0, 1], &mac.0[..]].concat();
        let association = [&[0, 0, 0, 1], &[0; 8][..]].concat();
        let options = [option(1, &duid), option(3, &association), option(8, &[0, 0])].concat();
        let payload = [&[u8::from(Kind6::Solicit), a, b, c], &options[..]].concat();
        let body = Body::Udp { from: CLIENT, to: SERVER, payload };
        self.wire.send(&Packet6::to_group(mac, mac.link_local(), ALL_DHCP, body).frame());
        xid
    }

    /// The next ADVERTISE with an address.
    fn answer(&self, deadline: Instant) -> Option<(u32, Mac)> {
        const ADVERTISE: u8 = 2;
        const IAADDR: [u8; 4] = [0, 5, 0, 24];
        while let Some(frame) = self.wire.receive(deadline) {
            let Some(packet) = Packet6::parse(&frame) else { continue };
            let Body::Udp { to: CLIENT, payload, .. } = &packet.body else { continue };
            if payload[0] == ADVERTISE && payload.windows(4).any(|bytes| bytes == IAADDR) {
                return Some((u32::from_be_bytes([0, payload[1], payload[2], payload[3]]), packet.to_mac));
            }
        }
        None
    }
}
