//! The least that 100 networks cost: a program that knows beforehand what to do, does each step once,
//! checks nothing and remembers nothing. The same kernel steps, files and programs as the agent's.
//!
//! It is this bench again, inside a lab: `budgets floor SPEC THREADS` sets up, says `up`, waits for a
//! line, takes down, says `gone`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::net::if_::if_nametoindex;
use nix::sched::CloneFlags;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::lab::{Dnsmasq, Lab, PATIENCE, eventually, spawn};

/// The argument that makes this program the floor.
pub const WORD: &str = "floor";

/// One network.
#[derive(Serialize, Deserialize)]
pub struct Spec {
    pub netns: String,
    pub outer: String,
    pub bridge: String,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub dir: PathBuf,
    /// Below `dir`.
    pub files: Vec<(PathBuf, String)>,
    pub argv: Vec<String>,
}

/// A floor that is up.
pub struct Floor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Floor {
    /// How long it took from the start of the process until all networks served.
    pub fn start(lab: &Lab, specs: &[Spec], threads: usize) -> (Self, Duration) {
        let path = lab.state().join("floor.json");
        fs::write(&path, serde_json::to_vec(specs).unwrap()).unwrap();
        let mut command = lab.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.arg(WORD).arg(&path).arg(threads.to_string());
        let started = Instant::now();
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut floor = Self { child, input, output };
        floor.hear("up");
        (floor, started.elapsed())
    }

    /// How long it took until nothing was left.
    pub fn stop(mut self) -> Duration {
        let started = Instant::now();
        writeln!(self.input, "down").unwrap();
        self.hear("gone");
        let took = started.elapsed();
        self.child.wait().unwrap();
        took
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "the floor failed");
    }
}

/// The program.
pub fn main(args: &[String]) {
    let specs: Vec<Spec> = serde_json::from_slice(&fs::read(&args[0]).unwrap()).unwrap();
    let threads = args[1].parse().unwrap();
    shared_directory();
    let instances = "/proc/sys/fs/inotify/max_user_instances";
    if fs::read_to_string(instances).unwrap().trim().parse::<usize>().unwrap() < specs.len() + 64 {
        fs::write(instances, "256").unwrap();
    }
    each(&specs, threads, Root::set_up);
    println!("up");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    take_down(&specs, threads);
    println!("gone");
}

fn each(specs: &[Spec], threads: usize, f: impl Fn(&Root, &Spec) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let root = Root::new();
                while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    f(&root, spec);
                }
            });
        }
    });
}

/// Mounts made in it are seen in other mount namespaces, as `ip netns` has it.
fn shared_directory() {
    let none = None::<&str>;
    fs::create_dir_all("/run/netns").unwrap();
    mount(Some("/run/netns"), "/run/netns", none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
    mount(none, "/run/netns", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none).unwrap();
}

/// A thread's way back to the node's namespace.
struct Root {
    netns: File,
    kernel: Kernel,
}

impl Root {
    fn new() -> Self {
        Self { netns: File::open("/proc/thread-self/ns/net").unwrap(), kernel: Kernel::open() }
    }

    fn set_up(&self, spec: &Spec) {
        files(spec);
        let netns = namespace(&spec.netns);
        let inside = Kernel::open();
        inside.link_up(1);
        for (path, value) in [
            ("ipv4/conf/all/promote_secondaries", "1"),
            ("ipv4/ip_nonlocal_bind", "1"),
            ("ipv6/conf/default/accept_ra", "0"),
        ] {
            fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
        }
        enter(&self.netns);
        self.pair(spec, &netns);
        enter(&netns);
        let device = if_nametoindex("dhcp0").unwrap();
        inside.link_up(device);
        inside.address(device, spec);
        inside.route(device, spec.gateway);
        for (program, port) in [("iptables", "68"), ("ip6tables", "546")] {
            let rule =
                ["-A", "POSTROUTING", "-p", "udp", "--dport", port, "-j", "CHECKSUM", "--checksum-fill"];
            run(Command::new(program).args(["-w", "-t", "mangle"]).args(rule));
        }
        run(Command::new("dnsmasq").env("LC_ALL", "C").args(&spec.argv[1..]));
        await_answer(spec.address);
        enter(&self.netns);
    }

    fn pair(&self, spec: &Spec, netns: &File) {
        use std::os::fd::AsRawFd;
        let bridge = if_nametoindex(spec.bridge.as_str()).unwrap();
        let inner = LinkUnspec::new_with_name("dhcp0").address(spec.mac.to_vec()).mtu(1500);
        let inner = inner.setns_by_fd(netns.as_raw_fd()).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(&spec.outer, "dhcp0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .mtu(1500)
            .controller(bridge);
        self.kernel.ask(RouteNetlinkMessage::NewLink(pair.build()), NLM_F_CREATE | NLM_F_EXCL);
        fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", spec.outer), "1").unwrap();
        self.kernel.link_up(if_nametoindex(spec.outer.as_str()).unwrap());
    }
}

fn files(spec: &Spec) {
    for name in ["hosts", "options", "names"] {
        fs::create_dir_all(spec.dir.join(name)).unwrap();
    }
    for (path, text) in &spec.files {
        fs::write(spec.dir.join(path), text).unwrap();
    }
}

/// A new one with a name, which the thread then is in.
fn namespace(name: &str) -> File {
    #[expect(clippy::disallowed_methods, reason = "the thread goes back itself")]
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let path = Path::new("/run/netns").join(name);
    File::create(&path).unwrap();
    let none = None::<&str>;
    mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none).unwrap();
    File::open(path).unwrap()
}

fn enter(netns: &File) {
    #[expect(clippy::disallowed_methods, reason = "the thread goes back itself")]
    nix::sched::setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// It serves when it answers.
fn await_answer(server: Ipv4Addr) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = b"kd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\0\0\x01\0\x01";
    eventually("dnsmasq answers", PATIENCE, || {
        let _ = socket.send(question);
        socket.recv(&mut [0; 512]).ok()
    });
}

fn take_down(specs: &[Spec], threads: usize) {
    each(specs, threads, |_, spec| {
        let pid = fs::read_to_string(spec.dir.join("pid")).unwrap().trim().parse().unwrap();
        let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&process, Signal::TERM).unwrap();
        assert!(Dnsmasq::ends_within(&process, PATIENCE));
        let path = Path::new("/run/netns").join(&spec.netns);
        umount2(&path, MntFlags::MNT_DETACH).unwrap();
        fs::remove_file(path).unwrap();
        fs::remove_dir_all(&spec.dir).unwrap();
    });
    // With the namespace the kernel takes the device away, a little later.
    let exists = |spec: &&Spec| Path::new("/sys/class/net").join(&spec.outer).exists();
    eventually("the devices are gone", PATIENCE, || specs.iter().find(exists).is_none().then_some(()));
}

/// A connection that waits for each answer.
struct Kernel(Socket);

impl Kernel {
    fn open() -> Self {
        Self(Socket::new(NETLINK_ROUTE).unwrap())
    }

    fn link_up(&self, index: u32) {
        self.ask(RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build()), 0);
    }

    fn address(&self, index: u32, spec: &Spec) {
        let message =
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(spec.address, spec.prefix);
        self.ask(RouteNetlinkMessage::NewAddress(message.build()), NLM_F_CREATE | NLM_F_EXCL);
    }

    fn route(&self, index: u32, gateway: Ipv4Addr) {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index);
        self.ask(RouteNetlinkMessage::NewRoute(route.build()), NLM_F_CREATE | NLM_F_EXCL);
    }

    fn ask(&self, message: RouteNetlinkMessage, flags: u16) {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
        let (answer, _) = self.0.recv_from_full().unwrap();
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).unwrap();
        if let NetlinkPayload::Error(error) = answer.payload {
            assert!(error.code.is_none(), "{error:?}");
        }
    }
}
