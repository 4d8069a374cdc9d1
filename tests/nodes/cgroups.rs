//! What does not end with a node's processes: its directories, on disk and among the cgroups.
//!
//! They are taken away by a process outside the test's machine, which waits until the test is gone, also
//! after a `kill -9`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, then for the end of what runs there, and removes the directories.
const SWEEP: &str = "cat >/dev/null
for try in $(seq 100); do
    rm -rf $1 2>/dev/null
    find /sys/fs/cgroup/$0 /sys/fs/cgroup/*/$0 -depth -type d -exec rmdir {} + 2>/dev/null
    ls -d $1 /sys/fs/cgroup/$0 /sys/fs/cgroup/*/$0 2>/dev/null | grep -q . || exit 0
    sleep 0.1
done
echo left: $1 /sys/fs/cgroup/$0 /sys/fs/cgroup/*/$0 >&2";

/// Directories of one test.
pub struct Sweeper(Child);

impl Sweeper {
    /// Makes the directory; it and what is called `name` in any hierarchy go when this does.
    pub fn start(name: &str, directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", SWEEP, name]).arg(directory).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A script that mounts the machine's cgroups, all of them below /sys/fs/cgroup, and in each hierarchy makes these
/// directories, one in the other.
pub fn mount(parts: &[&str]) -> String {
    let hierarchies = hierarchies();
    if hierarchies.is_empty() { mount_unified(parts) } else { mount_each(&hierarchies, parts) }
}

/// Version 2: a controller is in a directory if all above have lent it.
fn mount_unified(parts: &[&str]) -> String {
    let mut script = vec!["mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup".to_owned()];
    let lend = "sed 's/[^ ]*/+&/g' cgroup.controllers >cgroup.subtree_control";
    for part in parts {
        script.push(format!("{lend}; mkdir -p {part}; cd {part}"));
    }
    script.join("\n")
}

fn mount_each(hierarchies: &[(String, String)], parts: &[&str]) -> String {
    let mut script = vec!["mount -t tmpfs -o mode=755 none /sys/fs/cgroup".to_owned()];
    for (options, directory) in hierarchies {
        let place = format!("/sys/fs/cgroup/{directory}");
        script.push(format!("mkdir {place}; mount -t cgroup -o {options} none {place}; cd {place}"));
        for part in parts {
            script.push(format!("mkdir -p {part}; cd {part}"));
            if directory == "cpuset" {
                script.push("for file in cpuset.cpus cpuset.mems; do cat ../$file >$file; done".to_owned());
            }
        }
    }
    script.join("\n")
}

/// What `mount -t cgroup -o` is told for each of this machine's hierarchies of version 1, and the name of its
/// directory.
fn hierarchies() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let named = text.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty());
    let parts = named.map(|name| match name.strip_prefix("name=") {
        Some(directory) => (format!("none,{name}"), directory.to_owned()),
        None => (name.to_owned(), name.to_owned()),
    });
    parts.collect()
}
