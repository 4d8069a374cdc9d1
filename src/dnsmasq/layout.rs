//! Where the files of each dnsmasq are. Pure.

use std::path::{Path, PathBuf};

use super::Share;
use crate::types::NetworkUid;

const NETWORKS: &str = "networks";
const SHARES: &str = "shares";

/// Where the files of one network's dnsmasq are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The network's part of the state directory.
    pub fn new(state: &Path, uid: NetworkUid) -> Self {
        Self { dir: Self::all(state).join(uid.to_string()) }
    }

    /// That of the process of one share of the guests.
    #[must_use]
    pub fn of(&self, share: Option<Share>) -> Self {
        match share {
            Some(share) => Self { dir: self.shares().join(share.to_string()) },
            None => self.clone(),
        }
    }

    /// The directory that holds one directory for each share.
    pub fn shares(&self) -> PathBuf {
        self.dir.join(SHARES)
    }

    /// Whose the file is in which a process of ours has its number, such as `/state/networks/UID/pid`, or
    /// `/state/networks/UID/shares/1/pid`.
    pub fn whose(pid_file: &Path) -> Option<(NetworkUid, Option<Share>)> {
        let directory = pid_file.parent()?;
        let name = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
        let above = directory.parent()?;
        let (network, share) = if name(above)? == SHARES {
            (above.parent()?, Some(Share::of_name(&name(directory)?)?))
        } else {
            (directory, None)
        };
        let is_ours = name(network.parent()?)? == NETWORKS;
        Some((name(network)?.parse().ok().filter(|_| is_ours)?, share))
    }

    /// The directory that holds one directory for each network.
    pub fn all(state: &Path) -> PathBuf {
        state.join(NETWORKS)
    }

    /// The directory of this network.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Watched: whom to answer.
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Watched: with which options.
    pub fn options(&self) -> PathBuf {
        self.dir.join("options")
    }

    /// Watched: names.
    pub fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    /// Written by dnsmasq.
    pub fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }

    /// Written by dnsmasq.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Written by dnsmasq.
    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Family;

    #[test]
    fn only_a_pid_file_of_the_layout_names_a_network() {
        let uid: NetworkUid = "3f0c9a1b-0000-4000-8000-000000000001".parse().unwrap();
        let layout = Layout::new(Path::new("/state"), uid);
        let share = |family, n| Some(Share::new(family, n).unwrap());
        for share in [None, share(Family::V4, 1), share(Family::V4, 100), share(Family::V6, 1)] {
            assert_eq!(Layout::whose(&layout.of(share).pid()), Some((uid, share)));
        }
        let of_share = |n: &str| layout.shares().join(n).join("pid").display().to_string();
        for path in [
            "/run/dnsmasq.pid",
            "/networks/x/pid",
            "pid",
            "/a/3f0c9a1b-0000-4000-8000-000000000001/pid",
            "/a/3f0c9a1b-0000-4000-8000-000000000001/shares/1/pid",
            &of_share("0"),
            &of_share("x"),
        ] {
            assert_eq!(Layout::whose(path.as_ref()), None, "{path}");
        }
    }
}
