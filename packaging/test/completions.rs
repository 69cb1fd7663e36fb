//! Completions as the shells take them. That every flag is in each of them, the tests of `packaging/assets` see.

use std::path::PathBuf;
use std::process::Command;

use crate::packages::{output, sources};

/// As `packaging/stage` has put them.
fn file(shell: &str, name: &str) -> PathBuf {
    sources().join("target/package/dist/completions").join(shell).join(name)
}

#[test]
fn every_shell_parses_its_own() {
    for program in ["einhyrningsins", "einhyrningsinsctl"] {
        output(Command::new("bash").arg("-n").arg(file("bash", program)));
        output(Command::new("zsh").arg("-n").arg(file("zsh", &format!("_{program}"))));
        output(Command::new("fish").arg("--no-execute").arg(file("fish", &format!("{program}.fish"))));
    }
}

#[test]
fn bash_completes_options_values_and_the_program() {
    assert_eq!(bash(&["einhyrningsins", "--num"]), ["--number"]);
    assert_eq!(bash(&["einhyrningsins", "-n", "3", "--socket-m"]), ["--socket-mode"]);
    assert_eq!(bash(&["einhyrningsins", "--config", "config/w"]), ["config/web.toml"]);
    assert_eq!(bash(&["einhyrningsins", "--config", "=", "config/w"]), ["config/web.toml"]);
    assert!(bash(&["einhyrningsins", "--config", "doc/compat"]).is_empty());
    assert_eq!(bash(&["einhyrningsins", "-m", "man"]), ["manual"]);
    assert_eq!(bash(&["einhyrningsins", "--socket-group", "roo"]), ["root"]);
    assert!(bash(&["einhyrningsins", "mkfif"]).contains(&"mkfifo".to_owned()));
    // bash cuts words at `:` and `=`; those are values all the same, and the program comes after them.
    assert!(bash(&["einhyrningsins", "-b", "127.0.0.1", ":", "80", "mkfif"]).contains(&"mkfifo".to_owned()));
    assert!(
        bash(&["einhyrningsins", "--number", "=", "3", "-vb", "a", ":", "1", "mkfif"]).contains(&"mkfifo".to_owned())
    );
}

#[test]
fn bash_leaves_what_follows_the_program_to_itself() {
    assert!(bash(&["einhyrningsins", "-n", "3", "server", "--socket-g"]).is_empty());
    assert!(bash(&["einhyrningsins", "-m", "./server", "--socket-g"]).is_empty());
    assert_eq!(bash(&["einhyrningsins", "--", "server", "LICEN"]), ["LICENSE"]);
}

#[test]
fn bash_completes_the_subcommands_of_ctl() {
    assert_eq!(bash(&["einhyrningsinsctl", "up"]), ["upgrade"]);
    assert_eq!(bash(&["einhyrningsinsctl", "-c", "web", "up"]), ["upgrade"]);
    assert_eq!(bash(&["einhyrningsinsctl", "upgrade", "--fl"]), ["--fleet"]);
    assert_eq!(bash(&["einhyrningsinsctl", "logs-level", "lou"]), ["louder"]);
}

#[test]
fn fish_completes_options_values_and_the_program() {
    assert_eq!(fish("einhyrningsins --num"), ["--number"]);
    assert_eq!(fish("einhyrningsins --config config/w"), ["config/web.toml"]);
    assert!(fish("einhyrningsins -n 3 mkfif").contains(&"mkfifo".to_owned()));
    assert!(!fish("einhyrningsins -n 3 cat --socket-g").contains(&"--socket-group".to_owned()));
    assert_eq!(fish("einhyrningsins cat LICEN"), ["LICENSE"]);
    assert_eq!(fish("einhyrningsinsctl upgr"), ["upgrade"]);
    assert_eq!(fish("einhyrningsinsctl upgrade --fl"), ["--fleet"]);
}

#[test]
fn zsh_completes_options_values_and_the_program() {
    assert_eq!(zsh("einhyrningsins --numb"), "einhyrningsins --number=");
    assert_eq!(zsh("einhyrningsins --config config/w"), "einhyrningsins --config config/web.toml");
    assert_eq!(zsh("einhyrningsins -n 3 mkfif"), "einhyrningsins -n 3 mkfifo");
    assert_eq!(zsh("einhyrningsins cat --socket-g"), "einhyrningsins cat --socket-g");
    assert_eq!(zsh("einhyrningsins cat LICEN"), "einhyrningsins cat LICENSE");
    assert_eq!(zsh("einhyrningsinsctl upgr"), "einhyrningsinsctl upgrade");
}

/// What bash offers for the last of these words, which are cut as bash does.
#[track_caller]
fn bash(words: &[&str]) -> Vec<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _$1 \"$1\" \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.current_dir(sources()).args(["--norc", "-c", script, "bash"]).arg(file("bash", words[0])).args(words);
    lines(&output(&mut bash))
}

/// What fish offers at the end of this line, without what it says beside it.
#[track_caller]
fn fish(line: &str) -> Vec<String> {
    let program = line.split(' ').next().unwrap();
    let script = "source $argv[1]; complete --do-complete=$argv[2]";
    let mut fish = Command::new("fish");
    fish.current_dir(sources())
        .args(["--no-config", "-c", script])
        .arg(file("fish", &format!("{program}.fish")))
        .arg(line);
    lines(&output(&mut fish))
}

/// What the line is in a zsh on a terminal, after Tab was typed behind it.
#[track_caller]
fn zsh(line: &str) -> String {
    let mut zsh = Command::new("zsh");
    zsh.current_dir(sources()).arg("-f").arg(sources().join("packaging/test/complete.zsh"));
    output(zsh.arg(file("zsh", "")).arg(line)).trim_end().to_owned()
}

fn lines(text: &str) -> Vec<String> {
    let words = text.lines().filter_map(|line| line.split('\t').next());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
