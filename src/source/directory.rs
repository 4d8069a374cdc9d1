//! A directory of manifests as a source of objects.
//!
//! The agent opens it and awaits its batches. A thread of its own reads: inotify only hints at what
//! to look at, the files are the truth, and all of them are looked at again every half minute. It
//! serves on what was good last, whatever becomes of a file or of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as async_mpsc;

use super::files::{Files, Look, SETTLE};
use super::hints::{Hint, Watch};
use super::last_good::{self, Delay, Keeper, LastGood};
use super::schema::{self, Validator};
use super::state::State;
use super::{Batch, Object, Source};

/// All files are looked at again after this time, hint or not.
const RELIST: Duration = Duration::from_secs(30);

/// As long as the directory cannot be watched, it is looked at this often.
const REWATCH: Duration = Duration::from_millis(200);

/// A file that lost its name gets this long for another one, lest its objects go and come back.
const RENAME: Duration = Duration::from_millis(1);

/// A burst of changes is written once, after it was served.
const DELAY: Delay = Delay { every: Duration::ZERO, after: Duration::from_millis(100) };

/// The file in the state directory that holds the last good objects.
const LAST_GOOD: &str = "manifests.json";

/// Why the source cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API's own definitions are of no use.
    #[error("the schemas cannot be compiled")]
    Schema(#[from] schema::Error),
    /// The state directory does not give what was kept there.
    #[error("{} cannot be read", path.display())]
    LastGood {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread can be started.
    #[error("no thread for the directory source")]
    Thread(#[source] io::Error),
}

/// A directory of manifests.
#[derive(Debug)]
pub struct Directory {
    batches: async_mpsc::Receiver<Batch>,
    hints: Sender<Hint>,
    thread: Option<JoinHandle<()>>,
}

impl Directory {
    /// Starts to read `dir`; `state_dir` keeps the last good objects over a restart.
    pub fn open(dir: &Path, state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(LAST_GOOD);
        let kept = last_good::load(&path).map_err(|source| {
            let path = path.clone();
            Error::LastGood { path, source }
        })?;
        let (hints, hinted) = mpsc::channel();
        let validator = Validator::new()?;
        let (batches, receiver) = async_mpsc::channel(1);
        let reader = Reader {
            files: Files::resume(dir, &kept),
            state: State::restore(kept.objects, &validator),
            validator,
            keeper: Keeper::start(path, DELAY).map_err(Error::Thread)?,
            watch: Watch::new(dir, hints.clone()),
            open: BTreeSet::new(),
            due: BTreeMap::new(),
            dir: dir.to_owned(),
            batches,
        };
        let thread = thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || reader.run(&hinted))
            .map_err(Error::Thread)?;
        Ok(Self { batches: receiver, hints, thread: Some(thread) })
    }

    /// What [`open`](Self::open) would deliver first; watches and writes nothing.
    pub fn read_once(dir: &Path, state_dir: &Path) -> Result<Batch, Error> {
        let path = state_dir.join(LAST_GOOD);
        let kept = last_good::peek(&path).map_err(|source| Error::LastGood { path, source })?;
        let validator = Validator::new()?;
        let mut files = Files::resume(dir, &kept);
        files.list(|_| Some(Look::Unknown), &validator);
        Ok(State::restore(kept.objects, &validator)
            .update(&files, None, &validator)
            .batch
            .unwrap_or_default())
    }
}

/// The objects that an agent with this state directory serves from its manifests. Changes nothing.
pub fn kept(state_dir: &Path) -> Result<Vec<Object>, Error> {
    let path = state_dir.join(LAST_GOOD);
    let last_good = |source| Error::LastGood { path: path.clone(), source };
    let kept = last_good::peek(&path).map_err(last_good)?;
    State::restore(kept.objects, &Validator::new()?).objects().map_err(|error| last_good(error.into()))
}

impl Source for Directory {
    /// The first batch has everything; `None` only after the reading thread has ended.
    async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.batches.close();
        // The thread may have ended already: then nobody needs to be told.
        let _ = self.hints.send(Hint::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the reading thread.
struct Reader {
    dir: PathBuf,
    files: Files,
    state: State,
    validator: Validator,
    keeper: Keeper<LastGood>,
    watch: Watch,
    /// Files that somebody wrote to and did not close yet.
    open: BTreeSet<String>,
    /// Files that are looked at even without an event, and when: open ones when nothing was written
    /// for a while, and those for which one look was not enough.
    due: BTreeMap<String, Instant>,
    batches: async_mpsc::Sender<Batch>,
}

/// What is to be looked at.
#[derive(Default)]
struct Dirty {
    all: bool,
    names: BTreeMap<String, Look>,
    stop: bool,
}

impl Reader {
    fn run(mut self, hinted: &Receiver<Hint>) {
        let mut dirty = Dirty { all: true, ..Dirty::default() };
        let mut relist = Instant::now();
        while !dirty.stop && self.pass(&dirty) {
            if dirty.all {
                relist = Instant::now() + RELIST;
            }
            dirty = self.wait(hinted, relist);
        }
    }

    /// Looks at what is dirty and tells what follows; false if nobody listens any more.
    fn pass(&mut self, dirty: &Dirty) -> bool {
        if dirty.all {
            self.list();
        }
        for (name, look) in &dirty.names {
            self.files.refresh(name, *look, &self.validator);
        }
        let names: BTreeSet<String> = dirty.names.keys().cloned().collect();
        let changed = (!dirty.all).then_some(&names);
        self.look_again(changed);
        let outcome = self.state.update(&self.files, changed, &self.validator);
        if let Some(batch) = outcome.batch
            && self.batches.blocking_send(batch).is_err()
        {
            return false;
        }
        if outcome.changed {
            self.keeper.keep(LastGood::new(self.files.device(), self.state.last_good()));
        }
        true
    }

    fn list(&mut self) {
        // Watched before it is read: a change in between is seen twice rather than never.
        if self.watch.renew() {
            self.open.clear();
        }
        let (open, due) = (&self.open, &self.due);
        let how = |name: &str| match (open.contains(name), due.contains_key(name)) {
            (true, true) => None,
            (true, false) => Some(Look::Open),
            (false, _) => Some(Look::Unknown),
        };
        self.files.list(how, &self.validator);
    }

    /// Sees to a second look at files of which nobody knows whether they are whole.
    fn look_again(&mut self, names: Option<&BTreeSet<String>>) {
        let at = Instant::now() + SETTLE;
        for (name, file) in self.files.of(names) {
            if file.in_doubt() && !self.open.contains(name) {
                self.due.entry(name.to_owned()).or_insert(at);
            }
        }
    }

    /// Waits until something is to be looked at.
    fn wait(&mut self, hinted: &Receiver<Hint>, relist: Instant) -> Dirty {
        let mut dirty = Dirty::default();
        while !dirty.stop && !dirty.all && dirty.names.is_empty() {
            let settled = self.due.values().min().copied();
            let until = settled.map_or(relist, |at| at.min(relist));
            let rewatch = (!self.watch.is_on()).then(|| Instant::now() + REWATCH);
            let until = rewatch.map_or(until, |at| at.min(until));
            match hinted.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Hint::Removed(name)) => {
                    self.note(Hint::Removed(name), &mut dirty);
                    thread::sleep(RENAME);
                }
                Ok(hint) => self.note(hint, &mut dirty),
                Err(_) => self.note_time(relist, &mut dirty),
            }
            for hint in hinted.try_iter() {
                self.note(hint, &mut dirty);
            }
        }
        dirty
    }

    fn note(&mut self, hint: Hint, dirty: &mut Dirty) {
        match hint {
            Hint::Changed(name) | Hint::Removed(name) => {
                self.open.remove(&name);
                self.due.remove(&name);
                dirty.names.insert(name, Look::Closed);
            }
            Hint::Created(name) if is_link(&self.dir.join(&name)) => {
                dirty.names.insert(name, Look::Closed);
            }
            Hint::Created(name) | Hint::Written(name) => {
                dirty.names.remove(&name);
                self.due.insert(name.clone(), Instant::now() + SETTLE);
                self.open.insert(name);
            }
            Hint::Touched(name) => {
                let look = self.without_event(&name);
                dirty.names.entry(name).or_insert(look);
            }
            Hint::Relist => dirty.all = true,
            Hint::Lost => {
                self.open.clear();
                dirty.all = true;
            }
            Hint::Stop => dirty.stop = true,
        }
    }

    fn without_event(&self, name: &str) -> Look {
        if self.open.contains(name) { Look::Open } else { Look::Unknown }
    }

    fn note_time(&mut self, relist: Instant, dirty: &mut Dirty) {
        let now = Instant::now();
        dirty.all = relist <= now || !self.watch.is_on();
        let settled = self.due.iter().filter(|(_, at)| **at <= now);
        let settled: Vec<String> = settled.map(|(name, _)| name.clone()).collect();
        self.due.retain(|_, at| *at > now);
        for name in settled {
            let look = self.without_event(&name);
            dirty.names.insert(name, look);
        }
    }
}

/// A new link is complete at once: nobody writes to it and closes it.
fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink() || m.nlink() > 1)
}

#[cfg(test)]
mod tests;
