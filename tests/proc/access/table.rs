//! The tables of `doc/access.md`, as they stand there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::access::actor::{Actor, Column};
use crate::access::stage::Side;

/// The first table under a heading: what stands in its first cells, and then the cells of each column by its heading.
pub(in crate::access) struct Table {
    rows: BTreeMap<String, BTreeMap<String, String>>,
}

impl Table {
    #[track_caller]
    pub(in crate::access) fn read(heading: &str) -> Self {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/access.md")).unwrap();
        Self::parse(&page, heading)
    }

    #[track_caller]
    pub(in crate::access) fn parse(page: &str, heading: &str) -> Self {
        let mut lines = page.lines().skip_while(|line| *line != format!("## {heading}")).skip(1);
        let head = lines.by_ref().find(|line| line.starts_with('|')).unwrap_or_else(|| panic!("no table {heading}"));
        let columns = cells(head);
        let mut rows = BTreeMap::new();
        for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
            let cells = cells(line);
            assert_eq!(cells.len(), columns.len(), "{line}");
            let row = columns.iter().cloned().zip(cells.iter().cloned()).skip(1).collect();
            assert!(rows.insert(cells[0].clone(), row).is_none(), "twice in {heading}: {line}");
        }
        Self { rows }
    }

    pub(in crate::access) fn names(&self) -> BTreeSet<String> {
        self.rows.keys().cloned().collect()
    }

    pub(in crate::access) fn cell(&self, row: &str, column: &str) -> &str {
        self.rows.get(row).and_then(|row| row.get(column)).map_or("no cell", String::as_str)
    }

    /// Each cell of this process's column that is not what was seen, and each that was not looked at.
    pub(in crate::access) fn differences(&self, side: Side, actor: &Actor, seen: Vec<(String, String)>) -> Vec<String> {
        let tried: BTreeSet<_> = seen.iter().map(|(row, _)| row.clone()).collect();
        let untried = self.names().into_iter().filter(|row| !tried.contains(row));
        let mut found: Vec<_> = untried.map(|row| format!("{row}, {actor:?}: not tried")).collect();
        for (row, cell) in &seen {
            let told = self.cell(row, actor.column.heading());
            if told != cell {
                found.push(format!(
                    "{row}, {actor:?} of {side:?}: the table says {told:?}, and what happens is {cell:?}"
                ));
            }
        }
        found
    }
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn a_table_is_read_and_compared_both_ways() {
    let page = "## One\nwords\n\n| x | root | other |\n|---|---|---|\n| `a` | yes | no |\n\n## Two\n| y | z |\n";
    let table = Table::parse(page, "One");
    assert_eq!(table.names(), BTreeSet::from(["`a`".to_owned()]));
    let actor = Actor::all_of(Side::Root).into_iter().find(|actor| actor.column == Column::Other).unwrap();
    let differences = |seen: &[(&str, &str)]| {
        let seen = seen.iter().map(|(row, cell)| ((*row).to_owned(), (*cell).to_owned())).collect();
        table.differences(Side::Root, &actor, seen).len()
    };
    assert_eq!(differences(&[("`a`", "no")]), 0);
    assert_eq!(differences(&[("`a`", "yes")]), 1);
    assert_eq!(differences(&[]), 1);
    assert_eq!(differences(&[("`a`", "no"), ("`b`", "no")]), 1);
}
