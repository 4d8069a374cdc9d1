//! The ledger of one network, in memory and on the disk.
//!
//! Used by its worker. What we chose for somebody is on the disk before anybody is told.

use std::path::{Path, PathBuf};

use crate::allocate::Ledger;
use crate::desired::{Desired, Inputs, NodeConfig, desired};
use crate::durable::{self, Survives};
use crate::fair::Gate;
use crate::reason::{Problem, Reason};
use crate::types::NetworkUid;

use super::context::ledger_path;

/// Who has, and had, which address.
#[derive(Debug)]
pub(super) struct Kept {
    uid: NetworkUid,
    path: PathBuf,
    ledger: Option<Ledger>,
    /// The file does not have it yet.
    unkept: bool,
    pens: Gate,
    namespace: String,
}

impl Kept {
    pub(super) fn new(state: &Path, uid: NetworkUid, pens: Gate, namespace: &str) -> Self {
        let path = ledger_path(state, uid);
        Self { uid, path, ledger: None, unkept: false, pens, namespace: namespace.to_owned() }
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
        self.unkept |= ledger != before;
        let must = self.unkept && ledger.has_chosen(&before, |port, ip| inputs.asks_for(port, ip));
        self.ledger = Some(ledger);
        if must && let Err(problem) = self.keep().await {
            self.ledger = Some(before);
            return (desired, Err(problem));
        }
        (desired, Ok(()))
    }

    fn read(&self) -> Result<Ledger, Problem> {
        let ledger = durable::read(&self.path);
        let unreadable = |e: durable::Error| Problem::new(Reason::StateUnreadable, super::chain(&e));
        Ok(ledger.map_err(unreadable)?.unwrap_or_default())
    }

    /// Writes the ledger, if the file does not have it. Not on a thread that others need.
    pub(super) async fn keep(&mut self) -> Result<(), Problem> {
        let Some(ledger) = self.ledger.clone().filter(|_| self.unkept) else { return Ok(()) };
        let path = self.path.clone();
        let _pen = self.pens.enter(&self.namespace).await;
        let write = move || durable::write(&path, &ledger, Survives::PowerFailure);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => self.unkept = false,
            Ok(Err(e)) => return Err(Problem::new(Reason::HostFailed, super::chain(&e))),
            // Only while the runtime ends.
            Err(_) => {}
        }
        Ok(())
    }

    /// The network is gone: everybody gives back, and is remembered for a while. A network that was only
    /// away for a moment, as in a replaced manifest, finds everybody at their addresses.
    pub(super) fn release(&mut self) -> Result<(), durable::Error> {
        let mut ledger: Ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => durable::read(&self.path)?.unwrap_or_default(),
        };
        self.unkept = false;
        if ledger.is_empty() {
            return durable::remove(&self.path);
        }
        if ledger.release_all() {
            durable::write(&self.path, &ledger, Survives::PowerFailure)
        } else {
            Ok(())
        }
    }
}
