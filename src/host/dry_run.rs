//! A node that exists in memory only: for `kube-dhcp plan` and for tests of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::{Applied, Asked, Ends, Error, Host, Leases, NodeLink, Reply, Said, Solicitor, Whom};
use crate::foreign::Heard;
use crate::node::{Action, Attached, Newcomer, Rule, Segment};
use crate::types::{Identifier, MacAddr, NetworkUid};

/// Records actions instead of doing them.
#[derive(Debug, Default)]
pub struct DryRun {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<NetworkUid, Segment>,
    actions: Vec<(NetworkUid, Action)>,
    fail_at: Option<usize>,
}

impl DryRun {
    /// A node that holds `segments`.
    pub fn new(segments: BTreeMap<NetworkUid, Segment>) -> Self {
        Self { state: Mutex::new(State { segments, ..State::default() }) }
    }

    /// The action after `n` successful ones from now fails, once.
    pub fn fail_after(&self, n: usize) {
        self.with(|state| state.fail_at = Some(state.actions.len() + n));
    }

    /// What it was told, in this order.
    pub fn actions(&self) -> Vec<(NetworkUid, Action)> {
        self.with(|state| state.actions.clone())
    }

    /// What it holds.
    pub fn segments(&self) -> BTreeMap<NetworkUid, Segment> {
        self.with(|state| state.segments.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn apply(&mut self, uid: NetworkUid, action: &Action) -> Result<Applied, Error> {
        if self.fail_at == Some(self.actions.len()) {
            self.fail_at = None;
            return Err(Error::Ordered);
        }
        self.segments.entry(uid).or_default().record(action);
        self.actions.push((uid, action.clone()));
        Ok(Applied::default())
    }
}

impl Host for DryRun {
    async fn networks(&self) -> Result<BTreeSet<NetworkUid>, Error> {
        let present = |state: &mut State| {
            let segments = state.segments.iter().filter(|(_, segment)| !segment.is_absent());
            segments.map(|(uid, _)| *uid).collect()
        };
        Ok(self.with(present))
    }

    async fn observe(&self, uid: NetworkUid, _wanted: Option<&Attached>) -> Result<Segment, Error> {
        Ok(self.with(|state| state.segments.get(&uid).cloned().unwrap_or_default()))
    }

    async fn can_have(&self, _rule: Rule) -> Result<bool, Error> {
        Ok(true)
    }

    async fn can_share_dhcpv6(&self) -> bool {
        true
    }

    async fn apply(&self, uid: NetworkUid, _label: &str, action: &Action) -> Result<Applied, Error> {
        self.with(|state| state.apply(uid, action))
    }

    async fn link(&self, _attached: &Attached) -> Result<Option<NodeLink>, Error> {
        Ok(Some(NodeLink { up: true, mtu: Some(1500), filters_vlans: false }))
    }

    fn links_changed(&self) -> Arc<Notify> {
        Arc::default()
    }

    async fn announce(&self, _uid: NetworkUid) -> Result<(), Error> {
        Ok(())
    }

    async fn who_has(
        &self,
        _uid: NetworkUid,
        _addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, MacAddr>, Error> {
        Ok(BTreeMap::new())
    }

    async fn leases(&self, uid: NetworkUid) -> Result<Leases, Error> {
        let segment = self.with(|state| state.segments.get(&uid).cloned().unwrap_or_default());
        Ok(segment.servers().map(|(share, server)| (share, server.leases.clone())).collect())
    }

    async fn said(&self, _uid: NetworkUid, _from: Option<&Ends>) -> Result<Said, Error> {
        Ok(Said::default())
    }

    async fn solicitors(&self, _uid: NetworkUid, _duids: &BTreeSet<String>) -> Result<Vec<Solicitor>, Error> {
        Ok(Vec::new())
    }

    async fn newcomers(
        &self,
        _uid: NetworkUid,
        _duids: &BTreeSet<Identifier>,
    ) -> Result<mpsc::Receiver<Newcomer>, Error> {
        Ok(mpsc::channel(1).1)
    }

    async fn ask(&self, _uid: NetworkUid, asked: &Asked) -> Result<BTreeMap<Whom, Reply>, Error> {
        Ok(asked.servers.iter().map(|server| ((*server, None), Reply::Right)).collect())
    }

    async fn overhear(&self, _uid: NetworkUid) -> Result<mpsc::Receiver<Heard>, Error> {
        Ok(mpsc::channel(1).1)
    }

    async fn sweep_bridges(&self, _wanted: &BTreeSet<String>) -> Result<(), Error> {
        Ok(())
    }

    fn events(&self) -> mpsc::Receiver<NetworkUid> {
        mpsc::channel(1).1
    }

    fn writes(&self) -> mpsc::Receiver<NetworkUid> {
        mpsc::channel(1).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_holds_what_it_was_told_and_fails_when_ordered() {
        let host = DryRun::default();
        let uid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        host.fail_after(1);
        host.apply(uid, "a/b", &Action::CreateNamespace).await.unwrap();
        host.apply(uid, "a/b", &Action::DeleteNamespace).await.unwrap_err();
        assert_eq!(host.networks().await.unwrap(), BTreeSet::from([uid]));
        host.apply(uid, "a/b", &Action::DeleteNamespace).await.unwrap();
        assert!(host.networks().await.unwrap().is_empty());
        assert_eq!(host.actions().len(), 2);
    }
}
