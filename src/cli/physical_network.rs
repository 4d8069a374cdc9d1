//! The flag `--physical-network`.

use std::str::FromStr;

use crate::desired::Attachment;

/// `NAME=bridge:BRIDGE` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalNetworkArg {
    pub(super) name: String,
    pub(super) attachment: Attachment,
}

impl FromStr for PhysicalNetworkArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, attachment) = text
            .split_once('=')
            .ok_or("expected NAME=bridge:BRIDGE, NAME=macvlan:INTERFACE or NAME=ovs:BRIDGE")?;
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(ok) {
            return Err(format!("{name:?} cannot be a PhysicalNetwork's name: 1 to 63 of a-z, 0-9, '-'"));
        }
        Ok(Self { name: name.to_owned(), attachment: attachment.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_physical_network_is_a_name_and_an_interface() {
        let parse = |text: &str| text.parse::<PhysicalNetworkArg>();
        assert!(parse("lan=bridge:br0").is_ok());
        assert!(parse("lan=bridge:br-{vlan}").is_ok());
        assert!(parse("lan=macvlan:eth1").is_ok());
        assert!(parse("lan=macvlan:eth1.{vlan}").is_ok());
        assert!(parse("lan=ovs:br-int").is_ok());
        for text in [
            "lan",
            "lan=br0",
            "lan=bridge:",
            "lan=macvlan:",
            "lan=ipvlan:eth1",
            "lan=ovs:br-{vlan}",
            "lan=bridge:a/b",
            "lan=bridge:..",
            "LAN=bridge:br0",
            "lan=bridge:sixteen-letters-x",
            "lan=bridge:twelve-chars{vlan}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
