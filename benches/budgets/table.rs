//! The report.

use std::time::Duration;

/// What was measured of one budget.
pub struct Row {
    pub name: &'static str,
    pub floor: Option<Duration>,
    pub ours: Duration,
    /// More than the time: counts, spread.
    pub note: String,
    pub budget: String,
    pub met: bool,
}

impl Row {
    /// Met unless something that is asked for below does not hold.
    pub fn new(name: &'static str, floor: Option<Duration>, ours: Duration) -> Self {
        Self { name, floor, ours, note: String::new(), budget: String::new(), met: true }
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// At most `limit`; `text` says how it comes about.
    pub fn at_most(mut self, limit: Duration, text: &str) -> Self {
        self.budget = if text.is_empty() { time(limit) } else { format!("{text} = {}", time(limit)) };
        self.met &= self.ours <= limit;
        self
    }

    /// Something else that the budget asks for.
    pub fn and(mut self, holds: bool, text: &str) -> Self {
        self.budget = format!("{}, {text}", self.budget);
        self.met &= holds;
        self
    }
}

/// All rows.
pub struct Table {
    words: Vec<String>,
    rows: Vec<[String; 7]>,
}

impl Table {
    pub fn new(words: Vec<String>) -> Self {
        Self { words, rows: Vec::new() }
    }

    /// Whether a row of this name was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    pub fn add(&mut self, row: Row) {
        let floor = row.floor.map_or_else(|| "–".to_owned(), time);
        let ratio = row.floor.map_or_else(
            || "–".to_owned(),
            |floor| format!("{:.2}", row.ours.as_secs_f64() / floor.as_secs_f64()),
        );
        self.push([row.name.into(), floor, time(row.ours), ratio, row.budget, verdict(row.met), row.note]);
    }

    /// A row whose value is no time.
    pub fn value(&mut self, name: &str, ours: String, budget: &str, met: bool, note: String) {
        let no_time = || "–".to_owned();
        self.push([name.into(), no_time(), ours, no_time(), budget.into(), verdict(met), note]);
    }

    fn push(&mut self, row: [String; 7]) {
        eprintln!("  {}: floor {}, ours {} ({}) {}", row[0], row[1], row[2], row[5], row[6]);
        self.rows.push(row);
    }

    pub fn print(&self) {
        let head = ["row", "floor", "ours", "ratio", "budget", "met", "note"].map(str::to_owned);
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |at: usize| lines().map(|line| line[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<_> = (0..head.len()).map(width).collect();
        println!();
        for line in lines() {
            let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}

fn verdict(met: bool) -> String {
    if met { "yes" } else { "NO" }.to_owned()
}

pub fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// "best … worst"
pub fn spread(times: &[Duration]) -> String {
    let (Some(best), Some(worst)) = (times.iter().min(), times.iter().max()) else { return String::new() };
    format!("[{} – {}]", time(*best), time(*worst))
}
