//! A state that the next program cannot read, that cannot be written, or that clients try to make too long.

use std::fs;

use crate::reexec_refused::{assert_unimpaired, condition, serving, start, verdict};
use crate::support::{Injection, LIMIT, Load, Setup, example};

/// Changes the state on its way: at the check that of the check, at the exec the real one.
const TAMPER: &str = r#"
import zlib
def tamper(fd, change):
    os.lseek(fd, 0, 0)
    text = b""
    while chunk := os.read(fd, 1 << 20):
        text += chunk
    new = os.memfd_create("tampered")
    os.write(new, change(text))
    os.lseek(new, 0, 0)
    os.dup2(new, fd)
def sealed(text):
    body = text.split(b"\n", 2)[2]
    return b"---\n# crc32 %08x\n%s" % (zlib.crc32(body), body)
def go_on():
    os.execv(ours, [ours] + sys.argv[1:])
"#;

/// Failure mode 42, E33: the image that checks reads the state, so that the old one need not let go to find out.
#[test]
fn a_state_that_the_next_program_cannot_read_is_found_at_the_check() {
    let script = format!(
        "{TAMPER}\nif sys.argv[1] == '--upgrade-check': tamper(3, lambda text: sealed(text.replace(b'\"needs\": 2', b'\"needs\": 9')))\n\
         open('ran', 'a').write(sys.argv[1])\ngo_on()"
    );
    let (master, worker) = start(serving().reexec_as_python(&script));
    assert_eq!(verdict(&master), "Upgrade failed: cannot read the handoff: it needs a version that reads format 9");
    assert_eq!(fs::read_to_string(master.file("ran")).unwrap(), "--upgrade-check");
    assert_unimpaired(&master, worker);
}

/// Failure mode 42, E33: with Ruby's, workers are left alone for ever.
#[test]
fn an_image_that_cannot_read_the_state_goes_back_to_the_one_before() {
    let script = format!(
        "{TAMPER}\nif sys.argv[1] == '--with-state-fd' and os.path.exists('bad'):\n\
         \x20   how = open('bad').read().split()\n\
         \x20   fd = int(sys.argv[2])\n\
         \x20   if how[0] == 'flip': tamper(fd, lambda text: text[:int(how[1])] + bytes([text[int(how[1])] ^ 1]) + text[int(how[1]) + 1:])\n\
         \x20   if how[0] == 'cut': tamper(fd, lambda text: text[:int(how[1])])\n\
         \x20   if how[0] == 'newer': tamper(fd, lambda text: sealed(text.replace(b'\"needs\": 2', b'\"needs\": 3')))\n\
         \x20   if how[0] == 'sense': tamper(fd, lambda text: sealed(text.replace(b'\"target\": 1', b'\"target\": 0')))\n\
         \x20   if how[0] == 'lost': os.close(fd)\n\
         go_on()"
    );
    let (master, worker) = start(serving().reexec_as_python(&script));
    let load = Load::start(master.addr(), 2);
    load.wait_for(5);
    let blocked =
        |process| condition(process).into_iter().map(|(name, [blocked, ..])| (name, blocked)).collect::<Vec<_>>();
    let before = blocked(master.process());
    let cases = [
        ("flip 2000", "its checksum is wrong or missing"),
        ("flip 6", "its checksum is wrong or missing"),
        ("cut 3000", "its checksum is wrong or missing"),
        ("cut 0", "cannot read the handoff"),
        ("newer", "it needs a version that reads format 3"),
        ("sense", "the numbers of workers must be at least 1"),
        ("lost", "bad file number"),
    ];
    for (round, (how, cause)) in cases.into_iter().enumerate() {
        master.replace("bad", how);
        let generation = master.generation();
        let said = verdict(&master);
        assert!(said.starts_with("Upgrade failed: ") && said.contains(cause), "{how}: {said}");
        assert_unimpaired(&master, worker);
        assert!(master.generation() > generation, "it is another image");
        // A reload that no client waits for goes back, too.
        master.wait_for_log("Could not reload! Attempting to continue.", 2 * round + 1);
        master.control("{command: reload}");
        master.wait_for_log("Could not reload! Attempting to continue.", 2 * round + 2);
        assert_unimpaired(&master, worker);
    }
    master.wait_until("it is as it was", LIMIT, || blocked(master.process()) == before);
    fs::remove_file(master.file("bad")).unwrap();
    master.release("new");
    assert_eq!(verdict(&master), "Upgrade done");
    load.wait_for_release("new", 5);
    load.stop().assert_nothing_lost();
}

/// Failure mode 46: at the check, and at the handoff itself.
#[test]
fn a_re_exec_without_memory_for_the_state_is_refused() {
    let (master, worker) = start(serving());
    for when in [1, 2, 3, 4] {
        let injection = Injection::attach(&master, &format!("memfd_create:error=ENOMEM:when={when}"));
        assert!(verdict(&master).ends_with("cannot make a file in memory: out of memory"), "{}", master.log());
        drop(injection);
        assert_unimpaired(&master, worker);
    }
    let injection = Injection::attach(&master, "clone:error=EAGAIN:when=1");
    let said = verdict(&master);
    assert!(said.starts_with("Upgrade failed: cannot try "), "{said}");
    drop(injection);
    assert_unimpaired(&master, worker);
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Failure mode 46: what is written has a limit, too.
#[test]
fn a_re_exec_without_room_for_the_state_is_refused() {
    let program = example("http_worker");
    let setup = Setup::new("-n 1 -m manual -s 0.01").bind(",r").release("old");
    let setup = setup.program([program.as_os_str(), "--ack".as_ref(), "manual".as_ref()]);
    let (master, worker) = start(setup.through(&["/bin/sh", "-c", "ulimit -f 1; exec \"$@\"", "sh"]));
    let mut lazy = master.connect();
    // The state is longer with everything that a client has not read.
    (0..200).for_each(|id| lazy.send(&format!("{{command: help, id: {id}}}")));
    master.wait_until("it is refused", LIMIT, || verdict(&master).contains("cannot write a file in memory"));
    assert_unimpaired(&master, worker);
}

/// It comes from another program; whatever it writes cannot harm.
#[test]
fn the_answer_of_a_check_may_be_anything() {
    for (answer, said) in [
        (r"b'einhyrningsins \xff\0\nbecause \xff\n'", "because \u{fffd}"),
        ("b'x' * 100000", "/usr/bin/python3 --upgrade-check: cannot read the descriptor: more than 65536 bytes"),
    ] {
        let script = format!(
            "fd = int(os.environ['EINHYRNINGSINS_CHECK'].split(',')[1])\n\
             os.write(fd, {answer})\nsys.exit(0)"
        );
        let (master, worker) = start(serving().reexec_as_python(&script));
        assert_eq!(verdict(&master), format!("Upgrade failed: {said}"));
        assert_unimpaired(&master, worker);
    }
}

/// What clients have half said is in the state, and what they have not read.
#[test]
fn no_client_makes_a_state_too_long_for_a_re_exec() {
    let (master, worker) = start(serving());
    let mut quiet = master.connect();
    quiet.send("{command: ehlo, user: me}");
    quiet.receive();
    let half = vec![1; 60 * 1024];
    let mut clients: Vec<_> = (0..200).map(|_| master.connect()).collect();
    clients.iter_mut().for_each(|client| client.send_bytes(&half));
    // Each asks for more than the kernel keeps for it.
    let lines = "{command: help}\n".repeat(100);
    let mut lazy: Vec<_> = (0..5).map(|_| master.connect()).collect();
    lazy.iter_mut().for_each(|client| client.send_bytes(lines.as_bytes()));
    let workers = master.workers();
    master.reload();
    assert_eq!((master.workers(), workers), (vec![worker], vec![worker]));
    let said = master.wait_for_log("clients are dropped at the re-exec", 1).remove(0);
    let number = |after: &str| -> usize {
        let words = said.split(after).nth(1).unwrap_or_else(|| panic!("{said}"));
        words.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (dropped, bytes) = (number("WARN: "), number("leave "));
    // Not all of them may have been heard when it began. None has more than two lines and what the master keeps for it.
    assert!((1..200).contains(&dropped) && bytes > 1 << 20 && bytes < (1 << 20) + dropped * 260_000, "{said}");
    // A client with little to carry over is still there.
    quiet.send("{command: ehlo, user: you}");
    assert!(quiet.receive().unwrap().contains("Welcome, you!"));
    assert_eq!(verdict(&master), "Upgrade done");
}
