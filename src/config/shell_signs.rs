//! What of a command line in one string means something to a shell alone. No shell reads it here, so it would be an argument, and the
//! program would fail for it in its own words.

/// Words by which a shell joins commands, or sends their input and output elsewhere.
const OPERATORS: &[&str] = &["&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>>", "2>&1", "&>", ">&2"];
/// Commands that only a shell has.
const BUILT_IN: &[&str] = &["cd", "export", "source", ".", "ulimit", "umask", "eval"];

/// The first such sign that stands outside of quotes.
pub(super) fn first(line: &str) -> Option<String> {
    let bare = without_quoted(line);
    let words: Vec<&str> = bare.split_whitespace().collect();
    let built_in = words.first().filter(|word| BUILT_IN.contains(*word));
    let sign = words.iter().find_map(|word| match word.strip_suffix(';') {
        _ if OPERATORS.contains(word) => Some(*word),
        Some(_) => Some(";"),
        None => variable(word),
    });
    built_in.copied().or(sign).map(str::to_owned)
}

/// `$NAME`, and `$(`.
fn variable(word: &str) -> Option<&str> {
    let from = word.find('$')?;
    let rest = word.get(from + 1..)?;
    let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
    let begins_name = rest.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    match rest.starts_with('(') {
        true => word.get(from..from + 2),
        false => word.get(from..=from + end).filter(|_| begins_name),
    }
}

/// The line, with another character for each that is quoted or escaped.
fn without_quoted(line: &str) -> String {
    let mut open = None;
    let mut chars = line.chars();
    let mut bare = String::new();
    while let Some(char) = chars.next() {
        match (open, char) {
            (None | Some('"'), '\\') => {
                chars.next();
                bare.push('x');
            }
            (None, '\'' | '"') => open = Some(char),
            (Some(quote), _) if quote == char => open = None,
            (Some(_), _) => bare.push('x'),
            (None, _) => bare.push(char),
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number 25 of what operators trip over.
    #[test]
    fn signs_of_a_shell_are_found_outside_of_quotes() {
        for (line, sign) in [
            ("cd /srv && server", "cd"),
            ("server --port $PORT", "$PORT"),
            ("server --url=http://$HOST:80/", "$HOST"),
            ("server $(cat port)", "$("),
            ("server > log", ">"),
            ("migrate; server", ";"),
            ("a | b", "|"),
        ] {
            assert_eq!(first(line).as_deref(), Some(sign), "{line}");
        }
        for line in [
            "server --fast",
            "sh -c 'cd x && exec server --port $PORT > log'",
            "sh -c \"exec server\" '$HOME'",
            r"find . -exec x \;",
            "server --url=http://x/?a=1&b=2 --price 3$ ${PORT}",
            "",
        ] {
            assert_eq!(first(line), None, "{line}");
        }
    }
}
