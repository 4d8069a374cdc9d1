//! Removes links together: each removal makes the kernel wait about 20 ms for readers, however many
//! links it removes, and all others wait for it.
//!
//! Called by `linux` for outer devices. While one removal is under way, those that come are gathered
//! for the next.

use rtnetlink::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::link;

/// A group of links of nobody's but ours: what is in it is removed.
pub(super) const GROUP: u32 = 0x6b64_656c;

type Request = (String, oneshot::Sender<Result<(), Error>>);

/// Ends when it is dropped.
pub(super) struct Removals {
    requests: mpsc::UnboundedSender<Request>,
}

impl Removals {
    /// In the namespace of `handle`.
    pub(super) fn start(handle: Handle) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        tokio::spawn(serve(handle, receiver));
        Self { requests }
    }

    /// Removes a link, a veth with its other end, unless it is gone.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        // If nobody takes it, nobody answers.
        let _ = self.requests.send((name.to_owned(), done));
        outcome.await.map_err(|_| Error::Interrupted("the removal of links"))?
    }
}

async fn serve(handle: Handle, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, usize::MAX).await > 0 {
        for (name, _) in &batch {
            // One that is gone, or cannot be moved, is met again by its name.
            let _ = link::set_group(&handle, name, GROUP).await;
        }
        if batch.len() > 1 {
            let _ = link::delete_group(&handle, GROUP).await;
        }
        for (name, done) in batch.drain(..) {
            // The caller may have given up.
            let _ = done.send(link::delete(&handle, &name).await);
        }
    }
}
