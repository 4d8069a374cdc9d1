//! A reason with its words.
//!
//! Made by whoever judges objects. Pure.

use std::borrow::Cow;

use super::Reason;
use crate::plain::plain;

/// What is wrong, in words for the object's owner; names the field or the other object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// For machines.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Problem {
    /// `reason` in the words of `message`, in which a tenant's text may be.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = match plain(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(plain) => plain,
        };
        Self { reason, message }
    }
}
