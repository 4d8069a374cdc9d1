//! Starts, feeds and stops dnsmasq.
//!
//! Called by `linux` with what `plan` decided. It writes what the pure half of the driver renders and
//! returns only when dnsmasq has read it; it knows no options and no hosts.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::RwLock;

use super::ask::Line;
use super::machine::{blocking, find_dnsmasq, inotify_instances};
use super::netns::{self, FileId, Netns};
use super::process::{Process, Processes};
use super::release::release;
use super::survey::survey;
use super::{Applied, Error, Refused, Said, files, orphans};
use crate::dnsmasq::{self, Action, FIRST, Files, HostChange, Layout, Lease, Record};
use crate::node::Family;
use crate::types::NetworkUid;

/// The file of names in its directory.
const NAMES: &str = "names";
/// Beside the watched directories: dnsmasq reads everything that is in one.
const NEW: &str = ".new";
/// A log longer than this is set aside.
const LOG_LENGTH: u64 = 1 << 20;
/// How often a release is sent, or a start tried.
const TRIES: u32 = 3;
/// How long dnsmasq may take to become a daemon.
const PATIENCE: Duration = Duration::from_secs(30);
/// `strerror(EADDRINUSE)` in the locale that dnsmasq is given.
const IN_USE: &str = "Address already in use";

/// Where files are and which processes run.
pub(super) struct Driver {
    pub(super) state: PathBuf,
    pub(super) processes: Arc<Processes>,
    /// Held by each start; alone by who takes in what runs: it would take in, and reap, what another start
    /// is waiting for.
    pub(super) starts: RwLock<()>,
}

impl Driver {
    /// Does one action.
    pub(super) async fn apply(&self, uid: NetworkUid, action: &Action) -> Result<Applied, Error> {
        let layout = Layout::new(&self.state, uid);
        match action {
            Action::Stop => self.stop(uid).await?,
            Action::Prepare(files) => {
                let files = files.clone();
                blocking(move || prepare(&layout, &files)).await?;
            }
            Action::Start(argv) => return self.start_alone(uid, argv).await,
            Action::AddOptions(options) => {
                let text = dnsmasq::options_text(options);
                return self.change(uid, move || append(&layout, &layout.options(), &text)).await;
            }
            Action::AddHosts(changes) => {
                self.free(uid, changes).await?;
                let text = dnsmasq::hosts_text(changes);
                return self.change(uid, move || append(&layout, &layout.hosts(), &text)).await;
            }
            Action::WriteNames(names) => {
                let text = dnsmasq::names_text(names);
                return self.change(uid, move || write_names(&layout, &text)).await;
            }
            Action::Release(ip, lease) => {
                let kept = self.release(uid, *ip, lease).await?;
                return Ok(Applied { kept, ..Applied::default() });
            }
            Action::Remove => blocking(move || files::remove(layout.dir())).await?,
        }
        Ok(Applied::default())
    }

    async fn stop(&self, uid: NetworkUid) -> Result<(), Error> {
        for process in self.processes.of(uid) {
            process.stop().await?;
        }
        Ok(())
    }

    /// One may be in its way that was being started when the last agent died, and was not there yet to
    /// be found. While it becomes a daemon it is three processes, all with the same sockets.
    async fn start_alone(&self, uid: NetworkUid, argv: &[String]) -> Result<Applied, Error> {
        for _ in 0..TRIES {
            match self.start(uid, argv.to_vec()).await {
                Err(Error::Start { message }) if message.contains(IN_USE) => {}
                started => return started,
            }
            let _alone = self.starts.write().await;
            let state = self.state.clone();
            self.processes.take_in(blocking(move || survey(&state)).await?)?;
        }
        self.start(uid, argv.to_vec()).await
    }

    async fn start(&self, uid: NetworkUid, argv: Vec<String>) -> Result<Applied, Error> {
        // Two of them would write one lease file.
        self.stop(uid).await?;
        let starting = self.starts.read().await;
        let netns = netns::open(uid)?;
        let layout = Layout::new(&self.state, uid);
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
        blocking(move || refused(&layout, log)).await
    }

    /// Writes something that dnsmasq watches, waits until it has read it, and asks its log.
    async fn change(
        &self,
        uid: NetworkUid,
        write: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<Applied, Error> {
        let process = self.process(uid)?;
        let layout = Layout::new(&self.state, uid);
        let netns = netns::open(uid)?;
        let log = length(&layout.log());
        blocking(write).await?;
        Line::open(&netns).await?.barrier(&process).await?;
        blocking(move || refused(&layout, log)).await
    }

    /// A DHCP message is read after the query of its round, so the second answer comes after it; the
    /// lease file is written before that. Whether the lease stays; that is worth a warning and no more:
    /// nobody else gets the address, and the next start takes it out of the file.
    async fn release(&self, uid: NetworkUid, ip: IpAddr, lease: &Lease) -> Result<bool, Error> {
        let process = self.process(uid)?;
        let leases = Layout::new(&self.state, uid).leases();
        let netns = netns::open(uid)?;
        let line = Line::open(&netns).await?;
        for _ in 0..TRIES {
            let Some(record) = held(&leases, ip, lease)? else { return Ok(false) };
            release(&netns, uid, line.server(ip)?, &record).await?;
            line.barrier(&process).await?;
            line.barrier(&process).await?;
        }
        let kept = held(&leases, ip, lease)?.is_some();
        if kept {
            tracing::warn!(network = %uid, %ip, ?lease, "dnsmasq keeps a lease that was released");
        }
        Ok(kept)
    }

    /// Releases the leases whose addresses become another MAC address's. Before the lines that say so: after
    /// them nothing tells whose those leases are.
    async fn free(&self, uid: NetworkUid, changes: &[HostChange]) -> Result<(), Error> {
        let of_dhcpv6 = changes.iter().filter(|change| change.client().1 == Family::V6);
        // Who loses an address and who gets it.
        if of_dhcpv6.count() < 2 {
            return Ok(());
        }
        let (layout, changes) = (Layout::new(&self.state, uid), changes.to_vec());
        let moved = blocking(move || {
            let (hosts, leases) = (kept_hosts(&layout)?, dnsmasq::leases(&files::read(&layout.leases())?));
            Ok(dnsmasq::moved_leases(&hosts, &changes, leases))
        });
        for (ip, lease) in moved.await? {
            self.release(uid, ip, &lease).await?;
        }
        Ok(())
    }

    fn process(&self, uid: NetworkUid) -> Result<Arc<Process>, Error> {
        self.processes.of(uid).pop().ok_or(Error::NotRunning)
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
    let last = said.lines().last().unwrap_or("it ended at once and said nothing").to_owned();
    match inotify_instances() {
        Ok(limit) if last.contains("inotify") => {
            format!("{last} (fs.inotify.max_user_instances is {limit}: raise it)")
        }
        _ => last,
    }
}

/// All files as a process finds them that is about to start. None runs.
fn prepare(layout: &Layout, files: &Files) -> Result<(), Error> {
    let answered = files.hosts.iter().map(|(client, host)| HostChange::Set(client.clone(), host.clone()));
    let new: Vec<_> = answered.chain(files.silent.iter().cloned().map(HostChange::Gone)).collect();
    let written = [
        (layout.hosts(), FIRST, dnsmasq::hosts_text(&new)),
        (layout.options(), FIRST, dnsmasq::options_text(&files.options)),
        (layout.names(), NAMES, dnsmasq::names_text(&files.names)),
    ];
    // Also the parent: the state directory may have been emptied by hand.
    files::directory(layout.dir().parent().unwrap_or(layout.dir()))?;
    files::directory(layout.dir())?;
    // While the hosts of the last process are still there to be read.
    let old = files::read(&layout.leases())?;
    let kept = dnsmasq::lease_file(&old, &kept_hosts(layout)?.entries, files);
    if kept != old {
        files::replace(&layout.leases(), &layout.dir().join(NEW), &kept)?;
    }
    for (directory, name, text) in written {
        files::directory(&directory)?;
        files::empty(&directory, None)?;
        files::replace(&directory.join(name), &layout.dir().join(NEW), &text)?;
    }
    trim_log(&layout.log());
    Ok(())
}

/// The networks that have a directory.
pub fn kept_networks(state: &Path) -> Result<BTreeSet<NetworkUid>, Error> {
    Ok(files::names(&Layout::all(state))?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Whom the process answers that runs, or ran last.
pub fn kept_hosts(layout: &Layout) -> Result<dnsmasq::Hosts, Error> {
    Ok(dnsmasq::read_hosts(&files::read_directory(&layout.hosts())?.unwrap_or_default()).0)
}

/// Adds the next file to a journal.
fn append(layout: &Layout, directory: &Path, text: &str) -> Result<(), Error> {
    let mut last = 0;
    for entry in fs::read_dir(directory).map_err(Error::read(directory))? {
        let name = entry.map_err(Error::read(directory))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("add-")?.parse().ok());
        last = last.max(number.unwrap_or_default());
    }
    files::replace(&directory.join(dnsmasq::addition(last + 1)), &layout.dir().join(NEW), text)
}

/// Writes the names; what else is in their directory goes.
fn write_names(layout: &Layout, text: &str) -> Result<(), Error> {
    files::directory(&layout.names())?;
    files::replace(&layout.names().join(NAMES), &layout.dir().join(NEW), text)?;
    files::empty(&layout.names(), Some(NAMES))
}

fn held(leases: &Path, ip: IpAddr, lease: &Lease) -> Result<Option<Record>, Error> {
    let text = files::read(leases)?;
    let found = dnsmasq::records(&text).find(|record| record.ip == ip && record.lease == *lease);
    Ok(found)
}

/// What dnsmasq said since `log` of lines that it did not take.
fn refused(layout: &Layout, log: u64) -> Result<Applied, Error> {
    let text = read_from(&layout.log(), log).map_err(Error::read(&layout.log()))?;
    // Nothing else is opened that a log names: guests write there, too.
    let watched = [layout.hosts(), layout.options(), layout.names()];
    let is_ours = |file: &str| watched.iter().any(|directory| Path::new(file).parent() == Some(directory));
    let refused = dnsmasq::refusals(&text, is_ours).into_iter().map(|refusal| {
        let file = Path::new(&refusal.file);
        let text = files::read(file).unwrap_or_default();
        let line = text.lines().nth(refusal.line.wrapping_sub(1)).unwrap_or_default();
        let is_host = file.parent() == Some(&layout.hosts());
        let identity = dnsmasq::identity_of(line).filter(|_| is_host);
        let message = match identity {
            Some(_) => refusal.message,
            None => format!("{}: {line}", refusal.message),
        };
        Refused { identity, message }
    });
    Ok(Applied { refused: refused.collect(), ..Applied::default() })
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What dnsmasq said of guests since `from`, and where its log ends now. Of a guest that has it say more than
/// anybody reads only the end.
pub(super) fn said(log: &Path, from: Option<u64>) -> Result<Said, Error> {
    const MOST: u64 = 1 << 16;
    let end = length(log);
    let Some(from) = from else { return Ok(Said { end, ..Said::default() }) };
    let from = if end < from { 0 } else { from.max(end.saturating_sub(MOST)) };
    let text = read_from(log, from).map_err(Error::read(log))?;
    // A line that is being written is read when it is whole.
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let (lines, rest) = text.split_at(whole);
    Ok(Said {
        without_address: dnsmasq::without_address(lines),
        declined: dnsmasq::declined(lines),
        messages: dnsmasq::messages(lines),
        // What came in between is read twice.
        end: end.saturating_sub(rest.len() as u64),
    })
}

/// The end of a log; the whole of it if it was set aside in between.
fn read_from(path: &Path, offset: u64) -> std::io::Result<String> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let start = if file.metadata()?.len() < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sets a long log aside, one generation. dnsmasq appends to the file it has open, so it stays the
/// same file. It is for people: failing is no failure.
pub(super) fn trim_log(log: &Path) {
    if length(log) <= LOG_LENGTH {
        return;
    }
    let old = log.with_extension("old");
    // On a full disk there is no room for the old part; the log must be cut all the same.
    if fs::copy(log, &old).is_err() {
        let _ = fs::remove_file(&old);
    }
    let truncated = || OpenOptions::new().write(true).open(log)?.set_len(0);
    if let Err(error) = truncated() {
        tracing::debug!(log = %log.display(), %error, "cannot set the log aside");
    }
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
