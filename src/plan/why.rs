//! Why a step is in a plan, for people.

use std::collections::BTreeSet;

use crate::dnsmasq::{self, Client, Host, HostChange, Server, Share};
use crate::node::{Action, Attached, Segment};
use crate::plain::plain;

/// Why `action` leads from `observed` to `desired`.
pub fn why(desired: Option<&Segment>, observed: &Segment, action: &Action) -> String {
    let Some(desired) = desired else { return "the network is not wanted here".to_owned() };
    let device = observed.device.as_ref();
    let is = |what: String| format!("it is {what}");
    match action {
        Action::CreateNamespace if observed.namespace.is_some() => {
            "its name leads to no namespace".to_owned()
        }
        Action::CreateNamespace => "there is none".to_owned(),
        Action::RequireBridge(_) => "there is none, or it is down".to_owned(),
        Action::CreateDevice { .. } if device.is_none() => "there is none".to_owned(),
        Action::CreateDevice { .. } | Action::DeleteDevice => {
            "the one there has another MAC, one end, or another place".to_owned()
        }
        Action::SetSysctl(_) => "it has another value".to_owned(),
        Action::AddRule(_) | Action::AddAddress(_) => "it is missing".to_owned(),
        Action::RemoveAddress(_) => "it belongs to no subnet".to_owned(),
        Action::AttachDevice(_) => {
            is(device.and_then(|d| d.attached.as_ref()).map_or("in none".into(), Attached::place))
        }
        Action::SetMtu(_) => is(device.map_or_else(String::new, |d| d.mtu.to_string())),
        Action::SetUp => is("down".into()),
        Action::SetGateway(family, _) => {
            let gateway = device.and_then(|d| d.gateways.get(family));
            is(gateway.map_or("unset, or about to go".into(), ToString::to_string))
        }
        Action::ChangeNeighbours { add, remove } => {
            let all = add.keys().chain(remove).collect::<Vec<_>>();
            format!("the kernel knows {} otherwise", some(&all))
        }
        Action::AdmitToDhcpv6 { whole: true, .. } | Action::Direct { whole: true, .. } => {
            "there is none, or not a whole one".to_owned()
        }
        Action::AdmitToDhcpv6 { add, remove, .. } => {
            let all = add.iter().chain(remove).collect::<Vec<_>>();
            format!("it is otherwise with {}", some(&all))
        }
        Action::OpenDhcpv6 => "no guest is to be kept away".to_owned(),
        Action::Direct { add, remove, .. } => {
            let all = add.keys().chain(remove.keys()).collect::<Vec<_>>();
            format!("it is otherwise with {}", some(&all))
        }
        Action::DirectNobody(_) => "one server is enough".to_owned(),
        Action::CreateRoom(share, _) if !observed.rooms.contains_key(share) => "there is none".to_owned(),
        Action::CreateRoom(..) => "the one there is not whole, or another's".to_owned(),
        Action::InRoom(_, action) => why(Some(desired), observed, action),
        Action::DeleteRoom(_) => "it has no guests any more".to_owned(),
        Action::ServeMetadata(_) if observed.metadata.is_none() => "there is none".to_owned(),
        Action::ServeMetadata(wanted) => match &observed.metadata {
            Some(there) if there.families == wanted.families => "its guests are others".to_owned(),
            _ => "not all of it is there".to_owned(),
        },
        Action::StopMetadata => "nobody is to be offered it".to_owned(),
        Action::Server(action) => why_server(desired, observed, None, action),
        Action::Share(share, action) => why_server(desired, observed, Some(*share), action),
        Action::DeleteNamespace => "the network is not wanted here".to_owned(),
    }
}

fn why_server(
    desired: &Segment,
    observed: &Segment,
    share: Option<Share>,
    action: &dnsmasq::Action,
) -> String {
    let nothing = Server::default();
    let known = observed.server_of(share).unwrap_or(&nothing);
    let Some(wanted) = desired.server_of(share) else { return "it has no guests any more".to_owned() };
    match action {
        dnsmasq::Action::Reserve(_)
        | dnsmasq::Action::Stop
        | dnsmasq::Action::Prepare(_)
        | dnsmasq::Action::Start(_) => why_restart(desired, observed, wanted, known),
        dnsmasq::Action::AddOptions(_) => "dnsmasq has other values, or none".to_owned(),
        dnsmasq::Action::AddHosts(changes) => whom(changes),
        dnsmasq::Action::WriteNames(_) => "dnsmasq has others".to_owned(),
        dnsmasq::Action::Release(..) => "its holder has no right to it any more".to_owned(),
        dnsmasq::Action::Remove => "the network is not wanted here".to_owned(),
    }
}

fn why_restart(desired: &Segment, observed: &Segment, wanted: &Server, known: &Server) -> String {
    let Some(process) = &known.process else { return "dnsmasq does not run".to_owned() };
    if !process.current {
        return "dnsmasq runs an old program, or in another namespace".to_owned();
    }
    let mac = |segment: &Segment| segment.device.as_ref().map(|device| device.mac);
    if mac(desired) != mac(observed) {
        return "its sockets are bound to a device that goes".to_owned();
    }
    let argv: BTreeSet<_> = wanted.process.iter().flat_map(|process| &process.argv).collect();
    let differing: Vec<_> =
        argv.symmetric_difference(&process.argv.iter().collect()).copied().cloned().collect();
    if !differing.is_empty() {
        return format!("its command line differs: {}", plain(&differing.join(" ")));
    }
    if known.hosts.foreign || known.options.foreign {
        return "its files are not as they were written".to_owned();
    }
    let spent = |(client, host): (&Client, &Host)| {
        let ip = host.ip().filter(|ip| known.hosts.spent.contains(ip))?;
        (known.hosts.entries.get(client) != Some(host)).then(|| (client.0.clone(), ip))
    };
    match wanted.hosts.entries.iter().find_map(spent) {
        Some((who, ip)) => format!("it has read {ip} before, and takes no new line for it ({who})"),
        None if desired.shares.is_empty() != observed.shares.is_empty() => {
            "its guests are shared out, or come back".to_owned()
        }
        None if known.hosts.left(&wanted.hosts).any(|client| client.0.mac().is_none()) => {
            "a line that takes an identifier away is in the way of who calls himself so".to_owned()
        }
        None => "an option is withdrawn, or too many old lines are in memory".to_owned(),
    }
}

fn whom(changes: &[HostChange]) -> String {
    let guests: Vec<_> = changes.iter().map(HostChange::identity).collect();
    format!("dnsmasq knows {} otherwise", some(&guests))
}

/// The first few.
fn some<T: ToString>(all: &[T]) -> String {
    let first: Vec<_> = all.iter().take(3).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(first.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnsmasq::{Hosts, Process};
    use crate::node::Family;
    use crate::plan::plan;
    use crate::service::Offer;
    use crate::types::MacAddr;

    fn client(n: u8) -> Client {
        (MacAddr::local([0, 0, 0, 0, n]).into(), Family::V4)
    }

    fn segment(ip: u8) -> Segment {
        let offer = Offer { ip: [10, 0, 0, ip].into(), more: Vec::new(), name: "a".parse().unwrap() };
        let host = Host { offer: Some(offer), tag: "p".into() };
        let hosts = Hosts::fresh([(client(ip), host)].into());
        let process = Some(Process { argv: vec!["dnsmasq".into()], current: true });
        Segment { server: Some(Server { process, hosts, ..Server::default() }), ..Segment::default() }
    }

    fn reasons(desired: &Segment, observed: &Segment) -> Vec<String> {
        let actions = plan(Some(desired), observed, true).actions;
        actions.iter().map(|action| why(Some(desired), observed, action)).collect()
    }

    #[test]
    fn a_restart_says_what_it_is_for() {
        let observed = segment(1);
        let mut moved = segment(1);
        let hosts = &mut moved.server.as_mut().unwrap().hosts.entries;
        let host = hosts.pop_first().unwrap().1;
        hosts.insert(client(9), host);
        let stop = "it has read 10.0.0.1 before, and takes no new line for it (02:00:00:00:00:09)";
        assert!(reasons(&moved, &observed).contains(&stop.to_owned()));
        let mut other = segment(1);
        other.server.as_mut().unwrap().process.as_mut().unwrap().argv.push("--x".into());
        assert!(reasons(&other, &observed).contains(&"its command line differs: --x".to_owned()));
        assert!(
            reasons(&segment(2), &observed)
                .contains(&"dnsmasq knows 02:00:00:00:00:01, 02:00:00:00:00:02 otherwise".to_owned())
        );
    }
}
