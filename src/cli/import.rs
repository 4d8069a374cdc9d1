//! Flags of `kube-dhcp import`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::Output;
use crate::import::Segment;

/// Flags of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// From where.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// From where to import.
#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// Neutron's networks, subnets and ports as manifests, and a report of what has no counterpart.
    ///
    /// Takes JSON of the REST API (GET /v2.0/networks, /subnets, /ports) and of the openstack client
    /// (openstack network list --long -f json); one file may hold several of these lists. The same
    /// input gives the same manifests. Exit code 1: an object could not be imported; all others are.
    Neutron(NeutronArgs),
}

/// Flags of `import neutron`.
#[derive(Debug, Args)]
pub struct NeutronArgs {
    /// JSON file, or - for standard input; may be repeated.
    #[arg(long = "input", value_name = "FILE", required = true)]
    pub inputs: Vec<PathBuf>,

    /// Namespace of all objects.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = label)]
    pub namespace: String,

    /// Physical network of the networks of which the input does not say on which they are.
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub physical_network: Option<String>,

    /// Where a network, by its id or name, shall be; for overlay networks too. May be repeated.
    #[arg(long = "segment", value_name = "NETWORK=PHYSICAL[:VLAN]")]
    pub segments: Vec<SegmentArg>,

    /// Write one file for each network into this directory, instead of all to standard output.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Write the report into this file, instead of to standard error.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Form of the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `NETWORK=PHYSICAL[:VLAN]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentArg {
    /// The network's id or name.
    pub network: String,
    /// Where it shall be.
    pub segment: Segment,
}

impl FromStr for SegmentArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (network, segment) = text.rsplit_once('=').ok_or("expected NETWORK=PHYSICAL[:VLAN]")?;
        Ok(Self { network: network.to_owned(), segment: segment.parse()? })
    }
}

/// A name that a namespace and a `PhysicalNetwork` can have.
fn label(text: &str) -> Result<String, String> {
    match text.parse::<Segment>() {
        Ok(Segment { physical, vlan: None }) => Ok(physical),
        _ => Err("expected 1 to 63 of a-z, 0-9, '-'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_a_physical_network_and_perhaps_a_vlan() {
        let parse = |text: &str| text.parse::<SegmentArg>();
        assert_eq!(parse("a=b=lan:7").unwrap().network, "a=b");
        assert_eq!(parse("x=lan:7").unwrap().segment, Segment { physical: "lan".into(), vlan: Some(7) });
        for text in ["x", "x=", "x=LAN", "x=lan:", "x=lan:0", "x=lan:4095", "x=lan:1:2"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(label("lan").is_ok() && label("lan:7").is_err() && label("a.b").is_err());
    }
}
