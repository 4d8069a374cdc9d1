//! Runs a test inside a machine of its own: the test binary again, in new network, mount and PID
//! namespaces with an empty `/run`. All of it ends with that process. Needs root.

#![allow(unreachable_pub, dead_code, reason = "it is a library to the tests, and each uses its part")]
#![allow(clippy::unwrap_used, reason = "what is broken here must fail loudly")]

use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: &str = "KUBE_DHCP_TEST_INSIDE";

/// Runs `test` there. `name` is the test's own path, as `--exact` takes it.
pub fn inside(name: &str, test: impl Future<Output = ()>) {
    inside_with(name, &[], test);
}

/// The same, with these variables in its environment.
pub fn inside_with(name: &str, environment: &[(&str, &str)], test: impl Future<Output = ()>) {
    if is_outside() {
        return outside(name, environment);
    }
    sh("mount -t tmpfs -o mode=755 none /run");
    // Without these it would show the links of the machine outside.
    sh("mount -t sysfs none /sys; ip link set lo up");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Whether this is not yet the test's machine.
pub fn is_outside() -> bool {
    std::env::var_os(INSIDE).is_none()
}

fn outside(name: &str, environment: &[(&str, &str)]) {
    // It ends with this thread, also after a `kill -9`.
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .envs(environment.iter().copied())
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its machine: {status}");
}

/// What a shell prints; it must succeed.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The CPU time of this process and of the children it waited for.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// How long `f` took.
pub async fn timed<T>(f: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let value = f.await;
    (value, start.elapsed())
}
