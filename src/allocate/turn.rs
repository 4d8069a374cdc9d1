//! In which order wishes get what their holder has already.

use super::Wish;

/// Whose turn it is to get one of the addresses that its holder has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    Exact,
    Same,
    Subnet,
    Any,
}

impl Turn {
    pub(super) fn has(self, wish: &Wish) -> bool {
        match self {
            Self::Exact => matches!(wish, Wish::Exactly(_) | Wish::Formed(..)),
            Self::Same => true,
            Self::Subnet => matches!(wish, Wish::In(_)),
            Self::Any => matches!(wish, Wish::Any(_)),
        }
    }
}
