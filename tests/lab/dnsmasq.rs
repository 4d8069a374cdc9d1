//! A dnsmasq in the lab, started as the driver means to: to learn from it what it does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::wire::readable;
use super::{DnsSocket, Lab, Mac, PATIENCE, eventually, output, rtype, write_alone};

const CHAOS: u16 = 3;

/// How a dnsmasq is to be started.
#[derive(Clone)]
pub struct Setup {
    /// Its namespace, made when it does not exist, with the device `srv0`.
    pub netns: String,
    pub bridge: String,
    /// Addresses of its device, with prefix length; the first is asked by [`Dnsmasq::barrier`].
    pub addresses: Vec<String>,
    pub ranges: Vec<String>,
    pub more: Vec<String>,
    /// The usual `--dhcp-authoritative --dhcp-ignore=tag:!known --local=//`.
    pub usual: bool,
    pub fill_checksums: bool,
    /// Of several in one namespace, each for its share of the guests: which; 0 is the one that is asked by
    /// DNS, and that hears whom no other hears.
    pub share: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            netns: "srv".into(),
            bridge: "br0".into(),
            addresses: vec!["10.0.0.2/24".into()],
            ranges: vec!["set:s1,tag:known,tag:!gone,10.0.0.0,static,255.255.255.0,86400".into()],
            more: Vec::new(),
            usual: true,
            fill_checksums: true,
            share: 0,
        }
    }
}

impl Setup {
    pub fn more(mut self, arguments: &[&str]) -> Self {
        self.more.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    pub fn ranges(mut self, ranges: &[&str]) -> Self {
        self.ranges = ranges.iter().map(|r| (*r).to_owned()).collect();
        self
    }

    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub fn netns(mut self, netns: &str) -> Self {
        netns.clone_into(&mut self.netns);
        self
    }

    pub fn share(mut self, share: u16) -> Self {
        self.share = share;
        self
    }

    /// Where it listens for DHCPv4 and for DNS.
    fn ports(&self) -> (u16, u16) {
        if self.share == 0 { (67, 53) } else { (600 + self.share, 800 + self.share) }
    }
}

/// How a start went that is over at once.
#[derive(Debug)]
pub struct Exit {
    pub code: i32,
    pub stderr: String,
}

/// A dnsmasq and its files.
pub struct Dnsmasq<'lab> {
    lab: &'lab Lab,
    setup: Setup,
    directory: PathBuf,
    written: AtomicU32,
}

impl<'lab> Dnsmasq<'lab> {
    /// Namespace, device and directories; nothing runs yet.
    pub fn prepare(lab: &'lab Lab, setup: Setup) -> Self {
        let own = if setup.share > 0 { format!("-{}", setup.share) } else { String::new() };
        let directory = lab.state().join(setup.netns.clone() + &own);
        for name in ["hosts", "options", "names", "beside"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        if !lab.exists(&format!("/run/netns/{}", setup.netns)) {
            let last = setup.netns.bytes().fold(7, |sum: u8, byte| sum.wrapping_add(byte));
            lab.plug(&setup.bridge, &setup.netns, "srv0", Mac([2, 0xff, 0, 0, 0, last]));
            lab.run_in(&setup.netns, "ip link set lo up");
            setup.addresses.iter().for_each(|a| lab.address(&setup.netns, "srv0", a));
            if setup.fill_checksums {
                lab.fill_checksums(&setup.netns);
            }
        }
        Self { lab, setup, directory, written: AtomicU32::new(0) }
    }

    /// Prepared, with one file of host lines, and started.
    pub fn with_hosts(lab: &'lab Lab, setup: Setup, hosts: &str) -> Self {
        let dnsmasq = Self::prepare(lab, setup);
        dnsmasq.write("hosts", "all", hosts);
        dnsmasq.start();
        dnsmasq
    }

    pub fn argv(&self) -> Vec<String> {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut argv: Vec<String> = ["--conf-file=/dev/null", "--no-hosts", "--no-resolv"]
            .into_iter()
            .chain(["--bind-dynamic", "--interface=srv0", "--except-interface=lo"])
            .map(str::to_owned)
            .collect();
        argv.push(format!("--dhcp-leasefile={}", path("leases")));
        argv.push(format!("--dhcp-hostsdir={}", path("hosts")));
        argv.push(format!("--dhcp-optsdir={}", path("options")));
        argv.push(format!("--hostsdir={}", path("names")));
        argv.push(format!("--pid-file={}", path("pid")));
        argv.push(format!("--log-facility={}", path("log")));
        if self.setup.usual {
            argv.extend(["--dhcp-authoritative", "--dhcp-ignore=tag:!known"].map(str::to_owned));
            argv.push("--local=//".to_owned());
        }
        if let (true, (dhcp, dns)) = (self.setup.share > 0, self.setup.ports()) {
            argv.extend([format!("--dhcp-alternate-port={dhcp},68"), format!("--port={dns}")]);
        }
        argv.extend(self.setup.ranges.iter().map(|range| format!("--dhcp-range={range}")));
        argv.extend(self.setup.more.iter().cloned());
        argv
    }

    /// Starts it. The command returns when the daemon listens, but before it has read its files.
    pub fn try_start(&self) -> Result<(), Exit> {
        let mut command = self.lab.command_in(&self.setup.netns, "dnsmasq");
        let done = output(command.env("LC_ALL", "C").args(self.argv()));
        let stderr = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        match done.status.code() {
            Some(0) => Ok(()),
            code => Err(Exit { code: code.unwrap_or(-1), stderr }),
        }
    }

    /// Starts it and waits until it has read its files.
    pub fn start(&self) {
        self.try_start().expect("dnsmasq did not start");
        self.barrier();
    }

    /// The daemon's number inside the lab.
    pub fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.directory.join("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// A pidfd of the daemon: readable once it has ended.
    pub fn pidfd(&self) -> OwnedFd {
        let inside = self.pid();
        let pid = outside_pid(self.lab, inside).expect("dnsmasq does not run");
        pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), PidfdFlags::empty()).unwrap()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) {
        let ended = self.pidfd();
        self.lab.signal("TERM", self.pid());
        assert!(readable(&ended, PATIENCE), "dnsmasq ignores SIGTERM");
    }

    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Waits for its end; `false` if it is still alive after `patience`.
    pub fn ends_within(ended: &OwnedFd, patience: Duration) -> bool {
        readable(ended, patience)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file beside a watched directory (`hosts`, `options`, `names`) and renames it in.
    pub fn write(&self, directory: &str, name: &str, text: &str) {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let beside = self.directory.join("beside").join(number.to_string());
        write_alone(&beside, text);
        std::fs::rename(beside, self.directory.join(directory).join(name)).unwrap();
    }

    /// The same, and waits until dnsmasq has it.
    pub fn apply(&self, directory: &str, name: &str, text: &str) {
        self.write(directory, name, text);
        self.barrier();
    }

    pub fn remove(&self, directory: &str, name: &str) {
        std::fs::remove_file(self.directory.join(directory).join(name)).unwrap();
        self.barrier();
    }

    /// A question whose answer shows that every earlier inotify event has been dealt with.
    ///
    /// It is one that dnsmasq answers itself, whatever its domains and upstreams are.
    pub fn barrier(&self) {
        let reply = self.local_dns().ask_class("version.bind", rtype::TXT, CHAOS, PATIENCE);
        reply.expect("dnsmasq does not answer");
    }

    /// A DNS socket in dnsmasq's own namespace.
    pub fn local_dns(&self) -> DnsSocket {
        let server = SocketAddr::new(self.first_address(), self.setup.ports().1);
        DnsSocket::at(self.lab, Some(&self.setup.netns), server)
    }

    /// Has each of these guests heard by its share's process alone, and their answers come from port 67. By
    /// the address in the message, as dnsmasq goes by. One without a checksum stays without.
    pub fn spread(&self, guests: impl Iterator<Item = (Mac, u16)>) {
        let entry = |(mac, share): (Mac, u16)| {
            let digits = mac.to_string().replace(':', "");
            format!("0x{digits} : {}, ", 600 + share)
        };
        let entries: String = guests.map(entry).collect();
        let rules = format!(
            "table ip shares {{
            map shares {{ typeof @th,288,48 : udp dport; elements = {{ {entries} }}; }}
            chain input {{ type filter hook prerouting priority raw;
                iifname srv0 udp dport 600-899 drop
                iifname srv0 tcp dport 600-899 drop
                iifname srv0 udp dport 67 udp checksum 0 @th,16,16 set @th,288,48 map @shares
                iifname srv0 udp dport 67 udp dport set @th,288,48 map @shares
            }}
            chain output {{ type filter hook output priority raw;
                oifname srv0 udp sport 600-699 udp sport set 67
            }}
        }}"
        );
        let path = self.directory.join("beside/shares");
        std::fs::write(&path, rules).unwrap();
        self.lab.run_in(self.netns(), &format!("nft -f {}", path.display()));
    }

    /// The first address of its device, where that is IPv4.
    pub fn address(&self) -> Ipv4Addr {
        let IpAddr::V4(address) = self.first_address() else { panic!("no IPv4 address") };
        address
    }

    fn first_address(&self) -> IpAddr {
        let first = self.setup.addresses[0].split('/').next().unwrap();
        first.parse().unwrap()
    }

    pub fn netns(&self) -> &str {
        &self.setup.netns
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Lines of the log with this text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    pub fn leases(&self) -> String {
        std::fs::read_to_string(self.directory.join("leases")).unwrap_or_default()
    }

    /// Waits until the log has a line with this text.
    pub fn wait_for_log(&self, text: &str) {
        eventually(text, PATIENCE, || (!self.logged(text).is_empty()).then_some(()));
    }
}

/// The machine's number of a process known by the lab's number.
fn outside_pid(lab: &Lab, inside: u32) -> Option<u32> {
    let space = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = space(lab.init_pid())?;
    let numbers = Path::new("/proc").read_dir().ok()?.flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut members = pids.filter(|pid: &u32| space(*pid).as_ref() == Some(&ours));
    members.find(|pid| inner_pid(*pid) == Some(inside))
}

fn inner_pid(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}
