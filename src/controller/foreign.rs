//! Who is on a network's segment that should not be, as its servers say.
//!
//! Called where the Network's status is made. Pure.

use std::sync::Arc;

use crate::api::{Conditioned, DHCPServer};
use crate::foreign::Kind;
use crate::reason::Problem;

/// In the words of the first slot that has any: all of them hear the same.
pub(super) fn foreign(servers: &[&Arc<DHCPServer>]) -> Vec<(Kind, Problem)> {
    let of = |kind: Kind| {
        let says = servers.iter().filter(|server| server.is(kind.condition()));
        let condition = says.min_by_key(|server| server.spec.slot)?.condition(kind.condition())?;
        Some((kind, Problem::new(kind.reason(), condition.message.clone())))
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DHCPServerSpec, DHCPServerStatus};
    use crate::conditions::Says;
    use crate::reason::Reason;
    use jiff::Timestamp;

    fn server(slot: u8, says: Option<&str>) -> Arc<DHCPServer> {
        let mut server = DHCPServer::new("a", DHCPServerSpec { slot, ..DHCPServerSpec::default() });
        let condition = says.map(|words| {
            let problem = Problem::new(Reason::ForeignRouter, words);
            Says::warning(&problem).condition("ForeignRouter", None, Timestamp::UNIX_EPOCH, &[])
        });
        let conditions = condition.into_iter().collect();
        server.status = Some(DHCPServerStatus { conditions, ..DHCPServerStatus::default() });
        Arc::new(server)
    }

    #[test]
    fn the_first_slot_that_hears_something_speaks_for_all() {
        let servers = [server(2, Some("two")), server(0, None), server(1, Some("one"))];
        let servers: Vec<_> = servers.iter().collect();
        let told = foreign(&servers);
        assert_eq!(told, [(Kind::Router, Problem::new(Reason::ForeignRouter, "one"))]);
        assert_eq!(foreign(&[]), []);
    }
}
