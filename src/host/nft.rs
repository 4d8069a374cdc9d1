//! Whether our rule is in nftables, asked of the kernel: no process is started for it.
//!
//! Called by `firewall` on a thread in the namespace in question. Only reads; rules are made by
//! iptables, whose rules these are (`iptables` 1.8 with its nftables backend keeps its tables under
//! their old names, and the comment of a rule as text in the rule).

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::firewall::COMMENT;
use crate::node::Family;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE` of linux/netfilter.
const GET_RULE: u16 = 10 << 8 | 7;
/// `NLM_F_REQUEST | NLM_F_DUMP` of linux/netlink.h.
const DUMP: u16 = 1 | 0x300;
/// Message types of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFTA_RULE_TABLE`, `NFTA_RULE_CHAIN`.
const TABLE: u16 = 1;
const CHAIN: u16 = 2;

/// Whether this chain of this family has a rule of ours.
pub(super) fn has_rule(family: Family, table: &str, chain: &str) -> io::Result<bool> {
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.send_to(&request(family, table, chain), &SocketAddr::new(0, 0), 0)?;
    let mut found = false;
    loop {
        let (packet, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&packet) {
            match kind {
                DONE => return Ok(found),
                ERROR => return refusal(body).map(|()| found),
                _ => found |= body.windows(COMMENT.len()).any(|bytes| bytes == COMMENT.as_bytes()),
            }
        }
    }
}

fn request(family: Family, table: &str, chain: &str) -> Vec<u8> {
    let family = match family {
        Family::V4 => nix::libc::AF_INET,
        Family::V6 => nix::libc::AF_INET6,
    };
    // struct nfgenmsg: family, version, resource id.
    let mut body = vec![u8::try_from(family).unwrap_or_default(), 0, 0, 0];
    attribute(&mut body, TABLE, format!("{table}\0").as_bytes());
    attribute(&mut body, CHAIN, format!("{chain}\0").as_bytes());
    // struct nlmsghdr: length, type, flags, sequence, port.
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(GET_RULE.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The messages of a packet: type and what follows the header.
fn messages(mut packet: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = packet.first_chunk::<16>()?;
        let length = u32::from_ne_bytes(*header.first_chunk::<4>()?) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let body = packet.get(16..length)?;
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// An error message; that there is no such table or chain is none.
fn refusal(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    match -code {
        0 | nix::libc::ENOENT => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_whole_message() {
        let request = request(Family::V4, "mangle", "POSTROUTING");
        let all: Vec<_> = messages(&request).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, GET_RULE);
        assert_eq!(all[0].1.len() % 4, 0);
    }

    #[test]
    fn a_torn_packet_ends_the_reading() {
        let request = request(Family::V6, "mangle", "POSTROUTING");
        for end in 0..request.len() {
            assert_eq!(messages(&request[..end]).count(), 0);
        }
    }
}
