//! Waiting for a watch to say something.
//!
//! Called by the watch for each event.

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backoff::jittered;

/// The API server says something at least once a minute, if only how far it is.
const SILENCE: Duration = Duration::from_secs(100);
/// A stream that says nothing for so long after the API server was away may be of one that is no more.
const SUSPECT: Duration = Duration::from_secs(10);

/// What was heard.
pub(super) enum Heard<T> {
    /// The next event, an error, or the end.
    Event(kube::Result<Option<T>>),
    /// Nothing for long; all is well otherwise.
    Nothing,
    /// Nothing since the API server was away.
    Suspect,
}

/// The next event, if it comes in time.
pub(super) async fn heard<T>(
    events: &mut (impl Stream<Item = kube::Result<T>> + Unpin),
    revivals: &mut watch::Receiver<u64>,
) -> Heard<T> {
    let suspect = async {
        // The sender lives as long as the pulse.
        let _ = revivals.changed().await;
        sleep(jittered(SUSPECT)).await;
    };
    tokio::select! {
        biased;
        event = events.next() => Heard::Event(event.transpose()),
        () = suspect => Heard::Suspect,
        () = sleep(SILENCE) => Heard::Nothing,
    }
}
