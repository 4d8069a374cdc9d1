//! Every order in which things can be deleted, with an agent that dies in between: nothing is left.

use std::time::Duration;

use super::super::world::Kind;
use super::sim::Sim;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Network,
    Subnet,
    Port,
    Physical,
    /// An agent dies, and not what it runs.
    Dies,
    /// It is back; or its node is gone for good, the Node deleted.
    Ends,
    /// The namespace, or the definitions: all that is in it, kind by kind.
    Vanish,
}

use Step::{Dies, Ends, Network, Physical, Port, Subnet, Vanish};

/// All but the end of what dies, which comes a while later.
const STEPS: [Step; 6] = [Network, Subnet, Port, Physical, Dies, Vanish];

/// What happens between two steps.
#[derive(Debug, Clone, Copy)]
enum Pause {
    Nothing,
    Controller,
    Agents,
    Everything,
}

const PAUSES: [Pause; 4] = [Pause::Nothing, Pause::Controller, Pause::Agents, Pause::Everything];

struct Run {
    sim: Sim,
    dying: String,
    returns: bool,
    /// Says what the pauses are, two bits each.
    pauses: u64,
}

impl Run {
    fn new(returns: bool, number: u64) -> Self {
        let mut sim = super::cluster(2);
        sim.port("p", Some(1), None);
        sim.settle();
        let dying = sim.nodes()[0].1.clone();
        // As good as chance, and the same each time.
        let pauses = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { sim, dying, returns, pauses: pauses ^ (pauses >> 29) }
    }

    fn step(&mut self, step: Step) {
        match step {
            Network => self.sim.delete(Kind::Network, "x"),
            Subnet => self.sim.delete(Kind::Subnet, "s"),
            Port => self.sim.delete(Kind::Port, "p"),
            Physical => self.sim.ungrant(),
            Dies => self.sim.set_dead(&[&self.dying], Duration::from_secs(120)),
            Ends if self.returns => self.sim.set_dead(&[], Duration::ZERO),
            Ends => self.sim.gone_for_good(&self.dying),
            Vanish => self.vanish(),
        }
    }

    /// In an order that is nobody's choice.
    fn vanish(&mut self) {
        let mut kinds = [Kind::Server, Kind::Allocation, Kind::Network, Kind::Subnet, Kind::Port];
        kinds.rotate_left(usize::try_from(self.pauses >> 60).unwrap() % 5);
        for kind in kinds {
            self.sim.vanish(kind);
            self.pause();
        }
    }

    fn pause(&mut self) {
        let pause = PAUSES[usize::try_from(self.pauses & 3).unwrap()];
        self.pauses = self.pauses.rotate_right(2);
        match pause {
            Pause::Nothing => {}
            Pause::Controller => drop(self.sim.turn("x")),
            Pause::Agents => ["n1", "n2", "n3"].iter().for_each(|node| self.sim.agent(node)),
            Pause::Everything => self.sim.settle(),
        }
    }

    fn assert_nothing_is_left(&mut self, order: &[Step]) {
        self.sim.settle();
        let sim = &self.sim;
        let left = (&sim.servers, &sim.allocations, &sim.serving);
        let none = sim.servers.is_empty() && sim.allocations.is_empty() && sim.serving.is_empty();
        assert!(none && sim.ports.is_empty(), "{order:?}, returns: {}: {left:#?}", self.returns);
    }
}

fn run(order: &[Step], returns: bool, number: u64) {
    let mut run = Run::new(returns, number);
    for step in order {
        if *step == Vanish && order.last() == Some(step) {
            // Everything went by itself already.
            run.assert_nothing_is_left(order);
        }
        run.step(*step);
        run.pause();
    }
    run.assert_nothing_is_left(order);
}

/// All orders of what is behind the first `done`.
fn orders(steps: &mut [Step], done: usize, take: &mut impl FnMut(&[Step])) {
    if done == steps.len() {
        return take(steps);
    }
    for next in done..steps.len() {
        steps.swap(done, next);
        orders(steps, done + 1, take);
        steps.swap(done, next);
    }
}

/// The order with the end of what died, so many steps later.
fn with_end(order: &[Step], later: usize) -> Vec<Step> {
    let dies = order.iter().position(|step| *step == Dies).unwrap();
    let mut order = order.to_vec();
    order.insert((dies + 1 + later).min(order.len()), Ends);
    order
}

#[test]
fn nothing_is_left_in_whichever_order_all_is_deleted() {
    let mut number = 0;
    let mut take = |order: &[Step]| {
        let order = with_end(order, number % 5);
        run(&order, number % 2 == 0, u64::try_from(number).unwrap());
        number += 1;
    };
    orders(&mut STEPS.clone(), 0, &mut take);
    assert_eq!(number, 720);
}
