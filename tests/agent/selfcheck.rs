//! The agent asks its own servers, and says that they serve only while they answer.

use std::time::{Duration, Instant};

use crate::attachments::wired;
use crate::lab::{Wire, eventually};
use crate::manifests::{fixed, lan, subnet};
use crate::site::{Condition, LONG, Site};

/// Longer than it takes until each network was asked, with all tries.
const A_ROUND: Duration = Duration::from_secs(60);
/// How soon a server that answers again is said to serve.
const SOON: Duration = Duration::from_secs(15);

fn both() -> String {
    let six = "ipv6: {addressMode: DHCPv6Stateful}\npools: [{first: '2001:db8::10', last: '2001:db8::ff'}]";
    lan()
        + &subnet("lan-v6", "lan", "2001:db8::/64", six)
        + &fixed("a", crate::lab::Mac::nth(1), "10.0.0.20", "")
}

fn until_ready_is(site: &Site, patience: Duration, wanted: impl Fn(&Condition) -> bool) -> Condition {
    eventually("the network is as wanted", patience, || {
        site.status().condition("Network", "lan", "Ready").filter(&wanted)
    })
}

fn deaf(ready: &Condition) -> bool {
    ready.status == "False" && ready.reason == "NotAnswering"
}

fn fine(ready: &Condition) -> bool {
    ready.status == "True"
}

/// Answers of this kind so far.
fn replies(site: &Site, kind: &str) -> u64 {
    site.metric(&format!("replies_total{{result=\"{kind}\"}}")).unwrap_or(0)
}

fn pid(site: &Site) -> u32 {
    let pids = site.dnsmasq_pids();
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0]
}

#[test]
fn a_server_that_hangs_is_said_not_to_serve_and_to_serve_when_it_answers() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    site.until_ready("Network", "lan");
    let dnsmasq = pid(&site);
    site.lab.signal("STOP", dnsmasq);
    let ready = until_ready_is(&site, A_ROUND, deaf);
    assert!(ready.message.contains("DHCPv4") && ready.message.contains("DHCPv6"), "{}", ready.message);
    let port = site.status().condition("Port", "a", "Ready").unwrap();
    assert_eq!((port.status.as_str(), port.reason.as_str()), ("False", "NotAnswering"));
    site.lab.signal("CONT", dnsmasq);
    until_ready_is(&site, SOON, fine);
    assert_eq!(pid(&site), dnsmasq, "nobody started it anew");
    site.assert_nothing_to_do();
}

#[test]
fn one_that_stays_deaf_is_started_anew() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    site.until_ready("Network", "lan");
    let (dnsmasq, namespace) = (pid(&site), site.namespace());
    // Somebody's rule, which no fresh process helps against.
    site.lab.run_in(&namespace, "ip6tables -I INPUT -p udp --dport 547 -j DROP");
    let ready = until_ready_is(&site, A_ROUND, deaf);
    assert!(!ready.message.contains("DHCPv4") && ready.message.contains("DHCPv6"), "{}", ready.message);
    eventually("dnsmasq is another one", A_ROUND, || {
        (site.dnsmasq_pids().len() == 1 && pid(&site) != dnsmasq).then_some(())
    });
    until_ready_is(&site, LONG, deaf);
    site.lab.run_in(&namespace, "ip6tables -D INPUT -p udp --dport 547 -j DROP");
    until_ready_is(&site, SOON, fine);
}

#[test]
fn nobody_sees_the_questions_or_the_answers() {
    let site = Site::new();
    site.write("a.yaml", &both());
    let _agent = site.start();
    site.until_ready("Network", "lan");
    let segment = Wire::open(&site.lab, None, "br0");
    let passes = site.passes();
    eventually("both families are asked", A_ROUND, || (replies(&site, "right") >= 2).then_some(()));
    assert_no_dhcp(&segment);
    assert_eq!((replies(&site, "wrong"), replies(&site, "silence")), (0, 0));
    assert_eq!(site.passes(), passes, "an answer is nothing to do");
    let leases = std::fs::read_to_string(site.network_dir().join("leases")).unwrap();
    assert!(leases.lines().all(|line| line.starts_with("duid ")), "{leases}");
}

#[test]
fn a_macvlans_server_is_asked_too_and_nobody_sees_it() {
    let site = wired();
    site.write("a.yaml", &both());
    let _agent = site.launch().physical(&["lan=macvlan:eth1"]).start_ready();
    site.until_ready("Network", "lan");
    let segment = Wire::open(&site.lab, None, "switch");
    eventually("both families are asked", A_ROUND, || (replies(&site, "right") >= 2).then_some(()));
    assert_no_dhcp(&segment);
    let dnsmasq = pid(&site);
    site.lab.signal("STOP", dnsmasq);
    let ready = until_ready_is(&site, A_ROUND, deaf);
    assert!(ready.message.contains("DHCPv4") && ready.message.contains("DHCPv6"), "{}", ready.message);
    site.lab.signal("CONT", dnsmasq);
    until_ready_is(&site, SOON, fine);
    assert_no_dhcp(&segment);
}

fn assert_no_dhcp(segment: &Wire) {
    while let Some(frame) = segment.receive(Instant::now()) {
        assert!(!is_dhcp(&frame), "on the segment: {frame:02x?}");
    }
}

/// UDP of either family from or to a port of DHCP.
fn is_dhcp(frame: &[u8]) -> bool {
    let ports = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame[23] == 17 => frame.get(34..38),
        Some([0x86, 0xdd]) if frame[20] == 17 => frame.get(54..58),
        _ => None,
    };
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    ports.is_some_and(|ports| ports.chunks(2).any(|p| [67, 68, 546, 547].contains(&port(p))))
}
