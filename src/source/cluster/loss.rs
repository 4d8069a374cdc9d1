//! What a change takes back from somebody.
//!
//! Asked by the mirror for each change. Pure. What is taken back may be given to others as soon as this node
//! says that it gives it no more; so that must hold after its next start, too.

use crate::api::{DHCPServer, Identity, IdentityType, Port, PortDhcp, ServerState};
use crate::source::Object;
use crate::types::ObjectName;

/// The network that gives less from `before` to `now`; `None`: it gives as much.
pub(super) fn loss(before: &Object, now: Option<&Object>) -> Option<ObjectName> {
    match (before, now) {
        (Object::Port(before), Some(Object::Port(now))) => {
            let now: Vec<_> = given(now).collect();
            given(before).any(|address| !now.contains(&address)).then(|| network_of_port(before))
        }
        (Object::Port(before), _) => given(before).next().map(|_| network_of_port(before)),
        (Object::Server(before), Some(Object::Server(now))) => {
            (is_active(before) && !is_active(now)).then(|| network_of_server(before))
        }
        (Object::Server(before), _) => is_active(before).then(|| network_of_server(before)),
        _ => None,
    }
}

/// The network that a server is of.
pub(super) fn network_of_server(server: &DHCPServer) -> ObjectName {
    ObjectName::new(namespace(&server.metadata), &server.spec.network_ref.name)
}

fn network_of_port(port: &Port) -> ObjectName {
    ObjectName::new(namespace(&port.metadata), &port.spec.network_ref.name)
}

fn namespace(metadata: &kube::core::ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

fn is_active(server: &DHCPServer) -> bool {
    server.spec.state == ServerState::Active
}

/// To whom DHCP answers with what.
fn given(port: &Port) -> impl Iterator<Item = (Option<&str>, &Identity, &str)> {
    let (mac, identity) = (port.spec.mac_address.as_deref(), &port.spec.identity);
    let is_known = mac.is_some() || identity.r#type != IdentityType::MacAddress;
    let answered = is_known && port.spec.dhcp == PortDhcp::Enabled;
    let addresses = port.status.iter().filter(move |_| answered).flat_map(|status| &status.addresses);
    addresses.map(move |address| (mac, identity, address.ip.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Kind;
    use serde_json::{Value, json};

    fn object(kind: Kind, spec: &Value, status: &Value) -> Object {
        let value = json!({
            "apiVersion": crate::api::API_VERSION, "kind": kind.as_str(),
            "metadata": {"name": "x", "namespace": "a"}, "spec": spec, "status": status,
        });
        Object::from_value(kind, &value).unwrap()
    }

    fn port(mac: u8, dhcp: &str, ips: &[&str]) -> Object {
        let spec = json!({"networkRef": {"name": "n"}, "macAddress": format!("02:00:00:00:00:{mac:02x}"), "dhcp": dhcp});
        let addresses: Vec<_> = ips.iter().map(|ip| json!({"ip": ip, "subnetName": "s"})).collect();
        object(Kind::Port, &spec, &json!({"observedGeneration": 1, "addresses": addresses}))
    }

    fn server(state: &str) -> Object {
        let network = json!({"name": "n", "uid": "u"});
        let spec = json!({"networkRef": network, "nodeName": "n1", "slot": 0, "state": state});
        object(Kind::DhcpServer, &spec, &json!({"observedGeneration": -1}))
    }

    #[test]
    fn what_a_guest_can_no_longer_get_is_a_loss() {
        let before = port(1, "Enabled", &["10.0.0.5", "10.0.1.5"]);
        let lost = |now: Option<Object>| loss(&before, now.as_ref()) == Some(ObjectName::new("a", "n"));
        assert!(lost(None));
        assert!(lost(Some(port(1, "Enabled", &["10.0.0.5"]))));
        assert!(lost(Some(port(2, "Enabled", &["10.0.0.5", "10.0.1.5"]))));
        assert!(lost(Some(port(1, "Disabled", &["10.0.0.5", "10.0.1.5"]))));
        assert!(!lost(Some(port(1, "Enabled", &["10.0.1.5", "10.0.0.5", "10.0.2.5"]))));
        assert_eq!(loss(&port(1, "Enabled", &[]), None), None);
        assert_eq!(loss(&port(1, "Disabled", &["10.0.0.5"]), None), None);
    }

    #[test]
    fn a_server_that_is_withdrawn_or_gone_is_a_loss() {
        let network = Some(ObjectName::new("a", "n"));
        assert_eq!(loss(&server("Active"), Some(&server("Withdrawn"))), network);
        assert_eq!(loss(&server("Active"), None), network);
        assert_eq!(loss(&server("Active"), Some(&server("Active"))), None);
        assert_eq!(loss(&server("Withdrawn"), None), None);
    }
}
