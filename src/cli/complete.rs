//! What the last word of a command line may be, for shells that complete `kubectl dhcp`.
//!
//! Used by `command::complete`; it looks at no cluster.

use std::collections::BTreeMap;

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
        } else if let Some(flag) = word.strip_prefix('-') {
            let (flag, value) =
                flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)));
            match (flag_of(command, flag), value) {
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
    line.candidates = match (waits, last.split_once('=')) {
        (Some(arg), _) => values(arg, ""),
        (None, Some((flag, _))) if flag.starts_with('-') => {
            flag_of(command, &flag[1..]).map(|arg| values(arg, &format!("{flag}="))).unwrap_or_default()
        }
        _ if last.starts_with('-') => flags(command),
        _ => places_of(command, places),
    };
    line.candidates.words.retain(|word, _| word.starts_with(*last));
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

/// `flag` without its first dash.
fn flag_of<'c>(command: &'c Command, flag: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| match flag.strip_prefix('-') {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| flag.len() == 1 && flag.starts_with(short)),
    })
}

fn flags(command: &Command) -> Candidates {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let words = shown.filter_map(|arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some((format!("--{}", arg.get_long()?), first_line(&help)))
    });
    let help = [("--help".to_owned(), "Print help".to_owned())];
    Candidates { words: words.chain(help).collect(), ..Candidates::default() }
}

/// What may stand where no flag does; `places` words stand there already.
fn places_of(command: &Command, places: usize) -> Candidates {
    if command.has_subcommands() && places == 0 {
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let about = |sub: &Command| sub.get_about().map(ToString::to_string).unwrap_or_default();
        let words = shown.map(|sub| (sub.get_name().to_owned(), first_line(&about(sub))));
        return Candidates { words: words.collect(), ..Candidates::default() };
    }
    let Some(arg) = command.get_positionals().nth(places) else { return Candidates::default() };
    let mut candidates = values(arg, "");
    candidates.names = match (command.get_name(), arg.get_id().as_str()) {
        ("port", "name") => Some(Names::Ports),
        (_, "node") => Some(Names::Nodes),
        _ => None,
    };
    candidates
}

/// What a flag's value may be; each word begins with `prefix`.
fn values(arg: &Arg, prefix: &str) -> Candidates {
    let shown = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let words = shown.map(|value| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        (format!("{prefix}{}", value.get_name()), first_line(&help))
    });
    let is_path = |name: &str| ["FILE", "DIR", "PATH"].contains(&name);
    let files = arg.get_value_names().is_some_and(|names| names.iter().any(|name| is_path(name)));
    let names = (prefix.is_empty() && arg.get_id() == "namespace").then_some(Names::Namespaces);
    Candidates { words: words.collect(), names, files }
}

fn first_line(text: &str) -> String {
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
        assert_eq!(words(&["status", "--output=y"]), ["--output=yaml"]);
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
        let line = complete(&command, &["explain", "port", "-n", "a", "--kubeconfig=k", "w"]);
        assert_eq!((line.namespace, line.kubeconfig), (Some("a"), Some("k")));
        assert!(complete(&command, &["status", "--kubeconfig", "./"]).candidates.files);
        assert!(!complete(&command, &["drain", "--timeout", ""]).candidates.files);
    }
}
