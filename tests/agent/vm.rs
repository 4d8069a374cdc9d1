//! Runs a test in another kernel: the test binary again, in a small machine (`tests/vm/boot.sh`).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::output;
use crate::site::BIN;

/// Runs `test` there. `name` is the test's own path, as `--exact` takes it.
pub fn in_another_kernel(name: &str, test: impl FnOnce()) {
    if std::env::var_os("KUBE_DHCP_TEST_VM").is_some() {
        return test();
    }
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/boot.sh");
    let mut command = Command::new(boot);
    command.arg(std::env::current_exe().unwrap()).args([name, BIN]).stdin(Stdio::null());
    let said = output(&mut command);
    let console = String::from_utf8_lossy(&said.stdout);
    println!("{console}{}", String::from_utf8_lossy(&said.stderr));
    assert!(console.lines().any(|line| line.trim() == "vm: 0"), "{name} failed in its machine");
    assert!(console.contains("1 passed"), "it was not run");
}
