//! What the last word of a command line may be, for shells that complete `kubectl dhcp`.
//!
//! Used by `command::complete`; it looks at no cluster.

use std::collections::BTreeMap;

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// The name under which kubectl asks this program how its plugin's command line may go on.
pub const COMPLETER: &str = "kubectl_complete-dhcp";

/// What may stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Words, and what each means.
    pub words: BTreeMap<String, String>,
    /// Whose names may, too.
    pub names: Option<Names>,
    /// Whether a file may.
    pub files: bool,
}

/// Objects that are called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Ports of the namespace.
    Ports,
    /// Nodes with an agent.
    Nodes,
    /// Kubernetes namespaces.
    Namespaces,
}

/// A command line that is being written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line<'l> {
    /// What may be its last word.
    pub candidates: Candidates,
    /// Which cluster it is about, where it says so.
    pub kubeconfig: Option<&'l str>,
    /// Which namespace, where it says so.
    pub namespace: Option<&'l str>,
    /// What there is already of the word, or of the value behind a flag's `=`: shells add the flag themselves.
    pub begun: &'l str,
}

/// Of `words`, those after the program, the last is not finished and may be empty.
pub fn complete<'l>(program: &Command, words: &[&'l str]) -> Line<'l> {
    let mut line = Line::default();
    let Some((last, before)) = words.split_last() else { return line };
    let mut command = program;
    let (mut places, mut waits) = (0, None);
    for word in before {
        if let Some(arg) = waits.take() {
            line.note(arg, word);
        } else if word.starts_with('-') {
            match flag_of(command, word) {
                (Some(arg), Some(value)) => line.note(arg, value),
                (Some(arg), None) if arg.get_action().takes_values() => waits = Some(arg),
                _ => {}
            }
        } else if let Some(sub) = command.find_subcommand(word) {
            (command, places) = (sub, 0);
        } else {
            places += 1;
        }
    }
    let begun = last.strip_prefix("--").and_then(|flag| flag.split_once('='));
    line.begun = begun.map_or(last, |(_, value)| value);
    line.candidates = match (waits, begun) {
        (Some(arg), _) => values(arg),
        (None, Some(_)) => flag_of(command, last).0.map(values).unwrap_or_default(),
        _ if last.starts_with('-') => flags(command),
        _ => places_of(command, places),
    };
    line.candidates.words.retain(|word, _| word.starts_with(line.begun));
    line
}

impl<'l> Line<'l> {
    fn note(&mut self, arg: &Arg, value: &'l str) {
        match arg.get_id().as_str() {
            "kubeconfig" => self.kubeconfig = Some(value),
            "namespace" => self.namespace = Some(value),
            _ => {}
        }
    }
}

/// The flag that a word is, the last one of several short ones; and its value, where the word has that, too.
fn flag_of<'c, 'w>(command: &'c Command, word: &'w str) -> (Option<&'c Arg>, Option<&'w str>) {
    let called = |is: &dyn Fn(&Arg) -> bool| command.get_arguments().find(|arg| is(arg));
    if let Some(long) = word.strip_prefix("--") {
        let (long, value) = long.split_once('=').map_or((long, None), |(long, value)| (long, Some(value)));
        return (called(&|arg| arg.get_long() == Some(long)), value);
    }
    let mut found = None;
    for (at, short) in word.char_indices().skip(1) {
        found = called(&|arg| arg.get_short() == Some(short));
        let rest = &word[at + short.len_utf8()..];
        if found.is_some_and(|arg| arg.get_action().takes_values()) && !rest.is_empty() {
            return (found, Some(rest.strip_prefix('=').unwrap_or(rest)));
        }
    }
    (found, None)
}

fn flags(command: &Command) -> Candidates {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let words = shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), meaning(arg.get_help()))));
    let help = [("--help".to_owned(), "Print help".to_owned())];
    Candidates { words: words.chain(help).collect(), ..Candidates::default() }
}

/// What may stand where no flag does; `places` words stand there already.
fn places_of(command: &Command, places: usize) -> Candidates {
    if command.has_subcommands() && places == 0 {
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let words = shown.map(|sub| (sub.get_name().to_owned(), meaning(sub.get_about())));
        return Candidates { words: words.collect(), ..Candidates::default() };
    }
    let Some(arg) = command.get_positionals().nth(places) else { return Candidates::default() };
    let mut candidates = values(arg);
    candidates.names = match (command.get_name(), arg.get_id().as_str()) {
        ("port", "name") => Some(Names::Ports),
        (_, "node") => Some(Names::Nodes),
        _ => None,
    };
    candidates
}

/// What a flag's value may be.
fn values(arg: &Arg) -> Candidates {
    let shown = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let words = shown.map(|value| (value.get_name().to_owned(), meaning(value.get_help())));
    let is_path = |name: &str| ["FILE", "DIR", "PATH"].contains(&name);
    let files = arg.get_value_names().is_some_and(|names| names.iter().any(|name| is_path(name)));
    let names = (arg.get_id() == "namespace").then_some(Names::Namespaces);
    Candidates { words: words.collect(), names, files }
}

/// In a line.
fn meaning(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// The words that may be the last one.
    fn words(line: &[&str]) -> Vec<String> {
        complete(&Cli::command(), line).candidates.words.into_keys().collect()
    }

    #[test]
    fn subcommands_flags_and_their_values_are_known() {
        assert_eq!(words(&["sta"]), ["status"]);
        assert!(words(&[""]).len() > 10);
        assert_eq!(words(&["explain", ""]), ["port"]);
        assert_eq!(words(&["status", "--ou"]), ["--output"]);
        assert!(words(&["status", "-"]).contains(&"--help".to_owned()));
        assert_eq!(words(&["status", "-o", ""]), ["json", "table", "yaml"]);
        assert_eq!(words(&["status", "--cluster", "--output", "j"]), ["json"]);
        assert_eq!(words(&["status", "--output=y"]), ["yaml"]);
        assert_eq!(words(&["completions", "z"]), ["zsh"]);
        assert_eq!(words(&["status", "--no", "--such="]), [""; 0]);
        assert_eq!(words(&[]), [""; 0]);
    }

    #[test]
    fn names_are_those_of_objects() {
        let command = Cli::command();
        let names = |line: &[&str]| complete(&command, line).candidates.names;
        assert_eq!(names(&["explain", "port", "w"]), Some(Names::Ports));
        assert_eq!(names(&["explain", "port", "web", ""]), None);
        assert_eq!(names(&["explain", "port", "-n", ""]), Some(Names::Namespaces));
        assert_eq!(names(&["drain", "--timeout", "3", ""]), Some(Names::Nodes));
        assert_eq!(names(&["uncordon", "n1", ""]), None);
        let line = complete(&command, &["status", "--namespace=te"]);
        assert_eq!((line.candidates.names, line.begun), (Some(Names::Namespaces), "te"));
        for word in ["-nb", "-n=b", "--namespace=b"] {
            assert_eq!(complete(&command, &["explain", "port", word, "w"]).namespace, Some("b"), "{word}");
        }
        let line = complete(&command, &["explain", "port", "-n", "a", "--kubeconfig=k", "w"]);
        assert_eq!((line.namespace, line.kubeconfig), (Some("a"), Some("k")));
        assert!(complete(&command, &["status", "--kubeconfig", "./"]).candidates.files);
        assert!(!complete(&command, &["drain", "--timeout", ""]).candidates.files);
    }
}
