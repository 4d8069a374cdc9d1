//! What a network learns of its server and its segment while nobody tells it anything.
//!
//! Used by the network's worker, which is woken when there is news.

use std::sync::Arc;

use super::context::Context;
use super::declined::Declined;
use super::foreigners::Foreigners;
use super::hearing::Hearing;
use super::newcomers::Newcomers;
use super::selfcheck::Selfcheck;
use super::signal::Signal;
use crate::dnsmasq::{Server, Share};
use crate::host::Host;
use crate::node::Segment;
use crate::types::NetworkUid;

/// See the module.
pub(super) struct Senses {
    pub(super) hearing: Hearing,
    pub(super) declined: Declined,
    pub(super) selfcheck: Selfcheck,
    pub(super) foreigners: Foreigners,
    pub(super) newcomers: Newcomers,
}

impl Senses {
    pub(super) fn new() -> Self {
        Self {
            hearing: Hearing::new(),
            declined: Declined::default(),
            selfcheck: Selfcheck::default(),
            foreigners: Foreigners::default(),
            newcomers: Newcomers::default(),
        }
    }

    /// Returns when there is news. Cancel-safe.
    pub(super) async fn told<H: Host>(
        &mut self,
        context: &Arc<Context<H>>,
        uid: NetworkUid,
        signal: &Signal,
    ) {
        tokio::select! {
            () = self.hearing.told(context, uid, signal) => {}
            () = self.declined.told(context, uid) => {}
            () = self.selfcheck.told(context, uid) => {}
            () = self.foreigners.told(context, uid) => {}
            () = self.newcomers.told(context, uid) => {}
        }
    }

    /// dnsmasq was started, for the guests of this server.
    pub(super) fn begin_anew(&mut self, share: Option<Share>, server: &Server) {
        self.selfcheck.begin_anew(share);
        self.declined.begin_anew(server);
    }

    /// A process that only a fresh one can replace is not what shall be.
    pub(super) fn judge(&mut self, segment: &mut Segment) {
        let declined = std::mem::take(&mut self.hearing.declined);
        for (share, server) in segment.servers_mut() {
            self.declined.hear(&declined, server);
            let anew = self.selfcheck.is_hopeless(share) || self.declined.reopens(server);
            server.process.iter_mut().for_each(|process| process.current &= !anew);
        }
    }
}
