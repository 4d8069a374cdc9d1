//! A real Kubernetes control plane without nodes: etcd, kube-apiserver and kube-controller-manager.
//!
//! Used by the cluster tests, and by benches and demos with `#[path]`. It takes free ports and a
//! directory of its own and kills its programs when it is dropped; where the caller itself may be
//! killed, it should run in a PID namespace (`tests/inside`), with which all of them end. It knows
//! nothing of kube-dhcp but for [`ControlPlane::install`]. Nodes are objects that the caller makes.
#![allow(dead_code, reason = "each user has its part")]
#![allow(unreachable_pub, missing_docs, reason = "it is a library to them")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what is broken here must fail loudly")]

pub mod binaries;
mod daemon;
mod metrics;
mod objects;
mod pki;
mod programs;

pub use daemon::Daemon;
pub use metrics::Metrics;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use axum::http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

use crate::inside::sh;
use pki::{Pki, secret};

/// How long a start may take. Six seconds on an idle machine; only ever reached by a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a control plane is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses that the API server is reached by, beside 127.0.0.1. The first one is in the
    /// kubeconfigs. They must exist.
    pub addresses: Vec<IpAddr>,
    /// Where its directory is made; the fastest is a tmpfs.
    pub parent: PathBuf,
    /// Where etcd's data is, if not in that directory. A disk with much else to do makes etcd wait, and
    /// leases run out.
    pub data: Option<PathBuf>,
    /// Further flags of the API server.
    pub api_flags: Vec<String>,
    /// Its port; otherwise a free one.
    pub port: Option<u16>,
    /// Users beside the administrator, each with a group.
    pub users: Vec<(String, &'static str)>,
    /// Controllers beside those that need no nodes.
    pub controllers: Vec<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            parent: std::env::temp_dir(),
            data: None,
            api_flags: Vec::new(),
            port: None,
            users: Vec::new(),
            controllers: Vec::new(),
        }
    }
}

/// A bridge `kc0` with the address that nodes in namespaces of their own reach it by. Its MAC address is fixed:
/// otherwise it would be that of one of the nodes' ports, and would change when that node goes, and the others
/// would speak to nobody for up to a minute.
pub fn bridge_to_nodes() -> Vec<IpAddr> {
    sh("ip link add kc0 address 02:00:00:00:99:01 type bridge; ip address add 10.99.0.1/24 dev kc0
        ip link set kc0 up");
    vec![[10, 99, 0, 1].into()]
}

/// A running control plane.
pub struct ControlPlane {
    // In the order in which they end.
    manager: Option<Daemon>,
    api: Option<Daemon>,
    etcd: Option<Daemon>,
    admin: Client,
    admin_config: PathBuf,
    pki: Pki,
    binaries: PathBuf,
    settings: Settings,
    ports: Ports,
    directory: TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    etcd: u16,
    peer: u16,
    api: u16,
}

impl ControlPlane {
    /// Starts one that is reached by 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// Starts one; when this returns the API server is ready.
    pub async fn start_with(settings: Settings) -> Self {
        let directory = tempfile::Builder::new().prefix("kd-cp-").tempdir_in(&settings.parent).unwrap();
        let mut addresses = settings.addresses.clone();
        addresses.push(Ipv4Addr::LOCALHOST.into());
        let pki = Pki::create(directory.path(), &addresses);
        let mut ports = Ports::find();
        ports.api = settings.port.unwrap_or(ports.api);
        let server = format!("https://{}", SocketAddr::new(addresses[0], ports.api));
        let token = secret();
        let mut tokens = vec![format!("{token},admin,admin,system:masters\n")];
        for (user, group) in &settings.users {
            let token = secret();
            pki.kubeconfig(user, &server, &token);
            tokens.push(format!("{token},{user},{user},{group}\n"));
        }
        pki.write("tokens.csv", &tokens.concat());
        let admin_config = pki.kubeconfig("admin", &server, &token);
        let mut plane = Self {
            manager: None,
            api: None,
            etcd: None,
            admin: client(&admin_config).await,
            admin_config,
            pki,
            binaries: binaries::find(),
            settings,
            ports,
            directory,
        };
        plane.start_etcd();
        plane.start_api().await;
        plane.start_manager();
        plane
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// The kubeconfig of that client.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_config
    }

    /// Writes a kubeconfig with this token; `name` becomes part of the file's name.
    pub fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        self.pki.kubeconfig(name, &self.server(), token)
    }

    /// The kubeconfig of one of the further users.
    pub fn user_kubeconfig(&self, user: &str) -> PathBuf {
        self.pki.path(&format!("{user}.kubeconfig"))
    }

    /// A client of a kubeconfig.
    pub async fn client(&self, kubeconfig: &Path) -> Client {
        client(kubeconfig).await
    }

    /// The API server's URL.
    pub fn server(&self) -> String {
        let address = self.settings.addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        format!("https://{}", SocketAddr::new(address, self.ports.api))
    }

    /// The certificate of its authority.
    pub fn ca(&self) -> PathBuf {
        self.pki.path("ca.crt")
    }

    /// A directory that goes with the control plane.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs kubectl as the administrator; it must succeed. Gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|why| panic!("kubectl {arguments:?}: {why}"))
    }

    /// The same; or what it complained of.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self.kubectl_command().args(arguments).output().unwrap();
        let complaint = || String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap()).ok_or_else(complaint)
    }

    /// The same, not yet started; for whoever wants more of it.
    pub fn kubectl_command(&self) -> Command {
        let mut command = self.program("kubectl");
        command.env("KUBECONFIG", &self.admin_config).env("HOME", self.directory.path());
        command
    }

    /// Runs helm as the administrator in a namespace; it has to come to an end soon. Gives what it printed, or
    /// what it complained of.
    pub fn helm(&self, namespace: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.program("helm");
        command.env("KUBECONFIG", &self.admin_config).env("HOME", self.directory.path());
        let began = Instant::now();
        let done = command.args(["--namespace", namespace]).args(arguments).output().unwrap();
        println!("helm {arguments:?}: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?}: {done:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// Kills the API server; whoever calls it is refused.
    pub fn stop_api(&mut self) {
        self.api = None;
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    pub async fn start_api(&mut self) {
        assert!(self.api.is_none(), "it runs already");
        let mut command = self.api_command();
        self.api = Some(Daemon::start(&mut command, &self.path("kube-apiserver.log")));
        self.until_ready().await;
    }

    /// From here on the API server says nothing; its connections stay.
    pub fn freeze_api(&self) {
        self.api.as_ref().expect("it is stopped").freeze();
    }

    /// It goes on where it was.
    pub fn thaw_api(&self) {
        self.api.as_ref().expect("it is stopped").thaw();
    }

    /// Kills etcd, and starts it again on its data. The API server knows nothing of it.
    pub fn restart_etcd(&mut self) {
        self.etcd = None;
        self.start_etcd();
    }

    /// A copy of everything in etcd, for [`Self::restore`].
    ///
    /// etcd is frozen for it, not stopped: what it has written so far is a state that it can start
    /// from, and its clients notice only a short pause.
    pub fn snapshot(&self, name: &str) {
        let etcd = self.etcd.as_ref().expect("it runs");
        etcd.freeze();
        copy(&self.data(), &self.path(&format!("snapshot-{name}")));
        etcd.thaw();
    }

    /// Goes back to the snapshot: resource versions too, as after the restore of a backup.
    ///
    /// The API server starts anew with it, for what it has cached is not true any more.
    pub async fn restore(&mut self, name: &str) {
        self.stop_api();
        self.etcd = None;
        std::fs::remove_dir_all(self.data()).unwrap();
        copy(&self.path(&format!("snapshot-{name}")), &self.data());
        self.start_etcd();
        self.start_api().await;
    }

    /// Another cluster at the same address, with nothing in it.
    pub async fn start_over(&mut self) {
        self.stop_api();
        self.etcd = None;
        std::fs::remove_dir_all(self.data()).unwrap();
        self.start_etcd();
        self.start_api().await;
    }

    /// The API server's metrics at present.
    pub async fn metrics(&self) -> Metrics {
        let request = Request::get("/metrics").body(Vec::new()).unwrap();
        Metrics(self.admin.request_text(request).await.unwrap())
    }

    /// The process numbers: etcd, API server, controller manager.
    pub fn pids(&self) -> Vec<u32> {
        let daemons = [&self.etcd, &self.api, &self.manager];
        daemons.into_iter().flatten().map(Daemon::pid).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.settings.data.clone().unwrap_or_else(|| self.path("etcd"))
    }

    async fn until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = Request::get("/readyz").body(Vec::new()).unwrap();
            let answer = self.admin.request_text(request).await;
            if answer.is_ok() {
                return;
            }
            self.etcd.as_mut().expect("it runs").assert_running();
            let api = self.api.as_mut().expect("it runs");
            api.assert_running();
            assert!(Instant::now() < deadline, "not ready: {answer:?}\n{}", api.last_words(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in [&self.etcd, &self.api, &self.manager].into_iter().flatten() {
                eprintln!("{}", daemon.last_words(5));
            }
        }
    }
}

impl Ports {
    /// Free ones below those that the kernel gives to outgoing connections: a client that calls a
    /// stopped server on such a port can be connected to itself, and then hold the port.
    fn find() -> Self {
        let mut free = (20_000..30_000).filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok());
        let mut next = || free.next().expect("a free port");
        Self { etcd: next(), peer: next(), api: next() }
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success(), "cannot copy {}", from.display());
}
