//! Networks with one server: because one was asked for, or because the nodes' kernels allow no second.

use serde_json::Value;

use crate::inside::inside;
use crate::serve::{NETWORK, mac};
use crate::site::{LAN, Node, Site, condition};

#[test]
fn a_network_that_asks_for_one_server_says_so() {
    inside("single::a_network_that_asks_for_one_server_says_so", async {
        let site = Site::running(2).await;
        site.apply(&NETWORK.replace("physicalNetworkRef:", "dhcp: {servers: 1}\n  physicalNetworkRef:"))
            .await;
        let network = site.until("Network", "a", single).await;
        assert_eq!(network.pointer("/status/servers/desired"), Some(&1.into()), "{network:#}");
        assert!(site.street.guest("br0", mac(1)).discover(&[]).is_some());
    });
}

fn single(network: &Value) -> bool {
    condition(network, "Ready", "status") == "True" && condition(network, "Ready", "reason") == "SingleServer"
}

const FORGET: &str = r#"
real=$(readlink -f "$(command -v iptables)")
cp "$real" /run/real-iptables
cat > /run/iptables <<'END'
#!/bin/bash
case " $* " in *" -m string "*) echo "Couldn't load match string" >&2; exit 2;; esac
exec -a "$0" /run/real-iptables "$@"
END
chmod 755 /run/iptables
mount --bind /run/iptables "$real"
"#;

/// An iptables that knows no string match, as on a kernel without the module.
fn forget_strings(node: &Node) {
    let done = crate::lab::output(node.lab.command("bash").args(["-ec", FORGET]));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn where_no_kernel_can_drop_naks_a_network_has_one_server() {
    inside("single::where_no_kernel_can_drop_naks_a_network_has_one_server", async {
        let mut site = Site::new(3).await;
        site.nodes.iter().take(2).for_each(forget_strings);
        site.apply(LAN).await;
        site.start_controller(&[]);
        for number in [1, 2] {
            site.start_agent(number, &[]);
            site.until_ready("DHCPAgent", &format!("n{number}")).await;
        }
        site.apply(NETWORK).await;
        let network = site.until("Network", "a", single).await;
        let message = condition(&network, "Ready", "message");
        println!("{message}");
        assert!(message.starts_with("1 of 2 servers: no node"), "{message}");
        assert_eq!(site.list("DHCPServer").await.len(), 1);
        let street = site.street.clone();
        let guest = street.guest("br0", mac(1));
        let ack = guest.dora();
        assert_eq!(ack.addresses(6).len(), 1, "a resolver that is not there");
        // A node that can is the better one; a second one like it is missing.
        site.start_agent(3, &[]);
        site.until("Network", "a", |a| condition(a, "Ready", "reason") == "FewerServers").await;
        let servers = site.list("DHCPServer").await;
        let active: Vec<_> = servers.iter().filter(|server| server["spec"]["state"] == "Active").collect();
        assert_eq!((active.len(), &active[0]["spec"]["nodeName"]), (1, &"n3".into()), "{active:#?}");
        let scheduled = condition(&site.get("Network", "a").await.unwrap(), "Scheduled", "message");
        assert!(scheduled.contains("2 lack SeveralServers"), "{scheduled}");
        guest.dora();
    });
}
