//! Adoption: what runs and is right is left alone, counted from outside.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::agent::Launch;
use crate::lab::{Mac, MessageType, eventually};
use crate::manifests::{port, subnet, vlan};
use crate::site::{LONG, Site};

const NETWORKS: u16 = 50;

/// What would start a process, end one, or change a file.
const TRACED: &str = "trace=execve,kill,tkill,tgkill,pidfd_send_signal,openat,creat,rename,renameat,\
    renameat2,unlink,unlinkat,mkdir,mkdirat,mount,umount2,link,linkat,symlink,symlinkat,truncate";

fn declared(n: u16) -> String {
    let name = format!("net{n}");
    let port = port(&format!("vm{n}"), &name, Mac::nth(n.into()), "");
    vlan(&name, n) + &subnet(&format!("sub{n}"), &name, "10.0.0.0/24", "") + &port
}

fn launch(site: &Site) -> Launch<'_> {
    site.launch().physical(&["trunk=bridge:br-{vlan}"])
}

/// Everything below a directory: inode, times of content and of metadata, size.
fn tree(directory: &Path) -> BTreeMap<String, (u64, i64, i64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for path in crate::site::files_of(directory) {
        let m = path.symlink_metadata().unwrap();
        let times = (m.ino(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec(), m.size());
        found.insert(path.display().to_string(), times);
        if m.is_dir() {
            found.extend(tree(&path));
        }
    }
    found
}

#[test]
fn a_restarted_agent_and_ten_resyncs_touch_nothing() {
    let site = Site::new();
    (1..=NETWORKS).for_each(|n| site.write(&format!("net{n:02}.yaml"), &declared(n)));
    launch(&site).start_ready().stop();
    let guest = site.lab.guest("br-7", Mac::nth(7));
    let server = guest.dora().server();
    let before = (site.dnsmasq_pids(), tree(&site.state), tree(&site.manifests), site.status());
    assert_eq!(before.0.len(), usize::from(NETWORKS));

    let trace = site.lab.state().join("trace");
    let strace = ["strace", "--seccomp-bpf", "-f", "-o", trace.to_str().unwrap(), "-e", TRACED];
    let agent = launch(&site).before(&strace).more(&["--resync-seconds", "1"]).start_ready();
    let wanted = site.passes() + 10 * u64::from(NETWORKS);
    eventually("ten resyncs", LONG, || (site.passes() >= wanted).then_some(()));

    assert_eq!(agent.actions(), Vec::<String>::new());
    let after = (site.dnsmasq_pids(), tree(&site.state), tree(&site.manifests), site.status());
    assert_eq!(after.0, before.0, "processes were restarted");
    assert_eq!(differences(&after.1, &before.1), Vec::<&String>::new(), "files in the state directory");
    assert_eq!(differences(&after.2, &before.2), Vec::<&String>::new(), "files of the user");
    let said = |of: &str| (&before.3.0[of], &after.3.0[of]);
    assert_eq!(said("agentRunning"), (&false.into(), &true.into()));
    for of in ["networks", "node"] {
        let (before, after) = said(of);
        assert!(before == after, "what is said of {of} is {after:#}, was {before:#}");
    }
    assert_harmless(&std::fs::read_to_string(&trace).unwrap());
    assert_eq!(guest.renew(guest.dora().yiaddr(), server).map(|ack| ack.kind()), Some(MessageType::Ack));
}

fn differences<'a, V: PartialEq>(a: &'a BTreeMap<String, V>, b: &'a BTreeMap<String, V>) -> Vec<&'a String> {
    let differs = |name: &&String| a.get(*name) != b.get(*name);
    a.keys().chain(b.keys()).filter(differs).collect()
}

/// One program was started, the agent, which asked two others for their versions, and nothing was written but
/// its lock; that of the state directory is only opened.
fn assert_harmless(trace: &str) {
    let is_call = |line: &&str| !["---", "+++", " resumed>"].iter().any(|mark| line.contains(mark));
    let calls: Vec<&str> = trace.lines().filter(is_call).collect();
    assert!(calls.len() > 100, "nothing was traced");
    let is_lock = |call: &str| call.contains("/run/kube-dhcp") || call.contains("/agent.lock\"");
    let to_write = |call: &str| ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
    let reads = |call: &str| call.contains("openat(") && !to_write(call);
    let other: Vec<_> = calls.iter().filter(|call| !reads(call) && !is_lock(call)).collect();
    let (versions, other): (Vec<&&str>, Vec<&&str>) =
        other.into_iter().partition(|call| call.contains("execve(") && call.contains("\"--version\"]"));
    let asked = |program: &str| versions.iter().filter(|call| call.contains(program)).count();
    assert_eq!((versions.len(), asked("/dnsmasq\""), asked("/iptables\"")), (2, 1, 1), "{versions:#?}");
    assert_eq!(other.len(), 1, "{other:#?}");
    assert!(other[0].contains("execve("), "{other:#?}");
}
