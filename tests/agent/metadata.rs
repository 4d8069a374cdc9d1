//! The metadata service: a guest asks at its well-known address, a server of the operator's answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::agent::Launch;
use crate::lab::{Guest, Lab, Mac};
use crate::manifests::{fixed, network, object, port, subnet};
use crate::site::{LONG, Site, patiently};

const UPSTREAM: &str = "--metadata-upstream=http://127.0.0.1:8775";

/// The operator's server: it answers each request with the request's own head, and keeps that.
struct Upstream(Arc<Mutex<Vec<String>>>);

impl Upstream {
    fn start(lab: &Lab) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (listener, kept) =
            (lab.in_netns(None, || TcpListener::bind("127.0.0.1:8775").unwrap()), heads.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self(heads)
    }

    fn heads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, heads: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    if head.starts_with("GET /hang") {
        // Until the other side has had enough.
        let _ = stream.read(&mut byte);
        return;
    }
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n{head}",
        head.len()
    );
}

/// Network `lan` that has no router, and asks for metadata.
fn isolated(kind: &str) -> String {
    network("lan", &format!("metadataService: {{type: {kind}}}"))
        + &subnet(
            "lan-v4",
            "lan",
            "10.0.0.0/24",
            "gateway: {type: None}\npools: [{first: 10.0.0.10, last: 10.0.0.250}]",
        )
}

fn lan_v6() -> String {
    let spec = "ipv6: {addressMode: DHCPv6Stateful}\ngateway: {type: None}";
    subnet("lan-v6", "lan", "2001:db8::/64", spec)
}

fn launch(site: &Site) -> Launch<'_> {
    site.launch().node(&[UPSTREAM])
}

/// What is left to be done.
fn plan(site: &Site) -> String {
    let text = site.run(&launch(site).arguments("plan"));
    if text.starts_with("Nothing to do.") { String::new() } else { text }
}

/// A guest that has this address, and knows the way.
fn configured<'s>(site: &'s Site, bridge: &str, n: u32, ip: &str) -> Guest<'s> {
    let guest = site.lab.guest(bridge, Mac::nth(n));
    site.lab.address(guest.netns(), "eth0", &format!("{ip}/24"));
    site.lab.run_in(guest.netns(), "ip route replace 169.254.169.254/32 dev eth0");
    guest
}

/// A connection to the service.
fn connect(guest: &Guest<'_>, six: bool) -> std::io::Result<TcpStream> {
    let stream = guest.lab().metadata(guest.netns(), six, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(LONG)).unwrap();
    Ok(stream)
}

/// Status code and the rest of what is answered to this head.
fn ask_over(guest: &Guest<'_>, six: bool, head: &str) -> (u16, String) {
    let mut stream = connect(guest, six).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap_or_else(|| panic!("{head}: {text:?}")).parse().unwrap(), text)
}

fn ask(guest: &Guest<'_>, path: &str) -> (u16, String) {
    ask_over(guest, false, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

fn until_answered(guest: &Guest<'_>) {
    patiently("metadata is answered", |instead| {
        let answer = connect(guest, false).map(|_| ask(guest, "/").0);
        *instead = format!("{answer:?}");
        answer.is_ok_and(|code| code == 200).then_some(())
    });
}

/// Classless routes.
const ROUTES: u8 = 121;

#[test]
fn a_guest_is_answered_in_its_ports_name_and_in_no_other() {
    let site = Site::new();
    let upstream = Upstream::start(&site.lab);
    let both = "addresses: [{ip: 10.0.0.20}, {ip: '2001:db8::20'}]";
    site.write(
        "a.yaml",
        &(isolated("IsolatedSubnets")
            + &lan_v6()
            + &port("vm1", "lan", Mac::nth(1), both)
            + &fixed("vm2", Mac::nth(2), "10.0.0.21", "")),
    );
    let _agent = launch(&site).start_ready();
    site.until_ready("Network", "lan");
    site.until_ready("Port", "vm1");
    let guest = configured(&site, "br0", 1, "10.0.0.20");
    let ack = site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 20));
    let way = [32, 169, 254, 169, 254, 0, 0, 0, 0];
    assert_eq!(ack.option(ROUTES), Some(&way[..]));
    assert_eq!(ack.option(3), None);
    let state = site.state.to_str().unwrap();
    let told = site.run(&["status", "--state-dir", state, "--port", "team-a/vm1"]);
    assert!(told.contains("169.254.169.254/32"), "{told}");

    until_answered(&guest);
    let spoof = "GET /latest/user-data?a=b HTTP/1.1\r\nHost: other\r\nX-Kube-Dhcp-Port: vm2\r\nx_kube_dhcp_port: vm2\r\n\
                 X-Forwarded-For: 10.0.0.21\r\nX-Instance-ID: vm2\r\nConnection: close, x-kube-dhcp-port\r\nX-Mine: 1\r\n\r\n";
    let (code, text) = ask_over(&guest, false, spoof);
    let sent = upstream.heads().pop().unwrap();
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("x-kept: 1") && !text.to_lowercase().contains("x-hop"), "{text}");
    assert!(sent.starts_with("GET /latest/user-data?a=b HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("host: 127.0.0.1:8775\r\n") && sent.contains("x-mine: 1\r\n"), "{sent}");
    for (header, value) in [("namespace", "team-a"), ("network", "lan"), ("port", "vm1")] {
        assert!(sent.contains(&format!("x-kube-dhcp-{header}: {value}\r\n")), "{sent}");
    }
    assert!(sent.contains("x-forwarded-for: 10.0.0.20\r\n"), "{sent}");
    assert!(!sent.contains("vm2") && !sent.contains("10.0.0.21") && !sent.contains("instance"), "{sent}");

    // Over IPv6 it is known by the address that its device has by default.
    let (code, text) = ask_over(&guest, true, "GET /six HTTP/1.0\r\n\r\n");
    assert_eq!(code, 200, "{text}");
    let sent = upstream.heads().pop().unwrap();
    assert!(sent.contains("x-kube-dhcp-port: vm1\r\n"), "{sent}");
    assert!(sent.contains(&format!("x-forwarded-for: {}\r\n", Mac::nth(1).link_local())), "{sent}");

    // What is none of its business goes nowhere.
    let before = upstream.heads().len();
    for head in [
        "GET http://127.0.0.1:9467/metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a/../../b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let (code, text) = ask_over(&guest, false, head);
        assert!((400..=405).contains(&code), "{head}: {text}");
    }
    // Nobody's address: told so.
    let stranger = configured(&site, "br0", 9, "10.0.0.99");
    assert_eq!(ask(&stranger, "/").0, 404);
    // A neighbour's: not even heard.
    let liar = configured(&site, "br0", 3, "10.0.0.21");
    assert!(connect(&liar, false).is_err(), "who has a neighbour's address is heard");
    site.lab.run_in(liar.netns(), "ip link set eth0 down");
    assert_eq!(upstream.heads().len(), before);
    assert_eq!(ask(&configured(&site, "br0", 2, "10.0.0.21"), "/").0, 200, "the neighbour itself");
    // With two link-local addresses the server speaks DHCPv6 as before.
    site.until_leased6(&site.lab.twin6(guest.netns(), Mac::nth(1)), "2001:db8::20".parse().unwrap());
    let (_, metrics) = site.get("/metrics").unwrap();
    assert!(metrics.contains("kube_dhcp_agent_metadata_requests_total{result=\"Stranger\"} 1"), "{metrics}");
    assert_eq!(plan(&site), "");
}

#[test]
fn a_network_without_a_metadata_server_is_told_so_and_served() {
    let site = Site::new();
    site.write("a.yaml", &(isolated("Always") + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")));
    let _agent = site.start();
    site.until_ready("Port", "vm1");
    let guest = site.guest(1);
    let ack = site.until_leased(&guest, Ipv4Addr::new(10, 0, 0, 20));
    assert_eq!(ack.option(ROUTES), None);
    let ready = site.status().condition("Network", "lan", "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "MetadataNotServed"));
    assert!(ready.message.contains("--metadata-upstream"), "{}", ready.message);
}

#[test]
fn a_subnet_with_a_gateway_is_led_there_only_if_all_are() {
    let site = Site::new();
    let routed = |kind: &str| {
        network("lan", &format!("metadataService: {{type: {kind}}}"))
            + &subnet("lan-v4", "lan", "10.0.0.0/24", "pools: [{first: 10.0.0.10, last: 10.0.0.250}]")
            + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")
    };
    let _upstream = Upstream::start(&site.lab);
    site.write("a.yaml", &routed("IsolatedSubnets"));
    let _agent = launch(&site).start_ready();
    let guest = configured(&site, "br0", 1, "10.0.0.20");
    let address = Ipv4Addr::new(10, 0, 0, 20);
    assert_eq!(site.until_leased(&guest, address).option(ROUTES), None);
    assert!(connect(&guest, false).is_err());
    site.write("a.yaml", &routed("Always"));
    until_answered(&guest);
    let way = [32, 169, 254, 169, 254, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    patiently("the guest is told both ways", |instead| {
        let ack = guest.dora();
        *instead = format!("{:?}", ack.option(ROUTES));
        (ack.option(ROUTES) == Some(&way[..])).then_some(())
    });
}

#[test]
fn a_guest_that_keeps_many_connections_busy_is_in_nobodys_way() {
    let site = Site::new();
    let _upstream = Upstream::start(&site.lab);
    site.write(
        "a.yaml",
        &(isolated("Always")
            + &fixed("vm1", Mac::nth(1), "10.0.0.20", "")
            + &fixed("vm2", Mac::nth(2), "10.0.0.21", "")),
    );
    let _agent = launch(&site).start_ready();
    let (bad, good) = (configured(&site, "br0", 1, "10.0.0.20"), configured(&site, "br0", 2, "10.0.0.21"));
    until_answered(&good);
    let began = Instant::now();
    let mut held: Vec<_> = (0..200).filter_map(|_| connect(&bad, false).ok()).collect();
    for stream in &mut held {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ");
    }
    for _ in 0..20 {
        assert_eq!(ask(&good, "/").0, 200);
    }
    assert!(site.until_leased(&good, Ipv4Addr::new(10, 0, 0, 21)).checksum_ok);
    // A byte now and then keeps no connection open.
    let open = |stream: &mut TcpStream| stream.write_all(b"x").is_ok();
    patiently("the slow connections are closed", |instead| {
        let count = held.iter_mut().filter_map(|stream| open(stream).then_some(())).count();
        *instead = count.to_string();
        (count == 0).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(ask(&bad, "/").0, 200);
    // More requests than anybody needs: the others go on.
    let many = "GET /.. HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    let (_, text) = ask_over(&bad, false, &(many + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert!(text.contains("HTTP/1.1 400 ") && text.contains("HTTP/1.1 429 "), "{text}");
    assert_eq!(ask(&good, "/").0, 200);
    // A server that does not answer.
    let (code, _) = ask(&good, "/hang");
    assert_eq!(code, 504);
}

#[test]
fn guests_of_two_networks_with_one_address_are_told_apart() {
    let site = Site::new();
    let upstream = Upstream::start(&site.lab);
    let whole = |name: &str, id: u16, mac: u32| {
        let spec = format!(
            "physicalNetworkRef: {{name: trunk}}\nsegmentation: {{type: VLAN, vlan: {{id: {id}}}}}\nmetadataService: {{type: Always}}"
        );
        object("Network", name, &spec)
            + &subnet(name, name, "10.0.0.0/24", "")
            + &port(&format!("{name}-vm"), name, Mac::nth(mac), "addresses: [{ip: 10.0.0.20}]")
    };
    site.write("a.yaml", &(whole("one", 1, 1) + &whole("two", 2, 2)));
    let _agent = launch(&site).physical(&["trunk=bridge:br{vlan}"]).start_ready();
    for (n, name) in [(1, "one"), (2, "two")] {
        let guest = configured(&site, &format!("br{n}"), n, "10.0.0.20");
        until_answered(&guest);
        let sent = upstream.heads().pop().unwrap();
        assert!(sent.contains(&format!("x-kube-dhcp-network: {name}\r\n")), "{sent}");
        assert!(sent.contains(&format!("x-kube-dhcp-port: {name}-vm\r\n")), "{sent}");
    }
}

#[test]
fn it_is_back_after_a_crash_and_after_damage_and_gone_with_its_network() {
    let site = Site::new();
    let _upstream = Upstream::start(&site.lab);
    site.write(
        "a.yaml",
        &(isolated("Always")
            + &lan_v6()
            + &port("vm1", "lan", Mac::nth(1), "addresses: [{ip: 10.0.0.20}, {ip: '2001:db8::20'}]")),
    );
    let agent = launch(&site).start_ready();
    let guest = configured(&site, "br0", 1, "10.0.0.20");
    until_answered(&guest);
    let servers = site.dnsmasq_pids();
    agent.kill9();
    assert!(connect(&guest, false).is_err(), "nobody is there");
    let agent = launch(&site).more(&["--resync-seconds=1"]).start_ready();
    assert_eq!(ask(&guest, "/").0, 200);
    assert_eq!(agent.actions(), ["serve metadata over IPv4 and IPv6 to 3 addresses"]);
    let namespace = site.namespace();
    for damage in [
        "ip address del 169.254.169.254/32 dev lo",
        "ip address del fe80::a9fe:a9fe/128 dev dhcp0",
        "nft delete table ip kube-dhcp-metadata",
        "nft flush chain ip6 kube-dhcp-metadata output",
        "ip link set dhcp0 down",
    ] {
        let actions = agent.actions().len();
        site.lab.run_in(&namespace, damage);
        patiently(&format!("{damage:?} is mended"), |instead| {
            *instead = format!("{:#?}", agent.actions());
            (agent.actions().len() > actions && plan(&site).is_empty()).then_some(())
        });
        assert_eq!(ask_over(&guest, true, "GET / HTTP/1.0\r\n\r\n").0, 200, "{damage}");
        assert_eq!(ask(&guest, "/").0, 200, "{damage}");
    }
    assert_eq!(site.dnsmasq_pids(), servers);
    // Idle connections do not keep the namespace.
    let idle = connect(&guest, false).unwrap();
    site.write("a.yaml", &(isolated("None") + &lan_v6()));
    patiently("nobody listens", |_| connect(&guest, false).is_err().then_some(()));
    patiently("nothing is left to do", |instead| {
        *instead = plan(&site);
        plan(&site).is_empty().then_some(())
    });
    assert!(!site.lab.run_in(&namespace, "ip address").contains("a9fe"));
    site.write("a.yaml", &isolated("Always"));
    patiently("it is back", |_| connect(&guest, false).ok());
    site.remove_all();
    patiently("nothing is left but the bridge that the guest is in", |instead| {
        let remains = site.remains(true);
        *instead = format!("{remains:#?}");
        (remains == ["br0"]).then_some(())
    });
    drop(idle);
}
