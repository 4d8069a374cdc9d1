//! The files of a dnsmasq: written for it, and read back.
//!
//! Called by `dnsmasq`, `observe` and `kube-dhcp leases`. What is in them the pure half of the driver renders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::server_log::trim_log;
use super::{Error, Leases, files};
use crate::dnsmasq::{self, FIRST, Files, HostChange, Layout, Names, Share};
use crate::types::NetworkUid;

/// Beside the watched directories: dnsmasq reads everything that is in one.
const NEW: &str = ".new";

/// All files as a process finds them that is about to start. None runs. `all`: of its network.
pub(super) fn prepare(layout: &Layout, all: &Layout, files: &Files) -> Result<(), Error> {
    let answered = files.hosts.iter().map(|(client, host)| HostChange::Set(client.clone(), host.clone()));
    let new: Vec<_> = answered.chain(files.silent.iter().cloned().map(HostChange::Gone)).collect();
    let written = [
        (layout.hosts(), FIRST, dnsmasq::hosts_text(&new)),
        (layout.options(), FIRST, dnsmasq::options_text(&files.options)),
    ];
    // Also the parent: the state directory may have been emptied by hand.
    files::directory(all.dir().parent().unwrap_or(all.dir()))?;
    files::directory(all.dir())?;
    if layout != all {
        files::directory(&all.shares())?;
    }
    files::directory(layout.dir())?;
    // While the hosts of the last process are still there to be read.
    let old = files::read(&layout.leases())?;
    let mut kept = dnsmasq::lease_file(&old, &kept_hosts(layout)?.entries, files);
    if layout == all || old.is_empty() {
        kept = dnsmasq::with_handed_over(kept, &others(layout, all)?, files);
    }
    if kept != old {
        files::replace(&layout.leases(), &layout.dir().join(NEW), &kept)?;
    }
    for (directory, name, text) in written {
        files::directory(&directory)?;
        files::empty(&directory, None)?;
        files::replace(&directory.join(name), &layout.dir().join(NEW), &text)?;
    }
    let names = dnsmasq::name_files(&files.names, &BTreeMap::new());
    replace_names(layout, &names_there(layout)?, &names)?;
    trim_log(&layout.log());
    Ok(())
}

/// The last one's of the shares with the directory that they are in.
pub(super) fn remove(layout: &Layout, share: Option<Share>) -> Result<(), Error> {
    files::remove(layout.dir())?;
    if let Some(shares) = layout.dir().parent().filter(|_| share.is_some()) {
        // It fails as long as there is another.
        let _ = fs::remove_dir(shares);
    }
    Ok(())
}

/// The leases that the others of the network have: of a guest that was another's before.
fn others(layout: &Layout, all: &Layout) -> Result<String, Error> {
    let mut text = String::new();
    for other in layouts(all)?.into_values().filter(|other| other != layout) {
        text += &files::read(&other.leases())?;
    }
    Ok(text)
}

/// Where the files of all servers of a network are.
pub fn layouts(all: &Layout) -> Result<BTreeMap<Option<Share>, Layout>, Error> {
    let shares = files::names(&all.shares())?;
    let shares = shares.iter().filter_map(|name| Share::of_name(name)).map(Some);
    Ok(std::iter::once(None).chain(shares).map(|share| (share, all.of(share))).collect())
}

/// The leases of all servers of a network.
pub(super) fn leases(all: &Layout) -> Result<Leases, Error> {
    let of = |(share, layout): (_, Layout)| Ok((share, dnsmasq::leases(&files::read(&layout.leases())?)));
    layouts(all)?.into_iter().map(of).collect()
}

/// The networks that have a directory.
pub fn kept_networks(state: &Path) -> Result<BTreeSet<NetworkUid>, Error> {
    Ok(files::names(&Layout::all(state))?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Whom the process answers that runs, or ran last.
pub fn kept_hosts(layout: &Layout) -> Result<dnsmasq::Hosts, Error> {
    Ok(dnsmasq::read_hosts(&files::read_directory(&layout.hosts())?.unwrap_or_default()).0)
}

/// Adds the next file to a journal.
pub(super) fn append(layout: &Layout, directory: &Path, text: &str) -> Result<(), Error> {
    let mut last = 0;
    for entry in fs::read_dir(directory).map_err(Error::read(directory))? {
        let name = entry.map_err(Error::read(directory))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("add-")?.parse().ok());
        last = last.max(number.unwrap_or_default());
    }
    files::replace(&directory.join(dnsmasq::addition(last + 1)), &layout.dir().join(NEW), text)
}

/// The names' files that are there.
fn names_there(layout: &Layout) -> Result<BTreeMap<String, String>, Error> {
    files::directory(&layout.names())?;
    Ok(files::read_directory(&layout.names())?.unwrap_or_default())
}

/// For a process that runs. Where the files were not as they had been written, it may have lost names that
/// are there: all are written once more.
pub(super) fn write_names(layout: &Layout, names: &Names) -> Result<(), Error> {
    let there = names_there(layout)?;
    let wanted = dnsmasq::name_files(names, &there);
    replace_names(layout, &there, &wanted)?;
    if dnsmasq::read_names(&there).is_some() {
        return Ok(());
    }
    replace_names(layout, &BTreeMap::new(), &wanted)
}

/// Writes the files that are not there like that; what else is in their directory goes.
fn replace_names(
    layout: &Layout,
    there: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let path = |name: &String| layout.names().join(name);
    for (name, text) in wanted.iter().filter(|(name, text)| there.get(*name) != Some(text)) {
        files::replace(&path(name), &layout.dir().join(NEW), text)?;
    }
    let mut stale = there.keys().filter(|name| !wanted.contains_key(*name));
    stale.try_for_each(|name| files::remove(&path(name)))
}
