//! Our installation by helm: the chart of before, with the definitions of before, and the one of now.

use std::path::PathBuf;

use crate::inside::sh;
use crate::site::{SYSTEM, Site};

const NAME: &str = "kube-dhcp";

fn ours(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

impl Site {
    /// What an administrator has who installed an older version: its definitions are frozen in
    /// `tests/previous`.
    pub fn helm_install_older(&self) {
        let chart = self.plane.directory().join("older-chart");
        let (from, to) = (ours("deploy/helm/kube-dhcp"), chart.display());
        let definitions = ours("tests/previous/crds");
        sh(&format!("cp -r {from} {to}; rm {to}/files/crds/*; cp {definitions}/*.yaml {to}/files/crds/"));
        let lan = ["--create-namespace", "--set", "agent.physicalNetworks.lan=bridge:br0"];
        self.helm(&[&["install", NAME, chart.to_str().unwrap()], &lan[..]].concat());
    }

    /// To the chart of now, with an image of another tag.
    pub fn helm_upgrade(&self, tag: &str) {
        let tag = format!("image.tag={tag}");
        let chart = ours("deploy/helm/kube-dhcp");
        self.helm(&["upgrade", NAME, &chart, "--reset-then-reuse-values", "--set", &tag]);
    }

    /// Nothing of it may wait for long.
    pub fn helm_uninstall(&self) {
        self.helm(&["uninstall", NAME, "--wait", "--timeout=60s"]);
    }

    fn helm(&self, arguments: &[&str]) {
        let done = self.plane.helm(SYSTEM, arguments);
        done.unwrap_or_else(|why| panic!("helm {arguments:?}: {why}\n{}", self.logs()));
    }
}
