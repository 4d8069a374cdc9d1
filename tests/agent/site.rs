//! A machine with a directory of manifests and a state directory, and what `kube-dhcp` says of it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, Launch};
use crate::lab::{self, Answer, Answer6, Guest, Guest6, Lab, Mac, PATIENCE, eventually};

pub const BIN: &str = env!("CARGO_BIN_EXE_kube-dhcp");

/// Longer than [`PATIENCE`]: for what takes a whole agent some time on a machine with other work.
pub const LONG: Duration = Duration::from_secs(40);

/// A lab with the directories of an agent.
pub struct Site {
    pub lab: Lab,
    pub manifests: PathBuf,
    pub state: PathBuf,
}

impl Site {
    pub fn new() -> Self {
        let lab = Lab::new();
        let (manifests, state) = (lab.state().join("manifests"), lab.state().join("state"));
        std::fs::create_dir(&manifests).unwrap();
        Self { lab, manifests, state }
    }

    /// A manifest that is there at once, whole.
    pub fn write(&self, name: &str, text: &str) {
        let beside = self.lab.state().join(".manifest");
        lab::write_alone(&beside, text);
        std::fs::rename(&beside, self.manifests.join(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifests.join(name)).unwrap();
    }

    pub fn remove_all(&self) {
        for entry in std::fs::read_dir(&self.manifests).unwrap().flatten() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }

    /// An agent with the usual flags and more.
    pub fn launch(&self) -> Launch<'_> {
        Launch::new(self)
    }

    /// The same, running, with every network of the start attempted.
    pub fn start(&self) -> Agent<'_> {
        self.launch().start_ready()
    }

    /// What a subcommand prints; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let done = lab::output(self.lab.command(BIN).args(arguments));
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8(done.stdout).unwrap()
    }

    pub fn status(&self) -> Status {
        let state = self.state.to_str().unwrap();
        Status(serde_json::from_str(&self.run(&["status", "-o", "json", "--state-dir", state])).unwrap())
    }

    /// What `kube-dhcp leases` tells, with further arguments.
    pub fn leases(&self, more: &[&str]) -> Vec<Value> {
        let state = self.state.to_str().unwrap();
        let text = self.run(&[&["leases", "-o", "json", "--state-dir", state], more].concat());
        let all: Value = serde_json::from_str(&text).unwrap();
        all["leases"].as_array().unwrap().clone()
    }

    /// The lines of `kube-dhcp plan`'s table of actions; none if there is nothing to do.
    pub fn plan(&self) -> Vec<String> {
        let text = self.run(&self.launch().arguments("plan"));
        let steps = text.split("\n\n").next().unwrap_or_default().split("\nNOT SERVED").next().unwrap();
        let steps = steps.lines().filter(|line| *line != "Nothing to do." && !line.starts_with("NETWORK "));
        steps.map(str::to_owned).collect()
    }

    pub fn assert_nothing_to_do(&self) {
        let text = self.run(&self.launch().arguments("plan"));
        assert!(text.starts_with("Nothing to do."), "{text}");
    }

    /// Waits until an object's Ready is `True` (its reason `Ready` or `Reserved`).
    pub fn until_ready(&self, kind: &str, name: &str) {
        self.until_condition(kind, name, |ready| ready.status == "True");
    }

    /// Waits until an object is not ready for this reason, with words that contain `part`.
    pub fn until_not_ready(&self, kind: &str, name: &str, reason: &str, part: &str) {
        self.until_condition(kind, name, |ready| {
            ready.status == "False" && ready.reason == reason && ready.message.contains(part)
        });
    }

    fn until_condition(&self, kind: &str, name: &str, wanted: impl Fn(&Condition) -> bool) {
        patiently(&format!("{kind} {name} is as wanted"), |instead| {
            let ready = self.status().condition(kind, name, "Ready");
            *instead = format!("{ready:?}");
            ready.filter(&wanted).map(drop)
        });
    }

    /// Waits until a guest is offered this address; then takes it.
    pub fn until_leased(&self, guest: &Guest<'_>, address: Ipv4Addr) -> Answer {
        patiently(&format!("{} is offered {address}", guest.mac()), |instead| {
            let offer = guest.discover(&[]).filter(|offer| offer.yiaddr() == address);
            *instead = self.logs();
            offer
        });
        let ack = guest.dora();
        assert_eq!(ack.yiaddr(), address);
        assert!(ack.checksum_ok, "a bad UDP checksum");
        ack
    }

    /// The same in DHCPv6.
    pub fn until_leased6(&self, guest: &Guest6<'_>, address: Ipv6Addr) -> Answer6 {
        patiently(&format!("{} is advertised {address}", guest.mac()), |instead| {
            let advertise = guest.solicit();
            *instead = format!("{:?}\n{}", advertise.as_ref().map(Answer6::given), self.logs());
            advertise.filter(|advertise| advertise.addresses() == [address]).map(drop)
        });
        let reply = guest.sarr();
        assert_eq!(reply.addresses(), [address]);
        reply
    }

    pub fn until_silent6(&self, guest: &Guest6<'_>) {
        patiently(&format!("{} meets silence in DHCPv6", guest.mac()), |instead| {
            *instead = self.logs();
            guest.silent().then_some(())
        });
    }

    pub fn until_silent(&self, guest: &Guest<'_>) {
        patiently(&format!("{} meets silence", guest.mac()), |instead| {
            *instead = self.logs();
            guest.silent().then_some(())
        });
    }

    /// What dnsmasq said of all networks.
    fn logs(&self) -> String {
        let logs = self.network_dirs().into_iter().map(|directory| directory.join("log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect()
    }

    /// GET, in the lab: status code and body; `None` while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let text = self.lab.in_netns(None, || {
            let mut stream = TcpStream::connect("127.0.0.1:9467").ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            let mut text = String::new();
            // An agent that is killed meanwhile resets the connection: that is no answer.
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        })?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(code, _)| code == 200)
    }

    /// How many passes over networks there were.
    pub fn passes(&self) -> u64 {
        self.metric("pass_duration_seconds_count").unwrap_or(0)
    }

    /// The agent's metric `kube_dhcp_agent_NAME`, with labels as in the text format.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let (start, (_, text)) = (format!("kube_dhcp_agent_{name} "), self.get("/metrics")?);
        text.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse().ok())
    }

    /// Runs a line of shell in the lab; it must succeed.
    pub fn run_shell(&self, line: &str) -> String {
        let done = lab::output(self.lab.command("sh").args(["-ec", line]));
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// The directories of the networks that have one.
    pub fn network_dirs(&self) -> Vec<PathBuf> {
        files_of(&self.state.join("networks"))
    }

    /// The one network's directory.
    pub fn network_dir(&self) -> PathBuf {
        let dirs = self.network_dirs();
        assert_eq!(dirs.len(), 1, "{dirs:?}");
        dirs.into_iter().next().unwrap()
    }

    /// The one network's namespace.
    pub fn namespace(&self) -> String {
        let mut ours = self.lab.netns_names();
        // Not those of shares.
        ours.retain(|name| name.strip_prefix("kdhcp-").is_some_and(|uid| uid.len() == 36));
        assert_eq!(ours.len(), 1, "{ours:?}");
        ours.remove(0)
    }

    /// The devices that the machine's own namespace has, without their loopback.
    pub fn links(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.lab.run("ls /sys/class/net").split_whitespace().map(str::to_owned).collect();
        names.retain(|name| name != "lo");
        names
    }

    /// The outer end of the one network's device.
    pub fn outer_device(&self) -> String {
        let ours: Vec<_> = self.links().into_iter().filter(|name| is_outer(name)).collect();
        assert_eq!(ours.len(), 1, "{ours:?}");
        ours.into_iter().next().unwrap()
    }

    pub fn dnsmasq_pids(&self) -> Vec<u32> {
        self.lab.pids_of("dnsmasq")
    }

    /// What of ours is on the machine; nothing, once every network was taken down.
    pub fn remains(&self, allocations: bool) -> Vec<String> {
        let mut found: Vec<_> =
            self.lab.netns_names().into_iter().filter(|n| n.starts_with("kdhcp-")).collect();
        found.extend(self.links().into_iter().filter(|name| is_outer(name) || name.starts_with("br")));
        found.extend(self.dnsmasq_pids().iter().map(|pid| format!("dnsmasq {pid}")));
        let mut directories = vec!["networks", "status"];
        directories.extend(allocations.then_some("allocations"));
        let files = directories.iter().flat_map(|name| files_of(&self.state.join(name)));
        let files = files.filter(|path| !path.ends_with("status/node.json") && !is_memory(path));
        found.extend(files.map(|path| path.display().to_string()));
        found
    }

    pub fn until_nothing_remains(&self) {
        patiently("nothing of ours is left", |instead| {
            let remains = self.remains(true);
            *instead = format!("{remains:#?}");
            remains.is_empty().then_some(())
        });
    }

    pub fn guest(&self, n: u32) -> Guest<'_> {
        self.lab.guest("br0", Mac::nth(n))
    }
}

/// As [`eventually`]; `ask` also says what there is instead, for the panic.
pub fn patiently<T>(what: &str, mut ask: impl FnMut(&mut String) -> Option<T>) -> T {
    let mut instead = String::new();
    let asked = AssertUnwindSafe(|| eventually(what, LONG, || ask(&mut instead)));
    catch_unwind(asked).unwrap_or_else(|_| panic!("{what}? {instead}"))
}

/// A ledger in which everybody has given back: who comes again finds the same address.
fn is_memory(path: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Ok(serde_json::Value::Object(ledger)) = serde_json::from_str(&text) else { return false };
    path.parent().is_some_and(|parent| parent.ends_with("allocations"))
        && ledger.values().all(|held| held["released"].is_number())
}

/// `kd` and twelve hex digits.
fn is_outer(name: &str) -> bool {
    name.strip_prefix("kd").is_some_and(|rest| rest.len() == 12)
}

/// The entries of a directory, sorted; none if it is not there.
pub fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What `kube-dhcp status -o json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(pub Value);

#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
    pub generation: i64,
    pub since: String,
}

impl Status {
    /// An object's report; for a Network the whole of it.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        let networks = self.0["networks"].as_array().unwrap();
        let list = match kind {
            "Network" => return networks.iter().find(|n| n["name"] == name),
            "Subnet" => "subnets",
            _ => "ports",
        };
        let mut places = networks.iter().chain([&self.0["node"]]);
        places.find_map(|place| place[list].as_array()?.iter().find(|object| object["name"] == name))
    }

    pub fn condition(&self, kind: &str, name: &str, of: &str) -> Option<Condition> {
        let conditions = self.object(kind, name)?["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == of)?;
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Some(Condition {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            generation: found["observedGeneration"].as_i64().unwrap_or(-1),
            since: text("lastTransitionTime"),
        })
    }

    /// The IPv4 addresses that a Port was given.
    pub fn addresses(&self, port: &str) -> Vec<Ipv4Addr> {
        let list = self.object("Port", port).and_then(|object| object["status"]["addresses"].as_array());
        let all = list.into_iter().flatten().map(|a| a["ip"].as_str().unwrap().parse().unwrap());
        all.filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }).collect()
    }

    /// The address of a network's DHCP server in its first subnet.
    pub fn server(&self, network: &str) -> Ipv4Addr {
        let IpAddr::V4(ip) = self.servers(network)[0] else { panic!("the first subnet is one of IPv6") };
        ip
    }

    /// Those in all of its subnets.
    pub fn servers(&self, network: &str) -> Vec<IpAddr> {
        let network = self.object("Network", network).expect("no such Network");
        let all = network["status"]["slots"][0]["addresses"].as_array().unwrap();
        all.iter().map(|ip| ip.as_str().unwrap().parse().unwrap()).collect()
    }

    /// What is wrong with the manifests: place and message.
    pub fn problems(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let problems = self.0["node"]["problems"].as_array().unwrap();
        problems.iter().map(|p| (text(&p["place"]), text(&p["message"]))).collect()
    }
}
