//! What must be true whatever a tenant writes, of the pure core alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_dhcp::allocate::Ledger;
use kube_dhcp::conditions::{self, AllDone};
use kube_dhcp::desired::{Desired, Servers, SubnetView, accept};
use kube_dhcp::dnsmasq::{Client, Host, HostChange, Server, hosts_text, name_files, options_text};
use kube_dhcp::node::Segment;
use kube_dhcp::plan::{plan, why};
use kube_dhcp::reason::{Problem, Reason};
use kube_dhcp::source::Object;

use crate::model::{Code, Model};
use crate::net::Net;
use crate::scene::{STATE, Scene, Subject};
use crate::wanted::wanted;

/// One input, and which of its fields are not as they should be; `None`: nobody knows.
#[derive(Clone, Debug)]
pub struct Input {
    pub subject: Subject,
    pub changed: Option<Vec<String>>,
}

/// A bystander's network, what its ports get, and what they hold.
pub struct Court {
    bystander: Scene,
    held: Ledger,
    alone: (Model, Desired),
}

impl Court {
    pub fn new() -> Self {
        let (bystander, mut held) = (Scene::bystander(), Ledger::default());
        let desired = bystander.desired(STATE, &mut held);
        let model = model(&desired).unwrap().unwrap();
        assert_eq!(model, wanted(&bystander, &desired));
        Self { bystander, held, alone: (model, desired) }
    }

    /// What became of each input; else what is not as it must be.
    pub fn judge(&self, inputs: &[Input]) -> Result<Vec<String>, String> {
        catch_unwind(AssertUnwindSafe(|| self.judge_all(inputs))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("panic: {}", text.or(panic.downcast_ref().copied()).unwrap_or("?")))
        })
    }

    fn judge_all(&self, inputs: &[Input]) -> Result<Vec<String>, String> {
        let mut scene = self.bystander.clone();
        for input in inputs {
            scene.add(input.subject.clone());
        }
        let desired = scene.desired(STATE, &mut self.held.clone());
        if let Some(model) = model(&desired)? {
            let wanted = wanted(&scene, &desired);
            if model != wanted {
                return Err(difference(&model, &wanted));
            }
            if !inputs.iter().any(|input| matches!(input.subject.object, Object::Network(_))) {
                self.unharmed(&model, &desired, inputs)?;
            }
        }
        addresses_are_somebodys(&desired, &scene)?;
        words_of_steps(&desired)?;
        // A quarter of them: it is the same judgement once more.
        let uid = inputs.first().map_or("", |input| &input.subject.uid);
        if inputs.len() < 2 || uid.ends_with(['0', '4', '8', 'c']) {
            self.accepted_by_a_controller(&scene)?;
        }
        inputs.iter().map(|input| verdict(input, &desired)).collect()
    }

    /// The bystanders get what they get without the others. An accepted subnet is one more that all
    /// others have a route to.
    fn unharmed(&self, model: &Model, desired: &Desired, inputs: &[Input]) -> Result<(), String> {
        let (alone, was) = &self.alone;
        let more = inputs.iter().any(|input| is_in_network(desired, &input.subject.name));
        for (client, host) in &alone.hosts {
            same(&format!("host {client:?}"), &model.hosts.get(client), &Some(host))?;
        }
        for (ip, names) in &alone.names {
            same(&format!("names of {ip}"), &model.names.get(ip), &Some(names))?;
        }
        let known = |model: &Model| model.known.clone().unwrap_or_default();
        if !known(model).is_superset(&known(alone)) {
            return Err(format!("a bystander is not heard: {:?}", model.known));
        }
        for (ip, mac) in &alone.neighbours {
            same(&format!("neighbour {ip}"), &model.neighbours.get(ip), &Some(mac))?;
        }
        let keys: BTreeSet<_> = alone.options.keys().map(|(tag, _)| tag).collect();
        let of = |model: &Model| -> BTreeMap<_, _> {
            let own = model.options.iter().filter(|((tag, code), _)| {
                keys.contains(tag) && !(more && matches!(code, Code::V4(121 | 249)))
            });
            own.map(|(key, bytes)| (key.clone(), bytes.clone())).collect()
        };
        same("options", &of(model), &of(alone))?;
        for (name, view) in &was.ports {
            // In each subnet whose guests make themselves addresses it has one more.
            let mut now = desired.ports.get(name).cloned();
            let was = |subnet: &str| view.addresses.iter().any(|(_, own)| own == subnet);
            if let Some(now) = &mut now {
                now.addresses.retain(|(_, subnet)| was(subnet));
            }
            same(&format!("Port {name}"), &now.as_ref(), &Some(view))?;
        }
        let said = |view: &SubnetView| (view.problem.clone(), view.gateway, view.total);
        ["by-v4", "by-v6"].iter().try_for_each(|name| {
            same(&format!("Subnet {name}"), &said(&desired.subnets[*name]), &said(&was.subnets[*name]))
        })
    }

    fn accepted_by_a_controller(&self, scene: &Scene) -> Result<(), String> {
        let mut inputs = scene.inputs();
        let lan = serde_json::json!({"apiVersion": "kube-dhcp.io/v1alpha1", "kind": "PhysicalNetwork", "metadata": {"name": "lan"},
            "spec": {"namespaces": {"from": "All"}, "untagged": "Allowed", "vlanRanges": [{"first": 1, "last": 4094}]}});
        inputs.physical_network = Some(serde_json::from_value(lan).unwrap());
        let accepted =
            accept(&inputs, &BTreeMap::new(), &Servers::new(2), &mut self.held.clone(), Vec::new());
        let problems =
            accepted.ports.values().flat_map(|view| [&view.problem, &view.unallocated, &view.unserved]);
        let problems = problems.chain(accepted.subnets.values().map(|view| &view.problem));
        problems.chain([&accepted.problem]).flatten().try_for_each(|problem| plain(&problem.message))
    }
}

/// Whether there is such a subnet, be it with a server in it or without room for one.
pub fn is_in_network(desired: &Desired, name: &str) -> bool {
    let fine = |problem: &Problem| problem.reason == Reason::PoolExhausted;
    desired.subnets.get(name).is_some_and(|view| view.problem.as_ref().is_none_or(fine))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, was: &T) -> Result<(), String> {
    if is == was { Ok(()) } else { Err(format!("a bystander is harmed: {what}: {was:?} became {is:?}")) }
}

fn difference(model: &Model, wanted: &Model) -> String {
    let mut said = String::from("dnsmasq is told something else than the objects say:");
    for (part, is, shall) in [
        ("argv", format!("{:?}", model.argv), format!("{:?}", wanted.argv)),
        ("hosts", format!("{:?}", model.hosts), format!("{:?}", wanted.hosts)),
        ("silent", format!("{:?}", model.silent), format!("{:?}", wanted.silent)),
        ("options", format!("{:?}", model.options), format!("{:?}", wanted.options)),
        ("names", format!("{:?}", model.names), format!("{:?}", wanted.names)),
        ("known", format!("{:?}", model.known), format!("{:?}", wanted.known)),
        ("neighbours", format!("{:?}", model.neighbours), format!("{:?}", wanted.neighbours)),
    ] {
        if is != shall {
            let _ = write!(said, "\n  {part}: {is}\n  wanted: {shall}");
        }
    }
    said
}

/// The three files of a server.
pub fn files(server: &Server) -> [String; 3] {
    let set = |(client, host): (&Client, &Host)| HostChange::Set(client.clone(), host.clone());
    let silent = server.hosts.silent.iter().cloned().map(HostChange::Gone);
    let hosts: Vec<_> = server.hosts.entries.iter().map(set).chain(silent).collect();
    let names = name_files(&server.names, &std::collections::BTreeMap::new()).into_values().collect();
    [hosts_text(&hosts), options_text(&server.options.values), names]
}

fn model(desired: &Desired) -> Result<Option<Model>, String> {
    let Some(segment) = &desired.segment else { return Ok(None) };
    let server = segment.server.as_ref().unwrap();
    let [hosts, options, names] = files(server);
    let mut model = Model::read(&server.process.as_ref().unwrap().argv, &hosts, &options, &names)?;
    let known = segment.namespace.as_ref().and_then(|namespace| namespace.known.as_ref());
    model.known = known.map(|macs| macs.iter().map(ToString::to_string).collect());
    let neighbours = segment.device.iter().flat_map(|device| &device.neighbours);
    model.neighbours = neighbours.map(|(ip, mac)| (*ip, mac.to_string())).collect();
    Ok(Some(model))
}

/// An address is in the subnet that it is said to be of, and of no other, and has one holder.
fn addresses_are_somebodys(desired: &Desired, scene: &Scene) -> Result<(), String> {
    let nets: Vec<_> = scene.subnets.values().filter(|subnet| is_in_network(desired, &subnet.name)).collect();
    let nets: Vec<_> =
        nets.iter().map(|s| (s.name.as_str(), Net::new(s.spec["cidr"].as_str().unwrap()))).collect();
    let mut seen = BTreeSet::new();
    let of_ports = desired.ports.values().flat_map(|view| &view.addresses);
    for (ip, subnet) in of_ports.filter(|(_, subnet)| nets.iter().any(|(name, _)| name == subnet)) {
        let in_nets: Vec<_> = nets.iter().filter(|(_, net)| net.contains(*ip)).map(|n| n.0).collect();
        if in_nets != [subnet.as_str()] || !seen.insert(*ip) || desired.server_addresses.contains(ip) {
            return Err(format!("{ip} of Subnet {subnet} is in {in_nets:?}, or has two holders"));
        }
    }
    let macs: Vec<_> = desired.ports.values().flat_map(|view| &view.clients).collect();
    let distinct: BTreeSet<_> = macs.iter().collect();
    if macs.len() == distinct.len() {
        Ok(())
    } else {
        Err(format!("two Ports with one MAC address: {macs:?}"))
    }
}

/// What is logged of each step.
fn words_of_steps(desired: &Desired) -> Result<(), String> {
    let (shall, is) = (desired.segment.as_ref(), Segment::default());
    for action in plan(shall, &is, true).actions {
        plain(&action.to_string())?;
        plain(&why(shall, &is, &action))?;
    }
    Ok(())
}

fn verdict(input: &Input, desired: &Desired) -> Result<String, String> {
    let (name, now) = (&input.subject.name, Timestamp::UNIX_EPOCH);
    let (kind, list, problem) = match &input.subject.object {
        Object::Network(_) => {
            let status = conditions::network(desired, &AllDone, "n1", 1, now, &[]);
            ("Network", status.conditions, desired.problem.clone())
        }
        Object::Subnet(_) => {
            let view = desired.subnets.get(name).cloned().unwrap_or_default();
            let status = conditions::subnet(name, &view, &AllDone, 1, now, &[]);
            ("Subnet", status.conditions, view.problem)
        }
        _ => {
            let view = desired.ports.get(name).cloned().unwrap_or_default();
            let status = conditions::port(name, &view, &AllDone, 1, now, &[]);
            let problem = view.problem.or(view.unallocated).or(view.unserved);
            ("Port", status.conditions, problem)
        }
    };
    list.iter().try_for_each(sound)?;
    let Some(problem) = problem else { return Ok(format!("{kind} accepted")) };
    let field = named(&problem, input)?;
    Ok(format!("{kind} {} {}", problem.reason.as_str(), field.replace(|c: char| c.is_ascii_digit(), "")))
}

/// As the API server takes a condition, and as a terminal does no harm with it.
fn sound(condition: &Condition) -> Result<(), String> {
    let word = !condition.reason.is_empty() && condition.reason.bytes().all(|b| b.is_ascii_alphanumeric());
    if !word || condition.message.len() > 32_768 {
        return Err(format!("no good condition: {condition:?}"));
    }
    plain(&condition.message)
}

pub fn plain(text: &str) -> Result<(), String> {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(bad) { Err(format!("control characters are said: {text:?}")) } else { Ok(()) }
}

/// The field that a fault of the object itself is said of: one of those that are not as they should be.
fn named(problem: &Problem, input: &Input) -> Result<String, String> {
    if !matches!(problem.reason, Reason::InvalidValue | Reason::InvalidOption | Reason::NotSupported) {
        return Ok(String::new());
    }
    let end = problem.message.find([':', ',']).unwrap_or(0);
    let field = problem.message[..end].to_owned();
    let pointer = field.replace(['.', '['], "/").replace(']', "");
    let part = |pointer: &str| pointer.split('/').take(2).collect::<Vec<_>>().join("/");
    // Nothing of a Subnet makes sense without its CIDR, and what its guests get goes by `ipv6`.
    let related = |changed: &String| {
        let changed = part(changed.trim_start_matches('/'));
        changed == part(&pointer) || ["spec/cidr", "spec/ipv6"].contains(&changed.as_str())
    };
    // Of these the corpus has some that are not served yet.
    let known = ["spec.dhcp.mode", "spec.cidr"].contains(&field.as_str());
    let found = input.changed.as_ref().is_none_or(|list| list.iter().any(related)) || known;
    if field.starts_with("spec.") && found {
        Ok(field)
    } else {
        Err(format!("the field is not named: {problem:?}, changed: {:?}", input.changed))
    }
}
