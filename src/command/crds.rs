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
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
