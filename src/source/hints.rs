//! inotify on a directory of manifests, as hints at what to look at.
//!
//! Called by the directory source's thread. A hint may be missing, late or for nothing; nothing
//! may rest on it but speed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::files::is_manifest;

/// What may have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A manifest file was closed after writing, or got its name.
    Changed(String),
    /// A manifest file was removed, or lost its name and may get another.
    Removed(String),
    /// A manifest file or a link to one was made.
    Created(String),
    /// Permissions of a manifest file changed, which says nothing about who writes to it.
    Touched(String),
    /// A manifest file was written to, and is open still.
    Written(String),
    /// Anything.
    Relist,
    /// Anything, and hints are missing.
    Lost,
    /// Nobody listens any more.
    Stop,
}

/// The watch on a directory, which may be removed and made again meanwhile.
#[derive(Debug)]
pub(crate) struct Watch {
    dir: PathBuf,
    hints: Sender<Hint>,
    on: Option<(Identity, RecommendedWatcher)>,
    warned: bool,
}

/// Device and inode: what a watch is bound to, whatever the path leads to by now.
type Identity = (u64, u64);

impl Watch {
    pub(crate) fn new(dir: &Path, hints: Sender<Hint>) -> Self {
        Self { dir: dir.to_owned(), hints, on: None, warned: false }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Watches what the path leads to now, if that is not what is watched already.
    ///
    /// Whether hints may be missing since the last time.
    pub(crate) fn renew(&mut self) -> bool {
        let identity = fs::metadata(&self.dir).ok().map(|m| (m.dev(), m.ino()));
        if identity == self.on.as_ref().map(|(watched, _)| *watched) {
            return false;
        }
        self.on = None;
        let Some(identity) = identity else { return true };
        match self.watch() {
            Ok(watcher) => {
                self.on = Some((identity, watcher));
                self.warned = false;
            }
            Err(error) => self.warn(&error),
        }
        true
    }

    fn watch(&self) -> notify::Result<RecommendedWatcher> {
        let hints = self.hints.clone();
        let dir = self.dir.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let event = event.unwrap_or_else(|_| Event::default().set_flag(notify::event::Flag::Rescan));
            for hint in translate(&dir, &event) {
                // Fails only when the listener is gone, and this watch with it.
                let _ = hints.send(hint);
            }
        })?;
        watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    fn warn(&mut self, error: &notify::Error) {
        if !self.warned {
            tracing::warn!(dir = %self.dir.display(), %error,
                "the directory cannot be watched; it is looked at again and again instead");
        }
        self.warned = true;
    }
}

fn translate(dir: &Path, event: &Event) -> Vec<Hint> {
    if event.need_rescan() {
        return vec![Hint::Lost];
    }
    let paths = event.paths.iter();
    paths.filter_map(|path| about(dir, path, event.kind)).collect()
}

fn about(dir: &Path, path: &Path, kind: EventKind) -> Option<Hint> {
    let name = path.file_name()?.to_str()?.to_owned();
    let changed = matches!(
        kind,
        EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    );
    if path == dir {
        return changed.then_some(Hint::Relist);
    }
    // A mounted ConfigMap changes by a new `..data`; its manifests are links that lead through it.
    if name.starts_with("..") {
        return matches!(kind, EventKind::Create(_) | EventKind::Modify(_)).then_some(Hint::Relist);
    }
    match kind {
        _ if !is_manifest(&name) => None,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(Hint::Removed(name))
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Hint::Touched(name)),
        _ if changed => Some(Hint::Changed(name)),
        EventKind::Create(_) => Some(Hint::Created(name)),
        EventKind::Modify(_) => Some(Hint::Written(name)),
        _ => None,
    }
}
