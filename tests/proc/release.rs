//! A version is what was found when its upgrade started: a link that a deploy has switched since is not followed by a worker
//! that is launched again, only by the next upgrade. E31: einhorn stays in the old directory, whose release is then deleted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
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

// Number 8 of what operators trip over.
#[test]
fn a_relative_unix_bind_belongs_to_the_name_of_its_directory() {
    let enter = "cd current && export PWD && exec \"$@\"";
    let setup = setup("-m 0 -s 0.01 -b unix:app.sock").program(["./bin/server"]);
    let by_start = setup.through(&["/bin/sh", "-c", enter, "sh"]);
    let by_file = setup_of_file("worker.directory = 'current'\nworker.output = 'inherit'\nbind = ['unix:app.sock']\n");
    for setup in [by_start, by_file] {
        let master = setup.start();
        wait_for_words(&master, 1);
        assert!(UnixStream::connect(master.file("one/app.sock")).is_ok());
        switch(master.directory(), "two");
        master.signal(Signal::SIGHUP);
        wait_for_words(&master, 2);
        assert!(UnixStream::connect(master.file("current/app.sock")).is_ok());
        master.wait_until("the old file is gone", LIMIT, || !master.file("one/app.sock").exists());
        fs::remove_dir_all(master.file("one")).unwrap();
        master.signal(Signal::SIGHUP);
        assert_eq!(wait_for_words(&master, 3)[2][0], "two");
        master.wait_for_log("Upgraded successfully to version 2", 1);
        assert!(UnixStream::connect(master.file("two/app.sock")).is_ok());
        master.signal(Signal::SIGINT);
        assert_eq!(master.wait_exit().code(), Some(0));
        assert!(!master.file("two/app.sock").exists());
    }
    let refusal =
        setup_of_file("worker.directory = 'current'\nbind = ['unix:app.sock']\n").options("--check-config").refused();
    assert!(refusal.code == Some(0) && refusal.lines.len() == 1, "{refusal:?}");
    assert!(
        refusal.lines[0].ends_with("so that each release has a socket of its own: write an absolute path"),
        "{refusal:?}"
    );
}

fn setup_of_file(text: &str) -> Setup {
    let setup = setup("--config web.toml -m 0 -s 0.01").program(["./bin/server"]);
    setup.write("web.toml", text);
    setup
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

/// Words that a worker was started with, as the kernel shows them.
fn command_line(worker: Process) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{}/cmdline", worker.0)).unwrap();
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// A virtual environment: python finds it, and its packages, by the name that it was called by.
fn make_venv(directory: &Path, release: &str) {
    let venv = directory.join(release).join("venv");
    let mut version = std::process::Command::new("python3");
    version.args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
    let mut version = version.output().unwrap().stdout;
    version.pop();
    let packages = venv.join(format!("lib/python{}/site-packages", String::from_utf8(version).unwrap()));
    fs::create_dir_all(&packages).unwrap();
    fs::create_dir_all(venv.join("bin")).unwrap();
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists());
    symlink(python.expect("no python3"), venv.join("bin/python")).unwrap();
    fs::write(venv.join("pyvenv.cfg"), "home = /usr/bin\n").unwrap();
    let module =
        format!("import sys, time\nprint('{release}', sys.prefix, sys.argv[1:], flush=True)\ntime.sleep(1000)\n");
    fs::write(packages.join("server.py"), module).unwrap();
}

/// `current/venv/bin/python -m gunicorn` started the packages of the next release, before any upgrade.
#[test]
fn a_worker_that_is_launched_again_finds_the_packages_and_files_of_its_own_release() {
    let setup = setup("--config web.toml -m 0 -s 0.01");
    let directory = setup.directory().canonicalize().unwrap();
    ["one", "two"].into_iter().for_each(|release| make_venv(&directory, release));
    let at = |name: &str| directory.join(name).display().to_string();
    let command =
        ["current/venv/bin/python".to_owned(), "-m".to_owned(), "server".to_owned(), at("current/bin/server")];
    setup.write("web.toml", &format!("command = {command:?}\nearly-life = 0\nworker.output = 'inherit'\n"));
    let master = setup.start();
    let said = |release: &str| -> Vec<String> {
        vec![
            release.to_owned(),
            at(&format!("{release}/venv")),
            format!("['{}']", at(&format!("{release}/bin/server"))),
        ]
    };
    assert_eq!(wait_for_words(&master, 1)[0], said("one"));
    switch(master.directory(), "two");
    assert_eq!(replace(&master, 2), said("one"));
    let argv = |release: &str| -> Vec<String> {
        let words = [at(&format!("{release}/venv/bin/python")), "-m".into(), "server".into()];
        words.into_iter().chain([at(&format!("{release}/bin/server"))]).collect()
    };
    assert_eq!(command_line(master.wait_for_workers(1)[0]), argv("one"));
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 3)[2], said("two"));
    master.wait_for_log("===> Exited worker", 2);
    switch(master.directory(), "one");
    assert_eq!(replace(&master, 4), said("two"));
}

/// A relative name is one in the directory of the workers, whatever links are on the way there.
#[test]
fn a_relative_program_is_pinned_in_the_directory_of_the_workers() {
    let setup = setup("--config web.toml -m 0 -s 0.01");
    fs::create_dir(setup.directory().join("inner")).unwrap();
    symlink("../one", setup.directory().join("inner/now")).unwrap();
    setup.write("web.toml", "command = ['now/bin/server']\nworker = { directory = 'inner', output = 'inherit' }\n");
    let master = setup.start();
    assert_eq!(wait_for_words(&master, 1)[0][0], "one");
    fs::remove_file(master.file("inner/now")).unwrap();
    symlink("../two", master.file("inner/now")).unwrap();
    assert_eq!(replace(&master, 2)[0], "one");
    master.signal(Signal::SIGHUP);
    assert_eq!(wait_for_words(&master, 3)[2][0], "two");
}

/// Scripts look for what they have written in the list of processes.
#[test]
fn in_the_place_of_einhorn_words_stay_as_they_were_written() {
    let setup = setup("-m 0 -s 0.01").through(&["/bin/bash", "-c", "exec -a einhorn \"$@\"", "sh"]);
    symlink("/bin/sleep", setup.directory().join("one/bin/sleep")).unwrap();
    let program = setup.directory().join("current/bin/sleep");
    let master = setup.program([program.as_os_str(), "1000".as_ref()]).start();
    let worker = master.wait_for_workers(1)[0];
    let words = [program.display().to_string(), "1000".to_owned()];
    master.wait_until("it is its program", LIMIT, || command_line(worker) == words);
}

#[test]
fn what_cannot_be_pinned_is_a_warning_of_the_check() {
    let setup = setup("");
    let directory = setup.directory().canonicalize().unwrap();
    let at = |name: &str| directory.join(name).display().to_string();
    let check = |text: &str| {
        let path = setup.write("web.toml", text);
        let mut command = std::process::Command::new(crate::support::EINHYRNINGSINS);
        let output = command.arg("--config").arg(path).arg("--check-config").env_clear().output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(0), b"The configuration can be used\n".to_vec()));
        String::from_utf8(output.stderr).unwrap()
    };
    let (program, link) = (at("current/bin/server"), at("current"));
    assert_eq!(check(&format!("command = ['{program}', '--chdir', '{link}', '{program}']\n")), "");
    let text = format!(
        "command = ['{program}', '--chdir={link}']\n[env]\nset = {{ A = 'a', LIB = '/x:{link}/lib' }}\nunset = ['X']\n"
    );
    let warnings = check(&text);
    let lines: Vec<&str> = warnings.lines().collect();
    let [of_word, of_variable] = lines.as_slice() else { panic!("{warnings}") };
    assert!(of_word.starts_with("einhyrningsins: WARN: ") && of_word.contains(":1:"), "{of_word}");
    let expected = format!(
        "the argument --chdir={link} goes through the link {link} and is not pinned with the version: write the path as an argument of its own"
    );
    assert!(of_word.contains(&expected), "{of_word}");
    let expected = format!("the variable LIB /x:{link}/lib goes through the link {link} and is not pinned");
    assert!(of_variable.contains(&expected) && of_variable.contains(":3:"), "{of_variable}");
}
