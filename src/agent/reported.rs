//! What was said last of one network, in memory and on the disk.
//!
//! Used by its worker. The report of a large network is written on a thread beside it, and nobody needs to wait
//! for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::beside::Beside;
use crate::durable::{self, Survives};
use crate::report::{self, NetworkReport};
use crate::types::NetworkUid;

/// See the module.
pub(super) struct Reported {
    path: PathBuf,
    last: Option<Arc<NetworkReport>>,
    /// How many there were.
    count: u64,
    /// Which of them is on the disk.
    written: Arc<AtomicU64>,
    writing: Beside,
}

impl Reported {
    pub(super) fn new(state: &Path, uid: NetworkUid) -> Self {
        let path = report::network_path(state, uid);
        Self { path, last: None, count: 0, written: Arc::default(), writing: Beside::default() }
    }

    /// Takes up what an agent before this one said.
    pub(super) fn resume(&mut self) {
        self.last = durable::read(&self.path).unwrap_or_default().map(Arc::new);
    }

    pub(super) fn last(&self) -> Option<&NetworkReport> {
        self.last.as_deref()
    }

    /// Whether just that is on the disk.
    pub(super) fn is(&self, report: &NetworkReport) -> bool {
        self.written.load(Ordering::Acquire) == self.count && self.last() == Some(report)
    }

    /// Writes it, of a large network `aside`. One that nobody waits for is written all the same, unless another
    /// is being written: then [`is`](Self::is) says so.
    pub(super) async fn write(&mut self, report: NetworkReport, aside: bool) -> Result<(), durable::Error> {
        self.count += 1;
        let report = Arc::new(report);
        let old = self.last.replace(report.clone());
        let (path, count, written) = (self.path.clone(), self.count, self.written.clone());
        let write = move || {
            let done = durable::write(&path, &*report, Survives::Crash);
            if done.is_ok() {
                written.store(count, Ordering::Release);
            }
            drop(old);
            done
        };
        if aside {
            return self.writing.run(write).await;
        }
        self.writing.idle().await;
        write()
    }

    /// Nothing is said of it any more.
    pub(super) async fn remove(&mut self) -> Result<(), durable::Error> {
        self.writing.idle().await;
        durable::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;

    const UID: &str = "3f0c9a1b-0000-4000-8000-000000000001";

    fn report(name: &str) -> NetworkReport {
        let text =
            json!({"namespace": "a", "name": name, "uid": UID, "status": {}, "subnets": [], "ports": []});
        serde_json::from_value(text).unwrap()
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_or_known_not_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let mut reported = Reported::new(directory.path(), UID.parse().unwrap());
        let other = || {
            let mut other = Reported::new(directory.path(), UID.parse().unwrap());
            other.resume();
            other.last().cloned()
        };
        for (name, aside) in [("b", false), ("c", true)] {
            reported.write(report(name), aside).await.unwrap();
            assert!(reported.is(&report(name)) && !reported.is(&report("other")));
            assert_eq!(other(), Some(report(name)));
        }
        let (goes_on, may_go_on) = std::sync::mpsc::channel::<()>();
        assert!(reported.writing.run(move || may_go_on.recv().unwrap()).now_or_never().is_none());
        assert!(reported.write(report("d"), true).now_or_never().is_none(), "another is being written");
        goes_on.send(()).unwrap();
        reported.writing.idle().await;
        assert_eq!((reported.last(), other()), (Some(&report("d")), Some(report("c"))));
        assert!(!reported.is(&report("d")), "it is to be said again");

        // Nobody waits.
        let _ = reported.write(report("e"), true).now_or_never();
        reported.remove().await.unwrap();
        assert_eq!(other(), None, "who writes comes to its end first");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_said_again() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("status"), "in the way").unwrap();
        let mut reported = Reported::new(directory.path(), UID.parse().unwrap());
        for aside in [false, true] {
            assert!(reported.write(report("b"), aside).await.is_err());
            assert!(!reported.is(&report("b")));
        }
        std::fs::remove_file(directory.path().join("status")).unwrap();
        reported.write(report("b"), true).await.unwrap();
        assert!(reported.is(&report("b")));
    }
}
