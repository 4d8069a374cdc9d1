//! What is one for the whole machine: limits, settings, the lock of the agent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::FlockOperation;

use super::netns::FileId;
use super::{Error, kernel};
use crate::durable;

const LOCK: &str = "/run/kube-dhcp/agent.lock";
const INOTIFY_INSTANCES: &str = "fs/inotify/max_user_instances";
const INOTIFY_WATCHES: &str = "fs/inotify/max_user_watches";

/// Enough for more networks than a node can have.
const DESCRIPTORS: u64 = 65_536;

/// Inotify instances that others of the same user may need.
const OTHERS: usize = 64;

/// Held for the life of the agent.
#[derive(Debug)]
pub struct AgentLock {
    _file: File,
}

impl AgentLock {
    /// Takes the machine's lock for this process.
    pub fn take() -> Result<Self, Error> {
        Self::take_at(LOCK.as_ref())
    }

    fn take_at(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            super::files::directory(parent)?;
        }
        let opened = durable::private().read(true).write(true).open(path);
        let mut file = opened.map_err(Error::write(path))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(Error::read(path))?;
            return Err(Error::Locked { lock: path.to_owned(), pid: pid.trim().to_owned() });
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(Error::write(path))?;
        Ok(Self { _file: file })
    }
}

/// Whether the node's firewall sees what bridges forward, and so may drop DHCP between their ports.
pub fn bridge_filter_active() -> bool {
    let setting = fs::read_to_string(kernel::path("net/bridge/bridge-nf-call-iptables"));
    setting.is_ok_and(|value| value.trim() == "1")
}

/// Raises the kernel's limit if so many networks need more than it allows: each dnsmasq takes one
/// instance, and all count against one user.
pub fn ensure_inotify_instances(networks: usize) -> Result<(), Error> {
    let (limit, wanted) = (inotify_instances()?, networks + OTHERS);
    if limit >= wanted {
        return Ok(());
    }
    let raised = kernel::set(INOTIFY_INSTANCES, &wanted.next_power_of_two().to_string());
    raised.map_err(|source| Error::InotifyLimit { limit, wanted, source })
}

/// Lets this process have more descriptors: a network takes some, and 1,024 in all is a usual limit.
/// Not without end: dnsmasq inherits the limit, and closes as many when it starts.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    let raised = rustix::process::Rlimit { current: Some(most), maximum: limit.maximum };
    // What is allowed already is allowed still.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

/// How many inotify instances a user may have.
pub(super) fn inotify_instances() -> Result<usize, Error> {
    limit(INOTIFY_INSTANCES)
}

/// How many directories a user may watch with them.
pub(super) fn inotify_watches() -> Result<usize, Error> {
    limit(INOTIFY_WATCHES)
}

fn limit(name: &str) -> Result<usize, Error> {
    Ok(super::files::read(&kernel::path(name))?.trim().parse().unwrap_or(usize::MAX))
}

/// Makes the state directory, and checks that dnsmasq's user can get there.
pub(super) fn state_directory(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        super::files::directory(path)?;
    }
    let path = path.canonicalize().map_err(Error::read(path))?;
    for directory in path.ancestors() {
        let mode = fs::metadata(directory).map_err(Error::read(directory))?.permissions().mode();
        if mode & 0o001 == 0 {
            return Err(Error::NotTraversable(directory.to_owned()));
        }
    }
    Ok(path)
}

/// Whether the kernel has IPv6 at all.
pub fn has_ipv6() -> bool {
    kernel::path("net/ipv6").exists()
}

/// Keeps an interface of the node without an IPv6 address.
pub(super) async fn disable_ipv6(device: &str) -> Result<(), Error> {
    if !has_ipv6() {
        return Ok(());
    }
    let path = format!("net/ipv6/conf/{device}/disable_ipv6");
    blocking(move || kernel::set(&path, "1").map_err(|e| Error::SetSysctl(path, e))).await
}

/// Where dnsmasq is, and which file that is.
pub(super) fn find_dnsmasq() -> Result<(PathBuf, FileId), Error> {
    find_program("dnsmasq").ok_or(Error::NoDnsmasq)
}

/// The version of dnsmasq, such as 2.90, if it says one. It is asked once.
pub fn dnsmasq_version() -> Option<String> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let said = version_of("dnsmasq")?;
        Some(said.strip_prefix("Dnsmasq version ")?.split_whitespace().next()?.to_owned())
    };
    VERSION.get_or_init(ask).clone()
}

/// The version of iptables and which of the kernel's two firewalls it is for, such as `1.8.9 (nf_tables)`.
pub fn iptables_version() -> Option<String> {
    Some(version_of("iptables")?.strip_prefix("iptables v")?.to_owned())
}

/// The beginning of the first line of what it says.
fn version_of(program: &str) -> Option<String> {
    let (path, _) = find_program(program)?;
    let _starting = super::gate::starting();
    let output = std::process::Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next()?.trim().chars().take(64).collect())
}

/// Where a program is, and which file that is.
pub(super) fn find_program(name: &str) -> Option<(PathBuf, FileId)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A service's PATH may lack where Debian has it.
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    directories.map(|directory| directory.join(name)).find_map(|program| {
        let metadata = fs::metadata(&program).ok()?;
        let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        is_program.then(|| (program, super::files::id(&metadata)))
    })
}

/// Runs what may wait for a disk or for the kernel where that delays no other task.
pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(f).await.map_err(|_| Error::Interrupted("a blocking task"))?
}

/// A file's text without the blanks around; `None` where there is no such file.
pub(super) fn setting(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/agent.lock");
        let first = AgentLock::take_at(&path).unwrap();
        let error = AgentLock::take_at(&path).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        AgentLock::take_at(&path).unwrap();
    }

    #[test]
    fn a_state_directory_that_others_cannot_reach_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let error = state_directory(&dir.path().join("state")).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod o+x {}", dir.path().display())), "{error}");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(state_directory(&dir.path().join("state")).is_ok());
    }
}
