//! The log of a dnsmasq: what it did not take, what it could not read, what guests had it say.
//!
//! Called by `dnsmasq` and `linux`. What its lines mean the pure half of the driver knows.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::machine::{inotify_instances, inotify_watches};
use super::server_files::layouts;
use super::{Applied, Ends, Error, Refused, Said, files};
use crate::dnsmasq::{self, Layout};

/// A log longer than this is set aside.
const LOG_LENGTH: u64 = 1 << 20;

/// That dnsmasq, which `said` this since its start, could not read what it is to serve: that keeps it from nothing.
pub(super) fn unread(layout: &Layout, said: &str) -> Result<(), Error> {
    let said = dnsmasq::unread(said, |path| Path::new(path).starts_with(layout.dir()));
    said.map_or(Ok(()), |said| Err(Error::Unread(with_limits(said))))
}

/// What dnsmasq `said` of lines that it did not take.
pub(super) fn refused(layout: &Layout, said: &str) -> Applied {
    // Nothing else is opened that a log names: guests write there, too.
    let watched = [layout.hosts(), layout.options(), layout.names()];
    let is_ours = |file: &str| watched.iter().any(|directory| Path::new(file).parent() == Some(directory));
    let refused = dnsmasq::refusals(said, is_ours).into_iter().map(|refusal| {
        let file = Path::new(&refusal.file);
        let text = files::read(file).unwrap_or_default();
        let line = text.lines().nth(refusal.line.wrapping_sub(1)).unwrap_or_default();
        let is_host = file.parent() == Some(&layout.hosts());
        let identity = dnsmasq::identity_of(line).filter(|_| is_host);
        let message = match identity {
            Some(_) => refusal.message,
            None => format!("{}: {line}", refusal.message),
        };
        Refused { identity, message }
    });
    Applied { refused: refused.collect(), ..Applied::default() }
}

pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What dnsmasq said of guests since `from`, and where its logs end now. Of a guest that has it say more than
/// anybody reads only the end.
pub(super) fn said(all: &Layout, from: Option<&Ends>) -> Result<Said, Error> {
    let mut said = Said::default();
    for (share, layout) in layouts(all)? {
        // That of a share is new where it is not known.
        let from = from.map(|ends| ends.get(&share).copied().unwrap_or_default());
        // A guest may fill it faster than anybody looks at the rest. What was not read yet stays.
        let from = match from {
            Some(read) if read > LOG_LENGTH && set_aside(&layout.log(), read) => Some(0),
            from => from,
        };
        let (lines, end) = said_in(&layout.log(), from)?;
        said.without_address.extend(dnsmasq::without_address(&lines));
        said.declined.extend(dnsmasq::declined(&lines));
        said.messages.extend(dnsmasq::messages(&lines));
        said.ends.insert(share, end);
    }
    Ok(said)
}

/// Of a guest that has dnsmasq say more than anybody reads.
const MOST: u64 = 1 << 16;

/// The whole lines since `from`, and where they end.
fn said_in(log: &Path, from: Option<u64>) -> Result<(String, u64), Error> {
    let end = length(log);
    let Some(from) = from else { return Ok((String::new(), end)) };
    let from = if end < from { 0 } else { from.max(end.saturating_sub(MOST)) };
    let mut text = since(log, from)?;
    // A line that is being written is read when it is whole.
    let rest = text.split_off(text.rfind('\n').map_or(0, |at| at + 1));
    // What came in between is read twice.
    Ok((text, end.saturating_sub(rest.len() as u64)))
}

/// What a log has from there on.
pub(super) fn since(log: &Path, from: u64) -> Result<String, Error> {
    read_from(log, from).map_err(Error::read(log))
}

/// The end of a log; the whole of it if it was set aside in between.
pub(super) fn read_from(path: &Path, offset: u64) -> std::io::Result<String> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let start = if file.metadata()?.len() < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Sets a long log aside, one generation. It is for people: failing is no failure.
pub(super) fn trim_log(log: &Path) {
    let length = length(log);
    if length > LOG_LENGTH {
        set_aside(log, length);
    }
}

/// Sets the end of a log aside but for what comes after `read`, of which its end stays; whether that could be
/// done. dnsmasq appends to the file it has open, so it stays the same file.
fn set_aside(log: &Path, read: u64) -> bool {
    let old = log.with_extension("old");
    let end = length(log);
    // On a full disk there is no room for the old part; the log must be cut all the same.
    let part = read_from(log, end.saturating_sub(LOG_LENGTH));
    if part.and_then(|part| fs::write(&old, part)).is_err() {
        let _ = fs::remove_file(&old);
    }
    let unread = read_from(log, read.max(end.saturating_sub(MOST))).unwrap_or_default();
    let cut = || {
        let mut file = OpenOptions::new().append(true).open(log)?;
        file.set_len(0)?;
        file.write_all(unread.as_bytes())
    };
    let done = cut();
    if let Err(error) = &done {
        tracing::debug!(log = %log.display(), %error, "cannot set the log aside");
    }
    done.is_ok()
}

/// What can be done about it.
pub(super) fn with_limits(said: String) -> String {
    match (inotify_instances(), inotify_watches()) {
        (Ok(instances), Ok(watches)) if said.contains("inotify") => format!(
            "{said} (fs.inotify.max_user_instances is {instances}, fs.inotify.max_user_watches is {watches})"
        ),
        _ => said,
    }
}
