//! Everything as large as the schema lets it be, and guests are answered.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::lab::{Ask, Mac, MessageType, raw};
use crate::manifests::{network, object, subnet};
use crate::site::Site;

/// The longest names of labels and of objects.
fn label(first: char) -> String {
    format!("{first}{}", "x".repeat(62))
}

fn long(first: char) -> String {
    let label = label(first);
    format!("{label}.{label}.{label}.{}", &label[..61])
}

fn domain() -> String {
    let label = label('d');
    format!("{label}.{label}.{}", &label[..61])
}

/// Sixty-four subnets, the first as rich as can be; a sixty-fifth has no room.
fn all() -> String {
    let lan = label('n');
    let resolvers = (1..=8).map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>().join(", ");
    let mut text = network(&lan, &format!("mtu: 1500\ndns: {{domain: {}}}\ndhcp: {{servers: 8}}", domain()));
    let mut first = format!("dns: {{type: Addresses, addresses: [{resolvers}]}}\npools:\n");
    for n in 0..64 {
        writeln!(first, "- {{first: 10.0.0.{}, last: 10.0.0.{}}}", 2 + 3 * n, 3 + 3 * n).unwrap();
    }
    first += "hostRoutes:\n";
    for n in 10..44 {
        writeln!(first, "- {{destination: 172.{n}.0.0/16, nextHop: 10.0.0.254}}").unwrap();
    }
    first += &options(192, "s", "");
    text += &subnet(&long('s'), &lan, "10.0.0.0/24", &first);
    for n in 1..65 {
        text += &subnet(&format!("t{n:02}"), &lan, &format!("10.0.{n}.0/24"), "");
    }
    let mut port =
        format!("networkRef: {{name: {lan}}}\nmacAddress: \"{}\"\nhostname: {}\n", Mac::nth(1), label('h'));
    port += "addresses:\n- {ip: 10.0.0.251}\n";
    (1..16).for_each(|n| writeln!(port, "- {{ip: 10.0.{n}.251}}").unwrap());
    port += "dnsNames:\n";
    (0..16).for_each(|n| writeln!(port, "- {}.{}", label(char::from(b'a' + n)), domain()).unwrap());
    text + &object("Port", &long('p'), &(port + &options(160, "p", ", family: IPv4")))
}

/// Thirty-two options of 255 bytes.
fn options(first: u8, letter: &str, more: &str) -> String {
    let hex = format!("{:02x}", letter.as_bytes()[0]);
    let last = format!("\"{}\"", hex.repeat(15));
    let values = format!("\"{}\", ", hex.repeat(16)).repeat(15) + &last;
    let option = |n| format!("- {{code: {}, encoding: Hex, values: [{values}]{more}}}\n", first + n);
    "options:\n".to_owned() + &(0..32).map(option).collect::<String>()
}

#[test]
fn the_largest_network_is_served_and_what_does_not_fit_is_told() {
    let site = Site::new();
    site.write("all.yaml", &all());
    let _agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 251));
    let want = |codes: &[u8]| {
        let ask = Ask::new(MessageType::Discover).want(codes);
        guest.ask(&ask.option(raw(57, &1_500_u16.to_be_bytes()))).expect("no OFFER")
    };
    let own = want(&[160, 121]);
    assert_eq!(own.option(160), Some(&[b'p'; 255][..]));
    assert!(own.option(121).is_some_and(|routes| routes.len() > 200), "{:?}", own.option(121));
    assert_eq!(want(&[193]).option(193), Some(&[b's'; 255][..]));
    let everything: Vec<u8> = (160..192).collect();
    let got = want(&everything);
    let fit = everything.iter().filter(|code| got.option(**code).is_some()).count();
    assert!((4..32).contains(&fit), "{fit}");

    site.until_ready("Network", &label('n'));
    site.until_ready("Port", &long('p'));
    site.until_not_ready("Subnet", "t64", "TooManySubnets", "64");
    let status = site.status();
    for (kind, name) in [("Port", long('p')), ("Subnet", long('s'))] {
        let said = status.condition(kind, &name, "OptionsFit").unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "OptionsTooLong"));
    }
    site.assert_nothing_to_do();
}
