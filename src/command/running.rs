//! The dnsmasq of a network that runs, found without an agent.
//!
//! Used by `status` and `leases`.

use std::time::SystemTime;

use crate::dnsmasq::Layout;

/// A running dnsmasq.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) argv: Vec<String>,
    /// It writes the file with its number when it starts.
    pub(super) since: SystemTime,
}

/// That of a network, or of one share of its guests: a file that an ended one left says nothing.
pub(super) fn running(layout: &Layout) -> Option<Running> {
    let file = layout.pid();
    let since = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok()?;
    let pid: u32 = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
    let argv = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let argv: Vec<_> = String::from_utf8_lossy(&argv).split('\0').map(str::to_owned).collect();
    let ours = format!("--pid-file={}", file.display());
    argv.contains(&ours).then_some(Running { pid, argv, since })
}
