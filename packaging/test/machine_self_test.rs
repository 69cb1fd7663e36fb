//! Whether a machine is one, and leaves nothing behind.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::machine::{Machine, told};

#[test]
fn a_machine_boots_and_is_gone_when_it_is_dropped() {
    let machine = Machine::boot();
    assert_eq!(machine.sh("cat /proc/1/comm"), "systemd");
    assert_eq!(machine.property("machine.target", "ActiveState"), "active");
    let outside = machine.path("/");
    drop(machine);
    assert!(!outside.exists());
    let name = format!("machine-{}-", std::process::id());
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let left = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|entry| entry.to_string_lossy().starts_with(&name)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn changes_in_a_machine_are_not_seen_outside() {
    let machine = Machine::boot();
    machine.sh("touch /etc/from-a-test /usr/bin/from-a-test && rm /etc/hostname");
    machine.write("/etc/systemd/system/from-a-test.service", "[Service]\nExecStart=sleep 600\n");
    machine.sh("systemctl daemon-reload && systemctl start from-a-test");
    assert_eq!(machine.property("from-a-test", "ActiveState"), "active");
    assert!(machine.has("/etc/from-a-test") && !machine.has("/etc/hostname"));
    assert!(!Path::new("/etc/from-a-test").exists() && !Path::new("/usr/bin/from-a-test").exists());
}

#[test]
fn changes_in_a_machine_are_listed() {
    let machine = Machine::boot();
    let before = machine.changes("/usr");
    machine
        .sh("mkdir /usr/new && touch /usr/new/file && rm -r /usr/new && touch /usr/bin/touched && rm /usr/bin/touched");
    assert_eq!(machine.changes("/usr"), before);
    machine.sh("chmod 0700 /usr/bin/env && rm /usr/bin/who && ln -s x /usr/bin/a-link");
    let changes = machine.changes("/usr");
    let changed: Vec<_> = changes.keys().filter(|path| !before.contains_key(*path)).collect();
    assert_eq!(changed, ["/usr/bin/a-link", "/usr/bin/env", "/usr/bin/who"].map(Path::new));
    assert_eq!(changes[Path::new("/usr/bin/who")], "gone");
}

#[test]
fn a_machine_has_a_network_of_its_own() {
    let machine = Machine::boot();
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = outside.local_addr().unwrap();
    assert!(machine.in_network(|| TcpStream::connect(address)).is_err());
    let inside = machine.in_network(|| TcpListener::bind("127.0.0.1:80")).unwrap();
    machine.in_network(|| TcpStream::connect("127.0.0.1:80")).unwrap();
    drop(inside);
}

#[test]
fn failures_in_a_machine_say_why() {
    let machine = Machine::boot();
    let told = told(&machine.try_sh("echo here; ls /nowhere"));
    assert!(told.contains("exit code 2") && told.contains("here") && told.contains("/nowhere"), "{told}");
    assert_eq!(machine.run(&["false"]).status.code(), Some(1));
}
