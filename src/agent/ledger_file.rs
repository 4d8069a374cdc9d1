//! The ledger of one network on the disk: the whole of it as it once was, and a journal of what changed
//! since.
//!
//! Written by `kept`; read by whoever asks what the agent allocated. A guest waits for the disk before it
//! gets an address that was chosen for it, and a line of the journal is there in a fraction of the time
//! that all of a large ledger takes.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::allocate::{Change, Ledger};
use crate::durable::{self, Error, Survives};
use crate::types::NetworkUid;

/// Lines of a journal; with more the whole is written again, once for so many changes.
const MOST: usize = 1_024;

/// Where the ledger of one network is, and how it can be written.
#[derive(Debug, Clone)]
pub(super) struct LedgerFile {
    path: PathBuf,
    /// Lines that the journal has; `None`: it is not known to end with a whole line.
    lines: Option<usize>,
}

impl LedgerFile {
    pub(super) fn new(state: &Path, uid: NetworkUid) -> Self {
        Self { path: path(state, uid), lines: None }
    }

    /// The ledger with all that changed.
    pub(super) fn read(&self) -> Result<Option<Ledger>, Error> {
        read_at(&self.path)
    }

    /// Has `ledger` on the disk, which differs by `changes` from what was written last; what a power
    /// failure leaves is one of the two, or has some of the changes.
    pub(super) fn write(&mut self, ledger: &Ledger, changes: &[Change]) -> Result<(), Error> {
        match self.lines.take().map(|lines| lines + changes.len()).filter(|lines| *lines <= MOST) {
            Some(lines) => {
                self.append(changes)?;
                self.lines = Some(lines);
            }
            None => self.write_whole(ledger)?,
        }
        Ok(())
    }

    /// The journal's lines, read again after the whole, change nothing: each says what the last one of its
    /// address has left.
    pub(super) fn write_whole(&mut self, ledger: &Ledger) -> Result<(), Error> {
        durable::write(&self.path, ledger, Survives::PowerFailure)?;
        durable::remove(&journal_of(&self.path))?;
        self.lines = Some(0);
        Ok(())
    }

    /// The journal first: without the whole it would be nothing.
    pub(super) fn remove(&mut self) -> Result<(), Error> {
        self.lines = None;
        remove_at(&self.path)
    }

    fn append(&self, changes: &[Change]) -> Result<(), Error> {
        let journal = journal_of(&self.path);
        let error = |e: io::Error| Error::Write(journal.clone(), e);
        let mut text = String::new();
        for change in changes {
            let line = serde_json::to_string(change).map_err(|e| error(e.into()))?;
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        let is_new = !journal.exists();
        let mut file = durable::private().append(true).open(&journal).map_err(error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(error)?;
        if is_new { durable::sync_directory_of(&journal) } else { Ok(()) }
    }
}

/// Who has, and had, which address of a network; `None`: nothing is written down.
pub(crate) fn read(state: &Path, uid: NetworkUid) -> Result<Option<Ledger>, Error> {
    read_at(&path(state, uid))
}

/// The networks that have a ledger, and when it was last written.
pub(super) fn all(state: &Path) -> Vec<(NetworkUid, SystemTime)> {
    let entry = |entry: fs::DirEntry| {
        let uid = entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok()?;
        let whole = entry.metadata().ok()?.modified().ok()?;
        let journal = fs::metadata(journal_of(&entry.path())).and_then(|journal| journal.modified());
        Some((uid, journal.map_or(whole, |journal| journal.max(whole))))
    };
    fs::read_dir(directory(state)).into_iter().flatten().flatten().filter_map(entry).collect()
}

/// Forgets who had which address of a network.
pub(super) fn remove(state: &Path, uid: NetworkUid) -> Result<(), Error> {
    remove_at(&path(state, uid))
}

fn remove_at(path: &Path) -> Result<(), Error> {
    durable::remove(&journal_of(path))?;
    durable::remove(path)
}

fn read_at(path: &Path) -> Result<Option<Ledger>, Error> {
    let Some(mut ledger) = durable::read::<Ledger>(path)? else { return Ok(None) };
    let journal = journal_of(path);
    let text = match fs::read_to_string(&journal) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(ledger)),
        text => text.map_err(|e| Error::Read(journal.clone(), e))?,
    };
    for line in whole_lines(&text) {
        let change: Change = serde_json::from_str(line).map_err(|e| Error::Damaged(journal.clone(), e))?;
        ledger.apply(change);
    }
    Ok(Some(ledger))
}

/// Nobody was told of what a line without an end would have said.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

fn directory(state: &Path) -> PathBuf {
    state.join("allocations")
}

fn path(state: &Path, uid: NetworkUid) -> PathBuf {
    directory(state).join(format!("{uid}.json"))
}

fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocate::Holder;

    fn uid() -> NetworkUid {
        "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap()
    }

    fn with(before: &Ledger, last: u8) -> (Ledger, Vec<Change>) {
        let mut after = before.clone();
        let holder = Holder::port(&format!("p{last}"));
        after.record([10, 0, 0, last].into(), "s", &holder, 0);
        let changes = after.changes_since(before);
        (after, changes)
    }

    #[test]
    fn what_changed_is_appended_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LedgerFile::new(dir.path(), uid());
        assert_eq!(file.read().unwrap(), None);
        let mut ledger = Ledger::default();
        for last in 1..=4 {
            let (after, changes) = with(&ledger, last);
            file.write(&after, &changes).unwrap();
            ledger = after;
        }
        ledger.release_all();
        let whole = fs::read_to_string(&file.path).unwrap();
        assert!(whole.contains("p1") && !whole.contains("p2"), "{whole}");
        let read = file.read().unwrap().unwrap();
        file.write(&ledger, &ledger.changes_since(&read)).unwrap();
        assert_eq!(file.read().unwrap(), Some(ledger.clone()));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), whole);
        file.write_whole(&ledger).unwrap();
        assert_eq!(file.read().unwrap(), Some(ledger));
        assert_eq!(all(dir.path()).len(), 1);
        file.remove().unwrap();
        assert_eq!(fs::read_dir(directory(dir.path())).unwrap().count(), 0);
    }

    #[test]
    fn half_a_line_was_told_to_nobody_and_another_process_starts_with_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LedgerFile::new(dir.path(), uid());
        let (one, changes) = with(&Ledger::default(), 1);
        file.write(&one, &changes).unwrap();
        let (two, changes) = with(&one, 2);
        file.write(&two, &changes).unwrap();
        let journal = journal_of(&file.path);
        let line = fs::read_to_string(&journal).unwrap();
        fs::write(&journal, line.clone() + line.trim_end()).unwrap();
        let mut other = LedgerFile::new(dir.path(), uid());
        assert_eq!(other.read().unwrap(), Some(two.clone()));
        // The whole was written, and then the end came.
        durable::write(&file.path, &two, Survives::Crash).unwrap();
        assert_eq!(other.read().unwrap(), Some(two.clone()));
        let (three, changes) = with(&two, 3);
        other.write(&three, &changes).unwrap();
        assert!(!journal.exists());
        fs::write(&journal, "{\n").unwrap();
        assert!(matches!(other.read(), Err(Error::Damaged(..))));
    }

    #[test]
    fn what_another_version_wrote_is_read() {
        let (wholes, journals) =
            ["allocations.json", "allocations.journal"].map(crate::previous::texts).into();
        for (whole, journal) in wholes.into_iter().zip(journals) {
            let dir = tempfile::tempdir().unwrap();
            let file = LedgerFile::new(dir.path(), uid());
            fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            fs::write(&file.path, whole).unwrap();
            fs::write(journal_of(&file.path), journal).unwrap();
            let ledger = file.read().unwrap().unwrap();
            let held = ledger.iter().filter(|(_, allocation)| allocation.released.is_none());
            let held: Vec<_> = held.map(|(ip, _)| ip.to_string()).collect();
            assert_eq!(
                (held, ledger.iter().count()),
                (["10.0.0.10", "10.0.0.12", "10.0.0.20"].map(str::to_owned).into(), 4)
            );
        }
    }

    #[test]
    fn a_long_journal_becomes_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LedgerFile::new(dir.path(), uid());
        let (ledger, changes) = with(&Ledger::default(), 1);
        file.write(&ledger, &changes).unwrap();
        file.write(&ledger, &changes).unwrap();
        assert!(journal_of(&file.path).exists());
        file.write(&ledger, &vec![changes[0].clone(); MOST]).unwrap();
        assert!(!journal_of(&file.path).exists());
    }
}
