//! `kube-dhcp completions` and `kube-dhcp man`: what shells and manuals are told of the command line.

use std::io::Cursor;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs, ManArgs, PLUGIN};

/// Prints the completions, for the name under which the program was started.
pub fn completions(args: &CompletionsArgs, plugin: bool) -> Result<()> {
    let mut command = Cli::command();
    let name = if plugin { PLUGIN.to_owned() } else { command.get_name().to_owned() };
    let mut text = Cursor::new(Vec::new());
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    super::print(&String::from_utf8(text.into_inner())?)
}

/// Writes the pages.
pub fn man(args: &ManArgs) -> Result<()> {
    let directory = args.out.display();
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create {directory}"))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    clap_mangen::generate_to(command, &args.out).with_context(|| format!("cannot write into {directory}"))
}
