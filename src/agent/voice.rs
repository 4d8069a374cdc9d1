//! What is to be said of one network and its objects.
//!
//! Called by its worker after each pass; what was said before keeps its times.

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::context::{conditions_of, names};
use super::progress::Reached;
use crate::api::{Port, PortStatus, Subnet, SubnetStatus};
use crate::conditions;
use crate::desired::Inputs;
use crate::host;
use crate::node::{Action, Attached, INNER_DEVICE, Newcomer, Segment, namespace_name, outer_device};
use crate::reason::{Problem, Reason};
use crate::report::{DeviceReport, NetworkReport, ObjectReport};
use crate::types::NetworkUid;

/// Ports that are looked at without a look at what else is to be done.
const AT_ONCE: usize = 256;

/// Makes the report of one network.
pub(super) struct Voice<'a> {
    pub(super) uid: NetworkUid,
    pub(super) node: &'a str,
    pub(super) reached: Reached<'a>,
    /// What was said last.
    pub(super) said: Option<&'a NetworkReport>,
    pub(super) now: Timestamp,
    pub(super) newcomers: &'a [Newcomer],
}

impl Voice<'_> {
    /// The whole report; `None`: on the way there `is_interrupted`.
    pub(super) fn report(&self, inputs: &Inputs, is_interrupted: impl Fn() -> bool) -> Option<NetworkReport> {
        let mut ports = Vec::with_capacity(inputs.ports.len());
        for some in inputs.ports.chunks(AT_ONCE) {
            if is_interrupted() {
                return None;
            }
            ports.extend(some.iter().map(|port| self.port(port)));
        }
        let (namespace, name) = names(&inputs.network.metadata);
        let before = self.said.map_or(&[][..], |report| &report.status.conditions[..]);
        let generation = generation(&inputs.network.metadata);
        let Reached { desired, segment, .. } = self.reached;
        Some(NetworkReport {
            namespace,
            name,
            uid: self.uid,
            device: desired.segment.as_ref().and(segment).and_then(|segment| device(self.uid, segment)),
            status: conditions::network(desired, &self.reached, self.node, generation, self.now, before),
            subnets: inputs.subnets.iter().map(|subnet| self.subnet(subnet)).collect(),
            ports,
            newcomers: self.newcomers.to_vec(),
        })
    }

    fn subnet(&self, subnet: &Subnet) -> ObjectReport<SubnetStatus> {
        let (namespace, name) = names(&subnet.metadata);
        let old =
            self.said.map_or(&[][..], |r| conditions_of(&r.subnets, &namespace, &name, |s| &s.conditions));
        let view = self.reached.desired.subnets.get(&name).cloned().unwrap_or_default();
        let status =
            conditions::subnet(&name, &view, &self.reached, generation(&subnet.metadata), self.now, old);
        ObjectReport::new(namespace, name, status)
    }

    fn port(&self, port: &Port) -> ObjectReport<PortStatus> {
        let (namespace, name) = names(&port.metadata);
        let old =
            self.said.map_or(&[][..], |r| conditions_of(&r.ports, &namespace, &name, |s| &s.conditions));
        let view = self.reached.desired.ports.get(&name).cloned().unwrap_or_default();
        let status = conditions::port(&name, &view, &self.reached, generation(&port.metadata), self.now, old);
        ObjectReport::of_port(namespace, name, port, status)
    }
}

fn generation(metadata: &ObjectMeta) -> i64 {
    metadata.generation.unwrap_or(0)
}

pub(super) fn device(uid: NetworkUid, segment: &Segment) -> Option<DeviceReport> {
    let device = segment.device.as_ref()?;
    let is_macvlan = matches!(device.attached, Some(Attached::Macvlan(_)));
    Some(DeviceReport {
        name: if is_macvlan { INNER_DEVICE.to_owned() } else { outer_device(uid) },
        mac_address: device.mac.to_string(),
        attachment: device.attached.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        namespace: namespace_name(uid),
    })
}

/// The problem that an action, or looking, ended with.
pub(super) fn host_failed(action: Option<&Action>, error: &(dyn std::error::Error + 'static)) -> Problem {
    let reason = error.downcast_ref().map_or(Reason::HostFailed, reason_of);
    let did = action.map_or_else(|| "look at the network".to_owned(), ToString::to_string);
    let message = super::chain(error);
    match reason {
        Reason::HostFailed => Problem::new(reason, format!("cannot {did}: {message}")),
        // It says all.
        _ => Problem::new(reason, message),
    }
}

/// What is wrong with the node as its operator made it, or something of ours.
pub(super) fn reason_of(error: &host::Error) -> Reason {
    match error {
        host::Error::BridgeMissing(_) | host::Error::OvsBridgeMissing(_) => Reason::BridgeNotFound,
        host::Error::ParentMissing(_) => Reason::InterfaceNotFound,
        host::Error::NotAParent(..)
        | host::Error::BridgeDown(_)
        | host::Error::ParentInUse(..)
        | host::Error::NoVlans(_)
        | host::Error::DefaultVlan { .. } => Reason::InterfaceUnusable,
        host::Error::OvsAway(..) | host::Error::OvsRefused { .. } => Reason::OpenVSwitchAway,
        host::Error::MtuTooLarge { .. } => Reason::MTUTooLarge,
        _ => Reason::HostFailed,
    }
}
