//! Hostile lines on the control socket: each is answered or ends its connection, and none costs the master its life, a
//! worker or its memory. Ruby's master dies of three bytes.

use std::time::UNIX_EPOCH;

use crate::support::{ControlClient, Master, Process, Setup, Vitals, decoded};

const WORKERS: usize = 3;

/// How many random lines there are.
const RANDOM_LINES: usize = 100_000;

/// How many of them are on their way at a time.
const BATCH: usize = 50;

fn sleepers() -> Master {
    let master = Setup::new("-n 3 -m 0 -s 0.05").program(["sleep", "1000"]).start();
    master.wait_for_workers(WORKERS);
    master
}

/// The next answer, decoded.
#[track_caller]
fn receive(client: &mut ControlClient) -> String {
    decoded(&client.receive().expect("the master closed the connection"))
}

/// Lines that ended Ruby's master, and their kin. None is to be obeyed.
const HOSTILE: &[&str] = &[
    "*a",
    "{\"command\": 2020-01-01}",
    "{\"command\": 2020-13-45}",
    "!!float x",
    "{\"command\": !!float x}",
    "!ruby/object:Object {}",
    "--- !ruby/hash:ActionController::Routing::RouteSet::NamedRouteCollection {a: b}",
    "!ruby/regexp /(a+)+/",
    "!!binary '%'",
    "&a [*a]",
    "{<<: *a}",
    "? ? ? ?",
    "- - - - -",
    "[[[[[[",
    "}}}}",
    "{",
    "\"",
    "'",
    "%",
    "%0",
    "%0A%0A%0A",
    "%YAML 9.9%0A---%0Aa",
    "---",
    "--- ---",
    "...",
    "\u{feff}",
    "{\"command\": [\"state\"]}",
    "{\"command\": {\"state\": 1}}",
    "{\"command\": :state}",
    "{\"command\": \"worker:state\"}",
    "{\"command\": \"signal\", \"args\": [1]}",
    "{\"command\": \"signal\", \"args\": [\"SIGSIGTERM\"]}",
    "{\"command\": \"signal\", \"args\": \"TERM\"}",
    "{\"command\": \"set_workers\", \"args\": [\"-1\"]}",
    "{\"command\": \"set_workers\", \"args\": [\"99999999999999999999\"]}",
    "{\"command\": \"set_workers\", \"args\": [\"0\"]}",
    "{\"command\": \"die\", \"args\": [\"KILL\\u0000\"]}",
    "{\"command\": \"die\", \"args\": {}}",
    "{\"command\": \"config\", \"args\": [\"*a\"]}",
    "{\"command\": \"nonsense\", \"id\": 99999999999999999999999999999999999999}",
    "{\"command\": \"nonsense\", \"id\": .nan}",
    "{\"command\": \"nonsense\", \"id\": [1, {2: 3}]}",
];

/// E01, E19. Failure modes 70 to 72.
#[test]
fn hostile_lines_are_answered_and_do_no_harm() {
    let master = sleepers();
    let workers = master.workers();
    let mut client = master.connect();
    for line in HOSTILE {
        client.send(line);
        let answer = receive(&mut client);
        assert!(answer.starts_with("---\nmessage: "), "{line:?} was answered {answer:?}");
    }
    for bytes in [&b"\xff\xfe\n"[..], b"\0\n", b"{command: \0}\n", b"\r\n", b"\n", b"\x1b]0;x\x07\n"] {
        client.send_bytes(bytes);
        assert_eq!(receive(&mut client), "---\nmessage: Could not parse command\n", "{bytes:?}");
    }
    assert_unharmed(&master, &workers);
}

/// These end their connection, whatever is in them.
#[test]
fn hostile_acks_are_answered_by_nothing_and_do_no_harm() {
    let master = sleepers();
    let workers = master.workers();
    let long = "x".repeat(60_000);
    for pid in
        ["0", "-1", "1", "nil", "~", "[]", "'12x'", "''", "1.5", "99999999999", "\"\\n[MASTER 1] forged\"", &long]
    {
        for command in ["worker:ack", "worker:ping"] {
            let mut client = master.connect();
            client.send(&format!("{{command: '{command}', pid: {pid}, request_id: [{{}}]}}"));
            assert_eq!(client.receive(), None, "{command} of {pid}");
        }
    }
    assert_unharmed(&master, &workers);
    assert!(master.log().lines().iter().all(|line| !line.starts_with("[MASTER 1]") && line.len() < 2000));
}

/// The master is there, and so are its workers, the same; no worker was signalled or launched, nothing was set.
#[track_caller]
fn assert_unharmed(master: &Master, workers: &[Process]) {
    let status = master.control("{command: status, format: json}");
    assert!(status.contains("\"target\":3,"), "{status}");
    assert_eq!(master.workers(), workers);
    assert_eq!(master.wait_for_log("===> Launched", WORKERS).len(), WORKERS);
    assert_eq!(master.log().count("Sending") + master.log().count("thread failed"), 0, "the log:\n{}", master.log());
}

/// Pieces that random lines are made of. None is a command that changes anything, or ends its connection.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ": ",
    "- ",
    "? ",
    "\"",
    "'",
    "*a",
    "&a ",
    "!!float ",
    "!!set ",
    "!ruby/sym ",
    "!",
    "|",
    ">",
    "%",
    "%25",
    "%0A",
    "%0A  ",
    "#",
    " #",
    "@",
    "`",
    "~",
    "---",
    "...",
    "<<",
    "command",
    "\"command\": ",
    "state",
    "ehlo",
    "\"user\": ",
    "id",
    "\"id\": ",
    "args",
    "\"format\": \"json\"",
    "1",
    "0x",
    "-",
    "1e9",
    ".inf",
    "2020-01-01",
    "2020-01-01 00:00:00 +25:00",
    "é",
    "\u{2028}",
    "\u{85}",
    "\u{feff}",
    "\\",
    "\\u0000",
    "\\ud800",
    " ",
    "  ",
    "\t",
    "\r",
    "\0",
    "nil",
    "true",
    "=",
    "0o17",
    "0b",
    "1:60",
    "a",
];

/// xorshift64*: lines that can be had again from their seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % bound
    }

    /// Half of them begin as a request would.
    fn line(&mut self) -> Vec<u8> {
        let mut line = if self.below(2) == 0 { b"{\"command\": ".to_vec() } else { Vec::new() };
        for _ in 0..self.below(16) {
            match self.below(12) {
                0 => line.push(u8::try_from(self.below(256)).unwrap()),
                _ => line.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes()),
            }
        }
        line.retain(|&byte| byte != b'\n');
        line.push(b'\n');
        line
    }
}

/// E01. RANDOM_SEED=... repeats a run.
#[test]
fn a_hundred_thousand_random_lines_do_no_harm() {
    let now = || UNIX_EPOCH.elapsed().unwrap().as_secs() << 20 | u64::from(std::process::id()) | 1;
    let seed = std::env::var("RANDOM_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("RANDOM_SEED={seed}");
    let mut random = Random(seed);
    let master = sleepers();
    let vitals = Vitals::take(&master, WORKERS);
    let workers = master.workers();
    let mut client = master.connect();
    for _ in 0..RANDOM_LINES / BATCH {
        let lines: Vec<_> = (0..BATCH).map(|_| random.line()).collect();
        client.send_bytes(&lines.concat());
        for line in &lines {
            let answer = client.receive().unwrap_or_else(|| panic!("closed after {:?}", String::from_utf8_lossy(line)));
            assert!(answer.starts_with("---%0Amessage: ") || answer.starts_with("{\"message\":"), "{answer:?}");
        }
    }
    assert_eq!(master.workers(), workers);
    vitals.check();
}

/// E19. Failure modes 70 and 71: each as large as a request may be.
#[test]
fn bombs_are_refused_and_take_no_memory() {
    let master = sleepers();
    let vitals = Vitals::take(&master, WORKERS);
    let lol: String =
        (1..9).map(|n| format!("l{n}: &l{n} [{}]%0A", vec![format!("*l{}", n - 1); 9].join(","))).collect();
    let full = |unit: &str| unit.repeat(65_536 / unit.len());
    let bombs = [
        format!("l0: &l0 lol%0A{lol}"),
        "[".repeat(20_000),
        full("["),
        full("{"),
        full("{a: "),
        full("- "),
        full("? "),
        full("a,"),
        full("[a,"),
        format!("[{}]", full("a,").trim_end_matches("a,")),
        format!("{{command: [{}]}}", "1,".repeat(32_000)),
        format!("{{command: {{{}}}}}", "a: 1,".repeat(13_000)),
        full("&a "),
        full("!a "),
        full("%0A"),
        full("\""),
        full("'"),
        full("!"),
        full("#"),
        full("\u{e9}"),
    ];
    let mut client = master.connect();
    for bomb in bombs.iter().chain(&bombs) {
        client.send(bomb);
        assert_eq!(receive(&mut client), "---\nmessage: Could not parse command\n", "{bomb:.80}");
        vitals.check_memory();
    }
    // Three bytes for one, and back, three for each again in the reply.
    client.send(&format!("{{command: \"{}\"}}", "%0A".repeat(21_000)));
    assert!(receive(&mut client).contains("Unrecognized command"));
    vitals.check();
}

/// The longest line that is one: 64 KiB without its newline.
#[test]
fn a_line_of_64_kib_is_read_and_one_byte_more_is_too_much() {
    let master = sleepers();
    let request = "{command: ehlo, user: long}";
    let line = |length: usize| request.to_owned() + &" ".repeat(length - request.len());
    let mut client = master.connect();
    client.send(&line(65_536));
    assert!(receive(&mut client).contains("Welcome, long!"));
    client.send(&line(65_537));
    assert_eq!(receive(&mut client), "---\nmessage: Request too long\n");
    assert_eq!(client.receive(), None);
}
