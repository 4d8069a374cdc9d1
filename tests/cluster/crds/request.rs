//! Objects sent to an API server as they are, and its refusals taken apart.

use std::fmt;

use axum::http::Request;
use kube::Client;
use kube::core::Status;
use serde_json::Value;

use super::rules::{self, Rule};

/// Why an object was refused: what a user sees.
pub struct Refusal(Box<Status>);

impl Refusal {
    /// Whether one of the causes is of this form: `field: kind of error: detail`, where the API
    /// server may say more between the two last.
    pub fn says(&self, expected: &str) -> bool {
        if let Some(field) = expected.strip_suffix(": unknown field") {
            return self.0.message.contains(&format!("unknown field \"{field}\""));
        }
        let (field, text) = expected.split_once(": ").unwrap();
        let (sort, detail) = text.split_once(": ").unwrap_or((text, ""));
        let detail = detail.rsplit(": ").next().unwrap_or_default();
        self.causes().any(|(at, message)| at == field && message.contains(sort) && message.contains(detail))
    }

    /// The rules and bounds that the causes may be the words of.
    pub fn rules(&self, kind: &str) -> Vec<Rule> {
        let mut found = Vec::new();
        for (field, message) in self.causes() {
            found.extend(rules::bounds_in(kind, &field, &message));
            // The value that is wrong stands before the rule's message.
            let mut rest = &*message;
            while let Some((_, after)) = rest.split_once(": ") {
                found.push(Rule::new(kind, &field, after));
                rest = after;
            }
        }
        found
    }

    fn causes(&self) -> impl Iterator<Item = (String, String)> {
        let causes = self.0.details.iter().flat_map(|details| details.causes.clone());
        causes.map(|cause| {
            let field = if cause.field == "<nil>" { String::new() } else { cause.field };
            (field, cause.message)
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        self.causes().try_for_each(|(field, message)| write!(f, "\n        [{field}] {message}"))
    }
}

/// Asks what would become of a new object.
pub async fn try_create(client: &Client, object: &Value) -> Result<Value, Refusal> {
    send(client, "POST", &collection(object), "&dryRun=All", object).await
}

/// Creates it.
pub async fn create(client: &Client, object: &Value) -> Value {
    let created = send(client, "POST", &collection(object), "", object).await;
    created.unwrap_or_else(|refusal| panic!("{object}: {refusal}"))
}

/// Asks what would become of `old`, which exists, if it were changed to this.
pub async fn change(client: &Client, object: &Value, old: &Value) -> Result<Value, Refusal> {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    send(client, "PUT", &path(&object), "&dryRun=All", &object).await
}

/// Deletes it.
pub async fn delete(client: &Client, object: &Value) {
    let gone = send(client, "DELETE", &path(object), "", &Value::Null).await;
    gone.unwrap_or_else(|refusal| panic!("{object}: {refusal}"));
}

async fn send(
    client: &Client,
    method: &str,
    path: &str,
    query: &str,
    body: &Value,
) -> Result<Value, Refusal> {
    let request = Request::builder().method(method).uri(format!("{path}?fieldValidation=Strict{query}"));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.header("content-type", "application/json").body(body).unwrap();
    match client.request(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(Refusal(status)),
        Err(error) => panic!("{path}: {error}"),
    }
}

fn collection(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
    let namespaced = !["physicalnetwork", "dhcpagent"].contains(&&*kind);
    let namespace = if namespaced { "/namespaces/default" } else { "" };
    format!("/apis/kube-dhcp.io/v1alpha1{namespace}/{kind}s")
}

fn path(object: &Value) -> String {
    format!("{}/{}", collection(object), object["metadata"]["name"].as_str().unwrap())
}
