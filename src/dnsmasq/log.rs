//! dnsmasq's log: the lines it did not take.
//!
//! Called by `host` after a change was read, so that a port counts as served only when its line was
//! accepted.

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

/// The refusals in a piece of log: `… dnsmasq-dhcp[7]: <message> at line 3 of /path`.
pub fn refusals(log: &str) -> Vec<Refusal> {
    log.lines().filter_map(refusal).collect()
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
}
