//! Kinds of guests, by what a request says of the machine and of the program that sent it.
//!
//! An option may be for some of them only. Sets, so that of two lists of options it can be said for which
//! guests one wins. Pure, and of no particular server.

use std::fmt;

/// What a machine's firmware is (RFC 4578 §2.1, RFC 5970 §3.3, and IANA's list of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// x86 with a BIOS.
    X86Bios,
    /// x86 of 32 bits with UEFI.
    X86Uefi,
    /// x86 of 64 bits with UEFI.
    X64Uefi,
    /// Arm of 32 bits with UEFI.
    Arm32Uefi,
    /// Arm of 64 bits with UEFI.
    Arm64Uefi,
    /// RISC-V of 64 bits with UEFI.
    Riscv64Uefi,
    /// As [`Self::X86Uefi`], by HTTP.
    X86Http,
    /// As [`Self::X64Uefi`], by HTTP.
    X64Http,
    /// As [`Self::Arm32Uefi`], by HTTP.
    Arm32Http,
    /// As [`Self::Arm64Uefi`], by HTTP.
    Arm64Http,
    /// As [`Self::Riscv64Uefi`], by HTTP.
    Riscv64Http,
    /// POWER with OPAL.
    PowerOpal,
    /// None of these, or not said.
    Other,
}

impl Machine {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::X86Bios,
        Self::X86Uefi,
        Self::X64Uefi,
        Self::Arm32Uefi,
        Self::Arm64Uefi,
        Self::Riscv64Uefi,
        Self::X86Http,
        Self::X64Http,
        Self::Arm32Http,
        Self::Arm64Http,
        Self::Riscv64Http,
        Self::PowerOpal,
        Self::Other,
    ];

    /// The numbers that stand for it on the wire.
    pub fn numbers(self) -> &'static [u16] {
        match self {
            Self::X86Bios => &[0],
            Self::X86Uefi => &[6],
            // By the list 9 is EFI byte code; it is what old firmware of 64 bits says.
            Self::X64Uefi => &[7, 9],
            Self::Arm32Uefi => &[10],
            Self::Arm64Uefi => &[11],
            Self::Riscv64Uefi => &[27],
            Self::X86Http => &[15],
            Self::X64Http => &[16],
            Self::Arm32Http => &[18],
            Self::Arm64Http => &[19],
            Self::Riscv64Http => &[28],
            Self::PowerOpal => &[14],
            Self::Other => &[],
        }
    }

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86Bios => "X86BIOS",
            Self::X86Uefi => "X86UEFI",
            Self::X64Uefi => "X64UEFI",
            Self::Arm32Uefi => "ARM32UEFI",
            Self::Arm64Uefi => "ARM64UEFI",
            Self::Riscv64Uefi => "RISCV64UEFI",
            Self::X86Http => "X86HTTP",
            Self::X64Http => "X64HTTP",
            Self::Arm32Http => "ARM32HTTP",
            Self::Arm64Http => "ARM64HTTP",
            Self::Riscv64Http => "RISCV64HTTP",
            Self::PowerOpal => "POWEROPAL",
            Self::Other => "other architectures",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// Guests that have something in common: the machine, whether iPXE asks, or both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// `None`: any.
    pub machine: Option<Machine>,
    /// Whether iPXE asks; `None`: whoever asks.
    pub ipxe: Option<bool>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine.map_or("", Machine::as_str);
        let gap = if self.machine.is_some() && self.ipxe.is_some() { " " } else { "" };
        let ipxe = self.ipxe.map_or("", |ipxe| if ipxe { "iPXE" } else { "not iPXE" });
        write!(f, "{machine}{gap}{ipxe}")
    }
}

/// A set of guests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kinds {
    /// Machines, of requests of iPXE.
    ipxe: u16,
    /// Machines, of all other requests.
    other: u16,
}

const EVERY: u16 = (1 << Machine::ALL.len()) - 1;

impl Kinds {
    /// Those of one of the machines, or of any, of which iPXE asks, or others, or both.
    pub fn new(machines: Option<&[Machine]>, ipxe: Option<bool>) -> Self {
        let bits = machines.map_or(EVERY, |some| some.iter().fold(0, |bits, machine| bits | machine.bit()));
        let half = |of| if ipxe.is_none_or(|ipxe| ipxe == of) { bits } else { 0 };
        Self { ipxe: half(true), other: half(false) }
    }

    /// Those that are not among `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self { ipxe: self.ipxe & !others.ipxe, other: self.other & !others.other }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The same as a few kinds, none of which has a guest of another.
    pub fn parts(self) -> Vec<Kind> {
        let mut left = self;
        let mut parts = Vec::new();
        for (half, ipxe) in [(&mut left.ipxe, true), (&mut left.other, false)] {
            if *half == EVERY {
                *half = 0;
                parts.push(Kind { machine: None, ipxe: Some(ipxe) });
            }
        }
        for machine in Machine::ALL {
            let ipxe = match (left.ipxe & machine.bit() != 0, left.other & machine.bit() != 0) {
                (false, false) => continue,
                (true, true) => None,
                (ipxe, _) => Some(ipxe),
            };
            parts.push(Kind { machine: Some(machine), ipxe });
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_in(kind: Kind, machine: Machine, ipxe: bool) -> bool {
        kind.machine.is_none_or(|m| m == machine) && kind.ipxe.is_none_or(|i| i == ipxe)
    }

    #[test]
    fn a_set_of_one_condition_is_few_kinds() {
        let arm = [Machine::Arm64Uefi, Machine::Arm64Http];
        assert_eq!(Kinds::new(None, Some(true)).parts(), [Kind { machine: None, ipxe: Some(true) }]);
        let parts = arm.map(|machine| Kind { machine: Some(machine), ipxe: None });
        assert_eq!(Kinds::new(Some(&arm), None).parts(), parts);
        let parts = arm.map(|machine| Kind { machine: Some(machine), ipxe: Some(false) });
        assert_eq!(Kinds::new(Some(&arm), Some(false)).parts(), parts);
    }

    proptest! {
        #[test]
        fn each_guest_of_a_set_is_of_one_kind(ipxe in 0..=EVERY, other in 0..=EVERY, less in 0..=EVERY) {
            let kinds = Kinds { ipxe, other }.without(Kinds { ipxe: less, other: 0 });
            let parts = kinds.parts();
            for (i, machine) in Machine::ALL.into_iter().enumerate() {
                prop_assert_eq!(machine.bit(), 1 << i);
                for (of_ipxe, bits) in [(true, ipxe & !less), (false, other)] {
                    let found = parts.iter().filter(|kind| is_in(**kind, machine, of_ipxe)).count();
                    prop_assert_eq!(found, usize::from(bits & machine.bit() != 0));
                }
            }
            prop_assert_eq!(kinds.is_empty(), parts.is_empty());
        }
    }
}
