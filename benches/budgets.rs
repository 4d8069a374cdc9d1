//! How soon guests are answered, measured: the release binary against the least that the kernel,
//! iptables and dnsmasq allow, side by side in machines of its own. Needs root and dnsmasq.
//!
//! `cargo bench --bench budgets [-- WORD…]`: with words only the rows whose name has one of them. It
//! is a report: a budget that is not met is no failure, something that cannot be measured is.

#![allow(missing_docs, unreachable_pub, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what is broken here must fail loudly")]

#[path = "../tests/lab/mod.rs"]
mod lab;

#[path = "budgets/agent.rs"]
mod agent;
#[path = "budgets/floor.rs"]
mod floor;
#[path = "budgets/large.rs"]
mod large;
#[path = "budgets/largest.rs"]
mod largest;
#[path = "budgets/manifests.rs"]
mod manifests;
#[path = "budgets/many.rs"]
mod many;
#[path = "budgets/one_more.rs"]
mod one_more;
#[path = "budgets/probe.rs"]
mod probe;
#[path = "budgets/server.rs"]
mod server;
#[path = "budgets/six.rs"]
mod six;
#[path = "budgets/table.rs"]
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use table::Table;

/// The whole run is over by then, or something hangs.
const LIMIT: Duration = Duration::from_secs(350);

/// A part of the run that shares its machines, and the rows that it gives.
type Part = (&'static [&'static str], fn(&mut Table));

const PARTS: [Part; 6] = [
    (&many::ROWS, many::hundred),
    (&large::ROWS, large::without_leases),
    (&large::LEASED_ROWS, large::all_leased),
    (&many::NINETEEN_ROWS, many::nineteen),
    (&largest::ROWS, largest::all_leased),
    (&six::ROWS, six::all_leased),
];

fn main() -> ExitCode {
    // Cargo says --bench to every bench.
    let words: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if words.first().is_some_and(|word| word == floor::WORD) {
        floor::main(&words[1..]);
        return ExitCode::SUCCESS;
    }
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("not done after {LIMIT:?}");
        // The labs end with this process.
        std::process::exit(1);
    });
    let mut table = Table::new(words);
    let mut failed = false;
    for (rows, measure) in PARTS {
        if rows.iter().any(|row| table.wants(row)) {
            failed |= catch_unwind(AssertUnwindSafe(|| measure(&mut table))).is_err();
        }
    }
    table.print();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
