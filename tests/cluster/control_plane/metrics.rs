//! Reading the API server's metrics: what our programs cost it.

use std::collections::BTreeMap;

/// The text of `/metrics`, to add up counters of.
#[derive(Debug, Clone)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all samples of `name` that have these labels with these values.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name).filter(|(has, _)| has_all(has, labels)).map(|(_, value)| value).sum()
    }

    /// Requests answered so far, of one verb (`LIST`, `WATCH`, `APPLY` …) on one of our resources.
    pub fn requests(&self, verb: &str, resource: &str) -> f64 {
        let labels = [("verb", verb), ("resource", resource), ("group", "kube-dhcp.io")];
        self.sum("apiserver_request_total", &labels)
    }

    /// All requests on our group so far, by `verb resource/subresource`.
    pub fn all_requests(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.samples("apiserver_request_total") {
            if labels.get("group") == Some(&"kube-dhcp.io") {
                let get = |name| labels.get(name).copied().unwrap_or_default();
                let subresource = get("subresource");
                let slash = if subresource.is_empty() { "" } else { "/" };
                let key = format!("{} {}{slash}{subresource}", get("verb"), get("resource"));
                *sums.entry(key).or_default() += value;
            }
        }
        sums
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((parse_labels(labels), value.split(' ').next()?.parse().ok()?))
        })
    }
}

/// `a="x",b="y"`. No label that is asked for has a quote or comma in its value.
fn parse_labels(text: &str) -> BTreeMap<&str, &str> {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name, value.trim_end_matches('"'))).collect()
}

fn has_all(has: &BTreeMap<&str, &str>, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| has.get(name) == Some(value))
}
