//! What came of the bad releases, as a table in Markdown.

use std::fmt::Write;

use crate::kind::{End, WORKERS};
use crate::run::Outcome;

pub fn table(outcomes: &[&Outcome]) -> String {
    let mut text = format!(
        "| release | requests | lost | of these in its own hand | least serving of {WORKERS} | old strength after | exit code | last words |\n\
         |---|---:|---:|---:|---:|---:|---:|---|\n"
    );
    for outcome in outcomes {
        let Outcome { kind, lost, in_hand, requests, serving_min, words, .. } = outcome;
        let code = outcome.code.map_or("-".to_owned(), |code| code.to_string());
        let words = words.replace('|', "\\|");
        let _infallible = writeln!(
            text,
            "| {} | {requests} | {lost} | {in_hand} | {serving_min} | {} | {code} | {words} |",
            kind.name,
            when(outcome)
        );
    }
    text
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
