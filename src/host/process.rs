//! The dnsmasq processes of this node, each held by a pidfd, so that no other process is ever meant.
//!
//! One thread waits for exits; the kernel tells it. An exit that nobody asked for becomes an event.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::sync::{mpsc, watch};

use super::Error;
use super::netns::FileId;
use crate::dnsmasq::{Layout, Share};
use crate::types::NetworkUid;

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// One dnsmasq.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) uid: NetworkUid,
    pub(super) pid: i32,
    pub(super) argv: Vec<String>,
    /// Whose guests it answers; `None`: those of no share.
    pub(super) share: Option<Share>,
    /// Which program it runs, if that could be found out.
    pub(super) binary: Option<FileId>,
    /// In which network namespace.
    pub(super) netns: Option<FileId>,
    pidfd: OwnedFd,
    stopping: AtomicBool,
    exited: watch::Sender<bool>,
}

impl Process {
    /// A running process; `None` if it is gone.
    pub(super) fn open(uid: NetworkUid, pid: i32) -> Result<Option<Self>, Error> {
        let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            pidfd => pidfd.map_err(|e| Error::Watch(pid, e.into()))?,
        };
        // Only now: from here on the number belongs to the process that the pidfd holds.
        let Some(argv) = command_line(pid) else { return Ok(None) };
        let (stopping, exited) = (AtomicBool::new(false), watch::Sender::new(false));
        let share = share_of(&argv);
        Ok(Some(Self { uid, pid, argv, share, binary: None, netns: None, pidfd, stopping, exited }))
    }

    /// With what is known of its program and its namespace.
    pub(super) fn identified(self, binary: Option<FileId>, netns: Option<FileId>) -> Self {
        Self { binary, netns, ..self }
    }

    /// Whether it runs at this moment, even if its exit has not been noticed yet.
    pub(super) fn is_running(&self) -> bool {
        let mut ready = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    }

    /// Returns when it has ended.
    pub(super) async fn exited(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.exited.subscribe().wait_for(|exited| *exited).await;
    }

    /// Ends it, and waits until it has ended. The polite signal first: it also ends the children that
    /// answer over TCP.
    pub(super) async fn stop(&self) -> Result<(), Error> {
        self.stopping.store(true, Ordering::SeqCst);
        for signal in [Signal::TERM, Signal::KILL] {
            match pidfd_send_signal(&self.pidfd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(Errno::PERM) => return Err(Error::MayNotSignal(self.pid)),
                Err(e) => return Err(Error::Signal(self.pid, e.into())),
            }
            if tokio::time::timeout(PATIENCE, self.exited()).await.is_ok() {
                return Ok(());
            }
        }
        Err(Error::Stuck(self.pid))
    }
}

fn share_of(argv: &[String]) -> Option<Share> {
    let pid_file = argv.iter().find_map(|arg| arg.strip_prefix("--pid-file="))?;
    Layout::whose(pid_file.as_ref())?.1
}

/// The command line of a process; `None` if it is gone, or was gone before anybody waited for it.
pub(super) fn command_line(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(proc(pid, "cmdline")).ok()?;
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\0")?);
    Some(text.split('\0').map(str::to_owned).collect())
}

/// A file below a process's directory.
pub(super) fn proc(pid: i32, name: &str) -> PathBuf {
    ["/proc", &pid.to_string(), name].iter().collect()
}

/// All processes that are watched.
#[derive(Debug)]
pub(super) struct Processes {
    epoll: Arc<OwnedFd>,
    /// Ends the thread.
    end: OwnedFd,
    table: Mutex<Table>,
    events: mpsc::Sender<NetworkUid>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    networks: HashMap<u64, NetworkUid>,
    processes: BTreeMap<(NetworkUid, u64), Arc<Process>>,
}

/// The descriptor that ends the thread; processes count from 1.
const END: u64 = 0;

impl Processes {
    /// None yet; starts the thread.
    pub(super) fn new(events: mpsc::Sender<NetworkUid>) -> Result<Arc<Self>, Error> {
        Self::start(events).map_err(|e| Error::Open("the watch for processes", e))
    }

    fn start(events: mpsc::Sender<NetworkUid>) -> io::Result<Arc<Self>> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&*epoll, &end, epoll::EventData::new_u64(END), epoll::EventFlags::IN)?;
        let processes = Arc::new(Self { epoll: Arc::clone(&epoll), end, table: Mutex::default(), events });
        let weak = Arc::downgrade(&processes);
        std::thread::Builder::new().name("exits".into()).spawn(move || watch_exits(&epoll, &weak))?;
        Ok(processes)
    }

    /// Watches those that are not watched yet.
    pub(super) fn take_in(&self, found: Vec<Process>) -> Result<(), Error> {
        for process in found {
            if self.of(process.uid).iter().all(|known| known.pid != process.pid) {
                self.watch(process)?;
            }
        }
        Ok(())
    }

    /// Watches a process from now on.
    pub(super) fn watch(&self, process: Process) -> Result<Arc<Process>, Error> {
        let process = Arc::new(process);
        let token = {
            let mut table = self.table();
            table.last += 1;
            let token = table.last;
            table.networks.insert(token, process.uid);
            table.processes.insert((process.uid, token), Arc::clone(&process));
            token
        };
        let data = epoll::EventData::new_u64(token);
        let added = epoll::add(&*self.epoll, process.pidfd.as_fd(), data, epoll::EventFlags::IN);
        added.map_err(|e| Error::Watch(process.pid, e.into()))?;
        Ok(process)
    }

    /// The running processes of a network: one for each share and one, where all is well.
    pub(super) fn of(&self, uid: NetworkUid) -> Vec<Arc<Process>> {
        let table = self.table();
        let processes = table.processes.range((uid, 0)..=(uid, u64::MAX)).map(|(_, process)| process);
        processes.filter(|process| process.is_running()).cloned().collect()
    }

    /// Of those the ones of a share, or the ones of none.
    pub(super) fn of_share(&self, uid: NetworkUid, share: Option<Share>) -> Vec<Arc<Process>> {
        let mut processes = self.of(uid);
        processes.retain(|process| process.share == share);
        processes
    }

    /// The networks that have a process.
    pub(super) fn networks(&self) -> Vec<NetworkUid> {
        self.table().networks.values().copied().collect()
    }

    /// How many there are, of all networks.
    pub(super) fn count(&self) -> usize {
        self.table().networks.len()
    }

    /// The process of this number has ended.
    fn ended(&self, token: u64) {
        let mut table = self.table();
        let uid = table.networks.remove(&token);
        let process = uid.and_then(|uid| table.processes.remove(&(uid, token)));
        drop(table);
        let Some(process) = process else { return };
        // Where the agent is process 1 of a container, it is the parent of all daemons.
        let _ = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let _ = epoll::delete(&*self.epoll, process.pidfd.as_fd());
        process.exited.send_replace(true);
        if !process.stopping.load(Ordering::SeqCst) {
            tracing::warn!(network = %process.uid, pid = process.pid, "dnsmasq ended");
            super::tell(&self.events, process.uid);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The thread then finds nobody to tell, and ends.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

fn watch_exits(epoll: &OwnedFd, processes: &Weak<Processes>) {
    let mut events = Vec::with_capacity(64);
    loop {
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return tracing::error!(%error, "cannot wait for exits"),
        }
        let Some(processes) = processes.upgrade() else { return };
        for event in events.drain(..) {
            processes.ended(event.data.u64());
        }
    }
}
