//! What only a server shows; the rules are tested in `record`.

use super::*;
use crate::cluster::fake::Server;
use serde_json::json;

/// Long enough that a machine with much else to do keeps them.
const TIMES: Times = Times {
    duration: Duration::from_secs(4),
    renew_deadline: Duration::from_millis(2_400),
    retry: Duration::from_millis(200),
};

fn campaign(server: &Server, identity: &str) -> (LeaderHandle, CancellationToken) {
    let stop = CancellationToken::new();
    (Leader::campaign(server.client(), "ns", "leader", identity, TIMES, stop.clone()), stop)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(TIMES.duration * 5, what).await.expect("soon")
}

#[tokio::test]
async fn one_leads_and_the_next_one_follows_at_once_when_it_stops() {
    let server = Server::default();
    let (first, stop) = campaign(&server, "a");
    assert!(!first.guard().may_write());
    let guard = soon(first.acquired()).await.unwrap();
    assert!(guard.may_write() && first.guard().may_write());
    let (second, stop_second) = campaign(&server, "b");
    tokio::time::sleep(TIMES.duration * 2).await;
    assert!(guard.may_write() && !second.guard().may_write(), "renewed meanwhile");
    stop.cancel();
    soon(first.finished()).await;
    assert!(!guard.may_write());
    let released = Instant::now();
    assert!(soon(second.acquired()).await.unwrap().may_write());
    assert!(released.elapsed() < TIMES.duration / 2);
    assert_eq!((server.spec("holderIdentity"), server.spec("leaseTransitions")), (json!("b"), json!(1)));
    stop_second.cancel();
    soon(second.finished()).await;
    assert_eq!((server.spec("holderIdentity"), server.spec("leaseDurationSeconds")), (json!(""), json!(1)));
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_leads() {
    let server = Server::default();
    let (first, _stop) = campaign(&server, "a");
    let guard = soon(first.acquired()).await.unwrap();
    server.with(|content| content.silent = true);
    soon(guard.lost()).await;
    let lost = Instant::now();
    assert!(!guard.may_write());
    server.with(|content| content.silent = false);
    soon(first.acquired()).await.unwrap();
    assert!(!guard.may_write(), "the next term is another one");
    assert!(first.guard().may_write() && lost.elapsed() < TIMES.duration * 2);
}

#[tokio::test]
async fn errors_within_the_deadline_cost_nothing() {
    let server = Server::default();
    let (first, _stop) = campaign(&server, "a");
    let guard = soon(first.acquired()).await.unwrap();
    for _ in 0..4 {
        server.with(|content| content.broken = true);
        tokio::time::sleep(TIMES.renew_deadline / 3).await;
        assert!(guard.may_write());
        server.with(|content| content.broken = false);
        tokio::time::sleep(TIMES.renew_deadline / 3).await;
    }
    assert!(guard.may_write());
}

#[tokio::test]
async fn somebody_elses_touch_is_no_loss_but_somebody_elses_name_is() {
    let server = Server::default();
    let (first, _stop) = campaign(&server, "a");
    let guard = soon(first.acquired()).await.unwrap();
    let change = |field: &str, value: &str| {
        server.with(|content| {
            let mut lease = content.lease.clone().unwrap();
            lease[field]["holderIdentity"] = json!(value);
            content.store(lease);
        });
    };
    change("metadata", "a label, say");
    tokio::time::sleep(TIMES.renew_deadline * 2).await;
    assert!(guard.may_write());
    change("spec", "b");
    let taken = Instant::now();
    soon(guard.lost()).await;
    assert!(taken.elapsed() < TIMES.renew_deadline / 2);
    assert!(!first.guard().may_write());
    soon(first.acquired()).await.unwrap();
    assert!(taken.elapsed() >= TIMES.duration, "it stood still for its duration");
}

#[tokio::test]
async fn a_process_that_stood_still_may_not_write() {
    let server = Server::default();
    let (first, _stop) = campaign(&server, "a");
    let guard = soon(first.acquired()).await.unwrap();
    // This test's runtime has one thread, so nothing else runs meanwhile.
    std::thread::sleep(TIMES.renew_deadline);
    assert!(!guard.may_write());
}

#[test]
fn a_request_ends_before_another_may_lead() {
    let times = Times::default();
    assert_eq!(times.renew_deadline + times.request(), times.duration);
    assert!((0..100).map(|_| jittered(times.retry)).all(|pause| (2_000..4_400).contains(&pause.as_millis())));
}
