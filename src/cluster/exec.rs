//! Running a command in a pod, through the API server: the caller's own rights decide whether.
//!
//! Called by `kube-dhcp leases`. What the command says may be anything, and as much as it likes.

use std::time::Duration;

use futures::future::try_join;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::time::timeout;

/// Which container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container's name.
    pub name: String,
}

/// What a command that ended has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its standard output, all of it.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: String,
    /// Its exit code; `None`: it did not end by itself, or nobody knows.
    pub code: Option<i32>,
}

/// Why nothing is known of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server, or the node's kubelet, said no.
    #[error(transparent)]
    Refused(kube::Error),
    /// Its output broke off.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// It may run still.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// Nobody reads that.
    #[error("more than {0} bytes")]
    TooMuch(u64),
}

/// Runs `command` and waits for its end, but not longer than `patience`, and takes no more than `most` bytes.
pub async fn run(
    client: &Client,
    container: &Container,
    command: &[String],
    most: u64,
    patience: Duration,
) -> Result<Said, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &container.namespace);
    let how = AttachParams::default().stdin(false).container(&container.name).max_stdout_buf_size(BUFFER);
    let asked = async {
        let process = pods.exec(&container.pod, command, &how).await.map_err(Error::Refused)?;
        hear(process, most).await
    };
    timeout(patience, asked).await.map_err(|_| Error::Late(patience))?
}

/// A message of a kubelet.
const BUFFER: usize = 32 * 1024;
/// What people read of a standard error.
const STDERR: u64 = 4 * 1024;

async fn hear(mut process: AttachedProcess, most: u64) -> Result<Said, Error> {
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    // Both at once: one that nobody reads would hold up the other.
    let (stdout, stderr) = try_join(all(stdout, most), first_words(stderr)).await?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Ok(Said { stdout, stderr, code: status.as_ref().and_then(code) })
}

async fn all(from: Option<impl AsyncRead + Unpin>, most: u64) -> Result<Vec<u8>, Error> {
    let (text, _) = beginning(from, most + 1).await?;
    if text.len() as u64 > most { Err(Error::TooMuch(most)) } else { Ok(text) }
}

/// Nobody waits for one whose words nobody takes.
async fn first_words(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Error> {
    let (text, rest) = beginning(from, STDERR).await?;
    if let Some(mut rest) = rest {
        copy(&mut rest, &mut sink()).await.map_err(Error::Broken)?;
    }
    Ok(text)
}

async fn beginning<R: AsyncRead + Unpin>(from: Option<R>, most: u64) -> Result<(Vec<u8>, Option<R>), Error> {
    let mut text = Vec::new();
    let Some(from) = from else { return Ok((text, None)) };
    let mut limited = from.take(most);
    limited.read_to_end(&mut text).await.map_err(Error::Broken)?;
    Ok((text, Some(limited.into_inner())))
}

/// As a kubelet tells it: zero is a success, any other number a cause of a failure.
fn code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_exit_code_is_what_the_kubelet_says() {
        let of = |status: serde_json::Value| code(&serde_json::from_value(status).unwrap());
        let failed = |message: &str| {
            json!({"status": "Failure", "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": message}]}})
        };
        assert_eq!(of(json!({"status": "Success"})), Some(0));
        assert_eq!(of(failed("3")), Some(3));
        assert_eq!(of(failed("x")), None);
        assert_eq!(of(json!({"status": "Failure", "message": "no such container"})), None);
    }

    #[tokio::test]
    async fn no_more_is_taken_than_asked_for() {
        let text = || Some(&b"12345"[..]);
        assert_eq!(all(text(), 5).await.unwrap(), b"12345");
        assert!(matches!(all(text(), 4).await, Err(Error::TooMuch(4))));
        let long = vec![b'x'; 10_000];
        assert_eq!(first_words(Some(&long[..])).await.unwrap().len(), 4_096);
        assert!(first_words(None::<&[u8]>).await.unwrap().is_empty());
    }
}
