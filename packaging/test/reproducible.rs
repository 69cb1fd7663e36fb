//! The same sources make the same packages, byte for byte, in any directory and for any user that builds them.

use std::fs;
use std::process::Command;

use crate::packages::{deb, einhorn_deb, einhorn_rpm, output, rpm, sources};

#[test]
fn packages_from_another_directory_are_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let elsewhere = place.path().join("with/a/longer/path/einhyrningsins-0");
    fs::create_dir_all(&elsewhere).unwrap();
    let copy = "tar --exclude=./target --exclude=./.git -cf - . | tar -C \"$1\" -xf -";
    output(sh(copy).arg(&elsewhere).current_dir(sources()));
    let date = output(sh(". packaging/environment; echo $SOURCE_DATE_EPOCH").current_dir(sources()));

    let mut build = sh("umask 077; exec make deb rpm");
    build.current_dir(&elsewhere).env("SOURCE_DATE_EPOCH", date.trim());
    // Another user's settings.
    output(build.env("TZ", "Asia/Tokyo").env("LC_ALL", "C").env("USER", "builder").env_remove("MAKEFLAGS"));
    for ours in [deb(), einhorn_deb(), rpm(), einhorn_rpm()] {
        let theirs = fs::read(elsewhere.join("target/packages").join(ours.file_name().unwrap())).unwrap();
        assert!(fs::read(&ours).unwrap() == theirs, "{} differs", ours.display());
    }
}

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-euc", script, "sh"]);
    sh
}
