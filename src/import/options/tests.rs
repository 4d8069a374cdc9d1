use serde_json::json;

use super::*;
use crate::import::report::Subject;

fn read(name: &Value, value: &str, version: u8) -> (Vec<DhcpOption>, Vec<String>) {
    let mut notes = Notes::new(Subject::default());
    let item = json!({"opt_name": name, "opt_value": value, "ip_version": version});
    let options = options(vec![item], &mut notes);
    (options, notes.into_entries().into_iter().map(|entry| entry.message).collect())
}

#[test]
fn options_by_name_and_number_are_the_same() {
    for (name, code) in [("bootfile-name", "67"), ("ntp-server", "42"), ("mtu", "26")] {
        let value = match code {
            "67" => "a,b",
            "42" => "10.0.0.1, 10.0.0.2",
            _ => "1400",
        };
        let (by_name, by_code) = (read(&name.into(), value, 4), read(&code.into(), value, 4));
        assert_eq!(by_name, by_code);
        assert!(by_name.1.is_empty(), "{name}: {:?}", by_name.1);
        let number: u16 = code.parse().unwrap();
        assert_eq!(read(&number.into(), value, 4), by_code);
    }
    assert_eq!(read(&"ntp-server".into(), "10.0.0.1,10.0.0.2", 4).0[0].values, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(read(&"bootfile-name".into(), "a,b", 4).0[0].values, ["a,b"]);
}

#[test]
fn a_value_that_nothing_is_known_of_is_what_it_looks_like() {
    for (value, encoding, values) in [
        ("option-99", OptionEncoding::Text, ["option-99"]),
        ("7", OptionEncoding::Uint8, ["7"]),
        ("256", OptionEncoding::Uint16, ["256"]),
        ("70000", OptionEncoding::Uint32, ["70000"]),
        ("0a:0B", OptionEncoding::Hex, ["0a0B"]),
        ("10.0.0.1", OptionEncoding::IP, ["10.0.0.1"]),
    ] {
        let option = &read(&"224".into(), value, 4).0[0];
        assert_eq!(option.encoding, Some(encoding), "{value}");
        assert_eq!(option.values, values);
        assert_eq!((option.code, option.family), (Some(224), Some(Family::IPv4)));
    }
}

#[test]
fn routes_and_times_are_what_dnsmasq_sends() {
    let routes = &read(&"classless-static-route".into(), "10.0.0.0/8,10.0.0.1,0.0.0.0/0,10.0.0.2", 4).0[0];
    assert_eq!(routes.values, ["080a0a000001000a000002"]);
    assert_eq!(read(&"T1".into(), "2m", 4).0[0].values, ["120"]);
    assert!(read(&"T1".into(), "soon", 4).0.is_empty());
}

#[test]
fn what_cannot_be_sent_is_reported_and_left_out() {
    for (name, value, version, word) in [
        (json!("tag:efi,bootfile-name"), "a", 4, "tag:"),
        (json!("tag:ipxe,tag:efi,67"), "a", 4, "tag:"),
        (json!("tag:ipxe"), "a", 4, "tag:"),
        (json!("client-id"), "a", 4, "MAC"),
        (json!(61), "a", 4, "MAC"),
        (json!("no-such"), "a", 4, "no option"),
        (json!("malicious\nname"), "a", 6, "no IPv6 option"),
        (json!("netmask"), "255.0.0.0", 4, "1"),
        (json!("ntp-server"), "x", 4, "\"x\""),
        (json!("bootfile-name"), "", 4, "printable"),
        (json!("bootfile-name"), "ä", 4, "printable"),
        (json!("300"), "a", 4, "254"),
        (json!("99"), "a", 5, "ip_version"),
        (json!(null), "a", 4, "no option"),
        (json!({}), "a", 4, "no option"),
    ] {
        let (options, messages) = read(&name, value, version);
        assert!(options.is_empty(), "{name}: {options:?}");
        assert!(messages.last().is_some_and(|message| message.contains(word)), "{name}: {messages:?}");
    }
}

#[test]
fn nothing_after_a_line_break_counts() {
    let (options, messages) = read(&"bootfile-name\nevil".into(), "a\ntag:x,option:router,6.6.6.6", 4);
    assert_eq!(options[0].values, ["a"]);
    assert_eq!(messages, ["it ends at the first line break, as with Neutron"]);
}

#[test]
fn what_is_for_ipxe_stays_so_and_of_two_the_last_one_counts() {
    let ipxe = |boot_loader| Some(OptionCondition { architectures: None, boot_loader: Some(boot_loader) });
    let mut notes = Notes::new(Subject::default());
    let items = [
        ("tag:ipxe,67", "a"),
        ("bootfile-name", "b"),
        ("tag:ipxe6,bootfile-name", "c"),
        ("tag:!ipxe,66", "d"),
    ];
    let items = items.map(|(name, value)| json!({"opt_name": name, "opt_value": value}));
    let found = options(items.to_vec(), &mut notes);
    let found: Vec<_> = found.into_iter().map(|o| (o.name, o.values.concat(), o.when)).collect();
    let expected = [
        (Some(OptionName::BootfileName), "b".to_owned(), None),
        (Some(OptionName::BootfileName), "c".to_owned(), ipxe(BootLoader::Ipxe)),
        (Some(OptionName::TftpServer), "d".to_owned(), ipxe(BootLoader::Other)),
    ];
    assert_eq!(found, expected);
    assert!(notes.into_entries().is_empty());
}
