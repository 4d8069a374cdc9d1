//! Settings of the kernel, below `/proc/sys`: where they are, and writing them.
//!
//! A container's `/proc/sys` is read-only. There a proc of our own is opened, which is mounted nowhere:
//! whoever may make namespaces may do that.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Where the settings are.
const DIR: &str = "/proc/sys";

/// Where a setting is; what is below `net/` is of the calling thread's namespace.
pub(super) fn path(setting: &str) -> PathBuf {
    [DIR, setting].iter().collect()
}

/// Gives a setting this value.
pub(super) fn set(setting: &str, value: &str) -> io::Result<()> {
    match fs::write(path(setting), value) {
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => set_in(own()?, setting, value),
        written => written,
    }
}

fn set_in(proc: &OwnedFd, setting: &str, value: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(proc, Path::new("sys").join(setting), flags, Mode::empty())?;
    File::from(file).write_all(value.as_bytes())
}

/// Opened once: of two threads that come together one has made it in vain.
fn own() -> io::Result<&'static OwnedFd> {
    static OWN: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let filesystem = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&filesystem)?;
    let mounted = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(OWN.get_or_init(|| mounted))
}
