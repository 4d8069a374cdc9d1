//! What a directory source has delivered, and what follows from what its files say now.
//!
//! Called by the directory source's thread after each look at the files. Decides only: which file's
//! object counts, which object is new, changed, gone, or kept although its file is broken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::files::Files;
use super::last_good::Kept;
use super::manifest::{Candidate, Placed};
use super::schema::{FieldError, Validator};
use super::{Batch, Event, Object, ObjectKey, Problem, object_uid};

/// The objects that were delivered, by what they are.
#[derive(Debug)]
pub(crate) struct State {
    served: BTreeMap<ObjectKey, Served>,
    problems: Vec<Problem>,
    delivered: bool,
}

/// An object that was delivered.
#[derive(Debug)]
struct Served {
    file: String,
    value: Arc<Value>,
    generation: i64,
    /// The parsed document that it is of, to see at once that nothing changed.
    candidate: Option<Arc<Candidate>>,
}

/// What came of a look at the files.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What has to be told, if anything.
    pub(crate) batch: Option<Batch>,
    /// Whether the last good objects are others than before.
    pub(crate) changed: bool,
}

impl State {
    /// Starts with the objects that were good when the program ran last.
    pub(crate) fn restore(last_good: Vec<Kept>) -> Self {
        let served = last_good.into_iter().map(|kept| {
            let served =
                Served { file: kept.file, value: kept.value, generation: kept.generation, candidate: None };
            (kept.key, served)
        });
        Self { served: served.collect(), problems: Vec::new(), delivered: false }
    }

    /// The objects to be kept for the next start.
    pub(crate) fn last_good(&self) -> Vec<Kept> {
        let kept = self.served.iter().map(|(key, served)| Kept {
            key: key.clone(),
            file: served.file.clone(),
            generation: served.generation,
            value: Arc::clone(&served.value),
        });
        kept.collect()
    }

    /// Takes over what the files say now.
    pub(crate) fn update(&mut self, files: &Files, validator: &Validator) -> Outcome {
        let mut problems: Vec<Problem> = files.problems().collect();
        let mut pass = Pass { events: Vec::new(), changed: false };
        let chosen = choose(files, &mut problems);
        for (file, placed) in &chosen.in_order {
            if let Err(errors) = self.admit(file, placed, validator, &mut pass) {
                let path = files.get(file).map_or(*file, |f| &f.path);
                problems.extend(errors.into_iter().map(|e| placed.problem(path, e)));
            }
        }
        self.remove_gone(&chosen, files, &mut pass);
        problems.sort();
        problems.dedup();
        self.outcome(pass, problems)
    }

    fn outcome(&mut self, pass: Pass, problems: Vec<Problem>) -> Outcome {
        let first = !self.delivered;
        let events = if first { self.all() } else { pass.events };
        let news = first || !events.is_empty() || problems != self.problems;
        self.delivered = true;
        self.problems.clone_from(&problems);
        Outcome { batch: news.then_some(Batch { events, problems }), changed: pass.changed }
    }

    fn all(&self) -> Vec<Event> {
        let objects = self.served.iter().filter_map(|(key, s)| s.object(key).ok());
        objects.map(Event::Apply).collect()
    }

    /// Takes over one object of a file, unless it is not valid or may not follow the served one.
    fn admit(
        &mut self,
        file: &str,
        placed: &Placed<'_>,
        validator: &Validator,
        pass: &mut Pass,
    ) -> Result<(), Vec<FieldError>> {
        let candidate = placed.candidate;
        let Some(value) = &candidate.value else {
            return Ok(());
        };
        let generation = match self.served.get_mut(&candidate.key) {
            Some(served) if served.is(candidate, value) => {
                pass.changed |= served.file != file;
                file.clone_into(&mut served.file);
                served.candidate = Some(Arc::clone(candidate));
                return Ok(());
            }
            Some(served) => {
                validator.validate(candidate.key.kind, &mut value.clone(), Some(&served.value))?;
                served.generation + i64::from(served.value.get("spec") != value.get("spec"))
            }
            None => 1,
        };
        let served = Served {
            file: file.to_owned(),
            value: Arc::new(value.clone()),
            generation,
            candidate: Some(Arc::clone(candidate)),
        };
        let object = served.object(&candidate.key).map_err(|e| vec![FieldError::new("", e.to_string())])?;
        let faults = object.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        self.served.insert(candidate.key.clone(), served);
        pass.events.push(Event::Apply(object));
        pass.changed = true;
        Ok(())
    }

    /// Removes what no file has any more, unless it may be in what cannot be read.
    fn remove_gone(&mut self, chosen: &Chosen<'_>, files: &Files, pass: &mut Pass) {
        if !files.readable() {
            return;
        }
        self.served.retain(|key, served| {
            let file = files.get(&served.file);
            let hidden = file.is_some_and(|f| f.error.is_some() || f.manifest.unreadable());
            let stays = hidden || chosen.by_key.contains_key(key);
            if !stays {
                pass.events.push(Event::Delete(key.clone()));
                pass.changed = true;
            }
            stays
        });
    }
}

struct Pass {
    events: Vec<Event>,
    changed: bool,
}

impl Served {
    fn is(&self, candidate: &Arc<Candidate>, value: &Value) -> bool {
        let same = self.candidate.as_ref().is_some_and(|c| Arc::ptr_eq(c, candidate));
        same || *self.value == *value
    }

    /// The object with the metadata that an API server would have added.
    fn object(&self, key: &ObjectKey) -> Result<Object, serde_json::Error> {
        let mut value = (*self.value).clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            let uid = object_uid(key.kind, &key.namespace, &key.name);
            metadata.insert("uid".into(), uid.into());
            metadata.insert("generation".into(), self.generation.into());
        }
        Object::from_value(key.kind, &value)
    }
}

/// The object that counts for each key.
struct Chosen<'a> {
    in_order: Vec<(&'a str, Placed<'a>)>,
    by_key: HashMap<&'a ObjectKey, usize>,
}

/// The first file by name has an object; in others it is a mistake.
fn choose<'a>(files: &'a Files, problems: &mut Vec<Problem>) -> Chosen<'a> {
    let mut chosen = Chosen { in_order: Vec::new(), by_key: HashMap::new() };
    for (name, file) in files.iter() {
        for placed in file.manifest.objects() {
            let key = &placed.candidate.key;
            match chosen.by_key.get(key) {
                None => {
                    chosen.by_key.insert(key, chosen.in_order.len());
                    chosen.in_order.push((name, placed));
                }
                Some(first) => problems.push(duplicate(files, chosen.in_order[*first], &file.path, placed)),
            }
        }
    }
    chosen
}

fn duplicate(files: &Files, (name, first): (&str, Placed<'_>), path: &str, second: Placed<'_>) -> Problem {
    let first_path = files.get(name).map_or(name, |f| &f.path);
    Problem {
        file: path.to_owned(),
        line: Some(second.line()),
        object: Some(second.candidate.key.clone()),
        field: "metadata.name".to_owned(),
        message: format!(
            "Duplicate value: the same object is in {first_path}:{}, and that one counts",
            first.line()
        ),
    }
}
