//! The servers of a network: whether each is ready, and what is said of that.
//!
//! Part of `statuses`. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::shortcomings::displaced;
use crate::api::{AGENT_CONDITIONS, Conditioned, DHCPServer, DHCPServerStatus, ServerState};
use crate::conditions::ready_only;
use crate::controller::act::Undone;
use crate::controller::book::is_current;
use crate::controller::judge::{Judged, serves};
use crate::controller::world::Snapshot;
use crate::reason::{Problem, Reason};

/// The controller's part of the servers' statuses.
pub(super) fn servers(snapshot: &Snapshot, now: Timestamp) -> Vec<(Arc<DHCPServer>, DHCPServerStatus)> {
    let of = |server: &Arc<DHCPServer>| {
        let has = server.status.clone().unwrap_or_default();
        let generation = server.metadata.generation.unwrap_or(0);
        let state = server_state(snapshot, server);
        // From then on it is waited for, however long it was not ready before.
        let is_withdrawn = |c: &Condition| c.reason == Reason::Withdrawn.as_str();
        let withdrawn = state.as_ref().is_err_and(|problem| problem.reason == Reason::Withdrawn);
        let news = withdrawn && !server.condition("Ready").is_some_and(is_withdrawn);
        let before = if news { &[] } else { &has.conditions[..] };
        let conditions = ready_only(&state, generation, now, before);
        let ours = has.conditions.iter().filter(|c| !AGENT_CONDITIONS.contains(&c.type_.as_str()));
        let same = has.observed_generation == generation && ours.eq(conditions.iter());
        let status =
            DHCPServerStatus { observed_generation: generation, conditions, ..DHCPServerStatus::default() };
        (!same).then(|| (server.clone(), status))
    };
    snapshot.servers.iter().filter_map(of).collect()
}

/// Whether a server answers guests: it serves, and its agent is alive. Also while a change of it is on
/// its way.
pub(super) fn answers(snapshot: &Snapshot, server: &DHCPServer) -> Result<(), Problem> {
    if server.spec.state == ServerState::Withdrawn {
        return Err(Problem::new(Reason::Withdrawn, "it is to be taken down"));
    }
    if !lives(snapshot, server) {
        let message = format!("the agent of node {} does not renew its Lease", server.spec.node_name);
        return Err(Problem::new(Reason::LeaseExpired, message));
    }
    if serves(server) {
        return Ok(());
    }
    let not = server.condition("Serving").filter(|serving| serving.status == "False");
    let message = not.map_or_else(|| "its agent has not reported yet".to_owned(), |c| c.message.clone());
    Err(Problem::new(Reason::Progressing, message))
}

/// Whether its agent is alive.
pub(super) fn lives(snapshot: &Snapshot, server: &DHCPServer) -> bool {
    snapshot.agents.get(&server.spec.node_name).is_some_and(|agent| agent.dead_for.is_none())
}

/// Whether a server is ready: it answers guests, and is as it is to be.
fn server_state(snapshot: &Snapshot, server: &DHCPServer) -> Result<Option<Problem>, Problem> {
    answers(snapshot, server)?;
    if is_current(server) {
        return Ok(displaced(server));
    }
    Err(Problem::new(Reason::Progressing, "its agent has not yet done what is new"))
}

/// Why not all servers are placed, if so.
pub(super) fn unplaced(judged: &Judged, undone: &Undone) -> Option<Problem> {
    let missing = judged.missing.as_ref().map(|missing| Problem::new(Reason::NoAgent, missing.to_string()));
    let refused = |why| Problem::new(Reason::RefusedByAPIServer, format!("a DHCPServer is refused: {why}"));
    missing.or_else(|| undone.server.as_ref().map(refused))
}

pub(super) fn why(snapshot: &Snapshot, unplaced: Option<&Problem>, active: &[&Arc<DHCPServer>]) -> Problem {
    if active.is_empty() {
        let progressing = || Problem::new(Reason::Progressing, "no server is placed yet");
        return unplaced.cloned().unwrap_or_else(progressing);
    }
    let states = active.iter().filter_map(|server| {
        let problem = answers(snapshot, server).err()?;
        Some(format!("node {}: {problem}", server.spec.node_name))
    });
    let message = states.collect::<Vec<_>>().join("; ");
    let starts = |server: &&Arc<DHCPServer>| {
        let state = server_state(snapshot, server).err().map(|problem| problem.reason);
        state == Some(Reason::Progressing) && server.condition("Serving").is_none()
    };
    let reason = if active.iter().any(starts) { Reason::Progressing } else { Reason::NoServerReady };
    Problem::new(reason, format!("no server is ready: {message}"))
}
