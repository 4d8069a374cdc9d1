//! `kube-dhcp import`: reads what another system says, writes manifests and a report.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::table::Table;
use crate::cli::{ImportArgs, ImportFrom, NeutronArgs, Output};
use crate::import::{Effect, Entry, Group, Imported, Options, import as objects};
use crate::source::schema::Validator;

/// Imports; an error if an object was left out, after all others were written.
pub fn import(args: &ImportArgs) -> Result<()> {
    match &args.from {
        ImportFrom::Neutron(args) => neutron(args),
    }
}

fn neutron(args: &NeutronArgs) -> Result<()> {
    let options = Options {
        namespace: args.namespace.clone(),
        physical_network: args.physical_network.clone(),
        segments: args.segments.iter().map(|arg| (arg.network.clone(), arg.segment.clone())).collect(),
    };
    let inputs: Vec<Value> = args.inputs.iter().map(|path| read(path)).collect::<Result<_>>()?;
    let imported = objects(inputs, &options, &Validator::new()?);
    match &args.out {
        Some(directory) => imported.networks.iter().try_for_each(|group| write(directory, group))?,
        None => imported.networks.iter().try_for_each(|group| super::print(&group.yaml()?))?,
    }
    let report = report(&imported, args.output)?;
    match &args.report {
        Some(path) => replace(path, &report)?,
        None => std::io::stderr().lock().write_all(report.as_bytes())?,
    }
    match imported.missing() {
        0 => Ok(()),
        missing => bail!("{missing} of what is in the input could not be imported; the report says why"),
    }
}

fn read(path: &Path) -> Result<Value> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
    } else {
        text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn write(directory: &Path, group: &Group) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    replace(&directory.join(format!("{}.yaml", group.name)), &group.yaml()?)
}

/// An agent that watches the directory never sees half a file, and no change where there is none.
fn replace(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The report, for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    networks: usize,
    subnets: usize,
    ports: usize,
    entries: &'a [Entry],
}

fn report(imported: &Imported, output: Output) -> Result<String> {
    let of = |kind: &str| {
        let objects = imported.networks.iter().flat_map(|group| &group.objects);
        objects.filter(|object| object["kind"] == kind).count()
    };
    let (networks, subnets, ports) = (of("Network"), of("Subnet"), of("Port"));
    let report = Report { networks, subnets, ports, entries: &imported.entries };
    super::text(output, &report, table)
}

fn table(report: &Report) -> String {
    let mut table = Table::new(&["NEUTRON", "MANIFEST", "FIELD", "VALUE", "EFFECT", "MESSAGE"]);
    for entry in report.entries {
        table.row(vec![
            entry.subject.to_string(),
            entry.subject.object.clone().unwrap_or_default(),
            entry.field.clone(),
            entry.value.clone(),
            entry.effect.as_str().to_owned(),
            entry.message.clone(),
        ]);
    }
    let counts = Effect::ALL.map(|effect| {
        let count = report.entries.iter().filter(|entry| entry.effect == effect).count();
        format!("{} {count}", effect.as_str())
    });
    let Report { networks, subnets, ports, .. } = report;
    let gap = if report.entries.is_empty() { "" } else { "\n" };
    format!(
        "{}{gap}Manifests: {networks} Networks, {subnets} Subnets, {ports} Ports. {}.\n",
        table.text(),
        counts.join(", ")
    )
}
