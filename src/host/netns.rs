//! Named network namespaces, as iproute2 keeps them, and running code inside one.
//!
//! The only module that moves a thread into a namespace, and never one that anybody uses afterwards.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{Handle, LinkUnspec};
use tokio::sync::oneshot;

use super::Error;
use crate::dnsmasq::Share;
use crate::node;
use crate::types::NetworkUid;

const DIR: &str = "/run/netns";

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: i64 = 0x6e73_6673;

/// The index of `lo` in every namespace.
pub(super) const LOOPBACK: u32 = 1;

/// Device and inode: the identity of a file, and of a namespace.
pub(super) type FileId = (u64, u64);

/// What a name in the directory of namespaces leads to.
pub(super) enum Named {
    Missing,
    /// To something that is no namespace.
    Unusable,
    Namespace(Netns),
}

/// An open namespace.
#[derive(Clone, Debug)]
pub(super) struct Netns {
    file: Arc<File>,
    name: String,
    /// Whether a process is in it is told by this.
    pub(super) id: FileId,
}

/// The name of a namespace: of a network's, or there of a share's room.
pub(super) struct Name(String);

impl From<NetworkUid> for Name {
    fn from(uid: NetworkUid) -> Self {
        Self(node::namespace_name(uid))
    }
}

impl From<(NetworkUid, Share)> for Name {
    fn from((uid, share): (NetworkUid, Share)) -> Self {
        Self(node::room_name(uid, share))
    }
}

/// Where the process of a share is, or the one of none.
impl From<(NetworkUid, Option<Share>)> for Name {
    fn from((uid, share): (NetworkUid, Option<Share>)) -> Self {
        share.filter(|share| share.has_room()).map_or_else(|| uid.into(), |share| (uid, share).into())
    }
}

impl Name {
    fn path(&self) -> PathBuf {
        [DIR, &self.0].iter().collect()
    }
}

/// What this name leads to.
pub(super) fn find(name: impl Into<Name>) -> Result<Named, Error> {
    find_named(name.into())
}

fn find_named(name: Name) -> Result<Named, Error> {
    let path = name.path();
    match fs::symlink_metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Named::Missing),
        Err(e) => return Err(Error::Read(path, e)),
        Ok(metadata) if !metadata.is_file() => return Ok(Named::Unusable),
        Ok(_) => {}
    }
    let file = File::open(&path).map_err(Error::read(&path))?;
    let kind = rustix::fs::fstatfs(&file).map_err(|e| Error::Read(path.clone(), e.into()))?.f_type;
    if kind != NSFS {
        return Ok(Named::Unusable);
    }
    let id = file.metadata().map_err(Error::read(&path)).map(|m| super::files::id(&m))?;
    Ok(Named::Namespace(Netns { file: Arc::new(file), name: name.0, id }))
}

/// The namespace of this name, which must be there.
pub(super) fn open(name: impl Into<Name>) -> Result<Netns, Error> {
    let name = name.into();
    let text = name.0.clone();
    match find(name)? {
        Named::Namespace(netns) => Ok(netns),
        Named::Missing | Named::Unusable => Err(Error::NoNamespace(text)),
    }
}

/// Whose names are here.
pub(super) fn all() -> Result<Vec<(NetworkUid, Option<Share>)>, Error> {
    let entries = match fs::read_dir(DIR) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::read(DIR.as_ref()))?,
    };
    let named = |entry: io::Result<fs::DirEntry>| node::named(entry.ok()?.file_name().to_str()?);
    Ok(entries.filter_map(named).collect())
}

/// Makes the namespace, its loopback up, unless it is there.
pub(super) async fn create(name: impl Into<Name>) -> Result<(), Error> {
    let name = name.into();
    let (text, path) = (name.0.clone(), name.path());
    let failed = |e| Error::CreateNamespace(text.clone(), e);
    match find(Name(text.clone()))? {
        Named::Namespace(_) => return Ok(()),
        Named::Unusable => delete(name)?,
        Named::Missing => {}
    }
    shared_directory().map_err(failed)?;
    on_thread(move || make(&path)).await?.map_err(failed)
}

/// On a thread that ends afterwards: leaves it in the new namespace.
fn make(path: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the thread is ours and ends")]
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    // Before it has a name: what has one is complete.
    loopback_up()?;
    File::create(path)?;
    // Not /proc/self: that is the thread group's leader, in the node's namespace.
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// Without waiting for an answer, which is sent only on errors: none can occur in a new namespace.
fn loopback_up() -> io::Result<()> {
    let message: LinkMessage = LinkUnspec::new_with_index(LOOPBACK).up().build();
    debug_assert!(message.header.flags.contains(LinkFlags::Up));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(message));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    Ok(())
}

/// Runs `f` in a namespace that nobody else has, and that ends with it.
pub(super) async fn scratch<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let inside = move || -> io::Result<T> {
        #[expect(clippy::disallowed_methods, reason = "the thread is ours and ends")]
        nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(f())
    };
    on_thread(inside).await?.map_err(|e| Error::CreateNamespace("for a trial".to_owned(), e))
}

/// Removes the name; the namespace ends with its last process and socket.
pub(super) fn delete(name: impl Into<Name>) -> Result<(), Error> {
    let name = name.into();
    let path = name.path();
    let failed = |e: io::Error| Error::DeleteNamespace(name.0.clone(), e);
    loop {
        match umount2(&path, MntFlags::MNT_DETACH) {
            // Once more: mounts can lie on each other.
            Ok(()) => {}
            // Not a mount, or not there.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(e) => return Err(failed(e.into())),
        }
    }
    let removed = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
        _ => fs::remove_file(&path),
    };
    removed.or_else(super::files::absent_is_fine).map_err(failed)
}

/// As `ip netns add` does it: mounts made here are seen in other mount namespaces, and unmounts too.
fn shared_directory() -> io::Result<()> {
    let none = None::<&str>;
    let share = || mount(none, DIR, none, MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    fs::create_dir_all(DIR)?;
    match share() {
        Err(Errno::EINVAL) => {}
        result => return Ok(result?),
    }
    // It is no mount point yet; the lock keeps two threads from mounting it twice.
    let _only_one = SHARING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if share().is_err() {
        mount(Some(DIR), DIR, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        share()?;
    }
    Ok(())
}

static SHARING: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Netns {
    /// Runs `f` inside, on a thread of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let file = Arc::clone(&self.file);
        let joined = on_thread(move || join(&file).map(|()| f())).await?;
        joined.map_err(|e| Error::JoinNamespace(self.name.clone(), e))
    }

    /// A connection to the kernel about what is inside. A socket keeps its namespace.
    pub(super) async fn connect(&self) -> Result<Handle, Error> {
        let runtime = tokio::runtime::Handle::current();
        self.run(move || connect(&runtime)).await?.map_err(|e| Error::Open("a netlink socket", e))
    }

    /// For a netlink message that names this namespace; valid as long as `self` is.
    pub(super) fn raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        self.file.as_raw_fd()
    }
}

/// A connection to the kernel from the calling thread's namespace. It ends with its last handle.
pub(super) fn connect(runtime: &tokio::runtime::Handle) -> io::Result<Handle> {
    let _entered = runtime.enter();
    let (connection, handle, _) = rtnetlink::new_connection()?;
    runtime.spawn(connection);
    Ok(handle)
}

fn join(file: &File) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the thread is ours and ends")]
    nix::sched::setns(file, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}

/// A fresh thread for each call: what it changes of itself is gone with it.
async fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        // A receiver that is gone does not want the result.
        let _ = sender.send(f());
    };
    let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024);
    thread.spawn(run).map_err(|e| Error::Open("a thread", e))?;
    receiver.await.map_err(|_| Error::Interrupted("a thread in a network namespace"))
}
