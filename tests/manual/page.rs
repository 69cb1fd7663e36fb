//! The pages, read as lines of mdoc(7) with the sections that they stand in: which words stand behind which macro. Judges
//! nothing.

use std::collections::BTreeSet;
use std::fs;

use crate::source::root;

/// The macros of mdoc(7) that the pages use inside lines.
const MACROS: &[&str] = &[
    "Ar", "Bq", "Cm", "Dq", "Dv", "Ev", "Fl", "Ic", "Lk", "Nm", "No", "Ns", "Oc", "Oo", "Op", "Pa", "Pc", "Po", "Pq",
    "Ql", "Sx", "Sy", "Va", "Xr",
];

pub const MASTER: &str = "einhyrningsins.1";
pub const CLIENT: &str = "einhyrningsinsctl.1";
pub const FILE: &str = "einhyrningsins.toml.5";
pub const PROTOCOL: &str = "einhyrningsins-control.7";

/// The pages by name.
pub struct Manual(pub Vec<(&'static str, Page)>);

pub struct Page {
    pub text: String,
    lines: Vec<Line>,
}

/// A line with where it stands.
pub struct Line {
    section: String,
    pub subsection: String,
    pub text: String,
}

/// An entry of a list, and the lines up to the next.
pub struct Item<'a> {
    pub line: &'a Line,
    pub body: Vec<&'a Line>,
}

impl Manual {
    pub fn read() -> Self {
        Self::changed("", |text| text)
    }

    /// With one page as `change` makes it.
    pub fn changed(name: &str, change: impl Fn(String) -> String) -> Self {
        let page = |known: &'static str| {
            let text = fs::read_to_string(root().join("doc").join(known)).unwrap();
            (known, Page::new(&if known == name { change(text) } else { text }))
        };
        Self([MASTER, CLIENT, FILE, PROTOCOL].map(page).into())
    }

    pub fn page(&self, name: &str) -> &Page {
        self.0.iter().find_map(|(known, page)| (*known == name).then_some(page)).unwrap()
    }
}

impl Page {
    fn new(whole: &str) -> Self {
        let (mut section, mut subsection) = (String::new(), String::new());
        let mut lines = Vec::new();
        for text in whole.lines() {
            if let Some(title) = text.strip_prefix(".Sh ") {
                (section, subsection) = (title.to_owned(), String::new());
            } else if let Some(title) = text.strip_prefix(".Ss ") {
                title.clone_into(&mut subsection);
            }
            lines.push(Line { section: section.clone(), subsection: subsection.clone(), text: text.to_owned() });
        }
        Self { text: whole.to_owned(), lines }
    }

    /// The lines of a section, or of the whole page.
    pub fn lines(&self, section: &str) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| section.is_empty() || line.section == section)
    }

    /// What stands behind this macro anywhere in a section, or in the page.
    pub fn named(&self, section: &str, name: &str) -> BTreeSet<String> {
        self.lines(section).flat_map(|line| line.arguments(name)).collect()
    }

    pub fn items(&self, section: &str) -> Vec<Item<'_>> {
        let mut items: Vec<Item<'_>> = Vec::new();
        for line in self.lines(section) {
            match items.last_mut() {
                _ if line.text.starts_with(".It ") => items.push(Item { line, body: Vec::new() }),
                Some(item) => item.body.push(line),
                None => {}
            }
        }
        items
    }

    /// What stands behind this macro at the heads of a section's entries.
    pub fn heads(&self, section: &str, name: &str) -> BTreeSet<String> {
        self.items(section).iter().flat_map(|item| item.line.arguments(name)).collect()
    }
}

impl Line {
    /// The arguments of a macro, up to the next one, without punctuation.
    pub fn arguments(&self, name: &str) -> Vec<String> {
        let Some(line) = self.text.strip_prefix('.') else { return Vec::new() };
        let (mut current, mut found) = ("", Vec::new());
        for word in line.split_whitespace() {
            if MACROS.contains(&word) || word == "It" {
                current = word;
            } else if current == name && word.chars().any(char::is_alphanumeric) {
                found.push(word.trim_matches('"').to_owned());
            }
        }
        found
    }
}
