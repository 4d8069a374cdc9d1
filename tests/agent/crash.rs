//! The agent is killed with SIGKILL right after its first, second, third … action, by count: strace
//! delivers the signal at the write of the action's line. After the next start all is as it shall be.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::Ipv4Addr;

use crate::lab::{Mac, eventually};
use crate::manifests::{fixed, lan, lan_v4, network, port, subnet};
use crate::site::{LONG, Site};

/// What a network is to be, and who shall get which address then.
struct Stage {
    manifest: Option<String>,
    guests: Vec<(u32, Ipv4Addr)>,
    strangers: Vec<u32>,
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn nothing() -> Stage {
    Stage { manifest: None, guests: vec![], strangers: vec![1, 2, 3] }
}

fn first() -> Stage {
    let manifest =
        lan() + &fixed("a", Mac::nth(1), "10.0.0.20", "") + &fixed("b", Mac::nth(2), "10.0.0.21", "");
    Stage { manifest: Some(manifest), guests: vec![(1, ip(20)), (2, ip(21))], strangers: vec![3] }
}

/// A new subnet, another MTU, an address given to another MAC, and one that moved.
fn second() -> Stage {
    let manifest = [
        network("lan", "mtu: 1400\ndns: {domain: new.example.org}"),
        lan_v4("gateway: {type: Address, address: 10.0.0.254}"),
        subnet("more", "lan", "10.1.0.0/24", ""),
        fixed("b", Mac::nth(2), "10.0.0.22", ""),
        fixed("c", Mac::nth(3), "10.0.0.20", ""),
        port("d", "lan", Mac::nth(4), "addresses: [{ip: 10.1.0.20}]"),
    ];
    Stage {
        manifest: Some(manifest.concat()),
        guests: vec![(2, ip(22)), (3, ip(20)), (4, Ipv4Addr::new(10, 1, 0, 20))],
        strangers: vec![1],
    }
}

/// A port less and one more: what a running dnsmasq is told without a restart.
fn third() -> Stage {
    let manifest =
        lan() + &fixed("b", Mac::nth(2), "10.0.0.21", "") + &fixed("c", Mac::nth(3), "10.0.0.30", "");
    Stage { manifest: Some(manifest), guests: vec![(2, ip(21)), (3, ip(30))], strangers: vec![1] }
}

#[test]
fn killed_at_each_action_of_creating() {
    let kills = kill_at_each(&nothing(), &first());
    assert!(kills >= 10, "only {kills} actions");
}

#[test]
fn killed_at_each_action_of_changing() {
    let kills = kill_at_each(&first(), &second());
    assert!(kills >= 5, "only {kills} actions");
}

#[test]
fn killed_at_each_action_of_telling_a_running_dnsmasq() {
    let kills = kill_at_each(&first(), &third());
    assert!(kills >= 3, "only {kills} actions");
}

#[test]
fn killed_at_each_action_of_deleting() {
    let kills = kill_at_each(&first(), &nothing());
    assert!(kills >= 4, "only {kills} actions");
}

/// Returns how many kills there were until the agent came to its end.
fn kill_at_each(before: &Stage, after: &Stage) -> u32 {
    let mut n = 0;
    loop {
        n += 1;
        let inject = format!("inject=write:signal=SIGKILL:when={n}");
        if !kill_and_recover(before, after, &Doom::Log(inject)) {
            return n - 1;
        }
    }
}

#[test]
fn killed_in_the_middle_of_a_system_call() {
    // By count in each thread; what none has so often is not reached.
    let calls: [(&str, &[u32]); 6] = [
        ("mount", &[1, 2, 3]),
        ("?rename,?renameat,?renameat2", &[1, 2, 3, 4]),
        ("sendto", &[1, 2, 3, 5, 8, 13]),
        ("unshare", &[1]),
        ("setns", &[1]),
        ("?clone,?clone3", &[2, 5, 9]),
    ];
    let mut kills = 0;
    for (call, counts) in calls {
        for n in counts {
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            kills += u32::from(kill_and_recover(&nothing(), &second(), &Doom::Call(inject)));
        }
    }
    assert!(kills >= 10, "only {kills} kills");
}

/// Where the agent is killed.
enum Doom {
    /// At a line of its log.
    Log(String),
    /// At any call.
    Call(String),
}

/// Whether the agent was killed before it was done.
fn kill_and_recover(before: &Stage, after: &Stage, doom: &Doom) -> bool {
    let site = Site::new();
    site.lab.bridge("other0");
    bring_to(&site, before);
    declare(&site, after);
    let killed = is_killed(&site, doom);
    bring_to(&site, after);
    site.remove_all();
    let _agent = site.start();
    site.until_nothing_remains();
    assert!(site.links().contains(&"other0".into()), "a bridge that is not ours is gone");
    killed
}

/// Each stage is a file of its own: what a file that is gone declared counts as gone at once, what is
/// missing in one that just changed only when it stays so.
fn declare(site: &Site, stage: &Stage) {
    let name =
        |text: &String| format!("{:x}.yaml", BuildHasherDefault::<DefaultHasher>::default().hash_one(text));
    let new = stage.manifest.as_ref().map(name).unwrap_or_default();
    if let Some(text) = &stage.manifest {
        site.write(&new, text);
    }
    for entry in std::fs::read_dir(&site.manifests).unwrap().flatten() {
        if entry.file_name() != new.as_str() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// An agent comes, does all there is to do, and is killed; then all is right.
fn bring_to(site: &Site, stage: &Stage) {
    declare(site, stage);
    site.start().kill9();
    site.assert_nothing_to_do();
    if stage.manifest.is_none() {
        return;
    }
    let like = site.lab.guest("br0", Mac::nth(99));
    for (n, address) in &stage.guests {
        let guest = site.lab.twin(&like, Mac::nth(*n));
        let ack = guest.dora();
        assert_eq!(ack.yiaddr(), *address);
        assert!(ack.checksum_ok);
    }
    for n in &stage.strangers {
        assert!(site.lab.twin(&like, Mac::nth(*n)).silent(), "{n} is answered");
    }
    site.lab.run(&format!("ip netns delete {}", like.netns()));
    // With its last socket the kernel takes its device away, later; a bridge with a guest in it stays.
    drop(like);
    let is_guests = |name: &String| name.starts_with('p');
    eventually("the guest's port is gone", LONG, || (!site.links().iter().any(is_guests)).then_some(()));
}

fn is_killed(site: &Site, doom: &Doom) -> bool {
    let (log, trace) = (site.lab.state().join("doomed.log"), site.lab.state().join("trace"));
    std::fs::write(&log, "").unwrap();
    let (log, trace) = (log.to_str().unwrap(), trace.to_str().unwrap());
    let mut strace = vec!["strace", "-f", "-b", "execve", "-o", trace];
    match doom {
        Doom::Log(inject) => strace.extend(["-e", "trace=write", "-P", log, "-e", inject]),
        Doom::Call(inject) => strace.extend(["-e", inject]),
    }
    // All actions are told of by one thread, so that its count is the count.
    let launch = site.launch().before(&strace).log_to(log).environment("TOKIO_WORKER_THREADS", "1");
    let mut agent = launch.start();
    let mut killed = false;
    eventually("the doomed agent ends, or is done", LONG, || {
        killed = agent.exited().is_some();
        (killed || site.is_ready()).then_some(())
    });
    killed
}
