//! The options that have a name, as dnsmasq and Neutron have them.
//!
//! Called by `dhcp_options`. A table.

use super::Form;
use crate::api::OptionName::{self, self as N};
use crate::node::Family;
use crate::service::Code;

/// Code and form of a named option; `None` where the family has none of the name.
pub(super) fn find(name: OptionName, family: Family) -> Option<(Code, Form)> {
    match family {
        Family::V4 => ipv4(name).map(|(code, form)| (Code::V4(code), form)),
        Family::V6 => ipv6(name).map(|(code, form)| (Code::V6(code), form)),
    }
}

fn ipv4(name: OptionName) -> Option<(u8, Form)> {
    let option = match name {
        N::TimeOffset => (2, Form::Int32),
        N::LogServer => (7, Form::Addresses),
        N::LprServer => (9, Form::Addresses),
        N::BootFileSize => (13, Form::Uint16),
        N::SwapServer => (16, Form::Addresses),
        N::RootPath => (17, Form::Text),
        N::ExtensionPath => (18, Form::Text),
        N::IpForwardEnable => (19, Form::Flag),
        N::DefaultTtl => (23, Form::Uint8),
        N::TcpTtl => (37, Form::Uint8),
        N::TcpKeepalive => (38, Form::Uint32),
        N::NisDomain => (40, Form::Text),
        N::NisServer => (41, Form::Addresses),
        N::NtpServer => (42, Form::Addresses),
        N::NetbiosNs => (44, Form::Addresses),
        N::NetbiosDd => (45, Form::Addresses),
        N::NetbiosNodetype => (46, Form::Uint8),
        N::NetbiosScope => (47, Form::Text),
        N::XWindowsFs => (48, Form::Addresses),
        N::XWindowsDm => (49, Form::Addresses),
        N::NisPlusDomain => (64, Form::Text),
        N::NisPlusServer => (65, Form::Addresses),
        N::TftpServer => (66, Form::Text),
        N::BootfileName => (67, Form::Text),
        N::MobileIpHome => (68, Form::Addresses),
        N::SmtpServer => (69, Form::Addresses),
        N::Pop3Server => (70, Form::Addresses),
        N::NntpServer => (71, Form::Addresses),
        N::IrcServer => (74, Form::Addresses),
        N::PosixTimezone => (100, Form::Text),
        N::TzdbTimezone => (101, Form::Text),
        N::DomainSearch => (119, Form::Names),
        N::SipServer => (120, Form::Addresses),
        N::TftpServerAddress => (150, Form::Addresses),
        N::ServerIpAddress => (255, Form::Addresses),
        N::SntpServer
        | N::SipServerDomain
        | N::InformationRefreshTime
        | N::BootfileUrl
        | N::BootfileParam => {
            return None;
        }
    };
    Some(option)
}

fn ipv6(name: OptionName) -> Option<(u16, Form)> {
    let option = match name {
        N::SipServerDomain => (21, Form::Names),
        N::SipServer => (22, Form::Addresses),
        N::DomainSearch => (24, Form::Names),
        N::NisServer => (27, Form::Addresses),
        N::NisPlusServer => (28, Form::Addresses),
        N::NisDomain => (29, Form::Names),
        N::NisPlusDomain => (30, Form::Names),
        N::SntpServer => (31, Form::Addresses),
        N::InformationRefreshTime => (32, Form::Uint32),
        N::PosixTimezone => (41, Form::Text),
        N::TzdbTimezone => (42, Form::Text),
        N::NtpServer => (56, Form::NtpServers),
        N::BootfileUrl => (59, Form::Text),
        N::BootfileParam => (60, Form::Parameters),
        _ => return None,
    };
    Some(option)
}
