//! Real programs as guests: busybox udhcpc, ISC dhclient and dig.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Guest, output, spawn};

/// What a client hands to its script, by the client's own names.
pub type Bound = BTreeMap<String, String>;

/// What dig printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dig {
    /// `NOERROR`, `NXDOMAIN`, `REFUSED` …, or `TIMEOUT`.
    pub status: String,
    /// The data of the answers, sorted.
    pub answers: Vec<String>,
}

impl Guest<'_> {
    /// Runs udhcpc until it has a lease, or `None` after three tries of a second. `more` are
    /// arguments such as `-O staticroutes`, `-x hostname:vm1`, `-r 10.0.0.9`.
    ///
    /// The device gets the address. Keys are those of udhcpc: `ip`, `router`, `dns`, `hostname` …
    pub fn udhcpc(&self, more: &[&str]) -> Option<Bound> {
        let (script, said) = self.script("udhcpc", "ip address replace $ip/$mask dev $interface");
        let mut command = self.lab().command_in(self.netns(), "udhcpc");
        command.args(["-i", "eth0", "-f", "-n", "-q", "-t", "3", "-T", "1", "-s"]);
        let done = output(command.arg(script).args(more));
        done.status.success().then(|| events(&said).pop()).flatten()
    }

    /// A dhclient that keeps its lease file from run to run.
    pub fn dhclient(&self) -> Dhclient<'_, '_> {
        Dhclient { guest: self, six: false, client_id: None }
    }

    /// The same for DHCPv6: keys are `new_ip6_address`, `new_dhcp6_name_servers` …
    pub fn dhclient6(&self) -> Dhclient<'_, '_> {
        Dhclient { guest: self, six: true, client_id: None }
    }

    /// Asks a DNS server from this guest, which needs an address for it.
    pub fn dig(&self, server: IpAddr, name: &str, rtype: &str) -> Dig {
        let mut command = self.lab().command_in(self.netns(), "dig");
        command.args(["+tries=1", "+time=2", "+noall", "+comments", "+answer"]);
        let done = output(command.args([&format!("@{server}"), name, rtype]));
        parse_dig(&String::from_utf8_lossy(&done.stdout))
    }

    /// Gives the device an address and a default route, as a client's script would.
    pub fn configure(&self, address: &str, router: Option<&str>) {
        self.lab().address(self.netns(), "eth0", address);
        if let Some(router) = router {
            self.lab().run_in(self.netns(), &format!("ip route replace default via {router}"));
        }
    }

    /// A client script that notes its environment, then runs one command if there is an address.
    fn script(&self, name: &str, with_address: &str) -> (PathBuf, PathBuf) {
        let base = self.lab().state().join(format!("{}-{name}", self.netns()));
        let (script, said) = (base.with_extension("sh"), base.with_extension("env"));
        let path = said.display();
        let mut text = String::from("#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
        writeln!(text, "{{ echo \"event=$1$reason\"; env; echo; }} >>{path}").unwrap();
        writeln!(text, "[ -z \"$ip$new_ip_address$new_ip6_address\" ] || {with_address}").unwrap();
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let _ = std::fs::remove_file(&said);
        (script, said)
    }
}

/// ISC dhclient on a guest's device.
pub struct Dhclient<'guest, 'lab> {
    guest: &'guest Guest<'lab>,
    six: bool,
    client_id: Option<String>,
}

impl Dhclient<'_, '_> {
    /// The same, which calls itself so, in hex with colons; in DHCPv4.
    pub fn calling_itself(self, id: &str) -> Self {
        Self { client_id: Some(id.to_owned()), ..self }
    }

    /// Gets a lease (`reason=BOUND`, `BOUND6`); on an existing lease file it starts with INIT-REBOOT
    /// (`reason=REBOOT`), in DHCPv6 with CONFIRM (`REBIND6`). `None` when there was no lease. It stays until `stop` or `release`.
    pub fn start(&self) -> Option<Bound> {
        let said = self.run(&["-1"]);
        let address = if self.six { "new_ip6_address" } else { "new_ip_address" };
        said.into_iter().rev().find(|event| event.contains_key(address))
    }

    /// Ends the client; the lease stays.
    pub fn stop(&self) {
        self.run(&["-x"]);
    }

    /// Gives the lease back and ends the client.
    pub fn release(&self) {
        self.run(&["-r"]);
    }

    fn run(&self, mode: &[&str]) -> Vec<Bound> {
        let (name, family, set) = if self.six {
            ("dhclient6", "-6", "ip address replace $new_ip6_address/$new_ip6_prefixlen dev $interface")
        } else {
            ("dhclient", "-4", "ip address replace $new_ip_address/$new_subnet_mask dev $interface")
        };
        let (script, said) = self.guest.script(name, set);
        let file = |kind: &str| said.with_file_name(format!("{}-{name}.{kind}", self.guest.netns()));
        let conf = "timeout 4; initial-interval 1; reboot 2; retry 60;\n\
            request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers,\n\
            domain-search, host-name, interface-mtu, rfc3442-classless-static-routes, ntp-servers,\n\
            dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers;\n\
            option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n";
        let id = self.client_id.as_ref().map(|id| format!("send dhcp-client-identifier {id};\n"));
        std::fs::write(file("conf"), conf.to_owned() + &id.unwrap_or_default()).unwrap();
        let mut command = self.guest.lab().command_in(self.guest.netns(), "dhclient");
        command.args([family, "-v", "-cf"]).arg(file("conf")).arg("-lf").arg(file("leases"));
        command.arg("-pf").arg(file("pid")).arg("-sf").arg(script);
        // With pipes for output we would wait for the daemon, not for the command.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        // By its MAC address alone, where it has not called itself anything before.
        command.args(if self.six { &["-D", "LL"][..] } else { &[] });
        spawn(command.args(mode).arg("eth0")).wait().unwrap();
        events(&said)
    }
}

fn events(said: &PathBuf) -> Vec<Bound> {
    let text = std::fs::read_to_string(said).unwrap_or_default();
    let events = text.split("\n\n").filter(|event| !event.trim().is_empty());
    events.map(|event| event.lines().filter_map(variable).collect()).collect()
}

fn variable(line: &str) -> Option<(String, String)> {
    line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn parse_dig(text: &str) -> Dig {
    let status = text.split_once("status: ").and_then(|(_, rest)| rest.split_once(','));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    let mut answers: Vec<_> = lines.map(data_of).collect();
    answers.sort();
    Dig { status: status.map_or("TIMEOUT", |(status, _)| status).to_owned(), answers }
}

/// `name ttl class type data…`
fn data_of(line: &str) -> String {
    line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")
}
