//! By what a guest is known, by rules of our own.

use serde_json::Value;

use crate::model::is_mac;

/// `id:01:02`, at least two octets.
pub fn is_identifier(text: &str) -> bool {
    let octets: Vec<_> = text.strip_prefix("id:").unwrap_or_default().split(':').collect();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (2..=255).contains(&octets.len()) && octets.iter().all(|octet| octet.len() == 2 && octet.bytes().all(hex))
}

/// Who is asked for in one protocol: a MAC address, or what a guest calls itself.
pub fn known_by(spec: &Value, six: bool) -> Option<String> {
    let (identity, mac) = (&spec["identity"], spec["macAddress"].as_str().map(str::to_lowercase));
    let (field, most) = if six { ("duid", 3..=130) } else { ("clientID", 2..=255) };
    let is_by_it = identity["type"] == if six { "DUID" } else { "ClientID" };
    let id = identity[field].as_str().filter(|_| is_by_it).map(|id| format!("id:{}", id.to_lowercase()));
    let is_id = |id: &String| is_identifier(id) && most.contains(&id[3..].split(':').count());
    let is_one = |mac: &String| is_mac(mac) && u8::from_str_radix(&mac[..2], 16).unwrap() & 1 == 0;
    id.filter(is_id).or(mac.filter(is_one))
}

/// What dnsmasq could take for it in DHCPv4: a zero before an identifier is nothing to it.
pub fn calls_itself(who: &str) -> Vec<String> {
    let Some(mut id) = who.strip_prefix("id:") else { return vec![who.to_owned(), format!("id:01:{who}")] };
    while let Some(rest) = id.strip_prefix("00:") {
        id = rest;
    }
    vec![format!("id:{id}")]
}
