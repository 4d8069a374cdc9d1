//! Options, which Networks, Subnets and Ports have alike; on a Subnet the family is the Subnet's.

use serde_json::{Value, json};

use super::{Case, many, on, subnet, subnet6};

/// All of them.
pub fn options() -> Vec<Case> {
    let mut cases: Vec<_> = ["Network", "Subnet", "Port"].into_iter().flat_map(on_each).collect();
    cases.extend(families());
    cases
}

/// One option; given by code it needs its family, but for a Subnet's.
fn option(kind: &str, mut option: Value) -> Value {
    if kind != "Subnet" && option.get("code").is_some() {
        option["family"] = json!("IPv4");
    }
    option
}

#[rustfmt::skip]
fn on_each(kind: &'static str) -> Vec<Case> {
    let ntp = json!({"name": "ntp-server", "values": ["10.0.0.1"]});
    let one = |o: Value| json!([option(kind, o)]);
    let code = |values: Value| one(json!({"code": 224, "values": values}));
    let encoded = |encoding: &str, value: &str| one(json!({"code": 224, "encoding": encoding, "values": [value]}));
    let when = |condition: Value| one(json!({"name": "bootfile-name", "values": ["x"], "when": condition}));
    let uefi = |count| many(count, &json!("X64UEFI"));
    let on = |good: Value, bad: Value, message: &'static str| on(kind, "options", good, bad, message);
    let none = || json!([]);
    vec![
        on(one(ntp.clone()), one(json!({"values": ["x"]})), "spec.options[0]: Invalid value: exactly one of name and code must be set"),
        on(code(json!(["x"])), one(json!({"name": "ntp-server", "code": 42, "values": ["x"]})),
            "spec.options[0]: Invalid value: exactly one of name and code must be set"),
        on(none(), one(json!({"name": "ntp-server", "encoding": "IP", "values": ["10.0.0.1"]})),
            "spec.options[0]: Invalid value: encoding may only be set with code"),
        on(none(), one(json!({"name": "netmask", "values": ["x"]})), "spec.options[0].name: Unsupported value: \"netmask\""),
        on(none(), one(json!({"name": 42, "values": ["x"]})), "spec.options[0].name: Invalid value: 42: must be of type string"),
        on(one(json!({"code": 1, "values": ["x"]})), one(json!({"code": 0, "values": ["x"]})), "spec.options[0].code: Invalid value: 0"),
        on(one(json!({"code": 254, "values": ["x"]})), one(json!({"code": 65536, "values": ["x"]})), "spec.options[0].code: Invalid value: 65536"),
        on(none(), encoded("Base64", "x"), "spec.options[0].encoding: Unsupported value: \"Base64\""),
        on(many(32, &ntp), many(33, &ntp), "spec.options: Too many: 33: must have at most 32 items"),
        on(code(many(16, &json!("x"))), code(many(17, &json!("x"))), "spec.options[0].values: Too many: 17: must have at most 16 items"),
        on(code(json!(["x".repeat(255)])), code(json!(["x".repeat(256)])), "spec.options[0].values[0]: Too long: may not be more than 255"),
        on(code(json!([" ~"])), code(json!(["a\nb"])), "spec.options[0].values[0]: Invalid value: \"a\\nb\": should match"),
        on(none(), code(json!(["a\n"])), "spec.options[0].values[0]: Invalid value: \"a\\n\": should match"),
        on(none(), code(json!(["é"])), "spec.options[0].values[0]: Invalid value: \"é\": should match"),
        on(none(), code(json!([""])), "spec.options[0].values[0]: Invalid value: \"\": should be at least 1"),
        on(none(), code(json!([])), "spec.options[0].values: Invalid value: should have at least 1"),
        on(none(), one(json!({"code": 1})), "spec.options[0].values: Required value"),
        on(encoded("Text", "ab c"), encoded("Hex", "0a0"), "spec.options[0]: Invalid value: with encoding Hex"),
        on(encoded("Hex", "0aFF"), encoded("Hex", "0x0a"), "spec.options[0]: Invalid value: with encoding Hex"),
        on(encoded("IP", "::1"), encoded("IP", "x"), "spec.options[0]: Invalid value: with encoding IP"),
        on(encoded("IP", "10.0.0.1"), encoded("IP", "10.0.0.01"), "spec.options[0]: Invalid value: with encoding IP"),
        on(encoded("Uint8", "255"), encoded("Uint8", "256"), "spec.options[0]: Invalid value: with encoding Uint8"),
        on(encoded("Uint16", "65535"), encoded("Uint16", "65536"), "spec.options[0]: Invalid value: with encoding Uint16"),
        on(encoded("Uint32", "4294967295"), encoded("Uint32", "-1"), "spec.options[0]: Invalid value: with encoding Uint32"),
        on(none(), encoded("Uint32", "4294967296"), "spec.options[0]: Invalid value: with encoding Uint32"),
        on(when(json!({"bootLoader": "IPXE"})), when(json!({})), "spec.options[0].when: Invalid value: at least one of architectures and bootLoader"),
        on(when(json!({"bootLoader": "Other", "architectures": ["X86BIOS"]})), when(json!({"bootLoader": "GRUB"})),
            "spec.options[0].when.bootLoader: Unsupported value: \"GRUB\""),
        on(none(), when(json!({"architectures": ["x64"]})), "spec.options[0].when.architectures[0]: Unsupported value: \"x64\""),
        on(when(json!({"architectures": uefi(12)})), when(json!({"architectures": uefi(13)})), "spec.options[0].when.architectures: Too many: 13"),
        on(none(), when(json!({"architectures": []})), "spec.options[0].when.architectures: Invalid value: should have at least 1"),
    ]
}

#[rustfmt::skip]
fn families() -> Vec<Case> {
    let bootfile = |family: &str| json!([{"name": "bootfile-name", "values": ["ipxe.efi"], "family": family}]);
    let code = |code: u32, family: &str| json!([{"code": code, "values": ["x"], "family": family}]);
    let bare = |code: u32| json!([{"code": code, "values": ["x"]}]);
    let needs_family = "spec.options: Invalid value: an option given by code needs its family here";
    let of_the_subnet = "spec.options: Invalid value: family must not be set on a Subnet";
    vec![
        on("Network", "options", code(224, "IPv4"), bare(224), needs_family),
        on("Network", "options", code(65535, "IPv6"), code(255, "IPv4"), needs_family),
        on("Network", "options", bootfile("IPv4"), bootfile("IPv5"), "spec.options[0].family: Unsupported value"),
        on("Port", "options", code(65535, "IPv6"), bare(1), needs_family),
        on("Port", "options", code(254, "IPv4"), code(255, "IPv4"), needs_family),
        on("Port", "options", bootfile("IPv6"), bootfile("ipv4"), "spec.options[0].family: Unsupported value"),
        subnet("options", bare(254), bare(255), "spec: Invalid value: an IPv4 option code is at most 254"),
        subnet6("options", bare(65535), bootfile("IPv6"), of_the_subnet),
        subnet("options", json!([]), bootfile("IPv4"), of_the_subnet),
    ]
}
