//! What was deleted lately, by UID: a late answer to one of our own writes brings none of it back.
//!
//! Part of the controller's world. Pure.

use std::collections::HashSet;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gone {
    lately: HashSet<String>,
    before: HashSet<String>,
}

impl Gone {
    pub(super) fn insert(&mut self, uid: &str) {
        self.lately.insert(uid.to_owned());
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.lately.contains(uid) || self.before.contains(uid)
    }

    /// It is there after all.
    pub(super) fn remove(&mut self, uid: &str) {
        self.lately.remove(uid);
        self.before.remove(uid);
    }

    /// Forgets what was deleted before the last time that this was called: no answer takes so long.
    pub(super) fn age(&mut self) {
        self.before = std::mem::take(&mut self.lately);
    }
}
