//! A Debian that systemd has booted, with the package beside it; it ends with the value.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::LONG;
use crate::inside::sh;
use crate::lab::eventually;

/// See the module.
pub struct Debian {
    nspawn: Child,
    /// Its first process.
    first: u32,
    _root: TempDir,
}

impl Debian {
    pub fn boot() -> Self {
        let given =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: make test-deb sets it"));
        let (archive, package) = (given("KUBE_DHCP_DEBIAN"), given("KUBE_DHCP_DEB"));
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("root");
        sh(&format!(
            "mkdir {0} && tar -C {0} -xf {archive} && cp {package} {0}/kube-dhcp.deb",
            root.display()
        ));
        let mut nspawn = Command::new("systemd-nspawn")
            .args([
                "--quiet",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--console=pipe",
            ])
            .arg(format!("--directory={}", root.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let first = eventually("systemd runs", LONG, || {
            assert_eq!(nspawn.try_wait().unwrap(), None, "systemd-nspawn ended");
            child_of(nspawn.id())
        });
        let debian = Self { nspawn, first, _root: directory };
        eventually("it has booted", LONG, || debian.try_sh("systemctl is-active multi-user.target").ok());
        debian
    }

    /// What a shell in it prints; it must succeed.
    pub fn sh(&self, line: &str) -> String {
        self.try_sh(line).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    /// The same; or all that it printed.
    pub fn try_sh(&self, line: &str) -> Result<String, String> {
        let first = self.first.to_string();
        let mut shell = Command::new("nsenter");
        shell.args(["--target", &first, "--all", "--wd=/", "--", "env", "-i", "LANG=C"]);
        shell.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", line]);
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
        let _ = self.try_sh("systemctl poweroff --force --force");
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

fn child_of(pid: u32) -> Option<u32> {
    let children = Path::new("/proc").join(pid.to_string()).join(format!("task/{pid}/children"));
    std::fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
}
