//! YAML: what is read is written so that it is read as the same, and what is written once is written the same for ever.

use crate::fuzzing::checks::{is_one_line, survives_psych};
use crate::yaml::{self, Aliases, Limits};

/// As the handoff's, and smaller, so that an input of some kilobytes stays cheap.
const LIMITS: Limits =
    Limits { input_bytes: 64 << 10, depth: 64, nodes: 20_000, aliases: Aliases::Allowed { extra_nodes: 20_000 } };

/// What was read may be wordier when it is written: its limits are no concern here.
const WRITTEN: Limits =
    Limits { input_bytes: usize::MAX, depth: 64, nodes: usize::MAX, aliases: Aliases::Allowed { extra_nodes: 20_000 } };

pub fn yaml(data: &[u8]) {
    for limits in [LIMITS, Limits::UNTRUSTED] {
        let value = match yaml::read_bytes(data, limits) {
            Ok(value) => value,
            Err(error) => {
                assert!(error.line > 0 && error.column > 0 && is_one_line(&error.to_string()), "{error:?}");
                continue;
            }
        };
        let shown = yaml::inspect(&value);
        // Ruby takes U+0085 for printable, and no other control character.
        assert!(is_one_line(&shown.replace('\u{85}', "")), "{value:?} is shown on more than one line");
        let document = yaml::write(&value);
        let again = yaml::read(&document, WRITTEN).unwrap_or_else(|error| panic!("{document:?}: {error}"));
        if !survives_psych(&value) {
            continue;
        }
        assert_eq!(yaml::write(&again), document, "{value:?} is written otherwise the second time");
        assert_eq!(yaml::inspect(&again), shown, "in {document:?}");
    }
}
