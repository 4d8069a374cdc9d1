//! Which dnsmasq processes are ours: asked once, when the agent starts. Later ones it starts itself.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::netns::{self, FileId, Named};
use super::process::{Process, command_line, proc};
use super::{Error, files};
use crate::dnsmasq::Layout;
use crate::types::NetworkUid;

/// The processes that were started for a network of ours, whoever started them.
pub(super) fn survey(state: &Path) -> Result<Vec<Process>, Error> {
    let named = named_namespaces()?;
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Error::read("/proc".as_ref()))?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        let Some(uid) = network_of(pid, state, &named) else { continue };
        processes.extend(Process::open(uid, pid)?.map(identify));
    }
    Ok(processes)
}

/// Fills in what can be found out of a process that was running before us.
fn identify(process: Process) -> Process {
    let (binary, netns) = (identity(process.pid, "exe"), identity(process.pid, "ns/net"));
    process.identified(binary, netns)
}

fn named_namespaces() -> Result<HashMap<FileId, NetworkUid>, Error> {
    let mut named = HashMap::new();
    for whose in netns::all()? {
        if let Named::Namespace(netns) = netns::find(whose)? {
            named.insert(netns.id, whose.0);
        }
    }
    Ok(named)
}

/// Of a process with a command line of ours: the network it serves, or stands in the way of.
fn network_of(pid: i32, state: &Path, named: &HashMap<FileId, NetworkUid>) -> Option<NetworkUid> {
    let argv = command_line(pid)?;
    let pid_file = argv.iter().find_map(|arg| arg.strip_prefix("--pid-file="))?;
    let (uid, share) = Layout::whose(pid_file.as_ref())?;
    if !is_dnsmasq(&fs::read_link(proc(pid, "exe")).ok()?) {
        return None;
    }
    let inside = identity(pid, "ns/net").and_then(|id| named.get(&id)).copied();
    if Path::new(pid_file) == Layout::new(state, uid).of(share).pid() {
        // Another machine's containers may use the same paths: it must be ours by something else, too.
        let is_ours = inside.is_some() || has_pid_file(pid_file, pid) || shares_mounts(pid);
        return is_ours.then_some(uid);
    }
    // From another state directory, but in one of our namespaces, where it answers our guests.
    inside
}

/// By the program, not by the command line: who traces a dnsmasq has the same one.
fn is_dnsmasq(program: &Path) -> bool {
    // The kernel's word for a program that was replaced since, as by an upgrade.
    matches!(program.file_name().and_then(|name| name.to_str()), Some("dnsmasq" | "dnsmasq (deleted)"))
}

fn has_pid_file(pid_file: &str, pid: i32) -> bool {
    matches!(super::machine::setting(pid_file.as_ref()), Ok(Some(text)) if text == pid.to_string())
}

fn shares_mounts(pid: i32) -> bool {
    let ours = fs::metadata("/proc/self/ns/mnt").ok().map(|metadata| files::id(&metadata));
    ours.is_some() && identity(pid, "ns/mnt") == ours
}

/// Which file a link below a process's directory leads to; `None` where we may not look.
fn identity(pid: i32, name: &str) -> Option<FileId> {
    fs::metadata(proc(pid, name)).ok().map(|metadata| files::id(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dnsmasq_is_one() {
        for (program, expected) in [
            ("/usr/sbin/dnsmasq", true),
            ("/usr/sbin/dnsmasq (deleted)", true),
            ("/usr/bin/strace", false),
            ("/usr/bin/dnsmasq-stats", false),
        ] {
            assert_eq!(is_dnsmasq(Path::new(program)), expected, "{program}");
        }
    }
}
