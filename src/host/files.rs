//! Files that are whole or not there: written beside, renamed into place.
//!
//! Called for dnsmasq's files. Not synced to the disk: after a power failure no dnsmasq runs, and
//! everything is written anew before one starts.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Error;
use super::netns::FileId;

/// dnsmasq's user reads them.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a directory that everybody may read, whatever the umask.
pub(super) fn directory(path: &Path) -> Result<(), Error> {
    let made = fs::create_dir_all(path);
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)))
        .map_err(Error::write(path))
}

/// Writes `text` to `beside` and makes that `path`. A short file never gets there.
pub(super) fn replace(path: &Path, beside: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let _alone = super::gate::writing();
        let mut file = File::create(beside)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.write_all(text.as_bytes())
    };
    if let Err(e) = write() {
        // On a full disk it would only be in the way; the next write overwrites it anyway.
        let _ = fs::remove_file(beside);
        return Err(Error::Write(beside.to_owned(), e));
    }
    fs::rename(beside, path).map_err(Error::write(path))
}

/// Whether the disk has so many bytes left: it is tried. Not every file system can say.
pub(super) fn reserve(path: &Path, bytes: u64) -> Result<(), Error> {
    let file = match File::create(path) {
        // Somebody took the directory away: it is made again with the files.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(Error::write(path))?,
    };
    let reserved = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    let _ = fs::remove_file(path);
    match reserved {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        reserved => reserved.map_err(|e| Error::Write(path.to_owned(), e.into())),
    }
}

/// Removes everything in a directory but `kept`.
pub(super) fn empty(directory: &Path, kept: Option<&str>) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::read(directory))? {
        let entry = entry.map_err(Error::read(directory))?;
        if kept.is_some_and(|kept| entry.file_name() == kept) {
            continue;
        }
        remove(&entry.path())?;
    }
    Ok(())
}

/// Removes a file or a whole directory; the directory itself last.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    removed.or_else(absent_is_fine).map_err(Error::remove(path))
}

/// The files of a directory by name; `None` if there is no such directory. What is no text is not
/// ours, and comes out as something that cannot be ours either.
pub(super) fn read_directory(path: &Path) -> Result<Option<BTreeMap<String, String>>, Error> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::read(path))?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(Error::read(path))?;
        let text = fs::read(entry.path()).unwrap_or_else(|_| b"?".to_vec());
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, String::from_utf8_lossy(&text).into_owned());
    }
    Ok(Some(files))
}

/// The names in a directory; none if there is no such directory.
pub(super) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::read(path))?,
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| entry.map(name).map_err(Error::read(path))).collect()
}

/// The text of a file; empty if there is none.
pub fn read(path: &Path) -> Result<String, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::Read(path.to_owned(), e)),
    }
}

/// Which file it is.
pub(super) fn id(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// For removals that may be repeated.
pub(super) fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_file_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("names"), dir.path().join(".new"));
        fs::write(&beside, "half a li").unwrap();
        replace(&path, &beside, "whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert!(!beside.exists());
    }

    #[test]
    fn an_error_names_the_file() {
        let error = replace(Path::new("/nowhere/a"), Path::new("/nowhere/b"), "").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/b");
    }

    #[test]
    fn emptying_keeps_only_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["names", "stranger"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("directory")).unwrap();
        empty(dir.path(), Some("names")).unwrap();
        let files = read_directory(dir.path()).unwrap().unwrap();
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["names"]);
    }
}
