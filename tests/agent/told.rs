//! `kube-dhcp status --port`: what it says a guest is told is what the guest is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kube_dhcp::dhcp_options::readable;
use kube_dhcp::service::Code;
use serde_json::Value;

use crate::answers;
use crate::lab::{self, Ask, Ask6, Guest, Guest6, Kind6, Mac, MessageType, PATIENCE, eventually, raw};
use crate::manifests::{lan, network, object, port, subnet};
use crate::site::{BIN, Site, patiently};

/// It is told from the agent's copy of the manifests, which is written after the guests are served.
fn told(site: &Site, port: &str) -> Value {
    let state = site.state.to_str().unwrap();
    let arguments = ["status", "--state-dir", state, "--port", port, "-o", "json"];
    patiently(&format!("it is told of Port {port}"), |instead| {
        let done = lab::output(site.lab.command(BIN).args(arguments));
        *instead = String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success().then(|| serde_json::from_slice(&done.stdout).unwrap())
    })
}

/// By code: the value, and where it is from; of what is for `when` or for everybody.
fn options(told: &Value, family: &str, when: Option<&str>) -> BTreeMap<u16, (Option<String>, String)> {
    let all = told["dhcp"].as_array().unwrap().iter().find(|of| of["protocol"] == family).unwrap();
    let all = all["options"].as_array().unwrap().iter();
    let is = |option: &&Value| option["when"].is_null() || when.is_some_and(|when| option["when"] == when);
    let mut options = BTreeMap::new();
    // What is for some stands first.
    for option in all.filter(is) {
        let value = option["value"].as_str().map(str::to_owned);
        let from = option["from"].as_str().unwrap().to_owned();
        options.entry(option["code"].as_u64().unwrap().try_into().unwrap()).or_insert((value, from));
    }
    options
}

/// Each option alone, as a person reads it. dnsmasq ends a boot file's name like a string of C.
fn on_the_wire(guest: &Guest<'_>, code: u8, said: &[(u8, &[u8])]) -> Option<String> {
    let ack = guest.dora();
    let said: Vec<_> = said.iter().map(|(code, bytes)| raw(*code, bytes)).collect();
    let ask =
        Ask::new(MessageType::Request).want(&[code]).ciaddr(ack.yiaddr()).to(ack.server()).options(&said);
    let ack = guest.answer(&ask);
    let bytes = ack.option(code)?;
    let bytes = if matches!(code, 66 | 67) { bytes.strip_suffix(&[0]).unwrap() } else { bytes };
    Some(readable(Code::V4(code), bytes).1)
}

fn assert_told(site: &Site, port: &str, guest: &Guest<'_>, when: Option<&str>, said: &[(u8, &[u8])]) {
    let options = options(&told(site, port), "IPv4", when);
    for (code, (value, _)) in &options {
        let code = u8::try_from(*code).unwrap();
        let got = on_the_wire(guest, code, said);
        match code {
            // Names may be compressed; dnsmasq spreads renewals by up to an eighth.
            119 => assert!(got.is_some()),
            58 | 59 => {
                let (got, most): (u32, u32) =
                    (got.unwrap().parse().unwrap(), value.as_ref().unwrap().parse().unwrap());
                assert!((most - most / 8..=most).contains(&got), "{port} option {code}: {got} of {most}");
            }
            _ => assert_eq!(got, *value, "{port} option {code}"),
        }
    }
    // And nothing else: 53 is the kind of message.
    let all: Vec<u8> = (1..=254).filter(|code| *code != 53).collect();
    for want in all.chunks(40) {
        let ack = guest.dora();
        let ask = Ask::new(MessageType::Request).want(want).ciaddr(ack.yiaddr()).to(ack.server());
        let ack = guest.answer(&ask);
        let known = |code: &u8| options.get(&u16::from(*code)).is_some_and(|(value, _)| value.is_some());
        let more: Vec<_> = want.iter().filter(|code| ack.option(**code).is_some() && !known(code)).collect();
        assert!(more.is_empty(), "{port}: options {more:?} are not told of");
    }
}

#[test]
fn status_tells_of_a_port_what_its_guest_is_told() {
    let site = Site::new();
    site.write("a.yaml", &answers::rich());
    let _agent = site.start();
    site.until_leased(&site.guest(1), Ipv4Addr::new(10, 0, 0, 20));
    let (one, two) = (site.guest(1), site.guest(2));
    assert_told(&site, "team-a/vm1", &one, None, &[]);
    assert_told(&site, "team-a/vm2", &two, None, &[]);
    let vm2 = told(&site, "team-a/vm2");
    assert_eq!(vm2["addresses"][0]["names"][0], "host-10-1-0-20.vm.example.org");
    assert_eq!(vm2["dhcp"][0]["server"], "10.1.0.10");
    let from: BTreeMap<_, _> = options(&vm2, "IPv4", None).into_iter().map(|(code, o)| (code, o.1)).collect();
    assert_eq!(from[&42], "Port vm2 spec.options");
    assert_eq!(from[&7], "Network lan spec.options");
    assert_eq!(from[&3], "Subnet second spec.gateway");
    let from = options(&told(&site, "team-a/vm1"), "IPv4", None);
    assert_eq!(from[&42].1, "Subnet first spec.options");
}

/// What `explain` says of a Port of `team-a`, and its exit code.
fn explained(site: &Site, port: &str) -> (String, i32) {
    let state = site.state.to_str().unwrap();
    let arguments = ["explain", "port", port, "-n", "team-a", "--state-dir", state];
    let done = lab::output(site.lab.command(BIN).args(arguments));
    (String::from_utf8(done.stdout).unwrap(), done.status.code().unwrap())
}

#[test]
fn explain_tells_the_first_thing_that_is_not_right() {
    let site = Site::new();
    let wrong = "networkRef: {name: lan}\nmacAddress: \"02:00:00:00:00:99\"\naddresses: [{ip: 10.9.0.1}]";
    site.write("a.yaml", &(answers::rich() + &object("Port", "wrong", wrong)));
    site.write("b.yaml", &object("Port", "broken", "networkRef: {name: lan}\nmacAddress: nonsense"));
    let agent = site.start();
    site.until_ready("Port", "vm1");
    let (text, code) = explained(&site, "vm1");
    assert!(code == 0 && text.contains("All of it is right"), "{text}");
    let (text, code) = explained(&site, "wrong");
    assert!(code == 3 && text.contains("AddressOutsideSubnet: "), "{text}");
    assert!(text.contains("The first that is not right: Port has addresses"), "{text}");
    let (text, code) = explained(&site, "broken");
    assert!(code == 3 && text.contains("b.yaml:") && text.contains("macAddress"), "{text}");
    let (text, code) = explained(&site, "nobody");
    assert!(code == 3 && text.contains("knows none of this name"), "{text}");
    assert_eq!(told(&site, "team-a/vm1")["agentRunning"], true);
    agent.kill9();
    site.lab.run(&format!("kill -9 {}", site.dnsmasq_pids()[0]));
    eventually("it is seen that nobody answers", PATIENCE, || {
        let (text, code) = explained(&site, "vm1");
        assert!(code == 3 && text.contains("The first that is not right: an agent runs"), "{text}");
        text.lines().any(|line| line.starts_with("NO dnsmasq runs")).then_some(())
    });
    let state = site.state.to_str().unwrap();
    let status = site.run(&["status", "--state-dir", state]);
    assert!(status.starts_with("No agent runs: this is what the last one said, at 20"), "{status}");
    assert_eq!(told(&site, "team-a/vm1")["agentRunning"], false);
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let (text, code) = explained(&site, "vm1");
    assert!(code == 0 && !text.contains("an agent runs"), "{text}");
    assert_eq!(told(&site, "team-a/vm1")["agentRunning"], true);
    assert!(!site.run(&["status", "--state-dir", state]).contains("No agent runs"));
}

#[test]
fn explain_says_of_a_port_that_only_reserves_that_dhcp_does_not_answer_it() {
    let site = Site::new();
    let bare = object("Port", "bare", "networkRef: {name: lan}");
    site.write("a.yaml", &(lan() + &port("mute", "lan", Mac::nth(1), "dhcp: Disabled") + &bare));
    let _agent = site.start();
    for (name, why) in [("mute", "says dhcp: Disabled"), ("bare", "has no macAddress and no identity")] {
        site.until_ready("Port", name);
        let (text, code) = explained(&site, name);
        let all = format!(
            "All of it is right: what the Port asks for is reserved. DHCP does not answer: the Port {why}."
        );
        assert!(code == 0 && text.contains(&all) && !text.contains("is answered"), "{text}");
    }
    assert!(site.guest(1).silent());
}

#[test]
fn explain_says_that_there_are_no_addresses_where_the_network_is_not_served() {
    let site = Site::new();
    let nowhere = object("Network", "nowhere", "physicalNetworkRef: {name: unknown}");
    let nowhere = nowhere + &subnet("nowhere-v4", "nowhere", "10.1.0.0/24", "");
    site.write("a.yaml", &(nowhere + &port("unmapped", "nowhere", Mac::nth(1), "")));
    site.write("b.yaml", &port("lost", "lann", Mac::nth(2), ""));
    let _agent = site.start();
    for (port, network, reason) in
        [("unmapped", "nowhere", "PhysicalNetworkNotFound"), ("lost", "lann", "NetworkNotFound")]
    {
        let (text, code) = patiently("the Port is judged", |instead| {
            let (text, code) = explained(&site, port);
            instead.clone_from(&text);
            text.contains(reason).then_some((text, code))
        });
        let says = |what: &str| text.lines().any(|line| line.starts_with(&format!("NO {what} ")));
        assert!(code == 3 && says(&format!("Network {network}")), "{text}");
        assert!(says("Port has addresses"), "{text}");
        assert!(!text.contains("dnsmasq runs"), "{text}");
    }
    site.write("c.yaml", &object("Network", "lann", "physicalNetworkRef: {name: 7}"));
    patiently("the file is said to be why there is no Network", |instead| {
        *instead = explained(&site, "lost").0;
        let step = instead.lines().find(|line| line.starts_with("NO Network team-a/lann "));
        step.is_some_and(|step| step.contains("c.yaml:")).then_some(())
    });
    site.remove("c.yaml");
    site.write("b.yaml", &port("lost", "nowhere", Mac::nth(2), ""));
    patiently("the change is refused", |instead| {
        *instead = explained(&site, "lost").0;
        (instead.contains("field is immutable") && instead.contains("make it again")).then_some(())
    });
    // What is said to help does.
    site.remove("b.yaml");
    eventually("it is gone", PATIENCE, || site.status().object("Port", "lost").is_none().then_some(()));
    site.write("b.yaml", &port("lost", "nowhere", Mac::nth(2), ""));
    site.until_not_ready("Port", "lost", "NetworkNotServed", "nowhere");
}

#[test]
fn status_tells_what_is_for_some_requests() {
    let lan = "options:
- {name: bootfile-name, values: [pxelinux.0]}
- {name: bootfile-name, values: ['http://boot.test/ipxe'], when: {bootLoader: IPXE}}
- {name: bootfile-url, values: ['tftp://boot.test/any']}";
    let six = "ipv6: {addressMode: DHCPv6Stateful}\noptions: [{name: bootfile-url, values: [x64], when: {architectures: [X64UEFI]}}]";
    let port = format!(
        "networkRef: {{name: lan}}\nmacAddress: \"{}\"\noptions: [{{name: tftp-server, values: [t]}}]",
        Mac::nth(1)
    );
    let site = Site::new();
    site.write(
        "a.yaml",
        &[
            network("lan", lan),
            subnet("four", "lan", "10.0.0.0/24", ""),
            subnet("six", "lan", "2001:db8::/64", six),
            object("Port", "vm1", &port),
        ]
        .concat(),
    );
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = site.guest(1);
    assert_told(&site, "team-a/vm1", &guest, None, &[]);
    assert_told(&site, "team-a/vm1", &guest, Some("iPXE"), &[(77, b"iPXE")]);
    let guest = site.lab.twin6(guest.netns(), Mac::nth(1));
    assert_told6(&site, (&guest, Kind6::Solicit), None, &[]);
    assert_told6(&site, (&guest, Kind6::Solicit), Some("X64UEFI"), &[(61, &[0, 7])]);
}

/// Of DHCPv6 its options, of the servers' advertisements all.
#[test]
fn status_tells_what_guests_that_make_themselves_addresses_are_told() {
    let six = |n: u8, ipv6: &str, more: &str| {
        let spec = format!("ipv6: {{addressMode: {ipv6}}}\n{more}");
        subnet(&format!("l{n}"), "lan", &format!("2001:db8:{n}::/64"), &spec)
    };
    let sntp = "options:
- {name: sntp-server, values: ['2001:db8::9']}
- {name: bootfile-url, values: [any]}
- {name: bootfile-url, values: [x64], when: {architectures: [X64UEFI]}}";
    let port = format!("networkRef: {{name: lan}}\nmacAddress: \"{}\"", Mac::nth(1));
    let site = Site::new();
    let lan = network("lan", "mtu: 1400\ndns: {domain: vm.example.org}");
    let slaac = six(1, "SLAAC, routerAdvertisements: Server", "dhcp: {leaseDurationSeconds: 7200}");
    let stateless = six(2, "DHCPv6Stateless, routerAdvertisements: Server", sntp);
    site.write("a.yaml", &[lan, slaac, stateless, object("Port", "vm1", &port)].concat());
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let told = told(&site, "team-a/vm1");
    let ips = told["addresses"].as_array().unwrap().iter().map(|address| address["ip"].as_str().unwrap());
    assert_eq!(ips.collect::<Vec<_>>(), ["2001:db8:1::ff:fe00:1", "2001:db8:2::ff:fe00:1"]);
    assert_eq!(told["dhcp"].as_array().unwrap().len(), 1);
    assert_eq!(told["dhcp"][0]["addresses"], Value::Array(Vec::new()));
    let four = site.guest(1);
    let guest = site.lab.twin6(four.netns(), Mac::nth(1));
    let inform = || (&guest, Kind6::InformationRequest);
    assert_told6(&site, inform(), None, &[]);
    assert_told6(&site, inform(), Some("X64UEFI"), &[(61, &[0, 7])]);
    guest.send_router_solicitation();
    let advert = guest.advert_within(PATIENCE).expect("no router advertisement");
    let mut heard = vec![(5, advert.mtu.unwrap().to_string())];
    heard.extend(advert.prefixes.iter().map(|p| {
        let own = if p.autonomous { ", for addresses of guests' own" } else { "" };
        (3, format!("{}/{}{own}", p.address, p.length))
    }));
    let servers: Vec<_> = advert.dns_servers.iter().map(ToString::to_string).collect();
    heard.extend([(25, servers.join(", ")), (31, advert.search.join(", "))]);
    heard.sort();
    let said = told["routerAdvertisement"].as_array().unwrap().iter();
    let said: BTreeSet<_> = said
        .map(|part| (part["code"].as_u64().unwrap(), part["value"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(said.into_iter().collect::<Vec<_>>(), heard);
}

fn assert_told6(site: &Site, (guest, kind): (&Guest6<'_>, Kind6), when: Option<&str>, said: &[(u16, &[u8])]) {
    let ask = |want: &[u16]| {
        let ask = Ask6::new(kind).want(want);
        let ask = said.iter().fold(ask, |ask, (code, bytes)| ask.option(*code, bytes));
        guest.answer(&ask)
    };
    let options = options(&told(site, "team-a/vm1"), "IPv6", when);
    for (code, (value, _)) in &options {
        let got = ask(&[*code]).option(*code).map(|bytes| readable(Code::V6(*code), bytes).1);
        assert_eq!(got, *value, "option {code} of DHCPv6");
    }
    // The protocol's own, and the name.
    let all: Vec<u16> = (17..=224).filter(|code| *code != 39).collect();
    let answer = ask(&all);
    let more: Vec<_> =
        all.iter().filter(|c| answer.option(**c).is_some() && !options.contains_key(c)).collect();
    assert!(more.is_empty(), "options {more:?} of DHCPv6 are not told of");
}

#[test]
fn status_says_of_a_port_that_is_not_served_why() {
    let site = Site::new();
    site.write("a.yaml", &answers::rich());
    let _agent = site.start();
    let state = site.state.to_str().unwrap();
    let failed = |port: &str| {
        let args = ["status", "--state-dir", state, "--port", port];
        let done = crate::lab::output(site.lab.command(crate::site::BIN).args(args));
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(failed("team-a/none").contains("knows no Port team-a/none"));
    assert!(failed("team-b/vm1").contains("knows no Port team-b/vm1"));
    site.write("b.yaml", &crate::manifests::fixed("vm9", Mac::nth(1), "10.0.0.99", ""));
    site.until_not_ready("Port", "vm9", "DuplicateMAC", "vm1");
    // What the agent serves from is written down a moment later.
    let said = || failed("team-a/vm9").contains("is the MAC address of Port vm1").then_some(());
    eventually("vm9 has vm1's MAC address", PATIENCE, said);
}
