//! Kinds of guests as dnsmasq's tags: which requests get which, and what of a line is for whom.
//!
//! Called by `argv`, `render` and `journal`. The matches are the same for every network, so that no option
//! ever needs another command line.

use crate::service::{Kind, Machine};

/// iPXE says who it is in an option of its own, or in its user class.
pub(super) const IPXE: [&str; 2] = ["--dhcp-match=set:ipxe,175", "--dhcp-userclass=set:ipxe,iPXE"];

/// The matches of architectures in DHCPv4 (RFC 4578 §2.1), and of what is none of them in either protocol.
pub(super) fn matches4() -> impl Iterator<Item = String> {
    let one = |(tag, number)| format!("--dhcp-match=set:{tag},option:client-arch,{number}");
    let known = Machine::ALL.into_iter().filter(|machine| !machine.numbers().is_empty());
    let none: Vec<_> = known.map(|machine| format!(",tag:!{}", tag(machine))).collect();
    numbers().map(one).chain([format!("--tag-if=set:{}{}", tag(Machine::Other), none.concat())])
}

/// In DHCPv6 (RFC 5970 §3.3).
pub(super) fn matches6() -> impl Iterator<Item = String> {
    numbers().map(|(tag, number)| {
        let [high, low] = number.to_be_bytes();
        format!("--dhcp-match=set:{tag},option6:61,{high:02x}:{low:02x}")
    })
}

fn numbers() -> impl Iterator<Item = (&'static str, u16)> {
    Machine::ALL.into_iter().flat_map(|m| m.numbers().iter().map(move |number| (tag(m), *number)))
}

/// No key of a subnet or port looks so.
fn tag(machine: Machine) -> &'static str {
    match machine {
        Machine::X86Bios => "x86-bios",
        Machine::X86Uefi => "x86-uefi",
        Machine::X64Uefi => "x64-uefi",
        Machine::Arm32Uefi => "arm32-uefi",
        Machine::Arm64Uefi => "arm64-uefi",
        Machine::Riscv64Uefi => "riscv64-uefi",
        Machine::X86Http => "x86-http",
        Machine::X64Http => "x64-http",
        Machine::Arm32Http => "arm32-http",
        Machine::Arm64Http => "arm64-http",
        Machine::Riscv64Http => "riscv64-http",
        Machine::PowerOpal => "power-opal",
        Machine::Other => "no-arch",
    }
}

/// What stands in a line after the tag of the port or subnet.
pub(super) fn filter(kind: Kind) -> String {
    let machine = kind.machine.map(|machine| format!(",tag:{}", tag(machine))).unwrap_or_default();
    let ipxe = match kind.ipxe {
        None => "",
        Some(true) => ",tag:ipxe",
        Some(false) => ",tag:!ipxe",
    };
    machine + ipxe
}

/// The kind of such words; `None` if they are not as [`filter`] writes them.
pub(super) fn read_filter(tags: &[&str]) -> Option<Kind> {
    let machines = Machine::ALL.into_iter().map(Some).chain([None]);
    let mut all =
        machines.flat_map(|machine| [None, Some(true), Some(false)].map(|ipxe| Kind { machine, ipxe }));
    let text = tags.iter().map(|tag| format!(",tag:{tag}")).collect::<Vec<_>>().concat();
    all.find(|kind| filter(*kind) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_two_bytes_and_the_rest_is_none_of_them() {
        let (four, six): (Vec<_>, Vec<_>) = (matches4().collect(), matches6().collect());
        assert_eq!(four.len(), 14);
        assert_eq!(four[3], "--dhcp-match=set:x64-uefi,option:client-arch,9");
        assert!(four[13].starts_with("--tag-if=set:no-arch,tag:!x86-bios,tag:!x86-uefi,tag:!x64-uefi,"));
        assert_eq!(six[5], "--dhcp-match=set:arm64-uefi,option6:61,00:0b");
    }

    #[test]
    fn each_kind_has_its_words() {
        for machine in Machine::ALL {
            for ipxe in [None, Some(true), Some(false)] {
                let kind = Kind { machine: Some(machine), ipxe };
                let text = filter(kind);
                let tags: Vec<_> = text.split(",tag:").skip(1).collect();
                assert_eq!(read_filter(&tags), Some(kind), "{text}");
            }
        }
        assert_eq!(read_filter(&[]), Some(Kind::default()));
        assert_eq!(read_filter(&["ipxe", "x64-uefi"]), None);
    }
}
