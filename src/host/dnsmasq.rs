//! Starts, feeds and stops dnsmasq.
//!
//! Called by `linux` with what `plan` decided. It writes what the pure half of the driver renders and
//! returns only when dnsmasq has read it; it knows no options and no hosts.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::RwLock;

use super::ask::Line;
use super::machine::{blocking, ensure_inotify_instances, find_dnsmasq};
use super::netns::{self, FileId, Netns};
use super::process::{Process, Processes};
use super::release::release;
use super::server_files::{append, kept_hosts, prepare, remove, write_names};
use super::server_log::{length, read_from, refused, since, unread, with_limits};
use super::survey::survey;
use super::{Applied, Error, files, orphans};
use crate::dnsmasq::{self, Action, HostChange, Layout, Lease, Record, Share};
use crate::node::Family;
use crate::types::NetworkUid;

/// Stands for files for a moment.
const ROOM: &str = ".room";
/// How often a release is sent, or a start tried.
const TRIES: u32 = 3;
/// Messages of guests that may wait to be read when nothing keeps dnsmasq from it.
const WAITING: u32 = 8;
/// How long dnsmasq may take to become a daemon.
const PATIENCE: Duration = Duration::from_secs(30);
/// `strerror(EADDRINUSE)` in the locale that dnsmasq is given.
const IN_USE: &str = "Address already in use";

/// Of which network, and of which share of its guests.
type Whose = (NetworkUid, Option<Share>);

/// Where files are and which processes run.
pub(super) struct Driver {
    pub(super) state: PathBuf,
    pub(super) processes: Arc<Processes>,
    /// Held by each start; alone by who takes in what runs: it would take in, and reap, what another start
    /// is waiting for.
    pub(super) starts: RwLock<()>,
}

impl Driver {
    /// Does one action for the process of a share, or for the one of none.
    pub(super) async fn apply(
        &self,
        uid: NetworkUid,
        share: Option<Share>,
        action: &Action,
    ) -> Result<Applied, Error> {
        let whose = (uid, share);
        let layout = self.layout(whose);
        match action {
            Action::Reserve(bytes) => {
                let (room, bytes) = (layout.dir().join(ROOM), *bytes);
                blocking(move || files::reserve(&room, bytes)).await?;
            }
            Action::Stop => self.stop(whose).await?,
            Action::Prepare(files) => {
                let (files, all) = (files.clone(), Layout::new(&self.state, uid));
                blocking(move || prepare(&layout, &all, &files)).await?;
            }
            Action::Start(argv) => return self.start_alone(whose, argv).await,
            Action::AddOptions(options) => {
                let text = dnsmasq::options_text(options);
                return self.change(whose, move || append(&layout, &layout.options(), &text)).await;
            }
            Action::AddHosts(changes) => {
                self.free(whose, changes).await?;
                let text = dnsmasq::hosts_text(changes);
                return self.change(whose, move || append(&layout, &layout.hosts(), &text)).await;
            }
            Action::WriteNames(names) => {
                let names = names.clone();
                return self.change(whose, move || write_names(&layout, &names)).await;
            }
            Action::Release(ip, lease) => {
                let kept = self.release(whose, *ip, lease).await?;
                return Ok(Applied { kept, ..Applied::default() });
            }
            Action::Remove => blocking(move || remove(&layout, share)).await?,
        }
        Ok(Applied::default())
    }

    fn layout(&self, (uid, share): Whose) -> Layout {
        Layout::new(&self.state, uid).of(share)
    }

    async fn stop(&self, (uid, share): Whose) -> Result<(), Error> {
        for process in self.processes.of_share(uid, share) {
            process.stop().await?;
        }
        Ok(())
    }

    /// One may be in its way that was being started when the last agent died, and was not there yet to
    /// be found. While it becomes a daemon it is three processes, all with the same sockets.
    async fn start_alone(&self, whose: Whose, argv: &[String]) -> Result<Applied, Error> {
        for _ in 0..TRIES {
            match self.start(whose, argv.to_vec()).await {
                Err(Error::Start { message }) if message.contains(IN_USE) => {}
                started => return started,
            }
            let _alone = self.starts.write().await;
            let state = self.state.clone();
            self.processes.take_in(blocking(move || survey(&state)).await?)?;
        }
        self.start(whose, argv.to_vec()).await
    }

    async fn start(&self, whose: Whose, argv: Vec<String>) -> Result<Applied, Error> {
        // Two of them would write one lease file.
        self.stop(whose).await?;
        let uid = whose.0;
        let starting = self.starts.read().await;
        if whose.1.is_some() {
            // For networks there is room. Where it cannot be made, dnsmasq itself says what it lacks.
            let _ = ensure_inotify_instances(self.processes.count() + 1);
        }
        let netns = netns::open(whose)?;
        let layout = self.layout(whose);
        let (program, binary) = find_dnsmasq()?;
        let log = length(&layout.log());
        files::remove(&layout.pid())?;
        let arguments = argv.clone();
        let output = netns.run(move || spawn(&program, &arguments)).await?;
        let output = output.map_err(|e| Error::Start { message: e.to_string() })?;
        let process = daemon(uid, &layout, &netns, binary).filter(|_| output.status.success());
        let Some(process) = process.filter(|process| process.argv == argv) else {
            orphans::of_failure();
            return Err(Error::Start { message: complaint(&output, &layout.log(), log) });
        };
        orphans::of_daemon(process.pid);
        let process = self.processes.watch(process)?;
        drop(starting);
        Line::open(&netns).await?.barrier(&process).await?;
        let read = blocking(move || {
            let text = since(&layout.log(), log)?;
            unread(&layout, &text)?;
            Ok(refused(&layout, &text))
        });
        let read = read.await;
        if matches!(read, Err(Error::Unread(_))) {
            // It answers nobody, and never will.
            process.stop().await?;
        }
        read
    }

    /// Writes something that dnsmasq watches, waits until it has read it, and asks its log.
    async fn change(
        &self,
        whose: Whose,
        write: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<Applied, Error> {
        let process = self.process(whose)?;
        let layout = self.layout(whose);
        let netns = netns::open(whose)?;
        let log = length(&layout.log());
        let (written, line) = tokio::join!(blocking(write), Line::open(&netns));
        written?;
        line?.barrier(&process).await?;
        blocking(move || Ok(refused(&layout, &since(&layout.log(), log)?))).await
    }

    /// A DHCP message is read after the query of its round, so the second answer comes after it; the
    /// lease file is written before that. Whether the lease stays; that is worth a warning and no more:
    /// nobody else gets the address, and the next start takes it out of the file.
    async fn release(&self, whose: Whose, ip: IpAddr, lease: &Lease) -> Result<bool, Error> {
        let process = self.process(whose)?;
        let leases = self.layout(whose).leases();
        let netns = netns::open(whose)?;
        let line = Line::open(&netns).await?;
        for _ in 0..TRIES {
            let Some(record) = held(&leases, ip, lease)? else { return Ok(false) };
            release(&netns, whose, line.server(ip)?, &record).await?;
            line.barrier(&process).await?;
            line.barrier(&process).await?;
        }
        let kept = held(&leases, ip, lease)?.is_some();
        if kept {
            tracing::warn!(network_uid = %whose.0, %ip, ?lease, "dnsmasq keeps a lease that was released");
        }
        Ok(kept)
    }

    /// Releases the leases whose addresses become another MAC address's. Before the lines that say so: after
    /// them nothing tells whose those leases are.
    async fn free(&self, whose: Whose, changes: &[HostChange]) -> Result<(), Error> {
        let of_dhcpv6 = changes.iter().filter(|change| change.client().1 == Family::V6);
        // Who loses an address and who gets it.
        if of_dhcpv6.count() < 2 {
            return Ok(());
        }
        let (layout, changes) = (self.layout(whose), changes.to_vec());
        let moved = blocking(move || {
            let (hosts, leases) = (kept_hosts(&layout)?, dnsmasq::leases(&files::read(&layout.leases())?));
            Ok(dnsmasq::moved_leases(&hosts, &changes, leases))
        });
        for (ip, lease) in moved.await? {
            self.release(whose, ip, &lease).await?;
        }
        Ok(())
    }

    /// Returns when all of a network's processes have read what guests sent them before, unless that is a flood:
    /// whoever ends now takes no question with it. For one that hangs that can be no condition.
    pub(super) async fn catch_up(&self, uid: NetworkUid) {
        for process in self.processes.of(uid) {
            if let Err(error) = Self::hear_out(&process).await {
                tracing::warn!(network_uid = %uid, pid = process.pid, %error, "dnsmasq may lose a question");
            }
        }
    }

    /// In each of its rounds it answers a question, and then reads one message of DHCP.
    async fn hear_out(process: &Process) -> Result<(), Error> {
        let line = Line::open(&netns::open((process.uid, process.share))?).await?;
        for _ in 0..WAITING {
            line.barrier(process).await?;
        }
        Ok(())
    }

    fn process(&self, (uid, share): Whose) -> Result<Arc<Process>, Error> {
        self.processes.of_share(uid, share).pop().ok_or(Error::NotRunning)
    }
}

/// dnsmasq makes itself a daemon and its parent's exit tells whether that worked.
fn spawn(program: &Path, argv: &[String]) -> std::io::Result<Output> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    let (name, arguments) = argv.split_first().map_or(("dnsmasq", [].as_slice()), |(n, a)| (n, a));
    command.arg0(name).args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = {
        let _starting = super::gate::starting();
        command.spawn()?
    };
    finish(child, PATIENCE)
}

/// One that hangs is ended, and not listened to: a child of its own may have its pipes open for ever.
fn finish(mut child: Child, patience: Duration) -> std::io::Result<Output> {
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let patience = Timespec::try_from(patience).map_err(std::io::Error::other)?;
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)) == Ok(0) {
        child.kill()?;
        child.wait()?;
        return Err(std::io::Error::other(format!("it took longer than {} s", patience.tv_sec)));
    }
    child.wait_with_output()
}

/// The process that has just been started.
fn daemon(uid: NetworkUid, layout: &Layout, netns: &Netns, binary: FileId) -> Option<Process> {
    let pid = files::read(&layout.pid()).ok()?.trim().parse().ok()?;
    Some(Process::open(uid, pid).ok()??.identified(Some(binary), Some(netns.id)))
}

/// Why it did not start: its own words, and what can be done about it.
fn complaint(output: &Output, log: &Path, offset: u64) -> String {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if said.is_empty() { read_from(log, offset).unwrap_or_default() } else { said };
    with_limits(said.lines().last().unwrap_or("it ended at once and said nothing").to_owned())
}

fn held(leases: &Path, ip: IpAddr, lease: &Lease) -> Result<Option<Record>, Error> {
    let text = files::read(leases)?;
    let found = dnsmasq::records(&text).find(|record| record.ip == ip && record.lease == *lease);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_hangs_is_given_up() {
        let finish = |line: &str, patience| {
            let mut shell = Command::new("sh");
            let child = shell.args(["-c", line]).stdout(Stdio::piped()).spawn().unwrap();
            finish(child, patience)
        };
        assert_eq!(finish("echo well", PATIENCE).unwrap().stdout, b"well\n");
        let error = finish("sleep 2 & wait", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "it took longer than 0 s");
    }
}
