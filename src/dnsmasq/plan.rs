//! From the dnsmasq that is to the dnsmasq that shall be: by added lines where it takes them, by a
//! fresh process where it does not.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Action, Files, Server};

/// Steps, and whether more is left to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// In this order.
    pub actions: Vec<Action>,
    /// A fresh process is needed that was not allowed yet.
    pub postponed: bool,
}

/// The steps from `observed` to `wanted`. A process that serves is replaced only if `may_restart`; one
/// that cannot serve (its device is `replaced`, it is gone, old or in another namespace) always.
pub fn plan(
    wanted: Option<&Server>,
    observed: Option<&Server>,
    replaced: bool,
    may_restart: bool,
) -> Planned {
    let nothing = Server::default();
    let Some(wanted) = wanted else { return Planned { actions: remove(observed), postponed: false } };
    let observed = observed.unwrap_or(&nothing);
    let changes = Changes::between(wanted, observed);
    let broken = replaced || !observed.process.as_ref().is_some_and(|process| process.current);
    let stuck = changes.stuck || wanted.process != observed.process;
    if broken || (stuck && may_restart) {
        return Planned { actions: restart(wanted, observed), postponed: false };
    }
    Planned { actions: changes.actions(wanted, observed), postponed: stuck }
}

fn remove(observed: Option<&Server>) -> Vec<Action> {
    let stop = observed.and_then(|server| server.process.as_ref()).map(|_| Action::Stop);
    stop.into_iter().chain(observed.map(|_| Action::Remove)).collect()
}

fn restart(wanted: &Server, observed: &Server) -> Vec<Action> {
    let files = Files {
        hosts: wanted.hosts.entries.clone(),
        silent: wanted.hosts.silent.clone(),
        dynamic: wanted.dynamic(),
        options: wanted.options.values.clone(),
        names: wanted.names.clone(),
    };
    let argv = wanted.process.as_ref().map(|process| process.argv.clone()).unwrap_or_default();
    let stop = observed.process.as_ref().map(|_| [Action::Reserve(room(&files)), Action::Stop]);
    stop.into_iter().flatten().chain([Action::Prepare(files), Action::Start(argv)]).collect()
}

/// More than the files take, with the leases, in bytes.
fn room(files: &Files) -> u64 {
    let options: usize = files.options.values().map(|value| value.len() + 64).sum();
    let lines = 320 * (files.hosts.len() + files.silent.len()) + 96 * files.names.len();
    u64::try_from(options + lines).unwrap_or(u64::MAX).saturating_add(1 << 16)
}

/// What a running process can be told.
struct Changes {
    hosts: Vec<super::HostChange>,
    options: std::collections::BTreeMap<super::OptionKey, String>,
    stuck: bool,
}

impl Changes {
    fn between(wanted: &Server, observed: &Server) -> Self {
        let hosts = &wanted.hosts.entries;
        let ports = hosts.iter().map(|((_, family), host)| (*family, host.tag.as_str()));
        let scopes = wanted.options.values.keys().map(|key| (key.code.family(), key.tag.as_str()));
        let tags: HashSet<_> = ports.chain(scopes).collect();
        let (hosts, stuck_hosts) =
            observed.hosts.changes_to(&wanted.hosts, &observed.names, !wanted.dynamic().is_empty());
        let (options, stuck_options) = observed.options.changes_to(&wanted.options.values, &tags);
        Self { hosts, options, stuck: stuck_hosts || stuck_options }
    }

    /// Options before the hosts that have them; names after the hosts, for each of the two keeps
    /// dnsmasq from answering for a while and a guest waits for the first.
    fn actions(self, wanted: &Server, observed: &Server) -> Vec<Action> {
        let mut after = Cow::Borrowed(&observed.hosts);
        if !self.hosts.is_empty() {
            self.hosts.iter().for_each(|change| after.to_mut().read(change));
        }
        let mut actions = Vec::new();
        if !self.options.is_empty() {
            actions.push(Action::AddOptions(self.options));
        }
        if !self.hosts.is_empty() {
            actions.push(Action::AddHosts(self.hosts));
        }
        if wanted.names != observed.names {
            actions.push(Action::WriteNames(wanted.names.clone()));
        }
        let stale = observed.stale_leases(&after).map(|(ip, lease)| Action::Release(ip, lease.clone()));
        actions.extend(stale);
        actions
    }
}
