//! Every command of a page is one: ours are parsed by the program's own flags, `make` has the target, and files
//! of the repository are there.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::markdown::{Block, pages};
use super::{assert_none, root};
use crate::cli::Cli;

/// The commands of a block: in `sh` each line is one, in `console` each with a prompt.
fn commands(block: &Block) -> Vec<Vec<String>> {
    let whole = block.text.replace("\\\n", " ");
    let line = |line: &str| match block.info.as_str() {
        "sh" => Some(line.to_owned()),
        "console" => line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")).map(str::to_owned),
        _ => None,
    };
    whole.lines().filter_map(line).flat_map(|line| words(&line)).collect()
}

/// The commands of a line of shell, each as words; of shell it knows what our pages use.
fn words(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], None::<String>, None);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => commands.last_mut().unwrap().extend(word.take()),
            (None, '|' | ';' | '&') => {
                commands.last_mut().unwrap().extend(word.take());
                commands.push(Vec::new());
            }
            // A file is no command.
            (None, '>' | '<') => {
                commands.last_mut().unwrap().extend(word.take());
                commands.push(vec![c.to_string()]);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// Our program's part of a command, without the words that stand for more.
fn ours(words: &[String]) -> Option<Vec<&str>> {
    let words: Vec<_> = words.iter().map(String::as_str).filter(|word| *word != "…").collect();
    let is_program = |word: &str| word.rsplit('/').next() == Some("kube-dhcp");
    match &words[..] {
        [first, ..] if is_program(first) => Some(words),
        ["kubectl", "dhcp", rest @ ..] => Some([&["kubectl-dhcp"], rest].concat()),
        _ => {
            let at = words.iter().position(|word| *word == "--")? + 1;
            words.get(at).is_some_and(|word| is_program(word)).then(|| words[at..].to_vec())
        }
    }
}

/// What is wrong with a command.
fn faults(words: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(ours) = ours(words)
        && let Err(error) = Cli::command().try_get_matches_from(ours)
        && ![ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind())
    {
        wrong.push(error.to_string().lines().next().unwrap_or_default().to_owned());
    }
    if words[0] == "make" {
        let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
        let target = |word: &str| makefile.lines().any(|line| line.starts_with(&format!("{word}: ")));
        let targets = words[1..].iter().filter(|word| !word.contains('=') && !target(word));
        wrong.extend(targets.map(|word| format!("make has no {word}")));
    }
    let files = words.iter().filter(|w| w.starts_with("examples/") || w.starts_with("deploy/"));
    let missing = files.filter(|file| !root().join(file.split('*').next().unwrap_or_default()).exists());
    wrong.extend(missing.map(|file| format!("there is no {file}")));
    wrong
}

#[test]
fn every_command_is_one() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.name, block.line);
            for command in commands(&block) {
                seen += usize::from(ours(&command).is_some());
                let faults = faults(&command).into_iter();
                wrong.extend(faults.map(|fault| format!("{place}: {}: {fault}", command.join(" "))));
            }
            if block.info.is_empty() && block.text.lines().any(|line| line.starts_with("$ ")) {
                wrong.push(format!("{place}: has commands: call it console"));
            }
        }
    }
    assert_none(&wrong);
    assert!(seen > 20, "only {seen} commands of ours were found");
}

#[test]
fn a_wrong_command_is_found() {
    let fault = |info: &str, text: &str| {
        let block = Block { line: 1, info: info.to_owned(), text: text.to_owned() };
        commands(&block).iter().any(|command| !faults(command).is_empty())
    };
    assert!(!fault("sh", "kube-dhcp status -o json | jq '.x | y' # kube-dhcp no"));
    assert!(!fault("console", "$ kubectl dhcp \\\n  drain n1 >/bin/kube-dhcp\nkube-dhcp no\n"));
    assert!(fault("sh", "kube-dhcp statu") && fault("console", "# target/release/kube-dhcp status --no"));
    assert!(fault("sh", "true; kubectl dhcp drain") && fault("sh", "kubectl exec a -- kube-dhcp statu"));
    assert!(!fault("sh", "make demo IMAGE=x") && fault("sh", "make dema"));
    assert!(!fault("sh", "kubectl apply -f examples/lan") && fault("sh", "kubectl apply -f examples/no"));
}
