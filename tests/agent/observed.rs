//! What the agent lets others see, and whom it refuses to work beside.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{self, Ask, DhcpOption, Mac, MessageType, PATIENCE, eventually};
use crate::manifests::{fixed, lan, port, subnet, vlan};
use crate::site::{BIN, LONG, Site, files_of};

#[test]
fn probes_and_metrics() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    site.write("b.yaml", "kind: nonsense\n");
    let _agent = site.start();
    assert_eq!(site.get("/livez").map(|(code, _)| code), Some(200));
    assert_eq!(site.get("/other").map(|(code, _)| code), Some(404));
    eventually("the metrics say what is served", LONG, || {
        let (_, text) = site.get("/metrics")?;
        let has = |line: &str| text.lines().any(|l| l == line);
        let all = has("kube_dhcp_agent_networks 1")
            && has("kube_dhcp_agent_networks_ready 1")
            && has("kube_dhcp_agent_ports 1")
            && has("kube_dhcp_agent_ports_ready 1")
            && has("kube_dhcp_agent_dnsmasq_starts_total 1")
            && has("kube_dhcp_agent_manifest_problems 1")
            && text
                .lines()
                .any(|l| l.starts_with("kube_dhcp_agent_build_info{version=\"") && l.ends_with("} 1"))
            && text.contains("kube_dhcp_agent_program_info{program=\"dnsmasq\",version=\"2.")
            && text.contains("kube_dhcp_agent_program_info{program=\"iptables\",version=\"1.")
            && has("kube_dhcp_agent_actions_total{kind=\"create-namespace\"} 1");
        all.then_some(())
    });
}

#[test]
fn version_says_what_it_would_work_with() {
    let said = |args: &[&str]| {
        let done = lab::output(std::process::Command::new(BIN).args(args));
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let version = concat!("kube-dhcp ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(said(&["--version"]).starts_with(version), "{}", said(&["--version"]));
    let text = said(&["version"]);
    assert!(
        text.starts_with(version) && text.contains("\ndnsmasq   2.") && text.contains("\niptables  1."),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&said(&["version", "-o", "json"])).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["commit"].is_string() && json["dnsmasq"].is_string(), "{json}");
}

#[test]
fn readyz_waits_for_every_network() {
    let site = Site::new();
    for n in 1..=30 {
        let name = format!("net{n}");
        let text = vlan(&name, n)
            + &subnet(&format!("sub{n}"), &name, "10.0.0.0/24", "")
            + &port(&format!("vm{n}"), &name, Mac::nth(n.into()), "");
        site.write(&format!("{name}.yaml"), &text);
    }
    let _agent = site.launch().physical(&["trunk=bridge:br-{vlan}"]).start();
    let mut not_yet = Vec::new();
    eventually("it is ready", LONG, || {
        let (code, body) = site.get("/readyz")?;
        if code != 200 {
            not_yet.push(body);
            return None;
        }
        Some(())
    });
    assert!(not_yet.iter().any(|body| body.contains("networks were not yet set up")), "{not_yet:?}");
    assert_eq!(site.dnsmasq_pids().len(), 30, "ready before all was there");
}

#[test]
fn without_listen_nobody_listens() {
    let site = Site::new();
    site.write("a.yaml", &lan());
    let agent = site.launch().more(&["--listen", "off"]).start();
    agent.until_logged("start dnsmasq");
    site.until_ready("Network", "lan");
    assert_eq!(site.get("/livez"), None);
}

#[test]
fn a_plan_on_a_fresh_machine_lists_all_and_changes_nothing() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let plan = site.plan();
    for part in
        ["create the network namespace", "create bridge br0", "add address 10.0.0.10/24", "start dnsmasq"]
    {
        assert!(plan.iter().any(|step| step.starts_with("team-a/lan ") && step.contains(part)), "{plan:#?}");
    }
    assert_eq!(site.remains(true), Vec::<String>::new());
    assert!(!site.state.exists(), "{:?}", files_of(&site.state));
    let _agent = site.start();
    site.assert_nothing_to_do();
    site.write("a.yaml", &lan().replace("vm.example.org", "new.example.org"));
    let gone = |step: &String| step.contains("start dnsmasq");
    eventually("the agent did what is planned", LONG, || (!site.plan().iter().any(gone)).then_some(()));
}

#[test]
fn a_second_agent_is_refused_and_told_of_the_first() {
    let site = Site::new();
    site.write("a.yaml", &lan());
    let agent = site.start();
    let done = lab::output(site.lab.command(BIN).args(site.launch().arguments("agent")));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains(&agent.pid().to_string()), "{said}");
    assert!(site.is_ready());
    agent.kill9();
    site.start();
}

#[test]
fn a_state_directory_that_others_cannot_reach_is_refused() {
    let site = Site::new();
    let closed = site.lab.state().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let state = closed.join("state");
    let arguments = ["agent", "--manifests", site.manifests.to_str().unwrap(), "--state-dir"];
    let done = lab::output(site.lab.command(BIN).args(arguments).arg(&state));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success(), "{said}");
    assert!(said.contains(&format!("chmod o+x {}", closed.display())), "{said}");
}

#[test]
fn a_log_in_json_is_json() {
    let site = Site::new();
    site.write("a.yaml", &lan());
    let agent = site.start();
    assert!(agent.actions().len() > 5);
    for line in agent.log() {
        // Into a map that does not take a key twice.
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok(), "{line}");
        let span = line.split_once("\"span\":{").map(|(_, rest)| rest.split('}').next().unwrap());
        assert!(span.is_none_or(|span| span.matches("\"name\":").count() < 2), "a key twice: {line}");
    }
    assert!(agent.log().iter().any(|line| line.contains("team-a/lan")));
}

#[test]
fn what_dnsmasq_says_is_said_again_with_keys_and_not_without_end() {
    const ASKED: usize = 200;
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let agent = site.start();
    let guest = site.guest(1);
    site.until_leased(&guest, [10, 0, 0, 20].into());
    // dnsmasq complains of whoever asks for an address of another subnet.
    let elsewhere =
        || Ask::new(MessageType::Discover).option(DhcpOption::SubnetSelection([192, 0, 2, 0].into()));
    let complaints = || {
        let log = std::fs::read_to_string(site.network_dir().join("log")).unwrap();
        log.lines().filter(|line| line.contains("no address range")).count()
    };
    let repeated = || {
        let lines = agent.log().into_iter().filter(|line| line.contains("no address range"));
        lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap()).collect::<Vec<_>>()
    };
    for sent in 1..=ASKED {
        guest.send(&elsewhere());
        // None is lost on the way.
        eventually("dnsmasq complains", LONG, || (complaints() >= sent).then_some(()));
    }
    // What it said at its start is among the twenty, if the agent read that late.
    let all =
        || agent.log().iter().filter(|line| line.contains("dnsmasq says") && line.contains("WARN")).count();
    eventually("some of it is repeated", LONG, || (all() >= 20).then_some(()));
    // The next one after a while says how many were not.
    let withheld = eventually("it is said how much was not", LONG, || {
        guest.send(&elsewhere());
        repeated().iter().find_map(|line| line["withheld"].as_u64().filter(|number| *number > 0))
    });
    println!("{} repeated, {withheld} withheld", repeated().len());
    assert!(repeated().len() < ASKED / 2, "{}", repeated().len());
    for line in repeated() {
        assert_eq!((&line["level"], &line["program"]), (&"WARN".into(), &"dnsmasq-dhcp".into()), "{line}");
        assert_eq!(
            (&line["message"], &line["span"]["network"]),
            (&"dnsmasq says".into(), &"team-a/lan".into())
        );
        assert!(line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn what_a_guest_has_written_into_the_log_is_bounded() {
    const MOST: u64 = 1 << 20;
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.launch().more(&["--resync-seconds", "3600"]).start_ready();
    let guest = site.guest(1);
    site.until_leased(&guest, [10, 0, 0, 20].into());
    // As a flood of packets does that dnsmasq complains of.
    let log = site.network_dir().join("log");
    let line = "Nov 23 08:00:00 dnsmasq-dhcp[7]: no address range available for DHCP request via dhcp0\n";
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    std::io::Write::write_all(&mut file, line.repeat(60_000).as_bytes()).unwrap();
    let length = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    eventually("the log is cut", PATIENCE, || {
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        (length(&log) <= MOST).then_some(())
    });
    eventually("its end is kept", PATIENCE, || (length(&log.with_extension("old")) == MOST).then_some(()));
    // What comes after it is read all the same.
    let ack = guest.dora();
    guest.decline(ack.yiaddr(), ack.server());
    let said = || site.status().object("Port", "vm1").map(ToString::to_string);
    eventually("a DECLINE is heard of", LONG, || said().filter(|port| port.contains("Declined")));
}

#[test]
fn a_dnsmasq_that_cannot_watch_its_files_is_said_and_started_again() {
    let site = Site::new();
    site.write("a.yaml", &(lan() + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.launch().more(&["--resync-seconds", "1"]).start_ready();
    let guest = site.guest(1);
    site.until_leased(&guest, [10, 0, 0, 20].into());
    let state = site.network_dir().ancestors().nth(2).unwrap().to_owned();
    let mode = |mode| std::fs::set_permissions(&state, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o700);
    site.lab.run(&format!("kill -9 {}", site.dnsmasq_pids()[0]));
    site.until_not_ready("Network", "lan", "HostFailed", "cannot read what it is to serve");
    mode(0o711);
    site.until_leased(&guest, [10, 0, 0, 20].into());
    site.until_ready("Port", "vm1");
}
