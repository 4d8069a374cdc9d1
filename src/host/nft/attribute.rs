//! Attributes of netlink messages: `struct nlattr`, in a tree.
//!
//! nftables has its numbers in network byte order. What the kernel tells of a thing has the attributes
//! that it was made with, in an order of its own among others.

/// Of the length and type before each value.
const HEADER: usize = 4;
/// `NLA_F_NESTED`; with `NLA_F_NET_BYTEORDER` it is no part of a type.
const NESTED: u16 = 1 << 15;
const TYPE: u16 = !(NESTED | 1 << 14);

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) enum Attribute {
    /// Type and value.
    Plain(u16, Vec<u8>),
    /// Type and what is in it.
    Nest(u16, Vec<Attribute>),
}

/// A text, with the zero that ends it.
pub(in crate::host) fn text(kind: u16, value: &str) -> Attribute {
    Attribute::Plain(kind, format!("{value}\0").into_bytes())
}

/// A number.
pub(in crate::host) fn number(kind: u16, value: u32) -> Attribute {
    Attribute::Plain(kind, value.to_be_bytes().to_vec())
}

impl Attribute {
    /// Appends it to a message.
    pub(in crate::host) fn write(&self, body: &mut Vec<u8>) {
        let start = body.len();
        body.extend([0; HEADER]);
        let kind = match self {
            Self::Plain(kind, value) => {
                body.extend(value);
                *kind
            }
            Self::Nest(kind, inner) => {
                for attribute in inner {
                    attribute.write(body);
                }
                kind | NESTED
            }
        };
        // None that we make is longer.
        let length = u16::try_from(body.len() - start).unwrap_or(u16::MAX);
        body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        body[start + 2..start + HEADER].copy_from_slice(&kind.to_ne_bytes());
        body.resize(body.len().next_multiple_of(4), 0);
    }

    fn is(&self, kind: u16, value: &[u8]) -> bool {
        match self {
            Self::Plain(own, own_value) => *own == kind && own_value == value,
            Self::Nest(own, inner) => *own == kind && all_in(inner, value),
        }
    }
}

/// Whether all of `wanted` are among the attributes of `body`.
pub(in crate::host) fn all_in(wanted: &[Attribute], body: &[u8]) -> bool {
    wanted.iter().all(|wanted| read(body).any(|(kind, value)| wanted.is(kind, value)))
}

/// Whether those of `body` are `wanted`, one for one.
pub(in crate::host) fn equal(wanted: &[Attribute], body: &[u8]) -> bool {
    let mut there = read(body);
    let same = wanted.iter().all(|wanted| there.next().is_some_and(|(kind, value)| wanted.is(kind, value)));
    same && there.next().is_none()
}

/// The first attribute of this type.
pub(in crate::host) fn find(body: &[u8], kind: u16) -> Option<&[u8]> {
    read(body).find(|(own, _)| *own == kind).map(|(_, value)| value)
}

/// The attributes in `body`.
pub(in crate::host) fn read(mut body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *body.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = body.get(HEADER..length)?;
        body = body.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & TYPE, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(attributes: &[Attribute]) -> Vec<u8> {
        let mut body = Vec::new();
        for attribute in attributes {
            attribute.write(&mut body);
        }
        body
    }

    fn tree() -> Vec<Attribute> {
        let inner = vec![text(1, "abc"), number(2, 7), Attribute::Nest(3, vec![text(1, "x")])];
        vec![Attribute::Nest(4, inner), number(5, 1)]
    }

    #[test]
    fn a_tree_is_found_in_what_was_written_and_in_more() {
        let body = written(&tree());
        assert!(equal(&tree(), &body) && all_in(&tree(), &body));
        let more = [written(&[number(9, 9)]), body].concat();
        assert!(all_in(&tree(), &more) && !equal(&tree(), &more));
        assert!(!all_in(&[number(5, 2)], &more) && !all_in(&[text(5, "")], &more));
        assert_eq!(find(&more, 9), Some(&9_u32.to_be_bytes()[..]));
    }

    #[test]
    fn torn_bytes_are_no_attributes() {
        let body = written(&[text(1, "abcdef")]);
        for end in 0..body.len() - 1 {
            assert_eq!(read(&body[..end]).count(), 0);
        }
        assert_eq!(read(&[3, 0, 1, 0]).count(), 0, "shorter than itself");
    }
}
