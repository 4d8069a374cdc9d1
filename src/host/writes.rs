//! Watches what dnsmasq writes: its lease file and its log. That guests got leases nobody else tells.
//!
//! Made by `linux`. One inotify instance and one thread for all networks.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::dnsmasq::Layout;
use crate::types::NetworkUid;

/// dnsmasq writes a long file in many pieces, and guests come together: what happens meanwhile is told
/// together.
const GATHER: Duration = Duration::from_millis(50);

/// By the watch of its directory.
type Networks = Mutex<HashMap<i32, NetworkUid>>;

/// Ends when it is dropped.
pub(super) struct Writes {
    inotify: Arc<OwnedFd>,
    networks: Arc<Networks>,
    /// Ends the thread.
    end: Arc<OwnedFd>,
}

impl Writes {
    /// Nothing is watched yet; starts the thread.
    pub(super) fn start(events: mpsc::Sender<NetworkUid>) -> io::Result<Self> {
        let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let networks = Arc::<Networks>::default();
        let (fd, stop, known) = (inotify.clone(), end.clone(), networks.clone());
        std::thread::Builder::new()
            .name("writes".into())
            .spawn(move || watch(&fd, &stop, &known, &events))?;
        Ok(Self { inotify, networks, end })
    }

    /// Watches the directories of all servers of a network.
    pub(super) fn heed_all(&self, uid: NetworkUid, all: &Layout) {
        // Where they cannot be listed they are looked at next time.
        let layouts = super::layouts(all).unwrap_or_default();
        for layout in layouts.values() {
            self.heed(uid, layout.dir());
        }
    }

    /// Watches a network's directory from now on; it is watched until it goes. Without it the leases are
    /// looked at now and then only: that is no reason not to serve.
    fn heed(&self, uid: NetworkUid, directory: &Path) {
        let mut networks = lock(&self.networks);
        match inotify::add_watch(&*self.inotify, directory, WatchFlags::MODIFY | WatchFlags::MOVED_TO) {
            Ok(watch) => drop(networks.insert(watch, uid)),
            Err(Errno::NOENT) => {}
            Err(error) => {
                tracing::warn!(network_uid = %uid, %error, "cannot watch its leases; see fs.inotify.max_user_watches");
            }
        }
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
    }
}

fn lock(networks: &Networks) -> MutexGuard<'_, HashMap<i32, NetworkUid>> {
    networks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(inotify: &OwnedFd, end: &OwnedFd, networks: &Networks, events: &mpsc::Sender<NetworkUid>) {
    loop {
        let mut ready = [PollFd::new(inotify, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return tracing::error!(%error, "cannot wait for leases"),
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        std::thread::sleep(GATHER);
        for uid in written(inotify, networks) {
            super::tell(events, uid);
        }
    }
}

/// The networks of which something was written since the last call.
fn written(inotify: &OwnedFd, networks: &Networks) -> BTreeSet<NetworkUid> {
    let mut buffer = [MaybeUninit::uninit(); 16_384];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut written = BTreeSet::new();
    // It ends with an error when nothing is left.
    while let Ok(event) = reader.next() {
        let mut networks = lock(networks);
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            written.extend(networks.values());
        } else if event.events().contains(ReadFlags::IGNORED) {
            networks.remove(&event.wd());
        } else if event.file_name().is_some_and(|name| matches!(name.to_bytes(), b"leases" | b"log")) {
            written.extend(networks.get(&event.wd()));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn what_is_written_into_leases_and_log_is_told_and_nothing_else() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let uid = |n: u8| format!("3f0c9a1b-0000-4000-8000-00000000000{n}").parse::<NetworkUid>().unwrap();
        let (sender, mut events) = mpsc::channel(9);
        let writes = Writes::start(sender).unwrap();
        writes.heed(uid(1), one.path());
        writes.heed(uid(2), two.path());
        writes.heed(uid(3), &two.path().join("not there"));
        fs::write(one.path().join(".new"), "x").unwrap();
        fs::write(two.path().join("leases"), "x").unwrap();
        assert_eq!(events.recv().await, Some(uid(2)));
        fs::rename(one.path().join(".new"), one.path().join("log")).unwrap();
        assert_eq!(events.recv().await, Some(uid(1)));
        drop(two);
        fs::write(one.path().join("leases"), "x").unwrap();
        assert_eq!(events.recv().await, Some(uid(1)));
        drop(writes);
        assert_eq!(events.recv().await, None, "the thread ends");
    }
}
