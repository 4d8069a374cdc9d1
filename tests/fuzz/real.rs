//! What we accept, a real dnsmasq accepts: it is started with hundreds of random objects, and its log has
//! no complaint. Needs root.

use std::path::PathBuf;

use kube_dhcp::allocate::Ledger;
use kube_dhcp::dnsmasq::{FIRST, Layout, Server};
use serde_json::Value;

use crate::court::{Court, Input, files};
use crate::door::Door;
use crate::lab::{DnsSocket, Lab, Mac, PATIENCE, output, rtype, write_alone};
use crate::mutate::Maker;
use crate::random::Random;
use crate::scene::{Scene, Subject, uid};
use crate::{ascii, corpus, name};

/// Networks, each with its own dnsmasq.
const NETWORKS: usize = 24;
/// Objects that are accepted in each.
const OBJECTS: usize = 16;
/// Words that a dnsmasq has for what it does not take, or takes otherwise.
const COMPLAINTS: [&str; 12] = [
    " at line ",
    "bad ",
    "illegal",
    "duplicate",
    "invalid",
    "inconsistent",
    "ignor",
    "error",
    "failed",
    "cannot",
    "overflow",
    "too l",
];

/// A network of random objects that are all accepted.
fn network(chance: &mut Random, maker: &Maker, door: &Door, court: &Court) -> (Scene, Vec<Value>) {
    let (mut scene, mut values) = (Scene::bystander(), Vec::new());
    if chance.percent(50) {
        let own = accepted(chance, maker, door, court, &["Network"], 0);
        scene.add(own.0);
        values.push(own.1);
    }
    let subnets = chance.index(4);
    for n in 0..OBJECTS {
        let kind = if n < subnets { "Subnet" } else { "Port" };
        let (subject, value) = accepted(chance, maker, door, court, &[kind], n);
        scene.add(subject);
        values.push(value);
    }
    (scene, values)
}

fn accepted(
    chance: &mut Random,
    maker: &Maker,
    door: &Door,
    court: &Court,
    kinds: &[&str],
    n: usize,
) -> (Subject, Value) {
    loop {
        let mut mutant = maker.mutant(chance, kinds, false);
        // So that they do not all have one MAC address.
        if kinds == ["Port"] && mutant.object["spec"]["macAddress"].is_string() && chance.percent(80) {
            mutant.object["spec"]["macAddress"] =
                Value::String(Mac::nth(0x100 + u32::try_from(n).unwrap()).to_string());
        }
        let Some(value) = door.pass(&mutant.object.to_string()).ok().and_then(|mut p| p.objects.pop()) else {
            continue;
        };
        let Some(subject) = Subject::new(&name(chance, n), &value) else { continue };
        let input = Input { subject: subject.clone(), changed: None };
        if court.judge(&[input]).is_ok_and(|outcomes| outcomes[0].ends_with(" accepted")) {
            return (subject, value);
        }
    }
}

/// Starts it in a namespace of its own; its log once it has read all of its files.
fn log(lab: &Lab, netns: &str, server: &Server, layout: &Layout) -> Result<String, String> {
    for directory in [layout.hosts(), layout.options(), layout.names()] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let [hosts, options, names] = files(server);
    let write = |directory: PathBuf, text: &str| write_alone(&directory.join(FIRST), text);
    write(layout.hosts(), &hosts);
    write(layout.options(), &options);
    write(layout.names(), &names);
    lab.plug("br0", netns, "dhcp0", Mac([2, 0xff, 0, 0, 0, 1]));
    lab.run_in(netns, "ip link set lo up");
    lab.address(netns, "dhcp0", "10.0.0.2/24");
    lab.address(netns, "dhcp0", "2001:db8:b::2/64");
    let argv = &server.process.as_ref().unwrap().argv;
    let done = output(lab.command_in(netns, &argv[0]).env("LC_ALL", "C").args(&argv[1..]));
    if !done.status.success() {
        return Err(format!("it does not start: {}", String::from_utf8_lossy(&done.stderr)));
    }
    let dns = DnsSocket::new(lab, Some(netns), [10, 0, 0, 2]);
    dns.ask_class("version.bind", rtype::TXT, 3, PATIENCE).ok_or("it does not answer")?;
    Ok(std::fs::read_to_string(layout.log()).unwrap())
}

fn complaints(log: &str) -> String {
    let complains = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
    // A forwarder may be the server itself: then nobody is asked. And a line of IPv6 with a name that has
    // an IPv4 address would have that one as well, were it not in its own line. A domain may be any word.
    let known =
        ["ignoring nameserver", "in dhcp-config directive", "using only locally-known addresses for "];
    let lines = log.lines().filter(|line| !known.iter().any(|said| line.contains(said))).filter(complains);
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn a_real_dnsmasq_takes_what_is_accepted() {
    let (lab, mut chance) = (Lab::new(), Random::seeded());
    lab.bridge("br0");
    let (maker, door, court) = (Maker::new(corpus::texts(), corpus::objects()), Door::new(), Court::new());
    let (mut lines, mut objects, mut failures) = (0, 0, Vec::new());
    for n in 0..NETWORKS {
        let (scene, values) = network(&mut chance, &maker, &door, &court);
        let state = lab.state().join(n.to_string());
        let desired = scene.desired(state.to_str().unwrap(), &mut Ledger::default());
        let Some(server) = desired.segment.and_then(|segment| segment.server) else { continue };
        lines += files(&server).iter().map(|text| text.lines().count()).sum::<usize>();
        objects += values.len();
        let complaints = match log(&lab, &format!("n{n}"), &server, &Layout::new(&state, uid())) {
            Ok(log) => complaints(&log),
            Err(error) => error,
        };
        if !complaints.is_empty() {
            let values: String = values.iter().map(|value| ascii(value) + "\n").collect();
            failures.push(format!("{complaints}\nwith one of\n{values}"));
        }
    }
    println!("real dnsmasq: {objects} accepted objects in {NETWORKS} networks, {lines} lines");
    assert!(objects > 200 && lines > objects, "too few");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
