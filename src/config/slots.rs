//! What workers have because of their slots: `[worker.slots]`. Knows neither how many slots there are nor which processors.

use std::ffi::{OsStr, OsString};

use serde::{Deserialize, Serialize};

use crate::base::{CpuSet, Slot};
use crate::config::definition::Need;
use crate::config::values;

/// As it is read, and as a version has it: its workers are launched from this, also after a re-exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSetup {
    /// Of slot 0, slot 1 and so on; where there are more slots, in turn. The same for `nice`.
    pub cpus: Vec<CpuSet>,
    pub nice: Vec<i32>,
    pub env: Vec<(String, SlotText)>,
}

/// A text that names the slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotText(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Text(String),
    Slot,
    /// How many there are.
    Slots,
}

const NEED: &str = "need {slot} or {slots} where there is a brace, and {{ or }} for a brace itself";

impl SlotSetup {
    /// None: as the master.
    pub fn cpus(&self, slot: Slot) -> Option<&CpuSet> {
        in_turn(&self.cpus, slot)
    }

    /// None: as all workers.
    pub fn nice(&self, slot: Slot) -> Option<i32> {
        in_turn(&self.nice, slot).copied()
    }

    /// The variables of a worker in this slot of so many.
    pub fn env(&self, slot: Slot, slots: u32) -> Vec<(OsString, OsString)> {
        self.env.iter().map(|(name, text)| (name.into(), text.of(slot, slots).into())).collect()
    }
}

fn in_turn<T>(list: &[T], slot: Slot) -> Option<&T> {
    list.get((slot.0 as usize).checked_rem(list.len())?)
}

impl SlotText {
    fn read(text: &str) -> Result<Self, Need> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (plain, braced) = rest.split_at(at);
            parts.push(Part::Text(plain.to_owned()));
            let known = [("{{", Part::Text("{".to_owned())), ("}}", Part::Text("}".to_owned()))];
            let mut known = known.into_iter().chain([("{slot}", Part::Slot), ("{slots}", Part::Slots)]);
            let found = known.find_map(|(mark, part)| Some((part, braced.strip_prefix(mark)?)));
            let (part, behind) = found.ok_or_else(|| NEED.to_owned())?;
            parts.push(part);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    fn of(&self, slot: Slot, slots: u32) -> String {
        let show = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot => slot.to_string(),
            Part::Slots => slots.to_string(),
        };
        self.0.iter().map(show).collect()
    }
}

pub(super) fn cpus(value: &OsStr) -> Result<CpuSet, Need> {
    values::text(value)?.parse()
}

/// `NAME=VALUE`, as for all workers, but with the slot in the value.
pub(super) fn assignment(value: &OsStr) -> Result<(String, SlotText), Need> {
    let (name, content) = values::assignment(value)?;
    Ok((values::text(&name)?.to_owned(), SlotText::read(values::text(&content)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_the_slot() {
        let of = |text: &str| SlotText::read(text).map(|text| text.of(Slot(3), 8));
        for (text, value) in [
            ("", ""),
            ("plain", "plain"),
            ("80{slot}0", "8030"),
            ("{slot} of {slots}", "3 of 8"),
            ("{slot}{slot}", "33"),
            ("{{slot}}", "{slot}"),
            ("{{\"n\": {slot}, \"o\": {{}}}}", "{\"n\": 3, \"o\": {}}"),
            ("{{{slot}}}", "{3}"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(value), "{text}");
        }
        for text in ["{", "}", "{}", "{slto}", "{ slot }", "{slot", "slot}", "{Slot}", "{{slot}", "${HOME}", "{slot}}"]
        {
            assert_eq!(of(text), Err(NEED.to_owned()), "{text}");
        }
    }

    #[test]
    fn lists_are_used_in_turn() {
        let cpus = ["0-1", "2"].map(|text| text.parse().unwrap());
        let slots = SlotSetup { cpus: cpus.to_vec(), nice: vec![5], env: Vec::new() };
        let of = |slot| (slots.cpus(Slot(slot)).unwrap().to_string(), slots.nice(Slot(slot)));
        assert_eq!([0, 1, 2, 999].map(of), ["0-1", "2", "0-1", "2"].map(|cpus| (cpus.to_owned(), Some(5))));
        let none = SlotSetup::default();
        assert_eq!((none.cpus(Slot(0)), none.nice(Slot(7))), (None, None));
    }

    #[test]
    fn it_comes_back_from_a_handoff() {
        let slots = SlotSetup {
            cpus: vec!["0-3,8".parse().unwrap()],
            nice: vec![-1, 19],
            env: vec![("PORT".to_owned(), SlotText::read("80{slot}{{{slots}").unwrap())],
        };
        let text = serde_json::to_string(&slots).unwrap();
        assert_eq!(serde_json::from_str::<SlotSetup>(&text).unwrap(), slots, "{text}");
    }
}
