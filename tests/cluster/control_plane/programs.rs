//! The programs of a control plane, and what each is told.

use std::net::Ipv4Addr;
use std::process::Command;

use super::ControlPlane;
use super::daemon::Daemon;
use super::pki::SERVICE_RANGE;

impl ControlPlane {
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        // There is more memory than time.
        command.env("GOGC", "400");
        command
    }

    pub(super) fn start_etcd(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.peer);
        let mut command = self.program("etcd");
        command.arg("--data-dir").arg(self.data());
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        command.args(["--log-level", "error", "--unsafe-no-fsync"]);
        self.etcd = Some(Daemon::start(&mut command, &self.path("etcd.log")));
    }

    pub(super) fn api_command(&self) -> Command {
        let mut command = self.program("kube-apiserver");
        let mut flag = |name: &str, value: &str| {
            command.arg(format!("--{name}={value}"));
        };
        let local = self.settings.addresses.is_empty();
        let address = self.settings.addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        flag("etcd-servers", &format!("http://127.0.0.1:{}", self.ports.etcd));
        flag("secure-port", &self.ports.api.to_string());
        flag("bind-address", if local { "127.0.0.1" } else { "0.0.0.0" });
        flag("advertise-address", &address.to_string());
        // Endpoints of the Service "kubernetes" may not be on the loopback, and nobody needs them.
        flag("endpoint-reconciler-type", "none");
        for (name, file) in [
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("token-auth-file", "tokens.csv"),
        ] {
            flag(name, &self.pki.path(file).display().to_string());
        }
        flag("service-account-issuer", "https://kubernetes.default.svc");
        flag("authorization-mode", "Node,RBAC");
        flag("enable-admission-plugins", "NodeRestriction");
        flag("service-cluster-ip-range", SERVICE_RANGE);
        flag("allow-privileged", "true");
        command.args(&self.settings.api_flags);
        command
    }

    /// Without it a deleted namespace never ends, and owner references mean nothing.
    pub(super) fn start_manager(&mut self) {
        if !self.binaries.join("kube-controller-manager").exists() {
            eprintln!("no kube-controller-manager in {}: namespaces will not end", self.binaries.display());
            return;
        }
        let mut controllers = vec![
            "namespace-controller",
            "garbage-collector-controller",
            "serviceaccount-controller",
            "clusterrole-aggregation-controller",
        ];
        controllers.extend(&self.settings.controllers);
        let mut command = self.program("kube-controller-manager");
        command.arg("--kubeconfig").arg(&self.admin_config);
        command.arg(format!("--controllers={}", controllers.join(",")));
        command.args(["--leader-elect=false", "--secure-port=0"]);
        command.arg("--root-ca-file").arg(self.ca());
        self.manager = Some(Daemon::start(&mut command, &self.path("kube-controller-manager.log")));
    }
}
