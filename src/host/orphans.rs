//! What dnsmasq leaves behind while it makes itself a daemon: processes that have ended, until somebody asks
//! how. That is for the first process to do; in a container the agent is that.

use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, getsid, waitid};

/// After a start that succeeded: the process that began the daemon's session, and ended.
pub(super) fn of_daemon(pid: i32) {
    let Some(daemon) = Pid::from_raw(pid) else { return };
    if let Ok(leader) = getsid(Some(daemon))
        && leader != daemon
    {
        bury(leader);
    }
}

/// After a start that failed: all there are. A process that a start is waiting for is of our own session.
pub(super) fn of_failure() {
    if !getpid().is_init() {
        return;
    }
    let children = fs::read_to_string("/proc/1/task/1/children").unwrap_or_default();
    let session = getsid(None).map_or(0, |session| session.as_raw_nonzero().get());
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    for pid in pids.filter(|pid| is_dead_dnsmasq_elsewhere(*pid, session)) {
        Pid::from_raw(pid).into_iter().for_each(bury);
    }
}

fn is_dead_dnsmasq_elsewhere(pid: i32, session: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((name, rest)) = stat.rsplit_once(") ") else { return false };
    let fields: Vec<_> = rest.split(' ').collect();
    let its_session = fields.get(3).and_then(|field| field.parse().ok());
    name.ends_with("(dnsmasq") && fields.first() == Some(&"Z") && its_session != Some(session)
}

/// One that is not our child, or still runs, is let be.
fn bury(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}
