//! By what a Port says that its guest is known, and what that keeps others from.
//!
//! Called by `port` and `strangers`. Pure.

use crate::api;
use crate::api::{IdentityType, Port};
use crate::node::Family;
use crate::reason::{Problem, Reason};
use crate::types::{Identity, MacAddr};

/// By what a guest is known in one protocol; `None`: by its MAC address in both.
pub(super) fn identifier(spec: &api::Identity) -> Result<Option<Identity>, Problem> {
    let parsed = match (spec.r#type, &spec.client_id, &spec.duid) {
        (IdentityType::MacAddress, ..) => return Ok(None),
        (IdentityType::ClientId, Some(text), _) => Identity::client_id(text),
        (IdentityType::Duid, _, Some(text)) => Identity::duid(text),
        (IdentityType::ClientId, None, _) => return Err(missing("clientID", "ClientID")),
        (IdentityType::Duid, _, None) => return Err(missing("duid", "DUID")),
    };
    let wrong = |error| Problem::new(Reason::InvalidValue, format!("spec.identity: {error}"));
    parsed.map(Some).map_err(wrong)
}

/// The same of a Port; `None` also where it says nothing that can be.
pub fn identifier_of(port: &Port) -> Option<Identity> {
    identifier(&port.spec.identity).ok().flatten()
}

/// By what a guest is known in one protocol: its identifier there, else its MAC address.
pub(super) fn known_by(
    identifier: Option<&Identity>,
    mac: Option<MacAddr>,
    family: Family,
) -> Option<Identity> {
    let own = identifier.filter(|identifier| identifier.family() == Some(family));
    own.cloned().or(mac.map(Identity::Mac))
}

fn missing(field: &str, kind: &str) -> Problem {
    Problem::new(Reason::InvalidValue, format!("spec.identity.{field}: must be set if type is {kind}"))
}

/// What nobody else may claim, so that dnsmasq never finds two of them.
pub(super) fn claimed(identity: &Identity) -> Identity {
    match identity {
        Identity::ClientId(id) => Identity::ClientId(id.without_zeros()),
        identity => identity.clone(),
    }
}

/// What a guest with a MAC address calls itself by default.
pub(super) fn default_of(mac: MacAddr, family: Family) -> Identity {
    match family {
        Family::V4 => Identity::default_client_id(mac),
        Family::V6 => Identity::default_duid(mac),
    }
}

/// A MAC address and all that goes with it.
pub(super) fn claimed_by_default(mac: MacAddr) -> impl Iterator<Item = Identity> {
    [Identity::Mac(mac)].into_iter().chain(Family::ALL.map(|family| default_of(mac, family)))
}
