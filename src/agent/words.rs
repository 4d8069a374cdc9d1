//! One network in the words of its DHCPServer's status.
//!
//! Called by its worker after each pass, where a controller decides. Pure.

use super::leased::Leased;
use super::outbox::ServerReport;
use super::progress::Reached;
use super::voice;
use crate::api::{HeldAddress, MOST_LISTED, Port, RefusedPort, ServedPorts, ServedSubnet, ServerDevice};
use crate::conditions::{Progress, port_state};
use crate::desired::Inputs;
use crate::reason::{Problem, Reason};
use crate::store::PortsRevision;
use crate::types::{NetworkUid, ObjectName};

pub(super) struct Words<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) uid: NetworkUid,
    pub(super) inputs: &'a Inputs,
    pub(super) reached: Reached<'a>,
    pub(super) done: Option<PortsRevision>,
    pub(super) awaited: bool,
    pub(super) held: Option<Vec<HeldAddress>>,
    pub(super) leased: &'a Leased,
}

impl Words<'_> {
    /// The whole report.
    pub(super) fn report(&self) -> ServerReport {
        let (ports, mut refused) = self.ports();
        // The others are counted.
        refused.truncate(MOST_LISTED);
        ServerReport {
            network: self.name.clone(),
            device: self.device(),
            done: self.done,
            awaited: self.awaited,
            generation: self.inputs.network.metadata.generation.unwrap_or(0),
            subnets: self.subnets(),
            ports,
            refused,
            held: self.held.clone(),
            leased: self.leased.clone(),
            programmed: self.programmed(),
            serving: self.serving(),
            metadata: self.metadata(),
            foreign: self.reached.foreign.to_vec(),
        }
    }

    fn device(&self) -> Option<ServerDevice> {
        let device = voice::device(self.uid, self.reached.segment?)?;
        Some(ServerDevice {
            name: device.name,
            mac_address: device.mac_address,
            attachment: device.attachment,
        })
    }

    /// Those of which guests are told what their present generation says.
    fn subnets(&self) -> Vec<ServedSubnet> {
        if self.programmed().is_err() {
            return Vec::new();
        }
        let served = self.inputs.subnets.iter().filter(|subnet| {
            let name = subnet.metadata.name.as_deref().unwrap_or_default();
            self.reached.desired.subnets.get(name).is_some_and(|view| view.problem.is_none())
        });
        let of = |subnet: &std::sync::Arc<crate::api::Subnet>| ServedSubnet {
            name: subnet.metadata.name.clone().unwrap_or_default(),
            generation: subnet.metadata.generation.unwrap_or(0),
        };
        served.map(of).collect()
    }

    fn programmed(&self) -> Result<(), Problem> {
        self.reached.desired.problem.clone().map_or(Ok(()), Err)?;
        self.reached.programmed()
    }

    fn serving(&self) -> Result<(), Problem> {
        self.reached.desired.problem.clone().map_or(Ok(()), Err)?;
        self.reached.serving()
    }

    fn metadata(&self) -> Option<Result<(), Problem>> {
        if let Some(problem) = self.reached.metadata() {
            return Some(Err(problem));
        }
        let wanted = self.reached.desired.segment.as_ref()?.metadata.as_ref()?;
        let there = self.reached.segment.and_then(|segment| segment.metadata.as_ref());
        let waiting = || Problem::new(Reason::Progressing, "not done yet");
        Some(if there == Some(wanted) { Ok(()) } else { Err(waiting()) })
    }

    /// The Ports that have addresses.
    fn ports(&self) -> (ServedPorts, Vec<RefusedPort>) {
        let (mut counts, mut refused) = (ServedPorts::default(), Vec::new());
        for port in self.inputs.ports.iter().filter(|port| has_addresses(port)) {
            counts.wanted += 1;
            let name = port.metadata.name.as_deref().unwrap_or_default();
            let view = self.reached.desired.ports.get(name);
            match view.map(|view| port_state(view, &self.reached, name)) {
                Some(Ok(_)) => counts.served += 1,
                Some(Err(problem)) if is_its_own(&problem) => {
                    counts.refused += 1;
                    refused.push(refusal(port, name, &problem));
                }
                _ => {}
            }
        }
        (counts, refused)
    }
}

fn has_addresses(port: &Port) -> bool {
    port.status.as_ref().is_some_and(|status| !status.addresses.is_empty())
}

/// Not the network's, nor one that passes by itself.
fn is_its_own(problem: &Problem) -> bool {
    !matches!(
        problem.reason,
        Reason::Progressing
            | Reason::HostFailed
            | Reason::BridgeNotFound
            | Reason::NetworkNotServed
            | Reason::NotAnswering
    )
}

fn refusal(port: &Port, name: &str, problem: &Problem) -> RefusedPort {
    RefusedPort {
        name: name.to_owned(),
        uid: port.metadata.uid.clone().unwrap_or_default(),
        reason: problem.reason.as_str().to_owned(),
        message: problem.message.chars().take(1_024).collect(),
    }
}
