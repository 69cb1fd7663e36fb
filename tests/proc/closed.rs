//! Files behind a directory that the master may not search: the directory is named, since the file's own mode is right.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::{OTHER_UID, Setup, is_root};

/// `closed` is root's alone, and has a program, a directory and a file in it; `link` leads into it.
fn setup(file: &str) -> Setup {
    let setup = Setup::new("--config web.toml --check-config").open_to_all();
    let closed = setup.directory().join("closed");
    fs::create_dir_all(closed.join("inner")).unwrap();
    for (name, mode) in [("server", 0o755), ("web.env", 0o644)] {
        fs::write(closed.join(name), "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(closed.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("closed/inner/../server", setup.directory().join("link")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    setup.write("web.toml", &file.replace("DIR", &setup.directory().display().to_string()));
    let user = format!("--reuid={OTHER_UID}");
    setup.through(&["setpriv", &user, "--clear-groups"])
}

fn closed(directory: &Path) -> (PathBuf, String) {
    let closed = directory.join("closed");
    let sentence = format!("directory {} may not be searched", closed.display());
    (closed, sentence)
}

/// Number 24 of what operators trip over.
#[test]
fn a_closed_directory_is_named_by_a_check() {
    if !is_root() {
        return;
    }
    for (file, lines) in [
        ("command = 'DIR/closed/server'", vec!["web.toml:1:11: command: cannot run DIR/closed/server: CLOSED"]),
        ("command = 'DIR/link'", vec!["web.toml:1:11: command: cannot run DIR/link: CLOSED"]),
        (
            "command = '/bin/sleep'\nworker.directory = 'DIR/closed/inner'",
            vec!["web.toml:2:20: worker.directory: cannot enter DIR/closed/inner: CLOSED"],
        ),
        (
            "command = '/bin/sleep'\nworker.directory = 'DIR/closed'",
            vec!["web.toml:2:20: worker.directory: cannot enter DIR/closed: CLOSED"],
        ),
        (
            "command = '/bin/sleep'\nenv.env-file = 'DIR/closed/web.env'",
            vec!["web.toml:2:16: env.env-file: cannot read DIR/closed/web.env: CLOSED"],
        ),
        (
            "command = '/bin/sleep'\nbind = ['unix:DIR/closed/inner/web.sock']\nlog.file = 'DIR/closed/inner/web.log'",
            vec!["web.toml:2:9: bind: CLOSED", "cannot write the log DIR/closed/inner/web.log: CLOSED"],
        ),
    ] {
        let setup = setup(file);
        let directory = setup.directory().to_owned();
        let (_, sentence) = closed(&directory);
        let expected = |line: &str| {
            let line = line.replace("CLOSED", &sentence).replace("DIR", &directory.display().to_string());
            format!("einhyrningsins: {line}")
        };
        let refusal = setup.refused();
        assert_eq!(refusal.code, Some(100), "{refusal:?}");
        assert_eq!(refusal.lines, lines.into_iter().map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn a_start_names_the_closed_directory_too() {
    if !is_root() {
        return;
    }
    let setup = setup("");
    let (closed, sentence) = closed(setup.directory());
    let server = closed.join("server");
    let refusal = Setup::new("").program([&server]).open_to_all();
    let refusal = refusal.through(&["setpriv", &format!("--reuid={OTHER_UID}"), "--clear-groups"]).refused();
    refusal.assert(126, &format!("cannot run {}: {sentence}", server.display()));
}
