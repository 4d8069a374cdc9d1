use super::*;
use proptest::prelude::*;

const RENEW: Duration = Duration::from_secs(5);
const VALID: Duration = Duration::from_secs(15);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Agents that renew each five seconds, seen by a controller that looks each second.
struct World {
    liveness: Liveness,
    now: u64,
    /// When each agent renews first, and from when on it does no more.
    agents: Vec<(u64, u64)>,
    seen: bool,
}

impl World {
    fn new(agents: &[(u64, u64)]) -> Self {
        let mut world = Self {
            liveness: Liveness::new(RENEW, secs(100)),
            now: 100,
            agents: agents.iter().map(|(phase, until)| (phase % 5, 100 + until)).collect(),
            seen: true,
        };
        world.watch();
        world.liveness.sighted(secs(100));
        world
    }

    /// What the watch shows: the last renewal of each.
    fn watch(&mut self) {
        for (i, (phase, until)) in self.agents.iter().enumerate() {
            let last = self.now.min(until.saturating_sub(1));
            let version = (last - phase) / 5;
            self.liveness.observe(&format!("n{i}"), &version.to_string(), VALID, secs(self.now));
        }
    }

    fn second(&mut self) -> Verdict {
        self.now += 1;
        if self.seen {
            self.watch();
        }
        self.liveness.verdict(secs(self.now))
    }

    /// The last verdict of so many seconds.
    fn run(&mut self, seconds: u64) -> Verdict {
        (0..seconds).map(|_| self.second()).last().unwrap()
    }
}

fn dead(verdict: &Verdict) -> Vec<&str> {
    verdict.dead.keys().map(String::as_str).collect()
}

const FOREVER: u64 = 100_000;

#[test]
fn an_agent_that_stops_renewing_is_dead_after_its_own_time() {
    let mut world = World::new(&[(0, FOREVER), (0, 11)]);
    assert!(world.run(25).dead.is_empty());
    let verdict = world.second();
    assert_eq!(verdict.dead, [("n1".to_owned(), secs(126))].into());
    assert_eq!(world.run(50).dead, verdict.dead, "since then");
    world.agents[1].1 = FOREVER;
    assert!(world.second().dead.is_empty());
}

#[test]
fn our_own_start_gives_each_lease_a_full_period() {
    let mut world = World::new(&[(0, 0)]);
    assert!(world.run(15).dead.is_empty());
    assert_eq!(dead(&world.second()), ["n0"]);
}

#[test]
fn agents_that_die_one_after_another_are_each_dead() {
    let mut world = World::new(&[(0, 10), (1, 70), (2, 130)]);
    assert_eq!(dead(&world.run(40)), ["n0"]);
    assert_eq!(dead(&world.run(60)), ["n0", "n1"]);
    assert_eq!(dead(&world.run(60)), ["n0", "n1", "n2"]);
}

#[test]
fn when_more_than_half_go_together_nobody_is_dead() {
    let mut world = World::new(&[(0, 20), (2, 20), (4, 20), (1, FOREVER), (3, FOREVER)]);
    for second in 0..300 {
        let verdict = world.second();
        assert!(verdict.dead.is_empty(), "{second}");
        assert_eq!(verdict.mass_expiry, second >= 30, "from the first one on: {second}");
    }
}

#[test]
fn who_went_just_before_the_others_is_not_dead_either() {
    let mut world = World::new(&[(0, 11), (0, 22), (0, 22), (0, FOREVER)]);
    assert_eq!(dead(&world.run(26)), ["n0"]);
    let verdict = world.run(10);
    assert!(verdict.mass_expiry && verdict.dead.is_empty());
}

#[test]
fn half_is_not_a_mass_and_neither_are_two() {
    let mut world = World::new(&[(0, 20), (1, 20), (2, FOREVER), (3, FOREVER)]);
    assert_eq!(dead(&world.run(60)), ["n0", "n1"]);
    let mut world = World::new(&[(0, 20), (1, 20)]);
    assert_eq!(dead(&world.run(60)), ["n0", "n1"]);
}

#[test]
fn whoever_does_not_come_back_after_a_mass_expiry_is_dead_two_renewals_later() {
    let mut world = World::new(&[(0, 20), (1, 20), (2, 20), (3, 20)]);
    assert!(world.run(60).mass_expiry);
    world.agents[0].1 = FOREVER;
    assert!(world.run(30).mass_expiry, "three of four are still away");
    world.agents[1].1 = FOREVER;
    let verdict = world.run(10);
    assert!(!verdict.mass_expiry && verdict.dead.is_empty());
    assert_eq!(dead(&world.run(3)), ["n2", "n3"]);
}

#[test]
fn time_in_the_dark_does_not_count() {
    let mut world = World::new(&[(0, FOREVER), (0, 11)]);
    world.run(22);
    world.seen = false;
    world.liveness.blind(secs(122));
    assert_eq!(world.run(500), Verdict::default());
    world.seen = true;
    world.watch();
    world.liveness.sighted(secs(622));
    assert!(world.run(10).dead.is_empty(), "two renewals' time");
    assert_eq!(dead(&world.second()), ["n1"]);
}

#[test]
fn our_own_stall_does_not_count() {
    let mut world = World::new(&[(0, FOREVER), (0, FOREVER), (0, 11)]);
    world.run(22);
    world.now += 500;
    // What renewed meanwhile is read only after the clock.
    assert!(world.liveness.verdict(secs(world.now)).dead.is_empty());
    assert!(world.run(10).dead.is_empty());
    assert_eq!(dead(&world.second()), ["n2"]);
}

#[test]
fn a_forgotten_agent_is_not_dead() {
    let mut world = World::new(&[(0, 0)]);
    assert_eq!(dead(&world.run(20)), ["n0"]);
    world.liveness.forget("n0");
    assert_eq!(world.liveness.verdict(secs(121)), Verdict::default());
}

#[test]
fn the_next_look_is_when_the_first_expires_but_soon_enough_to_notice_a_stall() {
    let mut liveness = Liveness::new(RENEW, secs(0));
    liveness.sighted(secs(0));
    assert_eq!(liveness.verdict(secs(0)).next_look, None);
    liveness.observe("n", "1", Duration::from_millis(1_500), secs(0));
    assert_eq!(liveness.verdict(secs(0)).next_look, Some(Liveness::TICK));
    assert_eq!(liveness.verdict(secs(1)).next_look, Some(Duration::from_millis(501)));
    let verdict = liveness.verdict(Duration::from_millis(1_501));
    assert_eq!((dead(&verdict), verdict.next_look), (vec!["n"], None));
}

proptest! {
    #[test]
    fn who_renews_is_never_dead(
        agents in prop::collection::vec((0..5u64, prop_oneof![Just(FOREVER), 0..200u64]), 1..9),
        pauses in prop::collection::vec((1..40u64, 0..60u64, any::<bool>()), 0..6),
    ) {
        let mut world = World::new(&agents);
        let renews = |name: &&str| agents[name[1..].parse::<usize>().unwrap()].1 == FOREVER;
        for (run, pause, stall) in pauses {
            for _ in 0..run {
                let verdict = world.second();
                prop_assert_eq!(dead(&verdict).into_iter().find(renews), None);
            }
            if stall {
                world.now += pause;
            } else {
                world.liveness.blind(secs(world.now));
                world.now += pause;
                world.watch();
                world.liveness.sighted(secs(world.now));
            }
        }
    }

    #[test]
    fn who_is_gone_while_most_live_is_dead_in_the_end(
        phases in prop::collection::vec(0..5u64, 2..9),
        gone in prop::collection::vec(0..60u64, 0..5),
    ) {
        let gone: Vec<_> = gone.into_iter().take(phases.len() / 2).collect();
        let until = |i: usize| gone.get(i).copied().unwrap_or(FOREVER);
        let agents: Vec<_> = phases.iter().enumerate().map(|(i, phase)| (*phase, until(i))).collect();
        prop_assert_eq!(World::new(&agents).run(120).dead.len(), gone.len());
    }

    #[test]
    fn when_all_lose_the_api_server_at_once_nobody_dies(
        phases in prop::collection::vec(0..5u64, 3..9),
        at in 0..60u64,
    ) {
        let agents: Vec<_> = phases.iter().map(|phase| (*phase, at)).collect();
        let mut world = World::new(&agents);
        for _ in 0..200 {
            prop_assert!(world.second().dead.is_empty());
        }
        world.agents.iter_mut().for_each(|agent| agent.1 = FOREVER);
        prop_assert!(world.run(30).dead.is_empty());
        prop_assert!(!world.second().mass_expiry);
    }
}
