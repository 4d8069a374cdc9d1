//! Subnet, but for its options.

use serde_json::json;

use super::{Case, V4, V6, many, subnet, subnet6};

/// What it is made of.
#[rustfmt::skip]
pub fn addresses() -> Vec<Case> {
    let pool = json!({"first": "10.0.0.10", "last": "10.0.0.20"});
    let route = json!({"destination": "10.8.0.0/16", "nextHop": "10.0.0.254"});
    vec![
        subnet("cidr", json!("10.0.0.0/8"), json!("10.0.0.1/24"), "spec.cidr: Invalid value: must be a CIDR in canonical form"),
        subnet("cidr", json!("0.0.0.0/0"), json!("10.0.0.0"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("10.0.0.4/30"), json!("10.0.0.0/024"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("192.0.2.1/32"), json!("10.0.0.0/33"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet("cidr", json!("10.0.0.0/24"), json!(V6), "spec: Invalid value: ipv6 must be set if and only if"),
        subnet("cidr", json!("10.0.0.0/24"), json!("x".repeat(50)), "spec.cidr: Too long"),
        subnet6("cidr", json!("2001:db8:1::/64"), json!("2001:DB8::/64"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet6("cidr", json!(V6), json!("2001:db8:0::/64"), "spec.cidr: Invalid value: must be a CIDR"),
        subnet6("cidr", json!(V6), json!("2001:db8::/63"), "spec: Invalid value: address modes SLAAC and DHCPv6Stateless"),
        subnet6("cidr", json!(V6), json!(V4), "spec: Invalid value: ipv6 must be set if and only if cidr"),
        subnet6("ipv6", json!({"addressMode": "DHCPv6Stateful"}), json!({"addressMode": "Manual"}), "spec.ipv6.addressMode: Unsupported"),
        subnet6("ipv6", json!({"addressMode": "DHCPv6Stateless", "routerAdvertisements": "Server"}), json!({}), "spec.ipv6.addressMode: Required"),
        subnet("gateway", json!({"type": "None"}), json!({"type": "Address"}),
            "spec.gateway: Invalid value: address must be set if and only if type is Address"),
        subnet("gateway", json!({"type": "Auto"}), json!({"type": "Auto", "address": "10.0.0.1"}),
            "spec.gateway: Invalid value: address must be set if and only if"),
        subnet("gateway", json!({"type": "Address", "address": "10.0.0.1"}), json!({"type": "Address", "address": "2001:db8::1"}),
            "spec: Invalid value: gateway.address must be of the family of cidr"),
        subnet("gateway", json!(null), json!({"type": "Address", "address": "10.0.0.01"}),
            "spec.gateway.address: Invalid value: must be an IP address"),
        subnet("pools", json!([pool]), json!([{"first": "10.0.0.10", "last": "10.0.1.1"}]), "spec: Invalid value: pools must be inside cidr"),
        subnet("pools", json!([]), json!([{"first": "10.0.0.x", "last": "10.0.0.11"}]), "spec.pools[0].first: Invalid value: must be an IP"),
        subnet("pools", many(64, &pool), many(65, &pool), "spec.pools: Too many: 65"),
        subnet6("pools", json!([{"first": "2001:db8::1", "last": "2001:db8::ff"}]),
            json!([{"first": "2001:db8::1", "last": "2001:db8::FF"}]), "spec.pools[0].last: Invalid value: must be an IP"),
        subnet("hostRoutes", json!([route]), json!([{"destination": "10.8.0.0/16", "nextHop": "::1"}]),
            "spec.hostRoutes[0]: Invalid value: destination and nextHop must be of one family"),
        subnet("hostRoutes", json!([]), json!([{"destination": "10.8.0.1/16", "nextHop": "10.0.0.1"}]),
            "spec.hostRoutes[0].destination: Invalid value: must be a CIDR"),
        subnet("hostRoutes", json!([]), json!([{"destination": "2001:db8:1::/64", "nextHop": "2001:db8::1"}]),
            "spec: Invalid value: hostRoutes must be of the family of cidr"),
        subnet("hostRoutes", json!([]), json!([{"destination": "10.8.0.0/16", "nextHop": "10.0.0"}]),
            "spec.hostRoutes[0].nextHop: Invalid value: must be an IP address"),
        subnet("hostRoutes", json!([{"destination": "10.0.0.0/10", "nextHop": "10.0.0.1"}]), json!([{"destination": "0.0.0.0/0", "nextHop": "10.0.0.1"}]),
            "spec: Invalid value: hostRoutes must not have a default route beside a gateway"),
        subnet("hostRoutes", many(64, &route), many(65, &route), "spec.hostRoutes: Too many: 65"),
    ]
}

/// What guests get.
#[rustfmt::skip]
pub fn service() -> Vec<Case> {
    let dynamic = json!({"first": "10.0.0.200", "last": "10.0.0.250"});
    vec![
        subnet("networkRef", json!({"name": "n"}), json!({"name": ""}), "spec.networkRef.name: Invalid value: \"\": should be at least 1"),
        subnet("dhcp", json!({"mode": "Dynamic", "dynamic": dynamic}), json!({"mode": "Dynamic"}),
            "spec.dhcp: Invalid value: dynamic must be set if and only if mode is Dynamic"),
        subnet("dhcp", json!({"mode": "Disabled"}), json!({"dynamic": dynamic}), "spec.dhcp: Invalid value: dynamic must be set"),
        subnet("dhcp", json!({}), json!({"mode": "Dynamic", "dynamic": {"first": "10.0.1.0", "last": "10.0.1.9"}}),
            "spec: Invalid value: dhcp.dynamic must be inside cidr"),
        subnet("dhcp", json!({"leaseDurationSeconds": 120}), json!({"leaseDurationSeconds": 119}), "spec.dhcp.leaseDurationSeconds: Invalid value: 119"),
        subnet("dhcp", json!({"leaseDurationSeconds": 4_294_967_295_u64}), json!({"leaseDurationSeconds": 4_294_967_296_u64}),
            "spec.dhcp.leaseDurationSeconds: Invalid value: 4294967296: should be less than or equal to 4294967295"),
        subnet("dhcp", json!({"renewalSeconds": 43200}), json!({"renewalSeconds": 86400}),
            "spec.dhcp: Invalid value: renewalSeconds must be less than leaseDurationSeconds"),
        subnet("dhcp", json!({"rebindingSeconds": 75600}), json!({"rebindingSeconds": 86400}),
            "spec.dhcp: Invalid value: rebindingSeconds must be less than leaseDurationSeconds"),
        subnet("dhcp", json!({"renewalSeconds": 1, "rebindingSeconds": 2}), json!({"renewalSeconds": 2, "rebindingSeconds": 2}),
            "spec.dhcp: Invalid value: renewalSeconds must be less than rebindingSeconds"),
        subnet("dns", json!({"type": "Addresses", "addresses": ["192.0.2.1"]}), json!({"type": "Addresses"}),
            "spec.dns: Invalid value: addresses must be set if and only if"),
        subnet("dhcp", json!({}), json!({"mode": "Dynamic", "dynamic": {"first": "10.0.0.x", "last": "10.0.0.9"}}),
            "spec.dhcp.dynamic.first: Invalid value: must be an IP address in canonical form"),
        subnet("dhcp", json!({}), json!({"mode": "Dynamic", "dynamic": {"first": "10.0.0.1", "last": "10.0.0.09"}}),
            "spec.dhcp.dynamic.last: Invalid value: must be an IP address in canonical form"),
        subnet("dns", json!({"type": "Servers"}), json!({"type": "Addresses", "addresses": ["192.0.2.1", "ns.example.org"]}),
            "spec.dns.addresses: Invalid value: each item must be an IP address"),
        subnet("dns", json!({"type": "None"}), json!({"type": "Servers", "addresses": ["192.0.2.1"]}), "spec.dns: Invalid value: addresses"),
    ]
}
