//! What came of the cells: a table by phase, every failure with the command that repeats it, and the verdict on the whole.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use crate::cells::Cell;
use crate::exceptions;
use crate::run::Outcome;
use crate::verdict::Came;

/// Recovered in less than this is recovered at once.
const SECOND: Duration = Duration::from_secs(1);

/// A cell that was run.
pub struct Row {
    pub cell: Cell,
    pub outcome: Outcome,
}

impl Row {
    pub fn is_failure(&self) -> bool {
        self.outcome.verdict.is_err()
    }

    /// Says what failed, if no exception is made of it.
    pub fn tell(&self) {
        let Err(why) = &self.outcome.verdict else { return };
        let name = self.cell.to_string();
        if exceptions::all().iter().any(|known| known.is_of(&name, why)) {
            return;
        }
        let log: String = self.outcome.log.iter().map(|line| format!("  | {line}\n")).collect();
        println!("\nfaults: {name} FAILED: {why}\n{log}  again: make faults FAULTS_ONLY='{name}'");
    }
}

pub struct Report(Vec<Row>);

/// Of one phase.
#[derive(Default)]
struct Tally {
    cells: usize,
    works: usize,
    late: usize,
    ended: usize,
    missed: usize,
    excepted: usize,
    failed: usize,
}

impl Report {
    pub fn of(rows: Vec<Row>) -> Self {
        Self(rows)
    }

    /// `complete`: every cell there is was run, so that an exception which has met none is one too many.
    pub fn print(&self, complete: bool) -> ExitCode {
        let exceptions = exceptions::all();
        let excepted =
            |row: &Row, why: &str| exceptions.iter().position(|known| known.is_of(&row.cell.to_string(), why));
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        let mut met = vec![0; exceptions.len()];
        for row in &self.0 {
            let tally = tallies.entry(row.cell.phase.name).or_default();
            tally.cells += 1;
            match &row.outcome.verdict {
                Err(why) => match excepted(row, why) {
                    Some(at) => {
                        met[at] += 1;
                        tally.excepted += 1;
                    }
                    None => tally.failed += 1,
                },
                Ok(_) if !row.outcome.hit => tally.missed += 1,
                Ok(Came::Through(time)) if *time > SECOND => tally.late += 1,
                Ok(Came::Through(_)) => tally.works += 1,
                Ok(Came::ToAnEnd(_)) => tally.ended += 1,
            }
        }
        let failed = tallies.values().any(|tally| tally.failed > 0);
        print_table(&tallies);
        self.print_late();
        let mut vain = Vec::new();
        for (exception, met) in exceptions.iter().zip(&met) {
            println!("faults: {met} failures are excepted by {}: {}", exception.pattern, exception.reason);
            vain.extend((complete && *met == 0).then_some(exception.pattern));
        }
        if !vain.is_empty() {
            println!("faults: these exceptions met no failure, and have to go: {vain:?}");
        }
        if !failed && vain.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Names those that took longer than a second, the longest first. A busy machine makes more of them, so that they are told and fail nothing.
    fn print_late(&self) {
        let late = |row: &Row| match row.outcome.verdict {
            Ok(Came::Through(time)) if row.outcome.hit && time > SECOND => Some((time, row.cell.to_string())),
            _ => None,
        };
        let mut late: Vec<_> = self.0.iter().filter_map(late).collect();
        late.sort_by(|one, other| other.cmp(one));
        for (time, name) in late {
            println!("faults: {name} recovered {:.1} s after the fault", time.as_secs_f64());
        }
    }
}

fn print_table(tallies: &BTreeMap<&str, Tally>) {
    println!(
        "\n{:<10} {:>6} {:>9} {:>6} {:>6} {:>7} {:>9} {:>7}",
        "phase", "cells", "works", "late", "ended", "not hit", "excepted", "failed"
    );
    let row = |name: &str, it: &Tally| {
        let Tally { cells, works, late, ended, missed, excepted, failed } = it;
        println!("{name:<10} {cells:>6} {works:>9} {late:>6} {ended:>6} {missed:>7} {excepted:>9} {failed:>7}");
    };
    let mut sum = Tally::default();
    for (name, tally) in tallies {
        row(name, tally);
        sum.cells += tally.cells;
        sum.works += tally.works;
        sum.late += tally.late;
        sum.ended += tally.ended;
        sum.missed += tally.missed;
        sum.excepted += tally.excepted;
        sum.failed += tally.failed;
    }
    row("all", &sum);
}
