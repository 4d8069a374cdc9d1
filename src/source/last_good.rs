//! The last good objects of a directory on disk, for a start while a file of it is broken; and the thread
//! that writes such files.
//!
//! Read once at the start; written by a thread of its own, so that an fsync never delays a change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::packed::Packed;
use super::{Object, ObjectKey};
use crate::durable::{self, Survives};

/// The format of the file.
const FORMAT: u32 = 2;

/// As `nice` counts.
const LEAST_PRIORITY: i32 = 19;

/// When a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// An object that was good, and the file that it came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) key: ObjectKey,
    pub(crate) file: String,
    pub(crate) generation: i64,
    pub(crate) value: Packed,
}

/// What is kept over a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LastGood {
    format: u32,
    /// The file system that the directory was on.
    #[serde(default)]
    pub(crate) device: Option<u64>,
    pub(crate) objects: Vec<Kept>,
}

impl LastGood {
    pub(crate) fn new(device: Option<u64>, objects: Vec<Kept>) -> Self {
        Self { format: FORMAT, device, objects }
    }
}

/// Reads the objects; a file that makes no sense counts as none.
pub(crate) fn peek(path: &Path) -> io::Result<LastGood> {
    Ok(read(path)?.and_then(|text| parse(&text).ok()).unwrap_or_default())
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the objects; a file that makes no sense is put aside, and there are none.
pub(crate) fn load(path: &Path) -> io::Result<LastGood> {
    let Some(text) = read(path)? else { return Ok(LastGood::default()) };
    match parse(&text) {
        Ok(objects) => Ok(objects),
        Err(error) => {
            let aside = with_suffix(path, ".corrupt");
            tracing::error!(path = %path.display(), aside = %aside.display(), %error,
                "the last good objects cannot be read; the file is put aside");
            fs::rename(path, aside)?;
            Ok(LastGood::default())
        }
    }
}

fn parse(text: &[u8]) -> Result<LastGood, serde_json::Error> {
    let content: LastGood = serde_json::from_slice(text)?;
    if content.format != FORMAT {
        let message = format!("format {} is not {FORMAT}", content.format);
        return Err(serde::de::Error::custom(message));
    }
    for kept in &content.objects {
        Object::from_value(kept.key.kind, &kept.value.unpack())?;
    }
    Ok(content)
}

/// When objects are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delay {
    /// From one time to the next, at least.
    pub(crate) every: Duration,
    /// After they came: who serves what changed has the disk to itself.
    pub(crate) after: Duration,
}

impl Delay {
    fn next(self, last: Option<Instant>) -> Instant {
        let soonest = Instant::now() + self.after;
        last.map_or(soonest, |last| soonest.max(last + self.every))
    }
}

/// Writes the objects, on a thread of its own; when dropped, waits until they are written.
#[derive(Debug)]
pub(crate) struct Keeper<T> {
    objects: Option<Sender<(u64, T)>>,
    thread: Option<JoinHandle<()>>,
    last: u64,
    written: watch::Receiver<u64>,
}

impl<T: Serialize + Send + 'static> Keeper<T> {
    /// Writes to `path` as late as `delay` says.
    pub(crate) fn start(path: PathBuf, delay: Delay) -> io::Result<Self> {
        let (objects, receiver) = mpsc::channel();
        let (tell, written) = watch::channel(0);
        let thread = thread::Builder::new()
            .name("last-good".to_owned())
            .spawn(move || write_all(&path, delay, &receiver, &tell))?;
        Ok(Self { objects: Some(objects), thread: Some(thread), last: 0, written })
    }

    /// Has them written.
    pub(crate) fn keep(&mut self, objects: T) {
        self.last += 1;
        if let Some(sender) = &self.objects {
            // Fails only if the thread is gone, which it is never before us.
            let _ = sender.send((self.last, objects));
        }
    }

    /// The number of those that were given last.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The number of those that were written last.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        self.objects = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all<T: Serialize>(
    path: &Path,
    delay: Delay,
    receiver: &Receiver<(u64, T)>,
    tell: &watch::Sender<u64>,
) {
    give_way();
    let mut unwritten: Option<(u64, T)> = None;
    let mut last: Option<Instant> = None;
    loop {
        let next = match unwritten {
            Some(_) => receiver.recv_timeout(RETRY),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let next = match next {
            Ok(objects) => Ok(newest(receiver, objects, delay.next(last))),
            next => next,
        };
        match next {
            Ok(objects) => unwritten = Some(objects),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        last = Some(Instant::now());
        let Some((number, objects)) = unwritten.take() else { continue };
        match durable::write(path, &objects, Survives::PowerFailure) {
            Ok(()) => drop(tell.send_replace(number)),
            Err(error) => {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::error!(error, "the last good objects are not kept");
                unwritten = Some((number, objects));
            }
        }
    }
}

/// The last of what comes until then, or until nothing more will come.
fn newest<T>(receiver: &Receiver<T>, mut objects: T, until: Instant) -> T {
    while let Some(wait) = until.checked_duration_since(Instant::now()) {
        match receiver.recv_timeout(wait) {
            Ok(newer) => objects = newer,
            Err(_) => break,
        }
    }
    receiver.try_iter().last().unwrap_or(objects)
}

/// All objects are written for each change, at the moment at which others serve that change: they go
/// first. Without it the work is the same, only in the way.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LEAST_PRIORITY) {
        tracing::debug!(%error, "the thread of the last good objects keeps its priority");
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::Kind;

    #[test]
    fn it_is_written_neither_at_once_nor_too_often() {
        let delay = Delay { every: Duration::from_secs(60), after: Duration::from_secs(10) };
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!((now + 10 * second..now + 11 * second).contains(&delay.next(None)));
        assert_eq!(delay.next(Some(now)), now + 60 * second);
        assert!(delay.next(now.checked_sub(59 * second)) >= now + 10 * second);
    }

    fn kept(name: &str) -> Kept {
        Kept {
            key: ObjectKey { kind: Kind::Port, namespace: "default".into(), name: name.into() },
            file: "a.yaml".into(),
            generation: 3,
            value: Packed::from(&json!({"apiVersion": crate::api::API_VERSION, "kind": "Port",
                "metadata": {"name": name, "namespace": "default"}, "spec": {"networkRef": {"name": "n"}}})),
        }
    }

    #[test]
    fn what_is_kept_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifests.json");
        assert!(load(&path).unwrap().objects.is_empty());
        let mut keeper = Keeper::start(path.clone(), Delay::default()).unwrap();
        keeper.keep(LastGood::new(None, vec![kept("a")]));
        keeper.keep(LastGood::new(Some(7), vec![kept("a"), kept("b")]));
        let (last, written) = (keeper.last(), keeper.written());
        drop(keeper);
        assert_eq!(*written.borrow(), last);
        let loaded = load(&path).unwrap();
        let objects = &loaded.objects;
        assert_eq!((loaded.device, objects.len()), (Some(7), 2));
        assert_eq!((objects[1].key.name.as_str(), objects[1].generation), ("b", 3));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_another_version_kept_is_loaded() {
        for text in crate::previous::texts("manifests.json") {
            let names = parse(text.as_bytes()).unwrap().objects.into_iter().map(|kept| kept.key.name);
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert_eq!(names, ["a", "a-v4", "lan", "p1", "p3"]);
        }
    }

    #[test]
    fn a_corrupt_file_is_put_aside() {
        let wrong_type = json!({"format": FORMAT, "objects": [{"key": kept("a").key, "file": "a", "generation": 1, "value": "{\"spec\": 1}"}]});
        for text in ["{", r#"{"format": 1, "objects": []}"#, &wrong_type.to_string()] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("manifests.json");
            fs::write(&path, text).unwrap();
            assert!(load(&path).unwrap().objects.is_empty());
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(dir.path().join("manifests.json.corrupt")).unwrap(), text);
        }
    }
}
