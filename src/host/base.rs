//! The links of others that networks stand on, and which networks are to hear when one of them comes,
//! goes, goes up or down, lets less through or filters VLANs otherwise.
//!
//! Used by `monitor`. No I/O.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::NetworkUid;

/// What matters of a link; `None`: there is none of the name.
pub(super) type State = Option<Base>;

/// A link that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    /// Which it is.
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// See [`Link`](super::link::Link).
    pub(super) default_vlan: Option<u16>,
}

/// By the link's name: who stands on it, and how each saw it last.
#[derive(Default)]
pub(super) struct Bases(Mutex<HashMap<String, HashMap<NetworkUid, State>>>);

impl Bases {
    /// A network is to hear, once, when the link is otherwise than this.
    pub(super) fn stand(&self, name: &str, uid: NetworkUid, seen: State) {
        let mut bases = self.lock();
        remove(&mut bases, uid);
        bases.entry(name.to_owned()).or_default().insert(uid, seen);
    }

    /// It need not hear of any.
    pub(super) fn leave(&self, uid: NetworkUid) {
        remove(&mut self.lock(), uid);
    }

    /// Whether anybody would hear of it if it is so.
    pub(super) fn is_news(&self, name: &str, now: State) -> bool {
        self.lock().get(name).is_some_and(|standing| standing.values().any(|seen| *seen != now))
    }

    /// Who is to hear of it, now that it is so.
    pub(super) fn differs(&self, name: &str, now: State) -> Vec<NetworkUid> {
        let mut bases = self.lock();
        let Some(standing) = bases.get_mut(name) else { return Vec::new() };
        let told: Vec<_> = standing.iter().filter(|(_, seen)| **seen != now).map(|(uid, _)| *uid).collect();
        standing.retain(|_, seen| *seen == now);
        told
    }

    /// All, if what was said is lost.
    pub(super) fn all(&self) -> Vec<NetworkUid> {
        self.lock().values().flat_map(HashMap::keys).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<NetworkUid, State>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(bases: &mut HashMap<String, HashMap<NetworkUid, State>>, uid: NetworkUid) {
    bases.retain(|_, standing| {
        standing.remove(&uid);
        !standing.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_hears_once_of_what_it_has_not_seen() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let bases = Bases::default();
        let base = |index, mtu| Some(Base { index, mtu, up: true, default_vlan: None });
        bases.stand("eth1", uid, base(2, 1500));
        assert_eq!(bases.differs("eth1", base(2, 1500)), []);
        assert_eq!(bases.differs("eth2", None), []);
        assert!(bases.is_news("eth1", base(2, 1400)) && !bases.is_news("eth1", base(2, 1500)));
        assert_eq!(bases.differs("eth1", base(2, 1400)), [uid]);
        assert_eq!(bases.differs("eth1", None), []);
        bases.stand("eth1", uid, None);
        bases.stand("eth2", uid, None);
        assert_eq!(bases.differs("eth1", base(3, 1500)), []);
        assert_eq!(bases.all(), [uid]);
        bases.leave(uid);
        assert_eq!(bases.differs("eth2", base(3, 1500)), []);
    }
}
