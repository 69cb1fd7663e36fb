//! `srv:ADDR:PORT[,OPT...]` among the words of the program, as einhorn had it before 0.5: the address is bound, and each worker finds the
//! number of the descriptor in the word's place, behind `OPTION=` too. Such an address is one like those of `-b`, which stand before it,
//! and one of the same address is the same. Where a file is named its words are the program's own.

use std::ffi::{OsStr, OsString};

use crate::config::bind::Bind;
use crate::config::options::Config;
use crate::config::origin::{Origin, Word};

/// How such a word begins.
const SRV: &str = "srv:";

/// What `-b` would have to say for those of these words of a program whose addresses are not given yet.
pub(super) fn binds(given: &[Word], program: &[OsString]) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    if given.iter().any(|word| word.flag == "config") {
        return found;
    }
    for (_, address) in program.iter().skip(1).filter_map(|word| parts(word)) {
        let is_same = |word: &Word| {
            let known = word.value.as_deref().and_then(OsStr::to_str).filter(|_| word.flag == "bind");
            known.is_some_and(|known| without_flags(known) == without_flags(address))
        };
        if !given.iter().chain(&found).any(is_same) {
            let origin = Origin::CommandLine(SRV.to_owned());
            found.push(Word { flag: "bind".to_owned(), origin, value: Some(address.into()) });
        }
    }
    found
}

impl Config {
    /// The words of the program, with the number of its descriptor in the place of each such word. `number` knows that of a bind by its
    /// place.
    pub fn program_with(&self, number: impl Fn(usize) -> Option<i32>) -> Vec<OsString> {
        let replaced = |word: &OsString| {
            let (option, address) = parts(word).filter(|_| !self.has_file())?;
            let place = self.binds.iter().position(|bind| is_at(bind, address))?;
            Some(format!("{option}{}", number(place)?).into())
        };
        let words = self.program.iter().enumerate();
        words.map(|(at, word)| replaced(word).filter(|_| at > 0).unwrap_or_else(|| word.clone())).collect()
    }

    /// The words of the program that name an address.
    pub fn srv_words(&self) -> impl Iterator<Item = &OsString> {
        self.program.iter().skip(1).filter(|word| !self.has_file() && parts(word).is_some())
    }
}

fn is_at(bind: &Bind, address: &str) -> bool {
    matches!(bind, Bind::Tcp { .. }) && bind.to_string() == without_flags(address)
}

fn without_flags(address: &str) -> &str {
    address.split(',').next().unwrap_or_default()
}

/// What stands before it, and the address with its flags.
fn parts(word: &OsStr) -> Option<(&str, &str)> {
    let text = word.to_str()?;
    let at = if text.starts_with(SRV) { 0 } else { text.rfind("=srv:")? + 1 };
    let (option, address) = (&text[..at], &text[at + SRV.len()..]);
    let (host, rest) = address.split_once(':')?;
    let mut rest = rest.split(',');
    let is_port = rest.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_flag =
        |flag: &str| !flag.is_empty() && flag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!host.is_empty() && is_port && rest.all(is_flag)).then_some((option, address))
}

#[cfg(test)]
mod tests {
    use crate::config::Bind;
    use crate::config::tests::{parse_with, run, try_parse, words};

    #[test]
    fn an_address_among_the_words_of_the_program_is_bound_and_replaced() {
        let config = run(&["-b", "a:1", "--", "prog", "srv:a:2,r", "x", "--listen=srv:a:1", "-l=srv:a:2,N", "srv:a:3"]);
        let binds: Vec<_> = config.binds.iter().map(Bind::to_word).collect();
        assert_eq!(binds, ["a:1", "a:2,r", "a:3"]);
        let program = config.program_with(|place| Some(3 + place as i32));
        assert_eq!(program, ["prog", "4", "x", "--listen=3", "-l=4", "5"]);
        assert_eq!(config.program[1], "srv:a:2,r");
        assert_eq!(config.srv_words().count(), 4);
    }

    #[test]
    fn other_words_are_left_as_they_are() {
        let given = ["srv:a:1", "srv:a", "srv::1", "srv:a:x", "srv:a:1,", "srv:a:1,x y", "xsrv:a:1", "--x-srv:a:1"];
        let config = run(&given);
        assert_eq!(config.binds, []);
        assert_eq!(config.program_with(|_| Some(3)), given);
        let file = parse_with(words(&["--config", "f", "prog", "srv:a:1"]), &[("f", "")]);
        assert!(format!("{:?}", file.unwrap()).contains("binds: []"));
        let error = try_parse(&["prog", "srv:a:99999"]).unwrap_err().to_string();
        assert_eq!(error, "srv: a:99999: need a port from 0 to 65535");
    }
}
