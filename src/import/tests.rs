mod coverage;

use std::sync::LazyLock;

use super::*;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new().unwrap());

fn options() -> Options {
    Options { namespace: "team-a".into(), physical_network: Some("lan".into()), segments: Vec::new() }
}

fn run(input: Value, options: &Options) -> Imported {
    import(vec![input], options, &VALIDATOR)
}

/// What is said of a field.
fn said(imported: &Imported, field: &str) -> Vec<(Effect, String)> {
    let entries = imported.entries.iter().filter(|entry| entry.field == field);
    entries.map(|entry| (entry.effect, entry.message.clone())).collect()
}

fn network(more: &Value) -> Value {
    let mut network = json!({"id": "n1", "name": "lan", "mtu": 1450});
    network.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    network
}

fn subnet(id: &str, cidr: &str, more: &Value) -> Value {
    let mut subnet = json!({"id": id, "name": id, "network_id": "n1", "cidr": cidr, "enable_dhcp": true});
    subnet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    subnet
}

fn port(more: &Value) -> Value {
    let mut port = json!({"id": "p1", "name": "vm", "network_id": "n1", "mac_address": "FA:16:3E:00:00:01"});
    port.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    port
}

/// The spec of the only subnet.
fn spec_of(subnet: &Value) -> (Value, Imported) {
    let imported = run(json!({"networks": [network(&json!({}))], "subnets": [subnet]}), &options());
    (imported.networks[0].objects[1]["spec"].clone(), imported)
}

/// The spec of the only port, on 10.0.0.0/24 and 10.1.0.0/24.
fn spec_of_port(more: &Value) -> (Value, Imported) {
    let subnets = [subnet("s1", "10.0.0.0/24", &json!({})), subnet("s2", "10.1.0.0/24", &json!({}))];
    let input = json!({"networks": [network(&json!({}))], "subnets": subnets, "ports": [port(more)]});
    let imported = run(input, &options());
    (imported.networks[0].objects.last().unwrap()["spec"].clone(), imported)
}

#[test]
fn a_network_is_where_its_provider_fields_say() {
    let place = |more: Value| {
        let imported = run(network(&more), &options());
        let spec = imported.networks.first().map(|group| group.objects[0]["spec"].clone());
        (
            spec.map(|spec| {
                (spec["physicalNetworkRef"]["name"].clone(), spec["segmentation"]["vlan"]["id"].clone())
            }),
            imported,
        )
    };
    let provider = |kind: &str, physical: &str, vlan: Value| json!({"subnets": [], "provider:network_type": kind, "provider:physical_network": physical, "provider:segmentation_id": vlan});
    assert_eq!(place(provider("vlan", "dc", 7.into())).0, Some((json!("dc"), json!(7))));
    assert_eq!(place(provider("flat", "dc", Value::Null)).0, Some((json!("dc"), Value::Null)));
    assert_eq!(place(json!({"subnets": []})).0, Some((json!("lan"), Value::Null)));
    let (renamed, imported) = place(provider("flat", "Phys_1", Value::Null));
    assert!(renamed.unwrap().0.as_str().unwrap().starts_with("phys-1-"));
    assert_eq!(said(&imported, "provider:physical_network")[0].0, Effect::Changed);
    // A VLAN that the client's lists do not have is not the untagged network.
    for more in [
        provider("vlan", "", Value::Null),
        provider("vxlan", "", 7.into()),
        provider("local", "", Value::Null),
    ] {
        let (place, imported) = place(more);
        assert_eq!(place, None);
        assert_eq!(said(&imported, "provider:network_type")[0].0, Effect::NotImported);
    }
}

#[test]
fn a_flag_says_where_a_network_is_and_must_mean_one() {
    let vxlan = network(&json!({"provider:network_type": "vxlan", "provider:segmentation_id": 7}));
    let mut options = options();
    options.segments =
        vec![("lan".into(), "dc:12".parse().unwrap()), ("other".into(), "dc".parse().unwrap())];
    let imported = run(vxlan, &options);
    let spec = &imported.networks[0].objects[0]["spec"];
    assert_eq!(
        (&spec["physicalNetworkRef"]["name"], &spec["segmentation"]["vlan"]["id"]),
        (&json!("dc"), &json!(12))
    );
    assert_eq!(said(&imported, "--segment")[0].0, Effect::NotImported);
    assert_eq!(imported.missing(), 1);
}

#[test]
fn the_second_network_of_a_segment_is_told() {
    let other = json!({"id": "n2", "name": "other"});
    let imported = run(json!({"networks": [network(&json!({})), other]}), &options());
    let entries: Vec<_> = imported.entries.iter().map(|e| (e.effect, e.subject.id.as_str())).collect();
    assert_eq!(entries, [(Effect::NotServed, "n2")]);
}

#[test]
fn a_subnet_tells_its_guests_the_same() {
    let (spec, imported) = spec_of(&subnet(
        "s1",
        "10.0.0.5/24",
        &json!({
            "ip_version": 4, "gateway_ip": "10.0.0.254", "dns_nameservers": ["8.8.8.8", "fd00::53"],
            "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.20"}, {"start": "10.0.1.1", "end": "10.0.1.2"}],
            "host_routes": [{"destination": "20.0.0.1/24", "nexthop": "10.0.0.3"}, {"destination": "fd00::/64", "nexthop": "fd00::1"}],
        }),
    ));
    assert_eq!(
        spec,
        json!({
            "networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24", "gateway": {"type": "Address", "address": "10.0.0.254"},
            "dns": {"type": "Addresses", "addresses": ["8.8.8.8"]},
            "pools": [{"first": "10.0.0.10", "last": "10.0.0.20"}],
            "hostRoutes": [{"destination": "20.0.0.0/24", "nextHop": "10.0.0.3"}],
        })
    );
    for field in ["dns_nameservers", "allocation_pools", "host_routes"] {
        assert_eq!(said(&imported, field).iter().map(|s| s.0).collect::<Vec<_>>(), [Effect::Lost], "{field}");
    }
    assert_eq!(said(&imported, "cidr")[0].0, Effect::Changed);
}

#[test]
fn no_gateway_no_dns_and_no_dhcp_are_said() {
    let (spec, _) = spec_of(&subnet(
        "s1",
        "10.0.0.0/24",
        &json!({
        "gateway_ip": null, "dns_nameservers": ["0.0.0.0"], "enable_dhcp": false}),
    ));
    assert_eq!(spec["gateway"], json!({"type": "None"}));
    assert_eq!(spec["dns"], json!({"type": "None"}));
    assert_eq!(spec["dhcp"]["mode"], "Disabled");
    let route =
        json!({"gateway_ip": null, "host_routes": [{"destination": "0.0.0.0/0", "nexthop": "10.0.0.9"}]});
    let (spec, _) = spec_of(&subnet("s1", "10.0.0.0/24", &route));
    assert_eq!(spec["gateway"], json!({"type": "Address", "address": "10.0.0.9"}));
    assert_eq!(spec["hostRoutes"], Value::Null);
    let both = json!({"gateway_ip": "10.0.0.1", "host_routes": [{"destination": "0.0.0.0/0", "nexthop": "10.0.0.9"}]});
    let (spec, imported) = spec_of(&subnet("s1", "10.0.0.0/24", &both));
    assert_eq!(spec["gateway"], json!({"type": "Address", "address": "10.0.0.1"}));
    assert_eq!(spec["hostRoutes"], Value::Null);
    assert_eq!(said(&imported, "host_routes")[0].0, Effect::Lost);
}

#[test]
fn router_advertisements_stay_off() {
    for (address, ra, mode, served) in [
        (json!("slaac"), json!("slaac"), "SLAAC", true),
        (json!("dhcpv6-stateless"), Value::Null, "DHCPv6Stateless", true),
        (Value::Null, Value::Null, "DHCPv6Stateful", true),
        (Value::Null, json!("slaac"), "SLAAC", false),
    ] {
        let more = json!({"ipv6_address_mode": address, "ipv6_ra_mode": ra, "ip_version": 6});
        let (spec, imported) = spec_of(&subnet("s1", "fd00:1::/64", &more));
        assert_eq!(spec["ipv6"], json!({"addressMode": mode, "routerAdvertisements": "None"}));
        assert_eq!(spec["dhcp"]["mode"] != "Disabled", served, "{address} {ra}");
        assert_eq!(said(&imported, "ipv6_ra_mode").len(), usize::from(!ra.is_null()));
        assert!(said(&imported, "spec.ipv6.addressMode").is_empty());
    }
}

#[test]
fn where_neutron_serves_nothing_nothing_is_served() {
    let subnets = [subnet("s1", "10.0.0.0/24", &json!({}))];
    let imported = run(
        json!({"networks": [network(&json!({"admin_state_up": false}))], "subnets": subnets}),
        &options(),
    );
    assert_eq!(imported.networks[0].objects[1]["spec"]["dhcp"]["mode"], "Disabled");
    assert_eq!(said(&imported, "admin_state_up")[0].0, Effect::Changed);
}

#[test]
fn of_a_routed_network_one_segment_is_served() {
    let subnets = [
        subnet("s1", "10.0.0.0/24", &json!({"segment_id": "g1"})),
        subnet("s2", "10.1.0.0/24", &json!({"segment_id": "g2"})),
    ];
    let modes = |segments: Value| {
        let input = json!({"networks": [network(&json!({}))], "subnets": subnets, "segments": segments});
        let imported = run(input, &options());
        let mode = |i: usize| imported.networks[0].objects[i]["spec"]["dhcp"]["mode"] != "Disabled";
        (mode(1), mode(2))
    };
    assert_eq!(modes(json!([{"id": "g2", "network_id": "n1"}])), (false, true));
    assert_eq!(modes(json!([])), (false, false));
}

#[test]
fn a_port_offers_the_address_that_neutron_offers() {
    let (spec, imported) = spec_of_port(&json!({"fixed_ips": [
        {"subnet_id": "s1", "ip_address": "10.0.0.5"}, {"subnet_id": "s2", "ip_address": "10.1.0.5"},
        {"subnet_id": "s9", "ip_address": "10.9.0.5"}, {"subnet_id": "s1", "ip_address": "10.0.0.255"}]}));
    assert_eq!(
        spec,
        json!({"networkRef": {"name": "lan"}, "macAddress": "fa:16:3e:00:00:01",
            "addresses": [{"ip": "10.1.0.5"}, {"ip": "10.0.0.5"}]})
    );
    let effects: Vec<_> = said(&imported, "fixed_ips").into_iter().map(|said| said.0).collect();
    assert_eq!(effects, [Effect::Lost, Effect::Lost, Effect::Changed]);
}

#[test]
fn names_are_kept_where_they_are_not_made_of_the_address() {
    let ips = json!([{"subnet_id": "s1", "ip_address": "10.0.0.5"}]);
    let named = |name: &str, host: &str, fqdn: &str| {
        let assigned = json!([{"ip_address": "10.0.0.5", "hostname": host, "fqdn": fqdn}]);
        spec_of_port(&json!({"fixed_ips": ips, "dns_name": name, "dns_assignment": assigned}))
    };
    let (spec, imported) = named("", "host-10-0-0-5", "host-10-0-0-5.openstacklocal.");
    assert_eq!(
        (&spec["hostname"], &spec["dnsNames"], imported.entries.len()),
        (&Value::Null, &Value::Null, 0)
    );
    let written = "2001:db8:0::0216:5";
    let six = json!({"fixed_ips": [{"subnet_id": "s6", "ip_address": written}], "dns_assignment": [
        {"ip_address": written, "hostname": "host-2001-db8-0--0216-5", "fqdn": ""}]});
    let subnets = [subnet("s6", "2001:db8::/64", &json!({"ip_version": 6}))];
    let imported = run(
        json!({"networks": [network(&json!({}))], "subnets": subnets, "ports": [port(&six)]}),
        &options(),
    );
    assert_eq!(imported.networks[0].objects.last().unwrap()["spec"]["hostname"], Value::Null);
    let (spec, _) = named("VM1", "VM1", "vm1.openstacklocal.");
    assert_eq!((&spec["hostname"], &spec["dnsNames"]), (&json!("vm1"), &Value::Null));
    let (spec, _) = named("vm1", "vm1", "db.openstacklocal.");
    assert_eq!(spec["dnsNames"], json!(["db.openstacklocal"]));
    let (spec, imported) = named("vm1", "vm1", "vm1.example.org.");
    assert_eq!(spec["dnsNames"], Value::Null);
    assert_eq!(said(&imported, "dns_assignment")[0].0, Effect::Lost);
    let (spec, imported) = named("a_b", "a_b", "a_b.openstacklocal.");
    assert_eq!((&spec["hostname"], said(&imported, "dns_name").len()), (&Value::Null, 1));
}

#[test]
fn owners_decide_whether_dhcp_answers() {
    let ips = json!([{"subnet_id": "s1", "ip_address": "10.0.0.1"}]);
    for (owner, mode) in [
        ("compute:nova", Value::Null),
        ("", Value::Null),
        ("network:router_interface", Value::Null),
        ("network:floatingip", json!("Disabled")),
        ("network:distributed", json!("Disabled")),
        ("network:router_ha_interface", json!("Disabled")),
    ] {
        let (spec, _) = spec_of_port(&json!({"fixed_ips": ips, "device_owner": owner}));
        assert_eq!(spec["dhcp"], mode, "{owner}");
    }
    let (_, imported) = spec_of_port(&json!({"fixed_ips": ips, "device_owner": "network:dhcp"}));
    assert!(imported.networks[0].objects.iter().all(|object| object["kind"] != "Port"));
    assert_eq!(imported.missing(), 0);
}

#[test]
fn a_port_without_a_good_mac_or_an_address_only_reserves() {
    for more in [json!({"mac_address": "00:00:0f:rr:rr:rr"}), json!({"fixed_ips": []})] {
        let (spec, imported) = spec_of_port(&more);
        assert_eq!((&spec["dhcp"], &spec["addresses"]), (&json!("Disabled"), &json!([])));
        assert_eq!(said(&imported, "mac_address").len(), usize::from(more["mac_address"].is_string()));
    }
}

#[test]
fn what_belongs_to_nothing_is_not_imported_and_all_else_is() {
    let imported = run(
        json!({
            "networks": [network(&json!({})), network(&json!({"id": "a b"})), network(&json!({"name": "again"})), 7],
            "subnets": [subnet("s1", "10.0.0.0/24", &json!({"network_id": "n9"})), subnet("s2", "x", &json!({}))],
            "ports": [port(&json!({"network_id": "n9"}))],
            "routers": [],
        }),
        &options(),
    );
    assert_eq!(imported.networks.iter().map(|group| group.objects.len()).sum::<usize>(), 1);
    assert_eq!(imported.missing(), 6);
    assert_eq!(said(&imported, "id").iter().filter(|said| said.0 == Effect::Lost).count(), 1);
}

#[test]
fn the_clients_lists_are_read_too() {
    let imported = import(
        vec![
            json!([{"ID": "n1", "Name": "lan", "Status": "ACTIVE", "Project": "x", "State": true, "Shared": false,
                "Subnets": ["s1"], "Network Type": "flat", "Router Type": "Internal", "Availability Zones": ["nova"], "Tags": []}]),
            json!([{"ID": "s1", "Name": "v4", "Network": "n1", "Subnet": "10.0.0.0/24", "Project": "x", "DHCP": true,
                "Name Servers": ["8.8.8.8"], "Allocation Pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}],
                "Host Routes": [], "IP Version": 4, "Gateway": "10.0.0.1", "Service Types": [], "Tags": []}]),
            json!([{"ID": "p1", "Name": "vm", "MAC Address": "fa:16:3e:00:00:01", "Status": "ACTIVE",
                "Fixed IP Addresses": [{"subnet_id": "s1", "ip_address": "10.0.0.5"}],
                "Security Groups": ["g"], "Device Owner": "compute:nova", "Tags": []}]),
        ],
        &options(),
        &VALIDATOR,
    );
    let names: Vec<_> =
        imported.networks[0].objects.iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(names, ["lan", "v4", "vm"]);
    let fields: Vec<_> = imported.entries.iter().map(|entry| entry.field.as_str()).collect();
    assert_eq!(fields, ["security_groups"]);
}

#[test]
fn every_field_is_in_a_manifest_or_in_the_report() {
    let names = ["qos_policy_id", "shared", "port_security_enabled", "dns_domain", "what_is_to_come"];
    let more: Value =
        names.iter().map(|name| ((*name).to_owned(), json!(true))).collect::<serde_json::Map<_, _>>().into();
    let subnets = [subnet("s1", "10.0.0.0/24", &more)];
    let ports = [port(&more)];
    let imported = run(
        json!({"networks": [network(&more)], "subnets": subnets, "ports": ports, "config": more}),
        &options(),
    );
    for name in names {
        assert_eq!(said(&imported, name).len(), 4, "{name}");
    }
    // A value of another type than it should be is said too.
    let (_, imported) =
        spec_of_port(&json!({"fixed_ips": "10.0.0.5", "extra_dhcp_opts": {"a": 1}, "dns_name": [1]}));
    for name in ["fixed_ips", "extra_dhcp_opts", "dns_name"] {
        assert_eq!(said(&imported, name)[0].0, Effect::Lost, "{name}");
    }
}
