//! `kube-dhcp version`: which build this is, and which programs it would run on this machine.

use anyhow::Result;
use serde::Serialize;

use super::{print, text};
use crate::about;
use crate::cli::VersionArgs;
use crate::host::{dnsmasq_version, iptables_version};

/// What `-o json` and `-o yaml` give. What is not there is not told.
#[derive(Serialize)]
struct Versions {
    version: &'static str,
    commit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dnsmasq: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iptables: Option<String>,
}

/// Prints it.
pub fn version(args: &VersionArgs) -> Result<()> {
    let found = Versions {
        version: about::VERSION,
        commit: about::COMMIT,
        dnsmasq: dnsmasq_version(),
        iptables: iptables_version(),
    };
    print(&text(args.output, &found, table)?)
}

fn table(found: &Versions) -> String {
    let or_none = |version: &Option<String>| version.clone().unwrap_or_else(|| "not found".to_owned());
    let (dnsmasq, iptables) = (or_none(&found.dnsmasq), or_none(&found.iptables));
    format!("kube-dhcp {}\ndnsmasq   {dnsmasq}\niptables  {iptables}\n", about::line())
}
