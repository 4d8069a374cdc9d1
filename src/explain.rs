//! Why a Port's guest is answered, or is not: each step from object to answer.
//!
//! Used by `kube-dhcp explain`. Pure: it judges nothing itself, it puts in order what controller and
//! agents have said, from the objects of a cluster or the reports of this machine's agent.

mod cluster;
mod local;

pub use cluster::{Found, Scene};
pub use local::explain as explain_local;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::api::{AllocatedAddress, find, is_true};
use crate::reason::Reason;

/// How it is with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// As it shall be.
    Right,
    /// What follows cannot be right while this is not.
    Wrong,
    /// Guests are answered nevertheless, but perhaps not only by us, or not all that they ask for.
    Warning,
    /// It could not be looked at.
    Unknown,
}

/// One step on the way from a Port to the answer that its guest gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was said of it.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// All steps, in the order in which one needs another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// NAMESPACE/NAME.
    pub port: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Why DHCP does not answer its guest, and is not to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
}

impl Explanation {
    /// The first step that is not right: the others may follow from it.
    pub fn first_wrong(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.verdict == Verdict::Wrong)
    }
}

impl Step {
    fn right(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Right, message: message.into(), cure: None }
    }

    fn wrong(what: impl Into<String>, message: impl Into<String>, cure: impl Into<String>) -> Self {
        let cure = Some(cure.into());
        Self { what: what.into(), verdict: Verdict::Wrong, message: message.into(), cure }
    }

    fn warning(what: impl Into<String>, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, ..Self::wrong(what, message, cure) }
    }

    fn unknown(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Unknown, message: message.into(), cure: None }
    }

    /// What a condition says that shall be true. With `generation` it has to be of that one.
    fn of(what: &str, conditions: &[Condition], type_: &str, generation: Option<i64>) -> Self {
        let Some(condition) = find(conditions, type_) else {
            return Self::wrong(what, "nobody has looked at it yet", NOT_SEEN);
        };
        if generation > condition.observed_generation && condition.observed_generation.is_some() {
            return Self::wrong(what, "its last change has not been looked at yet", NOT_SEEN);
        }
        match condition.status.as_str() {
            "True" => Self::right(what, said(condition)),
            _ => Self::wrong(what, said(condition), cure(&condition.reason)),
        }
    }

    /// What a condition says that is there only if something is the matter.
    fn beside(what: &str, conditions: &[Condition], type_: &str, well: &str) -> Option<Self> {
        let condition = find(conditions, type_).filter(|condition| condition.status != well)?;
        Some(Self::warning(what, said(condition), cure(&condition.reason)))
    }
}

/// What a Port asks for.
fn wish(mac: Option<&str>, identity: Option<String>, network: &str) -> String {
    let guest = identity.or_else(|| mac.map(str::to_owned));
    let guest = guest.unwrap_or_else(|| "no MAC address: it only reserves addresses".to_owned());
    format!("{guest}, on Network {network}")
}

/// Whether a Subnet is one of the Port's addresses; any is while it has none.
fn is_of(subnet: &str, addresses: &[AllocatedAddress]) -> bool {
    addresses.is_empty() || addresses.iter().any(|address| address.subnet_name == subnet)
}

/// Which addresses a Port has; else why not.
fn allocated(conditions: &[Condition], addresses: &[AllocatedAddress], generation: Option<i64>) -> Step {
    let what = "Port has addresses";
    let mut step = Step::of(what, conditions, "Allocated", generation);
    if step.verdict == Verdict::Right && addresses.is_empty() {
        if is_true(conditions, "Ready") {
            return Step::right(what, "it asks for none");
        }
        return Step::wrong(
            what,
            "it has none",
            "see the steps before; in a cluster the controller gives them",
        );
    }
    if step.message.is_empty() {
        step.message = addresses.iter().map(|address| address.ip.as_str()).collect::<Vec<_>>().join(", ");
    }
    step
}

/// Whether the guest is answered; for a Port that only reserves, why it is not. `is_known`: it has something
/// to know a guest by.
fn answered(conditions: &[Condition], is_known: bool, generation: Option<i64>) -> (Step, Option<String>) {
    let step = Step::of("Port is answered", conditions, "Ready", generation);
    let reserves = find(conditions, "Ready").is_some_and(|ready| ready.reason == Reason::Reserved.as_str());
    if step.verdict != Verdict::Right || !reserves {
        return (step, None);
    }
    let why = if is_known { "says dhcp: Disabled" } else { "has no macAddress and no identity" };
    let why = format!("DHCP does not answer: the Port {why}");
    (Step::right("Port is reserved", &why), Some(why))
}

/// What a guest may suffer from although it is answered.
fn warnings(port: &[Condition], network: &[Condition]) -> impl Iterator<Item = Step> {
    let all = [
        Step::beside("all options fit", port, "OptionsFit", "True"),
        Step::beside("nobody else has the address", port, "AddressConflict", "False"),
        Step::beside("no other DHCP server on the segment", network, "ForeignDHCPServer", "False"),
        Step::beside("no other router on the segment", network, "ForeignRouter", "False"),
    ];
    all.into_iter().flatten()
}

const NOT_SEEN: &str = "wait a moment, then see whether agent and controller run, and their logs";

fn said(condition: &Condition) -> String {
    match condition.message.as_str() {
        "" if condition.status == "True" && condition.reason == Reason::Ready.as_str() => String::new(),
        "" => condition.reason.clone(),
        message => format!("{}: {message}", condition.reason),
    }
}

fn cure(reason: &str) -> String {
    Reason::named(reason).map_or("see the message", Reason::cure).to_owned()
}

#[cfg(test)]
mod tests;
