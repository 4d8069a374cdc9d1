//! The cluster, and what is done to it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::acts::{Act, NodeAct, ObjectAct, PlaneAct};
use super::lans::{LANS, Lan, restless};
use super::users::Users;
use super::wire::Wire;
use crate::lab::output;
use crate::observer::Observer;
use crate::random::Random;
use crate::site::{Node, Site};

/// How long an allocation that somebody deleted may be missing.
const MENDED: Duration = Duration::from_secs(20);

/// See the module.
pub struct Stage {
    pub site: Site,
    pub users: Users,
    pub observer: Observer,
    pub wire: Wire,
    pub began: Instant,
    /// Controllers that were started and not killed, and those of them that stand still.
    pub running: BTreeSet<usize>,
    pub still: BTreeSet<usize>,
}

impl Stage {
    pub async fn new() -> Self {
        let mut site = Site::with_small_disks(3, LANS.len()).await;
        for node in 1..=3 {
            site.start_agent(node, &["--resync-seconds=20"]);
        }
        let began = Instant::now();
        let observer = Observer::start(&site.client());
        let users = Users::new(site.client(), &observer);
        let wire = Wire::start(site.street.clone(), observer.share(), users.swapped.clone(), began);
        let (running, still) = (BTreeSet::new(), BTreeSet::new());
        let mut stage = Self { site, users, observer, wire, began, running, still };
        stage.start_controllers();
        stage
    }

    pub fn tell(&self, what: &str) {
        println!("{:7.2} {what}", self.began.elapsed().as_secs_f64());
    }

    /// Until there are two.
    pub fn start_controllers(&mut self) {
        while self.running.len() < 2 {
            self.running.insert(self.site.controllers());
            self.site.start_controller(&["--reschedule-after=5"]);
        }
    }

    /// Whether it was done.
    pub async fn begin(&mut self, act: Act) -> bool {
        match act {
            Act::Node(node, act) => self.hurt(node, act).await,
            Act::Plane(PlaneAct::Kill) => self.site.plane.stop_api(),
            Act::Plane(PlaneAct::Hang) => self.site.plane.freeze_api(),
            Act::Plane(PlaneAct::RestartEtcd) => self.site.plane.restart_etcd(),
            Act::Controller { leads, stands_still } => return self.strike(leads, stands_still).await,
            Act::Objects(act) => return self.disturb(act).await,
        }
        true
    }

    async fn hurt(&mut self, number: usize, act: NodeAct) {
        let node = &mut self.site.nodes[number - 1];
        match act {
            NodeAct::KillAgent => node.kill_agent(),
            NodeAct::PowerOff => self.site.power_off(number),
            NodeAct::CutApi => node.connect(false),
            NodeAct::CutUplink { lan } => self.site.connect_uplink(number, lan, false),
            NodeAct::RemoveBridge { lan } => self.site.remove_bridge(number, lan),
            NodeAct::FillDisk => node.fill_disk(true),
            NodeAct::Drain => drop(self.users.drain(&format!("n{number}"), true).await),
            NodeAct::KillServers => node.servers().into_iter().for_each(|pid| node.kill(pid)),
            NodeAct::KillServer { seed } => {
                if let Some(pid) = chosen(&node.servers(), seed) {
                    node.kill(pid);
                }
            }
            NodeAct::DeleteNamespace { seed } => on_namespace(node, seed, None, "ip netns del"),
            NodeAct::DeleteDevice { seed } => on_namespace(node, seed, Some(()), "ip link del dhcp0"),
            NodeAct::FlushFirewall { seed } => {
                on_namespace(node, seed, Some(()), "iptables -w -t mangle -F POSTROUTING");
            }
        }
    }

    /// A controller is killed or stands still; not one that does already.
    async fn strike(&mut self, leads: bool, stands_still: bool) -> bool {
        let leader = tokio::time::timeout(Duration::from_secs(2), self.site.leader()).await.ok().flatten();
        let able: Vec<_> = self.running.difference(&self.still).copied().collect();
        let Some(struck) = able.iter().copied().find(|n| (Some(*n) == leader) == leads) else { return false };
        self.tell(&format!("  controller {struck}"));
        if stands_still {
            signal(self.site.controller(struck).id(), Signal::STOP);
            self.still.insert(struck);
        } else {
            self.site.controller(struck).kill().unwrap();
            self.site.controller(struck).wait().unwrap();
            self.running.remove(&struck);
        }
        true
    }

    async fn disturb(&mut self, act: ObjectAct) -> bool {
        match act {
            ObjectAct::Ports { seed } => {
                let did = self.users.churn(Random(seed)).await;
                self.tell(&format!("  {did}"));
                true
            }
            ObjectAct::Subnet { lan } => self.take("Subnet", &LANS[lan], &LANS[lan].subnet_name()).await,
            ObjectAct::Network { lan } => self.take("Network", &LANS[lan], LANS[lan].network).await,
            ObjectAct::PhysicalNetwork { lan } => {
                self.users.rebuild(&LANS[lan]);
                self.users.delete("PhysicalNetwork", "", &crate::site::lan_name(lan)).await;
                true
            }
            ObjectAct::Namespace { lan } => self.take_namespace(LANS[lan].namespace).await,
            ObjectAct::DeleteServer { seed } => self.delete_server(seed).await,
            ObjectAct::DeleteAllocation { seed } => self.delete_allocation(seed).await,
        }
    }

    /// Whether the API server took it or not: what it did not say it may have done.
    async fn take(&self, kind: &str, lan: &Lan, name: &str) -> bool {
        self.users.rebuild(lan);
        self.users.delete(kind, lan.namespace, name).await;
        true
    }

    /// With it go the objects that say who may still serve what: nobody can wait for them.
    async fn take_namespace(&self, namespace: &str) -> bool {
        let Some(servers) = self.users.list("DHCPServer").await else { return false };
        let inside = servers.iter().filter(|server| server["metadata"]["namespace"] == namespace);
        inside.for_each(|server| self.disown(server));
        lans_of(namespace).for_each(|lan| self.users.rebuild(lan));
        self.users.delete("Namespace", "", namespace).await;
        true
    }

    fn disown(&self, server: &Value) {
        let text = |pointer: &str| server.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let device = (text("/spec/networkRef/uid"), text("/spec/nodeName"));
        self.wire.context.lock().unwrap().disowned.insert(device);
    }

    async fn delete_server(&self, seed: u64) -> bool {
        let servers = self.users.list("DHCPServer").await.unwrap_or_default();
        let Some(server) = chosen(&servers, seed) else { return false };
        self.disown(&server);
        let (namespace, name) = name_of(&server);
        self.tell(&format!("  {namespace}/{name}"));
        self.users.delete("DHCPServer", &namespace, &name).await
    }

    /// Of one who is there: it is made again, and nobody's address changes.
    async fn delete_allocation(&self, seed: u64) -> bool {
        let mut held = self.users.list("IPAllocation").await.unwrap_or_default();
        held.retain(|allocation| allocation["spec"].get("released").is_none());
        let Some(allocation) = chosen(&held, seed) else { return false };
        let (namespace, name) = name_of(&allocation);
        self.tell(&format!("  {namespace}/{name} of {}", allocation["spec"]["holder"]));
        if !self.users.delete("IPAllocation", &namespace, &name).await {
            return false;
        }
        let api = self.users.api("IPAllocation", &namespace);
        let look = async || {
            let there = api.get_opt(&name).await.unwrap();
            let again = there.is_some_and(|now| now.data["spec"]["holder"] == allocation["spec"]["holder"]);
            if again { Ok(true) } else { Err(format!("{name} is not made again")) }
        };
        self.site.eventually(MENDED, look).await
    }

    /// Whether it is over: else it is to be asked for again.
    pub async fn end(&mut self, act: Act) -> bool {
        match act {
            Act::Node(number, act) => return self.heal(number, act).await,
            Act::Plane(PlaneAct::Kill) => self.site.plane.start_api().await,
            Act::Plane(PlaneAct::Hang) => self.site.plane.thaw_api(),
            Act::Plane(PlaneAct::RestartEtcd) => {}
            Act::Controller { .. } => {
                for controller in std::mem::take(&mut self.still) {
                    signal(self.site.controller(controller).id(), Signal::CONT);
                }
                self.start_controllers();
            }
            Act::Objects(act) => return self.restore(act).await,
        }
        true
    }

    async fn heal(&mut self, number: usize, act: NodeAct) -> bool {
        match act {
            NodeAct::KillAgent => self.start_agent(number),
            NodeAct::PowerOff => {
                self.site.power_on(number);
                self.start_agent(number);
            }
            NodeAct::CutApi => self.site.nodes[number - 1].connect(true),
            NodeAct::CutUplink { lan } => self.site.connect_uplink(number, lan, true),
            NodeAct::RemoveBridge { lan } => self.site.restore_bridge(number, lan),
            NodeAct::FillDisk => self.site.nodes[number - 1].fill_disk(false),
            NodeAct::Drain => return self.users.drain(&format!("n{number}"), false).await,
            _ => {}
        }
        true
    }

    fn start_agent(&mut self, number: usize) {
        self.site.start_agent(number, &["--resync-seconds=20"]);
    }

    async fn restore(&mut self, act: ObjectAct) -> bool {
        match act {
            ObjectAct::Subnet { lan } | ObjectAct::Network { lan } | ObjectAct::PhysicalNetwork { lan } => {
                self.apply_lan(&LANS[lan]).await
            }
            ObjectAct::Namespace { lan } => self.restore_namespace(LANS[lan].namespace).await,
            _ => true,
        }
    }

    /// A namespace and all that is wanted in it; not while it is being deleted.
    pub async fn restore_namespace(&self, namespace: &str) -> bool {
        if self.users.is_ending(namespace).await || !self.users.make_namespace(namespace).await {
            return false;
        }
        let mut done = true;
        for lan in lans_of(namespace) {
            done &= self.apply_lan(lan).await && self.users.apply_ports(lan).await;
        }
        done
    }

    async fn apply_lan(&self, lan: &Lan) -> bool {
        let revision = self.users.apply_lan(lan).await;
        if let Some(revision) = revision {
            self.users.rebuilt(lan, revision);
        }
        revision.is_some()
    }

    /// Nobody ended by itself, and nothing was seen that must not be.
    pub fn assert_good(&mut self) {
        let faults = [self.observer.faults(), self.wire.faults()].concat();
        assert!(faults.is_empty(), "{faults:#?}\n{}", self.site.logs());
        for controller in self.running.clone() {
            let ended = self.site.controller(controller).try_wait().unwrap();
            assert!(ended.is_none(), "controller {controller} ended: {ended:?}\n{}", self.site.logs());
        }
        for node in &mut self.site.nodes {
            let ended = node.agent_ended();
            assert!(ended.is_none(), "the agent of {} ended: {ended:?}", node.name);
        }
        for log in self.site.log_files() {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
            assert!(!text.contains("panicked"), "{}: {text}", log.display());
        }
    }
}

fn lans_of(namespace: &str) -> impl Iterator<Item = &'static Lan> {
    restless().filter(move |lan| lan.namespace == namespace)
}

fn chosen<T: Clone>(all: &[T], seed: u64) -> Option<T> {
    (!all.is_empty()).then(|| all[Random(seed).index(all.len())].clone())
}

fn name_of(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (text("namespace"), text("name"))
}

/// Runs a command line in one of the node's namespaces, or with its name. It may be gone already.
fn on_namespace(node: &Node, seed: u64, inside: Option<()>, line: &str) {
    let Some(netns) = chosen(&node.lab.netns_names(), seed) else { return };
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let mut command: Command = match inside {
        Some(()) => node.lab.command_in(&netns, program),
        None => node.lab.command(program),
    };
    command.args(words).args(inside.is_none().then_some(&netns));
    drop(output(&mut command));
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}
