//! From what is known of one network to what the controller has to do for it.
//!
//! Called by the controller's loop, each time anew. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::book::{Book, Entries, NETWORK_LABEL, is_torn_down, reached};
use super::lacking::{Lacking, lacking, lacks, needed};
use super::nodes::elapsed;
use super::predecessor::{held, predecessor, predecessor_of};
use super::strangers::holder;
use super::world::Snapshot;
use crate::api::{Conditioned, DHCPServer, DHCPServerSpec, ServedNetworkRef, ServerAddress, ServerState};
use crate::desired::{Accepted, Inputs, Servers, accept};
use crate::place::{Candidate, Feature, Missing, Need, Placed, Standing, Step, place};

/// What the administrator decided for all networks.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a network that is served waits for an agent that is silent.
    pub reschedule_after: Duration,
    /// How long an address waits for servers of which nothing is heard.
    pub quarantine: Duration,
}

/// A change of a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ServerStep {
    /// To be there with this spec; with what it is now, if it is there.
    Apply(String, Option<Arc<DHCPServer>>, DHCPServerSpec),
    /// To be withdrawn, and why.
    Withdraw(Arc<DHCPServer>, String),
    /// To be deleted: it is taken down, or whatever it was on is no more.
    Delete(Arc<DHCPServer>),
}

/// What there is to do for a network, and what is true of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// What is true of its objects.
    pub accepted: Accepted,
    /// Changes of allocations.
    pub entries: Entries,
    /// Changes of servers, in this order.
    pub servers: Vec<ServerStep>,
    /// Slots without a node.
    pub missing: Option<Missing>,
    /// What the agents of its servers do not know to do.
    pub lacking: Lacking,
    /// Nodes that get a server.
    pub placing: BTreeSet<String>,
    /// When to look again although nothing happened.
    pub look_again: Option<Duration>,
}

/// Judges a network. `holders` are the nodes that have a server of it; `all` nodes are asked for only when
/// one is looked for.
pub(super) fn judge(
    snapshot: &Snapshot,
    holders: &[Candidate],
    all: impl FnOnce() -> Vec<Candidate>,
    settings: Settings,
    now: Timestamp,
) -> Judged {
    if snapshot.hidden {
        return Judged::default();
    }
    let Some(inputs) = &snapshot.inputs else { return without_network(snapshot, settings, now) };
    let uid = inputs.network.metadata.uid.clone().unwrap_or_default();
    let slots = if snapshot.one_server_only { 1 } else { inputs.network.spec.dhcp.servers };
    let book = Book::new(snapshot, &uid, slots);
    let (mut ledger, leaving) = book.ledger(&BTreeSet::new());
    let servers = Servers { slots, held: held(snapshot, &uid) };
    let mut accepted = accept(inputs, &snapshot.labels, &servers, &mut ledger, leaving);
    // What somebody gives up is not anybody else's at once.
    let unwanted = book.unwanted(&ledger);
    if !unwanted.is_empty() {
        let (again, leaving) = book.ledger(&unwanted);
        ledger = again;
        accepted = accept(inputs, &snapshot.labels, &servers, &mut ledger, leaving);
    }
    let entries = book.entries(&ledger, settings.quarantine, now);
    for (subnet, releasing) in &entries.releasing {
        if let Some(view) = accepted.subnets.get_mut(subnet) {
            view.releasing = *releasing;
            view.used = view.used.saturating_sub(*releasing);
        }
    }
    let look_again = (entries.waiting > 0).then_some(WAITING);
    let mut judged = Judged { accepted, entries, look_again, ..Judged::default() };
    judged.place(snapshot, inputs, (&uid, slots), (holders, all), settings, now);
    judged.clear(snapshot, &uid, settings, now);
    judged
}

fn without_network(snapshot: &Snapshot, settings: Settings, now: Timestamp) -> Judged {
    let book = Book::new(snapshot, "", 0);
    let (ledger, _) = book.ledger(&BTreeSet::new());
    let entries = book.entries(&ledger, settings.quarantine, now);
    let look_again = (entries.waiting > 0).then_some(WAITING);
    let mut judged = Judged { entries, look_again, ..Judged::default() };
    judged.clear(snapshot, "", settings, now);
    judged
}

/// How often servers that are to confirm something are looked at.
const WAITING: Duration = Duration::from_secs(4);

impl Judged {
    fn place(
        &mut self,
        snapshot: &Snapshot,
        inputs: &Inputs,
        (uid, slots): (&str, u8),
        (holders, all): (&[Candidate], impl FnOnce() -> Vec<Candidate>),
        settings: Settings,
        now: Timestamp,
    ) {
        if self.accepted.problem.is_some() || self.accepted.families.is_empty() {
            self.withdraw_all(snapshot, uid);
            return;
        }
        let spec = &inputs.network.spec;
        let features = needed(inputs, &self.accepted, slots);
        self.lacking = lacking(&features, holders);
        let placed: Vec<_> = snapshot.servers.iter().map(|server| placed(snapshot, server, uid)).collect();
        let need = Need {
            network: uid,
            servers: slots,
            physical: &spec.physical_network_ref.name,
            vlan: spec.segmentation.vlan.map(|vlan| vlan.id),
            features: &features,
            selector: spec.dhcp.node_selector.as_ref(),
        };
        let mut placement = place(&need, holders, &placed, settings.reschedule_after);
        if placement.searched {
            placement = place(&need, &all(), &placed, settings.reschedule_after);
        }
        self.missing = placement.missing;
        self.look_again = [self.look_again, placement.look_again].into_iter().flatten().min();
        let mut withdrawn = BTreeSet::new();
        for step in placement.steps {
            match step {
                Step::Withdraw { node, why, .. } => {
                    let old = active(snapshot, uid).find(|server| server.spec.node_name == node);
                    withdrawn.extend(old.map(|server| server.spec.node_name.clone()));
                    let step = old.map(|server| ServerStep::Withdraw(server.clone(), why.to_string()));
                    self.servers.extend(step);
                }
                Step::Create { slot, node } => {
                    let predecessor = predecessor(snapshot, uid, (slot, &node), None, &withdrawn);
                    self.create(snapshot, uid, slot, &node, predecessor);
                }
            }
        }
        self.update_all(snapshot, uid, &withdrawn, now);
    }

    fn update_all(&mut self, snapshot: &Snapshot, uid: &str, withdrawn: &BTreeSet<String>, now: Timestamp) {
        let stay = || active(snapshot, uid).filter(|s| !withdrawn.contains(&s.spec.node_name));
        let can = |s: &&Arc<DHCPServer>| !lacks(&self.lacking, &s.spec.node_name, Feature::Dynamic);
        let patience = |server: &DHCPServer| patience(server, now).filter(|_| server.spec.dynamic);
        let standing = |server: &DHCPServer| match placed(snapshot, server, uid).standing {
            Standing::Starting if patience(server).is_some() => Standing::Ready,
            standing => standing,
        };
        let holder = holder(stay().filter(can).map(|server| (&**server, standing(server))));
        let holder = holder.filter(|_| self.accepted.dynamic);
        let untold = holder.is_some() && !stay().any(|server| server.spec.dynamic);
        let waits = stay().filter_map(|server| patience(server)).chain(untold.then_some(UNTOLD));
        self.look_again = waits.chain(self.look_again).min();
        // Who is to stop hears it first.
        let mut updates: Vec<_> = stay().filter_map(|server| self.update(snapshot, server, holder)).collect();
        updates.sort_by_key(|step| matches!(step, ServerStep::Apply(_, _, spec) if spec.dynamic));
        self.servers.extend(updates);
    }

    /// Whoever may not be served is not served a moment longer.
    fn withdraw_all(&mut self, snapshot: &Snapshot, uid: &str) {
        let problem = self.accepted.problem.as_ref();
        let why = problem.map_or_else(|| "no Subnet has DHCP".to_owned(), ToString::to_string);
        let withdraw = |server: &Arc<DHCPServer>| ServerStep::Withdraw(server.clone(), why.clone());
        self.servers.extend(active(snapshot, uid).map(withdraw));
    }

    fn create(&mut self, snapshot: &Snapshot, uid: &str, slot: u8, node: &str, predecessor: Option<String>) {
        let addresses = self.addresses(slot);
        // Without an address it would serve nobody.
        if addresses.is_empty() {
            return;
        }
        self.placing.insert(node.to_owned());
        let spec = DHCPServerSpec {
            network_ref: ServedNetworkRef { name: snapshot.name.name.clone(), uid: uid.to_owned() },
            node_name: node.to_owned(),
            slot,
            state: ServerState::Active,
            addresses,
            mtu: self.accepted.mtu,
            // The first one that there is; others have their turn when it is known.
            dynamic: self.accepted.dynamic
                && self.placing.len() == 1
                && active(snapshot, uid).next().is_none(),
            awaited_revision: None,
            predecessor,
        };
        self.servers.push(ServerStep::Apply(server_name(&snapshot.name.name, node), None, spec));
    }

    /// The change of a server that stays, if there is one.
    fn update(
        &self,
        snapshot: &Snapshot,
        server: &Arc<DHCPServer>,
        strangers: Option<&str>,
    ) -> Option<ServerStep> {
        let reached = reached(server);
        let asked = self.entries.awaited.filter(|awaited| reached.is_none_or(|reached| reached < *awaited));
        let spec = DHCPServerSpec {
            addresses: self.addresses(server.spec.slot),
            mtu: self.accepted.mtu,
            awaited_revision: asked.map_or(server.spec.awaited_revision.clone(), |at| Some(at.to_string())),
            predecessor: predecessor_of(snapshot, server),
            dynamic: strangers == Some(server.spec.node_name.as_str()),
            ..server.spec.clone()
        };
        let name = server.metadata.name.clone().unwrap_or_default();
        (spec != server.spec).then(|| ServerStep::Apply(name, Some(server.clone()), spec))
    }

    fn addresses(&self, slot: u8) -> Vec<ServerAddress> {
        self.accepted.slots.get(usize::from(slot)).cloned().unwrap_or_default()
    }

    /// Withdraws what belongs to no network of ours, and deletes what was taken down.
    fn clear(&mut self, snapshot: &Snapshot, uid: &str, settings: Settings, now: Timestamp) {
        for server in &snapshot.servers {
            let other = server.spec.network_ref.uid != uid;
            if server.spec.state == ServerState::Active {
                if other {
                    let why = "its Network is no more".to_owned();
                    self.servers.push(ServerStep::Withdraw(server.clone(), why));
                }
                continue;
            }
            let fenced = snapshot.agents.get(&server.spec.node_name).is_some_and(|agent| agent.fenced);
            if is_torn_down(server) || fenced || waited_for(server, now) >= settings.quarantine {
                self.servers.push(ServerStep::Delete(server.clone()));
            }
        }
    }
}

/// How often it is tried to tell a server what the API server would not take.
const UNTOLD: Duration = Duration::from_secs(60);

/// How long a server that does not answer keeps the guests that only it knows.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how much longer, by its node's clock; `None` if it answers, if it was silent for so long, or if that
/// clock is ahead.
fn patience(server: &DHCPServer, now: Timestamp) -> Option<Duration> {
    let silent = server.condition("Serving").filter(|serving| serving.status == "False")?;
    let since = Some(silent.last_transition_time.0).filter(|since| *since <= now)?;
    PATIENCE.checked_sub(elapsed(since, now)).filter(|left| !left.is_zero())
}

/// How long ago it was withdrawn.
fn waited_for(server: &DHCPServer, now: Timestamp) -> Duration {
    let withdrawn = server.condition("Ready").filter(|ready| ready.reason == "Withdrawn");
    withdrawn.map_or(Duration::ZERO, |c| elapsed(c.last_transition_time.0, now))
}

/// The servers of a network that are to serve.
pub(super) fn active<'a>(snapshot: &'a Snapshot, uid: &'a str) -> impl Iterator<Item = &'a Arc<DHCPServer>> {
    let is_active =
        move |s: &&Arc<DHCPServer>| s.spec.state == ServerState::Active && s.spec.network_ref.uid == uid;
    snapshot.servers.iter().filter(is_active)
}

fn placed(snapshot: &Snapshot, server: &DHCPServer, uid: &str) -> Placed {
    let standing = if server.spec.state == ServerState::Withdrawn || server.spec.network_ref.uid != uid {
        Standing::Leaving
    } else {
        match snapshot.agents.get(&server.spec.node_name).and_then(|agent| agent.dead_for) {
            Some(for_) => Standing::Gone { for_ },
            None if serves(server) => Standing::Ready,
            None => Standing::Starting,
        }
    };
    Placed { node: server.spec.node_name.clone(), slot: server.spec.slot, standing }
}

/// Whether the agent says that guests are answered.
pub(super) fn serves(server: &DHCPServer) -> bool {
    server.is("Serving")
}

/// `<network>.<node>`; of a long one a part and a hash.
fn server_name(network: &str, node: &str) -> String {
    let name = format!("{network}.{node}");
    if name.len() <= 253 {
        return name;
    }
    let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes()).simple().to_string();
    format!("{}.{digest}", name[..220].trim_end_matches(['.', '-']))
}

/// The labels of a server.
pub(super) fn labels(network: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (NETWORK_LABEL, network.to_owned()),
        ("app.kubernetes.io/managed-by", "kube-dhcp".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DHCPServerStatus;
    use crate::conditions::Says;
    use crate::reason::Problem;

    #[test]
    fn who_was_silent_for_a_minute_was_not_heard_lately() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let server = |status| {
            let problem = Problem::new(crate::reason::Reason::NotAnswering, "silence");
            let says = Says { status, reason: problem.reason, message: &problem.message };
            let conditions = vec![says.condition("Serving", Some(1), since, &[])];
            let status = DHCPServerStatus { conditions, ..DHCPServerStatus::default() };
            DHCPServer { status: Some(status), ..DHCPServer::new("a.n1", DHCPServerSpec::default()) }
        };
        let after = |seconds| since + Duration::from_secs(seconds);
        assert_eq!(patience(&server("False"), after(59)), Some(Duration::from_secs(1)));
        assert_eq!(patience(&server("False"), after(60)), None);
        assert_eq!(patience(&server("True"), after(1)), None, "it is heard");
        let ahead = since - Duration::from_secs(1);
        assert_eq!(patience(&server("False"), ahead), None, "its clock says nothing");
    }
}
