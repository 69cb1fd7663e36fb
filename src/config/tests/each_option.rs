//! Every option: each of its spellings sets its value, and nothing else.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::{AckMode, LogFormat, LogTarget, Share, Signal};
use crate::config::sections::{Control, Env, Log, LogLevel, Rollout, WorkerSetup};
use crate::config::tests::{config, parse_words, run, try_parse};
use crate::config::{Config, Family, Invocation, Nice, Origin, Provided, SlotSetup, WorkerCount, flags};

type Check = fn(&Config) -> bool;

/// For each flag: spellings that all mean the same, and whether a configuration shows it.
const SETTINGS: &[(&str, &[&[&str]], Check)] = &[
    ("bind", &[&["-b", "a:1"], &["-ba:1"], &["--bind", "a:1"], &["--bind=a:1"], &["--bi=a:1"]], |c| {
        c.binds.len() == 1 && c.binds[0].to_string() == "a:1"
    }),
    ("backlog", &[&["-l", "5"], &["-l5"], &["--backlog=5"], &["--ba", "5"]], |c| c.backlog == 5),
    ("ipv4-only", &[&["-4"], &["--ipv4-only"], &["--ipv4"]], |c| c.family == Family::V4),
    ("ipv6-only", &[&["-6"], &["--ipv6-only"], &["--ipv6"]], |c| c.family == Family::V6),
    ("number", &[&["-n", "3"], &["-n3"], &["--number=3"], &["--number", "3"], &["--num", "3"]], |c| {
        c.number.of(0) == 3
    }),
    ("seconds", &[&["-s", "0.5"], &["-s.5"], &["--seconds=5e-1"], &["--sec", "0.5"]], |c| c.seconds == 0.5),
    ("retries", &[&["-r", "7"], &["-r7"], &["--retries=7"], &["--ret", "7"]], |c| c.retries == Some(7)),
    ("signal-timeout", &[&["-t", "16"], &["-t0x10"], &["--signal-timeout=16"], &["--sig", "16"]], |c| {
        c.signal_timeout == Some(16)
    }),
    ("kill-children-on-exit", &[&["-k"], &["--kill-children-on-exit"], &["--kill"]], |c| c.kill_children_on_exit),
    ("drop-env-var", &[&["--drop-env-var", "V"], &["--drop-env-var=V"], &["--drop=V"]], |c| c.drop_env_vars == ["V"]),
    ("nice", &[&["--nice", "-5:10:/bin/renice"], &["--nice=-5:10:/bin/renice"]], |c| {
        c.nice == Nice { master: Some(-5), worker: Some(10), renice_cmd: Some("/bin/renice".into()) }
    }),
    ("ack-mode", &[&["-m", "2.5"], &["-m2.5"], &["--ack-mode", "2.5"], &["--ack-mode=2.5"], &["--ack-m=2.5"]], |c| {
        c.ack == AckMode::Timer(Duration::from_millis(2500)) && c.ack_timeout.is_none()
    }),
    ("manual", &[&["--manual"], &["-m"], &["--man"]], |c| {
        c.ack == AckMode::Manual && c.ack_timeout == Some(Duration::from_secs(60))
    }),
    ("max-unacked", &[&["--max-unacked=2"], &["--max-unacked", "2"], &["--max-un", "2"]], |c| c.max_unacked == Some(2)),
    ("max-upgrade-additional", &[&["--max-upgrade-additional=2"], &["--max-up", "2"]], |c| {
        c.max_upgrade_additional == Some(2)
    }),
    ("max-surge", &[&["--max-surge=25%"], &["--max-surge", "25%"], &["--max-s", "25%"]], |c| {
        c.max_surge == Some(Share::Percent(25))
    }),
    ("max-unavailable", &[&["--max-unavailable=0"], &["--max-unavail", "0"]], |c| {
        c.max_unavailable == Some(Share::Count(0))
    }),
    ("early-life", &[&["--early-life=1m 30s"], &["--early-life", "90"], &["--ea=90"]], |c| {
        c.early_life == Some(Duration::from_secs(90))
    }),
    ("max-failures", &[&["--max-failures=0"], &["--max-f", "0"]], |c| c.max_failures == Some(0)),
    ("reexec-as", &[&["--reexec-as=env 'A=b c' x"], &["--ree", "env A='b c' x"]], |c| {
        c.reexec_as.as_deref() == Some(&["env".into(), "A=b c".into(), "x".into()])
    }),
    ("preload", &[&["-p", "/p"], &["-p/p"], &["--preload=/p"], &["--pre", "/p"]], |c| c.preload == Some("/p".into())),
    ("preload-main", &[&["--preload-main=run"], &["--preload-main", "run"], &["--preload-m=run"]], |c| {
        c.preload_main.as_deref() == Some("run")
    }),
    ("preload-timeout", &[&["--preload-timeout=1m 30s"], &["--preload-timeout", "90"], &["--preload-t=90"]], |c| {
        c.preload_timeout == Some(Duration::from_secs(90))
    }),
    ("preload-required", &[&["--preload-required"], &["--preload-r"]], |c| c.preload_required),
    ("gc-before-fork", &[&["--gc-before-fork"], &["--gc"]], |c| c.gc_before_fork),
    ("command-name", &[&["-c", "x"], &["-cx"], &["--command-name=x"], &["--command-n", "x"]], |c| {
        c.command_name.as_deref() == Some("x")
    }),
    ("socket-path", &[&["-d", "/s"], &["-d/s"], &["--socket-path=/s"], &["--so", "/s"]], |c| {
        c.socket_path == Some("/s".into())
    }),
    ("pidfile", &[&["-e", "p"], &["-ep"], &["--pidfile=p"], &["--pid", "p"]], |c| c.pidfile == Some("p".into())),
    ("lockfile", &[&["-f", "/l"], &["-f/l"], &["--lockfile=/l"], &["--lock", "/l"]], |c| {
        c.lockfile == Some("/l".into())
    }),
    ("socket-mode", &[&["--socket-mode", "0660"], &["--socket-mode=660"], &["--socket-m", "660"]], |c| {
        c.socket_mode == Some(0o660)
    }),
    ("socket-group", &[&["--socket-group", "web"], &["--socket-group=web"], &["--socket-g=web"]], |c| {
        c.socket_group.as_deref() == Some("web")
    }),
    ("command-socket-as-fd", &[&["-g"], &["--command-socket-as-fd"], &["--command-s"]], |c| c.socket_as_fd),
    ("verbose", &[&["-v"], &["-vv"], &["--verbose"], &["-qvv"]], |c| c.log.level == LogLevel::Debug),
    ("quiet", &[&["-q"], &["-qq"], &["--quiet"], &["--quiet", "-q"], &["-vq", "-q"]], |c| {
        c.log.level == LogLevel::Warn
    }),
    ("stop-delay", &[&["--stop-delay=1m 30s"], &["--stop-delay", "90"], &["--st=90"]], |c| {
        c.stop_delay == Duration::from_secs(90)
    }),
    ("adopt", &[&["--adopt"], &["--ad"]], |c| c.adopt && c.adopts()),
    ("foreground", &[&["--foreground"], &["--fo"]], |c| c.foreground),
    ("syslog", &[&["--syslog"], &["--sy"]], |c| c.log.target == LogTarget::Both),
    ("trace", &[&["--trace", "/t"], &["--trace=/t"], &["--tra", "/t"]], |c| c.trace == Some("/t".into())),
    ("with-state-fd", &[&["--with-state-fd", "7"], &["--with-state-fd=7"], &["--with", "7"]], |c| {
        c.with_state_fd == Some(7)
    }),
    (
        "ack-timeout",
        &[&["-m", "--ack-timeout", "1m 30s"], &["-mmanual", "--ack-timeout=90"], &["--manual", "--ack-t=90"]],
        |c| c.ack == AckMode::Manual && c.ack_timeout == Some(Duration::from_secs(90)),
    ),
];

/// Flags that end the reading, and what they make of it.
const ACTS: &[(&str, &[&str], Invocation)] = &[
    ("help", &["-h", "--help", "--he", "-gh"], Invocation::Help),
    ("version", &["--version", "--vers"], Invocation::Version),
    ("upgrade-check", &["--upgrade-check", "--up"], Invocation::UpgradeCheck),
    ("relay", &["--relay", "--rel"], Invocation::Relay),
    ("holder", &["--holder", "--ho"], Invocation::Holder),
    ("config-schema", &["--config-schema", "--config-s"], Invocation::ConfigSchema),
];

/// Flags that mean nothing without a file; the tests of files use them.
const OF_FILES: [&str; 6] = ["config", "trust-config", "profile", "print-config", "check-config", "as"];

/// The same values, wherever they came from.
fn without_origins(config: Config) -> Config {
    Config { given: Provided::default(), ..config }
}

#[test]
fn every_flag_of_the_definition_is_in_these_tables() {
    let tested: BTreeSet<String> = SETTINGS
        .iter()
        .map(|row| row.0)
        .chain(ACTS.iter().map(|row| row.0))
        .chain(OF_FILES)
        .map(str::to_owned)
        .collect();
    let defined: BTreeSet<String> = flags().map(|flag| flag.name.to_owned()).collect();
    assert_eq!(tested, defined);
}

#[test]
fn every_spelling_of_a_setting_sets_it() {
    let default = without_origins(config(&[]));
    for (flag, spellings, check) in SETTINGS {
        assert!(!check(&default), "{flag} is set by default");
        let first = without_origins(config(spellings[0]));
        for spelling in *spellings {
            let read = config(spelling);
            assert!(check(&read), "{spelling:?}: {read:?}");
            assert!(read.given.is_given(flag), "{spelling:?}");
            assert_eq!(without_origins(read), first, "{spelling:?} sets something else than {:?}", spellings[0]);
        }
    }
}

#[test]
fn acts_act_when_they_are_reached() {
    for (_, spellings, act) in ACTS {
        for spelling in *spellings {
            for after in [&[][..], &["program"], &["--bogus"], &["-n", "abc"], &["-4", "-6"]] {
                let args = [&[*spelling], after].concat();
                assert_eq!(try_parse(&args).as_ref(), Ok(act), "{args:?}");
            }
            for before in [&["--bogus"][..], &["-n", "abc"], &["-b", "x"], &["--quiet=5"]] {
                let args = [before, &[*spelling]].concat();
                assert!(try_parse(&args).is_err(), "{args:?}");
            }
        }
    }
    assert_eq!(try_parse(&["-4", "-6", "--ack-timeout", "5", "-h"]), Ok(Invocation::Help));
    assert_eq!(try_parse(&["program", "-h", "--version"]).map(|it| matches!(it, Invocation::Run(_))), Ok(true));
}

#[test]
fn defaults_are_einhorns_but_for_the_backlog() {
    let expected = Config {
        argv0: "einhorn".into(),
        program: vec!["program".into()],
        binds: vec![],
        family: Family::Any,
        backlog: 1024,
        number: WorkerCount::Fixed(1),
        seconds: 1.0,
        retries: None,
        signal_timeout: None,
        stop_delay: Duration::ZERO,
        foreground: false,
        adopt: false,
        kill_children_on_exit: false,
        drop_env_vars: vec![],
        nice: Nice::default(),
        ack: AckMode::Timer(Duration::from_secs(1)),
        ack_timeout: None,
        max_unacked: None,
        max_upgrade_additional: None,
        max_surge: None,
        max_unavailable: None,
        early_life: None,
        max_failures: None,
        rollout: Rollout { check_timeout: Duration::from_secs(60), ..Rollout::default() },
        reexec_as: None,
        preload: None,
        preload_main: None,
        preload_timeout: None,
        preload_required: false,
        gc_before_fork: false,
        command_name: None,
        socket_path: None,
        pidfile: None,
        lockfile: None,
        socket_as_fd: false,
        socket_mode: None,
        socket_group: None,
        env: Env::default(),
        worker: WorkerSetup {
            leave: vec![],
            no_restart: vec![],
            user: None,
            group: None,
            directory: None,
            umask: None,
            limits: vec![],
            graceful_signal: Signal::USR2,
            output: None,
            slots: SlotSetup::default(),
        },
        control: Control::default(),
        log: Log {
            level: LogLevel::Info,
            target: LogTarget::Stderr,
            file: None,
            format: LogFormat::Plain,
            time: false,
            syslog_level: LogLevel::Warn,
            facility: "daemon".into(),
            ident: "einhyrningsins".into(),
        },
        trace: None,
        with_state_fd: None,
        given: Provided::default(),
    };
    assert_eq!(without_origins(config(&[])), expected);
}

#[test]
fn no_program_is_a_question_for_the_usage() {
    for args in [&[][..], &["--"], &["-n", "3"], &["-m"], &["-q", "--"]] {
        assert_eq!(try_parse(args), Ok(Invocation::Usage), "{args:?}");
    }
    assert!(try_parse(&["-n", "abc"]).is_err());
}

#[test]
fn a_state_brings_its_program_along() {
    assert!(run(&["--with-state-fd", "7"]).program.is_empty());
    assert_eq!(run(&["--with-state-fd", "7", "--", "sleep"]).program, ["sleep"]);
}

#[test]
fn the_last_value_counts_and_lists_append() {
    assert_eq!(config(&["-n", "3", "--number=4"]).number.of(0), 4);
    assert_eq!(config(&["-t", "3", "-t4"]).signal_timeout, Some(4));
    assert_eq!(config(&["--syslog", "--syslog", "-gg", "-kk"]).log.level.verbosity(), 1);
    assert_eq!(config(&["--drop-env-var", "A", "-q", "--drop-env-var", "B"]).drop_env_vars, ["A", "B"]);
    let binds: Vec<String> = config(&["-bx:1", "-b", "y:2"]).binds.iter().map(ToString::to_string).collect();
    assert_eq!(binds, ["x:1", "y:2"]);
}

#[test]
fn verbose_and_quiet_cancel_each_other_step_by_step() {
    for (option, verbosity) in [
        ("-v", 0),
        ("-q", 2),
        ("-vq", 1),
        ("-qv", 1),
        ("-vvq", 1),
        ("-qqqv", 1),
        ("-qvv", 0),
        ("-vqq", 2),
        ("-qvvq", 1),
    ] {
        assert_eq!(config(&[option]).log.level.verbosity(), verbosity, "{option}");
    }
    assert_eq!(config(&["-v", "--quiet", "--quiet"]).log.level.verbosity(), 2);
}

#[test]
fn of_the_ack_modes_the_last_one_counts() {
    let acks = |options: &[&str]| {
        let config = config(options);
        (config.ack, config.ack_timeout.map(|timeout| timeout.as_secs()))
    };
    let timer = |seconds| AckMode::Timer(Duration::from_secs(seconds));
    assert_eq!(acks(&["-m", "manual"]), (AckMode::Manual, None));
    assert_eq!(acks(&["-m"]), (AckMode::Manual, Some(60)));
    assert_eq!(acks(&["-m", "0"]), (timer(0), None));
    assert_eq!(acks(&["-m", "86400"]), (timer(86_400), None));
    assert_eq!(acks(&["--ack-mode=-0"]), (timer(0), None));
    assert_eq!(acks(&["-m", "-m5"]), (timer(5), None));
    assert_eq!(acks(&["-m5", "--manual"]), (AckMode::Manual, Some(60)));
    assert_eq!(acks(&["--manual", "-m", "manual"]), (AckMode::Manual, None));
    assert_eq!(acks(&["-m", "manual", "--ack-timeout", "5"]), (AckMode::Manual, Some(5)));
    assert_eq!(acks(&["--ack-timeout", "5", "-m"]), (AckMode::Manual, Some(5)));
}

#[test]
fn ranges_include_their_ends() {
    for options in [
        ["-n", "1"],
        ["-n", "1000"],
        ["-n", "1_000"],
        ["-l", "1"],
        ["-l", "2147483647"],
        ["-s", "1e-9"],
        ["-s", "86400"],
        ["-s", " 1_000.5 "],
        ["-t", "1"],
        ["-t", "4294967295"],
        ["-r", "1000000"],
        ["--max-unacked", "1000"],
        ["--max-upgrade-additional", "1000"],
        ["--nice", "-20:19"],
        ["--with-state-fd", "3"],
        ["--with-state-fd", "2147483647"],
    ] {
        config(&options);
    }
    config(&["-c", &"x".repeat(64)]);
    config(&["-d", &"x".repeat(107)]);
    config(&["-e", &"x".repeat(4000)]);
}

#[test]
fn nice_may_name_only_some_of_its_parts() {
    assert_eq!(config(&["--nice", "5"]).nice, Nice { master: Some(5), ..Nice::default() });
    assert_eq!(config(&["--nice=-1:-2"]).nice, Nice { master: Some(-1), worker: Some(-2), renice_cmd: None });
    assert_eq!(config(&["--nice", "0:0:a:b"]).nice.renice_cmd.as_deref(), Some("a:b"));
}

#[test]
fn origins_tell_given_values_from_defaults() {
    assert!(!config(&[]).is_seconds_given() && !config(&["-n", "3"]).is_ack_given());
    assert!(config(&["-s", "1"]).is_seconds_given());
    assert!(config(&["-m"]).is_ack_given() && config(&["--ack-mode=1"]).is_ack_given());
    let given = config(&["-n", "3", "--num", "4"]).given;
    assert_eq!(given.origin("number"), &Origin::CommandLine("--num".into()));
    assert_eq!(given.origin("seconds"), &Origin::Default);
    assert!(!config(&["-vq"]).given.is_given("verbose"));
    assert!(!config(&["-m5", "-m"]).given.is_given("ack-mode"));
}

#[test]
fn paths_and_variables_may_be_any_bytes() {
    let odd = || OsString::from_vec(b"/\xff\xfe".to_vec());
    for option in ["-d", "-e", "-f", "-p", "--drop-env-var"] {
        let args = vec![option.into(), odd(), odd(), odd()];
        let Ok(Invocation::Run(config)) = parse_words(args) else { panic!("{option}") };
        assert_eq!(config.program, [odd(), odd()]);
    }
    let joined = OsString::from_vec(b"--socket-path=/\xff=,".to_vec());
    let Ok(Invocation::Run(config)) = parse_words(vec![joined, "x".into()]) else { panic!() };
    assert_eq!(config.socket_path, Some(PathBuf::from(OsString::from_vec(b"/\xff=,".to_vec()))));
}
