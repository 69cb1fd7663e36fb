//! `doc/deploys.md`, taken at its word: every command in it is run, in its order, on a machine that has just booted. A command has to end
//! well, unless the page says with which exit code it ends.

use std::fs;

use crate::packages::sources;
use crate::page::{Step, sections};
use crate::site::Site;

/// What a command says that it ends with: `… upgrade  # exit code 1`.
fn expected_code(command: &str) -> i32 {
    command.split_once("# exit code ").map_or(0, |(_, code)| code.trim().parse().unwrap())
}

#[test]
fn every_command_of_the_page_on_deploys_does_what_it_says() {
    let site = Site::new();
    let text = fs::read_to_string(sources().join("doc/deploys.md")).unwrap();
    let (mut failures, mut upgrades) = (0, 0);
    for step in sections(&text).into_iter().flat_map(|(_, steps)| steps) {
        match step {
            Step::Write(path, content) => site.0.write(&path, &content),
            Step::Run(command) => {
                let output = site.0.try_sh(&command);
                let code = expected_code(&command);
                let said = crate::machine::told(&output);
                assert_eq!(output.status.code(), Some(code), "$ {command}\n{said}\n{}", site.all_journals());
                failures += usize::from(code != 0);
                upgrades += usize::from(code == 0 && said.contains("Upgrade done"));
            }
        }
    }
    assert!(failures >= 1 && upgrades >= 2, "{failures} failures, {upgrades} upgrades");
}

#[test]
fn a_command_says_its_exit_code() {
    assert_eq!([expected_code("a b"), expected_code("a b  # exit code 1")], [0, 1]);
}
