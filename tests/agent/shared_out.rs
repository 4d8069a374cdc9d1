//! A network whose guests are shared out among several dnsmasq, as one sees it from outside, whatever the protocol.
//! Used by `large` and `six::large`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::lab::eventually;
use crate::site::{LONG, Site, files_of, patiently};

/// As long as a machine with other work needs for thousands of ports.
pub fn until<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    eventually(what, LONG * 4, found)
}

/// Does something, while a guest asks all the time.
pub fn asking_meanwhile<T>(ask: impl Fn() + Send + Sync, what: impl FnOnce() -> T) -> T {
    let (done, began) = (AtomicBool::new(false), Instant::now());
    let asking = || {
        while !done.load(Ordering::Relaxed) && began.elapsed() < LONG * 4 {
            ask();
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(asking);
        let came = what();
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        came
    })
}

impl Site {
    /// By its metrics: what `kube-dhcp status` reads is long.
    pub fn until_all_ready(&self, count: u32) {
        let is = |metric| self.metric(metric) == Some(count.into());
        until(&format!("{count} are ready"), || (is("ports") && is("ports_ready")).then_some(()));
    }

    pub fn until_processes(&self, count: usize) -> Vec<u32> {
        until(&format!("{count} processes"), || Some(self.dnsmasq_pids()).filter(|pids| pids.len() == count))
    }

    /// Waits until so many hold an address, as `kube-dhcp leases` says: it is written after the answer.
    pub fn until_holders(&self, count: usize) -> Vec<serde_json::Value> {
        patiently(&format!("{count} leases"), |instead| {
            let mut leases = self.leases(&[]);
            *instead = format!("{leases:?}");
            leases.retain(|lease| lease["port"]["name"].is_string() && lease["heldByOther"] == false);
            (leases.len() == count).then_some(leases)
        })
    }

    /// Waits until the one process alone, or one of the shares, has given this lease.
    pub fn until_given(&self, ip: impl Into<IpAddr>, by_share: bool) {
        let (ip, dir) = (ip.into(), self.network_dir());
        let has = |dir: &Path| {
            std::fs::read_to_string(dir.join("leases")).is_ok_and(|text| text.contains(&format!(" {ip} ")))
        };
        patiently(&format!("{ip} is given by a share: {by_share}"), |_| {
            let shares = files_of(&dir.join("shares")).iter().filter(|share| has(share)).count();
            (shares == usize::from(by_share) && has(&dir) != by_share).then_some(())
        });
    }

    /// The processes of shares, or of one of them, by their command lines.
    pub fn of_shares(&self, which: &str) -> Vec<u32> {
        let is_own = |pid: &u32| {
            let line = self.lab.read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("/shares/{which}"))
        };
        self.dnsmasq_pids().into_iter().filter(is_own).collect()
    }

    /// The process of a share.
    pub fn of_share(&self, share: &str) -> u32 {
        let own = self.of_shares(&format!("{share}/pid\0"));
        let [pid] = own[..] else { panic!("{own:?}") };
        pid
    }

    /// It is named, and nobody else is.
    pub fn one_that_hangs(&self, share: &str, said: &str, others_are_answered: impl FnOnce()) {
        let hangs = self.of_share(share);
        self.lab.signal("STOP", hangs);
        let ready = || self.status().condition("Network", "lan", "Ready").unwrap();
        let deaf = until("it is said", || Some(ready()).filter(|ready| ready.reason == "NotAnswering"));
        assert_eq!((&*deaf.status, &*deaf.message), ("False", said));
        others_are_answered();
        self.lab.signal("CONT", hangs);
        until("it answers again", || Some(ready()).filter(|ready| ready.status == "True"));
    }

    /// The end of a share's process: it is started again, and nobody else is.
    pub fn the_end_of(&self, share: &str, answers: impl FnOnce()) {
        let (before, ended) = (self.dnsmasq_pids(), self.of_share(share));
        self.lab.signal("KILL", ended);
        until("it runs again", || {
            let now = self.dnsmasq_pids();
            (now.len() == before.len() && !now.contains(&ended)).then_some(())
        });
        answers();
        let now = self.dnsmasq_pids();
        assert_eq!(before.iter().filter(|pid| !now.contains(pid)).collect::<Vec<_>>(), [&ended]);
    }
}
