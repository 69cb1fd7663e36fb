//! The house rules that a compiler does not hold: which room may import which, where clock and `unsafe` may stand, how long files
//! and functions may be. A rule is a function from one file to the lines that break it; each is shown to fail once.
//!
//! It reads the text line by line and leans on rustfmt: a block ends at the first line that is its own indentation and a
//! closing brace. It must never change a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, and the rooms that each may import. `doc/ARCHITECTURE.md` says why; what is in no room (lib.rs, the bins) is free.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("yaml", &[]),
    ("pool", &["base"]),
    ("machines", &["base", "pool"]),
    ("config", &["base"]),
    ("handoff", &["base", "pool", "yaml"]),
    ("protocol", &["base", "config", "pool", "yaml"]),
    ("sys", &["base"]),
    ("files", &["base", "sys"]),
    ("threads", &["base", "protocol", "sys"]),
    ("logging", &["base", "sys", "threads"]),
    ("capture", &["base", "sys", "threads", "logging"]),
    ("control", &["base", "protocol", "sys", "files", "threads", "logging"]),
    ("trace", &["base", "pool", "machines", "sys", "files", "threads", "logging"]),
    ("client", &["base", "config", "protocol", "yaml", "sys", "files"]),
    ("release", &["base", "config", "sys", "files", "control"]),
    ("output", &["base", "pool", "config", "protocol", "handoff", "yaml", "sys", "files", "release"]),
    (
        "handover",
        &[
            "base", "pool", "machines", "config", "protocol", "handoff", "yaml", "sys", "files", "capture", "control",
            "release", "output",
        ],
    ),
    (
        "supervisor",
        &[
            "base", "pool", "machines", "config", "protocol", "handoff", "yaml", "sys", "files", "threads", "logging",
            "capture", "control", "trace", "release", "output", "handover",
        ],
    ),
    ("fuzzing", &["base", "pool", "config", "protocol", "handoff", "yaml", "client", "handover"]),
];

/// Files outside `src/sys` that need `unsafe`, each with the reason.
const UNSAFE_ELSEWHERE: &[(&str, &str)] = &[
    ("examples/http_worker/accept.rs", "adopts inherited descriptors and interrupts accept(2)"),
    ("examples/loader/server.rs", "forks, changes the environment, and adopts descriptors"),
    ("examples/servers/tiny_server.rs", "adopts an inherited descriptor"),
    ("src/main.rs", "names a function that runs before Rust's runtime"),
];

/// Words that hide the subject of a sentence: write the process, the client, the user, the worker.
const RIDDLE_WORDS: &[&str] = &["nobody", "somebody", "anybody", "everybody", "whoever"];

/// Files that may have a riddle word, each with the reason.
const RIDDLE_WORDS_ELSEWHERE: &[(&str, &str)] = &[
    ("tests/tidy.rs", "lists them"),
    ("src/sys/limits.rs", "becomes the user nobody"),
    ("src/sys/resource_limit.rs", "becomes the user nobody"),
];

/// What the pool must not name: it does no I/O, starts no thread and reads no environment.
const NOT_IN_THE_POOL: &[&str] =
    &["std::fs", "std::io", "std::net", "std::os", "std::env", "std::thread", "std::process", "nix::", "crossbeam"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn each_room_imports_only_what_its_table_allows() {
    hold(imports, &["src"], &["rs"]);
    assert_breaks(imports, "src/pool/x.rs", "use crate::sys::Fd;", &[1]);
    assert_breaks(imports, "src/threads/x.rs", "use crate::base::Pid;\nfn f() { crate::supervisor::run() }", &[2]);
    assert_breaks(imports, "src/config/x.rs", "use crate::config::Bind;\n// crate::sys\n", &[]);
    assert_breaks(imports, "src/yaml.rs", "use crate::base::Pid;", &[1]);
    assert_breaks(imports, "src/garage/mod.rs", "//! A room that is not in the table.", &[1]);
    assert_breaks(imports, "src/main.rs", "use crate::anything::At;", &[]);
}

#[test]
fn no_file_imports_in_a_circle() {
    let sources = files(&["src"], &["rs"]);
    let circles = rooms().into_iter().map(|room| (circle(&sources, &room), room));
    let found: Vec<_> = circles.filter(|(files, _)| !files.is_empty()).collect();
    assert!(found.is_empty(), "these files import each other: {found:?}");
}

#[test]
fn circles_are_found_in_every_way_of_writing() {
    let of = |texts: &[(&str, &str)]| {
        let sources: Vec<_> = texts.iter().map(|(path, text)| Source::new(path, text)).collect();
        circle(&sources, "sys").join(" ")
    };
    let a = ("src/sys/a.rs", "use crate::sys::{\n    b::{self as x, B},\n    d,\n};\nuse crate::base::Pid;");
    assert_eq!(of(&[a, ("src/sys/b.rs", "fn f() { crate::sys::a::f() }")]), "a b");
    let b = ("src/sys/b.rs", "use crate::sys::c::d::D;");
    assert_eq!(of(&[a, b, ("src/sys/c/d.rs", "use crate::sys::a;"), ("src/sys/c/mod.rs", "mod d;")]), "a b c::d");
    let tested = "// crate::sys::a\nuse crate::pool::a;\n#[cfg(test)]\nmod tests {\n    use crate::sys::a;\n}";
    assert_eq!(of(&[a, ("src/sys/b.rs", tested), ("src/sys/mod.rs", "pub mod a;")]), "");
    let exported = [("src/sys/e.rs", "use crate::sys::f;"), ("src/sys/mod.rs", "mod e;\npub use crate::sys::e::g;")];
    assert_eq!(of(&exported), "e mod");
    assert_eq!(of(&[exported[0], ("src/sys/mod.rs", "mod e;\nfn f() { e::f() }")]), "e mod");
}

#[test]
fn every_room_stands_in_the_table_and_in_the_architecture() {
    let Ok(architecture) = fs::read_to_string(root().join("doc/ARCHITECTURE.md")) else { return };
    let missing: Vec<_> = rooms().into_iter().filter(|room| !names_room(&architecture, room)).collect();
    assert!(missing.is_empty(), "doc/ARCHITECTURE.md does not speak of these rooms: {missing:?}");
}

#[test]
fn the_architecture_sends_people_to_files_that_are_there() {
    let architecture = fs::read_to_string(root().join("doc/ARCHITECTURE.md")).unwrap();
    let ways: Vec<&str> = architecture.split('`').skip(1).step_by(2).filter(|word| is_file_name(word)).collect();
    let is_there = |way: &str| root().join(way).exists() || root().join("src").join(way).exists();
    let missing: Vec<_> = ways.iter().filter(|way| !is_there(way)).collect();
    assert!(missing.is_empty() && ways.len() > 30, "{missing:?} of {} files", ways.len());
}

#[test]
fn the_architecture_is_searched_for_rooms_not_for_words() {
    assert!(names_room("pool/ decides", "pool") && names_room("`pool` decides", "pool"));
    assert!(!names_room("a pool of workers", "pool"));
}

#[test]
fn imports_are_written_one_parent_a_line() {
    hold(grouped_imports, &["src"], &["rs"]);
    assert_breaks(grouped_imports, "src/pool/x.rs", "use crate::{pool, sys};\nuse crate::pool::{A, B};", &[1]);
}

#[test]
fn super_is_for_tests_alone() {
    hold(super_paths, &["src"], &["rs"]);
    let tested = "use super::x;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\nfn f() { super::g() }";
    assert_breaks(super_paths, "src/pool/x.rs", tested, &[1, 6]);
    assert_breaks(super_paths, "src/pool/tests.rs", "use super::x;", &[]);
}

#[test]
fn every_file_says_first_what_it_is_for() {
    hold(opening, &["src", "tests", "examples", "benches", "packaging"], &["rs"]);
    assert_breaks(opening, "src/x.rs", "use std::fmt;\n//! Late.", &[1]);
    assert_breaks(opening, "src/x.rs", "//! At once.\nuse std::fmt;", &[]);
}

#[test]
fn no_file_is_too_long() {
    hold(file_length, &["src", "tests", "examples", "benches", "packaging"], &["rs", "py"]);
    assert_breaks(file_length, "src/x.rs", &"\n".repeat(FILE_LINES_MAX), &[]);
    assert_breaks(file_length, "src/x.rs", &"\n".repeat(FILE_LINES_MAX + 1), &[FILE_LINES_MAX + 1]);
}

#[test]
fn no_function_is_too_long() {
    hold(function_length, &["src", "tests", "examples", "benches", "packaging"], &["rs"]);
    let function =
        |lines: usize| format!("pub const fn f(\n    a: u8,\n) {{\n{}}}\nfn g() {{}}", "    a;\n".repeat(lines - 4));
    assert_breaks(function_length, "src/x.rs", &function(FUNCTION_LINES_MAX), &[]);
    assert_breaks(function_length, "tests/x.rs", &function(FUNCTION_LINES_MAX + 1), &[1]);
    let excused = format!("#[expect(clippy::too_many_lines, reason = \"x\")]\n{}", function(FUNCTION_LINES_MAX + 1));
    assert_breaks(function_length, "src/x.rs", &excused, &[]);
    let declared = format!("trait T {{\n    fn f();\n{}}}", "    // x\n".repeat(100));
    assert_breaks(function_length, "src/x.rs", &declared, &[]);
}

#[test]
fn unsafe_stands_in_sys_or_has_a_reason() {
    hold(unsafe_code, &["src", "tests", "examples", "benches", "packaging"], &["rs"]);
    assert_breaks(unsafe_code, "src/pool/x.rs", "// unsafe\n#![allow(unsafe_code)]\nunsafe { f() }", &[3]);
    assert_breaks(unsafe_code, "src/sys/x.rs", "unsafe { f() }", &[]);
    for (path, reason) in UNSAFE_ELSEWHERE {
        assert!(root().join(path).exists() && !reason.is_empty(), "{path} is gone, or has no reason");
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    hold(unwrapped, &["src"], &["rs"]);
    let tested =
        "a.unwrap();\n// .unwrap()\nb.expect(\"b\")\n    .unwrap_or(c);\n#[cfg(test)]\nmod tests {\n    a.unwrap();\n}";
    assert_breaks(unwrapped, "src/x.rs", tested, &[1, 3]);
}

#[test]
fn the_pool_matches_every_variant_by_its_name() {
    hold(catch_alls, &["src"], &["rs"]);
    assert_breaks(catch_alls, "src/pool/x.rs", "match a {\n    A => 1,\n    _ => 2,\n    _ if b => 3,\n}", &[3, 4]);
    assert_breaks(catch_alls, "src/sys/x.rs", "    _ => 2,", &[]);
}

#[test]
fn the_pool_touches_nothing_outside_itself() {
    hold(impure_pool, &["src"], &["rs"]);
    assert_breaks(impure_pool, "src/pool/x.rs", "use std::time::Duration;\nuse std::fs;", &[2]);
    assert_breaks(impure_pool, "src/sys/x.rs", "use std::fs;", &[]);
}

#[test]
fn the_master_starts_no_child_by_the_standard_library() {
    hold(library_children, &["src"], &["rs"]);
    let tested = "use std::process::Command;\n#[cfg(test)]\nmod tests {\n    use std::process::Command;\n}";
    assert_breaks(library_children, "src/threads/x.rs", tested, &[1]);
    assert_breaks(library_children, "src/sys/x.rs", "std::process::id()", &[]);
}

#[test]
fn no_directory_is_read_by_the_standard_library() {
    hold(library_directories, &["src"], &["rs"]);
    assert_breaks(
        library_directories,
        "src/client/x.rs",
        "let names = fs::read_dir(path);\nfor it in path.read_dir()",
        &[1, 2],
    );
}

#[test]
fn only_the_clock_reads_the_time() {
    hold(clock_readings, &["src"], &["rs"]);
    assert_breaks(clock_readings, "src/pool/x.rs", "let now = Instant::now();\nlet wall = SystemTime::now();", &[1, 2]);
    assert_breaks(clock_readings, "src/sys/clock.rs", "let now = Instant::now();", &[]);
}

#[test]
fn no_line_has_tabs_or_trailing_blanks() {
    hold(blanks, &["src", "tests", "examples", "benches", "packaging", "doc", "."], &["rs", "md", "toml", "py"]);
    assert_breaks(blanks, "src/x.rs", "a\nb \n\tc\n", &[2, 3]);
}

#[test]
fn no_riddle_words() {
    let directories = ["src", "tests", "compat-tests", "packaging", "examples", "benches", "doc", "config", "."];
    let extensions = ["rs", "rb", "py", "sh", "md", "toml", "service", "conf", "1", "5", "7"];
    hold(riddles, &directories, &extensions);
    assert_breaks(riddles, "src/base/x.rs", "// Nobody waits.\nfn a_pipe_that_nobody_reads() {}\n// antibody", &[1, 2]);
    assert_breaks(riddles, "doc/x.md", "for whoever asks, and everybody's", &[1]);
    for (path, reason) in RIDDLE_WORDS_ELSEWHERE {
        assert!(has_riddle(&read(&root().join(path)).text) && !reason.is_empty(), "{path} has none, or no reason");
    }
}

#[test]
fn text_in_tests_is_told_from_product_text() {
    let source = Source::new(
        "src/x.rs",
        "a\n#[cfg(test)]\nmod tests {\n    mod inner {\n    }\n}\nb\n#[cfg(test)]\nmod tests;\nc",
    );
    assert_eq!(source.product().map(|(number, _)| number).collect::<Vec<_>>(), [1, 7, 10]);
}

/// One file: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

/// The numbers of the lines that break the rule, counted from 1.
type Rule = fn(&Source) -> Vec<usize>;

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_in(&self, directory: &str) -> bool {
        self.path.starts_with(directory)
    }

    /// The room of a file in `src`, if it is in one; a room may be a single file.
    fn room(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!["lib", "main", "bin"].contains(&name)).then_some(name)
    }

    /// Numbered lines of code: without comments, and without lines that are nothing else.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(number, line)| {
            let code = line.split_once(" // ").map_or(line, |(code, _)| code);
            (number, code)
        })
    }

    /// Numbered lines of code that are not test code.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.test_lines();
        self.code().filter(move |(number, _)| !tests.contains(number))
    }

    /// The lines under a `#[cfg(test)]`, itself included; all of a file that is named for tests.
    fn test_lines(&self) -> BTreeSet<usize> {
        let lines: Vec<_> = self.text.lines().collect();
        if self.path.ends_with("tests.rs") || self.path.ends_with("/testing.rs") || self.path.contains("/tests/") {
            return (1..=lines.len()).collect();
        }
        let mut found = BTreeSet::new();
        for (start, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]") {
            let end = end_of_item(&lines, start);
            found.extend(start + 1..=end + 1);
        }
        found
    }
}

/// The index of the last line of the item that starts at this index, attributes first.
fn end_of_item(lines: &[&str], start: usize) -> usize {
    let closing = format!("{}}}", indentation(lines[start]));
    let opens = |line: &str| line.ends_with(['{', ';', '}']);
    let Some(first) = (start..lines.len()).find(|&index| opens(lines[index])) else { return start };
    if !lines[first].ends_with('{') {
        return first;
    }
    (first..lines.len()).find(|&index| lines[index] == closing).unwrap_or(first)
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn imports(source: &Source) -> Vec<usize> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else { return vec![1] };
    let may = |other: &str| other == room || allowed.contains(&other) || !ROOMS.iter().any(|(name, _)| *name == other);
    let strays = |line: &str| line.split("crate::").skip(1).any(|rest| !may(first_word(rest)));
    lines_where(source.code(), strays)
}

/// The files of a room that import each other, all circles together: what is left when no file is that imports none of the
/// others, or that none of the others imports. A file is called as its module is; `mod` stands for the room's own file, and for all
/// that is imported from there.
fn circle(sources: &[Source], room: &str) -> Vec<String> {
    let inside: Vec<_> = sources.iter().filter(|source| source.room() == Some(room)).collect();
    let names: BTreeSet<_> = inside.iter().map(|source| module(source, room)).collect();
    let mut imports: BTreeMap<_, _> = BTreeMap::new();
    for source in inside {
        let name = module(source, room);
        let mut imported: BTreeSet<_> = imported_paths(source, room).iter().map(|path| owner(path, &names)).collect();
        imported.remove(&name);
        imports.insert(name, imported);
    }
    loop {
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        let imported: BTreeSet<_> = imports.values().flatten().cloned().collect();
        imports.retain(|name, imports| imported.contains(name) && !imports.is_disjoint(&left));
        if imports.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

/// `a::b` for `src/room/a/b.rs`.
fn module(source: &Source, room: &str) -> String {
    let path = source.path.trim_start_matches("src/").trim_start_matches(room).trim_start_matches('/');
    let path = path.trim_end_matches(".rs").replace('/', "::");
    if path.is_empty() { "mod".to_owned() } else { path.trim_end_matches("::mod").to_owned() }
}

/// Which file has what this path names.
fn owner(path: &str, names: &BTreeSet<String>) -> String {
    let of = |name: &&String| path == name.as_str() || path.starts_with(&format!("{name}::"));
    names.iter().filter(of).max_by_key(|name| name.len()).cloned().unwrap_or("mod".to_owned())
}

/// All that product code names of its own room, without `crate::room::`; a list in braces is taken apart. The room's own file may
/// leave `crate::room::` out.
fn imported_paths(source: &Source, room: &str) -> Vec<String> {
    let code: String = source.product().map(|(_, line)| format!("{} ", line.trim().replace(" as ", "::"))).collect();
    let mut found: Vec<_> = code.split(&format!("crate::{room}::")).skip(1).flat_map(leaves).collect();
    if module(source, room) == "mod" {
        let paths = code.split(|c: char| !is_word_character(c) && c != ':').filter(|path| path.contains("::"));
        found.extend(paths.filter(|path| !path.starts_with("crate")).map(str::to_owned));
    }
    found
}

/// The paths of a tree such as `a::{self, b::C}`, which ends where its braces are closed.
fn leaves(tree: &str) -> Vec<String> {
    let (mut found, mut parents, mut path) = (Vec::new(), Vec::new(), String::new());
    for c in tree.chars() {
        match c {
            '{' => parents.push(std::mem::take(&mut path)),
            ',' | '}' if !parents.is_empty() && path.is_empty() => {}
            ',' | '}' if !parents.is_empty() => found.push(parents.concat() + &std::mem::take(&mut path)),
            c if is_word_character(c) || c == ':' => path.push(c),
            ' ' if !parents.is_empty() => {}
            _ => break,
        }
        if c == '}' {
            parents.pop();
        }
        if c == '}' && parents.is_empty() {
            return found;
        }
    }
    found.push(path);
    found
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !is_word_character(c)).next().unwrap_or_default()
}

fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn grouped_imports(source: &Source) -> Vec<usize> {
    lines_where(source.code(), |line| line.contains("use crate::{"))
}

fn super_paths(source: &Source) -> Vec<usize> {
    lines_where(source.product(), |line| line.contains("super::"))
}

/// A file of one line, such as an empty `main`, has nothing to say yet.
fn opening(source: &Source) -> Vec<usize> {
    let silent = source.text.lines().count() > 1 && !source.text.starts_with("//! ");
    if silent { vec![1] } else { Vec::new() }
}

fn file_length(source: &Source) -> Vec<usize> {
    (FILE_LINES_MAX + 1..=source.text.lines().count()).take(1).collect()
}

fn function_length(source: &Source) -> Vec<usize> {
    let lines: Vec<_> = source.text.lines().collect();
    let starts = (0..lines.len()).filter(|&index| begins_function(lines[index]));
    // A match of an enum as a whole may be longer, if it says so.
    let is_excused =
        |start: usize| start > 0 && lines[start - 1].starts_with("#[expect(clippy::too_many_lines, reason");
    let too_long = |start: &usize| end_of_item(&lines, *start) - start >= FUNCTION_LINES_MAX && !is_excused(*start);
    starts.filter(too_long).map(|start| start + 1).collect()
}

fn begins_function(line: &str) -> bool {
    let Some((before, _)) = line.split_once("fn ") else { return false };
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
    before.split_whitespace().all(|word| qualifiers.contains(&word) || word.starts_with("pub("))
}

fn unsafe_code(source: &Source) -> Vec<usize> {
    if source.is_in("src/sys/") || UNSAFE_ELSEWHERE.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    // The word by itself: `unsafe_code` in an attribute is another one. This file speaks of it in strings.
    let said = |line: &str| line.split(|c: char| !is_word_character(c)).any(|word| word == "unsafe");
    lines_where(source.code().filter(|_| source.path != "tests/tidy.rs"), said)
}

fn unwrapped(source: &Source) -> Vec<usize> {
    lines_where(source.product(), |line| line.contains(".unwrap()") || line.contains(".expect("))
}

fn catch_alls(source: &Source) -> Vec<usize> {
    let catches = |line: &str| line.trim_start().starts_with("_ =>") || line.trim_start().starts_with("_ if ");
    lines_where(source.product().filter(|_| source.is_in("src/pool/")), catches)
}

fn impure_pool(source: &Source) -> Vec<usize> {
    let touches = |line: &str| NOT_IN_THE_POOL.iter().any(|path| line.contains(path));
    let decides = source.is_in("src/pool/") || source.is_in("src/machines/");
    lines_where(source.product().filter(|_| decides), touches)
}

/// Its waits would race with those of the reaper thread.
fn library_children(source: &Source) -> Vec<usize> {
    lines_where(source.product(), |line| line.contains("process::Command") || line.contains("process::{Command"))
}

/// It panics when close(2) fails.
fn library_directories(source: &Source) -> Vec<usize> {
    lines_where(source.product(), |line| line.contains("read_dir("))
}

fn clock_readings(source: &Source) -> Vec<usize> {
    let reads = |line: &str| line.contains("Instant::now") || line.contains("SystemTime::now");
    lines_where(source.code().filter(|_| source.path != "src/sys/clock.rs"), reads)
}

fn blanks(source: &Source) -> Vec<usize> {
    let lines = source.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines_where(lines, |line| line.contains('\t') || line.ends_with([' ', '\r']))
}

fn riddles(source: &Source) -> Vec<usize> {
    if RIDDLE_WORDS_ELSEWHERE.iter().any(|(path, _)| source.path == *path) {
        return Vec::new();
    }
    lines_where(source.text.lines().enumerate().map(|(index, line)| (index + 1, line)), has_riddle)
}

/// Names are read as words, too.
fn has_riddle(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|word| RIDDLE_WORDS.contains(&word.to_lowercase().as_str()))
}

fn lines_where<'a>(lines: impl Iterator<Item = (usize, &'a str)>, breaks: impl Fn(&str) -> bool) -> Vec<usize> {
    lines.filter(|(_, line)| breaks(line)).map(|(number, _)| number).collect()
}

/// With its directory: `config/options.rs`.
fn is_file_name(word: &str) -> bool {
    word.contains('/') && [".rs", ".md"].iter().any(|end| word.ends_with(end))
}

fn names_room(architecture: &str, room: &str) -> bool {
    architecture.contains(&format!("{room}/")) || architecture.contains(&format!("`{room}`"))
}

/// The rooms that exist.
fn rooms() -> BTreeSet<String> {
    files(&["src"], &["rs"]).iter().filter_map(|source| source.room().map(str::to_owned)).collect()
}

/// Panics with file and line of everything that breaks the rule.
#[track_caller]
fn hold(rule: Rule, directories: &[&str], extensions: &[&str]) {
    let sources = files(directories, extensions);
    assert!(!sources.is_empty(), "found no file in {directories:?}");
    let broken = |source: &Source| rule(source).into_iter().map(|line| describe(source, line)).collect::<Vec<_>>();
    let all: Vec<_> = sources.iter().flat_map(broken).collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

fn describe(source: &Source, line: usize) -> String {
    format!("{}:{line}: {}", source.path, source.text.lines().nth(line - 1).unwrap_or_default().trim())
}

#[track_caller]
fn assert_breaks(rule: Rule, path: &str, text: &str, lines: &[usize]) {
    assert_eq!(rule(&Source::new(path, text)), lines, "in {path}:\n{text}");
}

/// All files with one of these extensions; in `.` only those that lie there, not below.
fn files(directories: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in directories {
        walk(&root().join(directory), *directory != ".", &mut paths);
    }
    let wanted = |path: &PathBuf| path.extension().is_some_and(|end| extensions.iter().any(|wanted| end == *wanted));
    paths.into_iter().filter(wanted).map(|path| read(&path)).collect()
}

fn walk(directory: &Path, deep: bool, paths: &mut Vec<PathBuf>) {
    // A directory that is not there yet has no file that breaks a rule.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if !path.is_dir() {
            paths.push(path);
        } else if deep {
            walk(&path, deep, paths);
        }
    }
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    Source::new(&path.strip_prefix(root()).unwrap().to_string_lossy().replace("/./", "/"), &text)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
