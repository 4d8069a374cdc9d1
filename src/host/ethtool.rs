//! Has the kernel compute checksums where a device is read by a program, which gets them unfinished.
//!
//! Called by `device`, on a thread in the namespace in question.

use std::io;

use super::netlink::{ACK, Exchange, message};
use super::nft::attribute::{self, Attribute, text};

/// `NETLINK_GENERIC`, `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const GENERIC: isize = 16;
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Of `linux/ethtool_netlink.h`.
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const HEADER_NAME: u16 = 2;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

/// Of `struct genlmsghdr`: command, version, reserved.
const GENERIC_HEADER: usize = 4;

/// The kernel's name of it for a veth.
const CHECKSUMS: &str = "tx-checksum-ip-generic";

/// Turns the transmit checksum offload of a device off.
pub(super) fn checksums_in_software(device: &str) -> io::Result<()> {
    let kernel = Exchange::open(GENERIC)?;
    let answers = kernel.ask(&request(CONTROL, GET_FAMILY, &[text(FAMILY_NAME, "ethtool")]))?;
    let id = answers.iter().find_map(|answer| {
        let value = attribute::find(answer.get(GENERIC_HEADER..)?, FAMILY_ID)?;
        Some(u16::from_ne_bytes(*value.first_chunk::<2>()?))
    });
    let ethtool = id.ok_or(io::ErrorKind::Unsupported)?;
    kernel.ask(&request(
        ethtool,
        FEATURES_SET,
        &[
            Attribute::Nest(FEATURES_HEADER, vec![text(HEADER_NAME, device)]),
            // A bit that is named without a value is off.
            Attribute::Nest(
                FEATURES_WANTED,
                vec![Attribute::Nest(
                    BITSET_BITS,
                    vec![Attribute::Nest(BITS_BIT, vec![text(BIT_NAME, CHECKSUMS)])],
                )],
            ),
        ],
    ))?;
    Ok(())
}

fn request(family: u16, command: u8, attributes: &[Attribute]) -> Vec<u8> {
    let mut body = vec![command, 1, 0, 0];
    for attribute in attributes {
        attribute.write(&mut body);
    }
    message(family, ACK, &body)
}
