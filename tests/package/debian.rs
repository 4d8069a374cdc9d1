//! A Debian that systemd has booted, with the package beside it; it ends with the value.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::LONG;
use crate::lab::{eventually, output};

/// See the module.
pub struct Debian {
    nspawn: Child,
    _root: TempDir,
}

impl Debian {
    pub fn boot() -> Self {
        let given =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: make test-deb sets it"));
        let (archive, package) = (given("KUBE_DHCP_DEBIAN"), given("KUBE_DHCP_DEB"));
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let unpacked = output(Command::new("tar").arg("-C").arg(&root).args(["-xf", &archive]));
        assert!(unpacked.status.success(), "{unpacked:?}");
        std::fs::copy(package, root.join("kube-dhcp.deb")).unwrap();
        // All of it ends with this thread, also after a `kill -9`.
        let nspawn = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no"])
            .args(["--keep-unit", "--private-network", "--console=pipe"])
            .arg(format!("--directory={}", root.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let debian = Self { nspawn, _root: directory };
        eventually("it has booted", LONG, || debian.try_sh("systemctl is-active multi-user.target").ok());
        debian
    }

    /// What a shell in it prints; it must succeed.
    pub fn sh(&self, line: &str) -> String {
        self.try_sh(line).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    /// The same; or all that it printed.
    pub fn try_sh(&self, line: &str) -> Result<String, String> {
        // unshare's child is nspawn, and in the end that has one: before, others that prepare it.
        let first = child_of(self.nspawn.id()).and_then(child_of).ok_or("nothing runs")?.to_string();
        let mut shell = Command::new("nsenter");
        shell.args(["--target", &first, "--all", "--", "env", "-i", "LANG=C"]);
        shell.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", &format!("cd /\n{line}")]);
        let done = shell.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if done.status.success() {
            Ok(text(done.stdout))
        } else {
            Err(text(done.stdout) + &text(done.stderr))
        }
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // In good order it takes its cgroups away, but for the first ones.
        let _ = self.try_sh("systemctl poweroff");
        let deadline = Instant::now() + LONG;
        while matches!(self.nspawn.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        for hierarchy in ["", "systemd", "unified"] {
            for cgroup in ["payload/init.scope", "payload", "supervisor"] {
                // One that is not empty stays.
                let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(hierarchy).join(cgroup));
            }
        }
    }
}

fn child_of(pid: u32) -> Option<u32> {
    let children = Path::new("/proc").join(pid.to_string()).join(format!("task/{pid}/children"));
    std::fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
}
