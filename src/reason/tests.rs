use super::*;

/// In Markdown.
fn reasons_table() -> String {
    let head = "| Reason | While true | Kinds | What to do |\n|---|---|---|---|\n";
    Reason::ALL.iter().map(|reason| reason.row()).fold(
        head.to_owned(),
        |table, (name, while_true, kinds, cure)| {
            let while_true = if while_true.is_empty() { "–" } else { while_true };
            table + &format!("| `{name}` | {while_true} | {kinds} | {cure} |\n")
        },
    )
}

#[test]
fn the_table_of_reasons_in_the_docs_is_current() {
    let head = "# Reasons\n\nThe reasons of the conditions `Ready`, `Accepted`, `Allocated`, `OptionsFit`, `AddressConflict`, `ForeignDHCPServer` \
                and `ForeignRouter`. *Stalled*: only a change of the \
                object itself helps. *Reconciling*: something else may help, and the agent tries again by itself.\n\n";
    crate::docs::assert_says("reasons.md", &format!("{head}{}", reasons_table()));
}

#[test]
fn each_reason_is_one_word_and_has_a_cure() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(reason.as_str().bytes().all(|b| b.is_ascii_alphanumeric()), "{reason:?}");
        assert!(!reason.cure().is_empty(), "{reason:?}");
    }
}
