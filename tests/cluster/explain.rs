//! `kubectl dhcp`: why a guest has no address, found by somebody who has a kubeconfig and nothing else.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::output;
use crate::serve::NETWORK;
use crate::site::{BIN, Site};

/// The program under the name that makes it a plugin, as the cluster's administrator.
struct Plugin<'s> {
    program: PathBuf,
    kubeconfig: &'s Path,
}

impl Plugin<'_> {
    /// What is printed, and the exit code.
    fn run(&self, arguments: &[&str]) -> (String, i32) {
        let mut command = Command::new(&self.program);
        let done = output(command.args(arguments).env("KUBECONFIG", self.kubeconfig));
        let text = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
        (text, done.status.code().unwrap())
    }

    /// What the first step says that is not right, and what it is.
    fn first_wrong(&self, port: &str) -> Option<(String, String)> {
        let (text, code) = self.run(&["explain", "port", port, "-o", "json"]);
        let all: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let wrong = all["steps"].as_array().unwrap().iter().find(|step| step["verdict"] == "Wrong");
        assert_eq!(code, if wrong.is_some() { 3 } else { 0 }, "{text}");
        let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
        wrong.map(|step| (text(step, "what"), text(step, "message")))
    }
}

fn port(name: &str, network: &str, addresses: &Value) -> Value {
    json!({
        "apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": name, "namespace": "default"},
        "spec": {"networkRef": {"name": network}, "macAddress": "02:00:00:00:00:77", "addresses": addresses},
    })
}

#[test]
fn each_of_five_faults_is_the_first_that_is_not_right() {
    inside("explain::each_of_five_faults_is_the_first_that_is_not_right", async {
        let mut site = Site::running(2).await;
        let program = site.street.state().join("kubectl-dhcp");
        symlink(BIN, &program).unwrap();
        site.apply(NETWORK).await;
        site.until_ready("Port", "p1").await;
        let kubeconfig = site.plane.admin_kubeconfig().to_owned();
        let plugin = Plugin { program, kubeconfig: &kubeconfig };
        until_right(&site, &plugin).await;
        let (text, code) = plugin.run(&["explain", "port", "p1"]);
        assert!(code == 0 && text.contains("All of it is right") && !text.contains('\u{1b}'), "{text}");

        assert_eq!(plugin.first_wrong("p2").unwrap().0, "Port default/p2", "a name that is misspelt");
        site.apply_object(&port("lost", "b", &json!([]))).await;
        assert_eq!(plugin.first_wrong("lost").unwrap().0, "Network b", "a network that is not there");
        site.until_not_ready("Port", "lost", "NetworkNotFound").await;
        let (text, _) = plugin.run(&["explain", "port", "lost"]);
        assert!(text.lines().any(|line| line.starts_with("NO Port has addresses ")), "{text}");
        that_is_not_to_be_answered(&site, &plugin).await;
        that_is_not_accepted(&site, &plugin).await;
        site.apply_object(&port("outside", "a", &json!([{"ip": "10.9.0.1"}]))).await;
        site.until_not_ready("Port", "outside", "AddressOutsideSubnet").await;
        let (what, message) = plugin.first_wrong("outside").unwrap();
        assert!(
            what.starts_with("Port ") && message.starts_with("AddressOutsideSubnet: "),
            "{what}: {message}"
        );
        site.delete("PhysicalNetwork", "lan").await;
        site.until_not_ready("Network", "a", "PhysicalNetworkNotFound").await;
        assert_eq!(plugin.first_wrong("p1").unwrap().0, "PhysicalNetwork lan", "nothing to be attached to");

        let (text, code) = plugin.run(&["status"]);
        assert_eq!(code, 0, "{text}");
        let row =
            text.lines().find(|line| line.starts_with("default/a ")).unwrap_or_else(|| panic!("{text}"));
        assert!(row.contains("False") && row.contains("PhysicalNetworkNotFound"), "{text}");
        assert!(text.contains("Port default/outside"), "{text}");
        a_shell_completes_it(&site, &plugin);
        an_agent_that_died(&mut site, &plugin).await;
    });
}

/// kubectl asks, as it does for a shell in which somebody presses TAB.
fn a_shell_completes_it(site: &Site, plugin: &Plugin<'_>) {
    let directory = plugin.program.parent().unwrap();
    symlink(BIN, directory.join("kubectl_complete-dhcp")).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let completed = |words: &[&str]| {
        let mut kubectl = site.plane.kubectl_command();
        let done = output(kubectl.env("PATH", &path).args(["__complete", "dhcp"]).args(words));
        let text = String::from_utf8(done.stdout).unwrap();
        // A last line says whether files are meant.
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.pop().as_deref(), Some(":4"), "{words:?}: {text}");
        lines
    };
    let described = completed(&["expl"]);
    assert!(described.len() == 1 && described[0].starts_with("explain\t"), "{described:?}");
    assert!(completed(&["status", "--output=y"])[0].starts_with("yaml\t"));
    assert_eq!(completed(&["explain", "port", "-ndefault", "ou"]), ["outside"]);
    assert_eq!(completed(&["explain", "port", "-n", "default", "ou"]), ["outside"]);
    assert_eq!(completed(&["drain", ""]), ["n1", "n2"]);
    assert_eq!(completed(&["explain", "port", "-n", "kube-pub"]), ["kube-public"]);
}

/// Its addresses are reserved, and that is all.
async fn that_is_not_to_be_answered(site: &Site, plugin: &Plugin<'_>) {
    let mut mute = port("mute", "a", &json!([{"subnetRef": {"name": "a-v4"}}]));
    mute["spec"]["dhcp"] = "Disabled".into();
    mute["spec"]["macAddress"] = "02:00:00:00:00:78".into();
    site.apply_object(&mute).await;
    site.until_ready("Port", "mute").await;
    let (text, code) = plugin.run(&["explain", "port", "mute"]);
    let all = "reserved. DHCP does not answer: the Port says dhcp: Disabled.";
    assert!(code == 0 && text.contains(all) && !text.contains("is answered"), "{text}");
}

/// No server is said to come to it.
async fn that_is_not_accepted(site: &Site, plugin: &Plugin<'_>) {
    let mut twin = port("twin", "a", &json!([{"subnetRef": {"name": "a-v4"}}]));
    twin["spec"]["macAddress"] = "02:00:00:00:00:78".into();
    site.apply_object(&twin).await;
    site.until_not_ready("Port", "twin", "DuplicateMAC").await;
    let (text, _) = plugin.run(&["explain", "port", "twin"]);
    let knows: Vec<_> = text.lines().filter(|line| line.contains(": dnsmasq knows the Port ")).collect();
    let waits = knows
        .iter()
        .all(|line| line.starts_with("NO ") && line.contains("not while the Port is not accepted"));
    assert!(knows.len() == 2 && waits, "{text}");
}

/// A Port is ready before all that is said of its network is written.
async fn until_right(site: &Site, plugin: &Plugin<'_>) {
    let right = async || plugin.first_wrong("p1").map_or(Ok(()), |wrong| Err(format!("{wrong:?}")));
    site.eventually(Duration::from_secs(20), right).await;
}

/// With nobody left who could answer.
async fn an_agent_that_died(site: &mut Site, plugin: &Plugin<'_>) {
    let lan = json!({"apiVersion": "kube-dhcp.io/v1alpha1", "kind": "PhysicalNetwork",
        "metadata": {"name": "lan"}, "spec": {"namespaces": {"from": "All"}, "untagged": "Allowed"}});
    site.apply_object(&lan).await;
    site.until_ready("Port", "p1").await;
    until_right(site, plugin).await;
    for number in 1..=2 {
        site.power_off(number);
    }
    site.until_not_ready("Network", "a", "NoServerReady").await;
    let (what, message) = plugin.first_wrong("p1").unwrap();
    assert!(
        what == "PhysicalNetwork lan" && message.starts_with("NoAgent: no live agent"),
        "{what}: {message}"
    );
    let (text, _) = plugin.run(&["explain", "port", "p1"]);
    let agents = text.lines().filter(|line| line.starts_with("NO n") && line.contains(": agent is alive"));
    assert_eq!(agents.count(), 2, "{text}");
}
