//! What the API server does not take: said where it belongs, and nothing else waits for it.

use serde_json::Value;

use crate::inside::inside;
use crate::serve::{NETWORK, mac};
use crate::site::{Site, condition};

/// As a quota or a webhook would.
fn policy(resource: &str, expression: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-{resource}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {{apiGroups: [kube-dhcp.io], apiVersions: [\"*\"], operations: [CREATE], resources: [{resource}]}}
  validations: [{{expression: \"{expression}\", message: enough of them}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-{resource}}}
spec: {{policyName: no-{resource}, validationActions: [Deny]}}
"
    )
}

/// A policy is in force some time after it was made.
fn until_in_force(site: &Site, refused: &str) {
    let file = site.plane.directory().join("refused.yaml");
    std::fs::write(&file, refused).unwrap();
    crate::lab::eventually("the policy is in force", crate::site::LONG, || {
        let tried = site.plane.try_kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()]);
        tried.err().filter(|why| why.contains("enough of them"))
    });
}

const REFUSED: &str = "
apiVersion: kube-dhcp.io/v1alpha1
kind: IPAllocation
metadata: {name: a.10.0.0.77, namespace: default}
spec: {networkName: a, networkUID: 00000000-0000-4000-8000-000000000001, subnetName: a-v4, ip: 10.0.0.77,
  holder: {type: ServerSlot, slot: 0}}
";

fn port(name: &str, number: u8, ip: &str) -> String {
    format!(
        "
apiVersion: kube-dhcp.io/v1alpha1
kind: Port
metadata: {{name: {name}, namespace: default}}
spec: {{networkRef: {{name: a}}, macAddress: \"{}\", addresses: [{{ip: {ip}}}]}}
",
        mac(number)
    )
}

#[test]
fn an_allocation_that_is_refused_keeps_nobody_else_waiting() {
    inside("refused::an_allocation_that_is_refused_keeps_nobody_else_waiting", async {
        let site = Site::running(3).await;
        site.apply(&policy("ipallocations", "object.spec.ip != '10.0.0.77'")).await;
        until_in_force(&site, REFUSED);
        site.apply(NETWORK).await;
        site.until_ready("Network", "a").await;
        site.apply(&port("unlucky", 7, "10.0.0.77")).await;
        let why = |port: &Value| condition(port, "Ready", "reason") == "RefusedByAPIServer";
        let unlucky = site.until("Port", "unlucky", why).await;
        let message = condition(&unlucky, "Allocated", "message");
        println!("{message}");
        assert!(message.contains("10.0.0.77") && message.contains("enough of them"), "{message}");
        assert_eq!(unlucky.pointer("/status/addresses"), None);
        assert!(site.street.guest("br0", mac(7)).silent());
        // Others come, and a node that dies is replaced.
        site.apply(&port("lucky", 8, "10.0.0.78")).await;
        site.until_ready("Port", "lucky").await;
        assert_eq!(site.street.guest("br0", mac(8)).dora().yiaddr().to_string(), "10.0.0.78");
        site.plane.kubectl(&["delete", "validatingadmissionpolicybinding", "no-ipallocations"]);
        site.until_ready("Port", "unlucky").await;
        assert_eq!(site.street.guest("br0", mac(7)).dora().yiaddr().to_string(), "10.0.0.77");
    });
}

#[test]
fn a_server_that_is_refused_leaves_the_others_serving() {
    inside("refused::a_server_that_is_refused_leaves_the_others_serving", async {
        let site = Site::running(2).await;
        site.apply(&policy("dhcpservers", "object.spec.nodeName != 'n2'")).await;
        let refused = "
apiVersion: kube-dhcp.io/v1alpha1
kind: DHCPServer
metadata: {name: a.n2, namespace: default}
spec: {networkRef: {name: a, uid: 00000000-0000-4000-8000-000000000001}, nodeName: n2, slot: 0, state: Active, addresses: []}
";
        until_in_force(&site, refused);
        site.apply(NETWORK).await;
        let fewer = |network: &Value| condition(network, "Ready", "reason") == "FewerServers";
        let network = site.until("Network", "a", fewer).await;
        let message = condition(&network, "Scheduled", "message");
        assert!(message.contains("enough of them"), "{message}");
        site.apply(&port("lucky", 8, "10.0.0.78")).await;
        site.until_ready("Port", "lucky").await;
        assert_eq!(site.street.guest("br0", mac(8)).dora().yiaddr().to_string(), "10.0.0.78");
    });
}
