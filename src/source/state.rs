//! What a directory source has delivered, and what follows from what its files say now.
//!
//! Called by the directory source's thread after each look at the files. Decides only: which file's
//! object counts, which object is new, changed, gone, or kept although its file is broken.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::files::{Files, ManifestFile};
use super::last_good::Kept;
use super::manifest::{Candidate, Placed};
use super::packed::Packed;
use super::schema::{FieldError, Validator};
use super::{Batch, Event, Object, ObjectKey, Problem, object_uid};

/// The objects that were delivered, by what they are.
#[derive(Debug)]
pub(crate) struct State {
    served: HashMap<ObjectKey, Served>,
    problems: Vec<Problem>,
    /// How often the files were looked at.
    pass: u64,
}

/// An object that was delivered.
#[derive(Debug)]
struct Served {
    file: String,
    value: Packed,
    generation: i64,
    /// The parsed document that it is of, to see at once that nothing changed.
    candidate: Option<Arc<Candidate>>,
    /// The last pass in which a file had it.
    seen: u64,
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
    /// Starts with the objects that were good when the program ran last. An older version may have
    /// kept them: they get the defaults of today, as an API server gives them to what it reads from
    /// etcd, lest a default in a field that may not change counts as a change.
    pub(crate) fn restore(objects: Vec<Kept>, validator: &Validator) -> Self {
        let served = objects.into_iter().map(|kept| {
            let Kept { key, file, generation, value } = kept;
            let value = defaulted(&key, &value, validator);
            (key, Served { file, value, generation, candidate: None, seen: 0 })
        });
        Self { served: served.collect(), problems: Vec::new(), pass: 0 }
    }

    /// The objects that are in force.
    pub(crate) fn objects(&self) -> Result<Vec<Object>, serde_json::Error> {
        self.served.iter().map(|(key, served)| served.object(key)).collect()
    }

    /// The objects to be kept for the next start.
    pub(crate) fn last_good(&self) -> Vec<Kept> {
        let kept = self.served.iter().map(|(key, served)| Kept {
            key: key.clone(),
            file: served.file.clone(),
            generation: served.generation,
            value: served.value.clone(),
        });
        kept.collect()
    }

    /// Takes over what the files say now; `changed` names the files that may say something new,
    /// `None` means any.
    pub(crate) fn update(
        &mut self,
        files: &Files,
        changed: Option<&BTreeSet<String>>,
        validator: &Validator,
    ) -> Outcome {
        let scope = changed.filter(|names| self.alone(files, names));
        self.pass += 1;
        let mut pass = Pass::default();
        pass.problems.extend(files.problems());
        for (name, file) in files.of(scope) {
            for placed in file.manifest.objects() {
                if !self.claim(placed.candidate, &mut pass) {
                    pass.problems.push(duplicate(files, &file.path, placed));
                } else if let Err(errors) = self.admit(name, placed.candidate, validator, &mut pass) {
                    let errors = errors.into_iter().map(|e| placed.problem(&file.path, e));
                    pass.problems.extend(errors);
                }
            }
        }
        self.remove_gone(files, scope, &mut pass);
        self.outcome(pass, !files.readable())
    }

    /// Whether these files can be looked at without the others: nothing was wrong anywhere, and no
    /// other file has an object of theirs.
    fn alone(&self, files: &Files, names: &BTreeSet<String>) -> bool {
        let elsewhere = |name: &str, placed: Placed<'_>| {
            self.served.get(&placed.candidate.key).is_some_and(|served| served.file != name)
        };
        self.pass > 0
            && self.problems.is_empty()
            && !files.of(Some(names)).any(|(name, file)| file.manifest.objects().any(|o| elsewhere(name, o)))
    }

    fn outcome(&mut self, mut pass: Pass<'_>, partial: bool) -> Outcome {
        pass.problems.sort();
        pass.problems.dedup();
        let first = self.pass == 1;
        let events = if first { self.all() } else { pass.events };
        let problems = pass.problems;
        let news = first || !events.is_empty() || problems != self.problems;
        self.problems.clone_from(&problems);
        Outcome {
            batch: news.then_some(Batch { events, problems, partial, ..Batch::default() }),
            changed: pass.changed,
        }
    }

    fn all(&self) -> Vec<Event> {
        let mut served: Vec<_> = self.served.iter().collect();
        served.sort_by_key(|(key, _)| *key);
        let objects = served.into_iter().filter_map(|(key, s)| s.object(key).ok());
        objects.map(Event::Apply).collect()
    }

    /// Whether this is the first place with the object: that one counts, others are a mistake.
    fn claim<'a>(&mut self, candidate: &'a Candidate, pass: &mut Pass<'a>) -> bool {
        match self.served.get_mut(&candidate.key) {
            Some(served) => std::mem::replace(&mut served.seen, self.pass) != self.pass,
            None => pass.unserved.insert(&candidate.key),
        }
    }

    /// Takes over one object of a file, unless it is not valid or may not follow the served one.
    fn admit(
        &mut self,
        file: &str,
        candidate: &Arc<Candidate>,
        validator: &Validator,
        pass: &mut Pass<'_>,
    ) -> Result<(), Vec<FieldError>> {
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
                let (old, mut new) = (served.value.unpack(), value.unpack());
                validator.validate(candidate.key.kind, &mut new, Some(&old))?;
                served.generation + i64::from(old.get("spec") != new.get("spec"))
            }
            None => 1,
        };
        let served = Served {
            file: file.to_owned(),
            value: value.clone(),
            generation,
            candidate: Some(Arc::clone(candidate)),
            seen: self.pass,
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
    fn remove_gone(&mut self, files: &Files, scope: Option<&BTreeSet<String>>, pass: &mut Pass<'_>) {
        if !files.readable() {
            return;
        }
        let looked_at = |file: &String| scope.is_none_or(|names| names.contains(file));
        let hidden = |file: &str| files.get(file).is_some_and(ManifestFile::hides_objects);
        let gone =
            |_: &ObjectKey, s: &mut Served| s.seen != self.pass && looked_at(&s.file) && !hidden(&s.file);
        let mut gone: Vec<ObjectKey> = self.served.extract_if(gone).map(|(key, _)| key).collect();
        gone.sort();
        pass.changed |= !gone.is_empty();
        pass.events.extend(gone.into_iter().map(Event::Delete));
    }
}

/// What one look at the files has brought so far.
#[derive(Default)]
struct Pass<'a> {
    events: Vec<Event>,
    problems: Vec<Problem>,
    /// Objects that were seen, but have never been good.
    unserved: HashSet<&'a ObjectKey>,
    changed: bool,
}

impl Served {
    fn is(&self, candidate: &Arc<Candidate>, value: &Packed) -> bool {
        let same = self.candidate.as_ref().is_some_and(|c| Arc::ptr_eq(c, candidate));
        same || self.value == *value
    }

    /// The object with the metadata that an API server would have added.
    fn object(&self, key: &ObjectKey) -> Result<Object, serde_json::Error> {
        let mut value = self.value.unpack();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            let uid = object_uid(key.kind, &key.namespace, &key.name);
            metadata.insert("uid".into(), uid.into());
            metadata.insert("generation".into(), self.generation.into());
        }
        Object::from_value(key.kind, &value)
    }
}

fn defaulted(key: &ObjectKey, value: &Packed, validator: &Validator) -> Packed {
    let mut value = value.unpack();
    validator.set_defaults(key.kind, &mut value);
    Packed::from(&value)
}

fn duplicate(files: &Files, path: &str, second: Placed<'_>) -> Problem {
    let key = &second.candidate.key;
    let first = files.iter().find_map(|(_, file)| {
        let placed = file.manifest.objects().find(|o| o.candidate.key == *key)?;
        Some(format!("{}:{}", file.path, placed.line()))
    });
    let first = first.unwrap_or_default();
    Problem {
        file: path.to_owned(),
        line: Some(second.line()),
        object: Some(key.clone()),
        field: "metadata.name".to_owned(),
        message: format!("Duplicate value: the same object is in {first}, and that one counts"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::Kind;

    #[test]
    fn what_was_kept_gets_the_defaults_of_today() {
        let validator = Validator::new().unwrap();
        let kept = json!({"apiVersion": crate::api::API_VERSION, "kind": "Subnet",
            "metadata": {"name": "s", "namespace": "default"},
            "spec": {"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24"}});
        let mut today = kept.clone();
        validator.validate(Kind::Subnet, &mut today, None).unwrap();
        assert_ne!(kept, today);
        let key = ObjectKey { kind: Kind::Subnet, namespace: "default".into(), name: "s".into() };
        let kept = Kept { key, file: "a.yaml".into(), generation: 1, value: Packed::from(&kept) };
        let restored = State::restore(vec![kept], &validator);
        assert_eq!(restored.last_good()[0].value, Packed::from(&today));
    }
}
