//! The manifest files of a directory: which there are, and what was in them when last looked at.
//!
//! Called by the directory source's thread, which says when to look. A file that cannot be read
//! keeps what was in it, and so does the whole directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::Problem;
use super::last_good::LastGood;
use super::manifest::Manifest;
use super::schema::Validator;

/// A larger file is refused.
const MAX_BYTES: u64 = 16 << 20;

/// A file that changed less than this ago may change again without a new time stamp.
const TIME_STAMP_GRAIN: Duration = Duration::from_secs(1);

/// A file that nobody is known to have closed is taken for whole when it is the same for so long.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// What is known about the writers of a file that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It was closed or got its name: it is whole.
    Closed,
    /// Somebody writes to it, and may have cut off what was there.
    Open,
    /// Nothing.
    Unknown,
}

/// What is known of one file.
#[derive(Debug, Default)]
pub(crate) struct ManifestFile {
    /// Its path, for messages.
    pub(crate) path: String,
    /// What was in it when it could be read last.
    pub(crate) manifest: Manifest,
    /// Why it cannot be read.
    pub(crate) error: Option<String>,
    /// By what a file is known to be unchanged; `None` if that cannot be said.
    stamp: Option<Stamp>,
    /// To know the text again.
    digest: Option<u64>,
    /// Since when it is as it is, if that may be half of a text.
    doubt: Option<Instant>,
}

impl ManifestFile {
    /// Whether there may be more objects in it than can be told.
    pub(crate) fn hides_objects(&self) -> bool {
        self.error.is_some() || self.manifest.unreadable() || self.doubt.is_some()
    }

    /// Whether a second look can tell that it is whole.
    pub(crate) fn in_doubt(&self) -> bool {
        self.error.is_none() && self.doubt.is_some()
    }

    /// Judges whether it is whole; `same` if its text is that of the last look.
    fn weigh(&mut self, look: Look, same: bool) {
        let now = Instant::now();
        self.doubt = match (look, self.doubt) {
            (Look::Closed, _) => None,
            (Look::Unknown, None) if same => None,
            (Look::Unknown, Some(since)) if same => (now.duration_since(since) < SETTLE).then_some(since),
            _ => Some(now),
        };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    changed: (i64, i64),
    modified: (i64, i64),
    size: u64,
    device: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// The stamp, if a later change could not have the same one.
    fn settled(metadata: &Metadata) -> Option<Self> {
        let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
        (age > TIME_STAMP_GRAIN).then(|| Self::of(metadata))
    }
}

/// The manifest files of a directory.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    by_name: BTreeMap<String, ManifestFile>,
    error: Option<String>,
    /// The file system that the directory was on.
    device: Option<u64>,
    /// The files that had objects when the program ran last, until the directory is read.
    before: BTreeSet<String>,
}

impl Files {
    /// The files of `dir`, which was as it is in `before` when the program ran last.
    pub(crate) fn resume(dir: &Path, before: &LastGood) -> Self {
        let files = before.objects.iter().map(|kept| kept.file.clone()).collect();
        Self { device: before.device, before: files, ..Self::new(dir) }
    }

    /// The file system that the directory is on.
    pub(crate) fn device(&self) -> Option<u64> {
        self.device
    }

    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            by_name: BTreeMap::new(),
            error: Some("not read yet".to_owned()),
            device: None,
            before: BTreeSet::new(),
        }
    }

    /// Whether the directory could be read; if not, a file that is not known may well exist.
    pub(crate) fn readable(&self) -> bool {
        self.error.is_none()
    }

    /// The files, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ManifestFile)> {
        self.by_name.iter().map(|(name, file)| (name.as_str(), file))
    }

    /// The files of these names, or all, in the order of their names.
    pub(crate) fn of<'a>(
        &'a self,
        names: Option<&'a BTreeSet<String>>,
    ) -> impl Iterator<Item = (&'a str, &'a ManifestFile)> {
        let all = names.is_none().then(|| self.iter());
        let some = names.into_iter().flatten();
        let some = some.filter_map(|name| Some((name.as_str(), self.get(name)?)));
        all.into_iter().flatten().chain(some)
    }

    /// The file of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&ManifestFile> {
        self.by_name.get(name)
    }

    /// What cannot be read, and what is wrong in the files.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let directory = self.error.iter().map(|e| unreadable(self.dir.display().to_string(), e));
        let files = self.by_name.values();
        directory.chain(files.flat_map(|file| {
            let own = file.error.iter().map(|e| unreadable(file.path.clone(), e));
            own.chain(file.manifest.problems(&file.path))
        }))
    }

    /// Looks at all files; those for which `how` says nothing are left as they are.
    pub(crate) fn list(&mut self, how: impl Fn(&str) -> Option<Look>, validator: &Validator) {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => {
                self.error = Some(format!("the directory cannot be read: {error}"));
                return;
            }
        };
        self.error = None;
        self.by_name.retain(|name, _| names.contains(name));
        for name in &names {
            if let Some(look) = how(name) {
                self.look(name, look, false, validator);
            }
        }
    }

    /// The names of the manifests; what is left of a directory when its file system is no longer
    /// mounted is not taken for an empty one.
    fn names(&mut self) -> io::Result<BTreeSet<String>> {
        let names = names(&self.dir)?;
        let device = fs::metadata(&self.dir)?.dev();
        let moved = self.device.is_some_and(|known| known != device);
        let mut known = self.by_name.keys().chain(&self.before).peekable();
        if moved && known.peek().is_some() && !known.any(|name| names.contains(name)) {
            return Err(io::Error::other(
                "it is on another file system than before and has none of its files; what it declared stays until one of them is in it",
            ));
        }
        self.device = Some(device);
        self.before.clear();
        Ok(names)
    }

    /// Looks at one file that may have changed.
    pub(crate) fn refresh(&mut self, name: &str, look: Look, validator: &Validator) {
        // For a second look its time stamps do.
        self.look(name, look, look != Look::Unknown, validator);
    }

    fn look(&mut self, name: &str, look: Look, changed: bool, validator: &Validator) {
        let path = self.dir.join(name);
        let known = self.by_name.get(name).and_then(|file| file.stamp);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return self.failed(name, &error),
        };
        if !metadata.is_file() {
            self.by_name.remove(name);
        } else if changed || known != Some(Stamp::of(&metadata)) {
            match read(&path) {
                Ok(text) => {
                    let same = self.store(name, &text, validator);
                    let file = self.entry(name);
                    file.stamp = Stamp::settled(&metadata);
                    file.weigh(look, same);
                }
                Err(error) => self.failed(name, &error),
            }
        } else {
            self.entry(name).weigh(look, true);
        }
    }

    /// Takes over what is in a file; whether it is what was there before.
    fn store(&mut self, name: &str, text: &str, validator: &Validator) -> bool {
        let file = self.entry(name);
        let digest = Some(digest(text));
        file.manifest = Manifest::parse(text, &file.manifest, validator);
        file.error = None;
        std::mem::replace(&mut file.digest, digest) == digest
    }

    /// A file that is gone is gone; one that cannot be read keeps what was in it, and so does a
    /// link into a file system that is not mounted.
    fn failed(&mut self, name: &str, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let there = fs::symlink_metadata(self.dir.join(name)).is_ok();
        if missing && !there && self.dir.is_dir() {
            self.by_name.remove(name);
            return;
        }
        let file = self.entry(name);
        file.error = Some(if missing && there {
            "the file cannot be read: the link leads nowhere".to_owned()
        } else {
            format!("the file cannot be read: {error}")
        });
        file.stamp = None;
    }

    fn entry(&mut self, name: &str) -> &mut ManifestFile {
        let path = self.dir.join(name).display().to_string();
        self.by_name
            .entry(name.to_owned())
            .or_insert_with(|| ManifestFile { path, ..ManifestFile::default() })
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn unreadable(file: String, message: &str) -> Problem {
    Problem { file, line: None, object: None, field: String::new(), message: message.to_owned() }
}

/// Whether a file of this name is taken for a manifest.
pub(crate) fn is_manifest(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn names(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string()
            && is_manifest(&name)
        {
            names.insert(name);
        }
    }
    Ok(names)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_other_endings_are_no_manifests() {
        for name in ["a.yaml", "a.yml", "a.json", "a.b.yaml"] {
            assert!(is_manifest(name), "{name}");
        }
        for name in [".a.yaml", "..data", "a.yaml~", "a.yaml.tmp", "yaml", "a.txt"] {
            assert!(!is_manifest(name), "{name}");
        }
    }

    #[test]
    fn an_unmounted_directory_is_not_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let (dir, full) = (root.path().join("dir"), root.path().join("full"));
        fs::create_dir(&full).unwrap();
        fs::write(full.join("a.yaml"), "").unwrap();
        let validator = Validator::new().unwrap();
        let mut files = Files::new(&dir);
        // /proc is another file system, without manifests.
        for (target, readable) in [(full.as_path(), true), (Path::new("/proc"), false), (&full, true)] {
            let _ = fs::remove_file(&dir);
            std::os::unix::fs::symlink(target, &dir).unwrap();
            files.list(|_| Some(Look::Unknown), &validator);
            assert_eq!((files.readable(), files.iter().count()), (readable, 1));
        }
    }

    #[test]
    fn files_that_are_too_large_or_no_text_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is larger than 16 MiB");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn an_unmounted_directory_is_not_an_empty_one_at_the_start_either() {
        let dir = tempfile::tempdir().unwrap();
        let device = fs::metadata(dir.path()).unwrap().dev();
        let kept = serde_json::json!([{"key": {"kind": "Port", "namespace": "a", "name": "x"}, "file": "x.yaml",
            "generation": 1, "value": "{}"}]);
        let kept: Vec<crate::source::last_good::Kept> = serde_json::from_value(kept).unwrap();
        let validator = Validator::new().unwrap();
        let readable = |device, kept: &Vec<_>| {
            let mut files = Files::resume(dir.path(), &LastGood::new(Some(device), kept.clone()));
            files.list(|_| Some(Look::Unknown), &validator);
            files.readable()
        };
        assert!(!readable(device + 1, &kept));
        assert!(readable(device, &kept));
        assert!(readable(device + 1, &Vec::new()));
        // What lies under the mount point is not what was in the directory.
        fs::write(dir.path().join("stray.yaml"), "").unwrap();
        assert!(!readable(device + 1, &kept));
        assert!(readable(device, &kept));
        assert!(readable(device + 1, &Vec::new()));
        fs::write(dir.path().join("x.yaml"), "").unwrap();
        assert!(readable(device + 1, &kept));
    }
}
