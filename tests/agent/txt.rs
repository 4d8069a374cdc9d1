//! TXT records: what a Network and the agent say is told to the network's guests, and never forwarded.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lab::{DnsReply, DnsSocket, Guest, Mac, rtype, txt};
use crate::manifests::{fixed, lan_v4, network, object, port, subnet};
use crate::names::{ELSEWHERE, UPSTREAM, Upstream};
use crate::site::{Site, patiently};

/// Network `lan` with these records, as YAML, and a Port of host name `vm1`.
fn declared(records: &str) -> String {
    let dns = format!("dns: {{domain: vm.example.org, txtRecords: [{records}]}}");
    network("lan", &dns) + &lan_v4("") + &fixed("vm1", Mac::nth(1), "10.0.0.20", "hostname: vm1")
}

/// A guest that can ask the server it has its lease from.
struct Asker<'s> {
    site: &'s Site,
    guest: Guest<'s>,
    server: Ipv4Addr,
}

impl<'s> Asker<'s> {
    fn new(site: &'s Site, guest: Guest<'s>, address: [u8; 4]) -> Self {
        let server = site.until_leased(&guest, address.into()).server();
        guest.configure(&format!("{}/24", Ipv4Addr::from(address)), None);
        Self { site, guest, server }
    }

    fn lan(site: &'s Site) -> Self {
        Self::new(site, site.guest(1), [10, 0, 0, 20])
    }

    /// An answer; a server that is just starting anew is asked again.
    fn ask(&self, name: &str, rtype: u16) -> DnsReply {
        patiently(name, |_| {
            let socket = DnsSocket::new(&self.site.lab, Some(self.guest.netns()), self.server);
            socket.try_send(name, rtype);
            socket.receive(Duration::from_secs(2))
        })
    }

    /// The answers that dig shows, over TCP where a datagram has no room.
    fn dig(&self, name: &str) -> Vec<String> {
        patiently(name, |instead| {
            let dig = self.guest.dig(self.server.into(), name, "TXT");
            instead.clone_from(&dig.status);
            (dig.status == "NOERROR").then_some(dig.answers)
        })
    }

    fn until(&self, name: &str, wanted: &DnsReply) {
        patiently(name, |instead| {
            let reply = self.ask(name, rtype::TXT);
            *instead = format!("{reply:?}, wanted {wanted:?}");
            (reply == *wanted).then_some(())
        });
    }
}

/// A record of its own for each list of texts.
fn found(records: &[&[&str]]) -> DnsReply {
    let told: Vec<_> = records.iter().map(|texts| txt(texts)).collect();
    let mut told: Vec<_> = told.iter().map(String::as_str).collect();
    told.sort_unstable();
    DnsReply::found(&told)
}

const DMARC: &str = "{name: _dmarc, texts: ['v=DMARC1; rua=mailto:a@b.org,mailto:c@d.org', p=none]}";
const MORE: &str =
    "{name: vm1, texts: [one]}, {name: vm1, texts: [two]}, {name: www.example.com., texts: [ours]}";

#[test]
fn guests_are_told_and_what_changes_or_goes_is_never_asked_elsewhere() {
    let site = Site::new();
    site.write("a.yaml", &declared(&format!("{DMARC}, {MORE}")));
    let flags = ["--dns-forwarder", UPSTREAM, "--dns-txt-record", "vm1.vm.example.org,of all,2"];
    let agent = site.launch().node(&flags).start_ready();
    let asker = Asker::lan(&site);
    let upstream = Upstream::start(&site.lab);
    let (dmarc, vm1) = ("_dmarc.vm.example.org", "vm1.vm.example.org");
    let of_all: &[&str] = &["of all", "2"];
    let both: &[&str] = &["v=DMARC1; rua=mailto:a@b.org,mailto:c@d.org", "p=none"];
    assert_eq!(asker.ask(dmarc, rtype::TXT), found(&[both]));
    assert_eq!(asker.ask("VM1.vm.example.org", rtype::TXT), found(&[&["one"], &["two"], of_all]));
    assert_eq!(asker.ask(vm1, rtype::A), DnsReply::found(&["10.0.0.20"]));
    assert_eq!(asker.ask(dmarc, rtype::A), DnsReply::found(&[]));
    assert_eq!(asker.dig(dmarc), [txt(both)]);

    let (started, pids) = (starts(&agent.actions()), site.dnsmasq_pids());
    site.write("a.yaml", &declared(&format!("{{name: _dmarc, texts: [p=reject]}}, {MORE}")));
    asker.until(dmarc, &found(&[&["p=reject"]]));
    assert_eq!(asker.ask(vm1, rtype::TXT), found(&[&["one"], &["two"], of_all]));
    // It answers before that is in the log.
    patiently("one start", |instead| {
        let now = (starts(&agent.actions()), site.dnsmasq_pids());
        *instead = format!("{now:?}, before {:?}", (started, &pids));
        (now.0 == started + 1 && now.1.len() == 1 && now.1 != pids).then_some(())
    });
    // The same records in another order are the same.
    site.write("a.yaml", &declared(&format!("{MORE}, {{name: _dmarc, texts: [p=reject]}}")));
    site.write("b.yaml", &fixed("vm2", Mac::nth(2), "10.0.0.21", ""));
    site.until_leased(&site.guest(2), [10, 0, 0, 21].into());
    assert_eq!(starts(&agent.actions()), started + 1);

    // Of a name of elsewhere only what was said here is known here.
    assert_eq!(asker.ask("www.example.com", rtype::TXT), found(&[&["ours"]]));
    assert_eq!(upstream.asked(), Vec::<String>::new());
    assert_eq!(asker.ask("www.example.com", rtype::A), DnsReply::found(&[&ELSEWHERE.to_string()]));
    site.write("a.yaml", &declared(""));
    asker.until(dmarc, &DnsReply::nxdomain());
    assert_eq!(asker.ask(vm1, rtype::TXT), found(&[of_all]));
    asker.ask("www.example.com", rtype::TXT);
    assert!(upstream.asked().iter().all(|name| name == "www.example.com"), "{:?}", upstream.asked());
}

/// How often a dnsmasq was started.
fn starts(actions: &[String]) -> usize {
    actions.iter().filter(|action| action.contains("start dnsmasq")).count()
}

#[test]
fn a_record_is_for_the_guests_of_its_network_only() {
    let site = Site::new();
    for (name, vlan, mac) in [("one", 7, 1), ("two", 8, 2)] {
        let dns = format!(
            "dns: {{domain: in.test, txtRecords: [{{name: a, texts: [{name}]}}, {{name: {name}, texts: [x]}}]}}"
        );
        let segment = format!("segmentation: {{type: VLAN, vlan: {{id: {vlan}}}}}");
        let spec = format!("physicalNetworkRef: {{name: trunk}}\n{segment}\n{dns}");
        let lan = object("Network", name, &spec) + &subnet(&format!("{name}-v4"), name, "10.0.0.0/24", "");
        site.write(
            &format!("{name}.yaml"),
            &(lan + &port(name, name, Mac::nth(mac), "addresses: [{ip: 10.0.0.20}]")),
        );
    }
    let flags = ["--dns-txt-record", "all.example.com,x"];
    let _agent = site.launch().physical(&["trunk=bridge:br-{vlan}"]).node(&flags).start_ready();
    let asker =
        |vlan: u16, n| Asker::new(&site, site.lab.guest(&format!("br-{vlan}"), Mac::nth(n)), [10, 0, 0, 20]);
    for (asker, own, other) in [(asker(7, 1), "one", "two"), (asker(8, 2), "two", "one")] {
        assert_eq!(asker.ask("a.in.test", rtype::TXT), found(&[&[own]]));
        assert_eq!(asker.ask("all.example.com", rtype::TXT), found(&[&["x"]]));
        assert_eq!(asker.ask(&format!("{other}.in.test"), rtype::TXT), DnsReply::nxdomain());
    }
}

#[test]
fn texts_arrive_as_they_are_and_a_restarted_agent_finds_them_so() {
    let site = Site::new();
    let all: String = (b' '..=b'~').map(char::from).collect();
    let (long, blanks) = ("x".repeat(255), "  ");
    let texts = [
        "--conf-file=/etc/passwd",
        "-a",
        "#",
        "$(reboot)",
        "`reboot`",
        "%s",
        "a,b",
        ",",
        "\"q\"",
        "\\",
        " a ",
        blanks,
        "'",
        "{}",
        &all,
        &long,
    ];
    let record =
        |(n, text): (usize, &&str)| serde_json::json!({"name": format!("t{n}"), "texts": [text, text]});
    let records: Vec<_> = texts.iter().enumerate().map(record).collect();
    let records = serde_json::to_string(&records).unwrap();
    site.write("a.yaml", &declared(records.trim_matches(['[', ']'])));
    let agent = site.start();
    let asker = Asker::lan(&site);
    for (n, text) in texts.iter().enumerate().filter(|(_, text)| text.len() < 200) {
        assert_eq!(
            asker.ask(&format!("t{n}.vm.example.org"), rtype::TXT),
            found(&[&[text, text]]),
            "{text:?}"
        );
    }
    let last = format!("t{}.vm.example.org", texts.len() - 1);
    assert_eq!(asker.dig(&last), [txt(&[&long, &long])]);
    site.until_ready("Network", "lan");
    // Each connection had a process of its own.
    let pids = patiently("one dnsmasq", |instead| {
        let pids = site.dnsmasq_pids();
        *instead = format!("{pids:?}");
        (pids.len() == 1).then_some(pids)
    });
    agent.stop();
    let agent = site.start();
    site.assert_nothing_to_do();
    assert_eq!((agent.actions(), site.dnsmasq_pids()), (Vec::new(), pids));
}

#[test]
fn records_that_cannot_be_told_are_refused_with_their_place_and_the_others_stay() {
    let site = Site::new();
    site.write("a.yaml", &declared(DMARC));
    let _agent = site.start();
    let asker = Asker::lan(&site);
    let (pids, long) = (site.dnsmasq_pids(), "x".repeat(256));
    let seventeen = vec!["{name: a, texts: [x]}"; 17].join(", ");
    for (records, place) in [
        ("{name: a, texts: [\"x\\ny\"]}".to_owned(), "spec.dns.txtRecords[0].texts[0]"),
        (format!("{DMARC}, {{name: a, texts: [x, \"\\x07\"]}}"), "spec.dns.txtRecords[1].texts[1]"),
        ("{name: a, texts: [\"\\x1e\"]}".to_owned(), "spec.dns.txtRecords[0].texts[0]"),
        ("{name: a, texts: [\"\\0\"]}".to_owned(), "spec.dns.txtRecords[0].texts[0]"),
        ("{name: a, texts: [ä]}".to_owned(), "spec.dns.txtRecords[0].texts[0]"),
        ("{name: a, texts: ['']}".to_owned(), "spec.dns.txtRecords[0].texts[0]"),
        (format!("{{name: a, texts: [{long}]}}"), "spec.dns.txtRecords[0].texts[0]"),
        ("{name: a, texts: []}".to_owned(), "spec.dns.txtRecords[0].texts"),
        ("{name: 'a,b', texts: [x]}".to_owned(), "spec.dns.txtRecords[0].name"),
        ("{name: a.vm.example.org, texts: [x]}".to_owned(), "spec.dns"),
        (seventeen, "spec.dns.txtRecords"),
    ] {
        site.write("a.yaml", &declared(&records));
        patiently(&records, |instead| {
            let problems = site.status().problems();
            *instead = format!("{problems:?}");
            let is_it = |(at, message): &(String, String)| {
                at.contains("a.yaml:") && message.starts_with(&format!("{place}: "))
            };
            problems.iter().any(is_it).then_some(())
        });
    }
    assert_eq!(asker.ask("_dmarc.vm.example.org", rtype::TXT).answers.len(), 1);
    assert_eq!(site.dnsmasq_pids(), pids);
    site.write("a.yaml", &declared("{name: a, texts: [x]}"));
    asker.until("a.vm.example.org", &found(&[&["x"]]));
}
