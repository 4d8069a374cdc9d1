//! What dnsmasq leaves behind while it makes itself a daemon: processes that have ended, until somebody asks
//! how. That is for the first process to do; in a container the agent is that. Elsewhere, also in a container
//! that shares the node's processes or its pod's, the first process is another, and does it.

use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};

use super::process::proc;

/// After a start that succeeded: the process that began the daemon's session, and ended.
pub(super) fn of_daemon(pid: i32) {
    if !getpid().is_init() {
        return;
    }
    let leader = Stat::of(pid).map(|stat| stat.session).filter(|leader| *leader != pid);
    leader.and_then(Pid::from_raw).into_iter().for_each(bury);
}

/// After a start that failed: all there are. A process that a start is waiting for is of our own session.
pub(super) fn of_failure() {
    if !getpid().is_init() {
        return;
    }
    let children = fs::read_to_string("/proc/1/task/1/children").unwrap_or_default();
    let own = Stat::of(1).map_or(0, |stat| stat.session);
    let is_orphan =
        |pid: &i32| Stat::of(*pid).is_some_and(|stat| stat.is_dead_dnsmasq && stat.session != own);
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter(is_orphan).filter_map(Pid::from_raw).for_each(bury);
}

/// What is known of a process (`proc_pid_stat(5)`).
struct Stat {
    is_dead_dnsmasq: bool,
    /// 0 where that was begun outside of our PID namespace.
    session: i32,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(proc(pid, "stat")).ok()?;
        let (name, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let is_dead_dnsmasq = name.ends_with("(dnsmasq") && fields.first() == Some(&"Z");
        Some(Self { is_dead_dnsmasq, session: fields.get(3)?.parse().ok()? })
    }
}

/// One that is not our child, or still runs, is let be.
fn bury(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}
