//! The log with whatever a tenant wrote in it: one line for each event, and a terminal obeys none.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use kube_dhcp::cli::LogFormat;
use kube_dhcp::telemetry;
use tracing::{info_span, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::corpus;
use crate::court::plain;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The lines that the program logs when each of `texts` stands in every place that a text can stand in.
fn logged(format: LogFormat, colours: bool, texts: &[String]) -> Vec<String> {
    let kept = Kept::default();
    let look = telemetry::Look { colours, times: true };
    let log = telemetry::subscriber(format, EnvFilter::new("info"), look, kept.clone());
    tracing::subscriber::with_default(log, || {
        for text in texts {
            let error = io::Error::other(text.clone());
            let _span = info_span!("worker", network = %text, quoted = text).entered();
            warn!(place = text, object = %text, error = &error as &(dyn std::error::Error + 'static), "{text}");
        }
    });
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().split_terminator('\n').map(str::to_owned).collect()
}

/// Without what the formatter itself sets colours with.
fn colourless(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (codes, rest) = part.split_once('m').unwrap_or(("?", part));
        assert!(codes.bytes().all(|b| b.is_ascii_digit() || b == b';'), "{line:?}");
        text += rest;
    }
    text
}

#[test]
fn an_event_is_one_line_whatever_stands_in_it() {
    let texts = corpus::texts();
    for colours in [false, true] {
        let lines = logged(LogFormat::Text, colours, &texts);
        assert_eq!(lines.len(), texts.len());
        for line in lines {
            let line = if colours { colourless(&line) } else { line };
            plain(&line).unwrap();
        }
    }
    let lines = logged(LogFormat::Json, false, &texts);
    assert_eq!(lines.len(), texts.len());
    for (line, text) in lines.iter().zip(&texts) {
        plain(line).unwrap();
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["message"].as_str(), Some(text.as_str()), "{line}");
    }
}
