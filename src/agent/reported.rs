//! What was said last of one network, in memory and on the disk.
//!
//! Used by its worker. The report of a large network is written on a thread beside it, and nobody needs to wait
//! for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::beside::beside;
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
    /// Whoever writes.
    writing: Arc<Mutex<()>>,
}

impl Reported {
    pub(super) fn new(state: &Path, uid: NetworkUid) -> Self {
        let path = report::network_path(state, uid);
        Self { path, last: None, count: 0, written: Arc::default(), writing: Arc::default() }
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
    pub(super) fn write(
        &mut self,
        report: NetworkReport,
        aside: bool,
    ) -> impl Future<Output = Result<(), durable::Error>> + use<> {
        self.count += 1;
        let report = Arc::new(report);
        let old = self.last.replace(report.clone());
        let (path, count) = (self.path.clone(), self.count);
        let (written, writing) = (self.written.clone(), self.writing.clone());
        async move {
            let turn = writing.lock_owned().await;
            let write = move || {
                let done = durable::write(&path, &*report, Survives::Crash);
                if done.is_ok() {
                    written.store(count, Ordering::Release);
                }
                drop((turn, old));
                done
            };
            if aside { beside(write).await } else { write() }
        }
    }

    /// Nothing is said of it any more.
    pub(super) async fn remove(&mut self) -> Result<(), durable::Error> {
        let _turn = self.writing.lock().await;
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
        let writing = reported.writing.clone().lock_owned().await;
        assert!(reported.write(report("d"), true).now_or_never().is_none(), "another is being written");
        drop(writing);
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
