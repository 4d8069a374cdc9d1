//! Certificates and keys of one control plane, and the kubeconfigs that lead to it.
//!
//! Used by [`super::ControlPlane`] only. Everything is made anew for each control plane.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The first address of the service range below: what pods call the API server.
const SERVICE_ADDRESS: [u8; 4] = [10, 96, 0, 1];
pub const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The files in one directory.
pub struct Pki {
    directory: PathBuf,
}

impl Pki {
    /// Makes all keys; the serving certificate is good for `addresses`.
    pub fn create(directory: &Path, addresses: &[IpAddr]) -> Self {
        let pki = Self { directory: directory.to_owned() };
        let ca = authority();
        pki.write("ca.crt", &ca.as_ref().pem());
        let key = KeyPair::generate().unwrap();
        let certificate = serving(addresses).signed_by(&key, &ca).unwrap();
        pki.write("server.crt", &certificate.pem());
        pki.write("server.key", &key.serialize_pem());
        let service_accounts = KeyPair::generate().unwrap();
        pki.write("sa.key", &service_accounts.serialize_pem());
        pki.write("sa.pub", &service_accounts.public_key_pem());
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the kubeconfig `name`: the server, and who calls it.
    pub fn kubeconfig(&self, name: &str, server: &str, token: &str) -> PathBuf {
        let ca = self.path("ca.crt").display().to_string();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters: [{{name: it, cluster: {{server: {server:?}, certificate-authority: {ca:?}}}}}]\n\
             users: [{{name: it, user: {{token: {token:?}}}}}]\n\
             contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n"
        );
        self.write(&format!("{name}.kubeconfig"), &text)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named("kube-dhcp test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn serving(addresses: &[IpAddr]) -> CertificateParams {
    let mut params = named("kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let addresses = addresses.iter().copied().chain([SERVICE_ADDRESS.into()]);
    params.subject_alt_names = addresses.map(SanType::IpAddress).collect();
    for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
    }
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A secret that nobody guesses.
pub fn secret() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}
