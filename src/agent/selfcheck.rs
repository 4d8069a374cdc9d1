//! Whether a network's own server answers: asked at intervals, as a guest would ask.
//!
//! Used by the network's worker. A server that dnsmasq's acceptance of its lines speaks for is believed to
//! serve until it leaves a question unanswered; then it does not, until it answers one. One that is deaf for
//! long is to be started anew, less and less often: the cause may be another.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::context::Context;
use crate::backoff::{Backoff, chance};
use crate::host::{Asked, Error, Host, Reply};
use crate::reason::{Problem, Reason};
use crate::types::NetworkUid;

/// Networks ask at different times of this.
const EVERY: Duration = Duration::from_secs(30);
/// Who waits for an answer wants to see it soon.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a server is deaf before it is started anew.
const RESTART: Backoff = Backoff { first: Duration::from_secs(30), last: Duration::from_secs(30 * 60) };

type Replies = BTreeMap<IpAddr, Reply>;

/// See the module.
#[derive(Default)]
pub(super) struct Selfcheck {
    /// `None`: nobody is to be asked.
    asked: Option<Asked>,
    question: Option<AbortOnDropHandle<Result<Replies, Error>>>,
    next: Option<Instant>,
    /// What was not answered last.
    unanswered: Option<Problem>,
    /// Since when, or since the last restart for that.
    since: Option<Instant>,
    restarts: u32,
    /// Whether it is to be started anew.
    hopeless: bool,
}

impl Selfcheck {
    /// From now on this server is to answer.
    pub(super) fn ask(&mut self, asked: Option<Asked>) {
        if asked == self.asked {
            return;
        }
        let next = asked.as_ref().map(|_| Instant::now() + EVERY.mul_f64(chance()));
        *self = Self { asked, next, ..Self::default() };
    }

    /// dnsmasq was started: what was asked before tells nothing.
    pub(super) fn begin_anew(&mut self) {
        self.question = None;
        self.hopeless = false;
        if let Some(next) = &mut self.next {
            *next = (*next).max(Instant::now() + AGAIN);
        }
    }

    /// Why the server cannot be said to serve.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.unanswered.as_ref()
    }

    /// Whether it was deaf for so long that it is to be started anew.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Returns when something else is known than before. Cancel-safe: the question goes on.
    pub(super) async fn told<H: Host>(&mut self, context: &Arc<Context<H>>, uid: NetworkUid) {
        loop {
            let Some((next, asked)) = self.next.zip(self.asked.as_ref()) else { return pending().await };
            if self.question.is_none() {
                sleep_until(next).await;
            }
            let question = self.question.get_or_insert_with(|| {
                let (context, asked) = (context.clone(), asked.clone());
                let ask = async move { context.host.ask(uid, &asked).await };
                AbortOnDropHandle::new(tokio::spawn(ask))
            });
            let answer = question.await;
            self.question = None;
            let now = Instant::now();
            let news = match answer {
                Ok(Ok(replies)) => {
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
            self.next = Some(now + if self.unanswered.is_some() { AGAIN } else { EVERY });
            if news {
                return;
            }
        }
    }

    /// Whether that is new, or something is to be done about it.
    fn learn(&mut self, replies: &Replies, now: Instant) -> bool {
        let before = self.unanswered.take();
        self.unanswered = unanswered(replies);
        match (&before, &self.unanswered) {
            (None, None) => {}
            (Some(_), None) => {
                info!("dnsmasq answers again");
                (self.since, self.restarts, self.hopeless) = (None, 0, false);
            }
            (_, Some(problem)) => {
                if before.is_none() {
                    warn!("{problem}");
                }
                let since = *self.since.get_or_insert(now);
                if !self.hopeless && now.duration_since(since) >= RESTART.after(self.restarts) {
                    warn!("dnsmasq is deaf for long, and is started anew");
                    (self.since, self.hopeless) = (Some(now), true);
                    self.restarts = self.restarts.saturating_add(1);
                    return true;
                }
            }
        }
        before != self.unanswered
    }
}

/// What is wrong with the replies.
fn unanswered(replies: &Replies) -> Option<Problem> {
    let wrong = |(ip, reply): (&IpAddr, &Reply)| match reply {
        Reply::Right => None,
        Reply::Wrong(what) => Some(format!("a {} question to {ip} is answered with {what}", protocol(*ip))),
        Reply::Silence => Some(format!("dnsmasq does not answer a {} question to {ip}", protocol(*ip))),
    };
    let wrong: Vec<_> = replies.iter().filter_map(wrong).collect();
    (!wrong.is_empty()).then(|| Problem::new(Reason::NotAnswering, wrong.join("; ")))
}

fn protocol(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "DHCPv4" } else { "DHCPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Attached;
    use crate::service::Asker;
    use crate::types::MacAddr;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn server(ip: impl Into<IpAddr>) -> Asked {
        let asker = Asker { mac: MacAddr::local([1; 5]), device: MacAddr::local([2; 5]) };
        let attached = Attached::Bridge { bridge: "br0".into(), vlan: None };
        Asked { asker, attached, servers: [ip.into()].into() }
    }

    fn asking() -> Selfcheck {
        let mut check = Selfcheck::default();
        check.ask(Some(server(SERVER)));
        check
    }

    fn replies(reply: Reply) -> Replies {
        Replies::from([(SERVER, reply)])
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
            if check.is_hopeless() {
                restarts.push(second);
                check.begin_anew();
            }
        }
        assert_eq!(restarts, [30, 90, 210]);
        check.learn(&replies(Reply::Right), start);
        assert_eq!((check.restarts, check.since), (0, None));
    }

    #[tokio::test]
    async fn what_is_asked_elsewhere_says_nothing_of_here() {
        let mut check = asking();
        check.learn(&replies(Reply::Silence), Instant::now());
        check.ask(Some(server(SERVER)));
        assert!(check.problem().is_some());
        check.ask(Some(server([10, 0, 0, 3])));
        assert_eq!(check.problem(), None);
    }
}
