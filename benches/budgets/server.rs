//! dnsmasq alone: started as the agent starts it, fed by the bench itself. The floor of everything
//! that a guest can notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use crate::agent::pidfd;
use crate::lab::{Dnsmasq, Lab, Mac, PATIENCE, output};
use crate::manifests::Nic;

/// A copy of one of the agent's servers, in its own namespace on a bridge of its own.
pub struct Server<'lab> {
    lab: &'lab Lab,
    argv: Vec<String>,
    dir: PathBuf,
    written: u32,
}

const NETNS: &str = "alone";

impl<'lab> Server<'lab> {
    /// As the one process in the lab that the agent started.
    pub fn like_the_agents(lab: &'lab Lab, bridge: &str, address: &str) -> Self {
        let pid = lab.pids_of("dnsmasq")[0];
        let argv = String::from_utf8(lab.read(&format!("/proc/{pid}/cmdline")).unwrap()).unwrap();
        let argv: Vec<_> = argv.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        let theirs = argv.iter().find_map(|arg| arg.strip_prefix("--pid-file=")).unwrap();
        let theirs = Path::new(theirs).parent().unwrap().to_owned();
        let dir = lab.state().join(NETNS);
        copy(&theirs, &dir);
        let text = |path: &Path| path.display().to_string();
        let argv = argv.iter().skip(1).map(|arg| arg.replace(&text(&theirs), &text(&dir))).collect();
        lab.bridge(bridge);
        lab.plug(bridge, NETNS, "dhcp0", Mac::nth(0x00ff_0000));
        lab.run_in(NETNS, "ip link set lo up");
        lab.address(NETNS, "dhcp0", address);
        lab.fill_checksums(NETNS);
        let server = Self { lab, argv, dir, written: 0 };
        server.start();
        server
    }

    fn start(&self) {
        let done = output(self.lab.command_in(NETNS, "dnsmasq").env("LC_ALL", "C").args(&self.argv));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Has one more file of hosts; says when that was.
    pub fn hosts(&mut self, lines: &str) -> Instant {
        self.written += 1;
        let beside = self.dir.join("beside");
        fs::write(&beside, lines).unwrap();
        let path = self.dir.join("hosts").join(format!("bench-{}", self.written));
        let now = Instant::now();
        fs::rename(beside, path).unwrap();
        now
    }

    /// A fresh process with one file of hosts; says when the old one was stopped.
    pub fn restart(&self, hosts: &str) -> Instant {
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap().trim().parse().unwrap();
        let process = pidfd(self.lab, pid);
        let now = Instant::now();
        pidfd_send_signal(&process, Signal::TERM).unwrap();
        assert!(Dnsmasq::ends_within(&process, PATIENCE));
        fs::remove_dir_all(self.dir.join("hosts")).unwrap();
        fs::create_dir(self.dir.join("hosts")).unwrap();
        fs::write(self.dir.join("hosts/all"), hosts).unwrap();
        self.start();
        now
    }
}

/// A line for one host, as the agent writes it.
pub fn line(nic: &Nic) -> String {
    format!("{},set:bench,{},{}\n", nic.mac, nic.ip, nic.name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["hosts", "options", "names"] {
        fs::create_dir_all(to.join(name)).unwrap();
        for entry in fs::read_dir(from.join(name)).unwrap().flatten() {
            fs::copy(entry.path(), to.join(name).join(entry.file_name())).unwrap();
        }
    }
    // It is written only when there was a lease.
    let _ = fs::copy(from.join("leases"), to.join("leases"));
}

/// What was sent and is not answered yet will be by then.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(120));
}
