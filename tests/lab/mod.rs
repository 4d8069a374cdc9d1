//! A machine for tests: namespaces with bridges, guests that speak DHCP and DHCPv6, and a dnsmasq to ask.
//!
//! Used by the integration tests with `mod lab;` and by the benches with `#[path]`. Needs root.
//! Nothing here touches the network namespace, `/run` or the processes of the machine it runs on:
//! a [`Lab`] has its own network, mount and PID namespace, and all of it ends with the test
//! process, also after a panic or a `kill -9`. Nothing of the crate under test is used here.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(unreachable_pub, missing_docs, reason = "it is a library to each of them")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken lab must fail loudly")]

mod advert;
mod answer;
mod answer6;
mod capture;
mod clients;
mod dns;
mod dnsmasq;
mod guest;
mod guest6;
mod machine;
mod metadata;
mod wire;
mod wire6;

pub use advert::{Advert, Prefix};
pub use answer::Answer;
pub use answer6::{Answer6, Given, Lifetimes, status};
pub use capture::{Capture, Seen};
pub use clients::{Bound, Dhclient, Dig};
pub use dns::{DnsReply, DnsSocket, rtype, txt};
pub use dnsmasq::{Dnsmasq, Exit, Setup};
pub use guest::{Ask, Guest};
pub use guest6::{Ask6, Guest6};
pub use machine::Lab;
pub use wire::{Datagram, Mac, Wire, hex};
pub use wire6::{ALL_DHCP, ALL_NODES, ALL_ROUTERS, Body, Packet6};

pub use dhcproto::v4::{DhcpOption, MessageType, OptionCode};
pub use dhcproto::v6::MessageType as Kind6;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Generous: it is only ever reached by a failure.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a test listens before it calls a server silent. An answer takes about a millisecond,
/// but with several test binaries on two cores it was seen to take 300.
pub const SILENCE: Duration = Duration::from_millis(600);

/// Asks again and again until there is a value; panics when the deadline has passed.
///
/// The one place that polls: everything that can be waited for with a descriptor is.
pub fn eventually<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    // A machine that another one computes is that much slower.
    let patience = if std::env::var_os("KUBE_DHCP_TEST_VM").is_some() { 8 * patience } else { patience };
    let began = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(began.elapsed() < patience, "still not after {patience:?}: {what}");
        // To ask costs a process or two, and what takes long is not late by a little more.
        std::thread::sleep((began.elapsed() / 16).clamp(SOON, LATER));
    }
}

/// Between two times that [`eventually`] asks.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(50);

/// Held for reading while a process starts, for writing while a file is open that dnsmasq watches.
///
/// A process that starts has every descriptor of ours until it becomes its program. If it is the
/// last to close a file, the kernel reports that after the rename, and dnsmasq reads it twice.
static STARTS: RwLock<()> = RwLock::new(());

/// Starts a command, not while a watched file is being written.
pub fn spawn(command: &mut Command) -> Child {
    let _no_writes = STARTS.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command to its end, with the same care.
pub fn output(command: &mut Command) -> Output {
    spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().unwrap()
}

/// Writes a file of which nobody has a descriptor afterwards.
pub fn write_alone(path: &Path, text: &str) {
    let _no_starts = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    std::fs::write(path, text).unwrap();
}

/// A DHCP option by number and bytes, for what dhcproto has no or another form for.
pub fn raw(code: u8, data: &[u8]) -> DhcpOption {
    DhcpOption::Unknown(dhcproto::v4::UnknownOption::new(OptionCode::from(code), data.to_vec()))
}
