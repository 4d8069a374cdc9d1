//! A cluster: a control plane with a scheduler, nodes that share a layer-2 segment, and our own installation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroups::Sweeper;
use crate::control_plane::{ControlPlane, Daemon, Settings, bridge_to_nodes};
use crate::inside::{inside_with, is_outside, sh};
use crate::lab::Lab;
use crate::machine::{LONG, Machine};
use crate::programs::programs;

/// Tells the test's machine what its cgroups are called.
const CGROUP: &str = "KUBE_DHCP_TEST_CGROUP";

/// Our own namespace.
pub const SYSTEM: &str = "kube-dhcp-system";

/// What pods call the API server, as the certificate has it: there is no kube-proxy that would turn it
/// into another address.
const SERVICE: &str = "10.96.0.1";

/// What pods need that others make.
const CONTROLLERS: [&str; 8] = [
    "daemonset-controller",
    "deployment-controller",
    "replicaset-controller",
    "disruption-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "root-ca-certificate-publisher-controller",
];

/// A cluster. The nodes end first.
pub struct Site {
    pub nodes: Vec<Machine>,
    pub street: Arc<Lab>,
    #[expect(dead_code, reason = "it ends with the site")]
    scheduler: Daemon,
    pub plane: ControlPlane,
    began: Instant,
}

/// Runs a test with a cluster of `nodes` nodes, in a machine of its own.
pub fn on_nodes(name: &str, nodes: usize, test: impl AsyncFnOnce(&mut Site)) {
    // Whoever stands outside removes what is called so.
    let own = format!("kube-dhcp-test-{}", std::process::id());
    let directory = std::env::temp_dir().join(&own);
    let _sweeper = is_outside().then(|| Sweeper::start(&own, &directory));
    inside_with(name, &[(CGROUP, &own), ("TMPDIR", directory.to_str().unwrap())], async {
        let mut site = Site::new(nodes).await;
        test(&mut site).await;
        site.say("done");
    });
}

impl Site {
    async fn new(nodes: usize) -> Self {
        let began = Instant::now();
        sh(&format!("ip address add {SERVICE}/32 dev lo; echo 1 >/proc/sys/net/ipv4/ip_forward"));
        let users = (1..=nodes).map(|number| (format!("system:node:n{number}"), "system:nodes"));
        let settings = Settings {
            addresses: bridge_to_nodes(),
            // On disk: containerd's share of memory is enough.
            parent: std::env::temp_dir(),
            data: None,
            api_flags: vec!["--kubelet-preferred-address-types=InternalIP".into()],
            port: Some(443),
            users: users.collect(),
            controllers: CONTROLLERS.to_vec(),
        };
        let plane = ControlPlane::start_with(settings).await;
        let scheduler = scheduler(&plane);
        let street = Arc::new(Lab::new());
        street.bridge("br0");
        let cgroup = std::env::var(CGROUP).unwrap();
        let mut site = Self { nodes: Vec::new(), street, scheduler, plane, began };
        site.say("the control plane runs");
        for number in 1..=nodes {
            let kubeconfig = site.plane.user_kubeconfig(&format!("system:node:n{number}"));
            site.nodes.push(Machine::boot(number, &site.street, &kubeconfig, &cgroup));
        }
        site.wait("nodes are there", || site.try_kubectl(&["get", "node", &format!("n{nodes}")]).is_ok());
        site.kubectl(&["wait", "node", "--all", "--for=condition=Ready", "--timeout=120s"]);
        site.say("the nodes are ready");
        site
    }

    /// Tells whoever runs the tests how far it is.
    pub fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    /// Our own installation, as the README has it: a kustomization on top of `deploy/`.
    pub fn install(&self) {
        let overlay = self.overlay();
        std::fs::create_dir_all(&overlay).unwrap();
        let up = "../".repeat(overlay.components().count() - 1);
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{up}{}]\npatches:
- target: {{kind: DaemonSet, name: agent}}
  patch: |
    - {{op: add, path: /spec/template/spec/containers/0/args/-, value: --physical-network=lan=bridge:br0}}
",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").strip_prefix("/").unwrap().display()
        );
        std::fs::write(overlay.join("kustomization.yaml"), text).unwrap();
        self.kubectl(&["apply", "--server-side", "-k", overlay.to_str().unwrap()]);
    }

    fn overlay(&self) -> PathBuf {
        self.plane.directory().join("overlay")
    }

    /// Waits until all pods of ours are ready, the newest ones.
    pub fn until_rolled_out(&self) {
        for what in ["daemonset/agent", "deployment/controller"] {
            self.kubectl(&["rollout", "status", what, "-n", SYSTEM, "--timeout=180s"]);
        }
    }

    /// Removes the installation; whoever waits for anything for longer than a minute waits in vain.
    pub fn uninstall(&self) {
        let overlay = self.overlay();
        self.kubectl(&["delete", "-k", overlay.to_str().unwrap(), "--wait=true", "--timeout=60s"]);
    }

    /// Runs kubectl; it must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments)
            .unwrap_or_else(|why| panic!("kubectl {arguments:?}: {why}\n{}", self.logs()))
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.plane.try_kubectl(arguments)
    }

    /// Applies YAML.
    pub fn apply(&self, yaml: &str) {
        let file = self.plane.directory().join("applied.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]);
    }

    /// Looks until it is so.
    pub fn wait(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !so() {
            assert!(Instant::now() < deadline, "not after {LONG:?}: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The name of the agent's pod on a node.
    pub fn agent_on(&self, node: &str) -> Option<String> {
        let selector = format!("spec.nodeName={node}");
        let label = "app.kubernetes.io/component=agent";
        let found = self.kubectl(&[
            "get",
            "pod",
            "-n",
            SYSTEM,
            "-l",
            label,
            "--field-selector",
            &selector,
            "-o",
            "name",
        ]);
        found.lines().next().map(str::to_owned)
    }

    /// What a person would look at first.
    pub fn logs(&self) -> String {
        let shown = |arguments: &[&str]| self.try_kubectl(arguments).unwrap_or_else(|why| why);
        let pods = shown(&["get", "pod,ds,deploy", "-A", "-o", "wide"]);
        let objects = shown(&["get", "dnet,dport,dsrv,dagent", "-A"]);
        let events = shown(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        let nodes: String = self.nodes.iter().map(Machine::logs).collect();
        format!("{pods}\n{objects}\n{events}\n{nodes}")
    }
}

fn scheduler(plane: &ControlPlane) -> Daemon {
    let mut command = Command::new(programs().join("kube-scheduler"));
    command.arg("--kubeconfig").arg(plane.admin_kubeconfig());
    command.args(["--leader-elect=false", "--secure-port=0"]);
    Daemon::start(&mut command, &plane.directory().join("kube-scheduler.log"))
}

/// What `traffic` calls the physical network of the bridge of this number.
pub fn lan_name(lan: usize) -> String {
    assert_eq!(lan, 0, "these nodes have one");
    "lan".to_owned()
}

/// A physical network that everybody may use.
pub const LAN: &str = "
apiVersion: kube-dhcp.io/v1alpha1
kind: PhysicalNetwork
metadata: {name: lan}
spec: {namespaces: {from: All}, untagged: Allowed}
";
