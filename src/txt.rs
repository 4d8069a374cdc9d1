//! A Network's TXT records, and what is wrong with them.
//!
//! Called by `validate` and by `desired`. Pure.

use std::collections::BTreeSet;

use crate::api::{NetworkDns, NetworkTxtRecord};
use crate::reason::{Problem, Reason};
use crate::types::{DomainName, MOST_TEXTS, RecordName, TxtRecord};
use crate::validate::parsed;

const FIELD: &str = "spec.dns.txtRecords";
const MOST_RECORDS: usize = 16;

/// Each record once, and the first fault of each other. With a domain that is none nothing is known of names:
/// then there are neither.
pub fn records(dns: &NetworkDns) -> (BTreeSet<TxtRecord>, Vec<Problem>) {
    let Ok(domain) = dns.domain.as_deref().map(str::parse::<DomainName>).transpose() else {
        return (BTreeSet::new(), Vec::new());
    };
    let (mut records, mut problems) = (BTreeSet::new(), Vec::new());
    for (i, written) in dns.txt_records.iter().enumerate() {
        match record(i, written, domain.as_ref()) {
            Ok(record) => drop(records.insert(record)),
            Err(problem) => problems.push(problem),
        }
    }
    let count = dns.txt_records.len();
    let more = || invalid(format!("{FIELD}: {count} are more than {MOST_RECORDS}"));
    problems.extend((count > MOST_RECORDS).then(more));
    (records, problems)
}

fn record(i: usize, written: &NetworkTxtRecord, domain: Option<&DomainName>) -> Result<TxtRecord, Problem> {
    let name = RecordName::in_domain(&written.name, domain);
    let name = name.map_err(|error| invalid(format!("{FIELD}[{i}].name: {error}")))?;
    let texts = written.texts.iter().enumerate();
    let texts = texts.map(|(t, text)| parsed(format_args!("{FIELD}[{i}].texts[{t}]"), text));
    let texts = texts.collect::<Result<_, _>>()?;
    let count = || invalid(format!("{FIELD}[{i}].texts: there must be 1 to {MOST_TEXTS}"));
    TxtRecord::new(name, texts).ok_or_else(count)
}

fn invalid(message: String) -> Problem {
    Problem::new(Reason::InvalidValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(domain: Option<&str>, written: &[(&str, &[&str])]) -> (BTreeSet<TxtRecord>, Vec<String>) {
        let written = written.iter().map(|(name, texts)| NetworkTxtRecord {
            name: (*name).to_owned(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        });
        let domain = domain.map(str::to_owned);
        let dns = NetworkDns { domain, txt_records: written.collect(), ..NetworkDns::default() };
        let (records, problems) = records(&dns);
        (records, problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn a_fault_says_where_it_is_and_the_others_stay() {
        let long = "a".repeat(256);
        let written: [(&str, &[&str]); 7] = [
            ("a", &["x"]),
            ("b c", &["x"]),
            ("c", &["x", "y\nz"]),
            ("d", &[]),
            ("e", &["x"; 9]),
            ("f.in.test", &["x"]),
            ("g", &[&long]),
        ];
        let (records, said) = of(Some("in.test"), &written);
        assert_eq!(records, ["a.in.test,x".parse().unwrap()].into());
        let fields = [
            "spec.dns.txtRecords[1].name: ",
            "spec.dns.txtRecords[2].texts[1]: ",
            "spec.dns.txtRecords[3].texts: ",
            "spec.dns.txtRecords[4].texts: ",
            "spec.dns.txtRecords[5].name: ",
            "spec.dns.txtRecords[6].texts[0]: ",
        ];
        assert_eq!(said.len(), fields.len(), "{said:?}");
        said.iter().zip(fields).for_each(|(said, field)| assert!(said.starts_with(field), "{said}"));
    }

    #[test]
    fn there_are_so_many_and_each_once() {
        let (records, said) = of(None, &[("a.", &["x"]), ("a.", &["y"]), ("A.", &["x"])]);
        assert_eq!((records.len(), said.len()), (2, 0));
        let many: [(&str, &[&str]); 17] = [("a.", &["x"]); 17];
        assert_eq!(of(None, &many[1..]).1, <[String; 0]>::default());
        assert_eq!(of(None, &many).1, ["spec.dns.txtRecords: 17 are more than 16"]);
        assert_eq!(of(Some("-"), &[("a", &["x"])]), (BTreeSet::new(), Vec::new()));
    }
}
