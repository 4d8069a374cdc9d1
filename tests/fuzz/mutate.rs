//! An object made worse: some of its values become hostile, too long, of another type, or go.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Makes inputs of the corpus and of chance.
pub struct Maker {
    texts: Vec<String>,
    objects: Vec<Value>,
}

/// An input, and where it differs from an object of the corpus: JSON pointers.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub object: Value,
    pub changed: Vec<String>,
}

/// One above and below what fields are bounded by, and the ends of number types.
const NUMBERS: [i64; 41] = [
    -1,
    0,
    1,
    2,
    8,
    9,
    17,
    22,
    23,
    24,
    29,
    32,
    39,
    41,
    56,
    59,
    60,
    61,
    63,
    64,
    65,
    119,
    120,
    121,
    254,
    255,
    256,
    575,
    576,
    1_500,
    4_094,
    4_095,
    65_535,
    65_536,
    86_400,
    2_147_483_647,
    2_147_483_648,
    4_294_967_294,
    4_294_967_295,
    4_294_967_296,
    i64::MAX,
];

/// Longer than what a field, a label, a line or a packet takes.
const LENGTHS: [usize; 9] = [62, 63, 64, 127, 253, 254, 255, 256, 1_100];

impl Maker {
    pub fn new(texts: Vec<String>, objects: Vec<Value>) -> Self {
        Self { texts, objects }
    }

    /// An object of one of these kinds with up to four changes. Those of `typed` stay such that they can
    /// be read as the kind.
    pub fn mutant(&self, chance: &mut Random, kinds: &[&str], typed: bool) -> Mutant {
        let of_kind: Vec<_> =
            self.objects.iter().filter(|o| kinds.contains(&o["kind"].as_str().unwrap())).collect();
        let mut object = (*chance.pick(&of_kind)).clone();
        let mut changed = Vec::new();
        for _ in 0..=chance.index(4) {
            let mut places = Vec::new();
            list_places(&object, "", &mut places);
            places.retain(|place| {
                let is_whole = object.pointer(place).is_some_and(Value::is_object);
                !(typed && is_whole)
            });
            places.retain(|place| place.starts_with("/spec/") || (!typed && place.starts_with("/metadata/")));
            let place = chance.pick(&places).clone();
            if !typed && chance.percent(5) {
                changed.push(self.change_shape(chance, &mut object, &place));
            } else {
                let value = object.pointer_mut(&place).unwrap();
                *value = match words(&place).filter(|_| typed || chance.percent(50)) {
                    Some(words) => json!(chance.pick(words)),
                    None => self.changed(chance, value, typed),
                };
                changed.push(place);
            }
        }
        Mutant { object, changed }
    }

    /// A field goes, or one comes that nobody knows.
    fn change_shape(&self, chance: &mut Random, object: &mut Value, place: &str) -> String {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let Some(Value::Object(fields)) = object.pointer_mut(parent) else { return place.to_owned() };
        if chance.percent(50) {
            fields.remove(name);
            return place.to_owned();
        }
        let unknown = chance.pick(&self.texts).clone();
        fields.insert(unknown.clone(), json!("x"));
        format!("{parent}/{}", unknown.replace('~', "~0").replace('/', "~1"))
    }

    fn changed(&self, chance: &mut Random, value: &Value, typed: bool) -> Value {
        if !typed && chance.percent(4) {
            return chance
                .pick(&[json!(null), json!(true), json!(7), json!([]), json!({}), json!("x")])
                .clone();
        }
        match value {
            Value::String(text) => Value::String(self.text(chance, text)),
            Value::Number(_) => json!(chance.pick(&NUMBERS)),
            Value::Bool(b) => json!(!b),
            Value::Array(items) => Value::Array(self.list(chance, items, typed)),
            Value::Object(fields) => Value::Object(self.labels(chance, fields)),
            Value::Null => json!(null),
        }
    }

    fn text(&self, chance: &mut Random, text: &str) -> String {
        let hostile = chance.pick(&self.texts).clone();
        let at = text.char_indices().map(|(at, _)| at).nth(chance.index(text.chars().count().max(1)));
        let (head, tail) = text.split_at(at.unwrap_or(0));
        match chance.index(10) {
            0..=4 => hostile,
            5 => format!("{text}{hostile}"),
            6 => format!("{head}{hostile}{tail}"),
            7 => text.to_uppercase(),
            8 => (0..=chance.index(12)).map(|_| char::from(b' ' + printable(chance))).collect(),
            _ => {
                let unit = if text.is_empty() { "a" } else { text };
                unit.chars().cycle().take(*chance.pick(&LENGTHS)).collect()
            }
        }
    }

    fn list(&self, chance: &mut Random, items: &[Value], typed: bool) -> Vec<Value> {
        let mut items = items.to_vec();
        match (chance.index(4), items.first().cloned()) {
            (0, _) | (_, None) => items.clear(),
            (1, Some(first)) => {
                let length = *chance.pick(&[2, 9, 17, 33, 65, 100]);
                items.resize(length, first);
            }
            (2, Some(first)) => items.push(self.changed(chance, &first, typed)),
            _ => items.reverse(),
        }
        items
    }

    /// Only where names are free, as in labels: elsewhere an object stays what it is.
    fn labels(&self, chance: &mut Random, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut fields = fields.clone();
        if fields.keys().all(|key| ["tier", "rack", "app", "note"].contains(&key.as_str())) {
            fields.insert(chance.pick(&self.texts).clone(), json!(chance.pick(&self.texts)));
        }
        fields
    }
}

/// The words that a field takes, where it takes no others.
fn words(place: &str) -> Option<&'static [&'static str]> {
    let options = place.contains("/options/");
    Some(match place.rsplit_once('/')? {
        (_, "family") => &["IPv4", "IPv6"],
        (_, "encoding") => &["Text", "Hex", "IP", "Uint8", "Uint16", "Uint32"],
        (_, "name") if options => &[
            "root-path",
            "ntp-server",
            "time-offset",
            "boot-file-size",
            "ip-forward-enable",
            "tcp-keepalive",
            "domain-search",
            "server-ip-address",
            "bootfile-url",
            "bootfile-param",
            "information-refresh-time",
            "sntp-server",
            "sip-server",
            "nis-domain",
            "posix-timezone",
        ],
        ("/spec", "dhcp") => &["Enabled", "Disabled"],
        ("/spec/dhcp", "mode") => &["Reserved", "Dynamic", "Disabled"],
        ("/spec/gateway", "type") => &["Auto", "Address", "None"],
        ("/spec/dns", "type") => &["Servers", "Addresses", "None"],
        ("/spec/dns/forwarding", "type") => &["Agent", "Node", "Addresses", "None"],
        ("/spec/segmentation", "type") => &["Untagged", "VLAN"],
        ("/spec/metadataService", "type") => &["None", "Always"],
        ("/spec/identity", "type") => &["MACAddress", "ClientID", "DUID"],
        (_, "addressMode") => &["SLAAC", "DHCPv6Stateful", "DHCPv6Stateless"],
        (_, "routerAdvertisements") => &["None", "Server"],
        (_, "operator") => &["In", "NotIn", "Exists"],
        _ => return None,
    })
}

fn printable(chance: &mut Random) -> u8 {
    u8::try_from(chance.index(95)).unwrap()
}

/// Pointers to everything in a value, itself left out.
fn list_places(value: &Value, at: &str, places: &mut Vec<String>) {
    if !at.is_empty() {
        places.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                list_places(value, &format!("{at}/{name}"), places);
            }
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(i, value)| list_places(value, &format!("{at}/{i}"), places));
        }
        _ => {}
    }
}
