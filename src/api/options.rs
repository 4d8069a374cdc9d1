//! DHCP options that users add, on Networks, Subnets and Ports.
//!
//! The names are those that an option may be given by; which codes and encodings they stand for is
//! the business of whoever renders them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A DHCP option, given by name or by code.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.code)")
        .message("exactly one of name and code must be set"),
    validation = Rule::new("has(self.code) || !has(self.encoding)")
        .message("encoding may only be set with code; a named option has its own"),
    validation = Rule::new("!has(self.encoding) || self.encoding != 'Hex' || self.values.all(v, v.matches('^([0-9a-fA-F]{2})+$'))")
        .message("with encoding Hex each value must be pairs of hexadecimal digits, such as 0a0b"),
    validation = Rule::new("!has(self.encoding) || self.encoding != 'IP' || self.values.all(v, isIP(v) && ip.isCanonical(v))")
        .message("with encoding IP each value must be an IP address in canonical form"),
    validation = Rule::new("!has(self.encoding) || self.encoding != 'Uint8' || self.values.all(v, v.matches('^[0-9]{1,3}$') && int(v) <= 255)")
        .message("with encoding Uint8 each value must be a number from 0 to 255"),
    validation = Rule::new("!has(self.encoding) || self.encoding != 'Uint16' || self.values.all(v, v.matches('^[0-9]{1,5}$') && int(v) <= 65535)")
        .message("with encoding Uint16 each value must be a number from 0 to 65535"),
    validation = Rule::new("!has(self.encoding) || self.encoding != 'Uint32' || self.values.all(v, v.matches('^[0-9]{1,10}$') && int(v) <= 4294967295)")
        .message("with encoding Uint32 each value must be a number from 0 to 4294967295"),
)]
#[serde(rename_all = "camelCase")]
pub struct DhcpOption {
    /// The option's name. Exactly one of name and code must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<OptionName>,

    /// The option's number: 1 to 254 for IPv4, 1 to 65535 for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 65535))]
    pub code: Option<u16>,

    /// How the values of an option given by code are written: Text (the default), Hex (pairs of
    /// digits), IP, or Uint8, Uint16, Uint32 (decimal numbers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<OptionEncoding>,

    /// The values, in order: 1 to 16, each of at most 255 printable ASCII characters.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 255), regex(pattern = r"^[ -~]*$")))]
    pub values: Vec<String>,

    /// The address family that it is sent in. Unset: each in which an option of this name exists;
    /// on a Subnet always the subnet's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,

    /// For which guests it is. Unset: for all for whom no other of the list is. No two of an option may be
    /// for one guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<OptionCondition>,
}

/// Guests, by what their requests say: those of one of `architectures`, if they are set, that are sent by
/// `bootLoader`, if it is set.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.architectures) || has(self.bootLoader)")
    .message("at least one of architectures and bootLoader must be set"))]
#[serde(rename_all = "camelCase")]
pub struct OptionCondition {
    /// What a guest's firmware is (DHCPv4 option 93, DHCPv6 option 61); those that end in HTTP boot by
    /// HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    pub architectures: Option<Vec<Architecture>>,

    /// IPXE: requests that iPXE sends. Other: those that something else sends, such as firmware or an
    /// operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_loader: Option<BootLoader>,
}

/// What a guest's firmware is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// Number 0.
    #[serde(rename = "X86BIOS")]
    X86Bios,
    /// Number 6.
    #[serde(rename = "X86UEFI")]
    X86Uefi,
    /// Numbers 7 and 9.
    #[serde(rename = "X64UEFI")]
    X64Uefi,
    /// Number 10.
    #[serde(rename = "ARM32UEFI")]
    Arm32Uefi,
    /// Number 11.
    #[serde(rename = "ARM64UEFI")]
    Arm64Uefi,
    /// Number 27.
    #[serde(rename = "RISCV64UEFI")]
    Riscv64Uefi,
    /// Number 15.
    #[serde(rename = "X86HTTP")]
    X86Http,
    /// Number 16.
    #[serde(rename = "X64HTTP")]
    X64Http,
    /// Number 18.
    #[serde(rename = "ARM32HTTP")]
    Arm32Http,
    /// Number 19.
    #[serde(rename = "ARM64HTTP")]
    Arm64Http,
    /// Number 28.
    #[serde(rename = "RISCV64HTTP")]
    Riscv64Http,
    /// Number 14.
    #[serde(rename = "POWEROPAL")]
    PowerOpal,
}

/// What sends a guest's requests.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootLoader {
    /// iPXE.
    #[serde(rename = "IPXE")]
    Ipxe,
    /// Something else.
    Other,
}

/// An address family.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IP version 4.
    IPv4,
    /// IP version 6.
    IPv6,
}

/// How the values of an option are written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OptionEncoding {
    /// As they are.
    #[default]
    Text,
    /// Pairs of hexadecimal digits.
    Hex,
    /// IP addresses.
    IP,
    /// Decimal numbers of one octet.
    Uint8,
    /// Decimal numbers of two octets.
    Uint16,
    /// Decimal numbers of four octets.
    Uint32,
}

/// The options that may be given by name. Those that describe the network itself (router, netmask,
/// MTU, DNS servers, domain, lease times, routes) are fields of their own instead.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionName {
    /// IPv4: option 2.
    #[serde(rename = "time-offset")]
    TimeOffset,
    /// IPv4: option 7.
    #[serde(rename = "log-server")]
    LogServer,
    /// IPv4: option 9.
    #[serde(rename = "lpr-server")]
    LprServer,
    /// IPv4: option 13.
    #[serde(rename = "boot-file-size")]
    BootFileSize,
    /// IPv4: option 16.
    #[serde(rename = "swap-server")]
    SwapServer,
    /// IPv4: option 17.
    #[serde(rename = "root-path")]
    RootPath,
    /// IPv4: option 18.
    #[serde(rename = "extension-path")]
    ExtensionPath,
    /// IPv4: option 19.
    #[serde(rename = "ip-forward-enable")]
    IpForwardEnable,
    /// IPv4: option 23.
    #[serde(rename = "default-ttl")]
    DefaultTtl,
    /// IPv4: option 37.
    #[serde(rename = "tcp-ttl")]
    TcpTtl,
    /// IPv4: option 38.
    #[serde(rename = "tcp-keepalive")]
    TcpKeepalive,
    /// IPv4: option 40; IPv6: option 29.
    #[serde(rename = "nis-domain")]
    NisDomain,
    /// IPv4: option 41; IPv6: option 27.
    #[serde(rename = "nis-server")]
    NisServer,
    /// IPv4: option 64; IPv6: option 30.
    #[serde(rename = "nis+-domain")]
    NisPlusDomain,
    /// IPv4: option 65; IPv6: option 28.
    #[serde(rename = "nis+-server")]
    NisPlusServer,
    /// IPv4: option 42; IPv6: option 56.
    #[serde(rename = "ntp-server")]
    NtpServer,
    /// IPv6: option 31.
    #[serde(rename = "sntp-server")]
    SntpServer,
    /// IPv4: option 44.
    #[serde(rename = "netbios-ns")]
    NetbiosNs,
    /// IPv4: option 45.
    #[serde(rename = "netbios-dd")]
    NetbiosDd,
    /// IPv4: option 46.
    #[serde(rename = "netbios-nodetype")]
    NetbiosNodetype,
    /// IPv4: option 47.
    #[serde(rename = "netbios-scope")]
    NetbiosScope,
    /// IPv4: option 48.
    #[serde(rename = "x-windows-fs")]
    XWindowsFs,
    /// IPv4: option 49.
    #[serde(rename = "x-windows-dm")]
    XWindowsDm,
    /// IPv4: option 66.
    #[serde(rename = "tftp-server")]
    TftpServer,
    /// IPv4: option 67.
    #[serde(rename = "bootfile-name")]
    BootfileName,
    /// IPv4: option 68.
    #[serde(rename = "mobile-ip-home")]
    MobileIpHome,
    /// IPv4: option 69.
    #[serde(rename = "smtp-server")]
    SmtpServer,
    /// IPv4: option 70.
    #[serde(rename = "pop3-server")]
    Pop3Server,
    /// IPv4: option 71.
    #[serde(rename = "nntp-server")]
    NntpServer,
    /// IPv4: option 74.
    #[serde(rename = "irc-server")]
    IrcServer,
    /// IPv4: option 100; IPv6: option 41.
    #[serde(rename = "posix-timezone")]
    PosixTimezone,
    /// IPv4: option 101; IPv6: option 42.
    #[serde(rename = "tzdb-timezone")]
    TzdbTimezone,
    /// IPv4: option 119; IPv6: option 24.
    #[serde(rename = "domain-search")]
    DomainSearch,
    /// IPv4: option 120; IPv6: option 22.
    #[serde(rename = "sip-server")]
    SipServer,
    /// IPv6: option 21.
    #[serde(rename = "sip-server-domain")]
    SipServerDomain,
    /// IPv4: option 150.
    #[serde(rename = "tftp-server-address")]
    TftpServerAddress,
    /// IPv4: the packet's siaddr field.
    #[serde(rename = "server-ip-address")]
    ServerIpAddress,
    /// IPv6: option 32.
    #[serde(rename = "information-refresh-time")]
    InformationRefreshTime,
    /// IPv6: option 59.
    #[serde(rename = "bootfile-url")]
    BootfileUrl,
    /// IPv6: option 60.
    #[serde(rename = "bootfile-param")]
    BootfileParam,
}

impl OptionName {
    /// Every one.
    pub const ALL: [Self; 40] = [
        Self::TimeOffset,
        Self::LogServer,
        Self::LprServer,
        Self::BootFileSize,
        Self::SwapServer,
        Self::RootPath,
        Self::ExtensionPath,
        Self::IpForwardEnable,
        Self::DefaultTtl,
        Self::TcpTtl,
        Self::TcpKeepalive,
        Self::NisDomain,
        Self::NisServer,
        Self::NisPlusDomain,
        Self::NisPlusServer,
        Self::NtpServer,
        Self::SntpServer,
        Self::NetbiosNs,
        Self::NetbiosDd,
        Self::NetbiosNodetype,
        Self::NetbiosScope,
        Self::XWindowsFs,
        Self::XWindowsDm,
        Self::TftpServer,
        Self::BootfileName,
        Self::MobileIpHome,
        Self::SmtpServer,
        Self::Pop3Server,
        Self::NntpServer,
        Self::IrcServer,
        Self::PosixTimezone,
        Self::TzdbTimezone,
        Self::DomainSearch,
        Self::SipServer,
        Self::SipServerDomain,
        Self::TftpServerAddress,
        Self::ServerIpAddress,
        Self::InformationRefreshTime,
        Self::BootfileUrl,
        Self::BootfileParam,
    ];

    /// The name as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimeOffset => "time-offset",
            Self::LogServer => "log-server",
            Self::LprServer => "lpr-server",
            Self::BootFileSize => "boot-file-size",
            Self::SwapServer => "swap-server",
            Self::RootPath => "root-path",
            Self::ExtensionPath => "extension-path",
            Self::IpForwardEnable => "ip-forward-enable",
            Self::DefaultTtl => "default-ttl",
            Self::TcpTtl => "tcp-ttl",
            Self::TcpKeepalive => "tcp-keepalive",
            Self::NisDomain => "nis-domain",
            Self::NisServer => "nis-server",
            Self::NisPlusDomain => "nis+-domain",
            Self::NisPlusServer => "nis+-server",
            Self::NtpServer => "ntp-server",
            Self::SntpServer => "sntp-server",
            Self::NetbiosNs => "netbios-ns",
            Self::NetbiosDd => "netbios-dd",
            Self::NetbiosNodetype => "netbios-nodetype",
            Self::NetbiosScope => "netbios-scope",
            Self::XWindowsFs => "x-windows-fs",
            Self::XWindowsDm => "x-windows-dm",
            Self::TftpServer => "tftp-server",
            Self::BootfileName => "bootfile-name",
            Self::MobileIpHome => "mobile-ip-home",
            Self::SmtpServer => "smtp-server",
            Self::Pop3Server => "pop3-server",
            Self::NntpServer => "nntp-server",
            Self::IrcServer => "irc-server",
            Self::PosixTimezone => "posix-timezone",
            Self::TzdbTimezone => "tzdb-timezone",
            Self::DomainSearch => "domain-search",
            Self::SipServer => "sip-server",
            Self::SipServerDomain => "sip-server-domain",
            Self::TftpServerAddress => "tftp-server-address",
            Self::ServerIpAddress => "server-ip-address",
            Self::InformationRefreshTime => "information-refresh-time",
            Self::BootfileUrl => "bootfile-url",
            Self::BootfileParam => "bootfile-param",
        }
    }
}
