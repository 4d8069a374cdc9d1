//! The one thing of a node that does not end with its processes: its directories among the cgroups.
//!
//! They are made outside the test's machine and taken away by a process outside it, which waits until the
//! test is gone, also after a `kill -9`.

use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, then for the end of what runs there, and removes the directories.
const SWEEP: &str = "cat >/dev/null
for try in $(seq 100); do
    find /sys/fs/cgroup/*/$0 -depth -type d -exec rmdir {} + 2>/dev/null
    ls -d /sys/fs/cgroup/*/$0 >/dev/null 2>&1 || exit 0
    sleep 0.1
done
echo cgroups are left: /sys/fs/cgroup/*/$0 >&2";

/// Directories of one test.
pub struct Sweeper(Child);

impl Sweeper {
    /// Makes nothing; what is called `name` in any hierarchy goes when this does.
    pub fn start(name: &str) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", SWEEP, name]).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What `mount -t cgroup -o` is told for each of this machine's hierarchies, and the name of its directory.
pub fn hierarchies() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let named = text.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty());
    let all: Vec<_> = named
        .map(|name| match name.strip_prefix("name=") {
            Some(directory) => (format!("none,{name}"), directory.to_owned()),
            None => (name.to_owned(), name.to_owned()),
        })
        .collect();
    assert!(!all.is_empty(), "this machine has cgroup v2 alone, which these tests do not set up");
    all
}
