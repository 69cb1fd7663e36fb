//! The cells that may fail. An exception without a reason is none, and one that no cell needs any more has to go.

const TEXT: &str = include_str!("exceptions.txt");

pub struct Exception {
    pub pattern: &'static str,
    /// What the verdict says then.
    pub verdict: &'static str,
    pub reason: &'static str,
}

pub fn all() -> Vec<Exception> {
    let lines = TEXT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse).collect()
}

fn parse(line: &'static str) -> Exception {
    let parts = line.split_once(" => ").and_then(|(pattern, rest)| Some((pattern, rest.split_once(": ")?)));
    let (pattern, (verdict, reason)) =
        parts.unwrap_or_else(|| panic!("exceptions.txt: no verdict or reason in {line:?}"));
    Exception { pattern, verdict, reason }
}

impl Exception {
    /// Whether it is made of this cell with this verdict.
    pub fn is_of(&self, cell: &str, verdict: &str) -> bool {
        matches(self.pattern, cell) && verdict.contains(self.verdict)
    }
}

/// Whether the pattern, in which `*` stands for any text, is this name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((begin, rest)) => {
            let Some(left) = name.strip_prefix(begin) else { return false };
            left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| matches(rest, &left[at..]))
        }
    }
}
