//! A TXT record as an argument of dnsmasq.
//!
//! Called by `argv`: dnsmasq takes them on its command line only.

use crate::types::TxtRecord;

/// dnsmasq reads these two octets as the characters: what quotes keep from being separators in its
/// configuration files is written so, and nothing else can be on a command line.
const COMMA: char = '\u{1e}';
const BLANK: char = '\u{7}';

/// Each text arrives as it is. Between name and texts, and between these, stand commas; blanks before the first
/// text would be lost.
pub(super) fn argument(record: &TxtRecord) -> String {
    let texts: Vec<_> =
        record.texts().iter().map(|text| text.as_str().replace(',', &COMMA.to_string())).collect();
    let mut texts = texts.join(",");
    if texts.starts_with(' ') {
        texts.replace_range(..1, &BLANK.to_string());
    }
    format!("--txt-record={},{texts}", record.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_a_text_are_written_as_dnsmasq_reads_them() {
        let record = |texts: &[&str]| {
            let texts = texts.iter().map(|text| text.parse().unwrap()).collect();
            argument(&TxtRecord::new("_a.b".parse().unwrap(), texts).unwrap())
        };
        assert_eq!(record(&["a b ", " c"]), "--txt-record=_a.b,a b , c");
        assert_eq!(record(&["a,b", ","]), "--txt-record=_a.b,a\u{1e}b,\u{1e}");
        assert_eq!(record(&["  a", " b"]), "--txt-record=_a.b,\u{7} a, b");
        assert_eq!(record(&["--x=\"\\"]), "--txt-record=_a.b,--x=\"\\");
    }
}
