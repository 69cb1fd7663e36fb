//! What scripts of einhorn's say on the command line and einhorn takes, although it is beyond what makes sense: the nearest value that makes
//! sense here, and a sentence that says so. What einhorn refuses, or reads as something else than was meant, is left alone, and refused
//! when it is read; so is all that stands in a file, where it was written for this program.

use std::ffi::{OsStr, OsString};

use crate::config::bind;
use crate::config::einhorns::is_called_einhorn;
use crate::config::error::shown;
use crate::config::options::{Config, find};
use crate::config::origin::{Origin, Word};

/// Puts the nearest value in the place of each that the command line says and its option does not accept, where there is one, and says
/// so, a sentence for each. Addresses lose what means nothing where the program is called `einhorn`.
pub(super) fn take(argv0: &OsStr, words: Vec<Word>) -> (Vec<Word>, Vec<String>) {
    let mut sentences = Vec::new();
    let as_einhorn = is_called_einhorn(argv0);
    let words = words.into_iter().map(|mut word| {
        let found = word.value.as_deref().and_then(|value| in_place_of(&word, value, as_einhorn));
        if let Some((value, sentence)) = found {
            sentences.push(sentence);
            word.value = Some(value);
        }
        word
    });
    (words.collect(), sentences)
}

fn in_place_of(word: &Word, value: &OsStr, as_einhorn: bool) -> Option<(OsString, String)> {
    let Origin::CommandLine(_) = &word.origin else { return None };
    let option = find(&word.flag)?;
    let accepts = |value: &OsStr| (option.read)(&mut Config::default(), value).is_ok();
    let is_bind = option.is_bind() && as_einhorn;
    if option.nearest.is_none() && !is_bind || accepts(value) {
        return None;
    }
    let said = || format!("{} {}", word.origin.spelled(&word.flag), shown(value));
    let (better, sentence) = if is_bind {
        let (address, ignored) = bind::without_unknown_flags(value.to_str()?)?;
        (address, format!("{}: {ignored} means nothing here, the address is bound without it", said()))
    } else {
        let better = option.nearest?(value.to_str()?)?;
        let sentence = format!("{}: taken as {}", said(), shown(&better));
        (better, sentence)
    };
    accepts(OsStr::new(&better)).then(|| (better.into(), sentence))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, error, parse_as, parse_with, words};
    use crate::config::{Config, Invocation, WorkerCount};

    /// What is in force, and what is said of it.
    fn taken(options: &[&str], show: fn(&Config) -> String) -> (String, Vec<String>) {
        (show(&config(options)), said(options))
    }

    fn said(options: &[&str]) -> Vec<String> {
        super::super::taken("einhorn".as_ref(), words(options))
    }

    #[test]
    fn a_value_beyond_what_makes_sense_is_the_nearest_one_and_said() {
        let number = |config: &Config| config.number.of(0).to_string();
        let seconds = |config: &Config| config.seconds.to_string();
        let ack = |config: &Config| format!("{:?}", config.ack);
        let nice = |config: &Config| format!("{:?} {:?}", config.nice.master, config.nice.worker);
        let unacked = |config: &Config| format!("{:?} {:?}", config.max_unacked, config.max_upgrade_additional);
        let backlog = |config: &Config| config.backlog.to_string();
        let timeout = |config: &Config| format!("{:?}", config.signal_timeout);
        type Row = (&'static [&'static str], fn(&Config) -> String, &'static str, &'static str);
        let rows: &[Row] = &[
            (&["-n", "99999999"], number, "100000", "-n 99999999: taken as 100000"),
            (&["--number=03"], number, "3", "--number 03: taken as 3"),
            (&["-s", "100000"], seconds, "86400", "-s 100000: taken as 86400"),
            (&["-s1e400"], seconds, "86400", "-s 1e400: taken as 86400"),
            (&["-s", "-1"], seconds, "0.001", "-s -1: taken as 0.001"),
            (&["-m", "1e9"], ack, "Timer(86400s)", "-m 1e9: taken as 86400"),
            (&["-m", "-1"], ack, "Timer(0ns)", "-m -1: taken as 0"),
            (&["-t", "0"], timeout, "Some(1)", "-t 0: taken as 1"),
            (
                &["-t", "99999999999999999999"],
                timeout,
                "Some(4294967295)",
                "-t 99999999999999999999: taken as 4294967295",
            ),
            (&["-l", "0"], backlog, "1", "-l 0: taken as 1"),
            (&["-l", ""], backlog, "1", "-l \"\": taken as 1"),
            (&["-l", "-1"], backlog, "2147483647", "-l -1: taken as 2147483647"),
            (&["--max-unacked", "1000000"], unacked, "Some(100000) None", "--max-unacked 1000000: taken as 100000"),
            (&["--max-unacked=0"], unacked, "Some(1) None", "--max-unacked 0: taken as 1"),
            (&["--max-upgrade-additional=-5"], unacked, "None Some(1)", "--max-upgrade-additional -5: taken as 1"),
            (&["--nice", "1:"], nice, "Some(1) None", "--nice 1:: taken as 1"),
            (&["--nice", "100:-100:x:y"], nice, "Some(19) Some(-20)", "--nice 100:-100:x:y: taken as 19:-20:x"),
        ];
        for (options, show, value, sentence) in rows {
            assert_eq!(taken(options, *show), ((*value).to_owned(), vec![(*sentence).to_owned()]), "{options:?}");
        }
    }

    #[test]
    fn what_einhorn_refuses_or_misreads_is_refused() {
        for options in [
            &["-n", "0"][..],
            &["-n", "00"],
            &["-n", "-1"],
            &["-n", ""],
            &["-n", "3x"],
            &["-n", "1e3"],
            &["-l", "1e3"],
            &["-l", "3x"],
            &["-s", "0"],
            &["-s", ""],
            &["--ack-mode", "x"],
            &["-t", "010"],
            &["-t", "0.5"],
            &["-t", ""],
            &["--max-unacked", ""],
            &["--nice", ":5"],
            &["--nice", "x"],
            &["--nice", "0.5"],
        ] {
            assert!(!error(options).is_empty());
        }
    }

    #[test]
    fn a_file_is_held_to_what_makes_sense() {
        for line in ["number = 1000000", "seconds = 100000", "backlog = 0", "nice = \"1:\"", "command-name = \"\""] {
            let read = parse_with(words(&["--config", "f", "x"]), &[("f", line)]);
            assert!(read.is_err(), "{line}");
        }
    }

    #[test]
    fn an_empty_level_and_an_empty_name_are_taken_as_they_are() {
        let options = ["--nice", "", "-c", ""];
        let config = config(&options);
        assert_eq!((config.nice.master, config.command_name.as_deref()), (None, Some("")));
        assert_eq!(said(&options), [""; 0]);
    }

    #[test]
    fn a_flag_of_an_address_that_einhorn_ignores_means_nothing_where_it_is_called_so() {
        let args = ["-b", "a:80,rn,R", "-b", "b:80", "x"];
        let Ok(Invocation::Run(config)) = parse_as("/usr/bin/einhorn", &args) else { panic!() };
        let sentence = "-b a:80,rn,R: ,rn means nothing here, the address is bound without it";
        assert_eq!(said(&args), [sentence]);
        let binds: Vec<_> = config.binds.iter().map(crate::config::Bind::to_word).collect();
        assert_eq!(binds, ["a:80,r", "b:80"]);
        assert!(parse_as("einhyrningsins", &args).is_err());
        for wrong in ["a:80,", "a:80,mode=1", "a:80,shared-directory", "[::1]:80,x y", "unix:/x,rn"] {
            assert!(parse_as("einhorn", &["-b", wrong, "x"]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_negative_timer_is_no_option_unless_it_looks_like_one() {
        assert_eq!(config(&["-m", "-4"]).family, crate::config::Family::V4);
        assert_eq!(config(&["-m", "-0.5", "-n", "2"]).number, WorkerCount::Fixed(2));
    }
}
