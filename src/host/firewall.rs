//! The checksum rules, made by iptables on a thread in the namespace.
//!
//! Devices of virtual machines leave UDP checksums to hardware that is not there; some DHCP clients
//! drop such answers (Neutron has the same rules).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iptables::IPTables;
use iptables::error::IptablesError;
use tokio::sync::OnceCell;

use super::Error;
use super::netns::{FileId, Netns};
use crate::node::Family;

/// Marks our rules.
pub(super) const COMMENT: &str = "kube-dhcp";

/// iptables' exit code for "try again".
const RESOURCE_PROBLEM: i32 = 4;
const TRIES: u32 = 5;
/// How long iptables may wait for another one; the crate would have it wait for ever.
const WAIT_SECONDS: u32 = 3;

/// How long a rule is believed to be there still, where looking for it takes a process.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);

/// What is known of the node's iptables, and, where the kernel cannot be asked, of its rules.
#[derive(Default)]
pub(super) struct Firewall {
    v4: OnceCell<Arc<IPTables>>,
    v6: OnceCell<Arc<IPTables>>,
    legacy: OnceCell<bool>,
    /// With the legacy backend: the namespaces that have a rule.
    known: Mutex<Known>,
}

/// The rules that were seen, and when.
#[derive(Default)]
struct Known(BTreeMap<(FileId, Family), Instant>);

impl Known {
    /// Whether it was seen lately. One that is forgotten is looked for again.
    fn holds(&mut self, rule: (FileId, Family), now: Instant) -> bool {
        if self.0.get(&rule).is_some_and(|seen| now.duration_since(*seen) >= KNOWN_FOR) {
            self.0.remove(&rule);
        }
        self.0.contains_key(&rule)
    }

    /// One that is known already has not been seen again.
    fn note(&mut self, rule: (FileId, Family), now: Instant) {
        self.0.entry(rule).or_insert(now);
    }
}

impl Firewall {
    /// Adds the rule unless it is there.
    pub(super) async fn add(&self, netns: &Netns, family: Family) -> Result<(), Error> {
        if is_absent(family) {
            return Ok(());
        }
        let iptables = Arc::clone(self.iptables(family).await?);
        let legacy = self.is_legacy().await?;
        netns
            .run(move || if has(&iptables, family, legacy)? { Ok(()) } else { append(&iptables, family) })
            .await??;
        if legacy {
            self.known().note((netns.id, family), Instant::now());
        }
        Ok(())
    }

    /// How the rules can be looked for from inside the namespace.
    pub(super) async fn looker(&self, netns: &Netns) -> Result<Looker, Error> {
        if !self.is_legacy().await? {
            return Ok(Looker::Kernel);
        }
        let mut unknown = Vec::new();
        for family in Family::ALL {
            if !is_absent(family) && !self.known().holds((netns.id, family), Instant::now()) {
                unknown.push((family, Arc::clone(self.iptables(family).await?)));
            }
        }
        Ok(Looker::Legacy(unknown))
    }

    /// Takes in what was found.
    pub(super) async fn found(&self, netns: &Netns, rules: &BTreeSet<Family>) -> Result<(), Error> {
        if self.is_legacy().await? {
            let mut known = self.known();
            for family in rules {
                known.note((netns.id, *family), Instant::now());
            }
        }
        Ok(())
    }

    /// The namespace is gone; its number may come again.
    pub(super) fn forget(&self, netns: &Netns) {
        self.known().0.retain(|(id, _), _| *id != netns.id);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Made once: it asks iptables for its version.
    async fn iptables(&self, family: Family) -> Result<&Arc<IPTables>, Error> {
        let cell = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let make = move || {
            let made = iptables::new(family == Family::V6).map_err(|e| failure(family, &*e))?;
            // The rule says how long.
            Ok(Arc::new(IPTables { has_wait: false, ..made }))
        };
        cell.get_or_try_init(|| super::machine::blocking(make)).await
    }

    /// By the name of what `iptables` leads to, as Debian has it; else iptables is asked.
    async fn is_legacy(&self) -> Result<bool, Error> {
        let ask = || {
            let program = super::machine::find_program(command(Family::V4));
            let program = program.and_then(|(path, _)| path.canonicalize().ok()).unwrap_or_default();
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.contains("nft") || name.contains("legacy") {
                return Ok(name.contains("legacy"));
            }
            let output = std::process::Command::new(command(Family::V4)).arg("--version").output();
            let output = output.map_err(|e| failure(Family::V4, &e))?;
            // Before 1.8 there was only the legacy one, and no word about it.
            Ok(!String::from_utf8_lossy(&output.stdout).contains("nf_tables"))
        };
        self.legacy.get_or_try_init(|| super::machine::blocking(ask)).await.copied()
    }
}

/// How to look for rules, inside a namespace.
pub(super) enum Looker {
    /// Ask the kernel.
    Kernel,
    /// Ask iptables for these; the others are known to be there.
    Legacy(Vec<(Family, Arc<IPTables>)>),
}

impl Looker {
    /// The families that have their rule, or need none. On a thread in the namespace.
    pub(super) fn look(self) -> Result<BTreeSet<Family>, Error> {
        let mut rules = BTreeSet::from(Family::ALL);
        match self {
            Self::Kernel => {
                for family in Family::ALL.into_iter().filter(|family| !is_absent(*family)) {
                    if !in_kernel(family)? {
                        rules.remove(&family);
                    }
                }
            }
            Self::Legacy(unknown) => {
                for (family, iptables) in unknown {
                    if !has(&iptables, family, true)? {
                        rules.remove(&family);
                    }
                }
            }
        }
        Ok(rules)
    }
}

fn has(iptables: &IPTables, family: Family, legacy: bool) -> Result<bool, Error> {
    if !legacy {
        return in_kernel(family);
    }
    patiently(family, || {
        // The crate's own question takes "try again" for a no.
        let output = iptables.execute("mangle", &format!("-C POSTROUTING {}", rule(family)))?;
        if output.status.code() == Some(RESOURCE_PROBLEM) {
            return Err(IptablesError::from(output).into());
        }
        Ok(output.status.success())
    })
}

fn in_kernel(family: Family) -> Result<bool, Error> {
    let name = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    super::nft::has_rule(family).map_err(|e| Error::ListRules(name, e))
}

fn append(iptables: &IPTables, family: Family) -> Result<(), Error> {
    patiently(family, || iptables.append("mangle", "POSTROUTING", &rule(family)))
}

/// On a thread of its own, so it may sleep: another iptables holds the lock, or the kernel is not ready.
fn patiently<T>(family: Family, run: impl Fn() -> Result<T, Box<dyn std::error::Error>>) -> Result<T, Error> {
    let mut tries = 1..=TRIES;
    loop {
        let ran = {
            let _starting = super::gate::starting();
            run()
        };
        let error = match ran {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let busy = error.downcast_ref::<IptablesError>().is_some_and(|e| e.code == RESOURCE_PROBLEM);
        match tries.next() {
            Some(n) if busy => std::thread::sleep(Duration::from_millis(10) * n),
            _ => return Err(failure(family, &*error)),
        }
    }
}

fn rule(family: Family) -> String {
    let port = family.client_port();
    format!(
        "-p udp --dport {port} -m comment --comment {COMMENT} -j CHECKSUM --checksum-fill --wait {WAIT_SECONDS}"
    )
}

/// A node without IPv6 needs no rule for it, and cannot have one.
fn is_absent(family: Family) -> bool {
    family == Family::V6 && !super::machine::has_ipv6()
}

fn command(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// The crate's errors cannot leave their thread.
fn failure(family: Family, error: &dyn std::error::Error) -> Error {
    Error::Firewall { command: command(family), message: error.to_string().trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_looked_for_again_some_time() {
        let (mut known, rule, start) = (Known::default(), ((1, 2), Family::V4), Instant::now());
        assert!(!known.holds(rule, start));
        known.note(rule, start);
        assert!(known.holds(rule, start + KNOWN_FOR / 2));
        known.note(rule, start + KNOWN_FOR / 2);
        assert!(!known.holds(rule, start + KNOWN_FOR));
    }
}
