//! Variables of the master's environment in its file (number 20 of "what real operators trip over"): what becomes of them over the
//! life of a master. How they are read is shown by `config::tests::variables`.

use std::fs;
use std::process::Stdio;

use serde_json::Value as Json;

use crate::rollout::ctl;
use crate::support::{EINHYRNINGSINS, Master, Setup};

fn file(rest: &str) -> String {
    format!("command = 'sleep ${{NAP}}'\nack-mode = 0\nseconds = 0.01\n{rest}")
}

fn target(master: &Master) -> Json {
    let said = ctl(master, &["status", "--json"]);
    serde_json::from_str::<Json>(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))["target"].clone()
}

/// They outlive the replacement of the master by itself, too, which each upgrade begins with.
#[test]
fn a_file_has_the_variables_that_the_master_was_started_with() {
    let setup = Setup::new("--config web.toml").env("NAP", "1000").env("WORKERS", "2").env("TOKEN", "hush");
    setup.write("web.toml", &file("number = '${WORKERS:-5}'\nenv.set = { TOKEN_COPY = '${TOKEN}' }\n"));
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2", 1);
    let worker = master.workers()[0];
    assert_eq!(worker.environ().get("TOKEN_COPY").map(String::as_str), Some("hush"));
    master.replace("web.toml", &file("number = '${MORE:-1}'\nenv.set = { TOKEN_COPY = '${TOKEN}${NAP}' }\n"));
    let diff = ctl(&master, &["diff"]);
    assert!(diff.out.contains("number: 2 -> 1") && !diff.out.contains("hush"), "{diff:?}");
    assert_eq!(ctl(&master, &["upgrade"]).code, Some(0), "{}", master.log());
    assert_eq!(target(&master), 1);
    // Those of the client are none of the master's.
    master.replace("web.toml", &file("number = '${PATHS}'\n"));
    let refused = ctl(&master, &["upgrade"]);
    let why = "web.toml:4:10: number: the variable PATHS is not set where this runs: set it, write ${PATHS:-DEFAULT}";
    assert!(refused.code == Some(1) && refused.out.contains(why), "{refused:?}");
    assert_eq!(target(&master), 1);
}

#[test]
fn a_check_of_a_file_has_the_variables_of_its_caller() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web.toml"), file("number = '${WORKERS}'\n")).unwrap();
    let check = |workers: Option<&str>| {
        let mut command = std::process::Command::new(EINHYRNINGSINS);
        command.args(["--config", "web.toml", "--check-config"]).current_dir(directory.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("TMPDIR", directory.path()).env("NAP", "1").stdin(Stdio::null());
        let output = command.envs(workers.map(|workers| ("WORKERS", workers))).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(Some("3")), (Some(0), String::new()));
    let (code, errors) = check(None);
    assert!(code == Some(100) && errors.contains("web.toml:4:10: number: the variable WORKERS is not set"), "{errors}");
}
