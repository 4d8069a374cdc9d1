//! The ledger of one network, in memory and on the disk.
//!
//! Used by its worker. What we chose for somebody is on the disk before anybody is told.

use std::path::Path;

use crate::allocate::{Change, Ledger};
use crate::desired::{Desired, Inputs, Known, NodeConfig, desired};
use crate::durable;
use crate::fair::Gate;
use crate::node::Segment;
use crate::reason::{Problem, Reason};
use crate::types::NetworkUid;

use super::ledger_file::LedgerFile;

/// Who has, and had, which address.
#[derive(Debug)]
pub(super) struct Kept {
    uid: NetworkUid,
    file: LedgerFile,
    ledger: Option<Ledger>,
    /// What the file does not have yet.
    unkept: Vec<Change>,
    pens: Gate,
    namespace: String,
}

impl Kept {
    pub(super) fn new(state: &Path, uid: NetworkUid, pens: Gate, namespace: &str) -> Self {
        let file = LedgerFile::new(state, uid);
        Self { uid, file, ledger: None, unkept: Vec::new(), pens, namespace: namespace.to_owned() }
    }

    /// What shall be. An address that we chose is on the disk then; one that was asked for by name is
    /// found again from the objects: [`keep`](Self::keep) writes it after the guest was served. With a
    /// problem nothing may be done: it would not be written down.
    pub(super) async fn decide(
        &mut self,
        node: &NodeConfig,
        inputs: &Inputs,
    ) -> (Desired, Result<(), Problem>) {
        // A controller's allocations are in the objects.
        if inputs.server.is_some() {
            return (desired(node, self.uid, inputs, &mut Ledger::default()), Ok(()));
        }
        let before = match self.ledger.take().map_or_else(|| self.read(), Ok) {
            Ok(ledger) => ledger,
            Err(problem) => {
                let desired = Desired { problem: Some(problem.clone()), ..Desired::default() };
                return (desired, Err(problem));
            }
        };
        let mut ledger = before.clone();
        let desired = desired(node, self.uid, inputs, &mut ledger);
        (desired, self.take(before, ledger, inputs).await)
    }

    /// What shall be besides for those who came to a network that was as it shall be: a segment with them as its
    /// only guests. `None`: [`decide`](Self::decide) is to be asked.
    pub(super) async fn receive(
        &mut self,
        node: &NodeConfig,
        known: &Known,
        inputs: &Inputs,
    ) -> Option<Segment> {
        if inputs.server.is_some() {
            return known.arrivals(node, self.uid, inputs, &mut Ledger::default());
        }
        let mut ledger = self.ledger.clone()?;
        let segment = known.arrivals(node, self.uid, inputs, &mut ledger)?;
        let before = self.ledger.take()?;
        self.take(before, ledger, inputs).await.ok()?;
        Some(segment)
    }

    async fn take(&mut self, before: Ledger, now: Ledger, inputs: &Inputs) -> Result<(), Problem> {
        let known = self.unkept.len();
        let changes = now.changes_since(&before);
        let must = changes.iter().any(|change| change.chooses(&before, |port, ip| inputs.asks_for(port, ip)));
        self.unkept.extend(changes);
        self.ledger = Some(now);
        if must && let Err(problem) = self.keep().await {
            self.ledger = Some(before);
            self.unkept.truncate(known);
            return Err(problem);
        }
        Ok(())
    }

    fn read(&self) -> Result<Ledger, Problem> {
        let ledger = self.file.read();
        let unreadable = |e: durable::Error| Problem::new(Reason::StateUnreadable, super::chain(&e));
        Ok(ledger.map_err(unreadable)?.unwrap_or_default())
    }

    /// Writes what the file does not have. Not on a thread that others need.
    pub(super) async fn keep(&mut self) -> Result<(), Problem> {
        let Some(ledger) = self.ledger.clone().filter(|_| !self.unkept.is_empty()) else { return Ok(()) };
        let (mut file, changes) = (self.file.clone(), self.unkept.clone());
        let _pen = self.pens.enter(&self.namespace).await;
        let write = move || {
            let written = file.write(&ledger, &changes);
            (file, written)
        };
        // Fails only while the runtime ends.
        let Ok((file, written)) = tokio::task::spawn_blocking(write).await else { return Ok(()) };
        self.file = file;
        written.map_err(|e| Problem::new(Reason::HostFailed, super::chain(&e)))?;
        self.unkept.clear();
        Ok(())
    }

    /// The network is gone: everybody gives back, and is remembered for a while. A network that was only
    /// away for a moment, as in a replaced manifest, finds everybody at their addresses.
    pub(super) fn release(&mut self) -> Result<(), durable::Error> {
        let mut ledger: Ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.file.read()?.unwrap_or_default(),
        };
        self.unkept.clear();
        if ledger.is_empty() {
            return self.file.remove();
        }
        if ledger.release_all() { self.file.write_whole(&ledger) } else { Ok(()) }
    }
}
