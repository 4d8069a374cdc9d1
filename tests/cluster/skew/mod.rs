//! Two versions at a time: definitions, controller and agents are upgraded one after another.
//!
//! The older definitions are frozen in `tests/previous`. An older program is too dear to be built in each
//! run: `previous` has it for those who name one.

mod definitions;
mod features;
mod previous;

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::inside::sh;
use crate::lab::{DnsReply, DnsSocket, Guest, rtype, txt};
use crate::serve::NETWORK;
use crate::site::Site;

/// What the network of [`NETWORK`] is told besides.
const TXT: &str = "dns: {domain: vm.example.org, txtRecords: [{name: _site, texts: [harbour]}]}";

/// That network with TXT records.
fn with_txt() -> String {
    NETWORK.replace("dns: {domain: vm.example.org}", TXT)
}

/// What a guest that has its address hears from a server.
fn told_txt(guest: &Guest<'_>, server: Ipv4Addr) -> Option<DnsReply> {
    let socket = DnsSocket::new(guest.lab(), Some(guest.netns()), server);
    socket.try_send("_site.vm.example.org", rtype::TXT);
    socket.receive(crate::lab::PATIENCE)
}

/// Waits until a server tells it.
async fn until_told_txt(site: &Site, guest: &Guest<'_>, server: Ipv4Addr) {
    let wanted = DnsReply::found(&[&txt(&["harbour"])]);
    let told = async || match told_txt(guest, server) {
        Some(reply) if reply == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    };
    site.eventually(crate::site::LONG, told).await;
}

fn both_ready(network: &Value) -> bool {
    network.pointer("/status/servers/ready") == Some(&2.into())
}

fn crds(directory: &str) -> String {
    format!("{}/{directory}", env!("CARGO_MANIFEST_DIR"))
}

/// Which servers there are: what a change of versions is not to move.
async fn servers(site: &Site) -> Vec<(String, Value)> {
    let list = site.list("DHCPServer").await.into_iter();
    list.map(|s| (s["metadata"]["name"].to_string(), s["spec"]["addresses"].clone())).collect()
}

/// In the logs, lines of this level.
fn lines(site: &Site, level: &str) -> String {
    let files = site.log_files();
    let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
    sh(&format!("grep -h ' {level} ' {names} || true"))
}
