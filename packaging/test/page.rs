//! A page of the documentation as what a reader does: the commands of its blocks of `console`, and the files that it says to write.
//! What is to be written to a file says so in its first line.

/// A piece of a section.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Without the prompt.
    Run(String),
    /// Path and content.
    Write(String, String),
}

/// A heading, and what there is to do below it.
pub type Section = (String, Vec<Step>);

/// The sections of a text, without those in which there is nothing to do.
pub fn sections(text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = vec![(String::new(), Vec::new())];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            found.push((heading.to_owned(), Vec::new()));
        }
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let steps = &mut found.last_mut().unwrap().1;
        match (kind, block.first().and_then(|line| line.strip_prefix("# /"))) {
            ("console", _) => steps.extend(block.iter().filter_map(|line| line.strip_prefix("$ ")).map(run)),
            (_, Some(path)) => steps.push(Step::Write(format!("/{path}"), block.join("\n") + "\n")),
            (_, None) => {}
        }
    }
    found.retain(|(_, steps)| !steps.is_empty());
    found
}

fn run(command: &str) -> Step {
    Step::Run(command.to_owned())
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let text = "# x\n```console\n$ make\nsaid\n```\n## Two\nwords\n```toml\n# /etc/x.toml\na = 1\n```\n## None\n```toml\nb = 2\n```\n";
    let expected = vec![
        (String::new(), vec![run("make")]),
        ("Two".to_owned(), vec![Step::Write("/etc/x.toml".to_owned(), "# /etc/x.toml\na = 1\n".to_owned())]),
    ];
    assert_eq!(sections(text), expected);
}
