//! Boot files: who asks decides which one it is told.

use crate::lab::{Ask, Ask6, Guest, Guest6, Kind6, MessageType, PATIENCE, eventually, raw};
use crate::manifests::{lan_v4, network};
use crate::site::Site;

use super::{Both, dual, lan_v6};

/// The network boots everybody, the subnets machines with UEFI, port 2 has a word of its own.
fn boots(subnet4: &str) -> String {
    let lan = "options:
- {name: bootfile-name, values: [pxelinux.0]}
- {name: bootfile-name, values: [arm.efi], when: {architectures: [ARM64UEFI], bootLoader: Other}}
- {name: bootfile-name, values: ['http://boot.test/ipxe'], when: {bootLoader: IPXE}}
- {name: bootfile-url, values: ['tftp://boot.test/any']}";
    let six = "options:
- {name: bootfile-url, values: ['tftp://boot.test/x64'], when: {architectures: [X64UEFI, X64HTTP], bootLoader: Other}}
- {name: bootfile-url, values: ['http://boot.test/ipxe'], when: {bootLoader: IPXE}}";
    let port = "options:\n- {name: bootfile-name, values: [own.0]}\n- {name: bootfile-url, values: [own], when: {architectures: [X64UEFI]}}";
    network("lan", lan) + &lan_v4(subnet4) + &lan_v6(six) + &dual(1, 0x20, "") + &dual(2, 0x21, port)
}

const X64: &str = "options:
- {name: bootfile-name, values: [snp.efi], when: {architectures: [X64UEFI], bootLoader: Other}}";

/// The boot file, for what a request says besides.
fn file(guest: &Guest<'_>, said: &[(u8, &[u8])]) -> String {
    answered(guest, said).expect("no OFFER")
}

/// `None`: no answer.
fn answered(guest: &Guest<'_>, said: &[(u8, &[u8])]) -> Option<String> {
    let said: Vec<_> = said.iter().map(|(code, bytes)| raw(*code, bytes)).collect();
    let offer = guest.ask(&Ask::new(MessageType::Discover).want(&[66, 67]).options(&said))?;
    let text = offer.text(67).unwrap_or_default();
    Some(text.trim_end_matches('\0').to_owned())
}

fn url(guest: &Guest6<'_>, ask: Ask6) -> String {
    let answer = guest.answer(&ask.want(&[59]));
    answer.option(59).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

const UEFI: (u8, &[u8]) = (93, &[0, 7]);
const ARM: (u8, &[u8]) = (93, &[0, 11]);
const IPXE: (u8, &[u8]) = (77, b"iPXE");

#[test]
fn a_guest_is_told_the_boot_file_for_what_it_is() {
    let site = Site::new();
    site.write("a.yaml", &boots(X64));
    let _agent = site.start();
    let (one, two) = (Both::new(&site, 1), Both::new(&site, 2));
    one.until_leased(&site, 0x20);
    assert_eq!(file(&one.four, &[]), "pxelinux.0");
    assert_eq!(file(&one.four, &[(93, &[0, 0])]), "pxelinux.0");
    assert_eq!(file(&one.four, &[UEFI]), "snp.efi");
    assert_eq!(file(&one.four, &[ARM]), "arm.efi");
    for ipxe in [IPXE, (175, &[1, 1, 1])] {
        assert_eq!(file(&one.four, &[UEFI, ipxe]), "http://boot.test/ipxe");
        assert_eq!(file(&one.four, &[ipxe]), "http://boot.test/ipxe");
    }
    assert_eq!(file(&two.four, &[UEFI]), "own.0", "a port's own goes before what its subnet has for some");
    let solicit = || Ask6::new(Kind6::Solicit);
    assert_eq!(url(&one.six, solicit()), "tftp://boot.test/any");
    assert_eq!(url(&one.six, solicit().option(61, &[0, 7])), "tftp://boot.test/x64");
    assert_eq!(url(&one.six, solicit().option(61, &[0, 16])), "tftp://boot.test/x64");
    assert_eq!(url(&one.six, solicit().option(61, &[0, 7]).user_class("iPXE")), "http://boot.test/ipxe");
    assert_eq!(url(&two.six, solicit().option(61, &[0, 7]).user_class("iPXE")), "own");
    assert_eq!(url(&two.six, solicit().option(61, &[0, 6])), "tftp://boot.test/any");
}

#[test]
fn a_changed_boot_file_takes_no_new_process_and_a_removed_condition_ends() {
    let site = Site::new();
    site.write("a.yaml", &boots(X64));
    let _agent = site.start();
    let guest = Both::new(&site, 1);
    guest.until_leased(&site, 0x20);
    let before = site.dnsmasq_pids();
    let now = |file4: &str, x64: &str| {
        let is = || Some((answered(&guest.four, &[])?, answered(&guest.four, &[UEFI])?));
        eventually("the boot files", PATIENCE, || {
            (is() == Some((file4.to_owned(), x64.to_owned()))).then_some(())
        });
    };
    site.write("a.yaml", &boots(X64).replace("pxelinux.0", "other.0"));
    now("other.0", "snp.efi");
    site.write("a.yaml", &boots(&X64.replace("snp.efi", "new.efi")).replace("pxelinux.0", "other.0"));
    now("other.0", "new.efi");
    assert_eq!(site.dnsmasq_pids(), before);
    site.write("a.yaml", &boots("").replace("pxelinux.0", "other.0"));
    now("other.0", "other.0");
}

#[test]
fn two_values_for_one_guest_are_refused_by_name() {
    let site = Site::new();
    let both = X64.to_owned() + "\n- {name: bootfile-name, values: [x], when: {bootLoader: Other}}";
    site.write("a.yaml", &boots(&both));
    let _agent = site.start();
    let problems = site.status().problems();
    let [(_, message)] = &problems[..] else { panic!("{problems:?}") };
    assert!(message.starts_with("spec.options[1]: when: some guests are those of"), "{message}");
}
