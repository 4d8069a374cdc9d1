//! TXT records: on the command line only, and what is left of a text there.

use crate::lab::{DnsReply, PATIENCE, eventually, rtype, txt};
use crate::machine;
use crate::names::Rig;

/// The answers to a TXT question, with these records on the command line.
fn answers(records: &[&str], name: &str) -> Vec<String> {
    let lab = machine();
    let arguments: Vec<_> = records.iter().map(|record| format!("--txt-record={record}")).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Rig::new(&lab, &arguments).here(name, rtype::TXT).expect("forwarded").answers
}

#[test]
fn a_record_stands_beside_an_address_and_its_name_is_known() {
    let lab = machine();
    let records = ["vm1.in.test,one,two", "only.in.test,hello", "bare,b", "other.test,o"];
    let records = records.map(|record| format!("--txt-record={record}"));
    let local = ["--local=/in.test/", "--local=//", "--domain-needed"];
    let arguments: Vec<_> = local.into_iter().chain(records.iter().map(String::as_str)).collect();
    let rig = Rig::new(&lab, &arguments);
    rig.dnsmasq.apply("names", "all", "10.0.0.11 vm1.in.test\n");
    let found = |texts: &[&str]| Some(DnsReply::found(&[&txt(texts)]));
    assert_eq!(rig.here("vm1.in.test", rtype::A), Some(DnsReply::found(&["10.0.0.11"])));
    assert_eq!(rig.here("VM1.in.Test", rtype::TXT), found(&["one", "two"]));
    assert_eq!(rig.here("only.in.test", rtype::TXT), found(&["hello"]));
    assert_eq!(rig.here("bare", rtype::TXT), found(&["b"]));
    for other in [rtype::A, rtype::AAAA, rtype::MX] {
        assert_eq!(rig.here("only.in.test", other), Some(DnsReply::found(&[])), "{other}");
        assert_eq!(rig.here("bare", other), Some(DnsReply::found(&[])), "{other}");
    }
    assert_eq!(rig.here("no.in.test", rtype::TXT), Some(DnsReply::nxdomain()));
    // Of a name that is nobody's here only what stands there is known.
    assert_eq!(rig.here("other.test", rtype::TXT), found(&["o"]));
    assert_eq!(rig.here("other.test", rtype::A), None);
    assert_eq!(rig.here("below.other.test", rtype::TXT), None);
}

#[test]
fn without_an_upstream_the_other_types_of_its_name_are_known_not_to_be_there() {
    let lab = machine();
    let setup = crate::lab::Setup::default().more(&["--local=/in.test/", "--domain-needed"]);
    let setup = setup.more(&["--txt-record=only.in.test,a", "--txt-record=other.test,a"]);
    let dnsmasq = crate::lab::Dnsmasq::with_hosts(&lab, setup, "");
    let dns = dnsmasq.local_dns();
    assert_eq!(dns.ask("only.in.test", rtype::TXT), DnsReply::found(&[&txt(&["a"])]));
    assert_eq!(dns.ask("only.in.test", rtype::A), DnsReply::found(&[]));
    assert_eq!(dns.ask("other.test", rtype::TXT), DnsReply::found(&[&txt(&["a"])]));
    assert_eq!(dns.ask("other.test", rtype::A), DnsReply::refused());
}

#[test]
fn a_name_may_have_several_records_and_underscores() {
    let records = ["_a._b.in.test,x", "_a._b.in.test,y,z", "a_-b.in.test,x"];
    assert_eq!(answers(&records, "_a._b.in.test"), [txt(&["x"]), txt(&["y", "z"])]);
    let longest = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), "d".repeat(61).as_str()].join(".");
    assert_eq!(longest.len(), 253);
    assert_eq!(answers(&[&format!("{longest},x")], &longest), [txt(&["x"])]);
}

#[test]
fn a_text_is_taken_as_it_is_but_for_commas_and_the_blanks_before_the_first() {
    let all: String = (b' '..=b'~').map(char::from).filter(|c| *c != ',').collect();
    assert_eq!(answers(&[&format!("a.test,x,{all} ")], "a.test"), [txt(&["x", &format!("{all} ")])]);
    assert_eq!(answers(&[&format!("a.test,{}", &all[1..])], "a.test"), [txt(&[&all[1..]])]);
    assert_eq!(answers(&["a.test,\"a,b\",\\,"], "a.test"), [txt(&["\"a", "b\"", "\\", ""])]);
    assert_eq!(answers(&["a.test,  a , b"], "a.test"), [txt(&["a ", " b"])]);
    assert_eq!(answers(&["a.test"], "a.test"), [txt(&[""])]);
}

#[test]
fn a_text_is_cut_after_255_octets() {
    let full = "a".repeat(255);
    assert_eq!(answers(&[&format!("a.test,{full},b")], "a.test"), [txt(&[&full, "b"])]);
    assert_eq!(answers(&[&format!("a.test,{full}b")], "a.test"), [txt(&[&full, "b"])]);
}

/// In its configuration files quotes keep a comma from being one; it has octets of its own for that.
#[test]
fn two_octets_stand_for_a_comma_and_a_blank() {
    assert_eq!(answers(&["a.test,\u{7} a\u{1e}b,\u{1e},c"], "a.test"), [txt(&["  a,b", ",", "c"])]);
    assert_eq!(answers(&["a.test,\u{1e}\u{1e}"], "a.test"), [txt(&[",,"])]);
}

#[test]
fn what_is_too_long_for_a_datagram_is_told_over_tcp() {
    let lab = machine();
    let text = "a".repeat(255);
    let record = |n: u8| format!("--txt-record=a.test,{n},{}", [text.as_str(); 7].join(","));
    let records: Vec<_> = (0..16).map(record).collect();
    let rig = Rig::new(&lab, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let told = eventually("an answer", PATIENCE, || {
        let dig = rig.guest.dig([10, 0, 0, 2].into(), "a.test", "TXT");
        (dig.status != "TIMEOUT").then_some(dig)
    });
    assert_eq!((told.status.as_str(), told.answers.len()), ("NOERROR", 16));
    assert!(told.answers.iter().all(|answer| answer.len() > 7 * 255), "{:?}", told.answers[0].len());
}
