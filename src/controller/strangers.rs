//! Which of a network's servers answers guests that are no Port.
//!
//! Called by `judge`. Pure. Of what one leases the others know nothing: two that did so could give one
//! address twice, or refuse what the other gave.

use crate::api::DHCPServer;
use crate::place::Standing;

/// The node whose server does so from now on, of those that stay. Whose guests have leases keeps them, as
/// long as it answers.
pub(super) fn holder<'a>(servers: impl Iterator<Item = (&'a DHCPServer, Standing)>) -> Option<&'a str> {
    let rank = |(server, standing): &(&DHCPServer, Standing)| {
        let standing = match standing {
            Standing::Ready => 0,
            Standing::Starting => 1,
            Standing::Gone { .. } | Standing::Leaving => 2,
        };
        (standing, !server.spec.dynamic, server.spec.slot)
    };
    servers.min_by_key(rank).map(|(server, _)| server.spec.node_name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DHCPServerSpec;
    use std::time::Duration;

    #[test]
    fn who_does_keeps_it_as_long_as_he_answers() {
        let gone = || Standing::Gone { for_: Duration::from_secs(1) };
        let ask = |dynamic: Option<u8>, standings: [Standing; 2]| {
            let server = |slot: u8| {
                let (node_name, dynamic) = (format!("n{slot}"), dynamic == Some(slot));
                DHCPServer::new("a", DHCPServerSpec { node_name, slot, dynamic, ..DHCPServerSpec::default() })
            };
            let servers = [server(0), server(1)];
            holder(servers.iter().zip(standings)).map(str::to_owned)
        };
        let (ready, starting) = (|| Standing::Ready, || Standing::Starting);
        assert_eq!(ask(None, [ready(), ready()]).unwrap(), "n0");
        assert_eq!(ask(Some(1), [ready(), ready()]).unwrap(), "n1");
        assert_eq!(ask(Some(1), [ready(), gone()]).unwrap(), "n0");
        assert_eq!(ask(Some(0), [starting(), ready()]).unwrap(), "n1");
        assert_eq!(ask(Some(1), [starting(), starting()]).unwrap(), "n1");
        assert_eq!(ask(Some(1), [gone(), gone()]).unwrap(), "n1", "nobody else does");
        assert_eq!(ask(Some(1), [starting(), gone()]).unwrap(), "n0");
        assert_eq!(holder(std::iter::empty()), None);
    }
}
