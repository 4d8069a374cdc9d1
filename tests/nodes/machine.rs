//! A node: containerd and a kubelet on a machine of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cgroups;
use crate::control_plane::Daemon;
use crate::inside::sh;
use crate::lab::{Lab, eventually, output};
use crate::programs::{images, programs};

/// How long a test waits for what must happen. Only ever reached by a failure.
pub const LONG: Duration = Duration::from_secs(120);

/// What a kubelet would set for the whole machine: it is shown files of the node's own.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A node. Dropping it is a power failure.
pub struct Machine {
    pub name: String,
    pub lab: Lab,
    number: usize,
    daemons: Vec<Daemon>,
}

impl Machine {
    /// Boots it: cables, mounts, containerd, images, kubelet. Its cgroups are below `cgroup`.
    pub fn boot(number: usize, street: &Lab, kubeconfig: &Path, cgroup: &str) -> Self {
        let lab = Lab::new();
        let mut node = Self { name: format!("n{number}"), lab, number, daemons: Vec::new() };
        node.connect(street);
        node.prepare(cgroup);
        node.start_containerd();
        node.import();
        node.start_kubelet(kubeconfig);
        node
    }

    /// A way to the API server, and a bridge `br0` whose uplink leads to the street.
    fn connect(&self, street: &Lab) {
        let (number, init, outside) = (self.number, self.lab.init_pid(), street.init_pid());
        sh(&format!(
            "ip link add m{number} type veth peer name eth0 netns {init}; ip link set m{number} master kc0 up
             ip link add t{number} type veth peer name uplink netns {init}; ip link set t{number} netns {outside}
             ip route add 10.244.{number}.0/24 via 10.99.0.{0}", 10 + number
        ));
        street.run(&format!("ip link set t{number} master br0 up"));
        self.lab.bridge("br0");
        self.lab.ip(&[
            format!("address add 10.99.0.{}/24 dev eth0", 10 + number),
            "link set eth0 up".into(),
            "link set uplink master br0 up".into(),
            "route add default via 10.99.0.1".into(),
        ]);
        self.lab.in_netns(None, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    }

    /// Nothing of the node's is written outside its own directory.
    fn prepare(&self, cgroup: &str) {
        let state = self.state();
        let directories = format!(
            "cd {}; mkdir -p lib log cni opt sysctl
             mount --bind lib /var/lib; mount --bind log /var/log
             mkdir -p /var/lib/containerd /var/lib/kubelet /var/lib/cni",
            state.display()
        );
        // Last: what is mounted from here on is seen in the pods that ask for it.
        let shared = "mount --make-rshared /".to_owned();
        self.shell(&[directories, sysctls(), cgroups::mount(&[cgroup, &self.name]), shared].join("\n"));
        std::fs::write(state.join("cni/pods.conflist"), self.pod_network()).unwrap();
        std::fs::write(state.join("containerd.toml"), self.containerd_config()).unwrap();
        std::fs::write(state.join("kubelet.yaml"), self.kubelet_config(cgroup)).unwrap();
    }

    fn pod_network(&self) -> String {
        format!(
            r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{{"type": "ptp", "ipam": {{"type": "host-local",
                "ranges": [[{{"subnet": "10.244.{}.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}"#,
            self.number
        )
    }

    fn containerd_config(&self) -> String {
        let state = self.state().display().to_string();
        format!(
            "version = 4
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.internal.v1.opt']
path = '{state}/opt'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{SANDBOX}'
[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE nobody may be spared more than its parent.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']
conf_dir = '{state}/cni'
"
        )
    }

    fn kubelet_config(&self, cgroup: &str) -> String {
        let state = self.state().display().to_string();
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Nobody else reaches it.
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}/{}
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {{imagefs.available: 0%, nodefs.available: 0%, memory.available: 50Mi}}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
podLogsDir: {state}/pods
readOnlyPort: 0
registerNode: true
volumePluginDir: {state}/plugins
",
            self.name
        )
    }

    fn start_containerd(&mut self) {
        let config = self.state().join("containerd.toml");
        self.start("containerd", &["--config", config.to_str().unwrap()]);
        eventually("containerd answers", LONG, || {
            output(self.program("ctr").arg("version")).status.success().then_some(())
        });
    }

    fn import(&self) {
        for archive in images() {
            self.ctr(&["images", "import", archive.to_str().unwrap()]);
        }
        self.ctr(&["images", "tag", IMAGE, NEXT_IMAGE]);
    }

    /// Runs ctr on what the kubelet uses.
    pub fn ctr(&self, arguments: &[&str]) {
        let done = output(self.program("ctr").args(["--namespace", "k8s.io"]).args(arguments));
        assert!(done.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn start_kubelet(&mut self, kubeconfig: &Path) {
        let config = format!("--config={}", self.state().join("kubelet.yaml").display());
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let name = format!("--hostname-override={}", self.name);
        let address = format!("--node-ip=10.99.0.{}", 10 + self.number);
        self.start("kubelet", &[&config, &kubeconfig, &name, &address]);
    }

    fn start(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.program(program);
        command.args(arguments);
        let log = self.state().join(format!("{program}.log"));
        self.daemons.push(Daemon::start(&mut command, &log));
    }

    fn program(&self, name: &str) -> Command {
        let directory = programs();
        let mut command = self.lab.command(directory.join(name).to_str().unwrap());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", directory.display()));
        command
    }

    /// A directory with the same path on the node and outside.
    pub fn state(&self) -> PathBuf {
        self.lab.state().to_owned()
    }

    /// Runs a script on the node.
    pub fn shell(&self, script: &str) -> String {
        let done = output(self.lab.command("sh").args(["-euc", script]));
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {complaint}\n{script}", self.name);
        String::from_utf8(done.stdout).unwrap()
    }

    /// The end of what the node's programs and pods said.
    pub fn logs(&self) -> String {
        let script = "cd $0; for log in containerd.log kubelet.log $(find pods -name '*.log'); do
            echo \"== $log\"; tail -n 15 $log | cut -c 1-400; done";
        let mut command = self.lab.command("sh");
        let done = output(command.args(["-c", script]).arg(self.state()));
        format!("=== {}\n{}", self.name, String::from_utf8_lossy(&done.stdout))
    }
}

fn sysctls() -> String {
    let shadow = |(number, (name, value)): (usize, &(&str, &str))| {
        let (shown, hidden) = (format!("sysctl/{number}"), format!("/proc/sys/{name}"));
        format!("echo {value} >{shown}; [ ! -e {hidden} ] || mount --bind {shown} {hidden}")
    };
    SYSCTLS.iter().enumerate().map(shadow).collect::<Vec<_>>().join("\n")
}

const SANDBOX: &str = "localhost/kube-dhcp-test/sandbox:1";
/// The image as `deploy/` calls it, and as one of another version would be called.
const IMAGE: &str = concat!("docker.io/library/kube-dhcp:", env!("CARGO_PKG_VERSION"));
const NEXT_IMAGE: &str = "docker.io/library/kube-dhcp:next";
pub const NEXT_TAG: &str = "next";
