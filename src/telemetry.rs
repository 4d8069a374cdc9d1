//! The log: to standard error, as text or JSON, errors with their causes.
//!
//! Set up once, by `main`. What is logged at which level is said where it happens; `RUST_LOG` narrows
//! or widens it. Whatever a tenant wrote stands in it: an event is one line, and a terminal obeys none.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;
use crate::plain::is_active;

/// A library that logs each failed request would say twice what we say once.
const QUIET: &str = "info,kube_client=off";

/// Sets the log up for the rest of the process' life.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET));
    let look = Look { colours: io::stderr().is_terminal(), times: !is_journal().unwrap_or(false) };
    subscriber(format, filter, look, io::stderr).init();
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// For a terminal.
    pub colours: bool,
    /// Each line begins with its time.
    pub times: bool,
}

/// Whether standard error goes to systemd's journal, which writes down when it got a line.
fn is_journal() -> io::Result<bool> {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return Ok(false) };
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(stream.to_str().is_some_and(|stream| names(stream, stderr.dev(), stderr.ino())))
}

/// Whether a `JOURNAL_STREAM` of systemd.exec(5) names this file. It may be that of a parent whose output
/// went elsewhere.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    stream.split_once(':').map(|(dev, ino)| (number(dev), number(ino))) == Some((Some(device), Some(inode)))
}

/// The log as `writer` gets it.
pub fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    look: Look,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let Look { colours, times } = look;
    let escapes = match format {
        LogFormat::Text => Escapes::Text { colours },
        LogFormat::Json => Escapes::Json,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines { writer, escapes })
        .with_target(false);
    match format {
        LogFormat::Text if times => Box::new(log.with_ansi(colours).finish()),
        LogFormat::Text => Box::new(log.with_ansi(colours).without_time().finish()),
        LogFormat::Json => Box::new(log.json().flatten_event(true).finish()),
    }
}

/// How a character that is not to be obeyed is written.
#[derive(Debug, Clone, Copy)]
enum Escapes {
    /// With colours only what sets a colour stays.
    Text {
        colours: bool,
    },
    Json,
}

impl Escapes {
    fn line(self, text: &str) -> String {
        let mut line = String::with_capacity(text.len() + 16);
        for (at, c) in text.char_indices() {
            match self {
                Self::Text { colours: true } if sets_colour(&text[at..]) => line.push(c),
                Self::Text { .. } if is_active(c) => line.extend(c.escape_default()),
                Self::Json if is_active(c) => {
                    let _ = write!(line, "\\u{:04x}", u32::from(c));
                }
                _ => line.push(c),
            }
        }
        line
    }
}

fn sets_colour(text: &str) -> bool {
    let codes = text
        .strip_prefix("\u{1b}[")
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    codes.is_some_and(|rest| rest.starts_with('m'))
}

/// Makes one line of each event.
struct Lines<W> {
    writer: W,
    escapes: Escapes,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Lines<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { writer: self.writer.make_writer(), escapes: self.escapes }
    }
}

struct Line<W> {
    writer: W,
    escapes: Escapes,
}

impl<W: Write> Write for Line<W> {
    /// Gets a whole event, with the end of its line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let end = if text.ends_with('\n') { "\n" } else { "" };
        let line = self.escapes.line(text.strip_suffix('\n').unwrap_or(&text));
        self.writer.write_all((line + end).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::sync::Arc;

    use super::*;

    fn logged(format: LogFormat, times: bool) -> String {
        let mut kept = tempfile::tempfile().unwrap();
        let (writer, look) = (Arc::new(kept.try_clone().unwrap()), Look { colours: false, times });
        let log = subscriber(format, EnvFilter::new("info"), look, writer);
        tracing::subscriber::with_default(log, || tracing::info!("served"));
        kept.rewind().unwrap();
        io::read_to_string(kept).unwrap()
    }

    #[test]
    fn text_has_no_time_where_the_journal_has_it() {
        assert_eq!(logged(LogFormat::Text, false).trim(), "INFO served");
        assert!(logged(LogFormat::Text, true).starts_with("20"));
        assert!(logged(LogFormat::Json, false).contains("timestamp"), "programs read it as it is");
    }

    #[test]
    fn the_journals_stream_is_known_by_both_its_numbers() {
        assert!(names("9:31415", 9, 31_415));
        for other in ["9:31416", "8:31415", "9", "9:", ":31415", "", "9:31415:1", "x:31415"] {
            assert!(!names(other, 9, 31_415), "{other}");
        }
    }
}
