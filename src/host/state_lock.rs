//! The lock of a state directory: by it those who read there know whether an agent serves from it.
//!
//! Taken by the agent and by `kube-dhcp cleanup`, asked about by `status` and `explain`. The machine's
//! lock cannot tell them: in a pod `/run` is another one. Who asks takes nothing, and so is in nobody's way.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tracing::warn;

use super::Error;
use crate::durable;

/// Held for the life of the agent.
#[derive(Debug)]
pub struct StateLock {
    _file: Option<File>,
}

impl StateLock {
    /// Takes it for this process; writes nothing. Fails if another has it; where there can be no file, as on a
    /// full disk, an agent serves all the same.
    pub fn take(state: &Path) -> Result<Self, Error> {
        let path = path(state);
        let file = match durable::private().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) => {
                warn!(%error, lock = %path.display(), "others cannot tell that an agent runs");
                return Ok(Self { _file: None });
            }
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => Ok(Self { _file: Some(file) }),
            Err(_) => Err(Error::StateInUse(path)),
        }
    }

    /// Whether somebody has it; `None`: that cannot be told, as where an older agent never took one.
    pub fn is_held(state: &Path) -> Option<bool> {
        let file = File::open(path(state)).ok()?;
        let mut in_the_way = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut in_the_way)).ok()?;
        Some(i32::from(in_the_way.l_type) != libc::F_UNLCK)
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("agent.lock")
}

/// For one alone.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's numbers for these are small")]
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_an_agent_runs_is_seen_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StateLock::is_held(dir.path()), None, "no agent was ever here");
        let agent = StateLock::take(dir.path()).unwrap();
        assert_eq!(StateLock::is_held(dir.path()), Some(true));
        let error = StateLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("agent.lock"), "{error}");
        drop(agent);
        assert_eq!(StateLock::is_held(dir.path()), Some(false));
        // Who only asks does not keep an agent from starting, and neither does a place where no file can be.
        StateLock::take(dir.path()).unwrap();
        StateLock::take(&dir.path().join("away")).unwrap();
    }
}
