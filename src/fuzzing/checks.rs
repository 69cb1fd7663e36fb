//! What several targets ask of a result. Asserts nothing itself.

use crate::config::Config;
use crate::yaml::Value;

/// What Psych takes for quotes of a symbol, in pairs of the same.
const QUOTES: [char; 2] = ['\'', '"'];

/// Whether Psych reads a value as it wrote it. It does not with two kinds of symbols, and we do as Ruby does: one that begins with a
/// quote and has the same one later (`:"'a'b"` is written `:'a'b`, and that is read as `:a`), and one that has a line break, which is read
/// as a string.
pub(super) fn survives_psych(value: &Value) -> bool {
    let is_quoted =
        |name: &str| QUOTES.iter().any(|quote| name.strip_prefix(*quote).is_some_and(|rest| rest.contains(*quote)));
    value.as_symbol().is_none_or(|name| !is_quoted(name) && !name.contains('\n'))
        && value.parts().is_none_or(|mut parts| parts.all(survives_psych))
}

/// A configuration as the next image gets it.
pub(super) fn handed_on(config: &Config) -> Result<Config, String> {
    let text = serde_json::to_string(config).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whether a text can be shown as one line of a log or on a screen.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
