//! `kube-dhcp import`, as a program: what it writes is read by the manifest reader and nothing else.
//!
//! `vectors.json` has networks as Neutron's API gives them, most of them made of its own unit tests; what
//! its DHCP agent makes of each is known (`name: {networks, subnets, ports, config}`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kube_dhcp::import::{Effect, Entry, Options};
use kube_dhcp::source::Object;
use kube_dhcp::source::manifest::Manifest;
use kube_dhcp::source::schema::Validator;
use kube_dhcp::validate;
use serde_json::{Value, json};

fn import(input: &str, flags: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kube-dhcp"))
        .args(["import", "neutron", "--input", "-"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn vectors() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

/// All objects, by kind and Neutron's id; none that the reader has something against.
fn read(yaml: &str, validator: &Validator) -> BTreeMap<(String, String), Object> {
    let manifest = Manifest::parse(yaml, &Manifest::default(), validator);
    let problems: Vec<_> = manifest.problems("x.yaml").map(|p| p.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}\n{yaml}");
    let object = |placed: kube_dhcp::source::manifest::Placed<'_>| {
        let value = placed.candidate.value.as_ref().unwrap().unpack();
        let kind = placed.candidate.key.kind;
        let id = value["metadata"]["labels"]["neutron.kube-dhcp.io/id"].as_str().unwrap().to_owned();
        ((kind.to_string(), id), Object::from_value(kind, &value).unwrap())
    };
    manifest.objects().map(object).collect()
}

fn faults(object: &Object) -> usize {
    match object {
        Object::Network(network) => validate::network(network).len(),
        Object::Subnet(subnet) => validate::subnet(subnet).len(),
        Object::Port(port) => validate::port(port).len(),
        _ => 0,
    }
}

/// As the program does it, for the many.
fn here(input: &Value, validator: &Validator) -> (String, Vec<Entry>) {
    let options =
        Options { namespace: "default".into(), physical_network: Some("test".into()), segments: Vec::new() };
    let imported = kube_dhcp::import::import(vec![input.clone()], &options, validator);
    assert_eq!(imported.missing(), 0, "{:?}", imported.entries);
    (imported.networks.iter().map(|group| group.yaml().unwrap()).collect(), imported.entries)
}

#[test]
fn every_vector_is_imported_whole() {
    let validator = Validator::new().unwrap();
    for (name, input) in vectors() {
        let (yaml, report) = here(&input, &validator);
        let objects = read(&yaml, &validator);
        let kinds = [("networks", "Network"), ("subnets", "Subnet"), ("ports", "Port")];
        let given = |(list, kind): (&str, &'static str)| {
            let objects = input[list].as_array().unwrap().clone();
            objects.into_iter().map(move |object| (kind, object))
        };
        let wanted: BTreeSet<(String, String)> = kinds
            .into_iter()
            .flat_map(given)
            .filter(|(_, object)| object["device_owner"] != "network:dhcp")
            .map(|(kind, object)| (kind.to_owned(), object["id"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(objects.keys().cloned().collect::<BTreeSet<_>>(), wanted, "{name}");
        let refused = objects.iter().filter(|(_, object)| faults(object) > 0);
        let refused: BTreeSet<&str> = refused.map(|((_, id), _)| id.as_str()).collect();
        let said = report.iter().filter(|entry| entry.effect == Effect::NotServed);
        let said: BTreeSet<&str> = said.map(|entry| entry.subject.id.as_str()).collect();
        assert_eq!(refused, said, "{name}: what this version does not serve is in the report");
        assert!(!yaml.contains("routerAdvertisements: Server"), "{name}");
    }
}

#[test]
fn the_order_of_the_input_makes_no_difference() {
    let validator = Validator::new().unwrap();
    for (name, mut input) in vectors() {
        let forth = here(&input, &validator);
        for list in ["networks", "subnets", "ports"] {
            input[list].as_array_mut().unwrap().reverse();
        }
        assert_eq!(forth, here(&input, &validator), "{name}");
    }
}

#[test]
fn the_program_writes_the_same() {
    let (name, input) = vectors().into_iter().find(|(name, _)| name == "extra-newline-injection").unwrap();
    let output = import(&input.to_string(), &["--physical-network", "test", "-o", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (yaml, report) = here(&input, &Validator::new().unwrap());
    assert_eq!(text(&output.stdout), yaml, "{name}");
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said, json!({"networks": 1, "subnets": 1, "ports": 1, "entries": report}));
}

const EVIL: [&str; 9] = [
    "a\n---\napiVersion: v1\nkind: Secret",
    "\u{1b}[31m\u{202e}\0",
    "{x: [",
    "'\"#: &a *a !!b |\n  >",
    "ü\u{1f600}\u{2028}",
    "null",
    "~",
    " ",
    "0x1F\t\r\n\r",
];

#[test]
fn hostile_texts_stay_texts() {
    let validator = Validator::new().unwrap();
    let long = "x\u{e4}".repeat(200_000);
    for evil in EVIL.into_iter().chain([long.as_str()]) {
        let input = json!({
            "networks": [{"id": "n1", "name": evil, "project_id": evil, evil: evil, "provider:physical_network": evil}],
            "subnets": [{"id": "s1", "name": evil, "network_id": "n1", "cidr": "10.0.0.0/24", "gateway_ip": evil,
                "dns_nameservers": [evil], "host_routes": [evil, {"destination": evil, "nexthop": evil}],
                "allocation_pools": [{"start": evil}], "ipv6_ra_mode": evil, "segment_id": evil}],
            "ports": [{"id": "p1", "name": evil, "network_id": "n1", "mac_address": evil, "device_id": evil,
                "device_owner": evil, "dns_name": evil, "status": evil,
                "fixed_ips": [{"subnet_id": "s1", "ip_address": "10.0.0.5"}, {"subnet_id": evil, "ip_address": evil}],
                "dns_assignment": [{"ip_address": "10.0.0.5", "hostname": evil, "fqdn": evil}],
                "extra_dhcp_opts": [{"opt_name": evil, "opt_value": evil}, {"opt_name": "bootfile-name", "opt_value": evil}]}],
            "config": {"dns_domain": evil, "dnsmasq_dns_servers": [evil], evil: 1},
        });
        let output = import(&input.to_string(), &["--physical-network", "test", "--segment", "n1=test"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let objects = read(text(&output.stdout), &validator);
        assert_eq!(objects.len(), 3);
        assert!(objects.values().all(|object| faults(object) == 0));
        let Object::Port(port) = &objects[&("Port".to_owned(), "p1".to_owned())] else { panic!("no Port") };
        let kept = &port.metadata.annotations.as_ref().unwrap()["neutron.kube-dhcp.io/device-id"];
        assert!(evil.starts_with(kept.as_str()) && (kept == evil || kept.len() >= 1_023), "{kept:?}");
        let lines =
            text(&output.stderr).lines().all(|line| !line.contains(char::is_control) && line.len() < 2_000);
        assert!(lines && !text(&output.stderr).contains('\u{202e}'), "{}", text(&output.stderr));
    }
}

#[test]
fn a_directory_has_a_file_for_each_network_and_the_next_import_changes_none() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (out, report) = (dir.path().join("out"), dir.path().join("report.yaml"));
    let input = json!({"networks": [{"id": "n1", "name": "a"}, {"id": "n2", "name": "b"}]}).to_string();
    let flags = ["--physical-network", "test", "--out", out.to_str().unwrap()];
    let flags = [&flags[..], &["--report", report.to_str().unwrap(), "-o", "yaml"]].concat();
    let inodes = || {
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        let entries = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.file_name().unwrap().to_owned(), inode(&path))).collect::<BTreeMap<_, _>>()
    };
    let output = import(&input, &flags);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    let first = inodes();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["a.yaml", "b.yaml"]);
    assert!(import(&input, &flags).status.success());
    assert_eq!(first, inodes());
    assert!(std::fs::read_to_string(report).unwrap().contains("same segment"));
}

#[test]
fn what_cannot_be_imported_is_the_exit_code_and_the_rest_is_written() {
    let input = json!({"networks": [{"id": "n1", "name": "a"}, {"id": "n2", "name": "b", "provider:network_type": "vxlan"}]});
    let output = import(&input.to_string(), &["--physical-network", "test"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(read(text(&output.stdout), &Validator::new().unwrap()).len(), 1);
    assert!(text(&output.stderr).contains("NotImported"), "{}", text(&output.stderr));
    let output = import("{", &["--physical-network", "test"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("- is not JSON"), "{}", text(&output.stderr));
}
