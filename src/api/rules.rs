//! The CEL rules that more than one kind uses, each with its message.
//!
//! Called from the `#[x_kube(validation = …)]` attributes of this folder only. A rule must be one
//! that both a Kubernetes API server and the in-process evaluator understand, and must not fail
//! with a run-time error on a malformed value: that value's own rule says what is wrong with it.

use kube::core::Rule;

/// What a change of a field says that keeps its first value.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// The field keeps the value that it was created with.
pub(crate) fn immutable() -> Rule {
    Rule::new("self == oldSelf").message(IMMUTABLE)
}

/// A union member is there exactly when the discriminator names it.
pub(crate) fn union(discriminator: &str, variant: &str, member: &str) -> Rule {
    Rule::new(format!("(self.{discriminator} == '{variant}') == has(self.{member})"))
        .message(format!("{member} must be set if and only if {discriminator} is {variant}").as_str())
}

/// One IP address in its one canonical spelling, so that equal addresses are equal strings.
pub(crate) fn ip() -> Rule {
    Rule::new("isIP(self) && ip.isCanonical(self)")
        .message("must be an IP address in canonical form, such as 10.0.0.1 or 2001:db8::1")
}

/// As [`ip`], for each item of a list of strings.
pub(crate) fn ips() -> Rule {
    Rule::new("self.all(x, isIP(x) && ip.isCanonical(x))")
        .message("each item must be an IP address in canonical form, such as 10.0.0.1 or 2001:db8::1")
}

/// One CIDR, with no host bits set and in canonical spelling.
pub(crate) fn cidr() -> Rule {
    Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked() && string(cidr(self)) == self")
        .message("must be a CIDR in canonical form without host bits, such as 10.0.0.0/24 or 2001:db8::/64")
}

/// The name of an object becomes a label value and part of other names.
pub(crate) fn short_name() -> Rule {
    Rule::new("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')")
        .message("metadata.name must have at most 63 characters and no dot")
}

/// A range of numbers that is not empty.
pub(crate) fn ordered_range() -> Rule {
    Rule::new("self.first <= self.last").message("first must not be greater than last")
}

/// A record's name without a dot at its end is completed: there is something to complete it with.
pub(crate) fn domain_follows() -> Rule {
    Rule::new("!has(self.txtRecords) || has(self.domain) || self.txtRecords.all(r, r.name.endsWith('.'))")
        .message("without domain each name of txtRecords must end with a dot")
}

/// Whoever writes a whole name and forgets the dot is told, instead of having the domain in it twice.
pub(crate) fn domain_once() -> Rule {
    Rule::new("!has(self.txtRecords) || !has(self.domain) || !self.txtRecords.exists(r, ('.' + r.name).endsWith('.' + self.domain))")
        .message("a name of txtRecords that has the domain already must end with a dot")
}

/// The longest name that DNS has.
pub(crate) fn domain_has_room() -> Rule {
    Rule::new("!has(self.txtRecords) || !has(self.domain) || self.txtRecords.all(r, r.name.endsWith('.') || r.name.size() + self.domain.size() < 253)")
        .message("a name of txtRecords must have at most 253 characters with the domain")
}

/// An option without a family, where the object has both, would mean two different things.
pub(crate) fn code_needs_family() -> Rule {
    Rule::new("self.all(o, !has(o.code) || (has(o.family) && (o.family == 'IPv6' || o.code <= 254)))")
        .message("an option given by code needs its family here, and an IPv4 code is at most 254")
}
