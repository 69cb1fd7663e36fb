//! What came of the bad releases, as a table in Markdown: a row for each release, and in a row what came of it in each way.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::kind::{End, WORKERS};
use crate::run::Outcome;

/// How many characters of the last words stand in a row.
const WORDS_MAX: usize = 160;

/// All outcomes, those of a release one after the other. What is the same in all ways stands there once.
pub fn table(outcomes: &[&Outcome]) -> String {
    let mut text = format!(
        "| release | lost, of these in its own hand | least serving of {WORKERS} | old strength after | exit code | last words |\n\
         |---|---:|---:|---:|---:|---|\n"
    );
    for of_kind in outcomes.chunk_by(|one, next| one.kind.name == next.kind.name) {
        let lost = each(of_kind, |outcome| format!("{}, {}", outcome.lost, outcome.in_hand));
        let serving = each(of_kind, |outcome| outcome.serving_min.to_string());
        let code = each(of_kind, |outcome| outcome.code.map_or("-".to_owned(), |code| code.to_string()));
        let words: String = of_kind[0].words.replace('|', "\\|").chars().take(WORDS_MAX).collect();
        let (name, when) = (of_kind[0].kind.name, each(of_kind, when));
        let _infallible = writeln!(text, "| {name} | {lost} | {serving} | {when} | {code} | {words} |");
    }
    text
}

fn each(outcomes: &[&Outcome], what: impl Fn(&Outcome) -> String) -> String {
    let all: Vec<_> = outcomes.iter().map(|outcome| what(outcome)).collect();
    let different: BTreeSet<_> = all.iter().collect();
    if different.len() == 1 { all[0].clone() } else { all.join("; ") }
}

fn when(outcome: &Outcome) -> String {
    let seconds = outcome.ended_after.map_or(String::new(), |span| format!("{:.1} s", span.as_secs_f64()));
    match outcome.end {
        End::Back if outcome.answers_on => format!("{seconds}; it answers on"),
        End::Back => seconds,
        End::Taken => format!("taken, {seconds}"),
        End::Stays => "not seen".to_owned(),
        End::Gone => "the master ended".to_owned(),
    }
}
