use super::*;
use crate::cluster::fake::{Content, Server};

fn heartbeat() -> Heartbeat {
    let (renew, valid) = (Duration::from_millis(100), Duration::from_secs(15));
    Heartbeat { namespace: "ns".to_owned(), node: "n1".to_owned(), renew, valid }
}

async fn until(server: &Server, writes: usize) {
    let all = async {
        while server.with(|content| content.writes) < writes {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), all).await.expect("within five seconds");
}

#[tokio::test]
async fn the_lease_is_there_at_once_and_renewed_whatever_the_server_does() {
    let (server, stop) = (Server::default(), CancellationToken::new());
    let task = tokio::spawn(heartbeat().run(server.client(), stop.clone()));
    until(&server, 2).await;
    let first = server.spec("renewTime");
    assert_eq!(
        (server.spec("holderIdentity"), server.spec("leaseDurationSeconds")),
        (json!("n1"), json!(15))
    );
    let faults: [fn(&mut Content) -> &mut bool; 2] = [|c| &mut c.broken, |c| &mut c.silent];
    for fault in faults {
        server.with(|content| *fault(content) = true);
        sleep(Duration::from_millis(400)).await;
        let writes = server.with(|content| {
            *fault(content) = false;
            content.writes
        });
        until(&server, writes + 2).await;
    }
    assert_ne!(server.spec("renewTime"), first);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(server.spec("holderIdentity"), json!("n1"), "the Lease stays");
}

#[test]
fn the_time_is_written_as_kubernetes_reads_it() {
    let lease = heartbeat().lease("agent-n1", Timestamp::from_microsecond(1_700_000_000_500_000).unwrap());
    assert_eq!(lease["spec"]["renewTime"], "2023-11-14T22:13:20.500000Z");
    let parsed: Lease = serde_json::from_value(lease).unwrap();
    assert_eq!(parsed.metadata.name.as_deref(), Some(Heartbeat::lease_name("n1").as_str()));
}
