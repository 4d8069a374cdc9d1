use super::*;

/// What it means, as the enum says it: the comment above the variant, without its last dot.
fn meaning(reason: Reason) -> &'static str {
    let variant = format!("\n    {reason:?},\n");
    let (before, _) = include_str!("../reason.rs").split_once(&variant).unwrap();
    let comment = before.rsplit('\n').next().and_then(|line| line.trim().strip_prefix("/// ")).unwrap();
    comment.trim_end_matches('.')
}

/// In Markdown.
fn reasons_table() -> String {
    let head = "| Reason | Means | While true | Kinds | What to do |\n|---|---|---|---|---|\n";
    Reason::ALL.iter().fold(head.to_owned(), |table, reason| {
        let (name, while_true, kinds, cure) = reason.row();
        let while_true = if while_true.is_empty() { "–" } else { while_true };
        let means = meaning(*reason);
        table + &format!("| `{name}` | {means} | {while_true} | {kinds} | {cure} |\n")
    })
}

#[test]
fn the_table_of_reasons_in_the_docs_is_current() {
    let head = "# Reasons\n\nThe reasons of the conditions `Ready`, `Accepted`, `Allocated`, `OptionsFit`, `AddressConflict`, `ForeignDHCPServer` \
                and `ForeignRouter`. *Stalled*: only a change of the \
                object itself helps. *Reconciling*: something else may help, and the agent tries again by itself.\n\
                What each condition says of which kind is in [conditions.md](conditions.md), and how to find the one that matters \
                in [troubleshooting.md](troubleshooting.md).\n\n";
    crate::docs::assert_says("reasons.md", &format!("{head}{}", reasons_table()));
}

#[test]
fn each_reason_is_one_word_and_has_a_cure() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(reason.as_str().bytes().all(|b| b.is_ascii_alphanumeric()), "{reason:?}");
        assert!(!reason.cure().is_empty(), "{reason:?}");
        assert!(!meaning(reason).is_empty(), "{reason:?}");
    }
}
