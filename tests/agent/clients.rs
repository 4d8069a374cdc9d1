//! The same answers, as udhcpc and dhclient take them.

use crate::answers::rich;
use crate::lab::MessageType;
use crate::site::Site;

#[test]
fn udhcpc_takes_all_of_it() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    let _agent = site.start();
    let guest = site.guest(1);
    let wanted = ["-O", "staticroutes", "-O", "mtu", "-O", "ntpsrv", "-O", "search", "-O", "lease"];
    let bound = guest.udhcpc(&wanted).expect("udhcpc has no lease");
    for (name, value) in [
        ("ip", "10.0.0.20"),
        ("subnet", "255.255.255.0"),
        ("router", "10.0.0.1"),
        ("dns", "10.0.0.10"),
        ("domain", "vm.example.org"),
        ("hostname", "vm1"),
        ("mtu", "1400"),
        ("ntpsrv", "192.0.2.2"),
        ("search", "a.example.org b.example.org"),
        ("lease", "3600"),
        ("staticroutes", "10.1.0.0/24 0.0.0.0 10.8.0.0/16 10.0.0.254 0.0.0.0/0 10.0.0.1"),
    ] {
        assert_eq!(bound.get(name).map(String::as_str), Some(value), "{name} in {bound:?}");
    }
    let dig = guest.dig("10.0.0.10".parse().unwrap(), "vm1.vm.example.org", "A");
    assert_eq!(dig.answers, ["10.0.0.20"]);
}

#[test]
fn dhclient_takes_all_of_it_reboots_and_releases() {
    let site = Site::new();
    site.write("a.yaml", &rich());
    site.lab.bridge("br0");
    let _agent = site.start();
    let (guest, capture) = (site.guest(1), site.lab.capture("br0"));
    let client = guest.dhclient();
    let bound = client.start().expect("dhclient has no lease");
    for (name, value) in [
        ("reason", "BOUND"),
        ("new_ip_address", "10.0.0.20"),
        ("new_subnet_mask", "255.255.255.0"),
        ("new_routers", "10.0.0.1"),
        ("new_domain_name_servers", "10.0.0.10"),
        ("new_domain_name", "vm.example.org"),
        ("new_host_name", "vm1"),
        ("new_interface_mtu", "1400"),
        ("new_ntp_servers", "192.0.2.2"),
        ("new_dhcp_lease_time", "3600"),
        ("new_rfc3442_classless_static_routes", "24 10 1 0 0 0 0 0 16 10 8 10 0 0 254 0 10 0 0 1"),
    ] {
        assert_eq!(bound.get(name).map(String::as_str), Some(value), "{name} in {bound:?}");
    }
    client.stop();
    let bound = client.start().expect("dhclient has no lease after a restart");
    assert_eq!((&*bound["reason"], &*bound["new_ip_address"]), ("REBOOT", "10.0.0.20"));
    client.release();
    let kinds = capture.kinds();
    assert!(kinds.contains(&MessageType::Release) && !kinds.contains(&MessageType::Nak), "{kinds:?}");
}
