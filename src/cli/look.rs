//! Where the subcommands look that only show: at this machine's agent, or at a cluster.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::STATE_DIR;

/// The name under which kubectl finds this program as `kubectl dhcp`.
pub const PLUGIN: &str = "kubectl-dhcp";

/// Whether the program was started under this name.
pub fn is_called(program: &OsStr, name: &str) -> bool {
    Path::new(program).file_stem() == Some(OsStr::new(name))
}

/// Flags that say where to look.
#[derive(Debug, Clone, Args)]
pub struct LookArgs {
    /// Look at a cluster instead of this machine; as `kubectl dhcp` that is what is done anyway.
    #[arg(long)]
    pub cluster: bool,

    /// How to reach its API server; implies --cluster [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Look at the agent with this state directory; `leases --cluster` looks there in the agents'
    /// containers [default: /var/lib/kube-dhcp]
    #[arg(long, value_name = "DIR", env = "KUBE_DHCP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<'a> {
    /// At the agent of this machine with this state directory.
    Node(&'a Path),
    /// At a cluster, that of this kubeconfig or of the usual ones.
    Cluster(Option<&'a Path>),
}

impl LookArgs {
    /// Where to look; as a plugin of kubectl at a cluster, unless a state directory is named.
    pub fn place(&self, plugin: bool) -> Look<'_> {
        let cluster = self.cluster || self.kubeconfig.is_some();
        match &self.state_dir {
            Some(state) if !cluster => Look::Node(state),
            None if !(cluster || plugin) => Look::Node(Path::new(STATE_DIR)),
            _ => Look::Cluster(self.kubeconfig.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_looks_at_the_cluster() {
        let args = |kubeconfig: Option<&str>, state: Option<&str>| LookArgs {
            cluster: false,
            kubeconfig: kubeconfig.map(PathBuf::from),
            state_dir: state.map(PathBuf::from),
        };
        assert_eq!(args(None, None).place(false), Look::Node(Path::new(STATE_DIR)));
        assert_eq!(args(None, None).place(true), Look::Cluster(None));
        assert_eq!(args(Some("k"), None).place(false), Look::Cluster(Some(Path::new("k"))));
        assert_eq!(args(None, Some("s")).place(true), Look::Node(Path::new("s")));
        assert_eq!(args(Some("k"), Some("s")).place(false), Look::Cluster(Some(Path::new("k"))));
        let asked = LookArgs { cluster: true, ..args(None, Some("s")) };
        assert_eq!(asked.place(false), Look::Cluster(None));
        assert!(is_called(OsStr::new("/usr/local/bin/kubectl-dhcp"), PLUGIN));
        assert!(!is_called(OsStr::new("kube-dhcp"), PLUGIN));
    }
}
