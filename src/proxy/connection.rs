//! One guest's connection: its requests one after the other, each judged and sent on.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::forward::{self, Failed};
use super::{Proxy, Visit, lock};
use crate::metadata::{Refused, admit, from_upstream, to_upstream};
use crate::metrics::MetadataResult;

/// From the beginning of a connection to its end, however slowly a guest reads.
const LIFE: Duration = Duration::from_secs(60);
/// Until the next request's headers are there.
const HEADERS: Duration = Duration::from_secs(10);
const HEADERS_LENGTH: usize = 16 * 1024;
const HEADERS_COUNT: usize = 64;
/// Of a request's body. What guests send, a password or the wish for a token, is shorter.
const BODY: Duration = Duration::from_secs(5);
const BODY_LENGTH: usize = 64 * 1024;
/// Of an answer's body.
const ANSWER_LENGTH: usize = 16 * 1024 * 1024;

/// What a guest gets: words of ours, or the server's.
type Answer = Response<Either<Full<Bytes>, Limited<Incoming>>>;

pub(super) struct Connection {
    pub(super) proxy: Arc<Proxy>,
    pub(super) visit: Visit,
    pub(super) from: IpAddr,
}

/// Why a request got no answer of the server's.
enum Reply {
    Refused(Refused),
    Failed(Failed),
}

impl Connection {
    pub(super) async fn serve(&self, stream: TcpStream) {
        let answer = |request| async { Ok::<_, Infallible>(self.answer(request).await) };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADERS_LENGTH)
            .max_headers(HEADERS_COUNT)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        // A guest's mistakes and its going away are its own: hyper has told it what there is to tell.
        let _ = timeout(LIFE, connection).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.forward(request).await {
            Ok(answer) => {
                self.proxy.metrics.metadata(MetadataResult::Answered);
                answer
            }
            Err(Reply::Refused(why)) => {
                self.proxy.refused(&self.visit.network, self.from, why);
                words(why.status(), &why)
            }
            Err(Reply::Failed(why)) => {
                self.proxy.metrics.metadata(MetadataResult::UpstreamFailed);
                self.visit.network.log(self.from, &why);
                // How the server is reached is the operator's business.
                words(why.status(), &"the metadata server does not answer")
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Reply> {
        let (head, body) = request.into_parts();
        let request = self.judge(&head).map_err(Reply::Refused)?;
        let body = read(body).await.map_err(Reply::Refused)?;
        let request = request.map(|()| Full::new(body));
        let answer = forward::send(&self.proxy, request, LIFE).await.map_err(Reply::Failed)?;
        let (mut head, body) = answer.into_parts();
        head.headers = from_upstream(&head.headers);
        Ok(Response::from_parts(head, Either::Right(Limited::new(body, ANSWER_LENGTH))))
    }

    /// The request as it goes on, but for its body. A Port may go while its guest is connected.
    fn judge(&self, head: &Parts) -> Result<Request<()>, Refused> {
        let network = &self.visit.network;
        if !lock(&network.limits).ask(self.visit.entry, Instant::now()) {
            return Err(Refused::TooMany);
        }
        let directory = network.directory();
        let guest = directory.guests.get(&self.from).ok_or(Refused::Stranger)?;
        let target = admit(head)?;
        let mut request = Request::new(());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = target.into();
        *request.headers_mut() = to_upstream(&head.headers, &self.proxy.host, &directory, guest, self.from);
        Ok(request)
    }
}

/// All of it, before anybody is asked: a slow guest keeps none of the server's connections.
async fn read(body: Incoming) -> Result<Bytes, Refused> {
    match timeout(BODY, Limited::new(body, BODY_LENGTH).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::Body),
        Ok(Err(_)) => Err(Refused::Framing),
        Err(_) => Err(Refused::Body),
    }
}

fn words(status: StatusCode, why: &dyn std::fmt::Display) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
