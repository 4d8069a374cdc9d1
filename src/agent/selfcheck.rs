//! Whether a network's own server answers: asked at intervals, as a guest would ask; of a large network each
//! process that shares its guests.
//!
//! Used by the network's worker. A server that dnsmasq's acceptance of its lines speaks for is believed to
//! serve until it leaves a question unanswered; then it does not, until it answers one. One that is deaf for
//! long is to be started anew, less and less often: the cause may be another.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::context::Context;
use crate::backoff::{Backoff, chance};
use crate::dnsmasq::Share;
use crate::host::{Asked, Error, Host, Reply, Whom};
use crate::reason::{Problem, Reason};
use crate::types::{MacAddr, NetworkUid};

/// Networks ask at different times of this.
const EVERY: Duration = Duration::from_secs(30);
/// Who waits for an answer wants to see it soon.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a server is deaf before it is started anew.
const RESTART: Backoff = Backoff { first: Duration::from_secs(30), last: Duration::from_secs(30 * 60) };

type Replies = BTreeMap<Whom, Reply>;

/// See the module.
#[derive(Default)]
pub(super) struct Selfcheck {
    /// `None`: nobody is to be asked.
    asked: Option<Asked>,
    question: Option<Question>,
    next: Option<Instant>,
    /// What was not answered last.
    unanswered: Option<Problem>,
    /// Which processes did not answer last.
    deaf: BTreeMap<Option<Share>, Deaf>,
    /// Of which nothing is known since, as their guests went.
    moved: BTreeSet<Option<Share>>,
}

struct Question {
    /// By whom the processes of shares are asked.
    guests: BTreeMap<Share, MacAddr>,
    task: AbortOnDropHandle<Result<Replies, Error>>,
}

struct Deaf {
    /// Or since the last restart for that.
    since: Instant,
    restarts: u32,
    /// Whether it is to be started anew.
    hopeless: bool,
}

impl Selfcheck {
    /// From now on this server is to answer.
    pub(super) fn ask(&mut self, asked: Option<Asked>) {
        let same = match (&self.asked, &asked) {
            (Some(old), Some(new)) => {
                (old.asker, &old.attached, &old.servers) == (new.asker, &new.attached, &new.servers)
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        if same {
            // Guests come and go all the time.
            self.asked = asked;
            return;
        }
        let next = asked.as_ref().map(|_| Instant::now() + EVERY.mul_f64(chance()));
        *self = Self { asked, next, ..Self::default() };
    }

    /// A dnsmasq was started: what was asked before tells nothing. Of shares there are many, and a question
    /// waits for longer than a start takes.
    pub(super) fn begin_anew(&mut self, share: Option<Share>) {
        self.deaf.get_mut(&share).into_iter().for_each(|deaf| deaf.hopeless = false);
        if share.is_some() {
            return;
        }
        self.question = None;
        if let Some(next) = &mut self.next {
            *next = (*next).max(Instant::now() + AGAIN);
        }
    }

    /// Why the server cannot be said to serve.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.unanswered.as_ref()
    }

    /// Whether a process was deaf for so long that it is to be started anew.
    pub(super) fn is_hopeless(&self, share: Option<Share>) -> bool {
        self.deaf.get(&share).is_some_and(|deaf| deaf.hopeless)
    }

    /// Returns when something else is known than before. Cancel-safe: the question goes on.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        loop {
            let Some((next, asked)) = self.next.zip(self.asked.as_ref()) else { return pending().await };
            if self.question.is_none() {
                sleep_until(next).await;
            }
            let question = self.question.get_or_insert_with(|| {
                let (context, asked, guests) = (context.clone(), asked.clone(), asked.shares.clone());
                let ask = async move { context.host.ask(uid, &asked).await };
                Question { guests, task: AbortOnDropHandle::new(tokio::spawn(ask)) }
            });
            let answer = (&mut question.task).await;
            let guests = self.question.take().map(|question| question.guests).unwrap_or_default();
            let now = Instant::now();
            self.moved.clear();
            let news = match answer {
                Ok(Ok(mut replies)) => {
                    self.forget_moved(&mut replies, &guests);
                    for reply in replies.values() {
                        context.metrics.replied(reply.kind());
                    }
                    self.learn(&replies, now)
                }
                // That we cannot ask says nothing of whether guests are answered.
                Ok(Err(e)) => {
                    context.metrics.failed("ask-server");
                    warn!(error = &e as &(dyn std::error::Error + 'static), "cannot ask dnsmasq");
                    false
                }
                Err(_) => false,
            };
            let soon = !self.moved.is_empty() || self.unanswered.is_some();
            self.next = Some(now + if soon { AGAIN } else { EVERY });
            if news {
                return;
            }
        }
    }

    /// A guest that went meanwhile was perhaps not answered for that.
    fn forget_moved(&mut self, replies: &mut Replies, guests: &BTreeMap<Share, MacAddr>) {
        let Some(Asked { shares, .. }) = &self.asked else { return };
        let stayed = |share: &Option<Share>| share.is_none_or(|s| shares.get(&s) == guests.get(&s));
        self.moved = replies.keys().map(|(_, share)| *share).filter(|share| !stayed(share)).collect();
        replies.retain(|(_, share), _| !self.moved.contains(share));
        // Nor is anything known of one that could not be asked.
        let is_heard = |share: &Share| replies.keys().any(|(_, of)| *of == Some(*share));
        self.moved.extend(guests.keys().filter(|share| !is_heard(share)).map(|share| Some(*share)));
    }

    /// Whether that is new, or something is to be done about it.
    fn learn(&mut self, replies: &Replies, now: Instant) -> bool {
        let before = self.unanswered.take();
        let is_unknown = self.deaf.keys().any(|share| self.moved.contains(share));
        self.unanswered = unanswered(replies).or_else(|| before.clone().filter(|_| is_unknown));
        match (&before, &self.unanswered) {
            (Some(_), None) => info!("dnsmasq answers again"),
            (None, Some(problem)) => warn!("{problem}"),
            _ => {}
        }
        let wrong = replies.iter().filter(|(_, reply)| **reply != Reply::Right);
        let deaf: BTreeSet<_> = wrong.map(|((_, share), _)| *share).collect();
        self.deaf.retain(|share, _| deaf.contains(share) || self.moved.contains(share));
        let mut hopeless = false;
        for share in deaf {
            let deaf = self.deaf.entry(share).or_insert(Deaf { since: now, restarts: 0, hopeless: false });
            if !deaf.hopeless && now.duration_since(deaf.since) >= RESTART.after(deaf.restarts) {
                warn!("{} is deaf for long, and is started anew", server(share));
                *deaf = Deaf { since: now, restarts: deaf.restarts.saturating_add(1), hopeless: true };
                hopeless = true;
            }
        }
        hopeless || before != self.unanswered
    }
}

/// What is wrong with the replies.
fn unanswered(replies: &Replies) -> Option<Problem> {
    let wrong = |((ip, share), reply): (&Whom, &Reply)| {
        let (protocol, server) = (protocol(*ip), server(*share));
        match reply {
            Reply::Right => None,
            Reply::Wrong(what) => Some(format!("{server} answers a {protocol} question to {ip} with {what}")),
            Reply::Silence => Some(format!("{server} does not answer a {protocol} question to {ip}")),
        }
    };
    let wrong: Vec<_> = replies.iter().filter_map(wrong).collect();
    (!wrong.is_empty()).then(|| Problem::new(Reason::NotAnswering, wrong.join("; ")))
}

fn server(share: Option<Share>) -> String {
    share.map_or_else(|| "dnsmasq".to_owned(), |share| format!("dnsmasq of share {share}"))
}

fn protocol(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "DHCPv4" } else { "DHCPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Attached, Family};
    use crate::service::Asker;
    use crate::types::MacAddr;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn asked(ip: impl Into<IpAddr>) -> Asked {
        let asker = Asker { mac: MacAddr::local([1; 5]), device: MacAddr::local([2; 5]) };
        let attached = Attached::Bridge { bridge: "br0".into(), vlan: None };
        Asked { asker, attached, servers: [ip.into()].into(), shares: BTreeMap::new() }
    }

    fn asking() -> Selfcheck {
        let mut check = Selfcheck::default();
        check.ask(Some(asked(SERVER)));
        check
    }

    fn replies(reply: Reply) -> Replies {
        Replies::from([((SERVER, None), reply)])
    }

    #[tokio::test]
    async fn who_is_to_answer_is_asked_and_nobody_else() {
        let mut check = asking();
        assert!(check.next.is_some());
        check.ask(None);
        assert_eq!(check.next, None);
    }

    #[tokio::test]
    async fn silence_is_a_problem_until_there_is_an_answer() {
        let (mut check, now) = (asking(), Instant::now());
        assert!(!check.learn(&replies(Reply::Right), now));
        assert!(check.learn(&replies(Reply::Silence), now));
        assert_eq!(check.problem().unwrap().reason, Reason::NotAnswering);
        assert!(!check.learn(&replies(Reply::Silence), now), "said once");
        assert!(check.learn(&replies(Reply::Wrong("server identifier 10.0.0.9".into())), now));
        assert!(check.problem().unwrap().message.contains("10.0.0.9"));
        assert!(check.learn(&replies(Reply::Right), now));
        assert_eq!(check.problem(), None);
    }

    #[tokio::test]
    async fn the_deaf_are_started_anew_less_and_less_often() {
        let (mut check, start) = (asking(), Instant::now());
        let mut restarts = Vec::new();
        for second in 0..400 {
            check.learn(&replies(Reply::Silence), start + Duration::from_secs(second));
            if check.is_hopeless(None) {
                restarts.push(second);
                check.begin_anew(None);
            }
        }
        assert_eq!(restarts, [30, 90, 210]);
        check.learn(&replies(Reply::Right), start);
        assert!(check.deaf.is_empty());
    }

    #[tokio::test]
    async fn what_is_asked_elsewhere_says_nothing_of_here() {
        let mut check = asking();
        check.learn(&replies(Reply::Silence), Instant::now());
        check.ask(Some(asked(SERVER)));
        assert!(check.problem().is_some());
        check.ask(Some(asked([10, 0, 0, 3])));
        assert_eq!(check.problem(), None);
    }
    #[tokio::test]
    async fn of_many_processes_only_the_deaf_one_is_named_and_started_anew() {
        let (mut check, start) = (asking(), Instant::now());
        let [one, two] = [1, 2].map(|n| Some(Share::new(Family::V4, n).unwrap()));
        let said = |of_two: Reply| {
            Replies::from([
                ((SERVER, None), Reply::Right),
                ((SERVER, one), Reply::Right),
                ((SERVER, two), of_two),
            ])
        };
        assert!(check.learn(&said(Reply::Silence), start));
        let message = &check.problem().unwrap().message;
        assert_eq!(message, "dnsmasq of share 2 does not answer a DHCPv4 question to 10.0.0.2");
        assert!(check.learn(&said(Reply::Silence), start + Duration::from_secs(30)));
        assert_eq!([None, one, two].map(|share| check.is_hopeless(share)), [false, false, true]);
        check.begin_anew(one);
        assert!(check.is_hopeless(two));
        check.begin_anew(two);
        assert!(!check.is_hopeless(two));
        assert!(check.learn(&said(Reply::Right), start) && check.problem().is_none());
    }

    #[tokio::test]
    async fn that_a_guest_went_says_nothing_of_its_share() {
        let share = Share::new(Family::V4, 1).unwrap();
        let guests = |n| BTreeMap::from([(share, MacAddr::local([n; 5]))]);
        let (mut check, all) = (asking(), asked(SERVER));
        check.learn(&replies(Reply::Silence), Instant::now());
        check.ask(Some(Asked { shares: guests(7), ..all }));
        assert!(check.problem().is_some(), "it is the same server");
        let said = Replies::from([((SERVER, None), Reply::Right), ((SERVER, Some(share)), Reply::Silence)]);
        let mut heard = |guests| {
            let mut said = said.clone();
            check.forget_moved(&mut said, &guests);
            check.learn(&said, Instant::now());
            (said.len(), check.deaf.contains_key(&Some(share)), check.problem().is_some())
        };
        assert_eq!(heard(guests(8)), (1, false, false), "it is not known to be deaf");
        assert_eq!(heard(guests(7)), (2, true, true));
        assert_eq!(heard(guests(8)), (1, true, true), "nor to answer again");
        let mut unasked = Replies::from([((SERVER, None), Reply::Right)]);
        check.forget_moved(&mut unasked, &guests(7));
        check.learn(&unasked, Instant::now());
        assert!(check.problem().is_some(), "nor one that could not be asked");
    }
}
