//! Which text in an options file delivers exactly which bytes, for every option number.

use std::fmt::Write as _;

use crate::lab::{Answer, Ask, Dnsmasq, Guest, Lab, MessageType, Setup, hex, raw};
use crate::{guest, host, machine};

/// Numbers for which dnsmasq takes dotted addresses only.
const ADDRESSES: [u8; 23] =
    [1, 3, 6, 7, 9, 16, 21, 28, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150];
/// Numbers for which it takes text only.
const TEXTS: [u8; 10] = [12, 15, 17, 18, 40, 64, 66, 67, 100, 101];
/// Texts that it sends with a zero byte at the end.
const TERMINATED: [u8; 2] = [66, 67];
/// Numbers that are dnsmasq's own or never sent as given.
const OWN: [u8; 12] = [50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 81];
/// A list of names, compressed by dnsmasq.
const SEARCH: u8 = 119;

fn is_free(code: u8) -> bool {
    let special = [ADDRESSES.as_slice(), &TEXTS, &OWN, &[SEARCH]].concat();
    !special.contains(&code)
}

/// The value that delivers these bytes under a number that takes any.
fn bytes_form(bytes: &[u8]) -> String {
    match bytes {
        // With a single byte there is no colon to tell hex from decimal.
        [byte] => format!("{byte}b"),
        _ => hex(bytes),
    }
}

/// The value that delivers this text in a file.
fn text_form(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One dnsmasq and a guest with the tag `p1`.
struct Rig<'lab> {
    dnsmasq: Dnsmasq<'lab>,
    guest: Guest<'lab>,
}

impl<'lab> Rig<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let dnsmasq = Dnsmasq::with_hosts(lab, Setup::default(), &host(1, 11));
        Self { dnsmasq, guest: guest(lab, 1) }
    }

    fn set(&self, values: &[(u8, String)]) {
        let text = values.iter().fold(String::new(), |mut text, (code, value)| {
            writeln!(text, "tag:p1,{code},{value}").unwrap();
            text
        });
        self.dnsmasq.apply("options", "p1", &text);
    }

    fn offer(&self, want: &[u8]) -> Answer {
        let ask = Ask::new(MessageType::Discover).want(want);
        self.guest.answer(&ask.option(raw(57, &1500_u16.to_be_bytes())))
    }

    fn delivered(&self, code: u8) -> Option<Vec<u8>> {
        self.offer(&[code]).option(code).map(<[u8]>::to_vec)
    }

    /// Sets all of them in one file, asks for twenty at a time, and compares.
    fn check(&self, wanted: &[(u8, String, Vec<u8>)]) {
        let values: Vec<_> = wanted.iter().map(|(code, value, _)| (*code, value.clone())).collect();
        self.set(&values);
        for some in wanted.chunks(20) {
            let codes: Vec<u8> = some.iter().map(|(code, ..)| *code).collect();
            let offer = self.offer(&codes);
            for (code, value, bytes) in some {
                assert_eq!(offer.option(*code), Some(bytes.as_slice()), "option {code}: {value}");
            }
        }
    }

    fn complaints(&self, text: &str) -> usize {
        self.dnsmasq.logged(text).len()
    }
}

#[test]
fn hex_with_colons_delivers_any_bytes_for_every_free_number() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let long: Vec<u8> = (0..60).collect();
    let samples: [&[u8]; 9] =
        [&[0x12, 0x34], &[0, 0], &[0xff, 0xff], &[10, 1, 2, 3], &[0x99; 5], b"text", b"12b", &[0; 8], &long];
    for bytes in samples {
        let lines = (1..=254).filter(|code| is_free(*code));
        let lines: Vec<_> = lines.map(|code| (code, bytes_form(bytes), bytes.to_vec())).collect();
        rig.check(&lines);
    }
    assert_eq!(rig.complaints("error"), 0, "{}", rig.dnsmasq.log());
}

#[test]
fn a_decimal_with_b_delivers_one_byte_for_every_free_number() {
    let lab = machine();
    let rig = Rig::new(&lab);
    for byte in [0, 1, 5, 0x5b, 127, 128, 255] {
        let lines = (1..=254).filter(|code| is_free(*code));
        let lines: Vec<_> = lines.map(|code| (code, bytes_form(&[byte]), vec![byte])).collect();
        rig.check(&lines);
    }
}

#[test]
fn address_lists_are_delivered_as_such() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let lines = |text: &str, bytes: &[u8]| -> Vec<_> {
        ADDRESSES.iter().map(|code| (*code, text.to_owned(), bytes.to_vec())).collect()
    };
    rig.check(&lines("10.1.2.3", &[10, 1, 2, 3]));
    rig.check(&lines("10.1.2.3,255.255.255.255", &[10, 1, 2, 3, 255, 255, 255, 255]));
    rig.check(&lines("1.2.3.4,0.0.0.1,9.9.9.9", &[1, 2, 3, 4, 0, 0, 0, 1, 9, 9, 9, 9]));
}

#[test]
fn in_address_lists_zero_means_the_server_and_hex_is_refused() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let lines: Vec<_> =
        ADDRESSES.iter().map(|code| (*code, "0.0.0.0".to_owned(), vec![10, 0, 0, 2])).collect();
    rig.check(&lines);
    rig.set(&ADDRESSES.map(|code| (code, "0a:01:02:03".to_owned())));
    assert_eq!(rig.complaints("bad IP address"), ADDRESSES.len());
}

#[test]
fn quoted_text_is_delivered_exactly() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let samples = [
        "plain",
        "a b",
        " ends with spaces  ",
        "com,ma",
        "co:lon",
        "10.0.0.1",
        "123",
        "12b",
        "12s",
        "1i",
        "b",
        "-b",
        "#hash",
        "back\\slash",
        "\\n",
        "\\\\",
        "quo\"te",
        "\"",
        "tag:p2",
        "é",
        "aa:bb:cc",
        "tab\t",
    ];
    for text in samples {
        let bytes = |code: u8| {
            let end: &[u8] = if TERMINATED.contains(&code) { &[0] } else { &[] };
            [text.as_bytes(), end].concat()
        };
        let lines: Vec<_> = TEXTS.iter().map(|code| (*code, text_form(text), bytes(*code))).collect();
        rig.check(&lines);
    }
}

#[test]
fn quoted_text_of_255_bytes_is_delivered_and_empty_text_is_empty() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let long = "é\"".repeat(85);
    rig.check(&[(17, text_form(&long), long.as_bytes().to_vec())]);
    rig.check(&[(17, text_form(""), Vec::new())]);
}

#[test]
fn text_of_dashes_and_s_or_i_loses_its_last_character() {
    let lab = machine();
    let rig = Rig::new(&lab);
    for (text, sent) in [("s", ""), ("i", ""), ("-s", "-"), ("--i", "--")] {
        rig.set(&[(17, text_form(text))]);
        assert_eq!(rig.delivered(17).unwrap(), sent.as_bytes(), "{text}");
    }
}

#[test]
fn unquoted_text_of_digits_loses_a_final_b_s_or_i() {
    let lab = machine();
    let rig = Rig::new(&lab);
    for text in ["12b", "12s", "12i"] {
        rig.set(&[(17, text.to_owned())]);
        assert_eq!(rig.delivered(17).unwrap(), b"12", "{text}");
    }
}

#[test]
fn control_characters_in_quotes_become_others() {
    let lab = machine();
    let rig = Rig::new(&lab);
    for (text, sent) in [("\u{1}", "1"), ("\u{7}", " "), ("\u{1d}", ":"), ("\u{1f}", ".")] {
        rig.set(&[(17, text_form(text))]);
        assert_eq!(rig.delivered(17).unwrap(), sent.as_bytes(), "{text:?}");
    }
    rig.set(&[(17, "\"a\\tb\\nc\\rd\\ee\\bf\"".to_owned())]);
    assert_eq!(rig.delivered(17).unwrap(), b"a\tb\nc\rd\x1be\x08f");
}

#[test]
fn text_is_sent_with_a_final_zero_for_boot_server_and_file() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(66, text_form("boot.test")), (67, text_form("pxe.0"))]);
    assert_eq!(rig.delivered(66).unwrap(), b"boot.test\0");
    assert_eq!(rig.delivered(67).unwrap(), b"pxe.0\0");
    // Not asked for, they are in the fields of the header.
    let offer = rig.offer(&[1]).message();
    assert_eq!(offer.sname_str().unwrap().unwrap().trim_end_matches('\0'), "boot.test");
    assert_eq!(offer.fname_str().unwrap().unwrap().trim_end_matches('\0'), "pxe.0");
}

#[test]
fn a_search_list_takes_names_and_compresses_them() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(SEARCH, "a.test,b.a.test".to_owned())]);
    assert_eq!(rig.delivered(SEARCH).unwrap(), b"\x01a\x04test\0\x01b\xc0\0");
    for (value, sent) in [("10b", &b"\x0210\0"[..]), ("10b.", b"\x0310b\0"), ("s.", b"\x01s\0")] {
        rig.set(&[(SEARCH, value.to_owned())]);
        assert_eq!(rig.delivered(SEARCH).unwrap(), sent, "{value}");
    }
    rig.set(&[(SEARCH, "03:61:62:63:00".to_owned())]);
    assert_ne!(rig.delivered(SEARCH).unwrap(), b"\x03abc\0");
}

#[test]
fn numbers_of_its_own_are_accepted_without_a_word() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let bare = rig.offer(&OWN);
    rig.set(
        &OWN.map(|code| {
            (code, if code == 50 || code == 54 { "9.9.9.9".into() } else { bytes_form(&[9; 4]) })
        }),
    );
    let with = rig.offer(&OWN);
    for never in [52, 57, 81] {
        assert_eq!(with.option(never), None, "{never}");
    }
    for as_given in [50, 55, 56, 61] {
        assert_eq!(with.option(as_given).unwrap(), [9; 4], "{as_given}");
    }
    // Sent twice, beside what dnsmasq says itself: a guest may believe either.
    for (twice, value) in [(51, [0, 0, 0, 9]), (53, [9; 4]), (54, [9; 4])] {
        let both = [bare.option(twice).unwrap(), &value].concat();
        assert_eq!(with.option(twice).unwrap(), both, "{twice}");
    }
    assert_eq!(rig.complaints("error"), 0);
}

#[test]
fn renewal_times_take_seconds_below_the_lease_time() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(58, "1000".into()), (59, "2000".into())]);
    let ack = rig.guest.dora();
    // Less a random number of seconds, at most an eighth of T1.
    let (t1, t2) = (ack.seconds(58).unwrap(), ack.seconds(59).unwrap());
    assert!((875..=1000).contains(&t1), "{t1}");
    assert_eq!(t2 - t1, 1000);
    rig.set(&[(58, "90000".into()), (59, "1".into())]);
    let ack = rig.guest.dora();
    assert!((43_200 - 5_400..=43_200).contains(&ack.seconds(58).unwrap()));
    assert!((75_600 - 5_400..=75_600).contains(&ack.seconds(59).unwrap()));
}

#[test]
fn a_renewal_time_is_never_hex() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(58, "00:00:03:e8".into())]);
    let t1 = rig.guest.dora().seconds(58).unwrap();
    assert!(t1 > 30_000, "{t1}");
}

#[test]
fn a_value_of_255_bytes_is_delivered_if_little_else_is() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let bytes: Vec<u8> = (0..=254).collect();
    rig.set(&[(224, bytes_form(&bytes))]);
    assert_eq!(rig.delivered(224).unwrap(), bytes);
    let small = rig.guest.answer(&Ask::new(MessageType::Discover).want(&[224]));
    assert_eq!(small.option(224), Some(bytes.as_slice()));
}

#[test]
fn what_does_not_fit_is_lost_with_a_line_in_the_log() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(224, bytes_form(&[7; 255])), (225, bytes_form(&[8; 255]))]);
    let small = rig.guest.answer(&Ask::new(MessageType::Discover).want(&[224, 225]));
    let there = [224, 225].map(|code| small.option(code).is_some());
    assert_eq!(there.iter().filter(|there| **there).count(), 1, "{there:?}");
    assert_eq!(rig.complaints("cannot send DHCP/BOOTP option"), 1, "{}", rig.dnsmasq.log());
}

#[test]
fn a_value_of_256_bytes_is_refused() {
    let lab = machine();
    let rig = Rig::new(&lab);
    rig.set(&[(224, bytes_form(&[7; 256]))]);
    assert_eq!(rig.complaints("dhcp-option too long at line 1"), 1);
}

#[test]
fn a_line_beyond_1024_bytes_is_read_as_two() {
    let lab = machine();
    let rig = Rig::new(&lab);
    let comment = format!("#{}", "x".repeat(1023));
    rig.dnsmasq.apply("options", "p1", &format!("{comment}tag:p1,224,7b\n"));
    assert_eq!(rig.delivered(224).unwrap(), [7]);
}

#[test]
fn an_empty_value_is_sent_with_no_bytes_except_where_it_suppresses_a_default() {
    let lab = machine();
    let rig = Rig::new(&lab);
    assert_eq!(rig.delivered(3).unwrap(), [10, 0, 0, 2]);
    assert_eq!(rig.delivered(6).unwrap(), [10, 0, 0, 2]);
    rig.dnsmasq.apply("options", "p1", "tag:p1,3\ntag:p1,6\ntag:p1,12\ntag:p1,1\ntag:p1,28\ntag:p1,224\n");
    let offer = rig.offer(&[1, 3, 6, 12, 28, 224]);
    for code in [1, 3, 6, 12, 28] {
        assert_eq!(offer.option(code), None, "{code}");
    }
    assert_eq!(offer.option(224), Some([].as_slice()));
}
