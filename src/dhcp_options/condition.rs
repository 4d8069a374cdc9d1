//! For which guests an option is.
//!
//! Called by `dhcp_options`. Pure.

use crate::api::{Architecture, BootLoader, OptionCondition};
use crate::service::{Kinds, Machine};

/// The guests that a condition is true of.
pub(super) fn kinds(condition: &OptionCondition) -> Result<Kinds, &'static str> {
    let ipxe = condition.boot_loader.map(|loader| loader == BootLoader::Ipxe);
    let machines: Option<Vec<_>> =
        condition.architectures.as_ref().map(|all| all.iter().map(|one| machine(*one)).collect());
    let kinds = Kinds::new(machines.as_deref(), ipxe);
    if kinds.is_empty() || (machines.is_none() && ipxe.is_none()) {
        return Err("when: it says nothing of the guest");
    }
    Ok(kinds)
}

fn machine(architecture: Architecture) -> Machine {
    match architecture {
        Architecture::X86Bios => Machine::X86Bios,
        Architecture::X86Uefi => Machine::X86Uefi,
        Architecture::X64Uefi => Machine::X64Uefi,
        Architecture::Arm32Uefi => Machine::Arm32Uefi,
        Architecture::Arm64Uefi => Machine::Arm64Uefi,
        Architecture::Riscv64Uefi => Machine::Riscv64Uefi,
        Architecture::X86Http => Machine::X86Http,
        Architecture::X64Http => Machine::X64Http,
        Architecture::Arm32Http => Machine::Arm32Http,
        Architecture::Arm64Http => Machine::Arm64Http,
        Architecture::Riscv64Http => Machine::Riscv64Http,
        Architecture::PowerOpal => Machine::PowerOpal,
    }
}
