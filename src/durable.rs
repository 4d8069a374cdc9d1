//! Files of ours that must survive: whole or not there, whatever happens in between.
//!
//! Called by the agent for what it allocated and reports, and by the sources for the last good objects. Nobody
//! but their owner reads them. Never for dnsmasq's files: those are `host`'s.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What went wrong, and with which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there but cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It is there, and is not what we wrote.
    #[error("{0} is damaged")]
    Damaged(PathBuf, #[source] serde_json::Error),
    /// It stays as it was.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// It is still there.
    #[error("cannot remove {0}")]
    Remove(PathBuf, #[source] io::Error),
}

/// Whether a file must outlive a power failure, or only this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The machine.
    PowerFailure,
    /// The process.
    Crash,
}

/// Replaces `path` by `value` as JSON. Directories above it are made.
pub fn write(path: &Path, value: &impl Serialize, survives: Survives) -> Result<(), Error> {
    let error = |e: io::Error| Error::Write(path.to_owned(), e);
    let text = serde_json::to_vec(value).map_err(|e| error(e.into()))?;
    let beside = path.with_extension("new");
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(error)?;
    let mut file = private().write(true).truncate(true).open(&beside).map_err(error)?;
    // A version before this one may have left it there.
    file.set_permissions(Permissions::from_mode(OWNER)).map_err(error)?;
    file.write_all(&text).map_err(error)?;
    if survives == Survives::PowerFailure {
        file.sync_data().map_err(error)?;
    }
    fs::rename(&beside, path).map_err(error)?;
    if survives == Survives::PowerFailure { sync_directory_of(path) } else { Ok(()) }
}

/// How a file is opened that is made if it is not there.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(OWNER);
    options
}

const OWNER: u32 = 0o600;

/// That `path` is there, or a rename to it, is only on the disk when its directory is.
pub fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let directory = File::open(path.parent().unwrap_or(Path::new(".")));
    directory.and_then(|directory| directory.sync_all()).map_err(|e| Error::Write(path.to_owned(), e))
}

/// The value in `path`; `None` where there is no such file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|e| Error::Read(path.to_owned(), e))?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| Error::Damaged(path.to_owned(), e))
}

/// Removes `path`, if it is there.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::Remove(path.to_owned(), e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        assert_eq!(read::<Vec<u8>>(&path).unwrap(), None);
        write(&path, &vec![1u8, 2], Survives::PowerFailure).unwrap();
        assert_eq!(read::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        fs::write(&path, "[1,").unwrap();
        assert_eq!(read::<Vec<u8>>(&path).unwrap_err().to_string(), format!("{} is damaged", path.display()));
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[test]
    fn only_the_owner_reads_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.json");
        let left_over = path.with_extension("new");
        fs::write(&left_over, "").unwrap();
        fs::set_permissions(&left_over, Permissions::from_mode(0o644)).unwrap();
        for _ in 0..2 {
            write(&path, &1, Survives::Crash).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER);
        }
    }
}
