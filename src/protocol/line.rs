//! One message is one line: a YAML document in which `%` and newline are escaped. Everything else stays as it is.

/// How long a request may be, in bytes, without its newline.
pub const LINE_MAX: usize = 64 * 1024;

/// The document as it stands on the wire, without the newline that ends it.
pub fn escape(document: &str) -> String {
    document.replace('%', "%25").replace('\n', "%0A")
}

/// The document that a line carries. A `%` before anything else stands for itself, as einhorn has it.
pub fn unescape(line: &str) -> String {
    let mut document = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('%') {
        document.push_str(&rest[..at]);
        let (meant, length) = match rest.get(at..at + 3) {
            Some("%25") => ("%", 3),
            Some("%0A") => ("\n", 3),
            _ => ("%", 1),
        };
        document.push_str(meant);
        rest = &rest[at + length..];
    }
    document.push_str(rest);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_and_newline_are_escaped_and_nothing_else() {
        assert_eq!(escape("---\nmessage: 100%\n"), "---%0Amessage: 100%25%0A");
        assert_eq!(unescape("---%0Amessage: 100%25%0A"), "---\nmessage: 100%\n");
        assert_eq!(unescape("%2541 %0a %"), "%41 %0a %");
        assert_eq!(unescape("%hé%2"), "%hé%2");
    }
}
