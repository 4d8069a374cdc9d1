//! From what is known of a network's objects to their status, with metav1 conditions.
//!
//! Called by the agent after each pass; without a cluster the one writer of all conditions. Pure: the
//! time is an argument, and a condition that says the same as before keeps its time.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    AddressCounts, AllocatedAddress, DeclinedAddress, ForeignLease, NetworkStatus, PhysicalNetworkStatus,
    PortCounts, PortServers, PortStatus, ServerCounts, Slot, SubnetStatus, find,
};
use crate::desired::{Desired, PortView, SubnetView};
use crate::foreign::Kind;
use crate::reason::{Problem, Reason};

/// What of a network is done.
pub trait Progress {
    /// Whether the network serves; else why not.
    fn network(&self) -> Result<(), Problem>;
    /// Why guests have no metadata service although it was asked for.
    fn metadata(&self) -> Option<Problem> {
        None
    }
    /// Whether the server answers this port as it shall; else why not.
    fn port(&self, name: &str) -> Result<(), Problem>;
    /// Who else has an address of this port.
    fn conflict(&self, _name: &str) -> Option<Problem> {
        None
    }
    /// Who is on the network's segment that should not be.
    fn foreign(&self) -> &[(Kind, Problem)] {
        &[]
    }
    /// Whether a subnet is served as it is now.
    fn subnet(&self, _name: &str) -> Result<(), Problem> {
        self.network()
    }
}

/// Nothing of it is left to be done.
pub struct AllDone;

impl Progress for AllDone {
    fn network(&self) -> Result<(), Problem> {
        Ok(())
    }

    fn port(&self, _name: &str) -> Result<(), Problem> {
        Ok(())
    }
}

/// What a condition says.
#[derive(Debug, Clone, Copy)]
pub struct Says<'a> {
    /// `True` or `False`.
    pub status: &'a str,
    /// Why.
    pub reason: Reason,
    /// Why, for people; cut after 1,024 characters.
    pub message: &'a str,
}

impl<'a> Says<'a> {
    /// That all is well, for this reason; else what is wrong.
    pub fn of(state: Result<Reason, &'a Problem>) -> Self {
        match state {
            Ok(reason) => Self { status: "True", reason, message: "" },
            Err(problem) => Self { status: "False", reason: problem.reason, message: &problem.message },
        }
    }

    /// That there is something people should know.
    pub fn warning(problem: &'a Problem) -> Self {
        Self { status: "True", reason: problem.reason, message: &problem.message }
    }

    /// The condition that says so `now`. One among `before` that has the same status keeps its time.
    pub fn condition(
        self,
        type_: &str,
        observed_generation: Option<i64>,
        now: Timestamp,
        before: &[Condition],
    ) -> Condition {
        let same = find(before, type_).filter(|before| before.status == self.status);
        Condition {
            type_: type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.as_str().to_owned(),
            message: self.message.chars().take(1_024).collect(),
            observed_generation,
            last_transition_time: same
                .map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone()),
        }
    }
}

/// As conditions and other fields give times.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The conditions of an object: `Ready`, the given ones, and `Stalled` or `Reconciling` while not ready.
struct Conditions<'a> {
    generation: i64,
    now: Timestamp,
    before: &'a [Condition],
    now_true: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    fn new(generation: i64, now: Timestamp, before: &'a [Condition]) -> Self {
        Self { generation, now, before, now_true: Vec::new() }
    }

    fn set(&mut self, type_: &str, state: Result<Reason, &Problem>) {
        self.push(type_, Says::of(state));
    }

    fn push(&mut self, type_: &str, says: Says<'_>) {
        self.now_true.push(says.condition(type_, Some(self.generation), self.now, self.before));
    }

    /// What need not be said while all is well.
    fn unless_well(&mut self, type_: &str, problem: Option<&Problem>) {
        if let Some(problem) = problem {
            self.set(type_, Err(problem));
        }
    }

    /// Who is there that should not be: said while that is so, whatever else is true.
    fn foreign(&mut self, foreign: &[(Kind, Problem)]) {
        for (kind, problem) in foreign {
            self.push(kind.condition(), Says::warning(problem));
        }
    }

    fn ready(mut self, state: Result<Reason, &Problem>) -> Vec<Condition> {
        if let Err(Problem { reason, message }) = state {
            let type_ = if reason.is_stalled() { "Stalled" } else { "Reconciling" };
            self.push(type_, Says { status: "True", reason: *reason, message });
        }
        self.set("Ready", state);
        self.now_true
    }

    /// The same of something that may be ready, but for something that people should know.
    fn ready_but(mut self, state: &Result<Option<Problem>, Problem>) -> Vec<Condition> {
        match state {
            Ok(None) => self.ready(Ok(Reason::Ready)),
            Ok(Some(problem)) => {
                self.push("Ready", Says::warning(problem));
                self.now_true
            }
            Err(problem) => self.ready(Err(problem)),
        }
    }
}

/// What is true of a Network that a controller places.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Whether it may be served.
    pub accepted: Result<(), Problem>,
    /// Whether all of its servers have a node.
    pub scheduled: Result<(), Problem>,
    /// Whether guests are answered, and by all servers; else why not.
    pub ready: Result<Option<Problem>, Problem>,
    /// Who is on its segment that should not be.
    pub foreign: Vec<(Kind, Problem)>,
    /// Its servers.
    pub servers: ServerCounts,
    /// Its slots.
    pub slots: Vec<Slot>,
    /// Its Subnets.
    pub subnets: u32,
    /// Its Ports.
    pub ports: PortCounts,
}

/// The status of a Network that a controller places.
pub fn placed_network(
    placed: Placed,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> NetworkStatus {
    let mut conditions = Conditions::new(generation, now, before);
    let fine = |result: &Result<(), Problem>| result.as_ref().err().cloned();
    conditions.set("Accepted", fine(&placed.accepted).as_ref().map_or(Ok(Reason::Ready), Err));
    conditions.set("Scheduled", fine(&placed.scheduled).as_ref().map_or(Ok(Reason::Ready), Err));
    conditions.foreign(&placed.foreign);
    let conditions = conditions.ready_but(&placed.ready);
    NetworkStatus {
        observed_generation: generation,
        servers: Some(placed.servers),
        slots: placed.slots,
        subnets: Some(placed.subnets),
        ports: Some(placed.ports),
        conditions,
    }
}

/// The conditions of an object of which only `Ready` is to be said, perhaps with something that people
/// should know.
pub fn ready_only(
    state: &Result<Option<Problem>, Problem>,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> Vec<Condition> {
    Conditions::new(generation, now, before).ready_but(state)
}

/// A Network's status. `node` is this node's name.
pub fn network(
    desired: &Desired,
    progress: &impl Progress,
    node: &str,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> NetworkStatus {
    let ready = desired.problem.clone().map_or_else(|| progress.network(), Err);
    let ready = ready.map(|()| progress.metadata());
    let wanted = u32::from(desired.segment.is_some());
    let served = |(name, view): &(&String, &PortView)| port_state(view, progress, name).is_ok();
    let ports = PortCounts {
        total: count(desired.ports.len()),
        ready: count(desired.ports.iter().filter(served).count()),
    };
    let addresses: Vec<_> = desired.server_addresses.iter().map(IpAddr::to_string).collect();
    let slot = Slot { slot: 0, node_name: Some(node.to_owned()), addresses };
    let mut conditions = Conditions::new(generation, now, before);
    conditions.set("Accepted", desired.problem.as_ref().map_or(Ok(Reason::Ready), Err));
    conditions.set("Scheduled", desired.problem.as_ref().map_or(Ok(Reason::Ready), Err));
    conditions.foreign(progress.foreign());
    NetworkStatus {
        observed_generation: generation,
        servers: Some(ServerCounts { desired: wanted, ready: if ready.is_ok() { wanted } else { 0 } }),
        slots: if desired.segment.is_some() { vec![slot] } else { Vec::new() },
        subnets: Some(count(desired.subnets.len())),
        ports: Some(ports),
        conditions: conditions.ready_but(&ready),
    }
}

/// A `PhysicalNetwork`'s status: how many Networks are on it, and whether this node reaches it.
pub fn physical_network(
    name: &str,
    networks: usize,
    mapped: bool,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> PhysicalNetworkStatus {
    let message = format!(
        "{name} is not mapped on this node; start the agent with --physical-network {name}=bridge:NAME"
    );
    let missing = Problem::new(Reason::PhysicalNetworkNotFound, message);
    let state = if mapped { Ok(Reason::Ready) } else { Err(&missing) };
    PhysicalNetworkStatus {
        observed_generation: generation,
        networks: Some(count(networks)),
        agents: Some(u32::from(mapped)),
        conditions: Conditions::new(generation, now, before).ready(state),
    }
}

/// A Subnet's status.
pub fn subnet(
    name: &str,
    view: &SubnetView,
    progress: &impl Progress,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> SubnetStatus {
    let ready = view.problem.clone().map_or_else(|| progress.subnet(name), Err);
    let mut conditions = Conditions::new(generation, now, before);
    conditions.set("Accepted", view.problem.as_ref().map_or(Ok(Reason::Ready), Err));
    conditions.unless_well("OptionsFit", view.crowded.as_ref());
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let addresses =
        AddressCounts { total: whole(view.total), used: whole(view.used), releasing: whole(view.releasing) };
    SubnetStatus {
        observed_generation: generation,
        addresses: Some(addresses).filter(|_| view.total > 0),
        gateway: view.gateway.map(|ip| ip.to_string()),
        conditions: conditions.ready(ready.as_ref().map(|()| Reason::Ready)),
    }
}

/// A Port's status.
pub fn port(
    name: &str,
    view: &PortView,
    progress: &impl Progress,
    generation: i64,
    now: Timestamp,
    before: &[Condition],
) -> PortStatus {
    let state = port_state(view, progress, name);
    let wanted = u32::from(!view.clients.is_empty());
    let mut conditions = Conditions::new(generation, now, before);
    conditions.set("Accepted", view.problem.as_ref().map_or(Ok(Reason::Ready), Err));
    // Who has none because the Network is not served is not allocated.
    let waiting = view.unserved.as_ref().filter(|_| view.addresses.is_empty());
    let allocated = view.problem.as_ref().or(view.unallocated.as_ref()).or(waiting);
    conditions.set("Allocated", allocated.map_or(Ok(Reason::Ready), Err));
    conditions.unless_well("OptionsFit", view.crowded.as_ref());
    if let Some(problem) = progress.conflict(name) {
        conditions.push("AddressConflict", Says::warning(&problem));
    }
    let address = |(ip, subnet): &(IpAddr, String)| AllocatedAddress {
        ip: ip.to_string(),
        subnet_name: subnet.clone(),
    };
    PortStatus {
        observed_generation: generation,
        addresses: view.addresses.iter().map(address).collect(),
        servers: Some(PortServers { wanted, serving: if state.is_ok() { wanted } else { 0 } }),
        conditions: conditions.ready(state.as_ref().copied()),
    }
}

/// Whether a port is served, and how; else why not.
pub fn port_state(view: &PortView, progress: &impl Progress, name: &str) -> Result<Reason, Problem> {
    let known = view.problem.as_ref().or(view.unallocated.as_ref()).or(view.unserved.as_ref());
    if let Some(problem) = known {
        return Err(problem.clone());
    }
    progress.port(name)?;
    Ok(if view.clients.is_empty() { Reason::Reserved } else { Reason::Ready })
}

/// That somebody else than its Port has a lease.
pub fn held_by_other(lease: &ForeignLease) -> Problem {
    let duid = || lease.duid.as_ref().map(|duid| format!("the DHCPv6 client {duid}"));
    let holder = lease.mac_address.clone().or_else(duid).unwrap_or_else(|| "somebody else".to_owned());
    Problem::new(Reason::LeaseHeldByOther, format!("{holder} holds the lease of {}", lease.ip))
}

/// That a Port's guest did not want its address.
pub fn declined(address: &DeclinedAddress) -> Problem {
    let who = address.held_by.as_ref().map_or("nobody has it now".to_owned(), |mac| format!("{mac} has it"));
    Problem::new(Reason::AddressDeclined, format!("the guest declined {}: {who}", address.ip))
}

/// As a status gives numbers of things.
pub fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_a_network_that_is_not_served_has_what_it_has_and_no_more() {
        let (_, lost) = crate::desired::lost("lan");
        let allocated = |addresses: &[(IpAddr, String)]| {
            let view = PortView { addresses: addresses.to_vec(), ..lost.clone() };
            let status = port("vm1", &view, &AllDone, 1, Timestamp::UNIX_EPOCH, &[]);
            let allocated = find(&status.conditions, "Allocated").unwrap();
            (allocated.status.clone(), allocated.reason.clone())
        };
        assert_eq!(allocated(&[]), ("False".to_owned(), "NetworkNotFound".to_owned()));
        let kept = [([10, 0, 0, 20].into(), "v4".to_owned())];
        assert_eq!(allocated(&kept), ("True".to_owned(), "Ready".to_owned()));
    }
}
