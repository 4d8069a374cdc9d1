//! dnsmasq's log: the lines it did not take.
//!
//! Called by `host` after a change was read, so that a port counts as served only when its line was
//! accepted.

use std::collections::BTreeMap;

/// A line of a file that dnsmasq refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Path as on the command line, with the file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// dnsmasq's words.
    pub message: String,
}

/// The refusals in a piece of log: `… dnsmasq-dhcp[7]: <message> at line 3 of /path`. Only those of the
/// first time that a file was read: a file that somebody else still had open when it was put in its
/// place is read again when that one closes it, and then its own lines seem to stand against it.
pub fn refusals(log: &str) -> Vec<Refusal> {
    let mut read: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refusals = Vec::new();
    for line in log.lines() {
        if let Some((_, file)) = line.split_once("]: read ") {
            *read.entry(file).or_default() += 1;
        }
        refusals.extend(refusal(line).filter(|r| read.get(r.file.as_str()).is_none_or(|times| *times < 2)));
    }
    refusals
}

fn refusal(line: &str) -> Option<Refusal> {
    // The last occurrence: what stands before is a tenant's text.
    let (head, tail) = line.rsplit_once(" at line ")?;
    let (number, file) = tail.split_once(" of ")?;
    let message = head.split_once("]: ").map_or(head, |(_, message)| message);
    Some(Refusal { file: file.to_owned(), line: number.parse().ok()?, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_line_is_found_by_file_and_number() {
        let log = "Nov 23 08:00:00 dnsmasq-dhcp[7]: read /s/hosts/base\n\
                   Nov 23 08:00:00 dnsmasq[7]: duplicate dhcp-host IP address 10.0.0.5 at line 3 of /s/hosts/base\n";
        let expected = Refusal {
            file: "/s/hosts/base".into(),
            line: 3,
            message: "duplicate dhcp-host IP address 10.0.0.5".into(),
        };
        assert_eq!(refusals(log), [expected]);
    }

    #[test]
    fn a_file_that_is_read_twice_refuses_nothing_the_second_time() {
        let log = "a dnsmasq-dhcp[7]: read /s/hosts/add-000001\n\
                   a dnsmasq-dhcp[7]: read /s/hosts/add-000001\n\
                   a dnsmasq[7]: duplicate dhcp-host IP address 10.0.0.5 at line 1 of /s/hosts/add-000001\n";
        assert_eq!(refusals(log), []);
    }
}
