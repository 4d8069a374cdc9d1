//! Whatever a tenant writes: what dnsmasq is told says what the accepted object says and no more, and a
//! refused one harms nobody and is told where it is wrong.
//!
//! Objects of a kept corpus are changed at random. `KUBE_DHCP_TEST_SEED` repeats a run,
//! `KUBE_DHCP_FUZZ_INPUTS` makes it longer. An input that fails is printed: add it to
//! `corpus/found.txt`, which is judged in every run.

#![allow(unreachable_pub, reason = "the modules are a library to this one")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test must fail loudly")]

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../random/mod.rs"]
mod random;

mod corpus;
mod court;
mod door;
mod identity;
mod log;
mod model;
mod model_options;
mod mutate;
mod neighbours;
mod net;
mod real;
mod scene;
mod tally;
mod wanted;
mod wanted_options;
mod wanted_subnet;
mod wanted_txt;

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::Value;

use court::{Court, Input};
use door::Door;
use mutate::{Maker, Mutant};
use random::{Random, number};
use scene::{Scene, Subject};
use tally::Tally;

/// Objects that stand in one network at a time.
const TOGETHER: usize = 16;
/// Without optimisation there is time for this part of a million inputs.
const SLOW: u64 = if cfg!(debug_assertions) { 50 } else { 1 };
/// Failures that are shown.
const SHOWN: usize = 5;

fn maker() -> Maker {
    Maker::new(corpus::texts(), corpus::objects())
}

/// Runs `one` for its share of the inputs on every processor, and fails if anything was found.
fn run(name: &str, inputs: u64, one: impl Fn(&mut Random, &mut Tally) + Sync) {
    let inputs = number("KUBE_DHCP_FUZZ_INPUTS").unwrap_or(inputs);
    let (seed, began) = (Random::seeded().0, Instant::now());
    // A panic is an outcome like another.
    std::panic::set_hook(Box::new(|_| {}));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let one = &one;
        let shares = (0..threads).map(|thread| {
            scope.spawn(move || {
                let (mut chance, mut tally) = (Random(seed.wrapping_add(thread << 32)), Tally::default());
                while tally.inputs < inputs / threads && tally.failures.len() < SHOWN {
                    one(&mut chance, &mut tally);
                }
                tally
            })
        });
        let shares: Vec<_> = shares.collect();
        for share in shares {
            all.add(share.join().expect("a thread of the test"));
        }
    });
    drop(std::panic::take_hook());
    println!("{name}: {all}\n  in {:.1} s", began.elapsed().as_secs_f64());
    assert!(all.failures.is_empty(), "{name}, seed {seed}:\n{}", all.failures.join("\n"));
}

/// As a line of the corpus: with no character that an editor or a terminal changes.
fn ascii(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if (' '..='~').contains(&c) {
            line.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").unwrap();
            }
        }
    }
    line
}

/// Judges them together; what fails is looked for one by one.
fn judge(court: &Court, inputs: &[(Input, &Value)], tally: &mut Tally) {
    let together: Vec<_> = inputs.iter().map(|(input, _)| input.clone()).collect();
    match court.judge(&together) {
        Ok(outcomes) => outcomes.into_iter().for_each(|outcome| tally.note(outcome)),
        Err(error) => {
            let alone = inputs.iter().find_map(|(input, value)| {
                court
                    .judge(std::slice::from_ref(input))
                    .err()
                    .map(|error| format!("{error}\n{}", ascii(value)))
            });
            let lines: Vec<_> = inputs.iter().map(|(_, value)| ascii(value)).collect();
            let all = || format!("\n{}", lines.join("\n"));
            let failure = alone.unwrap_or_else(|| format!("{error}\nonly together:{}", all()));
            tally.failures.push(format!("after {} inputs: {failure}", tally.inputs));
        }
    }
}

fn name(chance: &mut Random, n: usize) -> String {
    format!("{}{n}", chance.pick(&["a", "b", "n", "zz"]))
}

/// Ports and Subnets in the bystander's network, or a Network in its place.
fn kinds(chance: &mut Random) -> (&'static [&'static str], usize) {
    match chance.index(10) {
        0 => (&["Network"], 1),
        _ => (&["Port", "Port", "Port", "Subnet"], TOGETHER),
    }
}

#[test]
fn what_no_schema_has_seen_is_told_dnsmasq_as_it_is_or_not_at_all() {
    let (maker, court, bystander) = (maker(), Court::new(), Scene::bystander());
    run("typed", 900_000 / SLOW, |chance, tally| {
        let (kinds, together) = kinds(chance);
        let mutants: Vec<Mutant> = (0..together).map(|_| maker.mutant(chance, kinds, true)).collect();
        tally.inputs += mutants.len() as u64;
        let subjects = mutants.iter().enumerate().filter_map(|(n, mutant)| {
            let subject = Subject::new(&name(chance, n), &mutant.object)?;
            Some((Input { subject, changed: Some(mutant.changed.clone()) }, &mutant.object))
        });
        let subjects: Vec<_> = subjects.collect();
        let values: Vec<_> = mutants.iter().map(|mutant| &mutant.object).collect();
        tally.failures.extend(neighbours::unharmed(&bystander, &values).err());
        tally.unreadable += (mutants.len() - subjects.len()) as u64;
        judge(&court, &subjects, tally);
    });
}

#[test]
fn what_passes_the_schema_is_told_dnsmasq_as_it_is() {
    let (maker, court, door) = (maker(), Court::new(), Door::new());
    run("manifests", 100_000 / SLOW, |chance, tally| {
        let (kinds, together) = kinds(chance);
        let (mut inputs, mut values) = (Vec::new(), Vec::new());
        for _ in 0..together {
            let mutant = maker.mutant(chance, kinds, false);
            tally.inputs += 1;
            match door.pass(&mutant.object.to_string()) {
                Ok(passed) => {
                    passed.refused.into_iter().for_each(|refused| tally.note(refused));
                    values.extend(passed.objects.into_iter().map(|value| (value, mutant.changed.clone())));
                }
                Err(error) => tally.failures.push(format!("{error}\n{}", ascii(&mutant.object))),
            }
        }
        for (n, (value, changed)) in values.iter().enumerate() {
            if let Some(subject) = Subject::new(&name(chance, n), value) {
                inputs.push((Input { subject, changed: Some(changed.clone()) }, value));
            }
        }
        judge(&court, &inputs, tally);
    });
}

#[test]
fn the_corpus_is_judged_in_every_run() {
    let (court, door, mut tally) = (Court::new(), Door::new(), Tally::default());
    let objects: Vec<_> = corpus::objects().into_iter().chain(corpus::found()).collect();
    for (n, value) in objects.iter().enumerate() {
        tally.inputs += 1;
        match door.pass(&value.to_string()) {
            Ok(passed) => passed.refused.into_iter().for_each(|refused| tally.note(refused)),
            Err(error) => tally.failures.push(format!("{error}\n{}", ascii(value))),
        }
        if let Some(subject) = Subject::new(&format!("h{n}"), value) {
            judge(&court, &[(Input { subject, changed: None }, value)], &mut tally);
        }
    }
    println!("corpus: {tally}");
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}
