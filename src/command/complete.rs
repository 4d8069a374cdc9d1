//! How a command line of `kubectl dhcp` may go on: kubectl asks, for a shell in which somebody presses TAB.
//!
//! Says nothing rather than something that is wrong, and never for long: somebody waits.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::CommandFactory;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::time::timeout;

use super::read::within;
use crate::api::{DHCPAgent, Port};
use crate::cli::{Cli, Line, Names, complete as candidates};
use crate::cluster::client::client;

/// For how long the cluster is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many names are shown at most.
const NAMES: u32 = 500;

/// Prints the candidates for the last of `words`, those after `kubectl dhcp`, as kubectl reads them: each with
/// its meaning on a line, and then what the shell is to do besides.
pub async fn complete(words: Vec<OsString>) -> Result<()> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    let line = candidates(&Cli::command(), &words);
    let mut text = String::new();
    for (word, meaning) in &line.candidates.words {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{word}\t{meaning}");
    }
    if let Some(names) = line.candidates.names {
        let last = words.last().copied().unwrap_or_default();
        let found = timeout(PATIENCE, named(names, &line)).await.unwrap_or_else(|_| Ok(Vec::new()));
        for name in found.unwrap_or_default().iter().filter(|name| name.starts_with(last)) {
            let _ = writeln!(text, "{name}");
        }
    }
    let directive = if line.candidates.files { Directive::Default } else { Directive::NoFileComp };
    let _ = writeln!(text, ":{}", directive as u8);
    super::print(&text)
}

/// What a shell does besides (`ShellCompDirective` of cobra, of which kubectl is made).
#[derive(Clone, Copy)]
enum Directive {
    Default = 0,
    NoFileComp = 4,
}

async fn named(names: Names, line: &Line<'_>) -> Result<Vec<String>> {
    let client = client(line.kubeconfig.map(Path::new)).await?;
    let some = ListParams::default().limit(NAMES);
    Ok(match names {
        Names::Ports => {
            let namespace = line.namespace.unwrap_or(client.default_namespace());
            let ports = within::<Port>(&client, Some(namespace)).list_metadata(&some).await?;
            ports.iter().map(ResourceExt::name_any).collect()
        }
        Names::Nodes => {
            let agents = Api::<DHCPAgent>::all(client).list_metadata(&some).await?;
            agents.iter().map(ResourceExt::name_any).collect()
        }
        Names::Namespaces => {
            let namespaces = Api::<Namespace>::all(client).list_metadata(&some).await?;
            namespaces.iter().map(ResourceExt::name_any).collect()
        }
    })
}
