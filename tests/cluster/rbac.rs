//! Who may do what, as `deploy/rbac` says, asked of the API server's own authorizer.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};

use crate::control_plane::ControlPlane;
use crate::inside::inside;
use crate::installed;

const AGENT: &str = "system:serviceaccount:kube-dhcp-system:agent";
const CONTROLLER: &str = "system:serviceaccount:kube-dhcp-system:controller";
const OURS: &str = "kube-dhcp-system";

/// Who, verbs, resource (`group/resource/subresource`), namespace, and whether all verbs are allowed
/// or none of them.
type Line = (&'static str, &'static str, &'static str, &'static str, bool);

#[rustfmt::skip]
const TABLE: &[Line] = &[
    (AGENT, "get list watch", "kube-dhcp.io/networks", "", true),
    (AGENT, "get list watch", "kube-dhcp.io/ports", "team-a", true),
    (AGENT, "create update patch delete", "kube-dhcp.io/ports", "team-a", false),
    (AGENT, "update patch", "kube-dhcp.io/ports/status", "team-a", false),
    (AGENT, "get list watch", "kube-dhcp.io/dhcpservers", "", true),
    (AGENT, "create update patch delete", "kube-dhcp.io/dhcpservers", "team-a", false),
    (AGENT, "patch", "kube-dhcp.io/dhcpservers/status", "team-a", true),
    (AGENT, "update", "kube-dhcp.io/dhcpservers/status", "team-a", false),
    (AGENT, "create get list watch patch", "kube-dhcp.io/dhcpagents", "", true),
    (AGENT, "delete", "kube-dhcp.io/dhcpagents", "", false),
    (AGENT, "patch", "kube-dhcp.io/dhcpagents/status", "", true),
    (AGENT, "get list watch", "kube-dhcp.io/ipallocations", "", false),
    (AGENT, "list watch", "/namespaces", "", false),
    (AGENT, "get list", "/secrets", OURS, false),
    (AGENT, "get list", "/pods", OURS, false),
    (AGENT, "get list", "/nodes", "", false),
    (AGENT, "create patch", "coordination.k8s.io/leases", OURS, true),
    (AGENT, "get list watch update delete", "coordination.k8s.io/leases", OURS, false),
    (AGENT, "get create update", "coordination.k8s.io/leases", "kube-node-lease", false),
    (AGENT, "create patch update", "events.k8s.io/events", "team-a", false),

    (CONTROLLER, "get list watch", "kube-dhcp.io/physicalnetworks", "", true),
    (CONTROLLER, "create update patch delete", "kube-dhcp.io/networks", "team-a", false),
    (CONTROLLER, "create update patch delete", "kube-dhcp.io/subnets", "team-a", false),
    (CONTROLLER, "create update patch delete", "kube-dhcp.io/ports", "team-a", false),
    (CONTROLLER, "patch", "kube-dhcp.io/ports/status", "team-a", true),
    (CONTROLLER, "update", "kube-dhcp.io/ports/status", "team-a", false),
    (CONTROLLER, "patch", "kube-dhcp.io/physicalnetworks/status", "", true),
    (CONTROLLER, "create patch delete get list watch", "kube-dhcp.io/dhcpservers", "team-a", true),
    (CONTROLLER, "create patch delete get list watch", "kube-dhcp.io/ipallocations", "team-a", true),
    (CONTROLLER, "update", "kube-dhcp.io/ipallocations", "team-a", false),
    (CONTROLLER, "delete get list watch", "kube-dhcp.io/dhcpagents", "", true),
    (CONTROLLER, "create update patch", "kube-dhcp.io/dhcpagents", "", false),
    (CONTROLLER, "get list watch", "/nodes", "", true),
    (CONTROLLER, "update patch delete", "/nodes", "", false),
    (CONTROLLER, "get list watch create update", "coordination.k8s.io/leases", OURS, true),
    (CONTROLLER, "patch delete", "coordination.k8s.io/leases", OURS, false),
    (CONTROLLER, "get list", "coordination.k8s.io/leases", "kube-system", false),
    (CONTROLLER, "get list", "/secrets", OURS, false),
    (CONTROLLER, "create", "events.k8s.io/events", "team-a", true),
    (CONTROLLER, "patch update", "events.k8s.io/events", "team-a", false),

    ("viewer", "get list watch", "kube-dhcp.io/ports", "team-a", true),
    ("viewer", "get list watch", "kube-dhcp.io/dhcpservers", "team-a", true),
    ("viewer", "get list watch", "kube-dhcp.io/ipallocations", "team-a", true),
    ("viewer", "create update patch delete", "kube-dhcp.io/ports", "team-a", false),
    ("viewer", "get", "kube-dhcp.io/ports", "team-b", false),
    ("editor", "get list watch create update patch delete deletecollection", "kube-dhcp.io/networks", "team-a", true),
    ("editor", "get list watch create update patch delete deletecollection", "kube-dhcp.io/ports", "team-a", true),
    ("editor", "update patch", "kube-dhcp.io/ports/status", "team-a", false),
    ("editor", "create update patch delete", "kube-dhcp.io/dhcpservers", "team-a", false),
    ("editor", "create update patch delete", "kube-dhcp.io/ipallocations", "team-a", false),
    ("admin-of-team-a", "create update patch delete", "kube-dhcp.io/subnets", "team-a", true),
    ("admin-of-team-a", "update patch", "kube-dhcp.io/subnets/status", "team-a", false),
    ("admin-of-team-a", "create update patch delete", "kube-dhcp.io/dhcpservers", "team-a", false),
    ("admin-of-team-a", "get create update", "kube-dhcp.io/physicalnetworks", "", false),
    ("admin-of-team-a", "get update", "kube-dhcp.io/dhcpagents", "", false),
    ("dhcp-admin", "get list watch create update patch delete", "kube-dhcp.io/physicalnetworks", "", true),
    ("dhcp-admin", "get list watch update patch delete", "kube-dhcp.io/dhcpagents", "", true),
    ("dhcp-admin", "update patch", "kube-dhcp.io/physicalnetworks/status", "", false),
    ("dhcp-admin", "create update patch delete", "kube-dhcp.io/ports", "team-a", false),
    ("dhcp-admin", "get create", "/pods/exec", OURS, false),
    ("helpdesk", "get create", "/pods/exec", OURS, true),
    ("helpdesk", "get create", "/pods/exec", "team-a", false),
    ("helpdesk", "list", "/pods", OURS, true),
    ("helpdesk", "list", "/pods", "team-a", false),
    ("helpdesk", "create update patch delete", "/pods", OURS, false),
];

#[test]
fn everybody_may_do_their_part_and_no_more() {
    inside("rbac::everybody_may_do_their_part_and_no_more", async {
        let plane = installed().await;
        bind_users(&plane).await;
        let mut wrong = Vec::new();
        for (user, verbs, resource, namespace, expected) in TABLE {
            for verb in verbs.split(' ') {
                if may(&plane, user, verb, resource, namespace, "").await != *expected {
                    wrong.push(format!("{user} {verb} {resource} {namespace:?}: expected {expected}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // The cluster's uid, and of no other namespace anything.
        assert!(may(&plane, AGENT, "get", "/namespaces", "", "kube-system").await);
        assert!(!may(&plane, AGENT, "get", "/namespaces", "", "team-a").await);
        nobody_has_everything(&plane).await;
    });
}

async fn bind_users(plane: &ControlPlane) {
    plane.namespace("team-a", &[]).await;
    for (user, role) in [("viewer", "view"), ("editor", "edit"), ("admin-of-team-a", "admin")] {
        let role = format!("--clusterrole={role}");
        plane.kubectl(&["create", "rolebinding", user, "-n", "team-a", &role, &format!("--user={user}")]);
    }
    let role = "--clusterrole=kube-dhcp-admin";
    plane.kubectl(&["create", "clusterrolebinding", "dhcp-admin", role, "--user=dhcp-admin"]);
    plane.kubectl(&["create", "rolebinding", "helpdesk", "-n", OURS, "--role=leases", "--user=helpdesk"]);
    // A controller adds our rules to those of Kubernetes' own roles.
    while !may(plane, "admin-of-team-a", "create", "kube-dhcp.io/ports", "team-a", "").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn may(
    plane: &ControlPlane,
    user: &str,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    let mut parts = resource.split('/');
    let mut part = || parts.next().and_then(text);
    let attributes = ResourceAttributes {
        group: part(),
        resource: part(),
        subresource: part(),
        verb: text(verb),
        namespace: text(namespace),
        name: text(name),
        ..Default::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: text(user),
        resource_attributes: Some(attributes),
        ..Default::default()
    };
    let review = SubjectAccessReview { spec, ..Default::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(plane.admin());
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// No rule of ours has a wildcard or touches a Secret.
async fn nobody_has_everything(plane: &ControlPlane) {
    let everywhere: Api<ClusterRole> = Api::all(plane.admin());
    let everywhere = everywhere.list(&ListParams::default()).await.unwrap().items;
    let ours = everywhere.into_iter().filter(|role| role.name_any().starts_with("kube-dhcp"));
    let mut rules: Vec<PolicyRule> = ours.flat_map(|role| role.rules.unwrap_or_default()).collect();
    let local: Api<Role> = Api::namespaced(plane.admin(), OURS);
    let local = local.list(&ListParams::default()).await.unwrap().items;
    rules.extend(local.into_iter().flat_map(|role| role.rules.unwrap_or_default()));
    assert!(rules.len() > 10, "{rules:?}");
    for rule in rules {
        let text = serde_json::to_string(&rule).unwrap();
        assert!(!text.contains('*') && !text.contains("secrets"), "{text}");
    }
}
