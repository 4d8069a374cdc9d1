//! What is true of a network's objects where a controller allocates: who is accepted, and who has which
//! address.
//!
//! Called by the controller. The same judgement as a node's without a cluster, up to where a node is
//! needed.

use std::collections::{BTreeMap, BTreeSet};

use super::network::policy;
use super::subnet::nothing_to_serve;
use super::{Inputs, PortView, Servers, SubnetView, allocate, describe, port, subnet, unserved};
use crate::allocate::{Claim, Holder, Ledger};
use crate::api::ServerAddress;
use crate::node::Family;
use crate::reason::Problem;

/// What is true of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    /// Why the network is not served.
    pub problem: Option<Problem>,
    /// What guests are told.
    pub mtu: Option<u16>,
    /// Of its subnets with a server; none: there is nothing to serve.
    pub families: BTreeSet<Family>,
    /// Whether its servers send router advertisements.
    pub advertised: bool,
    /// Whether guests that are no Port are served.
    pub dynamic: bool,
    /// By name.
    pub subnets: BTreeMap<String, SubnetView>,
    /// By name.
    pub ports: BTreeMap<String, PortView>,
    /// The servers' addresses by slot.
    pub slots: Vec<Vec<ServerAddress>>,
}

/// Judges the objects of a network whose namespace has `labels`, and allocates for its `servers` and all
/// ports. `ledger` is brought up to date; `leaving` keep what they have.
pub fn accept(
    inputs: &Inputs,
    labels: &BTreeMap<String, String>,
    servers: &Servers,
    ledger: &mut Ledger,
    leaving: Vec<Claim<'_>>,
) -> Accepted {
    let policy = match policy(inputs, labels) {
        Ok(policy) => policy,
        Err(problem) => return refused(inputs, problem, ledger),
    };
    let domain = policy.domain.as_ref();
    let (mut subnets, mut views) = subnet::admit(inputs, policy.mtu, ledger);
    let mut ports = port::admit(inputs, domain, ledger);
    let allotted = allocate(&mut subnets, &views, &mut ports, ledger, servers, leaving);
    describe(&subnets, &mut views, ledger);
    let view = |guest: &port::Guest| (guest.name().to_owned(), guest.view(&subnets));
    let mut all: BTreeMap<_, _> = ports.guests.iter().map(view).collect();
    all.extend(ports.views);
    let served = subnets.iter().filter(|subnet| subnet.scope && subnet.server.is_some());
    let families: BTreeSet<_> = served.clone().map(subnet::Served::family).collect();
    Accepted {
        problem: nothing_to_serve(inputs, &subnets).filter(|_| families.is_empty()),
        mtu: policy.mtu,
        families,
        advertised: served.clone().any(|subnet| subnet.advertised),
        dynamic: served.clone().any(|subnet| !subnet.dynamic.is_empty()),
        slots: allotted.addresses(servers, &subnets),
        subnets: views,
        ports: all,
    }
}

/// What everybody has stays theirs, but in a Subnet that is gone.
fn refused(inputs: &Inputs, problem: Problem, ledger: &mut Ledger) -> Accepted {
    ledger.keep_only(&inputs.subnets.iter().filter_map(|subnet| subnet.metadata.name.as_deref()).collect());
    let waiting = unserved(inputs, problem);
    let mut ports = waiting.ports;
    let held = ledger.held();
    for (name, view) in &mut ports {
        view.addresses = held.by(&Holder::port(name));
    }
    Accepted { problem: waiting.problem, subnets: waiting.subnets, ports, ..Accepted::default() }
}

/// The ports' and subnets' views of a network that does not exist.
pub fn lost(inputs_of: &str) -> (SubnetView, PortView) {
    let problem = Problem::new(
        crate::reason::Reason::NetworkNotFound,
        format!("Network {inputs_of} does not exist in this namespace"),
    );
    let subnet = SubnetView { problem: Some(problem.clone()), ..SubnetView::default() };
    (subnet, PortView { unserved: Some(problem), ..PortView::default() })
}
