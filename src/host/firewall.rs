//! The rules of a namespace, made by iptables on a thread in it.
//!
//! Devices of virtual machines leave UDP checksums to hardware that is not there; some DHCP clients
//! drop such answers (Neutron has the same rules). And a server that is not alone keeps still when a
//! guest selects another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iptables::IPTables;
use iptables::error::IptablesError;
use tokio::sync::OnceCell;

use super::Error;
use super::netns::{FileId, Netns};
use crate::node::{Family, Rule};

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

/// The rules that were looked for: when, and whether they were there.
#[derive(Default)]
struct Known(BTreeMap<(FileId, Rule), (Instant, bool)>);

impl Known {
    /// Whether it was there lately. One that is forgotten is looked for again.
    fn holds(&mut self, rule: (FileId, Rule), now: Instant) -> Option<bool> {
        if self.0.get(&rule).is_some_and(|(seen, _)| now.duration_since(*seen) >= KNOWN_FOR) {
            self.0.remove(&rule);
        }
        self.0.get(&rule).map(|(_, there)| *there)
    }

    /// What is known already was not looked for again.
    fn note(&mut self, rule: (FileId, Rule), there: bool, now: Instant) {
        let known = self.0.entry(rule).or_insert((now, there));
        if known.1 != there {
            *known = (now, there);
        }
    }
}

impl Firewall {
    /// Adds the rule unless it is there.
    pub(super) async fn add(&self, netns: &Netns, rule: Rule) -> Result<(), Error> {
        if is_absent(rule) {
            return Ok(());
        }
        let iptables = Arc::clone(self.iptables(rule.family()).await?);
        let legacy = self.is_legacy().await?;
        netns
            .run(move || if has(&iptables, rule, legacy)? { Ok(()) } else { append(&iptables, rule) })
            .await??;
        if legacy {
            self.known().note((netns.id, rule), true, Instant::now());
        }
        Ok(())
    }

    /// Whether kernel and iptables know the rule: tried in a namespace of its own.
    pub(super) async fn try_out(&self, rule: Rule) -> Result<bool, Error> {
        let iptables = Arc::clone(self.iptables(rule.family()).await?);
        let tried = super::netns::scratch(move || append(&iptables, rule)).await?;
        if let Err(error) = &tried {
            let error = error as &(dyn std::error::Error + 'static);
            tracing::warn!(error, "this node cannot have the rule: {}", text(rule));
        }
        Ok(tried.is_ok())
    }

    /// How the rules can be looked for from inside the namespace.
    pub(super) async fn looker(&self, netns: &Netns) -> Result<Looker, Error> {
        if !self.is_legacy().await? {
            return Ok(Looker::Kernel);
        }
        let (mut unknown, mut missing) = (Vec::new(), Vec::new());
        for rule in Rule::ALL.into_iter().filter(|rule| !is_absent(*rule)) {
            let known = self.known().holds((netns.id, rule), Instant::now());
            match known {
                Some(true) => {}
                Some(false) => missing.push(rule),
                None => unknown.push((rule, Arc::clone(self.iptables(rule.family()).await?))),
            }
        }
        Ok(Looker::Legacy { unknown, missing })
    }

    /// Takes in what was found.
    pub(super) async fn found(&self, netns: &Netns, rules: &BTreeSet<Rule>) -> Result<(), Error> {
        if self.is_legacy().await? {
            let mut known = self.known();
            for rule in Rule::ALL {
                known.note((netns.id, rule), rules.contains(&rule), Instant::now());
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
    /// Ask iptables for the unknown ones; all others but the missing ones are known to be there.
    Legacy { unknown: Vec<(Rule, Arc<IPTables>)>, missing: Vec<Rule> },
}

impl Looker {
    /// The rules that are there, or not needed. On a thread in the namespace.
    pub(super) fn look(self) -> Result<BTreeSet<Rule>, Error> {
        let mut rules = BTreeSet::from(Rule::ALL);
        match self {
            Self::Kernel => {
                for rule in Rule::ALL.into_iter().filter(|rule| !is_absent(*rule)) {
                    if !in_kernel(rule)? {
                        rules.remove(&rule);
                    }
                }
            }
            Self::Legacy { unknown, missing } => {
                rules.retain(|rule| !missing.contains(rule));
                for (rule, iptables) in unknown {
                    if !has(&iptables, rule, true)? {
                        rules.remove(&rule);
                    }
                }
            }
        }
        Ok(rules)
    }
}

fn has(iptables: &IPTables, rule: Rule, legacy: bool) -> Result<bool, Error> {
    if !legacy {
        return in_kernel(rule);
    }
    let (table, chain) = place(rule);
    patiently(rule.family(), || {
        // The crate's own question takes "try again" for a no.
        let output = iptables.execute(table, &format!("-C {chain} {}", text(rule)))?;
        if output.status.code() == Some(RESOURCE_PROBLEM) {
            return Err(IptablesError::from(output).into());
        }
        Ok(output.status.success())
    })
}

fn in_kernel(rule: Rule) -> Result<bool, Error> {
    let name = match rule.family() {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let (table, chain) = place(rule);
    super::nft::has_rule(rule.family(), table, chain).map_err(|e| Error::ListRules(name, e))
}

fn append(iptables: &IPTables, rule: Rule) -> Result<(), Error> {
    let (table, chain) = place(rule);
    patiently(rule.family(), || iptables.append(table, chain, &text(rule)))
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

/// Table and chain.
fn place(rule: Rule) -> (&'static str, &'static str) {
    match rule {
        Rule::Checksum(_) => ("mangle", "POSTROUTING"),
        Rule::SelectedOther => ("filter", "OUTPUT"),
    }
}

fn text(rule: Rule) -> String {
    let (packets, target) = match rule {
        Rule::Checksum(family) => {
            (format!("--dport {}", family.client_port()), "CHECKSUM --checksum-fill".to_owned())
        }
        Rule::SelectedOther => {
            // Option 53 says NAK, option 56 why: dnsmasq's words for a request with another's server identifier.
            let nak = "-m string --algo bm --hex-string |350106|";
            (format!("--sport 67 {nak} -m string --algo bm --string \"wrong server-ID\""), "DROP".to_owned())
        }
    };
    format!("-p udp {packets} -m comment --comment {COMMENT} -j {target} --wait {WAIT_SECONDS}")
}

/// A node without IPv6 needs no rule for it, and cannot have one.
fn is_absent(rule: Rule) -> bool {
    rule.family() == Family::V6 && !super::machine::has_ipv6()
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
        let (mut known, rule, start) = (Known::default(), ((1, 2), Rule::SelectedOther), Instant::now());
        assert_eq!(known.holds(rule, start), None);
        known.note(rule, false, start);
        known.note(rule, true, start);
        assert_eq!(known.holds(rule, start + KNOWN_FOR / 2), Some(true));
        known.note(rule, true, start + KNOWN_FOR / 2);
        assert_eq!(known.holds(rule, start + KNOWN_FOR), None);
    }
}
