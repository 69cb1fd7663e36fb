//! The configuration file as a newcomer and an operator meet it: what runs from it, what is said when it is wrong, and what
//! can be asked of it without a start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::{Uid, chown, geteuid};

use crate::support::{EINHYRNINGSINS, OTHER_UID, Setup, ask, copy_program, example, free_address, is_root};

/// The program with these words, in that directory.
fn einhyrningsins(directory: &Path, words: &str) -> Output {
    let mut command = Command::new(EINHYRNINGSINS);
    command.args(words.split_whitespace()).current_dir(directory).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("TMPDIR", directory).output().unwrap()
}

/// What it said to standard output, and to standard error, and its exit code.
fn said(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn directory(file: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web.toml"), file).unwrap();
    directory
}

#[test]
fn a_service_is_one_file() {
    let address = free_address();
    let text = format!(
        "command = ['{}', '--ack', 'manual']\nnumber = 2\nbind = ['{address},r']\nack-mode = 'manual'\n\
         [env]\nset = {{ COLOUR = 'blue' }}\nunset = ['SECRET']\nenv-file = 'more.env'\n",
        example("http_worker").display()
    );
    let setup = Setup::new("--config web.toml").env("SECRET", "x").release("one");
    setup.write("web.toml", &text);
    setup.write("more.env", "export SHAPE='round'\nCOLOUR=red\n");
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    assert_eq!(ask(&address.into(), "/x").unwrap().release, "one");
    for worker in master.wait_for_workers(2) {
        let environ = worker.environ();
        let value = |name: &str| environ.get(name).map(String::as_str);
        assert_eq!([value("COLOUR"), value("SHAPE"), value("SECRET")], [Some("blue"), Some("round"), None]);
    }
}

#[test]
fn a_worker_starts_in_its_directory_with_its_umask_and_its_limits() {
    let setup = Setup::new("--config web.toml -- ./run.sh");
    let inner = setup.directory().join("inner");
    fs::create_dir(&inner).unwrap();
    let script = inner.join("run.sh");
    fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let text =
        "[worker]\ndirectory = 'inner'\numask = '027'\nrlimits = { nofile = '100:200', core = 0, as = '1GiB' }\n";
    setup.write("web.toml", text);
    let master = setup.start();
    let worker = master.wait_for_workers(1)[0];
    assert_eq!(worker.directory().unwrap(), inner.canonicalize().unwrap());
    assert_eq!(worker.umask().unwrap(), "0027");
    let limits = worker.limits();
    let limit = |name: &str| (limits[name].0.as_str(), limits[name].1.as_str());
    assert_eq!(limit("Max open files"), ("100", "200"));
    assert_eq!(limit("Max core file size"), ("0", "0"));
    assert_eq!(limit("Max address space"), ("1073741824", "1073741824"));
}

#[test]
fn impossible_limits_are_refused_before_a_worker_starts() {
    let max = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().to_owned();
    let directory =
        directory(&format!("command = ['sleep', '1']\n[worker.rlimits]\ncore = 0\nnofile = '{max}:unlimited'\n"));
    let check = || einhyrningsins(directory.path(), "--config web.toml --check-config");
    let refusal = format!(
        "einhyrningsins: web.toml:4:10: worker.rlimits: nofile: need at most {max}, \
         fs.nr_open of this system\n"
    );
    assert_eq!(said(&check()), (Some(100), "", refusal.as_str()));
    fs::write(directory.path().join("web.toml"), "command = ['sleep', '1']\n[worker.rlimits]\nnofile = '1:2'\n")
        .unwrap();
    assert_eq!(said(&check()), (Some(0), "The configuration can be used\n", ""));
}

#[test]
fn a_nice_level_that_takes_a_right_is_refused_before_a_worker_is() {
    let directory = directory("command = ['sleep', '1']\nnice = '19:-20'\n");
    // A copy, since the build directory may be closed to others.
    let copy = directory.path().join("einhyrningsins");
    copy_program(EINHYRNINGSINS, &copy);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(copy);
    command.args(["--config", "web.toml", "--check-config"]).current_dir(directory.path());
    if geteuid().is_root() {
        command.uid(OTHER_UID).gid(OTHER_UID);
    }
    let output = command.output().unwrap();
    let (code, _, error) = said(&output);
    assert_eq!(code, Some(100), "{error}");
    let lowest = error.strip_prefix("einhyrningsins: web.toml:2:8: nice: need a level of workers from ").unwrap();
    let lowest = lowest.strip_suffix(" on; a lower one takes CAP_SYS_NICE\n").unwrap();
    assert!((-19..=19).contains(&lowest.parse::<i32>().unwrap()), "{error}");
}

#[test]
fn a_start_with_a_wrong_file_says_all_that_is_wrong_and_changes_nothing() {
    let setup = Setup::new("--config web.toml").program(["/bin/sleep", "1"]);
    setup.write("web.toml", "nubmer = 2\nmax-unacked = 0\n");
    let refusal = setup.refused();
    assert_eq!(refusal.code, Some(100));
    let lines = [
        "einhyrningsins: web.toml:1:1: unknown key \"nubmer\", did you mean \"number\"?",
        "einhyrningsins: web.toml:2:15: max-unacked 0: need a whole number from 1 to 100000",
    ];
    assert_eq!(refusal.lines, lines);
    refusal.assert_nothing_left();
}

#[test]
fn a_check_finds_all_that_a_start_would_find_and_more() {
    let text = "command = ['/no/such/server']\nsocket-group = 'nobodys-group'\n[worker]\nuser = 'nobodys-user'\n\
                directory = '/no/such/place'\n[control]\nallow-users = ['root', 'nobodys-friend']\n";
    let directory = directory(text);
    let output = einhyrningsins(directory.path(), "--config web.toml --check-config");
    let expected = [
        "web.toml:4:8: worker.user: there is no user \"nobodys-user\"",
        "web.toml:5:13: worker.directory: cannot enter /no/such/place: no such file or directory",
        "web.toml:1:12: command: cannot run /no/such/server: no such file",
        "web.toml:2:16: socket-group: there is no group \"nobodys-group\"",
        "web.toml:7:24: control.allow-users: there is no user \"nobodys-friend\"",
    ];
    let expected: String = expected.map(|line| format!("einhyrningsins: {line}\n")).concat();
    assert_eq!(said(&output), (Some(100), "", expected.as_str()));
    fs::write(directory.path().join("web.toml"), "command = ['sleep', '1']\n").unwrap();
    let output = einhyrningsins(directory.path(), "--config web.toml --check-config");
    assert_eq!(said(&output), (Some(0), "The configuration can be used\n", ""));
    let text = "command = 'sleep'\nsocket-path = 'x'\nlockfile = 'x'\n\
                bind = ['127.0.0.1:8', 'unix:no/such', '127.0.0.1:0', '127.1:8', '127.0.0.1:0']\n";
    fs::write(directory.path().join("web.toml"), text).unwrap();
    let output = einhyrningsins(directory.path(), "--config web.toml --check-config");
    let expected = [
        "web.toml:4:24: bind: directory no: no such file or directory",
        "web.toml:4:55: bind: 127.1:8 stands there twice",
        "cannot use x as control socket and lock file",
    ];
    let expected: String = expected.map(|line| format!("einhyrningsins: {line}\n")).concat();
    assert_eq!(said(&output), (Some(100), "", expected.as_str()));
    let output = einhyrningsins(directory.path(), "--check-config");
    let line = "einhyrningsins: there is no program, neither as the command of a file nor behind the options\n";
    assert_eq!(said(&output), (Some(100), "", line));
}

#[test]
fn print_config_names_origins_and_reads_back_the_same() {
    let directory =
        directory("command = ['sleep', '1']\nnumber = 3\n[profiles.big]\nnumber = 30\nenv.set.A = \"a 'b'\"\n");
    let output = einhyrningsins(directory.path(), "--config web.toml --profile big -t 7 --print-config");
    let (code, text, complaint) = said(&output);
    assert_eq!((code, complaint), (Some(0), ""));
    for (setting, origin) in [
        ("number = 30", "web.toml:4"),
        ("signal-timeout = 7", "--signal-timeout"),
        ("A = \"a 'b'\"", "web.toml:5"),
        ("backlog = 1024", "default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting}: {text}"));
        assert_eq!(line.rsplit("# ").next(), Some(origin), "{line}");
    }
    fs::write(directory.path().join("again.toml"), text).unwrap();
    let again = einhyrningsins(directory.path(), "--config again.toml --print-config");
    let settings = |text: &str| {
        text.lines().map(|line| line.split("  # ").next().unwrap().trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(settings(said(&again).1), settings(text));
}

const WAYS_OUT: &str = "let root alone change it, mount it read-only, or start with --trust-config";

/// As Kubernetes mounts a ConfigMap: links in a directory to which all may write, on a read-only mount.
#[test]
fn a_file_on_a_read_only_mount_is_trusted_whosever_it_is() {
    if !is_root() {
        return;
    }
    let directory = directory("");
    let (map, there) = (directory.path().join("map"), directory.path().join("map/..data"));
    fs::create_dir_all(directory.path().join("map/..2026")).unwrap();
    fs::write(directory.path().join("map/..2026/web.toml"), "command = ['sleep', '1']\n").unwrap();
    std::os::unix::fs::symlink("..2026", &there).unwrap();
    std::os::unix::fs::symlink("..data/web.toml", map.join("web.toml")).unwrap();
    fs::set_permissions(&map, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&map.join("..2026/web.toml"), Some(Uid::from_raw(OTHER_UID)), None).unwrap();
    let run = |mounts: &str| {
        let script =
            format!("{mounts} exec {} --config map/web.toml --print-config", env!("CARGO_BIN_EXE_einhyrningsins"));
        let mut command = Command::new("unshare");
        command.args(["-m", "/bin/sh", "-ec", &script]).current_dir(directory.path()).output().unwrap()
    };
    let refused = run("");
    assert!(said(&refused).2.starts_with("einhyrningsins: cannot trust map/web.toml: "), "{refused:?}");
    let trusted = run("mount --bind map map; mount -o remount,bind,ro map;");
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
}

#[test]
fn a_file_that_others_could_write_is_refused_to_root() {
    if !is_root() {
        return;
    }
    let directory = directory("command = ['sleep', '1']\n");
    let file = directory.path().join("web.toml");
    let refused = |cause: &str| {
        let output = einhyrningsins(directory.path(), "--config web.toml --print-config");
        assert_eq!(
            said(&output),
            (Some(100), "", format!("einhyrningsins: cannot trust web.toml: {cause}; {WAYS_OUT}\n").as_str())
        );
    };
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o666);
    refused("it is writable by others, its mode is 0666");
    mode(0o600);
    chown(&file, Some(Uid::from_raw(OTHER_UID)), None).unwrap();
    refused(&format!("it belongs to uid {OTHER_UID}"));
    let trusted = einhyrningsins(directory.path(), "--config web.toml --trust-config --print-config");
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
    chown(&file, Some(Uid::from_raw(0)), None).unwrap();
    assert_eq!(einhyrningsins(directory.path(), "--config web.toml --print-config").status.code(), Some(0));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = directory("env.env-file = 'none.env'\n");
    let line = |words: &str| said(&einhyrningsins(directory.path(), words)).2.to_owned();
    assert_eq!(line("--config none.toml x"), "einhyrningsins: cannot read none.toml: no such file or directory\n");
    assert_eq!(line("--config . x"), "einhyrningsins: cannot read .: it is a directory\n");
    let expected = "einhyrningsins: web.toml:1:16: env.env-file: cannot read none.env: no such file or directory\n";
    assert_eq!(line("--config web.toml sleep 1"), expected);
}

#[test]
fn the_schema_is_json() {
    let output = einhyrningsins(Path::new("/"), "--config-schema");
    let (code, text, complaint) = said(&output);
    assert_eq!((code, complaint), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(schema["properties"]["number"]["default"], 1);
}

/// Number 20 of what operators trip over.
#[test]
fn auto_is_a_worker_for_each_processor() {
    let setup = Setup::new("--config web.toml").program(["sleep", "1000"]);
    setup.write("web.toml", "number = 'auto'\n");
    let master = setup.through(&["taskset", "-c", "0"]).start();
    master.wait_for_workers(1);
    master.wait_for_log("Launching 1 new workers", 1);
}
