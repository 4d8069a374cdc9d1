//! How a command line of `kubectl dhcp` may go on: kubectl asks, for a shell in which somebody presses TAB.
//!
//! Says nothing rather than something that is wrong, and never for long: somebody waits.

use std::ffi::OsString;
use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::CommandFactory;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::read::within;
use crate::api::{DHCPAgent, Port};
use crate::cli::{Cli, Names, complete as candidates};
use crate::cluster::client::client;

/// For how long the cluster is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many objects are asked for at a time, and names are shown at most.
const NAMES: u16 = 500;

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
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let asked = named(names, owned(line.kubeconfig), owned(line.namespace), line.begun.to_owned());
        // On a thread of its own: what a kubeconfig runs for a token holds that.
        let found = timeout(PATIENCE, tokio::spawn(asked)).await;
        if let Ok(Ok(Ok(names))) = found {
            for name in names {
                let _ = writeln!(text, "{name}");
            }
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

async fn named(
    names: Names,
    kubeconfig: Option<String>,
    namespace: Option<String>,
    begun: String,
) -> Result<Vec<String>> {
    let client = client(kubeconfig.as_deref().map(Path::new)).await?;
    match names {
        Names::Ports => {
            let namespace = namespace.as_deref().unwrap_or(client.default_namespace());
            beginning(&within::<Port>(&client, Some(namespace)), &begun).await
        }
        Names::Nodes => beginning(&Api::<DHCPAgent>::all(client), &begun).await,
        Names::Namespaces => beginning(&Api::<Namespace>::all(client), &begun).await,
    }
}

/// The first names that begin so.
async fn beginning<K>(objects: &Api<K>, begun: &str) -> Result<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let (mut found, mut some) = (Vec::new(), ListParams::default().limit(NAMES.into()));
    loop {
        let page = objects.list_metadata(&some).await?;
        found.extend(page.iter().map(ResourceExt::name_any).filter(|name| name.starts_with(begun)));
        found.truncate(NAMES.into());
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if found.len() < NAMES.into() => some = some.continue_token(&token),
            _ => return Ok(found),
        }
    }
}
