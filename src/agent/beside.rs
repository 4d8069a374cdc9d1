//! Work on a thread of its own that gives way to whatever guests wait for.
//!
//! Used by the workers of large networks: to go through 10,000 ports takes a processor for as long as the servers
//! beside it answer hundreds of guests.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::nice;
use tokio::sync::oneshot;
use tracing::Span;

/// A tenth of what the servers get where there is not enough for all: nice(2), sched(7).
const NICER: i32 = 10;

/// One at a time: together they would take longer.
#[derive(Debug, Default)]
pub(super) struct Beside(Arc<tokio::sync::Mutex<()>>);

impl Beside {
    /// What `work` returns. Whoever waits no longer leaves what has begun to come to its end: what that returns is
    /// dropped there. What has not begun never does.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.0.clone().lock_owned().await;
        let (done, result) = oneshot::channel();
        let span = Span::current();
        let work = move || {
            let result = span.in_scope(work);
            drop(turn);
            drop(done.send(result));
        };
        let work = Arc::new(Mutex::new(Some(work)));
        let own = work.clone();
        let started = thread::Builder::new().name("beside".to_owned()).spawn(move || {
            // Where it cannot be nicer, it is as it is.
            let _ = nice(NICER);
            take(&own);
        });
        // There is no room for a thread: it is done here.
        let thread = started.map_err(|_| take(&work)).ok();
        match result.await {
            Ok(result) => result,
            Err(nothing) => match thread.map(thread::JoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                _ => resume_unwind(Box::new(nothing)),
            },
        }
    }

    /// Returns when nothing is under way.
    pub(super) async fn idle(&self) {
        drop(self.0.lock().await);
    }
}

fn take(work: &Mutex<Option<impl FnOnce()>>) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = work {
        work();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::getpriority_process;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_gives_way_and_others_do_not() {
        let here = getpriority_process(None).unwrap();
        assert_eq!(
            Beside::default().run(|| getpriority_process(None).unwrap()).await,
            (here + NICER).min(19)
        );
        assert_eq!(getpriority_process(None).unwrap(), here);
    }

    #[tokio::test]
    async fn who_waits_no_longer_leaves_it_to_its_end() {
        let (goes_on, may_go_on) = std::sync::mpsc::channel();
        let (ends, ended) = oneshot::channel();
        let work = move || {
            may_go_on.recv().unwrap();
            ends.send(()).unwrap();
        };
        let beside = Beside::default();
        assert!(timeout(Duration::ZERO, beside.run(work)).await.is_err());
        assert!(timeout(Duration::ZERO, beside.run(|| panic!("it was not its turn"))).await.is_err());
        goes_on.send(()).unwrap();
        beside.idle().await;
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_whoever_waits_for_its() {
        let waits = tokio::spawn(async { Beside::default().run(|| resume_unwind(Box::new("no"))).await });
        let panic = waits.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"no"));
    }
}
