//! Documents made up at random, each from a seed. They must be such as could be written: no descriptor twice, no number out
//! of its range.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::base::{Pid, Signal, Version, Wall, WorkerIndex};
use crate::handoff::document::Document;
use crate::handoff::einhorn::{AckMode, Bind, Child, Children, Descriptors, Received, Signaled, Subscriptions};
use crate::handoff::field::{Fd, Number};
use crate::handoff::ours::Ours;
use crate::yaml::Value;

/// A generator of one's own, so that a seed means the same for ever (xorshift). It counts, too: what must be unique is.
pub(in crate::handoff) struct Dice {
    state: u64,
    count: u32,
}

pub(in crate::handoff) trait Random: Sized {
    fn random(dice: &mut Dice) -> Self;
}

#[rustfmt::skip]
const PIECES: [&str; 40] = [
    "", "a", "./worker", "-1", "12", ":sym", "no", "é", " ", "two words", "\n", "'", "\"", "{\"command\":\"eh", "2026-01-01", "\0",
    "\u{1b}[0m", "\t", "~", "--- ", "%0A", "\r", "\u{2028}", "\u{85}", "\u{feff}", "😀", ": ", " #", "&1", "*1", "!", "|", ">", "- ", "[",
    "}", "1:30", "0x", "<<", "a long word that lets a line be folded somewhere ",
];

impl Dice {
    pub(in crate::handoff) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, count: 2 }
    }

    fn roll(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(in crate::handoff) fn below(&mut self, bound: usize) -> usize {
        (self.roll() >> 33) as usize % bound
    }

    /// A number that was not there before; from 3 on.
    fn fresh(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// As many bits as it likes.
    pub(in crate::handoff) fn number(&mut self) -> u64 {
        let bits = self.below(64);
        self.roll() >> bits
    }

    /// What einhorn may have beside what we know.
    pub(in crate::handoff) fn unknown_pairs(&mut self) -> Vec<(Value, Value)> {
        (0..self.below(3)).map(|place| (Value::symbol(format!("unknown_{place}")), Value::random(self))).collect()
    }
}

impl Random for Document {
    fn random(dice: &mut Dice) -> Self {
        let ours = Option::<String>::random(dice).map(|held| Ours::of(&held).unwrap());
        Self { state: Random::random(dice), descriptors: Random::random(dice), ours }
    }
}

macro_rules! random {
    ($($type:ty: |$dice:ident| $value:expr),+ $(,)?) => {$(
        impl Random for $type {
            fn random($dice: &mut Dice) -> Self {
                $value
            }
        }
    )+};
}

random! {
    bool: |dice| dice.below(2) == 0,
    u16: |dice| dice.number() as u16,
    u32: |dice| dice.number() as u32,
    u64: |dice| dice.number(),
    i64: |dice| dice.number() as i64,
    i32: |dice| dice.number() as i32,
    Number: |dice| if dice.below(2) == 0 { Number::Int(dice.number() as i64) } else { Number::Float((dice.number() as f64 + 1.0) / 1e9) },
    Pid: |dice| Pid(dice.fresh() as i32),
    Fd: |dice| Fd(dice.fresh() as i32),
    Version: |dice| Version(dice.fresh().into()),
    WorkerIndex: |dice| WorkerIndex(u32::random(dice)),
    Signal: |dice| Signal::from_number(1 + dice.below(64) as i32).unwrap(),
    Wall: |dice| Wall { seconds: dice.below(4_000_000_000) as i64 - 1_000_000, nanos: dice.below(1_000_000_000) as u32 },
    String: |dice| (0..dice.below(5)).map(|_| PIECES[dice.below(PIECES.len())]).collect(),
    OsString: |dice| OsString::from_vec(Random::random(dice)),
    PathBuf: |dice| PathBuf::from(OsString::random(dice)),
    (Pid, Child): |dice| (Random::random(dice), Random::random(dice)),
    Children: |dice| Children { workers: Random::random(dice), state_passers: Random::random(dice) },
    Bind: |dice| Bind { host: Random::random(dice), port: Random::random(dice), flags: Random::random(dice) },
    Received: |dice| Received(Random::random(dice)),
}

impl Random for Vec<u8> {
    fn random(dice: &mut Dice) -> Self {
        match dice.below(4) {
            0 => (0..dice.below(50)).map(|_| dice.roll() as u8).collect(),
            _ => String::random(dice).into_bytes(),
        }
    }
}

impl Random for Value {
    fn random(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Self::Nil,
            1 => Self::Int(dice.number() as i64),
            2 => Self::Seq(vec![Self::random(dice), Self::random(dice)]),
            3 => Self::map([("k", Self::random(dice))]),
            _ => Self::Str(String::random(dice)),
        }
    }
}

impl<T: Random> Random for Option<T> {
    fn random(dice: &mut Dice) -> Self {
        (dice.below(3) > 0).then(|| T::random(dice))
    }
}

impl<T: Random> Random for Vec<T> {
    fn random(dice: &mut Dice) -> Self {
        (0..dice.below(4)).map(|_| T::random(dice)).collect()
    }
}

impl Random for AckMode {
    fn random(dice: &mut Dice) -> Self {
        if dice.below(2) == 0 { Self::Manual } else { Self::Timer(Random::random(dice)) }
    }
}

impl Random for Signaled {
    fn random(dice: &mut Dice) -> Self {
        let mut signals = Vec::<Signal>::random(dice);
        signals.sort_unstable();
        signals.dedup();
        Self(signals)
    }
}

impl Random for Subscriptions {
    fn random(dice: &mut Dice) -> Self {
        Self(Option::random(dice).map(|id| ("upgrade".to_owned(), id)).into_iter().collect())
    }
}

impl Random for Descriptors {
    fn random(dice: &mut Dice) -> Self {
        Self {
            command_server: Random::random(dice),
            connections: Random::random(dice),
            ack_timers: Random::random(dice),
        }
    }
}
