//! Two nodes serve metadata at the same addresses of one segment, and no guest falls between them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::inside::inside;
use crate::lab::Lab;
use crate::serve::{NETWORK, STATEFUL, mac, subnet};
use crate::site::{LAN, LONG, Site, condition};

const UPSTREAM: &str = "--metadata-upstream=http://127.0.0.1:8775";

/// The operator's server, on one node: it says which one that is.
fn serve(lab: &Lab, node: &str) {
    let listener = lab.in_netns(None, || TcpListener::bind("127.0.0.1:8775").unwrap());
    let node = node.to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let port = head.lines().find_map(|line| line.strip_prefix("x-kube-dhcp-port: "));
            let body = format!("{node} {}", port.unwrap_or_default());
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
}

/// What a guest is answered, a connection for each question; or why it is not.
fn ask(street: &Lab, netns: &str, six: bool) -> std::io::Result<String> {
    let mut stream = street.metadata(netns, six, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

#[test]
fn a_guest_stays_with_one_of_two_servers_and_finds_the_other_when_that_dies() {
    inside("metadata::a_guest_stays_with_one_of_two_servers_and_finds_the_other_when_that_dies", async {
        let mut site = Site::new(2).await;
        site.apply(LAN).await;
        site.start_controller(&[]);
        for number in 1..=2 {
            serve(&site.nodes[number - 1].lab, &format!("n{number}"));
            site.start_agent(number, &[UPSTREAM]);
        }
        let network = NETWORK.replace("  dns: {domain", "  metadataService: {type: Always}\n  dns: {domain");
        site.apply(&network).await;
        site.apply(&subnet("a-v6", "2001:db8::/64", STATEFUL)).await;
        let both = |a: &Value| a.pointer("/status/servers/ready") == Some(&json!(2));
        site.until("Network", "a", both).await;
        site.until_ready("Port", "p1").await;
        for server in site.list("DHCPServer").await {
            let name = server.pointer("/metadata/name").and_then(Value::as_str).unwrap();
            site.until("DHCPServer", name, |s| condition(s, "MetadataServed", "status") == "True").await;
        }
        let agent = site.get("DHCPAgent", "n1").await.unwrap();
        let features = agent.pointer("/status/features").unwrap().as_array().unwrap().clone();
        assert!(features.contains(&json!("Metadata")), "{features:?}");

        site.street.plug("br0", "g", "eth0", mac(1));
        site.street.address("g", "eth0", "10.0.0.20/24");
        site.street.run_in("g", "ip route replace 169.254.169.254/32 dev eth0");
        let mut first = String::new();
        for six in [false, true] {
            for round in 0..40 {
                // Each time it has to ask the segment anew, and both servers answer.
                site.street.run_in("g", "ip neighbour flush dev eth0");
                for _ in 0..3 {
                    let said = ask(&site.street, "g", six);
                    first = said.unwrap_or_else(|e| panic!("round {round}, IPv6 {six}: {e}"));
                    assert!(first.ends_with(" p1"), "{first}");
                }
            }
        }
        let dead: usize = first[1..2].parse().unwrap();
        site.power_off(dead);
        let began = Instant::now();
        for six in [true, false] {
            let answered = async || ask(&site.street, "g", six).map_err(|e| e.to_string());
            let other = site.eventually(LONG, answered).await;
            println!("IPv6 {six}: {other} after {:?}", began.elapsed());
            assert_eq!(other, format!("n{} p1", 3 - dead));
        }
    });
}

#[test]
fn an_agent_without_a_metadata_server_says_so() {
    inside("metadata::an_agent_without_a_metadata_server_says_so", async {
        let site = Site::running(2).await;
        let network = NETWORK.replace("  dns: {domain", "  metadataService: {type: Always}\n  dns: {domain");
        site.apply(&network).await;
        site.until_ready("Port", "p1").await;
        let told = |a: &Value| {
            condition(a, "Ready", "status") == "True"
                && condition(a, "Ready", "reason") == "MetadataNotServed"
        };
        let network = site.until("Network", "a", told).await;
        assert!(condition(&network, "Ready", "message").contains("--metadata-upstream"), "{network:#}");
        for server in site.list("DHCPServer").await {
            assert_eq!(condition(&server, "MetadataServed", "reason"), "MetadataNotServed");
            assert_eq!(condition(&server, "Programmed", "status"), "True");
        }
    });
}
