//! A network with everything in it as large as the schema lets it be.
//!
//! For tests of one agent, and of a cluster.

use std::fmt::Write;

use crate::lab::Mac;

/// The longest names of labels and of objects.
pub fn label(first: char) -> String {
    format!("{first}{}", "x".repeat(62))
}

pub fn long(first: char) -> String {
    let label = label(first);
    format!("{label}.{label}.{label}.{}", &label[..61])
}

fn domain() -> String {
    let label = label('d');
    format!("{label}.{label}.{}", &label[..61])
}

/// Sixty-four subnets, the first as rich as can be; a sixty-fifth has no room.
pub fn all(namespace: &str) -> String {
    let object = |kind, name: &str, spec: &str| object(kind, (namespace, name), spec);
    let subnet = |name: &str, cidr: &str, more: &str| {
        object("Subnet", name, &format!("networkRef: {{name: {}}}\ncidr: {cidr}\n{more}", label('n')))
    };
    let lan = label('n');
    let resolvers = (1..=8).map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>().join(", ");
    let spec = format!(
        "physicalNetworkRef: {{name: lan}}\nmtu: 1500\ndns: {{domain: {}, txtRecords: [{}]}}\ndhcp: {{servers: 8}}",
        domain(),
        txt_records()
    );
    let mut text = object("Network", &lan, &spec);
    let mut first = format!("dns: {{type: Addresses, addresses: [{resolvers}]}}\npools:\n");
    for n in 0..64 {
        writeln!(first, "- {{first: 10.0.0.{}, last: 10.0.0.{}}}", 2 + 3 * n, 3 + 3 * n).unwrap();
    }
    first += "hostRoutes:\n";
    for n in 10..44 {
        writeln!(first, "- {{destination: 172.{n}.0.0/16, nextHop: 10.0.0.254}}").unwrap();
    }
    first += &options(192, "s", "");
    text += &subnet(&long('s'), "10.0.0.0/24", &first);
    for n in 1..65 {
        text += &subnet(&format!("t{n:02}"), &format!("10.0.{n}.0/24"), "");
    }
    let mut port =
        format!("networkRef: {{name: {lan}}}\nmacAddress: \"{}\"\nhostname: {}\n", Mac::nth(1), label('h'));
    port += "addresses:\n- {ip: 10.0.0.251}\n";
    (1..16).for_each(|n| writeln!(port, "- {{ip: 10.0.{n}.251}}").unwrap());
    port += "dnsNames:\n";
    (0..16).for_each(|n| writeln!(port, "- {}.{}", label(char::from(b'a' + n)), domain()).unwrap());
    text + &object("Port", &long('p'), &(port + &options(160, "p", ", family: IPv4")))
}

/// Sixteen of eight texts of 255 characters.
fn txt_records() -> String {
    let texts = vec![format!("\"{}\"", "t".repeat(255)); 8].join(", ");
    let record = |n| format!("{{name: {}, texts: [{texts}]}}", label(char::from(b'a' + n)));
    (0..16).map(record).collect::<Vec<_>>().join(", ")
}

/// A manifest; `spec` is lines of YAML without indentation.
pub fn object(kind: &str, (namespace, name): (&str, &str), spec: &str) -> String {
    let mut text = format!(
        "---\napiVersion: kube-dhcp.io/v1alpha1\nkind: {kind}\nmetadata: {{name: \"{name}\", namespace: {namespace}}}\nspec:\n"
    );
    for line in spec.lines().filter(|line| !line.trim().is_empty()) {
        writeln!(text, "  {line}").unwrap();
    }
    text
}

/// Thirty-two options of 255 bytes.
fn options(first: u8, letter: &str, more: &str) -> String {
    let hex = format!("{:02x}", letter.as_bytes()[0]);
    let last = format!("\"{}\"", hex.repeat(15));
    let values = format!("\"{}\", ", hex.repeat(16)).repeat(15) + &last;
    let option = |n| format!("- {{code: {}, encoding: Hex, values: [{values}]{more}}}\n", first + n);
    "options:\n".to_owned() + &(0..32).map(option).collect::<String>()
}
