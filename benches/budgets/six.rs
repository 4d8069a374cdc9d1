//! One network with 10,000 ports that have an address of either family, all leased in both: in DHCPv6, how soon one
//! more is answered, and how long others wait then.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use kube_dhcp::source::{Kind, object_uid};

use crate::agent::{Agent, publish, state, withdraw};
use crate::lab::{ALL_DHCP, Body, Kind6, Lab, Mac, Packet6, Wire};
use crate::manifests::{Nic, leases, network};
use crate::server::settle;
use crate::table::{Row, Table, median, spread};

pub const ROWS: [&str; 2] = [
    "port added to 10,000 leased in DHCPv6 → answered",
    "10,000 leased in DHCPv6, one added: longest wait of others",
];

const NETWORK: &str = "six";
const PORTS: u32 = 10_000;
const ROUNDS: u32 = 15;
const LIMIT: Duration = Duration::from_millis(50);
/// Others are watched for so long after each change.
const WATCHED: Duration = Duration::from_millis(400);
/// Of others, some in each of what is served together.
const OTHERS: u32 = 50;

const CLIENT: u16 = 546;
const SERVER: u16 = 547;

fn nic(n: u32) -> Nic {
    Nic::new(n, (u32::from(Ipv4Addr::new(10, 0, 16, 0)) + n).into())
}

fn ip6(nic: &Nic) -> Ipv6Addr {
    let [.., c, d] = nic.ip.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from_be_bytes([c, d]))
}

fn ports<'a>(nics: impl IntoIterator<Item = &'a Nic>) -> String {
    nics.into_iter().fold(String::new(), |mut text, nic| {
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
    let lab = Lab::new();
    lab.bridge("br0");
    let base: Vec<_> = (1..=PORTS).map(nic).collect();
    let dir = state(&lab).join("networks").join(object_uid(Kind::Network, "bench", NETWORK));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("leases"), held(&base)).unwrap();
    let all = network(NETWORK, "lan", None, "10.0.0.0/16") + &subnet() + &ports(&base);
    publish(&lab, "base.yaml", &all);
    let agent = Agent::start(&lab, &["--physical-network", "lan=bridge:br0"]);
    agent.ready();
    agent.wait_for("ports_ready", u64::from(PORTS));
    let (guests, mut own, mut others) = (Guests::new(&lab, "br0"), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        settle();
        settle();
        while guests.advertise(Instant::now()).is_some() {}
        let one = nic(PORTS + 1 + n);
        let at = publish(&lab, "one.yaml", &ports([&one]));
        let (answered, longest) = watch(&guests, one.mac, at);
        own.push(answered);
        others.push(longest);
        withdraw(&lab, "one.yaml");
        std::thread::sleep(WATCHED);
    }
    for (row, times) in ROWS.into_iter().zip([&mut own, &mut others]) {
        let ours = *times.iter().max().unwrap();
        let note = format!("most of {ROUNDS}, median {:?} {}", median(&mut times.clone()), spread(times));
        table.add(Row::new(row, None, ours).note(note).at_most(LIMIT, ""));
    }
}

/// When `mac` was answered, and the longest that one of the others waited.
fn watch(guests: &Guests, mac: Mac, since: Instant) -> (Duration, Duration) {
    let others: Vec<_> = (0..OTHERS).map(|n| nic(1 + n * (PORTS / OTHERS)).mac).collect();
    let (mut asked, mut answered, mut longest) = (BTreeMap::new(), None, Duration::ZERO);
    let mut next = Instant::now();
    while since.elapsed() < WATCHED || answered.is_none() {
        assert!(since.elapsed() < Duration::from_secs(20), "{mac} is not answered");
        if answered.is_none() {
            guests.solicit(mac);
        }
        for other in &others {
            asked.entry(*other).or_insert_with(|| (guests.solicit(*other), Instant::now()));
        }
        next += Duration::from_millis(1);
        while let Some((xid, to)) = guests.advertise(next) {
            if to == mac {
                answered.get_or_insert_with(|| since.elapsed());
            } else if let Some((_, at)) = asked.remove(&to).filter(|(of, _)| *of == xid) {
                longest = longest.max(at.elapsed());
            }
        }
    }
    // Who waits still.
    let waited = asked.values().map(|(_, at)| at.elapsed()).max().unwrap_or_default();
    (answered.unwrap_or_default(), longest.max(waited))
}

/// Many guests on one device.
struct Guests {
    wire: Wire,
    xid: Cell<u32>,
}

impl Guests {
    fn new(lab: &Lab, bridge: &str) -> Self {
        let netns = format!("guests-{bridge}");
        lab.plug(bridge, &netns, "eth0", Mac::nth(0x00fe_0000));
        lab.set_ipv6(&netns, "eth0", "disable_ipv6", "1");
        Self { wire: Wire::open(lab, Some(&netns), "eth0"), xid: Cell::new(1) }
    }

    /// Sends a SOLICIT; gives its number.
    fn solicit(&self, mac: Mac) -> u32 {
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

    /// The next ADVERTISE with an address: for which SOLICIT, and to whom.
    fn advertise(&self, deadline: Instant) -> Option<(u32, Mac)> {
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
