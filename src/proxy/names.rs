//! The addresses of the metadata server's name, on a thread of its own: a resolver that does not answer keeps
//! threads for many seconds, and those of the runtime are needed for other networks.
//!
//! Used by `forward`. Whoever asks while a question is under way waits for its answer.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

/// As long an answer is taken for true.
const FRESH: Duration = Duration::from_secs(10);

type Lookup = dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// See the module.
pub(super) struct Names {
    lookup: Arc<Lookup>,
    asking: Arc<AtomicBool>,
    found: Arc<watch::Sender<Found>>,
}

#[derive(Clone, Default)]
struct Found {
    /// The last ones that there were.
    addresses: Vec<SocketAddr>,
    at: Option<Instant>,
    /// Why the last question had no answer.
    failed: Option<(io::ErrorKind, String)>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Of a host, by name or address.
    pub(super) fn new(host: String, port: u16) -> Self {
        Self::with(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
    }

    fn with(lookup: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        let found = Arc::new(watch::Sender::new(Found::default()));
        Self { lookup: Arc::new(lookup), asking: Arc::default(), found }
    }

    /// Waits at most so long for new ones, and then takes old ones, if there ever were any.
    pub(super) async fn addresses(&self, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        let mut news = self.found.subscribe();
        let known = news.borrow_and_update().clone();
        if known.at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(known.addresses);
        }
        self.ask()?;
        // The sender lives as long as this.
        let told = timeout(patience, news.changed()).await.is_ok();
        let Found { addresses, failed, .. } = news.borrow().clone();
        match failed.filter(|_| told) {
            Some((kind, why)) if addresses.is_empty() => Err(io::Error::new(kind, why)),
            None if addresses.is_empty() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(addresses),
        }
    }

    fn ask(&self) -> io::Result<()> {
        if self.asking.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (lookup, asking, found) = (self.lookup.clone(), self.asking.clone(), self.found.clone());
        let thread = std::thread::Builder::new().name("metadata-name".to_owned());
        let started = thread.spawn(move || {
            let answer = lookup();
            // Whoever asks from here on asks anew, or hears this.
            asking.store(false, Ordering::Release);
            found.send_modify(|found| match answer {
                Ok(addresses) => {
                    *found = Found { addresses, at: Some(Instant::now()), failed: None };
                }
                Err(e) => found.failed = Some((e.kind(), e.to_string())),
            });
        });
        started.map(drop).inspect_err(|_| self.asking.store(false, Ordering::Release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{Receiver, Sender, channel};

    type Answer = io::Result<Vec<SocketAddr>>;

    /// Names whose answers come when they are sent; and how often was asked.
    fn slow() -> (Names, Sender<Answer>, Arc<AtomicUsize>) {
        let (answer, answers): (_, Receiver<Answer>) = channel();
        let (answers, asked) = (Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let names = Names::with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            answers.lock().unwrap().recv().unwrap_or_else(|_| Err(io::ErrorKind::NotFound.into()))
        });
        (names, answer, asked)
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    #[tokio::test]
    async fn who_asks_while_a_question_is_under_way_waits_for_its_answer() {
        let (names, answer, asked) = slow();
        let all =
            futures::future::join_all((0..50).map(|_| names.addresses(Duration::from_millis(20)))).await;
        assert!(all.iter().all(|one| one.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let (found, ()) = tokio::join!(names.addresses(Duration::from_secs(10)), async {
            answer.send(Ok(vec![address(1)])).unwrap();
        });
        assert_eq!(found.unwrap(), [address(1)]);
        // It is known now.
        assert_eq!(names.addresses(Duration::ZERO).await.unwrap(), [address(1)]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_was_known_is_better_than_nothing() {
        let (names, answer, _) = slow();
        answer.send(Ok(vec![address(1)])).unwrap();
        names.addresses(Duration::from_secs(10)).await.unwrap();
        names.found.send_modify(|found| found.at = None);
        assert_eq!(names.addresses(Duration::from_millis(20)).await.unwrap(), [address(1)]);
        let (none, answer, _) = slow();
        answer.send(Err(io::Error::other("no such name"))).unwrap();
        let error = none.addresses(Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(error.to_string(), "no such name");
    }
}
