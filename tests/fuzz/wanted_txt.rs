//! TXT records as they have to be on dnsmasq's command line: by the objects alone.

use serde_json::Value;

use crate::scene::Scene;
use crate::wanted_subnet::{list, text};

/// dnsmasq has two octets for a comma and a blank that separate nothing.
pub fn arguments(scene: &Scene, domain: Option<&str>) -> Vec<String> {
    let whole = |name: &str| match (name.strip_suffix('.'), domain) {
        (Some(name), _) => name.to_lowercase(),
        (None, Some(domain)) => format!("{}.{domain}", name.to_lowercase()),
        (None, None) => panic!("accepted: {name}"),
    };
    let record = |record: &Value| {
        let texts: Vec<_> = list(&record["texts"]).map(|item| text(item).to_owned()).collect();
        (whole(text(&record["name"])), texts)
    };
    let agents = ("all.example.org".to_owned(), vec!["of the agent".to_owned()]);
    let mut all: Vec<_> =
        list(&scene.network.spec["dns"]["txtRecords"]).map(record).chain([agents]).collect();
    all.sort();
    all.dedup();
    let argument = |(name, texts): (String, Vec<String>)| {
        let mut line = texts.iter().map(|text| text.replace(',', "\u{1e}")).collect::<Vec<_>>().join(",");
        if let Some(rest) = line.strip_prefix(' ') {
            line = format!("\u{7}{rest}");
        }
        format!("--txt-record={name},{line}")
    };
    all.into_iter().map(argument).collect()
}
