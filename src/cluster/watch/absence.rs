//! Whether the definition of a kind is gone, and with it every object.
//!
//! Asked by a watch that is answered with 404. One that was connected hears of each object; this is
//! for one that was away. An API server that starts says 404 as well, and so does one that has the
//! objects in another version: only where nothing of the whole group was there for a while is it gone.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

/// How long nothing of the group must have been there.
const FOR_GOOD: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Absence {
    client: Client,
    group: String,
    pub(super) for_good: Duration,
    since: Option<Instant>,
    missed: bool,
}

impl Absence {
    pub(super) fn new(client: Client, group: &str) -> Self {
        Self { client, group: group.to_owned(), for_good: FOR_GOOD, since: None, missed: false }
    }

    /// There is something; whether there was nothing before, for however short a time.
    pub(super) fn ended(&mut self) -> bool {
        self.since = None;
        std::mem::take(&mut self.missed)
    }

    /// A request failed so: whether that makes the definition gone for good.
    pub(super) async fn is_final(&mut self, error: &kube::Error) -> bool {
        let is_404 = matches!(error, kube::Error::Api(status) if status.code == 404);
        self.missed |= is_404;
        if !is_404 || !self.group_is_absent().await {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.for_good
    }

    async fn group_is_absent(&self) -> bool {
        let groups = crate::cluster::write::limited(self.client.list_api_groups()).await;
        groups.is_ok_and(|known| known.groups.iter().all(|group| group.name != self.group))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn absence(there: &Arc<AtomicBool>) -> Absence {
        let there = there.clone();
        let groups = move || async move {
            let ours = json!({"name": "kube-dhcp.io", "versions": []});
            let groups = if there.load(Ordering::Relaxed) { vec![ours] } else { Vec::new() };
            (StatusCode::OK, json!({"kind": "APIGroupList", "groups": groups}).to_string())
        };
        let client = Client::new(Router::new().route("/apis", get(groups)), "ns");
        Absence { for_good: Duration::from_millis(30), ..Absence::new(client, "kube-dhcp.io") }
    }

    fn answer(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, ..Status::default() }))
    }

    #[tokio::test]
    async fn a_group_that_stays_away_is_gone() {
        let there = Arc::new(AtomicBool::new(false));
        let mut absence = absence(&there);
        assert!(!absence.is_final(&answer(404)).await, "at once");
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(absence.is_final(&answer(404)).await);
        assert!(absence.ended() && !absence.ended());
    }

    /// New definitions are not served at once, and until then other things are said than 404.
    #[tokio::test]
    async fn what_was_away_is_remembered_until_it_is_there() {
        let there = Arc::new(AtomicBool::new(false));
        let mut absence = absence(&there);
        assert!(!absence.ended() && !absence.is_final(&answer(429)).await && !absence.ended());
        for code in [404, 429, 503] {
            assert!(!absence.is_final(&answer(code)).await);
        }
        assert!(absence.ended() && !absence.ended());
    }

    #[tokio::test]
    async fn nothing_is_gone_while_the_group_is_there_or_nobody_knows() {
        let there = Arc::new(AtomicBool::new(false));
        let mut absence = absence(&there);
        for between in [Some(503), None] {
            assert!(!absence.is_final(&answer(404)).await);
            tokio::time::sleep(Duration::from_millis(40)).await;
            match between {
                Some(code) => assert!(!absence.is_final(&answer(code)).await),
                None => there.store(true, Ordering::Relaxed),
            }
            assert!(!absence.is_final(&answer(404)).await, "{between:?}");
        }
    }
}
