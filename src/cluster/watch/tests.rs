use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::*;
use crate::api::Network;

/// Longer than a watch waits before it tries again.
const FOR_GOOD: Duration = Duration::from_secs(1);

/// As much of an API server as one watch needs: the kind is there, or nothing of its group is.
#[derive(Default)]
struct Server {
    absent: AtomicBool,
    /// How often somebody was told that the group is not there.
    told: AtomicUsize,
}

type Answer = (StatusCode, String);

async fn groups(State(server): State<Arc<Server>>) -> Answer {
    let absent = server.absent.load(Ordering::Relaxed);
    server.told.fetch_add(usize::from(absent), Ordering::Relaxed);
    let ours = json!({"name": "kube-dhcp.io", "versions": []});
    let groups = if absent { Vec::new() } else { vec![ours] };
    (StatusCode::OK, json!({"kind": "APIGroupList", "groups": groups}).to_string())
}

async fn networks(State(server): State<Arc<Server>>, RawQuery(query): RawQuery) -> Answer {
    if server.absent.load(Ordering::Relaxed) {
        let status =
            json!({"kind": "Status", "status": "Failure", "message": "", "reason": "NotFound", "code": 404});
        return (StatusCode::NOT_FOUND, status.to_string());
    }
    let query = query.unwrap_or_default();
    let bookmark = |metadata: Value| {
        json!({"type": "BOOKMARK", "object": {"kind": "Network", "apiVersion": "kube-dhcp.io/v1alpha1",
            "metadata": metadata, "spec": {"physicalNetworkRef": {"name": ""}}}})
    };
    if query.contains("sendInitialEvents=true") {
        let object = json!({"kind": "Network", "apiVersion": "kube-dhcp.io/v1alpha1",
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "1"},
            "spec": {"physicalNetworkRef": {"name": "p"}}});
        let end = json!({"resourceVersion": "2", "annotations": {"k8s.io/initial-events-end": "true"}});
        let added = json!({"type": "ADDED", "object": object});
        return (StatusCode::OK, format!("{added}\n{}\n", bookmark(end)));
    }
    if query.contains("watch=true") {
        // It ends soon.
        sleep(Duration::from_millis(100)).await;
        return (StatusCode::OK, format!("{}\n", bookmark(json!({"resourceVersion": "2"}))));
    }
    let list = json!({"kind": "NetworkList", "apiVersion": "kube-dhcp.io/v1alpha1",
        "metadata": {"resourceVersion": "2"}, "items": []});
    (StatusCode::OK, list.to_string())
}

/// What a watch on it is told, as words.
fn watched(server: &Arc<Server>, pulse: &Pulse) -> Arc<Mutex<Vec<String>>> {
    let router = Router::new().route("/apis", get(groups));
    let router = router.route("/apis/kube-dhcp.io/v1alpha1/networks", get(networks));
    let client = Client::new(router.with_state(server.clone()), "ns");
    let (told, pace) = (Arc::<Mutex<Vec<String>>>::default(), Pace::new(pulse.clone()));
    let telling = told.clone();
    let tell = async move |seen: Seen<Network>| {
        telling.lock().unwrap().push(match seen {
            Seen::Listed(objects, ..) => format!("{} objects", objects.len()),
            Seen::Broken(_) => "broken".to_owned(),
            Seen::Reached(_) => return true,
            other => format!("{other:?}"),
        });
        true
    };
    tokio::spawn(async move {
        let mut watch = Watch::new::<Network>(client, Selection::default(), pace, tell);
        watch.absence.for_good = FOR_GOOD;
        watch.run().await;
    });
    told
}

async fn until(wanted: impl Fn() -> bool) {
    let looking = timeout(Duration::from_secs(30), async {
        while !wanted() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    looking.await.expect("it never comes");
}

/// The kind is away for a moment: until the watch was told so once.
async fn moment(server: &Server) {
    let before = server.told.load(Ordering::Relaxed);
    server.absent.store(true, Ordering::Relaxed);
    until(|| server.told.load(Ordering::Relaxed) > before).await;
    server.absent.store(false, Ordering::Relaxed);
}

#[tokio::test]
async fn two_moments_without_the_kind_are_no_end_however_far_apart() {
    let (server, pulse) = (Arc::<Server>::default(), Pulse::default());
    let told = watched(&server, &pulse);
    let last = || told.lock().unwrap().last().cloned().unwrap_or_default();
    until(|| last() == "1 objects").await;
    let revivals = pulse.revivals();
    moment(&server).await;
    until(|| last() == "Reconnected").await;
    sleep(FOR_GOOD * 2).await;
    moment(&server).await;
    until(|| told.lock().unwrap().iter().filter(|said| *said == "broken").count() > 1).await;
    let told = told.lock().unwrap();
    let heard = revivals.has_changed().unwrap();
    assert!(!told.contains(&"0 objects".to_owned()), "{told:?}");
    assert!(heard, "nobody hears that it is back");
}
