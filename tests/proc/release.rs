//! A version is what was found when its upgrade started: a link that a deploy has switched since is not followed by a worker
//! that is launched again, only by the next upgrade. E31: einhorn stays in the old directory, whose release is then deleted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, Process, Setup};

/// A worker that says where it stands and what it is, and stays.
fn script(release: &str) -> String {
    format!("#!/bin/sh\necho \"{release} $(pwd -P) $0\"\nexec sleep 1000\n")
}

fn make_release(directory: &Path, name: &str) {
    let bin = directory.join(name).join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("server"), script(name)).unwrap();
    fs::set_permissions(bin.join("server"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// As Capistrano does it: the new link is put in place of the old in one step.
fn switch(directory: &Path, name: &str) {
    let link = directory.join("current.new");
    symlink(name, &link).unwrap();
    fs::rename(link, directory.join("current")).unwrap();
}

fn setup(options: &str) -> Setup {
    let setup = Setup::new(options);
    make_release(setup.directory(), "one");
    make_release(setup.directory(), "two");
    switch(setup.directory(), "one");
    setup
}

/// What the workers have said, in the order of their launch.
fn wait_for_words(master: &Master, count: usize) -> Vec<Vec<String>> {
    let words = || -> Vec<Vec<String>> {
        master.stdout().lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    };
    master.wait_until(&format!("{count} workers have spoken"), LIMIT, || words().len() >= count);
    words()
}

fn real(master: &Master, name: &str) -> String {
    master.directory().canonicalize().unwrap().join(name).display().to_string()
}

/// Kills the worker and waits until the next has spoken.
fn replace(master: &Master, count: usize) -> Vec<String> {
    let worker: Process = master.wait_for_workers(1)[0];
    worker.signal(Signal::SIGKILL);
    wait_for_words(master, count).pop().unwrap()
}

#[test]
fn a_link_in_the_path_of_the_program_is_followed_by_upgrades_alone() {
    let setup = setup("-m 0 -s 0.01");
    let program = setup.directory().join("current/bin/server");
    let master = setup.program([program]).start();
    assert_eq!(wait_for_words(&master, 1)[0][0], "one");
    switch(master.directory(), "two");
    let again = replace(&master, 2);
    assert_eq!((again[0].as_str(), &again[2]), ("one", &real(&master, "one/bin/server")));
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 3)[2][0], "two");
    master.wait_for_log("===> Exited worker", 1);
    switch(master.directory(), "one");
    assert_eq!(replace(&master, 4)[0], "two");
}

#[test]
fn the_directory_of_the_master_is_looked_up_anew_by_its_name() {
    let enter = "cd current && export PWD && exec \"$@\"";
    let setup = setup("-m 0 -s 0.01").program(["./bin/server"]).through(&["/bin/sh", "-c", enter, "sh"]);
    let master = setup.start();
    let first = wait_for_words(&master, 1).remove(0);
    assert_eq!(first, ["one".to_owned(), real(&master, "one"), "./bin/server".to_owned()]);
    switch(master.directory(), "two");
    assert_eq!(replace(&master, 2)[0], "one");
    master.signal(Signal::SIGHUP);
    let new = wait_for_words(&master, 3).remove(2);
    assert_eq!(new, ["two".to_owned(), real(&master, "two"), "./bin/server".to_owned()]);
    master.wait_for_log("===> Exited worker", 1);
    // The old release may go now.
    fs::remove_dir_all(master.file("one")).unwrap();
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 4)[3][0], "two");
    master.wait_for_log("Upgraded successfully to version 2", 1);
}

/// A shell between the images finds PWD to be wrong by then, and puts the real name there.
#[test]
fn the_directory_of_the_master_is_looked_up_anew_behind_a_wrapper_too() {
    let enter = "cd current && export PWD && exec \"$@\"";
    let setup = setup("-m 0 -s 0.01").reexec_as("exec \"$OURS\" \"$@\"").program(["./bin/server"]);
    let master = setup.through(&["/bin/sh", "-c", enter, "sh"]).start();
    assert_eq!(wait_for_words(&master, 1)[0][0], "one");
    for (count, name) in [(2, "two"), (3, "one")] {
        switch(master.directory(), name);
        master.signal(Signal::SIGHUP);
        assert_eq!(wait_for_words(&master, count)[count - 1][..2], [name.to_owned(), real(&master, name)]);
        master.wait_for_log("===> Exited worker", count - 1);
    }
}

/// One that enters another directory means it.
#[test]
fn the_directory_that_a_wrapper_enters_counts() {
    let wrapper = "cd current && exec \"$OURS\" \"$@\"";
    let master = setup("-m 0 -s 0.01").reexec_as(wrapper).program(["current/bin/server"]).start();
    assert_eq!(wait_for_words(&master, 1)[0][0], "one");
    master.replace("two/current", "");
    fs::remove_file(master.file("two/current")).unwrap();
    symlink(".", master.file("two/current")).unwrap();
    switch(master.directory(), "two");
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 2)[1][..2], ["two".to_owned(), real(&master, "two")]);
}

#[test]
fn a_configured_directory_is_looked_up_anew_too() {
    let setup = setup("--config web.toml -m 0 -s 0.01").program(["./bin/server"]);
    setup.write("web.toml", "worker.directory = 'current'\nworker.output = 'inherit'\n");
    let master = setup.start();
    assert_eq!(wait_for_words(&master, 1)[0][..2], ["one".to_owned(), real(&master, "one")]);
    switch(master.directory(), "two");
    assert_eq!(replace(&master, 2)[0], "one");
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 3)[2][..2], ["two".to_owned(), real(&master, "two")]);
}
