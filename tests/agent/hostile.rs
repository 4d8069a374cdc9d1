//! Texts that would mean something else to dnsmasq, a shell or a file system: refused with their place.

use crate::lab::{Ask, Mac, MessageType};
use crate::manifests::{fixed, lan, lan_v4, network, object, port, subnet};
use crate::site::{Site, files_of, patiently};

/// As they stand in a double-quoted YAML scalar.
const TEXTS: [&str; 12] = [
    "a\\ndhcp-option=3,192.0.2.66",
    "a\\r\\nset:known",
    "a,192.0.2.66",
    "a b",
    "$(reboot)",
    "`reboot`",
    "../../../etc/passwd",
    "ä",
    "a\\0b",
    "a\\u2028b",
    "-a",
    "#a",
];

type Maker = fn(&str, &str) -> String;

/// Every field that takes a text, with the message's field and an object that has the text there.
const FIELDS: [(&str, Maker); 20] = [
    ("metadata.name", |_, text| object("Port", text, "networkRef: {name: lan}")),
    ("metadata.namespace", |n, t| of_port(n, "").replace("team-a", &format!("\"{t}\""))),
    ("spec.networkRef.name", |n, t| object("Port", n, &format!("networkRef: {{name: \"{t}\"}}"))),
    ("spec.macAddress", |n, t| object("Port", n, &format!("networkRef: {{name: lan}}\nmacAddress: \"{t}\""))),
    ("spec.hostname", |n, t| of_port(n, &format!("hostname: \"{t}\""))),
    ("spec.dnsNames[0]", |n, t| of_port(n, &format!("dnsNames: [\"{t}\"]"))),
    ("spec.addresses[0].ip", |n, t| of_port(n, &format!("addresses: [{{ip: \"{t}\"}}]"))),
    ("spec.addresses[0].subnetRef.name", |n, t| {
        of_port(n, &format!("addresses: [{{subnetRef: {{name: \"{t}\"}}}}]"))
    }),
    ("spec.identity.clientID", |n, t| {
        of_port(n, &format!("identity: {{type: ClientID, clientID: \"{t}\"}}"))
    }),
    ("spec.options[0].name", |n, t| of_port(n, &format!("options: [{{name: \"{t}\", values: [a]}}]"))),
    ("spec.cidr", |n, t| subnet(n, "lan", &format!("\"{t}\""), "")),
    ("spec.gateway.address", |n, t| of_subnet(n, &format!("gateway: {{type: Address, address: \"{t}\"}}"))),
    ("spec.pools[0].first", |n, t| of_subnet(n, &format!("pools: [{{first: \"{t}\", last: 10.7.0.9}}]"))),
    ("spec.dns.addresses", |n, t| of_subnet(n, &format!("dns: {{type: Addresses, addresses: [\"{t}\"]}}"))),
    ("spec.hostRoutes[0].destination", |n, t| {
        of_subnet(n, &format!("hostRoutes: [{{destination: \"{t}\", nextHop: 10.7.0.1}}]"))
    }),
    ("spec.hostRoutes[0].nextHop", |n, t| {
        of_subnet(n, &format!("hostRoutes: [{{destination: 10.9.0.0/16, nextHop: \"{t}\"}}]"))
    }),
    ("spec.dns.domain", |n, t| network(n, &format!("dns: {{domain: \"{t}\"}}"))),
    ("spec.dns.txtRecords[0].name", |n, t| {
        network(n, &format!("dns: {{domain: a.b, txtRecords: [{{name: \"{t}\", texts: [x]}}]}}"))
    }),
    ("spec.dns.forwarding.addresses", |n, t| {
        network(n, &format!("dns: {{forwarding: {{type: Addresses, addresses: [\"{t}\"]}}}}"))
    }),
    ("spec.physicalNetworkRef.name", |n, t| {
        object("Network", n, &format!("physicalNetworkRef: {{name: \"{t}\"}}"))
    }),
];

fn of_port(name: &str, more: &str) -> String {
    port(name, "lan", Mac::nth(66), more)
}

fn of_subnet(name: &str, more: &str) -> String {
    subnet(name, "lan", "10.7.0.0/24", more)
}

#[test]
fn hostile_texts_are_refused_with_their_place_and_harm_nobody() {
    let site = Site::new();
    site.write("lan.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.start();
    let guest = site.guest(1);
    guest.dora();
    let (before, files) = (agent.actions().len(), contents(&site));
    let mut wanted = Vec::new();
    for (f, (field, make)) in FIELDS.iter().enumerate() {
        for (t, text) in TEXTS.iter().enumerate() {
            let name = format!("h-{f}-{t}");
            site.write(&format!("{name}.yaml"), &make(&name, text));
            wanted.push((format!("{name}.yaml:"), *field, *text));
        }
    }
    patiently("all are refused", |instead| {
        let problems = site.status().problems();
        let mut missing = wanted.clone();
        missing.retain(|(place, field, _)| {
            !problems.iter().any(|(p, message)| p.contains(place) && message.starts_with(field))
        });
        *instead = format!("these are not: {missing:#?}");
        missing.is_empty().then_some(())
    });
    assert_eq!((agent.actions().len(), contents(&site)), (before, files), "something was done");
    assert_watched_without_names(&site, &agent.log());
    site.until_leased(&guest, [10, 0, 0, 20].into());
    site.write("vm2.yaml", &fixed("vm2", Mac::nth(2), "10.0.0.21", ""));
    site.until_leased(&site.guest(2), [10, 0, 0, 21].into());
}

/// Metrics have no word of a tenant's, and an event is one line of the log.
fn assert_watched_without_names(site: &Site, log: &[String]) {
    let (_, metrics) = site.get("/metrics").unwrap();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let names =
            labels.split(',').filter(|label| !label.is_empty()).map(|label| label.split_once('=').unwrap().0);
        let ours = ["commit", "family", "kind", "le", "program", "reason", "result", "version"];
        assert!(names.clone().all(|name| ours.contains(&name)), "{line}");
    }
    assert!(!metrics.contains("h-0") && !metrics.contains("team-a"), "{metrics}");
    for line in log {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "half an event: {line}");
    }
}

/// What dnsmasq reads.
fn contents(site: &Site) -> Vec<String> {
    let directories = ["hosts", "options", "names"].map(|name| site.network_dir().join(name));
    directories.iter().flat_map(|d| files_of(d)).map(|f| std::fs::read_to_string(f).unwrap()).collect()
}

#[test]
fn option_values_are_sent_as_they_are_or_refused() {
    let site = Site::new();
    let refused: [(&str, &str); 7] = [
        ("name: root-path, values: [\"a\\nb\"]", "spec.options[0].values[0]"),
        ("name: root-path, values: [\"ä\"]", "spec.options[0].values[0]"),
        ("name: ntp-server, values: [a]", "spec.options[0]"),
        ("code: 224, encoding: Hex, values: [0x]", "spec.options[0]"),
        ("code: 224, encoding: Uint8, values: ['256']", "spec.options[0]"),
        ("code: 50, encoding: IP, values: [192.0.2.1]", "spec.options"),
        ("code: 3, values: [a]", "spec.options"),
    ];
    site.write("lan.yaml", &(network("lan", "") + &lan_v4("")));
    for (n, (option, _)) in refused.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        let text = port(
            &format!("r{n}"),
            "lan",
            Mac::nth(20 + n),
            &format!("options: [{{{option}, family: IPv4}}]"),
        );
        site.write(&format!("r{n}.yaml"), &text);
    }
    // What means something in dnsmasq's own files, to a shell, or in its guesses about types.
    let sent = [
        "a,b",
        "10.0.0.66",
        "de:ad",
        "0a",
        "\\\"q\\\"",
        "tag:x,3,192.0.2.66",
        "#",
        "$(id)",
        "a\\\\nb",
        "%s",
        "*",
    ];
    for (n, value) in sent.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        let option = format!("options: [{{code: 226, values: [\"{value}\"], family: IPv4}}]");
        site.write(&format!("s{n}.yaml"), &port(&format!("s{n}"), "lan", Mac::nth(40 + n), &option));
    }
    let _agent = site.start();
    let problems = site.status().problems();
    for (n, (option, field)) in refused.iter().enumerate() {
        let found = |(p, message): &(String, String)| {
            p.contains(&format!("r{n}.yaml:")) && message.starts_with(field)
        };
        assert!(problems.iter().any(found), "{option}: {problems:#?}");
    }
    let like = site.guest(99);
    for (n, value) in sent.iter().enumerate() {
        let guest = site.lab.twin(&like, Mac::nth(40 + u32::try_from(n).unwrap()));
        let ack = guest.dora();
        let ask = Ask::new(MessageType::Request);
        let ack = guest.answer(&ask.want(&[226, 3]).ciaddr(ack.yiaddr()).to(ack.server()));
        let plain = value.replace("\\\"", "\"").replace("\\\\", "\\");
        assert_eq!(ack.text(226).as_deref(), Some(plain.as_str()));
        assert_eq!(ack.option(3), Some(&[10, 0, 0, 1][..]), "{value} became another option");
    }
}
