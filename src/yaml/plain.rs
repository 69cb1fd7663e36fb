//! What a plain scalar means to Psych 4.0.4, for the readers of words, numbers and times.

use crate::yaml::value::Value;

#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    Value(Value),
    Str,
    /// A string to us, but one that needs quotes: a `Date` to Ruby, or what makes Psych 4.0.4 itself raise.
    Ambiguous,
    /// An integer beyond 128 bits in a base other than ten.
    TooLarge,
}
