//! Files that the master may not have, and what its workers' user may not reach: number 24 of what operators trip over. The directory
//! that is in the way is named, by a check as by a start.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::support::{OTHER_UID, Refusal, Setup, is_root};

/// A directory of another user's, as whom the master runs, with two of root's in it: `closed`, and `roots`, which all may search.
fn of_another_user(options: &str) -> Setup {
    let setup = Setup::new(options).program(["sleep", "1000"]).open_to_all();
    for (name, mode) in [("closed", 0o700), ("roots", 0o755)] {
        make(&setup.directory().join(name), mode);
    }
    chown(setup.directory(), Some(OTHER_UID), None).unwrap();
    setup.through(&["setpriv", &format!("--reuid={OTHER_UID}"), "--clear-groups"])
}

fn make(directory: &Path, mode: u32) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
}

/// Why no file can be made in each of the two.
fn causes(setup: &Setup) -> [(PathBuf, String); 2] {
    let [closed, roots] = ["closed", "roots"].map(|name| setup.directory().join(name));
    let searched = format!("directory {} may not be searched", closed.display());
    let made = format!("no file can be made in {}: permission denied", roots.display());
    [(closed, searched), (roots, made)]
}

/// The packaged unit tries a start again after 111, and not after 100.
#[test]
fn a_start_that_may_not_have_its_files_ends_as_one_with_a_wrong_option() {
    if !is_root() {
        return;
    }
    for at in 0..2 {
        for (option, attempt) in [
            ("-f FILE", "lock FILE"),
            ("-e FILE", "write pid file FILE"),
            ("-f x.lock -d FILE", "bind FILE"),
            ("-b unix:FILE", "bind FILE"),
            ("--trace FILE", "write the trace FILE"),
            ("--config web.toml", "write the log FILE"),
        ] {
            let setup = of_another_user("");
            let (place, cause) = &causes(&setup)[at];
            let in_place = |text: &str| text.replace("FILE", &place.join("x").display().to_string());
            setup.write("web.toml", &in_place("log.file = 'FILE'\n"));
            let hint = if option.contains("trace") { "; need a trace or a path without a file" } else { "" };
            let reason = in_place(&format!("cannot {attempt}: {cause}{hint}"));
            setup.options(&in_place(option)).refused().assert(100, &reason);
        }
    }
}

fn checked(setup: Setup) -> Refusal {
    setup.options("--config web.toml --check-config").refused()
}

#[test]
fn a_check_finds_each_file_that_a_start_may_not_have() {
    if !is_root() {
        return;
    }
    for at in 0..2 {
        let setup = of_another_user("");
        let (place, cause) = &causes(&setup)[at];
        let in_place = |text: &str| text.replace("PLACE", &place.display().to_string()).replace("CAUSE", cause);
        let file = "socket-path = 'PLACE/s'\npidfile = 'PLACE/p'\nlockfile = 'PLACE/l'\ntrace = 'PLACE/t'\n\
                    log.file = 'PLACE/g'\nbind = ['unix:PLACE/b']\n";
        setup.write("web.toml", &in_place(file));
        let refusal = checked(setup);
        let lines = [
            "web.toml:6:9: bind: PLACE/b: CAUSE",
            "cannot write the log PLACE/g: CAUSE",
            "cannot write the trace PLACE/t: CAUSE; need a trace or a path without a file",
            "web.toml:1:15: socket-path: cannot bind PLACE/s: CAUSE",
            "web.toml:2:11: pidfile: cannot write pid file PLACE/p: CAUSE",
            "web.toml:3:12: lockfile: cannot lock PLACE/l: CAUSE",
        ];
        assert_eq!(refusal.lines, lines.map(|line| format!("einhyrningsins: {}", in_place(line))));
        assert_eq!((refusal.code, refusal.changes), (Some(100), vec![]));
    }
}

#[test]
fn a_check_finds_what_stands_in_the_place_of_a_file() {
    let setup = Setup::new("-d none/s -e . -f s -b unix:./s").program(["sleep", "1000"]);
    setup.write("s", "precious");
    let refusal = setup.options("--check-config").refused();
    let lines = [
        "-b: ./s: there is a regular file, remove it or choose another path",
        "-d: cannot bind none/s: directory none: no such file or directory",
        "-e: cannot write pid file .: it is a directory",
    ];
    assert_eq!(refusal.lines, lines.map(|line| format!("einhyrningsins: {line}")));
    // The lock of another master is a file like this one; what is missing below /run may be made by systemd.
    let setup = Setup::new("-d /run/no-such-service/s -f s").program(["sleep", "1000"]);
    setup.write("s", "1");
    let refusal = setup.options("--check-config").refused();
    let remark = "WARN: -d: cannot bind /run/no-such-service/s: directory /run/no-such-service: no such file or directory, \
                  unless RuntimeDirectory= of its unit makes it";
    assert_eq!((refusal.code, refusal.reason()), (Some(0), remark));
}

/// Its files are in use then.
#[test]
fn a_check_beside_a_master_that_runs_finds_nothing_wrong() {
    let master = Setup::new("-b unix:web.sock --trace trace").program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    let check = master.beside("-b unix:web.sock --trace trace --check-config").program(["sleep", "1000"]).refused();
    assert_eq!((check.code, check.lines), (Some(0), vec![]));
}

#[test]
fn a_check_names_the_directory_that_the_workers_user_cannot_pass() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("").open_to_all();
    let (closed, open) = (setup.directory().join("closed"), setup.directory().join("open"));
    make(&closed, 0o700);
    make(&open, 0o755);
    make(&closed.join("inner"), 0o755);
    for directory in [&closed, &open] {
        fs::write(directory.join("server"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(directory.join("server"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let check = |program: &Path, directory: &Path| {
        let file = format!(
            "command = '{}'\nworker.directory = '{}'\nworker.user = '{OTHER_UID}'\nworker.group = '{OTHER_UID}'\n",
            program.display(),
            directory.display()
        );
        setup.write("web.toml", &file);
        checked(setup.beside(""))
    };
    let said = |tried: &str| {
        let sentence = format!("directory {} may not be searched", closed.display());
        format!("einhyrningsins: web.toml:3:15: worker.user: user \"{OTHER_UID}\": cannot {tried}: {sentence}")
    };
    let (server, inner) = (closed.join("server"), closed.join("inner"));
    let refusal = check(&server, &inner);
    let lines = [format!("enter {}", inner.display()), format!("run {}", server.display())];
    assert_eq!(refusal.lines, lines.map(|tried| said(&tried)));
    assert_eq!(refusal.code, Some(100));
    assert_eq!(check(&server, &open).lines, [said(&format!("run {}", server.display()))]);
    assert_eq!(check(&open.join("server"), &open).code, Some(0));
    // Its acks go to the control socket.
    let socket = closed.join("inner/s");
    let acking = |options: &str| checked(setup.beside(&format!("-d {} -m manual {options}", socket.display())));
    let refusal = acking("");
    let hint = "; --command-socket-as-fd passes each worker a connection";
    assert_eq!(refusal.lines, [format!("{}{hint}", said(&format!("ack at {}", socket.display())))]);
    assert_eq!((refusal.code, acking("-g").code), (Some(100), Some(0)));
}
