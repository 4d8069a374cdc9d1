//! What of a guest's request is let through to the metadata server, and what of the answer comes back.
//!
//! Called by `proxy`. What is not known to be harmless is refused: a guest's request must mean to the
//! server behind what it means here. Pure.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode, Uri, Version};

use super::{Directory, Guest};

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The address that it came from is no Port's.
    #[error("no Port of this network has the address that this request comes from")]
    Stranger,
    /// Neither reading nor what metadata services offer besides.
    #[error("only GET, HEAD, POST and PUT are served here")]
    Method,
    /// It names something else than a path on this server.
    #[error("the target of the request must be a plain path")]
    Target,
    /// How long it is can be understood in more than one way.
    #[error("the length of the request is not clear")]
    Framing,
    /// Its body is longer than what anybody sends to a metadata service.
    #[error("the body of the request is too large, or too slow")]
    Body,
    /// Too many in too short a time.
    #[error("too many requests")]
    TooMany,
}

impl Refused {
    /// As the guest is told.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Stranger => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target | Self::Framing => StatusCode::BAD_REQUEST,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Of one connection, or of one hop (RFC 9110 §7.6.1), or set by whoever speaks HTTP to the next one.
const OF_ONE_HOP: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    UPGRADE,
];

/// Beginnings of the names of headers by which metadata servers are told who asks, here and elsewhere.
const SAYS_WHO: [&str; 9] = [
    "x-kube-dhcp-",
    "x-forwarded-",
    "forwarded",
    "x-real-ip",
    "x-instance-id",
    "x-tenant-id",
    "x-metadata-provider",
    "x-neutron-",
    "x-ovn-",
];

/// The target that goes on, of a request that may.
pub fn admit(head: &Parts) -> Result<PathAndQuery, Refused> {
    if ![Method::GET, Method::HEAD, Method::POST, Method::PUT].contains(&head.method) {
        return Err(Refused::Method);
    }
    let lengths = head.headers.get_all(CONTENT_LENGTH).iter().count();
    let chunked = head.headers.contains_key(TRANSFER_ENCODING);
    if lengths > 1 || chunked && (lengths > 0 || head.version != Version::HTTP_11) {
        return Err(Refused::Framing);
    }
    target(&head.uri).ok_or(Refused::Target)
}

/// A path that every server reads alike.
fn target(uri: &Uri) -> Option<PathAndQuery> {
    let target = uri.path_and_query().filter(|_| uri.scheme().is_none() && uri.authority().is_none())?;
    let path = target.path();
    let is_plain = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        let hidden = ["%2f", "%5c", "%00", "\\"].iter().any(|hidden| segment.contains(hidden));
        // What follows a semicolon some servers take for a parameter of the segment.
        let name = segment.split(';').next().unwrap_or_default();
        !hidden && name != "." && name != ".."
    };
    let plain = path.starts_with('/') && !path.starts_with("//") && path.split('/').all(is_plain);
    plain.then(|| target.clone())
}

/// The headers that go on: the guest's, but for those of its connection and those that say who it is;
/// and ours.
pub fn to_upstream(
    headers: &HeaderMap,
    host: &HeaderValue,
    directory: &Directory,
    guest: &Guest,
    from: IpAddr,
) -> HeaderMap {
    let mut ours = of_the_message(headers);
    let foreign: Vec<_> = ours.keys().filter(|name| says_who(name)).cloned().collect();
    for name in foreign {
        ours.remove(name);
    }
    let says = [
        ("x-kube-dhcp-namespace", directory.namespace.clone()),
        ("x-kube-dhcp-network", directory.network.clone()),
        ("x-kube-dhcp-network-uid", directory.network_uid.clone()),
        ("x-kube-dhcp-port", guest.port.clone()),
        ("x-kube-dhcp-port-uid", guest.port_uid.clone()),
        ("x-forwarded-for", from.to_string()),
    ];
    for (name, value) in says {
        // Names and UIDs of Kubernetes have no character that a header cannot have.
        if let Ok(value) = HeaderValue::try_from(value) {
            ours.insert(name, value);
        }
    }
    ours.insert(HOST, host.clone());
    ours
}

/// The headers that go back to the guest. How long the body is, is said anew.
pub fn from_upstream(headers: &HeaderMap) -> HeaderMap {
    let mut theirs = of_the_message(headers);
    // Of a body that is cut off, and of one that is not sent (HEAD), the guest shall know the length.
    if let Some(length) = headers.get(CONTENT_LENGTH).filter(|_| !headers.contains_key(TRANSFER_ENCODING)) {
        theirs.insert(CONTENT_LENGTH, length.clone());
    }
    theirs
}

/// Those that are not of one hop.
fn of_the_message(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in
        listed.flat_map(|names| names.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok())
    {
        kept.remove(name);
    }
    for name in OF_ONE_HOP {
        kept.remove(name);
    }
    kept
}

/// Whether a header may be taken for one that says who asks: gateways of many kinds make one of
/// `X_A`, `X-A` and `X.A`.
fn says_who(name: &HeaderName) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    let name: Vec<u8> = name.as_str().bytes().map(plain).collect();
    SAYS_WHO.iter().any(|start| name.starts_with(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn sent(headers: &[(&str, &str)]) -> HeaderMap {
        let directory = Directory {
            namespace: "team-a".into(),
            network: "lan".into(),
            network_uid: "n-1".into(),
            guests: [].into(),
        };
        let guest = Guest { port: "vm1".into(), port_uid: "p-1".into() };
        let host = HeaderValue::from_static("meta:8775");
        to_upstream(&head("GET", "/", headers).headers, &host, &directory, &guest, [10, 0, 0, 5].into())
    }

    #[test]
    fn a_plain_request_goes_on_as_it_is() {
        for target in
            ["/", "/latest/meta-data/", "/openstack/2018-08-27/user_data?a=b/../c", "/a..b/c.", "/%20"]
        {
            assert_eq!(admit(&head("GET", target, &[])).unwrap().as_str(), target);
        }
        let put = head("PUT", "/latest/api/token", &[("content-length", "0")]);
        assert!(admit(&put).is_ok());
    }

    #[test]
    fn no_target_names_anything_but_a_path_of_the_server() {
        for target in [
            "http://other/latest",
            "//other/latest",
            "/a/../../b",
            "/..",
            "/a/.",
            "/%2e%2E/x",
            "/.%2e",
            "/a/..;x/b",
            "/a%2fb",
            "/a%5C..",
            "/a%00",
            "*",
            "other:80",
        ] {
            assert_eq!(admit(&head("GET", target, &[])), Err(Refused::Target), "{target}");
        }
        for method in ["CONNECT", "TRACE", "OPTIONS", "DELETE", "PATCH", "PRI"] {
            assert_eq!(admit(&head(method, "/", &[])), Err(Refused::Method), "{method}");
        }
    }

    #[test]
    fn a_length_that_two_servers_might_read_differently_is_refused() {
        let both = head("POST", "/", &[("content-length", "4"), ("transfer-encoding", "chunked")]);
        assert_eq!(admit(&both), Err(Refused::Framing));
        let twice = head("POST", "/", &[("content-length", "4"), ("content-length", "4")]);
        assert_eq!(admit(&twice), Err(Refused::Framing));
        let mut old = head("POST", "/", &[("transfer-encoding", "chunked")]);
        assert!(admit(&old).is_ok());
        old.version = Version::HTTP_10;
        assert_eq!(admit(&old), Err(Refused::Framing));
    }

    #[test]
    fn who_asks_is_said_by_us_alone() {
        let sent = sent(&[
            ("X-Kube-Dhcp-Port", "other"),
            ("x_kube_dhcp_port_uid", "other"),
            ("X.Kube.Dhcp.Network", "other"),
            ("X-KUBE-DHCP-ANYTHING", "other"),
            ("x-forwarded-for", "10.0.0.6"),
            ("X_Forwarded_For", "10.0.0.6"),
            ("Forwarded", "for=10.0.0.6"),
            ("X-Instance-ID", "other"),
            ("X-Instance-ID-Signature", "other"),
            ("x-tenant-id", "other"),
            ("x-neutron-network-id", "other"),
            ("host", "other"),
            ("accept", "*/*"),
        ]);
        let mut all: Vec<_> =
            sent.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        all.sort();
        let wanted = [
            "accept: */*",
            "host: meta:8775",
            "x-forwarded-for: 10.0.0.5",
            "x-kube-dhcp-namespace: team-a",
            "x-kube-dhcp-network-uid: n-1",
            "x-kube-dhcp-network: lan",
            "x-kube-dhcp-port-uid: p-1",
            "x-kube-dhcp-port: vm1",
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn what_is_of_the_connection_stays_there() {
        let headers = [
            ("connection", "close, X-Mine , x-kube-dhcp-port"),
            ("x-mine", "1"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "5"),
            ("proxy-authorization", "Basic x"),
            ("x-aws-ec2-metadata-token", "t"),
        ];
        let sent = sent(&headers);
        assert_eq!((sent.len(), sent["x-kube-dhcp-port"].as_bytes()), (8, &b"vm1"[..]));
        assert!(sent.contains_key("x-aws-ec2-metadata-token"));
        let mut back = head("GET", "/", &headers).headers;
        back.insert(CONTENT_LENGTH, 5.into());
        assert_eq!(from_upstream(&back).len(), 1);
        back.remove(TRANSFER_ENCODING);
        assert_eq!(from_upstream(&back)[CONTENT_LENGTH], "5");
    }
}
