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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn form(form: Form) -> &'static str {
        match form {
            Form::Text => "text",
            Form::Hex => "hexadecimal",
            Form::Addresses => "addresses",
            Form::NtpServers => "addresses, each as a suboption (RFC 5908)",
            Form::Parameters => "texts",
            Form::Uint8 => "number, 1 byte",
            Form::Uint16 => "number, 2 bytes",
            Form::Uint32 => "number, 4 bytes",
            Form::Int32 => "number with sign, 4 bytes",
            Form::Flag => "`true` or `false`",
            Form::Names => "domain names",
        }
    }

    fn table() -> String {
        let mut text = "| Name | DHCPv4 | DHCPv6 | Values |\n|---|---|---|---|\n".to_owned();
        for name in OptionName::ALL {
            let (four, six) = (ipv4(name), ipv6(name));
            let number = |code: Option<u16>| code.map_or("–".to_owned(), |code| code.to_string());
            let first = four
                .map(|(code, _)| if code == 255 { "siaddr".to_owned() } else { number(Some(code.into())) });
            let mut forms: Vec<_> =
                four.map(|o| form(o.1)).into_iter().chain(six.map(|o| form(o.1))).collect();
            forms.dedup();
            let (first, second) = (first.unwrap_or_else(|| number(None)), number(six.map(|o| o.0)));
            writeln!(text, "| `{}` | {first} | {second} | {} |", name.as_str(), forms.join("; IPv6: "))
                .unwrap();
        }
        text
    }

    #[test]
    fn the_table_of_names_in_the_docs_is_current() {
        let text = std::fs::read_to_string(crate::docs::path("options.md")).unwrap();
        let (before, _) = text.split_once("\n## Names\n").unwrap();
        crate::docs::assert_says("options.md", &format!("{before}\n## Names\n\n{}", table()));
    }

    #[test]
    fn each_name_is_listed_once_and_is_an_option() {
        let all: std::collections::BTreeSet<_> = OptionName::ALL.into_iter().collect();
        assert_eq!(all.len(), OptionName::ALL.len());
        assert!(all.iter().all(|name| ipv4(*name).is_some() || ipv6(*name).is_some()));
        let known = serde_json::to_value(schemars::schema_for!(OptionName)).unwrap();
        assert_eq!(known["oneOf"].as_array().unwrap().len(), all.len());
    }
}
