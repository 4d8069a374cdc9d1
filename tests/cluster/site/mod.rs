//! A cluster for tests: a control plane, a controller, and nodes that share one L2 segment.
//!
//! Each node is a machine of its own with bridges `br0`, `br1`, … whose uplinks lead to the street,
//! another machine where the guests are. Agents and controller run with their own service accounts.

mod node;
mod watchman;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use crate::control_plane::{ControlPlane, Settings, bridge_to_nodes};
use crate::inside::sh;
use crate::lab::{Lab, spawn};
pub use node::Node;
use node::{Disk, log_level};
use watchman::Watchman;

/// The program: Cargo says to tests where it is, others find it in their PATH.
pub const BIN: &str = match option_env!("CARGO_BIN_EXE_kube-dhcp") {
    Some(path) => path,
    None => "kube-dhcp",
};

/// Our own namespace.
pub const SYSTEM: &str = "kube-dhcp-system";

/// How long a test waits for what must happen. Generous: it is only ever reached by a failure.
pub const LONG: Duration = Duration::from_secs(120);

/// A cluster.
pub struct Site {
    pub plane: ControlPlane,
    pub street: Arc<Lab>,
    pub nodes: Vec<Node>,
    /// Bridges of each node.
    lans: usize,
    controllers: Vec<Child>,
    controller_kubeconfig: PathBuf,
    logs: PathBuf,
    watchman: Option<Watchman>,
}

impl Site {
    /// With nodes n1, n2, …, no agent and no controller yet.
    pub async fn new(nodes: usize) -> Self {
        Self::with_lans(nodes, 1).await
    }

    /// The same with this many bridges on each node: physical networks `lan`, `lan1`, `lan2`, …
    pub async fn with_lans(nodes: usize, lans: usize) -> Self {
        let mut site = Self::with_disks(nodes, lans, Disk::of_the_machine).await;
        site.watchman = Some(Watchman::start(&site.street, lans));
        site
    }

    /// The same, each node with a disk of its own that can be full, and nobody who looks for NAKs. Only in a
    /// mount namespace of ours.
    pub async fn with_small_disks(nodes: usize, lans: usize) -> Self {
        sh("mount -t tmpfs -o mode=755 none /mnt");
        Self::with_disks(nodes, lans, Disk::small).await
    }

    async fn with_disks(count: usize, lans: usize, disk: fn() -> Disk) -> Self {
        // Its directory is one that the nodes see, too; etcd's data is in memory.
        let data = Some("/run/etcd".into());
        let plane =
            ControlPlane::start_with(Settings { addresses: bridge_to_nodes(), data, ..Settings::default() })
                .await;
        plane.install().await;
        let token = plane.service_account_token(SYSTEM, "controller", None).await;
        let controller_kubeconfig = plane.kubeconfig("controller", &token);
        let street = Arc::new(Lab::new());
        (0..lans).for_each(|lan| street.bridge(&format!("br{lan}")));
        let logs = plane.directory().join("logs");
        std::fs::create_dir_all(&logs).unwrap();
        let (nodes_to_come, controllers) = (Vec::new(), Vec::new());
        let (nodes, watchman) = (nodes_to_come, None);
        let mut site =
            Self { plane, street, nodes, lans, controllers, controller_kubeconfig, logs, watchman };
        for number in 1..=count {
            site.add_node(number, disk()).await;
        }
        site
    }

    async fn add_node(&mut self, number: usize, disk: Disk) {
        let name = format!("n{number}");
        self.plane.node(&name, &[("topology.kubernetes.io/zone", &format!("z{number}"))]).await;
        let token = self.plane.service_account_token(SYSTEM, "agent", Some(&name)).await;
        let kubeconfig = self.plane.kubeconfig(&name, &token);
        let lab = Lab::new();
        self.connect_machine(number, &lab);
        let physical = |lan: usize| format!("--physical-network={}=bridge:br{lan}", lan_name(lan));
        let flags = (0..self.lans).map(physical).collect();
        self.nodes.push(Node { name, lab, kubeconfig, number, agents: 0, child: None, disk, flags });
    }

    /// A way to the API server, and uplinks to the street.
    fn connect_machine(&self, number: usize, lab: &Lab) {
        let (node, street) = (lab.init_pid(), self.street.init_pid());
        sh(&format!(
            "ip link add m{number} type veth peer name mgmt netns {node}; ip link set m{number} master kc0 up"
        ));
        lab.run(&format!("ip address add 10.99.0.{}/24 dev mgmt", 10 + number));
        lab.run("ip link set mgmt up");
        for lan in 0..self.lans {
            lab.bridge(&format!("br{lan}"));
            let (port, uplink) = (format!("t{number}-{lan}"), format!("uplink{lan}"));
            sh(&format!(
                "ip link add {port} type veth peer name {uplink} netns {node}; ip link set {port} netns {street}"
            ));
            lab.run(&format!("ip link set {uplink} master br{lan} up"));
            self.street.run(&format!("ip link set {port} master br{lan} up"));
        }
    }

    /// A node loses its power: everything on it ends at once, and is cut off.
    pub fn power_off(&mut self, number: usize) {
        sh(&format!("ip link del m{number}"));
        for lan in 0..self.lans {
            self.street.run(&format!("ip link del t{number}-{lan}"));
        }
        let node = &mut self.nodes[number - 1];
        node.lab = Lab::new();
        if let Some(mut child) = node.child.take() {
            let _ = child.wait();
        }
    }

    /// It comes back, with what is on its disk; its agent is to be started.
    pub fn power_on(&mut self, number: usize) {
        self.connect_machine(number, &self.nodes[number - 1].lab);
    }

    /// Cuts a node's uplink to a bridge of the street, or connects it again.
    pub fn connect_uplink(&self, number: usize, lan: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        self.street.run(&format!("ip link set t{number}-{lan} {state}"));
    }

    /// A node's bridge goes; what was in it stays without one.
    pub fn remove_bridge(&self, number: usize, lan: usize) {
        self.nodes[number - 1].lab.run(&format!("ip link del br{lan}"));
    }

    /// It is made again, with the uplink in it.
    pub fn restore_bridge(&self, number: usize, lan: usize) {
        let lab = &self.nodes[number - 1].lab;
        // The agent may have made it.
        if !lab.exists(&format!("/sys/class/net/br{lan}")) {
            lab.bridge(&format!("br{lan}"));
        }
        lab.run(&format!("ip link set uplink{lan} master br{lan} up"));
    }

    /// Starts a controller with these flags besides the usual ones.
    pub fn start_controller(&mut self, flags: &[&str]) {
        self.start_controller_of(BIN, flags);
    }

    /// The same with a program of another version.
    pub fn start_controller_of(&mut self, program: &str, flags: &[&str]) {
        let log = File::create(self.logs.join(format!("controller-{}.log", self.controllers.len()))).unwrap();
        let mut command = Command::new(program);
        let identity = format!("--identity=c{}", self.controllers.len());
        command.args(["controller", &identity, "--kubeconfig"]).arg(&self.controller_kubeconfig);
        if !flags.iter().any(|flag| flag.starts_with("--listen")) {
            command.arg("--listen=off");
        }
        log_level(&mut command);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.controllers.push(spawn(&mut command));
    }

    /// The controller that was started as the n-th, from 0.
    pub fn controller(&mut self, n: usize) -> &mut Child {
        &mut self.controllers[n]
    }

    /// How many controllers were started.
    pub fn controllers(&self) -> usize {
        self.controllers.len()
    }

    /// Which controller has the leader's Lease, whether it lives or not.
    pub async fn leader(&self) -> Option<usize> {
        let leases: Api<Lease> = Api::namespaced(self.client(), SYSTEM);
        let holder = leases.get("kube-dhcp-controller").await.ok()?.spec?.holder_identity?;
        holder.strip_prefix('c')?.split_once('_')?.0.parse().ok()
    }

    /// Starts the agents of all nodes.
    pub fn start_agents(&mut self) {
        for node in &mut self.nodes {
            node.start_agent(BIN, &self.logs, &[]);
        }
    }

    /// Starts the agent of one node, by its number from 1.
    pub fn start_agent(&mut self, number: usize, flags: &[&str]) {
        self.start_agent_of(BIN, number, flags);
    }

    /// The same with a program of another version.
    pub fn start_agent_of(&mut self, program: &str, number: usize, flags: &[&str]) {
        let logs = self.logs.clone();
        self.nodes[number - 1].start_agent(program, &logs, flags);
    }

    /// All of it: control plane, controller, agents, one physical network `lan` that all may use.
    pub async fn running(nodes: usize) -> Self {
        let mut site = Self::new(nodes).await;
        site.apply(LAN).await;
        site.start_controller(&[]);
        site.start_agents();
        site
    }

    pub fn client(&self) -> Client {
        self.plane.admin()
    }

    /// Applies YAML, as `kubectl apply` does.
    pub async fn apply(&self, yaml: &str) {
        let documents = serde_saphyr::from_multiple::<Value>(yaml).unwrap();
        for document in documents.iter().filter(|document| !document.is_null()) {
            self.apply_object(document).await;
        }
    }

    pub async fn apply_object(&self, object: &Value) {
        let (api, name) = self.api_of(object);
        let parameters = kube::api::PatchParams::apply("test").force();
        api.patch(&name, &parameters, &kube::api::Patch::Apply(object)).await.unwrap();
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        let api = self.api(kind);
        api.delete(name, &kube::api::DeleteParams::default()).await.unwrap();
    }

    fn api_of(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
        let api = match text("/metadata/namespace") {
            "" => Api::all_with(self.client(), &resource),
            namespace => Api::namespaced_with(self.client(), namespace, &resource),
        };
        (api, text("/metadata/name").to_owned())
    }

    /// The objects of one of our kinds: of the namespace `default`, or without one.
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kube-dhcp.io", "v1alpha1", kind));
        match kind {
            "PhysicalNetwork" | "DHCPAgent" => Api::all_with(self.client(), &resource),
            _ => Api::namespaced_with(self.client(), "default", &resource),
        }
    }

    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let object = self.api(kind).get_opt(name).await.ok().flatten()?;
        Some(serde_json::to_value(object).unwrap())
    }

    pub async fn list(&self, kind: &str) -> Vec<Value> {
        let list = self.api(kind).list(&kube::api::ListParams::default()).await.unwrap();
        list.items.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    /// Looks until there is something; says at the end what was wrong instead. It rests as long as a look
    /// takes, so as not to be what the rest waits for.
    pub async fn eventually<T>(
        &self,
        patience: Duration,
        mut look: impl AsyncFnMut() -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            let began = Instant::now();
            match look().await {
                Ok(found) => return found,
                Err(why) => {
                    assert!(Instant::now() < deadline, "not after {patience:?}: {why}\n{}", self.logs());
                }
            }
            tokio::time::sleep(began.elapsed().max(Duration::from_millis(20))).await;
        }
    }

    /// Waits until an object is as wanted; says at the end what it was instead.
    pub async fn until(&self, kind: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || {
            let mut object = self.get(kind, name).await.unwrap_or_default();
            if wanted(&object) {
                return Ok(object);
            }
            // Who owns which field would fill what is left of a log of failures.
            object.pointer_mut("/metadata/managedFields").map(Value::take);
            Err(format!("{kind} {name} is {object:#}"))
        };
        self.eventually(LONG, look).await
    }

    /// Waits until an object is ready.
    pub async fn until_ready(&self, kind: &str, name: &str) -> Value {
        self.until(kind, name, |object| condition(object, "Ready", "status") == "True").await
    }

    /// Waits until an object is not ready for this reason.
    pub async fn until_not_ready(&self, kind: &str, name: &str, reason: &str) -> Value {
        let wanted = |object: &Value| {
            condition(object, "Ready", "status") == "False" && condition(object, "Ready", "reason") == reason
        };
        self.until(kind, name, wanted).await
    }

    /// What a program has said so far.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The files that agents and controllers log to.
    pub fn log_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(&self.logs).unwrap().flatten().map(|e| e.path()).collect();
        files.sort();
        files
    }

    /// The end of each log.
    pub fn logs(&self) -> String {
        let tail = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let from = lines.len().saturating_sub(40);
            format!("== {}\n{}\n", path.display(), lines[from..].join("\n"))
        };
        self.log_files().iter().map(tail).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in &mut self.controllers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The physical network of the bridge of this number.
pub fn lan_name(lan: usize) -> String {
    if lan == 0 { "lan".to_owned() } else { format!("lan{lan}") }
}

/// A field of one of an object's conditions; empty where there is none.
pub fn condition(object: &Value, type_: &str, field: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    found.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned()
}

/// A physical network that everybody may use.
pub const LAN: &str = r"
apiVersion: kube-dhcp.io/v1alpha1
kind: PhysicalNetwork
metadata: {name: lan}
spec:
  namespaces: {from: All}
  untagged: Allowed
  vlanRanges: [{first: 1, last: 4094}]
";
