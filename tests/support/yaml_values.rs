//! Random values such as documents hold, each from a seed. They must be values that Psych writes and reads back unchanged.

use einhyrningsins::yaml::Time;
use einhyrningsins::yaml::Value;

/// A generator of one's own, so that a seed means the same for ever (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    pub fn pick<'a>(&mut self, pieces: &[&'a str]) -> &'a str {
        pieces[self.below(pieces.len())]
    }

    pub fn join(&mut self, most: usize, pieces: &[&str]) -> String {
        (0..self.below(most + 1)).map(|_| self.pick(pieces)).collect()
    }
}

#[rustfmt::skip]
pub const PIECES: [&str; 80] = [
    "a", "b", "é", "word", " ", "  ", "\n", "\n\n", ":", "-", "- ", "#", " #", ": ", "'", "\"", "\\", "\t", "0", "1",
    "9", ".", "e", "x", "_", ",", "~", "!", "&", "*", "|", ">", "%", "@", "`", "{", "}", "[", "]", "?",
    "=", "<<", "null", "true", "y", "n", "no", "off", "0x", "0b", "08", "1:30", "2001-01-01", " 10:00:00", "Z", "+05:30", ".inf", ".nan", "e+5", "\u{2028}",
    "\u{2029}", "\u{85}", "\u{feff}", "😀", "\u{a0}", "\u{301}", "½", "٣", "\u{1}", "\0", "\u{1b}", "---", "...", "word word ", "wwwwwwwwwwwwwwwwwwwwwwwwwwwwww", "%0A", "/usr/bin", "\u{e000}", "ﬀ", "\r",
];

fn random_text(random: &mut Random) -> String {
    match random.below(4) {
        0 => random.join(4, &PIECES),
        1 => random.join(40, &PIECES),
        2 => random.join(8, &["0", "1", "7", "9", "+", "-", ".", ":", "_", ",", "e", "x", "b", "T", "Z", " "]),
        _ => random.join(90, &["word ", "w", " ", "é", "'", ": ", "\"", " #", "- "]),
    }
}

fn random_scalar(random: &mut Random) -> Value {
    match random.below(11) {
        0 => Value::Nil,
        1 => Value::Bool(random.below(2) == 0),
        2 => Value::Int(random.next() as i64 >> random.below(64)),
        3 => Value::Float(f64::from_bits(random.next())),
        4 => Value::Float(random.below(1_000_000) as f64 / 1000.0),
        5 => Value::BigInt(format!("{}1{:019}{:020}", random.pick(&["", "-"]), random.next() >> 1, random.next())),
        // Psych itself does not read back every symbol that it writes.
        6 => Value::symbol(format!(
            "{}{}",
            random.pick(&["a", "é", "Z", "_"]),
            random.join(4, &["b", " ", "-", "?", ": ", "0"])
        )),
        7 => {
            let (seconds, nanos) = (random.next() as i64 >> 30, random.below(1_000_000_000) as u32);
            match random.below(2) {
                0 => Value::Time(Time::utc(seconds, nanos)),
                _ => Value::Time(Time::local(seconds, nanos, random_offset_min(random) * 60)),
            }
        }
        8 => Value::Bytes((0..=random.below(60)).map(|_| random.next() as u8 | 0x80).collect()),
        _ => Value::Str(random_text(random)),
    }
}

/// Psych reads the offset -00:35 as +00:35.
fn random_offset_min(random: &mut Random) -> i32 {
    match random.below(2800) as i32 - 1400 {
        minutes @ -59..0 => -minutes,
        minutes => minutes,
    }
}

/// A document, or a part of one; `shared` holds what may turn up in it again.
pub fn random_value(random: &mut Random, depth: usize, shared: &mut Vec<Value>) -> Value {
    let count = random.below(5);
    match random.below(if depth == 0 { 6 } else { 16 }) {
        0..=5 => random_scalar(random),
        6..=8 => Value::Seq((0..count).map(|_| random_value(random, depth - 1, shared)).collect()),
        9..=11 => {
            let mut map = Value::Map(Vec::new());
            for _ in 0..count {
                let key_depth = if random.below(6) == 0 { depth - 1 } else { 0 };
                let key = random_value(random, key_depth, shared);
                map.insert(key, random_value(random, depth - 1, shared));
            }
            map
        }
        12 => {
            let mut members = Vec::new();
            for member in (0..count).map(|_| random_scalar(random)) {
                if !members.contains(&member) {
                    members.push(member);
                }
            }
            Value::Set(members)
        }
        13 => {
            let value = random_value(random, depth - 1, shared).share();
            shared.push(value.clone());
            value
        }
        _ if shared.is_empty() => Value::Nil,
        _ => shared[random.below(shared.len())].clone(),
    }
}
