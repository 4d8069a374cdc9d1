//! The conditions of an object, of whichever kind.
//!
//! Called by whoever asks what was said of an object before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{DHCPAgent, DHCPServer, Network, PhysicalNetwork, Port, Subnet};

/// An object with conditions.
pub trait Conditioned {
    /// All of them; none while it has no status.
    fn conditions(&self) -> &[Condition];

    /// The one of this type.
    fn condition(&self, type_: &str) -> Option<&Condition> {
        find(self.conditions(), type_)
    }

    /// Whether the one of this type is true.
    fn is(&self, type_: &str) -> bool {
        is_true(self.conditions(), type_)
    }
}

macro_rules! conditioned {
    ($($kind:ty),*) => {$(
        impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        }
    )*};
}

conditioned!(DHCPAgent, DHCPServer, Network, PhysicalNetwork, Port, Subnet);

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}
