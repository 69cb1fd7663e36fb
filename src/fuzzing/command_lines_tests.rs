//! Random command lines for the target: words that are nearly options reach deeper than bytes do, without libFuzzer's guidance.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::config::tests::Random;
use crate::config::{Definition, flags};
use crate::fuzzing::command_lines::{Read, hold};

const ROUNDS: u64 = 5_000;
const WORDS_MAX: u64 = 8;
const PIECES: &[&str] = &[
    "3",
    "manual",
    "0.5",
    "1e3",
    "-",
    "--",
    "=",
    "",
    "cmd",
    "a:1",
    "[::1]:80,r",
    "unix:/x,mode=07",
    ",",
    ":",
    "1:2:x",
    "-5",
    "\n",
    "\u{e9}",
    "'",
    "0x10",
    "1_0",
    "e",
    "inf",
    "m",
    "gk",
    "h",
    "\0",
    "9999999999999999999999",
    "1m 30s",
    "010",
];

impl Random {
    /// A word of a command line.
    fn word(&mut self, flags: &[&'static Definition]) -> OsString {
        let flag = *self.pick(flags);
        let piece = *self.pick(PIECES);
        let letter = flag.short.unwrap_or('m');
        let cut = self.below(flag.name.len() as u64 + 1) as usize;
        match self.below(8) {
            0 => format!("--{}", flag.name).into(),
            1 => format!("--{}={piece}", flag.name).into(),
            2 => format!("--{}", &flag.name[..cut]).into(),
            3 => format!("-{letter}").into(),
            4 => format!("-{letter}{piece}").into(),
            5 => format!("-g{letter}{}{piece}", self.pick(PIECES)).into(),
            6 => OsString::from_vec((0..self.below(5)).map(|_| self.below(256) as u8).collect()),
            _ => piece.into(),
        }
    }
}

#[test]
fn random_command_lines_never_panic_and_leave_the_program_alone() {
    let flags: Vec<&Definition> = flags().collect();
    let (mut runs, mut refusals) = (0, 0);
    for seed in 1..=ROUNDS {
        let mut random = Random::new(seed);
        let args: Vec<OsString> = (0..random.below(WORDS_MAX)).map(|_| random.word(&flags)).collect();
        match hold(args) {
            Read::Run => runs += 1,
            Read::Refused => refusals += 1,
            Read::Other => {}
        }
    }
    assert!(runs > ROUNDS / 20 && refusals > ROUNDS / 20, "too tame: {runs} are run, {refusals} refused");
}
