//! Maps with a fixed set of keys, and words with a fixed set of meanings: each is said once, in a `record!` or a `words!`,
//! and read, written and (in tests) made up by that. A key that is not asked for is not looked at.

use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::yaml::Value;

/// What a map's keys are: symbols in einhorn's part, strings in ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handoff) enum Keys {
    Symbols,
    Strings,
}

impl Keys {
    pub(in crate::handoff) fn key(self, name: &str) -> Value {
        match self {
            Self::Symbols => Value::symbol(name),
            Self::Strings => Value::str(name),
        }
    }

    /// As the key is written.
    fn show(self, name: &str) -> String {
        match self {
            Self::Symbols => format!(":{name}"),
            Self::Strings => name.to_owned(),
        }
    }
}

/// A map that is being read.
#[derive(Clone, Copy)]
pub(in crate::handoff) struct Record<'a> {
    map: &'a Value,
    keys: Keys,
    /// The names of all fields, for who asks what stands beside them.
    known: &'a [&'a str],
}

impl<'a> Record<'a> {
    pub(in crate::handoff) fn of(map: &'a Value, keys: Keys) -> Result<Self, Fault> {
        match map.as_map() {
            Some(_) => Ok(Self { map, keys, known: &[] }),
            None => Err(Fault::wrong("a map", map)),
        }
    }

    pub(in crate::handoff) fn knowing(self, known: &'a [&'a str]) -> Self {
        Self { known, ..self }
    }

    fn find(&self, name: &str) -> Option<&'a Value> {
        match self.keys {
            Keys::Symbols => self.map.get_symbol(name),
            Keys::Strings => self.map.get(name),
        }
    }

    /// A field without which the record makes no sense.
    pub(in crate::handoff) fn need<T: Field>(&self, name: &str) -> Result<T, Fault> {
        match self.find(name) {
            Some(value) => self.read(name, value),
            None => Err(Fault::new("it is missing").within(self.keys.show(name))),
        }
    }

    /// A field that older documents may not have.
    pub(in crate::handoff) fn or<T: Field>(&self, name: &str, default: impl FnOnce() -> T) -> Result<T, Fault> {
        match self.find(name) {
            Some(value) => self.read(name, value),
            None => Ok(default()),
        }
    }

    fn read<T: Field>(&self, name: &str, value: &Value) -> Result<T, Fault> {
        T::from_value(value).map_err(|fault| fault.within(self.keys.show(name)))
    }

    /// What stands under keys that are no field's.
    pub(in crate::handoff) fn others(&self) -> Vec<(Value, Value)> {
        let pairs = self.map.as_map().unwrap_or_default().iter();
        pairs.filter(|(key, _)| !self.known.iter().any(|name| self.keys.key(name) == *key)).cloned().collect()
    }
}

/// A map with one more pair in front.
pub(in crate::handoff) fn with_first(key: Value, value: Value, map: Value) -> Value {
    let pairs = map.as_map().unwrap_or_default().iter().cloned();
    Value::Map([(key, value)].into_iter().chain(pairs).collect())
}

/// `Type as Keys {` the fields, each with what it is when it is missing (`= default`), or without one: then it has been
/// there from the first, and must be. `} when_set {` fields that are not written while they are their default. `} others
/// field`: where to keep what stands under unknown keys.
macro_rules! record {
    ($record:ident as $keys:path { $($field:ident $(= $default:expr)?),+ $(,)? }
        $(when_set { $($sparse:ident = $unset:expr),+ $(,)? })? $(others $others:ident)?) => {
        impl $crate::handoff::field::Field for $record {
            fn to_value(&self) -> $crate::yaml::Value {
                #[allow(unused_mut, reason = "only some records have more than the first fields")]
                let mut pairs = vec![$(($keys.key(stringify!($field)), self.$field.to_value())),+];
                $($(if self.$sparse != $unset {
                    pairs.push(($keys.key(stringify!($sparse)), self.$sparse.to_value()));
                })+)?
                $(pairs.extend(self.$others.iter().cloned());)?
                $crate::yaml::Value::Map(pairs)
            }

            fn from_value(value: &$crate::yaml::Value) -> Result<Self, $crate::handoff::error::Fault> {
                let known = [$(stringify!($field),)+ $($(stringify!($sparse),)+)?];
                let record = $crate::handoff::record::Record::of(value, $keys)?.knowing(&known);
                Ok(Self {
                    $($field: $crate::handoff::record::field!(record, $field $(, $default)?),)+
                    $($($sparse: $crate::handoff::record::field!(record, $sparse, $unset),)+)?
                    $($others: record.others(),)?
                })
            }
        }

        #[cfg(test)]
        impl $crate::handoff::testing::Random for $record {
            fn random(dice: &mut $crate::handoff::testing::Dice) -> Self {
                use $crate::handoff::testing::Random;
                Self {
                    $($field: Random::random(dice),)+
                    $($($sparse: Random::random(dice),)+)?
                    $($others: dice.unknown_pairs(),)?
                }
            }
        }
    };
}

macro_rules! field {
    ($record:ident, $field:ident) => {
        $record.need(stringify!($field))?
    };
    ($record:ident, $field:ident, $default:expr) => {
        $record.or(stringify!($field), || $default)?
    };
}

/// An enum without data, and the word for each of its variants.
macro_rules! words {
    ($words:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $crate::handoff::field::Field for $words {
            fn to_value(&self) -> $crate::yaml::Value {
                $crate::yaml::Value::str(match self { $(Self::$variant => $word),+ })
            }

            fn from_value(value: &$crate::yaml::Value) -> Result<Self, $crate::handoff::error::Fault> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)+
                    Some(_) | None => {
                        Err($crate::handoff::error::Fault::wrong(concat!("one of", $(" ", $word),+), value))
                    }
                }
            }
        }

        #[cfg(test)]
        impl $crate::handoff::testing::Random for $words {
            fn random(dice: &mut $crate::handoff::testing::Dice) -> Self {
                let all = [$(Self::$variant),+];
                all[dice.below(all.len())]
            }
        }
    };
}

pub(in crate::handoff) use {field, record, words};
