//! Looks at all that is said on the street, in every test: no server denies a guest its own address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::{Capture, Lab, MessageType};

/// Before a socket's buffer is full.
const REST: Duration = Duration::from_millis(200);

/// Watches until it is dropped; then it panics if there was a NAK.
pub(super) struct Watchman {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Watchman {
    /// On the bridges `br0`, `br1`, … of the street.
    pub(super) fn start(street: &Lab, bridges: usize) -> Self {
        let captures: Vec<_> = (0..bridges).map(|n| street.capture(&format!("br{n}"))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watch = move || {
            let mut naks = Vec::new();
            loop {
                // Once more after the end.
                let last = stopped.load(Ordering::Relaxed);
                for capture in &captures {
                    naks.extend(denials(capture));
                }
                if last {
                    break;
                }
                std::thread::sleep(REST);
            }
            naks
        };
        Self { stop, thread: Some(std::thread::spawn(watch)) }
    }
}

/// The NAKs that were seen, as text. No guest of these tests asks for an address that is not its own.
fn denials(capture: &Capture) -> Vec<String> {
    let naks = capture.take().into_iter().filter(|seen| seen.answer.kind() == MessageType::Nak);
    naks.map(|nak| format!("{}: {}", nak.datagram.from_mac, nak.answer.reason())).collect()
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let naks = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        assert!(naks.is_empty() || std::thread::panicking(), "NAKs on the street: {naks:?}");
    }
}
