//! Our definitions in a real API server: what it accepts and refuses, with which words and which
//! defaults, and that the validation of the directory says the same.

mod bounds;
mod request;
mod rules;

use std::collections::BTreeSet;

use kube::Client;
use kube_dhcp::api;
use kube_dhcp::source::Kind;
use kube_dhcp::source::schema::Validator;
use serde_json::{Value, json};

use crate::cases::{self, Case, Change};
use crate::inside::inside;
use crate::installed;
use bounds::Beyond;
use request::{Refusal, change, create, delete, try_create};
use rules::Rule;

#[test]
fn the_api_server_and_the_directory_say_the_same_of_every_object() {
    inside("crds::the_api_server_and_the_directory_say_the_same_of_every_object", async {
        let plane = installed().await;
        let mut judge = Judge::new(plane.admin());
        let crds = api::crds();
        let is_served = |kind: &str| crds.iter().any(|crd| crd.spec.names.kind == kind);
        for case in cases::all().iter().filter(|case| is_served(case.kind)) {
            judge.case(case).await;
        }
        for beyond in bounds::beyond_all() {
            judge.beyond(&beyond).await;
        }
        for change in cases::changes().iter().filter(|change| is_served(change.kind)) {
            judge.change(change).await;
        }
        judge.names().await;
        judge.unknown_fields().await;
        judge.conclude();
    });
}

/// Asks both, and notes what was refused and where they differ.
struct Judge {
    client: Client,
    validator: Validator,
    differences: Vec<String>,
    refused: BTreeSet<Rule>,
}

impl Judge {
    fn new(client: Client) -> Self {
        let validator = Validator::new().unwrap();
        Self { client, validator, differences: Vec::new(), refused: BTreeSet::new() }
    }

    async fn case(&mut self, case: &Case) {
        let (good, bad) = (case.good(), case.bad());
        self.accepted(&good).await;
        let refusal = try_create(&self.client, &bad).await.err();
        self.refused(&bad, None, refusal, case.message);
    }

    /// Refused for this very bound.
    async fn beyond(&mut self, beyond: &Beyond) {
        let Err(refusal) = try_create(&self.client, &beyond.object).await else {
            return self.differ(&beyond.object, &format!("accepted beyond {}", beyond.bound));
        };
        let kind = beyond.object["kind"].as_str().unwrap();
        if !refusal.rules(kind).contains(&beyond.bound) {
            self.differ(&beyond.object, &format!("expected {}: {refusal}", beyond.bound));
        }
        if let Some(Ok(())) = self.directory(&mut beyond.object.clone(), None) {
            self.differ(&beyond.object, "the directory accepts it");
        }
    }

    async fn change(&mut self, case: &Change) {
        let old = create(&self.client, &case.before()).await;
        let changed = change(&self.client, &case.after(), &old).await;
        if case.message.is_empty() {
            self.compare(&case.after(), Some(&case.before()), changed);
        } else {
            self.refused(&case.after(), Some(&case.before()), changed.err(), case.message);
        }
        delete(&self.client, &old).await;
    }

    /// What becomes part of other names is short.
    async fn names(&mut self) {
        for kind in Kind::ALL {
            let mut object = cases::base(kind.as_str(), cases::V4);
            for (name, is_short) in [("a".repeat(63), true), ("a".repeat(64), false), ("a.b".into(), false)] {
                object["metadata"]["name"] = json!(name);
                if is_short || !matches!(kind, Kind::Network | Kind::PhysicalNetwork) {
                    self.accepted(&object).await;
                    continue;
                }
                let refusal = try_create(&self.client, &object).await.err();
                let text = "must have at most 63 characters and no dot";
                self.refused(&object, None, refusal, &format!(": Invalid value: metadata.name {text}"));
            }
        }
    }

    async fn unknown_fields(&mut self) {
        let mut object = cases::base("Port", cases::V4);
        object["spec"]["mac"] = json!("02:00:00:00:00:01");
        let refusal = try_create(&self.client, &object).await.err();
        self.refused(&object, None, refusal, "spec.mac: unknown field");
    }

    async fn accepted(&mut self, object: &Value) {
        let created = try_create(&self.client, object).await;
        self.compare(object, None, created);
    }

    /// Both accept it, and fill it up with the same defaults.
    fn compare(&mut self, object: &Value, old: Option<&Value>, stored: Result<Value, Refusal>) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(refusal) => return self.differ(object, &format!("refused: {refusal}")),
        };
        let mut ours = object.clone();
        let Some(verdict) = self.directory(&mut ours, old) else { return };
        if let Err(error) = verdict {
            return self.differ(object, &format!("only the directory refuses: {error}"));
        }
        for part in ["spec", "status"] {
            if ours[part] != stored[part] {
                self.differ(object, &format!("{part}: {} in the directory, {}", ours[part], stored[part]));
            }
        }
    }

    /// Both refuse it, with this message.
    fn refused(&mut self, object: &Value, old: Option<&Value>, refusal: Option<Refusal>, message: &str) {
        let Some(refusal) = refusal else {
            return self.differ(object, &format!("accepted; expected {message:?}"));
        };
        if !refusal.says(message) {
            self.differ(object, &format!("expected {message:?}: {refusal}"));
        }
        let kind = object["kind"].as_str().unwrap();
        self.refused.extend(refusal.rules(kind));
        if let Some(Ok(())) = self.directory(&mut object.clone(), old) {
            self.differ(object, "the directory accepts it");
        }
    }

    /// What the directory's validation says, if a directory may hold such objects at all.
    fn directory(&self, object: &mut Value, old: Option<&Value>) -> Option<Result<(), String>> {
        let kind = Kind::from_name(object["kind"].as_str().unwrap())?;
        let old = old.map(|old| {
            let mut old = old.clone();
            self.validator.validate(kind, &mut old, None).unwrap();
            old
        });
        let verdict = self.validator.validate(kind, object, old.as_ref());
        Some(verdict.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
    }

    fn differ(&mut self, object: &Value, difference: &str) {
        let text = object.to_string();
        let shown: String = text.chars().take(300).collect();
        self.differences.push(format!("{shown}\n    {difference}"));
    }

    /// Nothing differs, and no rule of any kind was left out.
    fn conclude(self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        let missing: Vec<_> = rules::all().difference(&self.refused).map(ToString::to_string).collect();
        assert!(missing.is_empty(), "rules that no case breaks:\n{}", missing.join("\n"));
    }
}
