//! What others may make long takes time in proportion: four times as many words, variables or profiles may take no more than
//! four times as long, and some slack. Measured in the thread's processor time, since other programs run beside.

use std::ffi::OsString;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::config::tests::{parse_with, words};
use crate::config::{Config, Invocation, differences, print};

/// The smaller number; its time is far above what a clock can tell apart.
const SOME: usize = 1_500;
const TIMES_MORE: usize = 4;

/// Between two words of a long line.
const BLANKS: usize = 1_000;

/// Twice the proportion; what is quadratic comes to 16.
const RATIO_MAX: f64 = 8.0;

/// Noise makes single runs slower, never faster; the shortest of some counts.
const ATTEMPTS: usize = 4;

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn time_of(body: impl FnOnce()) -> Duration {
    let began = processor_time();
    body();
    processor_time() - began
}

/// `make` prepares what `run` is given, for so many things; only `run` is measured.
#[track_caller]
pub(crate) fn assert_linear<T: Clone>(what: &str, make: impl Fn(usize) -> T, run: impl Fn(T)) {
    let inputs = [make(SOME), make(SOME * TIMES_MORE)];
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..ATTEMPTS {
        for (input, shortest) in inputs.iter().zip(&mut shortest) {
            let input = input.clone();
            *shortest = time_of(|| run(input)).min(*shortest);
        }
        if shortest[1].as_secs_f64() < RATIO_MAX * shortest[0].as_secs_f64() {
            return;
        }
    }
    let [some, more] = shortest;
    panic!("{what}: {SOME} take {some:?}, {TIMES_MORE} times as many take {more:?}");
}

pub(crate) fn numbered(count: usize, one: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(one).collect()
}

/// A command line, and the file and the env file that it may name.
#[derive(Clone)]
struct Input {
    args: Vec<OsString>,
    toml: String,
    variables: String,
}

fn line(args: Vec<String>) -> Input {
    Input { args: words(&["--check-config"]).into_iter().chain(args.into_iter().map(Into::into)).collect(), ..file("") }
}

fn file(toml: &str) -> Input {
    let args = words(&["--config", "web.toml", "--check-config"]);
    Input { args, toml: format!("command = 'x'\n{toml}"), variables: String::new() }
}

/// Whatever is right or wrong with it.
fn read(input: Input) {
    let _read = parse_with(input.args, &[("web.toml", &input.toml), ("env", &input.variables)]);
}

#[test]
fn reading_a_command_line_takes_time_in_proportion_to_its_length() {
    let args = |one: fn(usize) -> String| move |count| line([numbered(count, one), vec!["x".to_owned()]].concat());
    assert_linear("binds", args(|n| format!("-b127.0.0.1:{n}")), read);
    assert_linear("wrong binds", args(|_| "-bx".to_owned()), read);
    assert_linear("dropped variables", args(|n| format!("--drop-env-var=V{n}")), read);
    assert_linear(
        "arguments of the program",
        |count| line([vec!["x".to_owned()], numbered(count, |n| n.to_string())].concat()),
        read,
    );
    assert_linear(
        "letters of a cluster",
        |count| line(vec![format!("-{}", "v".repeat(count * 10)), "x".to_owned()]),
        read,
    );
}

/// `key = ['a0', 'a1']` on one line, by the number of its values.
fn list(key: &'static str, one: fn(usize) -> String) -> impl Fn(usize) -> Input {
    move |count| file(&format!("{key} = [{}]\n", numbered(count, one).join(", ")))
}

#[test]
fn reading_a_file_takes_time_in_proportion_to_its_length() {
    assert_linear("binds of a file", list("bind", |n| format!("'127.0.0.1:{n}'")), read);
    assert_linear("wrong binds of a file", list("bind", |_| "'x'".to_owned()), read);
    // Each word of a line has a column. What is counted anew from the start of the line costs little a character, so there
    // are many between the words; as blanks, since they cost the parser little, too.
    let apart: fn(usize) -> String = |n| format!("{:BLANKS$}'V{n}'", "");
    assert_linear("columns of a long line", list("[env]\nunset", apart), read);
    assert_linear("errors on a long line", list("bind", apart), read);
    assert_linear("unset variables", list("[env]\nunset", |n| format!("'V{n}'")), read);
    assert_linear(
        "set variables",
        |count| file(&format!("[env.set]\n{}", numbered(count, |n| format!("V{n} = 'x'\n")).concat())),
        read,
    );
    assert_linear("unknown keys", |count| file(&numbered(count, |n| format!("v{n} = 1\n")).concat()), read);
    assert_linear(
        "variables of a file of their own",
        |count| Input {
            variables: numbered(count, |n| format!("V{n}=x\n")).concat(),
            ..file("[env]\nenv-file = ['env']\n")
        },
        read,
    );
    // More of them, for a look at each of the words before is quick.
    assert_linear(
        "files of variables that are not there",
        |n| list("[env]\nenv-file", |n| format!("'none{n}'"))(3 * n),
        read,
    );
    assert_linear(
        "variables that a profile says again, and others",
        |count| {
            let set = |from: usize| numbered(count, |n| format!("V{} = 'x'\n", n + from)).concat();
            let (below, above) = (set(0), set(count / 2));
            let mut input = file(&format!("[env.set]\n{below}[profiles.p.env.set]\n{above}"));
            input.args.push("--profile=p".into());
            input
        },
        read,
    );
    assert_linear(
        "profiles",
        |count| {
            let mut input = file(&numbered(count, |n| format!("[profiles.p{n}]\nnumber = 1\n")).concat());
            input.args.extend(numbered(count, |n| format!("--profile=p{n}")).into_iter().map(OsString::from));
            input
        },
        read,
    );
    assert_linear(
        "unknown profiles of a file with many",
        |count| {
            let mut input = file(&numbered(count, |n| format!("[profiles.p{n}]\n")).concat());
            input.args.extend(numbered(count, |n| format!("--profile=another-{n}")).into_iter().map(OsString::from));
            input
        },
        read,
    );
}

#[test]
fn printing_and_comparing_take_time_in_proportion_too() {
    let config = |count: usize| -> Config {
        let toml = format!(
            "command = 'x'\nbind = [{}]\n[env.set]\n{}",
            numbered(count, |n| format!("'127.0.0.1:{n}'")).join(", "),
            numbered(count, |n| format!("V{n} = 'x'\n")).concat()
        );
        match parse_with(words(&["--config", "web.toml", "--check-config"]), &[("web.toml", &toml)]) {
            Ok(Invocation::CheckConfig(config)) => *config,
            other => panic!("{other:?}"),
        }
    };
    assert_linear("printing", config, |config| assert!(print(&config).is_ok()));
    assert_linear("blaming", config, |config| {
        let causes = (0..config.binds.len()).map(|index| (index, "wrong".to_owned()));
        let blames = config.blame_items("bind", causes);
        assert!(blames.iter().all(|blame| blame.starts_with("web.toml:2:") && blame.ends_with(": bind: wrong")));
        assert_eq!(blames.len(), config.binds.len());
    });
    assert_linear(
        "comparing",
        |count| (config(count), config(1)),
        |(one, other)| assert!(!differences(&one, &other).is_empty()),
    );
}
