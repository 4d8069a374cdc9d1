//! How far a network is: what it shall be against what it is.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::leased::Leased;
use crate::conditions::{Progress, declined, held_by_other};
use crate::desired::Desired;
use crate::dnsmasq::{self, Client, OptionKey, Server, Share, Shares};
use crate::foreign::Kind;
use crate::host::Asked;
use crate::node::{Family, Segment};
use crate::reason::{Problem, Reason};
use crate::service::Code;
use crate::types::{Identity, MacAddr};

/// Whose line which server did not take, and why.
pub(super) type Refusals = BTreeMap<Identity, (Option<Share>, String)>;

/// What is there, and what went wrong on the way to what shall be there.
pub(super) struct Reached<'a> {
    pub(super) desired: &'a Desired,
    pub(super) segment: Option<&'a Segment>,
    pub(super) failure: Option<&'a Problem>,
    /// Why the node does not offer the metadata service.
    pub(super) metadata: Option<&'a Problem>,
    pub(super) refused: &'a Refusals,
    pub(super) leased: &'a Leased,
    /// That the server does not answer although it should.
    pub(super) unanswered: Option<&'a Problem>,
    /// Who else answers on the segment, and who routes there.
    pub(super) foreign: &'a [(Kind, Problem)],
    /// Looked for once, for all Ports.
    pub(super) strays: OnceCell<Strays>,
}

/// Who is not known as they shall be, or is known by somebody else.
#[derive(Debug, Default)]
pub(super) struct Strays {
    clients: BTreeSet<Client>,
    /// Whose questions are led elsewhere.
    devices: BTreeSet<(MacAddr, Family)>,
}

impl Strays {
    fn between(is: &Segment, shall: &Segment) -> Self {
        let nothing = Server::default();
        let shares: BTreeSet<_> = is.servers().chain(shall.servers()).map(|(share, _)| share).collect();
        let mut strays = Self::default();
        for share in shares {
            let [is, shall] = [is, shall].map(|segment| segment.server_of(share).unwrap_or(&nothing));
            if (&is.hosts.entries, &is.options.values) != (&shall.hosts.entries, &shall.options.values) {
                let clients = is.hosts.entries.keys().chain(shall.hosts.entries.keys());
                strays.clients.extend(clients.filter(|client| !same_host(is, shall, client)).cloned());
            }
        }
        for family in Family::ALL {
            let nobody = Shares::new();
            let [is, shall] = [is, shall].map(|segment| segment.directed(family).unwrap_or(&nobody));
            if is != shall {
                let macs = is.keys().chain(shall.keys());
                let macs = macs.filter(|mac| is.get(mac) != shall.get(mac));
                strays.devices.extend(macs.map(|mac| (*mac, family)));
            }
        }
        strays
    }

    fn has(&self, client: &Client) -> bool {
        let (identity, family) = client;
        let mac = identity.mac().filter(|_| !self.devices.is_empty());
        self.clients.contains(client) || mac.is_some_and(|mac| self.devices.contains(&(mac, *family)))
    }
}

impl Reached<'_> {
    fn why_not(&self) -> Problem {
        let waiting = || Problem::new(Reason::Progressing, "not done yet");
        self.failure.cloned().unwrap_or_else(waiting)
    }

    /// Whether guests' questions arrive at a running server.
    fn is_connected(&self) -> bool {
        let (Some(wanted), Some(segment)) = (&self.desired.segment, self.segment) else { return false };
        let namespace = segment.namespace.as_ref().is_some_and(|namespace| namespace.usable);
        let device = segment.device.as_ref().zip(wanted.device.as_ref()).is_some_and(|(is, shall)| {
            is.up && is.attached == shall.attached && shall.addresses.is_subset(&is.addresses)
        });
        // Who is started for guests that come is not waited for by those that are there.
        let runs = |server: &Server| server.process.as_ref().is_some_and(|process| process.current);
        let servers = segment.server.as_ref().is_some_and(runs) && segment.shares.values().all(runs);
        namespace && device && servers
    }
}

impl Reached<'_> {
    /// Whether guests are answered, if not yet all of them as they shall be.
    pub(super) fn serving(&self) -> Result<(), Problem> {
        if let Some(problem) = self.unanswered {
            return Err(problem.clone());
        }
        if self.desired.segment.is_none() || self.is_connected() { Ok(()) } else { Err(self.why_not()) }
    }

    /// Whether the server was told all there is.
    pub(super) fn programmed(&self) -> Result<(), Problem> {
        match &self.desired.segment {
            // Subnets without DHCP only: there is nothing to serve.
            None => Ok(()),
            Some(_) if self.failure.is_none() && self.is_connected() && self.is_current() => Ok(()),
            Some(_) => Err(self.why_not()),
        }
    }

    /// Whom to ask whether guests are answered; `None`: nobody is to answer.
    pub(super) fn asked(&self) -> Option<Asked> {
        let asker = self.desired.asker?;
        let attached = self.segment?.device.as_ref()?.attached.clone()?;
        let first = self.desired.asked.iter().rev().map(|ip| (Family::of(*ip), *ip));
        let first: BTreeMap<_, _> = first.filter(|_| self.is_connected()).collect();
        let servers: BTreeSet<_> = first.into_values().collect();
        let rooms = self.rooms().filter(|_| servers.iter().any(IpAddr::is_ipv6));
        let rooms: Vec<_> = rooms.map(|share| (share, asker.mac)).collect();
        let shares = || self.guests_of_shares().into_iter().chain(rooms);
        (!servers.is_empty()).then(|| Asked { asker, attached, servers, shares: shares().collect() })
    }

    /// The shares whose processes have one.
    fn rooms(&self) -> impl Iterator<Item = Share> {
        let shares = self.segment.into_iter().flat_map(|segment| segment.shares.keys().copied());
        shares.filter(|share| share.has_room())
    }

    /// Of each share a guest whose questions of DHCPv4 are led to its process, which answers them.
    fn guests_of_shares(&self) -> BTreeMap<Share, MacAddr> {
        let Some((segment, directed)) = self.segment.and_then(|s| Some((s, s.directed(Family::V4)?))) else {
            return BTreeMap::new();
        };
        let guest = |(share, server): (&Share, &Server)| {
            let mut macs = server.hosts.entries.keys().filter_map(|(identity, family)| {
                let mac = identity.mac().filter(|_| *family == Family::V4)?;
                (directed.get(&mac) == Some(share) && !self.refused.contains_key(identity)).then_some(mac)
            });
            Some((*share, macs.next()?))
        };
        segment.shares.iter().filter_map(guest).collect()
    }

    /// Whether the server was told everything: its command line and all options.
    fn is_current(&self) -> bool {
        let Some((is, wanted)) = self.segment.zip(self.desired.segment.as_ref()) else { return false };
        let mut servers = wanted.servers();
        servers.all(|(share, shall)| is.server_of(share).is_some_and(|is| same_server(is, shall)))
            && Family::ALL.into_iter().all(|family| is.directed(family) == wanted.directed(family))
    }
}

fn same_server(is: &Server, shall: &Server) -> bool {
    let mut options = shall.options.values.iter();
    is.process == shall.process && options.all(|(key, value)| is.options.values.get(key) == Some(value))
}

/// Whether a client is known as it shall be.
fn same_host(is: &Server, shall: &Server, client: &Client) -> bool {
    let host = shall.hosts.entries.get(client);
    is.hosts.entries.get(client) == host
        && host.is_none_or(|host| same_options(is, shall, &host.tag, client.1))
}

/// Whether who has this tag gets the options that it shall get, and no others of its own.
fn same_options(is: &Server, shall: &Server, tag: &str, family: Family) -> bool {
    options_of(is, tag, family).eq(options_of(shall, tag, family))
}

fn options_of<'a>(
    server: &'a Server,
    tag: &'a str,
    family: Family,
) -> impl Iterator<Item = (&'a OptionKey, &'a String)> {
    let own = server.options.values.range(OptionKey::plain(tag, *Code::ALL.start())..);
    own.take_while(move |(key, _)| key.tag == tag).filter(move |(key, _)| key.code.family() == family)
}

/// Whether the subnet that has this address is served, or advertised, as it shall be.
fn same_range(is: &Server, shall: &Server, ip: IpAddr) -> bool {
    let processes = is.process.as_ref().zip(shall.process.as_ref());
    processes.is_some_and(|(is, shall)| dnsmasq::same_range(&is.argv, &shall.argv, ip))
}

impl Progress for Reached<'_> {
    fn network(&self) -> Result<(), Problem> {
        self.programmed().and_then(|()| self.serving())
    }

    fn foreign(&self) -> &[(Kind, Problem)] {
        self.foreign
    }

    fn metadata(&self) -> Option<Problem> {
        self.desired.metadata_problem.as_ref().or(self.metadata).cloned()
    }

    fn port(&self, name: &str) -> Result<(), Problem> {
        let Some(view) = self.desired.ports.get(name) else { return Err(self.why_not()) };
        let Some(wanted) = &self.desired.segment else { return Ok(()) };
        self.serving()?;
        let servers = self.segment.and_then(|segment| segment.server.as_ref()).zip(wanted.server.as_ref());
        let Some(((is, shall), segment)) = servers.zip(self.segment) else { return Err(self.why_not()) };
        let mut refusals = view.clients.iter().filter_map(|(identity, _)| self.refused.get(identity));
        if let Some((_, refusal)) = refusals.next() {
            return Err(Problem::new(Reason::RefusedByServer, format!("dnsmasq: {refusal}")));
        }
        let strays = self.strays.get_or_init(|| Strays::between(segment, wanted));
        let host = !view.clients.iter().any(|client| strays.has(client));
        let ranges =
            view.clients.is_empty() || view.addresses.iter().all(|(ip, _)| same_range(is, shall, *ip));
        let names = view.addresses.iter().all(|(ip, _)| is.names.get(ip) == shall.names.get(ip));
        if host && ranges && names { Ok(()) } else { Err(self.why_not()) }
    }

    fn conflict(&self, name: &str) -> Option<Problem> {
        let foreign = self.leased.foreign.iter().find(|lease| lease.port_name == name).map(held_by_other);
        let mut all = self.leased.declined.iter();
        foreign.or_else(|| all.find(|address| address.port_name == name).map(declined))
    }
}
