//! What can happen, drawn from random numbers: the same for the same seed, whatever the time.

use std::time::Duration;

use super::lans::{LANS, STEADY};
use crate::random::Random;

/// One thing that happens. `seed` chooses what is known only when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Node(usize, NodeAct),
    Plane(PlaneAct),
    Controller { leads: bool, stands_still: bool },
    Objects(ObjectAct),
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAct {
    KillAgent,
    PowerOff,
    CutApi,
    CutUplink { lan: usize },
    RemoveBridge { lan: usize },
    FillDisk,
    Drain,
    KillServer { seed: u64 },
    KillServers,
    DeleteNamespace { seed: u64 },
    DeleteDevice { seed: u64 },
    FlushFirewall { seed: u64 },
}

/// What happens to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaneAct {
    Kill,
    Hang,
    RestartEtcd,
}

/// What happens to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectAct {
    Ports { seed: u64 },
    Subnet { lan: usize },
    Network { lan: usize },
    Namespace { lan: usize },
    PhysicalNetwork { lan: usize },
    DeleteServer { seed: u64 },
    DeleteAllocation { seed: u64 },
}

/// An act, how long it lasts if it does, and the time until the next one.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    pub act: Act,
    pub lasts: Duration,
    pub pause: Duration,
}

impl Drawn {
    pub fn new(random: &mut Random) -> Self {
        let act = act(random);
        // A third is long enough for an agent to be called dead and to be replaced.
        let long = random.below(3) == 0;
        let (least, more) = if long { (18_000, 8_000) } else { (200, 6_000) };
        let lasts = Duration::from_millis(least + random.below(more));
        let pause = Duration::from_millis(random.below(2_500));
        Self { act, lasts, pause }
    }
}

impl Act {
    /// Whether it is over when it has happened.
    pub fn is_brief(self) -> bool {
        use NodeAct::{DeleteDevice, DeleteNamespace, FlushFirewall, KillServer, KillServers};
        match self {
            Self::Node(_, act) => matches!(
                act,
                KillServer { .. }
                    | KillServers
                    | DeleteNamespace { .. }
                    | DeleteDevice { .. }
                    | FlushFirewall { .. }
            ),
            Self::Plane(act) => act == PlaneAct::RestartEtcd,
            Self::Controller { .. } => false,
            Self::Objects(act) => matches!(
                act,
                ObjectAct::Ports { .. } | ObjectAct::DeleteServer { .. } | ObjectAct::DeleteAllocation { .. }
            ),
        }
    }

    /// Whether it may happen while `other` lasts.
    pub fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Node(a, _), Self::Node(b, _)) => a != b,
            // Nobody can ask for it; or nobody can put it right, or nobody knows what was lost.
            (Self::Controller { .. }, Self::Controller { .. })
            | (Self::Plane(_) | Self::Objects(_) | Self::Node(_, NodeAct::Drain), Self::Plane(_))
            | (Self::Objects(ObjectAct::DeleteAllocation { .. }), _)
            | (Self::Objects(ObjectAct::DeleteServer { .. }), Self::Node(..)) => false,
            (Self::Objects(a), Self::Objects(b)) => {
                matches!(a, ObjectAct::Ports { .. } | ObjectAct::DeleteServer { .. }) || a.lan() != b.lan()
            }
            _ => true,
        }
    }
}

impl ObjectAct {
    /// What it is about; a namespace is all that is in it.
    fn lan(self) -> &'static str {
        match self {
            Self::Subnet { lan }
            | Self::Network { lan }
            | Self::Namespace { lan }
            | Self::PhysicalNetwork { lan } => LANS[lan].namespace,
            _ => "",
        }
    }
}

fn act(random: &mut Random) -> Act {
    let (node, lan) = (1 + random.index(3), random.index(LANS.len()));
    let (seed, kind) = (random.below(u64::MAX), random.below(40));
    let on_node = |act| Act::Node(node, act);
    let restless = STEADY + lan % (LANS.len() - STEADY);
    match kind {
        0 | 1 => on_node(NodeAct::KillAgent),
        2 | 3 => on_node(NodeAct::PowerOff),
        4 | 5 => on_node(NodeAct::CutApi),
        6 => on_node(NodeAct::CutUplink { lan }),
        7 => on_node(NodeAct::RemoveBridge { lan }),
        8 => on_node(NodeAct::FillDisk),
        9 => on_node(NodeAct::Drain),
        10 => on_node(NodeAct::KillServer { seed }),
        11 => on_node(NodeAct::KillServers),
        12 => on_node(NodeAct::DeleteNamespace { seed }),
        13 => on_node(NodeAct::DeleteDevice { seed }),
        14 => on_node(NodeAct::FlushFirewall { seed }),
        15 => Act::Plane(PlaneAct::Kill),
        16 => Act::Plane(PlaneAct::Hang),
        17 => Act::Plane(PlaneAct::RestartEtcd),
        18..22 => Act::Controller { leads: kind < 20, stands_still: kind % 2 == 0 },
        22 => Act::Objects(ObjectAct::Subnet { lan: restless }),
        23 => Act::Objects(ObjectAct::Network { lan: restless }),
        24 => Act::Objects(ObjectAct::Namespace { lan: restless }),
        25 => Act::Objects(ObjectAct::PhysicalNetwork { lan: restless }),
        26 => Act::Objects(ObjectAct::DeleteServer { seed }),
        27 => Act::Objects(ObjectAct::DeleteAllocation { seed }),
        _ => Act::Objects(ObjectAct::Ports { seed }),
    }
}
