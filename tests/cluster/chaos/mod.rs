//! Whatever can happen to a cluster happens to this one, at random, while its users go on and its guests
//! keep their leases: what must never be is looked for all the time, and in the end all is as it is wanted.
//!
//! `KUBE_DHCP_TEST_SEED` is the seed. The same one gives the same acts with the same lengths and pauses;
//! what they meet also depends on the machine.

mod acts;
mod crowd;
mod lans;
mod settled;
mod stage;
mod users;
mod wire;

use std::time::{Duration, Instant};

use acts::{Act, Drawn, PlaneAct};
use crowd::Crowd;
use lans::{LANS, STEADY};
use stage::Stage;

use crate::inside::inside;
use crate::random::{Random, number};
use crate::site::LONG;
use crate::traffic::{Traffic, network, report};

/// How long all may take to be as it is wanted once nothing is broken any more.
const SETTLED: Duration = Duration::from_secs(60);
/// How long one fault at a time, and then many at a time.
const PHASE: Duration = Duration::from_secs(40);
/// So many lasting faults at a time.
const MANY: usize = 4;

#[test]
fn nothing_is_ever_wrong_and_all_is_right_in_the_end() {
    inside("chaos::nothing_is_ever_wrong_and_all_is_right_in_the_end", run(Duration::ZERO));
}

/// As long as one likes: `make soak`.
#[test]
#[ignore = "long"]
fn soak() {
    let minutes = number("KUBE_DHCP_SOAK_MINUTES").unwrap_or(30);
    inside("chaos::soak", run(Duration::from_secs(60 * minutes)));
}

async fn run(at_least: Duration) {
    let mut chaos = Chaos::new().await;
    let mut settled = vec![chaos.settle().await];
    loop {
        chaos.one_at_a_time().await;
        chaos.many_at_a_time().await;
        settled.push(chaos.settle().await);
        if chaos.stage.began.elapsed() >= at_least {
            break;
        }
    }
    chaos.end(&settled);
}

struct Chaos {
    stage: Stage,
    traffic: Traffic,
    crowd: Crowd,
    random: Random,
    /// What lasts, and until when.
    wounds: Vec<(Instant, Act)>,
    acts: usize,
}

impl Chaos {
    async fn new() -> Self {
        let random = Random::seeded();
        let stage = Stage::new().await;
        for lan in &LANS {
            stage.site.apply_object(&lan.physical()).await;
        }
        for lan in &LANS[..STEADY] {
            stage.site.apply(&network(lan.number, lan.servers)).await;
        }
        for namespace in ["red", "blue"] {
            assert!(stage.restore_namespace(namespace).await, "{namespace}");
        }
        let traffic = Traffic::start(&stage.site.street, STEADY);
        let crowd = Crowd::start(&stage.site.street, &random);
        Self { stage, traffic, crowd, random, wounds: Vec::new(), acts: 0 }
    }

    /// One fault after the other: of a network with another server no guest goes without an answer.
    async fn one_at_a_time(&mut self) {
        self.stage.tell("one fault at a time");
        let (began, before) = (Instant::now(), self.unanswered());
        while began.elapsed() < PHASE {
            let drawn = Drawn::new(&mut self.random);
            self.act(drawn).await;
            self.until(Instant::now() + drawn.pause).await;
            while let Some((until, _)) = self.wounds.first() {
                self.until(*until).await;
            }
            self.whole().await;
            let now = self.unanswered();
            assert_eq!(now, before, "guests were not answered\n{}", self.stage.site.logs());
        }
    }

    async fn many_at_a_time(&mut self) {
        self.stage.tell("many faults at a time");
        let began = Instant::now();
        while began.elapsed() < PHASE {
            let drawn = Drawn::new(&mut self.random);
            if drawn.act.is_brief() || self.wounds.len() < MANY {
                self.act(drawn).await;
            }
            self.until(Instant::now() + drawn.pause / 2).await;
        }
    }

    async fn act(&mut self, drawn: Drawn) {
        let Drawn { act, lasts, .. } = drawn;
        if !self.wounds.iter().all(|(_, other)| act.goes_with(*other)) {
            return;
        }
        let lasting = if act.is_brief() { String::new() } else { format!(" for {lasts:.1?}") };
        self.stage.tell(&format!("{act:?}{lasting}"));
        self.stage.wire.context.lock().unwrap().calm = None;
        if self.stage.begin(act).await && !act.is_brief() {
            self.wounds.push((Instant::now() + lasts, act));
        }
        self.acts += 1;
        self.rest();
    }

    /// Goes on until then; what is over ends meanwhile.
    async fn until(&mut self, then: Instant) {
        loop {
            let now = Instant::now();
            if let Some(at) = self.wounds.iter().position(|(until, _)| *until <= now) {
                self.end_wound(at).await;
            }
            self.stage.assert_good();
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() && self.wounds.iter().all(|(until, _)| *until > now) {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// One that cannot end yet is tried again.
    async fn end_wound(&mut self, at: usize) {
        let (_, act) = self.wounds.remove(at);
        if self.stage.end(act).await {
            self.stage.tell(&format!("  over: {act:?}"));
            self.rest();
        } else {
            self.wounds.push((Instant::now() + Duration::from_secs(1), act));
        }
    }

    fn rest(&self) {
        let calm = self.wounds.is_empty().then(Instant::now);
        self.stage.wire.context.lock().unwrap().calm = calm;
    }

    /// Waits until every server of the networks that are left alone answers again.
    async fn whole(&mut self) {
        let since = Instant::now();
        loop {
            self.stage.assert_good();
            let tallies = self.traffic.tallies();
            let serve = |n: usize| tallies[n].servers.values().filter(|(_, last)| *last > since).count();
            let now: Vec<_> = (0..STEADY).map(serve).collect();
            if LANS[..STEADY].iter().all(|lan| now[lan.number] >= usize::from(lan.servers)) {
                return;
            }
            assert!(since.elapsed() < LONG, "servers that answer: {now:?}\n{}", self.stage.site.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What nobody answered on networks with more than one server.
    fn unanswered(&self) -> Vec<(Duration, &'static str)> {
        let tallies = self.traffic.tallies();
        let several = LANS[..STEADY].iter().filter(|lan| lan.servers > 1);
        several.flat_map(|lan| tallies[lan.number].unanswered.clone()).collect()
    }

    /// Ends what lasts; then all is as it is wanted soon. How long that took.
    async fn settle(&mut self) -> Duration {
        // The API server first: the rest is said to it.
        self.wounds.sort_by_key(|(_, act)| !matches!(act, Act::Plane(PlaneAct::Kill | PlaneAct::Hang)));
        let deadline = Instant::now() + LONG;
        while !self.wounds.is_empty() {
            self.end_wound(0).await;
            assert!(Instant::now() < deadline, "{:?} cannot end", self.wounds);
            self.stage.assert_good();
        }
        for namespace in ["red", "blue"] {
            while !self.stage.restore_namespace(namespace).await {
                assert!(Instant::now() < deadline, "{namespace} cannot be applied");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.stage.tell("nothing is broken any more");
        let began = Instant::now();
        let mut why = String::new();
        while let Err(now) = self.stage.settled().await {
            self.stage.assert_good();
            assert!(began.elapsed() < SETTLED, "{now}\n{}", self.stage.site.logs());
            why = now;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        self.stage.assert_good();
        self.stage.tell(&format!("all is right after {:.1?}; last: {why:.200}", began.elapsed()));
        self.stage.users.settled();
        began.elapsed()
    }

    fn end(self, settled: &[Duration]) {
        drop(self.crowd);
        report("chaos", &self.traffic.stop(), self.stage.began);
        let found = std::mem::take(&mut *self.stage.wire.found.lock().unwrap());
        println!("{} acts; settled after {settled:.1?}", self.acts);
        println!(
            "{} ACKs, {} NAKs to wrong addresses, {} ACKs by servers whose object was deleted",
            found.acks, found.naks, found.excused
        );
    }
}
