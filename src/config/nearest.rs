//! Finds the known name that was probably meant by an unknown one. Only suggests; nothing is ever corrected silently.

/// The nearest of `known`, if it is so near that a slip of the fingers explains the difference: one letter in three.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count() / 3;
    let measured = known.map(|candidate| (distance(name, candidate), candidate));
    measured.filter(|&(steps, _)| steps <= limit).min().map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out or changed to make `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        for (a, b, steps) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("number", "nubmer", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
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
}
