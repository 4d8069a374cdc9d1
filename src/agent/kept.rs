//! The ledger of one network, in memory and on the disk.
//!
//! Used by its worker. What we chose for somebody is on the disk before anybody is told.

use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::allocate::{Change, Ledger};
use crate::desired::{Arrivals, Desired, Inputs, Known, NodeConfig, desired};
use crate::durable;
use crate::fair::Gate;
use crate::node::Segment;
use crate::reason::{Problem, Reason};
use crate::types::NetworkUid;

use super::beside::Beside;
use super::ledger_file::LedgerFile;

/// What shall be, and the ledger as it is to be then.
pub(super) type Decided = Result<(Desired, Ledger), Problem>;

/// Who has, and had, which address.
#[derive(Debug)]
pub(super) struct Kept {
    uid: NetworkUid,
    file: LedgerFile,
    ledger: Option<Ledger>,
    /// What the file does not have yet.
    unkept: Vec<Change>,
    deciding: Beside,
    pens: Gate,
    namespace: String,
}

impl Kept {
    pub(super) fn new(state: &Path, uid: NetworkUid, pens: Gate, namespace: &str) -> Self {
        let (file, namespace) = (LedgerFile::new(state, uid), namespace.to_owned());
        Self { uid, file, ledger: None, unkept: Vec::new(), deciding: Beside::default(), pens, namespace }
    }

    /// What shall be. An address that we chose is on the disk then; one that was asked for by name is
    /// found again from the objects: [`keep`](Self::keep) writes it after the guest was served. With a
    /// problem nothing may be done: it would not be written down.
    pub(super) async fn decide(
        &mut self,
        node: &NodeConfig,
        inputs: &Inputs,
    ) -> (Desired, Result<(), Problem>) {
        let decided = self.before(inputs).map(|mut ledger| {
            let desired = desired(node, self.uid, inputs, &mut ledger);
            (desired, ledger)
        });
        self.accept(decided, inputs).await
    }

    /// The same on a thread of its own, for [`accept`](Self::accept). Cancel-safe: it is as if nobody had asked.
    pub(super) async fn decide_beside(&mut self, node: NodeConfig, inputs: Arc<Inputs>) -> Decided {
        let (uid, mut ledger) = (self.uid, self.before(&inputs)?);
        let decide = move || {
            let desired = desired(&node, uid, &inputs, &mut ledger);
            (desired, ledger)
        };
        Ok(self.deciding.run(decide).await)
    }

    /// Takes what was decided.
    pub(super) async fn accept(
        &mut self,
        decided: Decided,
        inputs: &Inputs,
    ) -> (Desired, Result<(), Problem>) {
        match decided {
            // A controller's allocations are in the objects.
            Ok((desired, _)) if inputs.server.is_some() => (desired, Ok(())),
            Ok((desired, ledger)) => (desired, self.take(ledger, inputs).await),
            Err(problem) => {
                let desired = Desired { problem: Some(problem.clone()), ..Desired::default() };
                (desired, Err(problem))
            }
        }
    }

    /// A copy of the ledger as it is.
    fn before(&mut self, inputs: &Inputs) -> Result<Ledger, Problem> {
        if inputs.server.is_some() {
            return Ok(Ledger::default());
        }
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.read()?,
        };
        Ok(self.ledger.insert(ledger).clone())
    }

    /// What becomes of a network by those who came to it, and a segment with them as its only guests, if anybody
    /// came. `None`: [`decide`](Self::decide) is to be asked.
    pub(super) async fn receive(
        &mut self,
        node: &NodeConfig,
        known: Known,
        inputs: &Arc<Inputs>,
    ) -> Option<(Known, Option<Segment>)> {
        let of_controller = &mut Ledger::default();
        let ledger = if inputs.server.is_some() { of_controller } else { self.ledger.as_mut()? };
        let Arrivals { known, segment, added } = known.arrivals(node, self.uid, inputs, ledger)?;
        if let Some(added) = added {
            let changes = ledger.changes_of(&added);
            // Who came had nothing.
            if self.note(changes, &Ledger::default(), inputs).await.is_err() {
                self.ledger.as_mut()?.undo(added);
                return None;
            }
        }
        Some((known, segment))
    }

    async fn take(&mut self, now: Ledger, inputs: &Inputs) -> Result<(), Problem> {
        let before = self.ledger.replace(now).unwrap_or_default();
        let changes = self.ledger.iter().flat_map(|now| now.changes_since(&before)).collect();
        let noted = self.note(changes, &before, inputs).await;
        if noted.is_err() {
            self.ledger = Some(before);
        }
        noted
    }

    /// Takes down what the ledger has anew; on the disk where nobody could find it again. With a problem that is
    /// to be taken back. `before`: what those who have anything now had.
    async fn note(&mut self, changes: Vec<Change>, before: &Ledger, inputs: &Inputs) -> Result<(), Problem> {
        let known = self.unkept.len();
        let must = changes.iter().any(|change| change.chooses(before, |port, ip| inputs.asks_for(port, ip)));
        self.unkept.extend(changes);
        let kept = if must { self.keep().await } else { Ok(()) };
        if kept.is_err() {
            self.unkept.truncate(known);
        }
        kept
    }

    fn read(&self) -> Result<Ledger, Problem> {
        let ledger = self.file.read();
        let unreadable = |e: durable::Error| Problem::new(Reason::StateUnreadable, super::chain(&e));
        Ok(ledger.map_err(unreadable)?.unwrap_or_default())
    }

    /// Writes what the file does not have. Not on a thread that others need.
    pub(super) async fn keep(&mut self) -> Result<(), Problem> {
        let Some(ledger) = self.ledger.as_ref().filter(|_| !self.unkept.is_empty()).cloned() else {
            return Ok(());
        };
        let (mut file, changes) = (self.file.clone(), self.unkept.clone());
        let _pen = self.pens.enter(&self.namespace).await;
        let write = move || {
            let written = file.write(&ledger, &changes);
            (file, written)
        };
        // Fails only while the runtime ends.
        let Ok((file, written)) = spawn_blocking(write).await else { return Ok(()) };
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
