//! The machine itself: namespaces held by a child process that dies with the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use super::{Capture, Guest, Guest6, Mac, PATIENCE, eventually, output, spawn};

/// First process of the lab's PID namespace. It reports its number as the machine counts it (the
/// old /proc is still mounted), then stays until its stdin closes. `cat` is not the last command
/// on purpose: the shell has to stay, reap what daemonised, and take the state directory away.
const INIT: &str = "read -r pid rest </proc/self/stat
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs -o mode=755 run /run &&
mkdir -p /run/netns /run/lock && ip link set lo up && echo $pid && cat
kill -9 -1 2>/dev/null
umount -l /var/lib 2>/dev/null
rm -rf \"$0\"";

/// A machine of its own. Dropping it ends every process and every namespace in it.
pub struct Lab {
    holder: Child,
    init: u32,
    state: TempDir,
    named: AtomicUsize,
}

impl Lab {
    pub fn new() -> Self {
        let state = tempfile::Builder::new().prefix("kd-lab-").tempdir().unwrap();
        // dnsmasq drops to another user and reads its directories afterwards.
        std::fs::set_permissions(state.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
        unshare.args(["--propagation", "private", "sh", "-c", INIT]).arg(state.path());
        let mut holder = spawn(unshare.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let init = line.trim().parse().expect("the lab did not start: are we root?");
        Self { holder, init, state, named: AtomicUsize::new(0) }
    }

    /// A directory with the same path inside and outside, removed with the lab.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The number, as the machine counts, of the lab's first process.
    pub fn init_pid(&self) -> u32 {
        self.init
    }

    /// A pidfd of the first process: readable once everything in the lab is dead.
    pub fn pidfd(&self) -> OwnedFd {
        let pid = Pid::from_raw(i32::try_from(self.init).unwrap()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    /// A command that will run in the lab's root namespace (network, mounts and PIDs).
    ///
    /// The child is `nsenter`: killing it does not kill the program, dropping the lab does.
    pub fn command(&self, program: &str) -> Command {
        self.enter(None, program)
    }

    /// The same in a named network namespace of the lab.
    pub fn command_in(&self, netns: &str, program: &str) -> Command {
        self.enter(Some(netns), program)
    }

    fn enter(&self, netns: Option<&str>, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init)).args(["--mount", "--pid"]);
        command.arg(format!("--net={}", self.netns_path(netns).display()));
        command.args(["--", program]).stdin(Stdio::null());
        command
    }

    /// Runs a command line to its end and gives its stdout; panics with its stderr if it failed.
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        finish(self.command(words.next().unwrap()).args(words), line)
    }

    /// The same in a named network namespace.
    pub fn run_in(&self, netns: &str, line: &str) -> String {
        let mut words = line.split_whitespace();
        finish(self.command_in(netns, words.next().unwrap()).args(words), line)
    }

    /// Runs `f` on a fresh thread in a network namespace of the lab (`None`: its root namespace).
    ///
    /// Sockets opened there stay there; files are those of the machine outside.
    pub fn in_netns<T: Send>(&self, netns: Option<&str>, f: impl FnOnce() -> T + Send) -> T {
        let ns = File::open(self.netns_path(netns)).expect("no such namespace");
        std::thread::scope(|scope| {
            let entered = scope.spawn(move || {
                #[expect(clippy::disallowed_methods, reason = "the thread is ours and ends")]
                setns(ns, CloneFlags::CLONE_NEWNET).unwrap();
                f()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn netns_path(&self, netns: Option<&str>) -> PathBuf {
        match netns {
            Some(name) => self.outside(&format!("/run/netns/{name}")),
            None => format!("/proc/{}/ns/net", self.init).into(),
        }
    }

    /// Where the machine sees a path of the lab.
    pub fn outside(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.init).into()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.outside(path).symlink_metadata().is_ok()
    }

    pub fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.outside(path))
    }

    /// Names in the lab's /run/netns, sorted.
    pub fn netns_names(&self) -> Vec<String> {
        names(&self.outside("/run/netns"))
    }

    /// Processes of the lab called `name`, as the lab counts them. A zombie is none.
    pub fn pids_of(&self, name: &str) -> Vec<u32> {
        let pids = names(&self.outside("/proc")).into_iter().filter_map(|n| n.parse().ok());
        pids.filter(|pid| self.runs(*pid, name)).collect()
    }

    fn runs(&self, pid: u32, name: &str) -> bool {
        let status = self.read(&format!("/proc/{pid}/status")).unwrap_or_default();
        let status = String::from_utf8_lossy(&status).into_owned();
        status.starts_with(&format!("Name:\t{name}\n")) && !status.contains("State:\tZ")
    }

    /// Sends a signal (`TERM`, `KILL`, `HUP` …) to a process by its number inside the lab.
    pub fn signal(&self, signal: &str, pid: u32) {
        self.run(&format!("kill -s {signal} {pid}"));
    }

    /// A bridge in the lab's root namespace, up, promiscuous so that a capture sees every frame.
    pub fn bridge(&self, name: &str) {
        self.ip(&[format!("link add {name} type bridge"), format!("link set {name} promisc on up")]);
    }

    /// A namespace `netns` whose `device` is plugged into the bridge and up.
    pub fn plug(&self, bridge: &str, netns: &str, device: &str, mac: Mac) {
        let port = format!("p{}", self.named.fetch_add(1, Ordering::Relaxed));
        self.ip(&[
            format!("netns add {netns}"),
            format!("link add {port} type veth peer name {device} address {mac} netns {netns}"),
            format!("link set {port} master {bridge} up"),
        ]);
        // Its IPv6 addresses are ready at once: nobody waits for a duplicate to speak up.
        self.set_ipv6(netns, device, "accept_dad", "0");
        self.run_in(netns, &format!("ip link set {device} up"));
        // The bridge forwards once it has noticed the carrier, which is not at once.
        let state = self.outside(&format!("/sys/class/net/{port}/brport/state"));
        eventually("the bridge forwards", PATIENCE, || {
            std::fs::read(&state).is_ok_and(|state| state == b"3\n").then_some(())
        });
    }

    /// A guest of its own namespace on the bridge, up, without an address.
    pub fn guest(&self, bridge: &str, mac: Mac) -> Guest<'_> {
        let netns = format!("guest{}", self.named.fetch_add(1, Ordering::Relaxed));
        self.plug(bridge, &netns, "eth0", mac);
        Guest::new(self, netns, mac)
    }

    /// A guest whose frames carry this MAC, on a device that has another: cheap where a test
    /// needs a thousand of them. `like` must have been made with [`Lab::guest`].
    pub fn twin<'a>(&'a self, like: &Guest<'a>, mac: Mac) -> Guest<'a> {
        Guest::new(self, like.netns().to_owned(), mac)
    }

    /// A guest that speaks IPv6, likewise.
    pub fn guest6(&self, bridge: &str, mac: Mac) -> Guest6<'_> {
        let netns = format!("guest{}", self.named.fetch_add(1, Ordering::Relaxed));
        self.plug(bridge, &netns, "eth0", mac);
        Guest6::new(self, netns, mac)
    }

    /// The IPv6 of a guest with this MAC, on the device of one of either family.
    pub fn twin6(&self, netns: &str, mac: Mac) -> Guest6<'_> {
        Guest6::new(self, netns.to_owned(), mac)
    }

    /// Sets one of a device's switches in /proc/sys/net/ipv6/conf.
    pub fn set_ipv6(&self, netns: &str, device: &str, switch: &str, value: &str) {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/{switch}");
        self.in_netns(Some(netns), || std::fs::write(path, value).unwrap());
    }

    /// Listens to all DHCP on a bridge from now on.
    pub fn capture(&self, bridge: &str) -> Capture {
        Capture::new(self, bridge)
    }

    /// Runs several `ip` commands with one process.
    pub fn ip(&self, lines: &[String]) {
        let batch = self.state().join(format!("ip{}", self.named.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&batch, lines.join("\n") + "\n").unwrap();
        self.run(&format!("ip -batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
    }

    /// Gives a device an address (`10.0.0.2/24`), one that may be used at once.
    pub fn address(&self, netns: &str, device: &str, address: &str) {
        let at_once = if address.contains(':') { "nodad" } else { "" };
        self.run_in(netns, &format!("ip address replace {address} dev {device} {at_once}"));
    }

    /// Tells a device whose the link-local addresses of these guests are, for good.
    pub fn neighbours(&self, netns: &str, device: &str, guests: impl Iterator<Item = Mac>) {
        let entry = |mac: Mac| format!("neighbour replace {} lladdr {mac} dev {device}", mac.link_local());
        let lines: Vec<_> = guests.map(|mac| entry(mac) + " nud permanent\n").collect();
        let batch = self.state().join(format!("ip{}", self.named.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&batch, lines.concat()).unwrap();
        self.run_in(netns, &format!("ip -batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
    }

    /// Lets the kernel finish UDP checksums of DHCP answers, as any server on a veth must.
    pub fn fill_checksums(&self, netns: &str) {
        self.run_in(
            netns,
            "iptables -w -t mangle -A POSTROUTING -p udp --dport 68 -j CHECKSUM --checksum-fill",
        );
    }

    /// Whether a packet from this namespace finds a way to `to`.
    pub fn has_route(&self, netns: &str, to: Ipv4Addr) -> bool {
        let words = ["route", "get", &to.to_string()];
        let found = output(self.command_in(netns, "ip").args(words));
        found.status.success()
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The first process ends when its stdin closes, and the kernel kills the rest with it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn finish(command: &mut Command, line: &str) -> String {
    let done = output(command);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "`{line}`: {}: {complaint}", done.status);
    String::from_utf8_lossy(&done.stdout).into_owned()
}
