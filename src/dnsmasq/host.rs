//! A port as dnsmasq knows it, and a line that changes that. Pure.

use std::net::IpAddr;

use crate::node::Family;
use crate::service::Offer;
use crate::types::{DomainName, Identity};

/// Whom a host's line is about: dnsmasq knows a guest in each protocol by itself.
pub type Client = (Identity, Family);

/// A port as dnsmasq knows it, in one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What it is given; `None`, in DHCPv6: options and no address.
    pub offer: Option<Offer>,
    /// The tag by which its options are chosen.
    pub tag: String,
}

impl Host {
    /// The address that it is offered.
    pub fn ip(&self) -> Option<IpAddr> {
        self.offer.as_ref().map(|offer| offer.ip)
    }

    /// Whether it may have this address.
    pub fn may_have(&self, ip: IpAddr) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.ips().any(|own| own == ip))
    }

    /// The address that only one line of a process can have.
    pub(super) fn ipv4(&self) -> Option<IpAddr> {
        self.ip().filter(IpAddr::is_ipv4)
    }

    /// The name by which it takes an address, as a client of DHCPv6.
    pub(super) fn taker(&self) -> Option<DomainName> {
        let offer = self.offer.as_ref().filter(|offer| offer.ip.is_ipv6())?;
        Some(DomainName::from(&offer.name))
    }
}

/// A line for the hosts' directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChange {
    /// From now on answer this client so.
    Set(Client, Host),
    /// From now on do not answer it.
    Gone(Client),
}

impl HostChange {
    /// Whom it is about.
    pub fn client(&self) -> &Client {
        match self {
            Self::Set(client, _) | Self::Gone(client) => client,
        }
    }

    /// Whom it is about, in whichever protocol.
    pub fn identity(&self) -> &Identity {
        &self.client().0
    }
}
