//! The table of a run, in Markdown: a row for each kind of event, with what became of the requests from its beginning to the next, and
//! their latencies as multiples of those in the calm.

use std::fmt::Write;
use std::time::Duration;

use crate::tally::Row;

/// One row.
pub struct Line<'a> {
    pub name: &'a str,
    pub times: u64,
    pub row: Row,
}

const HEAD: &str = "| event | times | requests | lost | refused | p50 | p99 | longest |\n\
|---|---:|---:|---:|---:|---:|---:|---:|\n";

/// The first line is the calm, in milliseconds; the others are compared with it.
pub fn table(lines: &[Line<'_>]) -> String {
    let mut text = HEAD.to_owned();
    let calm = lines.first().map(|line| &line.row.latency);
    for (at, Line { name, times, row }) in lines.iter().enumerate() {
        let latency = |of: fn(&Row) -> Duration| match (at, calm) {
            (0, _) | (_, None) => format!("{:.2} ms", of(row).as_secs_f64() * 1000.0),
            (_, Some(_)) => ratio(of(row), of(&lines[0].row)),
        };
        let [p50, p99, longest] = [
            latency(|row| row.latency.percentile(50)),
            latency(|row| row.latency.percentile(99)),
            latency(|row| row.latency.longest),
        ];
        let (requests, lost, refused) =
            (thousands(row.requests()), thousands(row.lost_count()), thousands(row.refused));
        let _infallible =
            writeln!(text, "| {name} | {times} | {requests} | {lost} | {refused} | {p50} | {p99} | {longest} |");
    }
    text
}

fn ratio(one: Duration, other: Duration) -> String {
    if other.is_zero() { "-".to_owned() } else { format!("{:.1}x", one.as_secs_f64() / other.as_secs_f64()) }
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
}
