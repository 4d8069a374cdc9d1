//! Keeps the files that dnsmasq watches out of programs that are being started.
//!
//! A child inherits what is open at its fork until it becomes the program, and dnsmasq would read
//! such a file again when the child's copy is closed, perhaps after a newer one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a file may wait for programs that are being started. Those of before have forked by then,
/// and have no copy of what is opened afterwards: iptables is not only started but run while it counts
/// as being started, and may wait for a lock or for the kernel as long as it likes.
const PATIENCE: Duration = Duration::from_millis(5);

static GATE: Gate = Gate::new();

/// For as long as a program is being started. Waits for files that are open: each is for a moment.
pub(super) fn starting() -> Pass<'static> {
    GATE.starting()
}

/// For as long as a file is open that dnsmasq will watch.
pub(super) fn writing() -> Pass<'static> {
    GATE.writing()
}

struct Gate {
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Default)]
struct Inside {
    starting: usize,
    writing: usize,
}

/// Whoever holds it is inside.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    leave: fn(&mut Inside),
}

impl Gate {
    const fn new() -> Self {
        Self { inside: Mutex::new(Inside { starting: 0, writing: 0 }), left: Condvar::new() }
    }

    fn starting(&self) -> Pass<'_> {
        let waited = self.left.wait_while(self.inside(), |inside| inside.writing > 0);
        waited.unwrap_or_else(PoisonError::into_inner).starting += 1;
        Pass { gate: self, leave: |inside| inside.starting -= 1 }
    }

    fn writing(&self) -> Pass<'_> {
        let waited = self.left.wait_timeout_while(self.inside(), PATIENCE, |inside| inside.starting > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.writing += 1;
        Pass { gate: self, leave: |inside| inside.writing -= 1 }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        (self.leave)(&mut self.gate.inside());
        self.gate.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_that_takes_long_delays_no_file() {
        let gate = Gate::new();
        let _iptables = gate.starting();
        let start = Instant::now();
        drop(gate.writing());
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn no_program_is_started_while_a_file_is_open() {
        let gate = Gate::new();
        let _slow = gate.starting();
        let file = gate.writing();
        let gate = &gate;
        std::thread::scope(|scope| {
            let start = Instant::now();
            let program = scope.spawn(move || {
                drop(gate.starting());
                start.elapsed()
            });
            std::thread::sleep(Duration::from_millis(20));
            drop(file);
            assert!(program.join().unwrap() >= Duration::from_millis(20));
        });
    }
}
