//! A Port as an `IPAllocation` has it: how it was when it got the address.
//!
//! Called by `book` and `world`. Pure.

use crate::allocate::Holder;
use crate::api::{AllocationHolder, Port};
use crate::types::Identity;

/// The Port of this name.
pub(super) fn as_written(name: &str, holder: &AllocationHolder) -> Holder {
    let client_id = holder.client_id.as_ref().and_then(|text| Identity::client_id(text).ok());
    Holder::Port {
        name: name.to_owned(),
        mac_address: holder.mac_address.as_deref().and_then(|mac| mac.parse().ok()),
        identifier: client_id.or_else(|| Identity::duid(holder.duid.as_ref()?).ok()),
    }
}

/// Whether DHCP knows a Port by the same as then.
pub(super) fn is_known_as(port: &Port, holder: &AllocationHolder) -> bool {
    let Port { spec, .. } = port;
    (&spec.mac_address, &spec.identity.client_id, &spec.identity.duid)
        == (&holder.mac_address, &holder.client_id, &holder.duid)
}

/// Whether it says by what DHCP knows a Port; an older definition has no room for all of it.
pub(super) fn is_written(port: &Port, holder: &AllocationHolder) -> bool {
    let Port { spec, .. } = port;
    let says = |written: &Option<String>, now| written.is_none() || written == now;
    spec.mac_address == holder.mac_address
        && says(&holder.client_id, &spec.identity.client_id)
        && says(&holder.duid, &spec.identity.duid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{IdentityType, PortSpec};

    #[test]
    fn a_port_of_its_name_that_is_known_by_something_else_is_another() {
        let port = |mac: Option<&str>, client_id: Option<&str>| {
            let mut spec = PortSpec { mac_address: mac.map(str::to_owned), ..PortSpec::default() };
            spec.identity.client_id = client_id.map(str::to_owned);
            spec.identity.r#type = client_id.map_or(IdentityType::MacAddress, |_| IdentityType::ClientId);
            Port::new("vm1", spec)
        };
        let holder = AllocationHolder { client_id: Some("01:02".into()), ..AllocationHolder::default() };
        assert!(is_known_as(&port(None, Some("01:02")), &holder));
        for other in
            [port(None, Some("01:03")), port(None, None), port(Some("02:00:00:00:00:01"), Some("01:02"))]
        {
            assert!(!is_known_as(&other, &holder), "{:?}", other.spec);
        }
        assert!(is_written(&port(None, Some("01:02")), &AllocationHolder::default()));
        assert!(!is_written(&port(None, Some("01:03")), &holder));
        let identifier = Some(Identity::client_id("01:02").unwrap());
        let written = Holder::Port { name: "vm1".into(), mac_address: None, identifier };
        assert_eq!(as_written("vm1", &holder), written);
        assert_eq!(crate::desired::holder(&port(None, Some("01:02"))), written);
    }
}
