//! Finds the known name that was probably meant by an unknown one. Only suggests; nothing is ever corrected silently.

/// How many letters a name may have to be compared, and with how many names: the time for each unknown name has an end.
const LETTERS_MAX: usize = 100;
const KNOWN_MAX: usize = 200;

/// The nearest of `known`, if it is so near that a slip of the fingers explains the difference: one letter in three.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |name: &str| name.chars().take(LETTERS_MAX + 1).count();
    let length = letters(name);
    let limit = length / 3;
    if length > LETTERS_MAX {
        return None;
    }
    let of_such_a_length = |candidate: &&str| letters(candidate).abs_diff(length) <= limit;
    let measured = known
        .take(KNOWN_MAX)
        .filter(of_such_a_length)
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate));
    measured.filter(|&(steps, _)| steps <= limit).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        for (a, b, steps) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("number", "nubmer", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(strsim::levenshtein(a, b), steps, "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = || ["bind", "number", "max-unacked"].into_iter();
        assert_eq!(nearest("nubmer", known()), Some("number"));
        assert_eq!(nearest("max-unaked", known()), Some("max-unacked"));
        assert_eq!(nearest("bogus", known()), None);
        assert_eq!(nearest("", known()), None);
    }

    #[test]
    fn a_name_without_end_is_near_to_none() {
        let long = "x".repeat(LETTERS_MAX);
        assert_eq!(nearest(&long, [long.as_str()].into_iter()), Some(long.as_str()));
        let longer = long + "x";
        assert_eq!(nearest(&longer, [longer.as_str()].into_iter()), None);
    }
}
