//! `make cluster-demo`: a control plane, a controller, three nodes with an agent each, and guests.
//!
//! Started by `hack/cluster-demo.sh` on a machine of its own, with `kube-dhcp` in its PATH. It only
//! tells a story: what is shown here is tested in `tests/cluster`, whose harness it uses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what is broken must fail loudly")]

#[path = "../tests/cluster/control_plane/mod.rs"]
#[allow(unused_imports, reason = "it has its part of it")]
mod control_plane;
#[path = "../tests/inside/mod.rs"]
mod inside;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/cluster/site/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "it has its part of it")]
mod site;

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use lab::{Guest, Mac};
use site::Site;

const EXAMPLE: &str = "examples/cluster";
const LATE: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
const OFTEN: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = Runtime::new().unwrap();
    let mut demo = Demo::start(&runtime);
    demo.apply();
    demo.lease();
    demo.add_port();
    demo.show();
    demo.look_around();
    let dead = demo.kill_node();
    demo.replaced(&dead);
    demo.delete(&dead);
    say("Done. All of it ran on a machine inside this machine, which ends now.");
}

fn say(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

fn show(text: &str) {
    text.lines().for_each(|line| println!("    {line}"));
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

struct Demo<'a> {
    runtime: &'a Runtime,
    site: Site,
}

impl<'a> Demo<'a> {
    fn start(runtime: &'a Runtime) -> Self {
        say("1. A control plane; three nodes, machines of their own on one L2 switch");
        let began = Instant::now();
        let mut site = runtime.block_on(Site::new(3));
        let version = site.plane.kubectl(&["version", "-o", "json"]);
        let version: Value = serde_json::from_str(&version).unwrap();
        show(&format!(
            "etcd, kube-apiserver {} and kube-controller-manager, `kubectl apply -k deploy`: {:.0} s",
            version.pointer("/serverVersion/gitVersion").and_then(Value::as_str).unwrap_or_default(),
            began.elapsed().as_secs_f64()
        ));
        say(
            "2. kube-dhcp controller --reschedule-after=5; on each node kube-dhcp agent --physical-network datacentre=bridge:br0",
        );
        show("(a dead node's network waits 60 s for it by default; here 5, so that you need not)");
        site.start_controller(&["--reschedule-after=5"]);
        site.nodes.iter().for_each(start_agent);
        let demo = Self { runtime, site };
        for node in &demo.site.nodes {
            runtime.block_on(demo.site.until_ready("DHCPAgent", &node.name));
        }
        demo.kubectl("get dagent");
        demo
    }

    fn apply(&self) {
        say("3. kubectl apply -f examples/cluster");
        self.kubectl(&format!("apply -f {EXAMPLE}"));
        let began = Instant::now();
        self.until("the network is served by two nodes", || {
            self.get("dnet lan", "{.status.servers.ready}") == "2"
                && self.get("dport vm1-eth0", READY) == "True"
                && self.get("dport db-eth0", READY) == "True"
        });
        show(&format!("all Ready, from two servers, {} later", milliseconds(began.elapsed())));
    }

    fn lease(&self) {
        say("4. A guest with MAC 02:00:00:00:00:01 asks for its address (udhcpc)");
        let guest = self.site.street.guest("br0", Mac([2, 0, 0, 0, 0, 1]));
        let lease = guest.udhcpc(&["-O", "mtu", "-O", "domain"]).expect("no lease");
        let of = |key: &str| lease.get(key).cloned().unwrap_or_default();
        show(&format!(
            "address {}/{}, router {}, DNS {}, domain {}, MTU {}, lease {} s",
            of("ip"),
            of("mask"),
            of("router"),
            of("dns"),
            of("domain"),
            of("mtu"),
            of("lease")
        ));
        for server in of("dns").split_whitespace() {
            let found = guest.dig(server.parse().unwrap(), "db.vm.example.org", "A");
            show(&format!("db.vm.example.org -> {} (asked {server})", found.answers.join(" ")));
        }
    }

    fn add_port(&self) {
        say("5. A Port is added; the guest with its MAC is already asking");
        let guest = self.site.street.guest("br0", LATE);
        assert!(guest.silent(), "a stranger is answered");
        show("before: silence");
        let port = json!({
            "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port",
            "metadata": {"name": "late-eth0", "namespace": "team-a"},
            "spec": {"networkRef": {"name": "lan"}, "macAddress": LATE.to_string()},
        });
        std::thread::scope(|scope| {
            let answered = scope.spawn(|| guest.discover_until_answered(OFTEN, PATIENCE));
            let began = Instant::now();
            self.runtime.block_on(self.site.apply_object(&port));
            show(&format!("the API server has it after {}", milliseconds(began.elapsed())));
            self.until("the Port is Ready", || self.runtime.block_on(self.port_is_ready("late-eth0")));
            let ready = began.elapsed();
            let answered = answered.join().unwrap();
            show(&format!("a guest is answered after {}", milliseconds(answered)));
            show(&format!("the Port is Ready after {}: both servers have it", milliseconds(ready)));
        });
    }

    async fn port_is_ready(&self, name: &str) -> bool {
        let resource = kube::core::ApiResource::erase::<kube_dhcp::api::Port>(&());
        let ports: kube::Api<kube::core::DynamicObject> =
            kube::Api::namespaced_with(self.site.client(), "team-a", &resource);
        let port = serde_json::to_value(ports.get(name).await.unwrap()).unwrap();
        site::condition(&port, "Ready", "status") == "True"
    }

    fn show(&self) {
        say("6. kubectl get dnet,dsub,dport,dsrv,dagent --all-namespaces");
        self.kubectl("get dnet,dsub,dport,dsrv,dagent --all-namespaces");
    }

    /// For a person who wants to try something: `DEMO_SHELL=1 make cluster-demo`.
    fn look_around(&self) {
        if std::env::var_os("DEMO_SHELL").is_none() {
            return;
        }
        say("A shell with kubectl; the demo goes on when it ends");
        for node in &self.site.nodes {
            let enter = format!("nsenter --target={} --net --mount --pid", node.lab.init_pid());
            show(&format!(
                "node {}: {enter} kube-dhcp status --state-dir {}",
                node.name,
                node.state().display()
            ));
        }
        let mut shell = std::process::Command::new("sh");
        let _ = shell.env("KUBECONFIG", self.site.plane.admin_kubeconfig()).status();
    }

    /// One that answers guests; gives its name.
    fn kill_node(&mut self) -> String {
        let held = self.get("dnet lan", "{.status.slots[0].nodeName}");
        say(&format!("7. Node {held} dies: kill -9 of everything on it"));
        let at = self.site.nodes.iter().position(|node| node.name == held).unwrap();
        drop(self.site.nodes.remove(at));
        let (began, guest) = (Instant::now(), self.site.street.guest("br0", LATE));
        guest.discover_until_answered(OFTEN, PATIENCE);
        let offer = guest.discover(&[]).expect("an answer");
        show(&format!(
            "a guest that asks next is answered by {}, {} after the death (most of it to plug it in)",
            offer.server(),
            milliseconds(began.elapsed())
        ));
        ack(&guest);
        held
    }

    fn replaced(&self, dead: &str) {
        let began = Instant::now();
        self.until("the agent is called dead", || self.get(&format!("dagent {dead}"), READY) == "False");
        show(&format!("its Lease has expired {:.0} s later", began.elapsed().as_secs_f64()));
        self.until("a replacement", || {
            self.get("dnet lan", "{.status.servers.ready}") == "2"
                && !self.get("dnet lan", "{.status.slots[*].nodeName}").contains(dead)
        });
        show(&format!(
            "another node serves with the same address {:.0} s after the death",
            began.elapsed().as_secs_f64()
        ));
        self.kubectl("get dsrv,dagent --all-namespaces");
        self.kubectl("events -n team-a --for network/lan");
    }

    fn delete(&self, dead: &str) {
        say(&format!(
            "8. Everything is deleted; {dead} does not come back, which only an administrator can say"
        ));
        self.kubectl(&format!("delete node {dead}"));
        self.kubectl("delete namespace team-a --wait=false");
        self.kubectl("delete physicalnetwork datacentre");
        let began = Instant::now();
        self.until("everything is gone", || {
            let left = self.silent("get dnet,dsub,dport,dsrv,dip,dphys --all-namespaces --output=name");
            left.is_empty() && self.site.nodes.iter().all(is_empty)
        });
        show(&format!(
            "no object, namespace, device, bridge port or dnsmasq is left, {} later",
            milliseconds(began.elapsed())
        ));
    }

    fn kubectl(&self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        show(&self.site.plane.kubectl(&words));
    }

    /// What kubectl prints, whether it succeeds or not.
    fn silent(&self, line: &str) -> String {
        let done = lab::output(self.site.plane.kubectl_command().args(line.split(' ')));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn get(&self, what: &str, path: &str) -> String {
        self.silent(&format!("get {what} -n team-a -o=jsonpath={path}"))
    }

    fn until(&self, what: &str, wanted: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted() {
            assert!(Instant::now() < deadline, "still not: {what}\n{}", self.site.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

const READY: &str = "{.status.conditions[?(@.type==\"Ready\")].status}";

fn start_agent(node: &site::Node) {
    let log = File::create(node.lab.state().join("agent.log")).unwrap();
    let mut command = node.lab.command(site::BIN);
    command.args(["agent", "--node-name", &node.name, "--physical-network", "datacentre=bridge:br0"]);
    command.arg("--kubeconfig").arg(&node.kubeconfig).arg("--state-dir").arg(node.state());
    // It ends with its machine.
    drop(lab::spawn(command.stdout(Stdio::null()).stderr(log)));
}

fn ack(guest: &Guest<'_>) {
    let lease = guest.dora();
    show(&format!("and gets {}, as before", lease.yiaddr()));
}

fn is_empty(node: &site::Node) -> bool {
    let ports = node.lab.run("ip -o link show master br0");
    node.servers().is_empty() && node.lab.netns_names().is_empty() && ports.lines().count() == 1
}
