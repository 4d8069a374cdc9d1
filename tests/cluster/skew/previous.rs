//! A real program of the version before, where somebody has one: `KUBE_DHCP_PREVIOUS` is its path, which
//! ends with `kube-dhcp`.

use super::{both_ready, lines, servers, until_told_txt, with_txt};
use crate::inside::inside;
use crate::lab::eventually;
use crate::serve::{NETWORK, mac, port};
use crate::site::{BIN, LAN, LONG, Site, condition};

fn previous() -> String {
    let path =
        std::env::var("KUBE_DHCP_PREVIOUS").expect("KUBE_DHCP_PREVIOUS names a kube-dhcp to test with");
    assert!(path.ends_with("/kube-dhcp"), "{path}: processes are known by that name");
    path
}

fn answered(site: &Site, n: u8, address: &str) {
    assert_eq!(site.street.guest("br0", mac(n)).dora().yiaddr().to_string(), address);
}

async fn until_all_well(site: &Site) {
    let well =
        |network: &serde_json::Value| both_ready(network) && condition(network, "Ready", "reason") == "Ready";
    site.until("Network", "a", well).await;
}

/// The agent of a node and its dnsmasq end, and that program starts in its place, while the API server is
/// away: all that it has is what the other version wrote.
async fn starts_from_its_files(site: &mut Site, program: &str) {
    site.nodes[0].until_copied("p1");
    site.plane.stop_api();
    site.nodes[0].kill_agent();
    for pid in site.nodes[0].servers() {
        site.nodes[0].kill(pid);
    }
    site.start_agent_of(program, 1, &[]);
    let node = &site.nodes[0];
    let copy = || node.status()["node"]["source"] == "LastGoodCopy";
    eventually("it serves from its copy", LONG, || (node.servers().len() == 1 && copy()).then_some(()));
    answered(site, 1, "10.0.0.20");
    site.plane.start_api().await;
}

#[test]
#[ignore = "needs a build of the version before: KUBE_DHCP_PREVIOUS"]
fn an_older_agent_beside_a_newer_controller() {
    inside("skew::previous::an_older_agent_beside_a_newer_controller", async {
        let (previous, mut site) = (previous(), Site::new(2).await);
        site.apply(LAN).await;
        site.start_controller(&[]);
        site.start_agent_of(&previous, 1, &[]);
        site.start_agent(2, &[]);
        site.apply(NETWORK).await;
        until_all_well(&site).await;
        site.until_ready("Port", "p1").await;
        let capture = site.street.capture("br0");
        answered(&site, 1, "10.0.0.20");
        let placed = servers(&site).await;
        // Upgraded, downgraded, and upgraded again.
        for program in [BIN, &previous, BIN, &previous] {
            starts_from_its_files(&mut site, program).await;
            until_all_well(&site).await;
        }
        assert_eq!(servers(&site).await, placed);
        assert_eq!(lines(&site, "ERROR"), "", "what the other version wrote is read");
        site.apply(&with_txt()).await;
        let lacks =
            |network: &serde_json::Value| condition(network, "Ready", "reason") == "AgentLacksFeature";
        let network = site.until("Network", "a", lacks).await;
        println!("{}", condition(&network, "Ready", "message"));
        site.nodes[0].kill_agent();
        site.start_agent(1, &[]);
        until_all_well(&site).await;
        let guest = site.street.guest("br0", mac(1));
        let ack = guest.dora();
        guest.configure("10.0.0.20/24", None);
        until_told_txt(&site, &guest, ack.server()).await;
        capture.assert_no_nak();
    });
}

#[test]
#[ignore = "needs a build of the version before: KUBE_DHCP_PREVIOUS"]
fn an_older_controller_beside_newer_agents() {
    inside("skew::previous::an_older_controller_beside_newer_agents", async {
        let (previous, mut site) = (previous(), Site::new(2).await);
        site.apply(LAN).await;
        site.start_agents();
        site.apply(NETWORK).await;
        // Each ends, and the other version has what it made.
        let mut placed = None;
        for (turn, program) in [&*previous, BIN, &previous].into_iter().enumerate() {
            site.start_controller_of(program, &[]);
            until_all_well(&site).await;
            let n = u8::try_from(turn).unwrap() + 2;
            site.apply_object(&port(n)).await;
            let ready = site.until_ready("Port", &format!("p{n}")).await;
            let address = ready.pointer("/status/addresses/0/ip").unwrap().as_str().unwrap().to_owned();
            answered(&site, n, &address);
            agents_tell_what_it_does_not_know(&site, &address).await;
            let now = servers(&site).await;
            assert_eq!(*placed.get_or_insert_with(|| now.clone()), now, "nothing moves");
            let controller = site.controller(turn);
            controller.kill().unwrap();
            controller.wait().unwrap();
        }
        answered(&site, 1, "10.0.0.20");
    });
}

/// TXT records come and go.
async fn agents_tell_what_it_does_not_know(site: &Site, address: &str) {
    let n = site.list("Port").await.len();
    let guest = site.street.guest("br0", mac(u8::try_from(n).unwrap()));
    let ack = guest.dora();
    guest.configure(&format!("{address}/24"), None);
    site.apply(&with_txt()).await;
    until_told_txt(site, &guest, ack.server()).await;
    site.apply(NETWORK).await;
    until_all_well(site).await;
}
