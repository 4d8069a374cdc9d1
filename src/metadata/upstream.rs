//! Where requests for metadata go: one server, named by the agent's operator.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;

/// The metadata server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// Host, as a name or an address without brackets, and port.
    Http(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

const EXPECTED: &str = "expected http://HOST:PORT or unix:/PATH";

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(EXPECTED.to_owned()) };
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED.to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err(EXPECTED.to_owned());
        }
        // A path before that of each request would be another place for tricks.
        let only_a_place = uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|a| only_a_place && !a.as_str().contains('@'));
        let authority = authority.ok_or(EXPECTED)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // A port that is none is no port to `Authority`.
        let has_port = authority.as_str() != authority.host();
        if host.is_empty() || has_port && authority.port_u16().is_none() {
            return Err(EXPECTED.to_owned());
        }
        Ok(Self::Http(host.to_owned(), authority.port_u16().unwrap_or(super::PORT)))
    }
}

impl Upstream {
    /// The header `Host` of all requests: a guest chooses no virtual host.
    pub fn host(&self) -> HeaderValue {
        let text = match self {
            Self::Http(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Self::Http(host, port) => format!("{host}:{port}"),
            Self::Unix(_) => super::V4.to_string(),
        };
        // It was part of a URI.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("metadata"))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(..) => write!(f, "http://{}", self.host().to_str().unwrap_or_default()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_port_or_a_socket() {
        let parse = |text: &str| text.parse::<Upstream>();
        assert_eq!(
            parse("http://meta.example.org:8775"),
            Ok(Upstream::Http("meta.example.org".into(), 8775))
        );
        assert_eq!(parse("http://192.0.2.1"), Ok(Upstream::Http("192.0.2.1".into(), 80)));
        let six = parse("http://[2001:db8::1]:8775/").unwrap();
        assert_eq!(six, Upstream::Http("2001:db8::1".into(), 8775));
        assert_eq!(
            (six.to_string(), six.host()),
            ("http://[2001:db8::1]:8775".into(), "[2001:db8::1]:8775".parse().unwrap())
        );
        assert_eq!(parse("unix:/run/meta.sock"), Ok(Upstream::Unix("/run/meta.sock".into())));
        for text in [
            "",
            "meta:8775",
            "https://meta",
            "http://",
            "http://meta/path",
            "http://meta?a",
            "http://u@meta",
            "unix:meta",
            "unix:",
            "http://meta:99999",
            "http://a b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
