//! How long things take, and that an idle look does nothing.

use std::path::Path;
use std::sync::Arc;

use crate::inside::{cpu, inside, sh, timed};
use kube_dhcp::host::LinuxHost;
use kube_dhcp::plan::plan;
use kube_dhcp::types::NetworkUid;

use crate::fixture::*;

#[test]
fn an_idle_look_starts_nothing_and_writes_nothing() {
    inside("costs::an_idle_look_starts_nothing_and_writes_nothing", async {
        let host = LinuxHost::new(Path::new(STATE)).unwrap();
        for n in 1..=20 {
            settle(&host, uid(n), &desired(uid(n), &service(1..=10))).await;
        }
        let files = format!("find {STATE} /run/netns -printf '%p %T@ %C@\\n' | sort");
        let (before, written) = (last_pid(), sh(&files));
        let spent = cpu();
        let rounds = 20;
        for n in (0..rounds).flat_map(|_| 1..=20) {
            let left = plan(Some(&desired(uid(n), &service(1..=10))), &observe(&host, uid(n)).await, true);
            assert!(left.actions.is_empty(), "{left:?}");
        }
        println!("idle look: {:?} of CPU for each network", cpu().saturating_sub(spent) / (rounds * 20));
        // Threads take numbers, too: one for each look, and the runtime's.
        assert!(last_pid() - before < rounds * 20 + 40, "processes were started");
        assert_eq!(sh(&files), written);
    });
}

/// The last number that a process or thread was given.
fn last_pid() -> u32 {
    sh("cat /proc/loadavg").split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn what_it_costs() {
    inside("costs::what_it_costs", async {
        let host = Arc::new(LinuxHost::new(Path::new(STATE)).unwrap());
        let ports: Vec<u16> = (300..1300).collect();
        let wanted = desired(uid(1), &service(ports.clone()));
        for action in plan(Some(&wanted), &observe(&host, uid(1)).await, true).actions {
            let (_, took) = timed(apply(&host, uid(1), &action)).await;
            println!("{:>20}: {took:?}", action.kind());
        }
        let mut took = Vec::new();
        for n in 2000..2050 {
            let more = service(ports.iter().copied().chain(2000..=n));
            let changes = plan(Some(&desired(uid(1), &more)), &observe(&host, uid(1)).await, true).actions;
            assert_eq!(changes.len(), 2, "{changes:?}");
            took.push(timed(apply(&host, uid(1), &changes[0])).await.1);
            apply(&host, uid(1), &changes[1]).await;
        }
        took.sort();
        println!("add one of 1,000 hosts: median {:?}", took[took.len() / 2]);
        for action in plan(None, &observe(&host, uid(1)).await, true).actions {
            let (_, took) = timed(apply(&host, uid(1), &action)).await;
            println!("{:>20}: {took:?}", action.kind());
        }
        let spent = cpu();
        let ((), took) = timed(together(&host, 40, bring_up)).await;
        println!("40 networks of 10 ports up: {took:?}, {:?} of CPU", cpu().saturating_sub(spent));
        let ((), took) = timed(together(&host, 40, tear_down)).await;
        println!("40 networks down: {took:?}");
    });
}

/// Does it for so many networks at once.
async fn together<F: Future<Output = ()> + Send + 'static>(
    host: &Arc<LinuxHost>,
    count: u32,
    each: fn(Arc<LinuxHost>, NetworkUid) -> F,
) {
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(each(Arc::clone(host), uid(100 + n)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}
