//! `kube-dhcp crds`.

use std::io::Write;

use anyhow::{Context, Result};

use crate::api;
use crate::cli::CrdsArgs;

/// Prints the definitions, or writes them as files.
pub fn crds(args: &CrdsArgs) -> Result<()> {
    let files = api::crds_yaml()?;
    let Some(directory) = &args.out else {
        let mut out = std::io::stdout().lock();
        for (_, text) in files {
            writeln!(out, "---\n{}", text.trim_end())?;
        }
        return Ok(());
    };
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let kustomization = ("kustomization.yaml".to_owned(), kustomization());
    for (name, text) in files.into_iter().chain([kustomization]) {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The definitions as a base for kustomize.
fn kustomization() -> String {
    let head = "# A base of its own: deploy/ builds on it, and so can whoever wants only the definitions.\n\
        apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n";
    let plurals = api::crds().into_iter().map(|crd| crd.spec.names.plural);
    plurals.fold(head.to_owned(), |text, plural| text + "- " + &plural + ".yaml\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kustomization_has_every_definition() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/kustomization.yaml");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(text == super::kustomization(), "{file} is out of date; run: make crds");
    }
}
