//! Somebody who only watches the Ports: when each is what, as a user sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use kube_dhcp::api::{Port, is_true};

use super::Applied;
use crate::site::Site;

/// How long nothing may become ready before one gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Changes after its creation: each a write of its status.
    writes: u32,
    addressed: Option<Instant>,
    ready: Option<Instant>,
}

/// See the module.
pub struct Observer {
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
}

impl Observer {
    /// From now on.
    pub async fn start(site: &Site) -> Self {
        let api: Api<Port> = Api::all(site.client());
        let list = api.list(&ListParams::default().limit(1)).await.unwrap();
        let seen = Arc::default();
        tokio::spawn(follow(api, list.metadata.resource_version.unwrap(), Arc::clone(&seen)));
        Self { seen }
    }

    /// Waits until so many are ready; how many are not when none became so for long.
    pub async fn until_ready(&self, wanted: usize) -> usize {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let ready = self.seen.lock().unwrap().values().filter(|seen| seen.ready.is_some()).count();
            if ready > most {
                (most, since) = (ready, Instant::now());
            }
            if ready >= wanted || since.elapsed() > PATIENCE {
                return wanted.saturating_sub(ready);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// When a Port became ready; waits for it.
    pub async fn until_one_ready(&self, name: &str) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = self.seen.lock().unwrap().get(name).and_then(|seen| seen.ready);
            if let Some(ready) = ready {
                return ready;
            }
            assert!(Instant::now() < deadline, "{name} does not become ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Gives how often the status of a Port was written at most.
    pub fn print(&self, applied: &Applied) -> u32 {
        let seen = self.seen.lock().unwrap();
        let all = || applied.sent.iter().filter_map(|(name, at)| Some((seen.get(name)?, at)));
        let to = |end: fn(&Seen) -> Option<Instant>| {
            all().filter_map(|(seen, (sent, _))| Some(end(seen)?.saturating_duration_since(*sent))).collect()
        };
        println!("apply answered after      {}", percentiles(all().map(|(_, (_, took))| *took).collect()));
        println!("applied → has addresses   {}", percentiles(to(|seen| seen.addressed)));
        println!("applied → Ready           {}", percentiles(to(|seen| seen.ready)));
        let mut writes = BTreeMap::<u32, usize>::new();
        all().for_each(|(seen, _)| *writes.entry(seen.writes).or_default() += 1);
        println!("status writes: Ports      {writes:?}");
        writes.keys().last().copied().unwrap_or_default()
    }
}

async fn follow(api: Api<Port>, mut revision: String, seen: Arc<Mutex<BTreeMap<String, Seen>>>) {
    loop {
        let params = WatchParams::default().timeout(290);
        // It ends with the API server; what it then misses is found to be late.
        let Ok(events) = api.watch(&params, &revision).await else { return };
        let mut events = events.boxed();
        while let Some(Ok(event)) = events.next().await {
            let (port, is_change) = match event {
                WatchEvent::Added(port) => (port, false),
                WatchEvent::Modified(port) => (port, true),
                other => {
                    if let WatchEvent::Bookmark(bookmark) = other {
                        revision = bookmark.metadata.resource_version;
                    }
                    continue;
                }
            };
            revision = port.resource_version().unwrap();
            note(seen.lock().unwrap().entry(port.name_any()).or_default(), &port, is_change);
        }
    }
}

fn note(seen: &mut Seen, port: &Port, is_change: bool) {
    let now = Instant::now();
    seen.writes += u32::from(is_change);
    let Some(status) = &port.status else { return };
    if !status.addresses.is_empty() {
        seen.addressed.get_or_insert(now);
    }
    if is_true(&status.conditions, "Ready") {
        seen.ready.get_or_insert(now);
    }
}

/// The usual figures of many times.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    if times.is_empty() {
        return "nothing".to_owned();
    }
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    format!("p50 {}, p99 {}, max {}", milliseconds(at(50)), milliseconds(at(99)), milliseconds(at(100)))
}
