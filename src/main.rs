//! The `kube-dhcp` program: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use kube_dhcp::cli::{COMPLETER, Cli, Command, LogFormat, PLUGIN, is_called};
use kube_dhcp::{command, telemetry};

fn main() -> ExitCode {
    let called = |name: &str| std::env::args_os().next().is_some_and(|program| is_called(&program, name));
    if called(COMPLETER) {
        return complete();
    }
    let plugin = called(PLUGIN);
    let name = if plugin { "kubectl dhcp" } else { "kube-dhcp" };
    let matches = Cli::command().bin_name(name).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    match run(cli.command, plugin) {
        Ok(code) => code,
        // Who reads our output has gone away: nothing is wrong.
        Err(e)
            if e.downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{name}: {}", told(&e));
            if e.is::<command::Incomplete>() { command::INCOMPLETE.into() } else { ExitCode::FAILURE }
        }
    }
}

/// A shell shows nothing of what went wrong.
fn complete() -> ExitCode {
    let words = std::env::args_os().skip(1).collect();
    let Ok(runtime) = runtime() else { return ExitCode::FAILURE };
    let done = runtime.block_on(command::complete(words));
    // Nor does it wait for who looks up a name in vain.
    runtime.shutdown_background();
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An error and its causes; some say theirs themselves, and each is told once.
fn told(error: &anyhow::Error) -> String {
    let add = |text: String, cause: String| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    };
    error.chain().map(ToString::to_string).reduce(add).unwrap_or_default()
}

/// Exit code of `explain`, where what it explains is not right.
const NOT_RIGHT: u8 = 3;

fn run(command: Command, plugin: bool) -> anyhow::Result<ExitCode> {
    match command {
        Command::Agent(args) => serve(args.log_format, command::agent(args)),
        Command::Controller(args) => serve(args.log_format, command::controller(args)),
        Command::Cleanup(args) => serve(args.log_format, command::cleanup(args)),
        Command::Plan(args) => runtime()?.block_on(command::plan(args)),
        Command::Status(args) => runtime()?.block_on(command::status(args, plugin)),
        Command::Leases(args) => runtime()?.block_on(command::leases(args, plugin)),
        Command::Drain(args) => runtime()?.block_on(command::drain(args)),
        Command::Uncordon(args) => runtime()?.block_on(command::uncordon(args)),
        Command::Crds(args) => command::crds(&args),
        Command::Import(args) => command::import(&args),
        Command::Completions(args) => command::completions(&args, plugin),
        Command::Man(args) => command::man(&args),
        Command::Version(args) => command::version(&args),
        Command::Explain(args) => {
            let right = runtime()?.block_on(command::explain(args, plugin))?;
            return Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(NOT_RIGHT) });
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

fn serve(log: LogFormat, service: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    telemetry::init(log);
    let runtime = runtime()?;
    let ended = runtime.block_on(service);
    // A thread that a full disk or a stuck program holds must not hold the end.
    runtime.shutdown_timeout(LAST_WORK);
    ended
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.max_blocking_threads(BLOCKING).thread_keep_alive(KEEP_ALIVE).enable_all();
    // Somebody who asks for a number gets it.
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(WORKERS);
    }
    builder.build()
}

/// The work is waiting for the kernel and for dnsmasq. Each thread costs memory of its own, for its
/// stack and for its part of the heap.
const WORKERS: usize = 2;
const BLOCKING: usize = 8;
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const LAST_WORK: Duration = Duration::from_secs(5);
