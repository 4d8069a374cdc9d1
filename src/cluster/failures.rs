//! Which requests to the API server fail, and by whose fault.
//!
//! Fed by the client of `client::connect`, read as a metric. It decides nothing.

use std::error::Error;

use axum::http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Failed requests, by reason. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Failures(pub Family<FailureLabel, Counter>);

/// Why a request failed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FailureLabel {
    /// As in [`Failure`].
    pub reason: Failure,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum Failure {
    /// The token or certificate that we show is of no use.
    Unauthorized,
    /// The rights are missing, or a policy says no.
    Forbidden,
    /// The certificate that the API server shows is of no use.
    Certificate,
    /// It has too much to do, or trouble of its own.
    Unavailable,
    /// No answer.
    Unreachable,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unauthorized, Self::Forbidden, Self::Certificate, Self::Unavailable, Self::Unreachable];

    /// Of an answer; what is about one object is no failure of this kind.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED => Some(Self::Unauthorized),
            StatusCode::FORBIDDEN => Some(Self::Forbidden),
            StatusCode::TOO_MANY_REQUESTS => Some(Self::Unavailable),
            _ if status.is_server_error() => Some(Self::Unavailable),
            _ => None,
        }
    }

    /// Of no answer. The TLS library's errors are only known by their words from here.
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |e| (*e).source());
        let is_certificate = causes.any(|cause| cause.to_string().contains("certificate"));
        if is_certificate { Self::Certificate } else { Self::Unreachable }
    }
}

impl Failures {
    /// Counts one.
    pub fn count(&self, reason: Failure) {
        self.0.get_or_create(&FailureLabel { reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_us_or_the_api_server_is_a_failure() {
        let of = |code| Failure::of_status(StatusCode::from_u16(code).unwrap());
        assert_eq!([200, 404, 409, 410, 422].map(of), [None; 5]);
        assert_eq!(of(401), Some(Failure::Unauthorized));
        assert_eq!(of(403), Some(Failure::Forbidden));
        assert_eq!([429, 500, 503].map(of), [Some(Failure::Unavailable); 3]);
    }

    #[test]
    fn a_certificate_is_found_below_other_errors() {
        let cause = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        let error = std::io::Error::other(cause);
        assert_eq!(Failure::of_error(&error), Failure::Certificate);
        assert_eq!(Failure::of_error(&std::io::Error::other("refused")), Failure::Unreachable);
    }
}
