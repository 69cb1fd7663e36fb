//! The fields of a record: which there are, how each is written, and how one that is missing is made up for.

use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::yaml::Value;

/// A map that is being read.
#[derive(Clone, Copy)]
pub(in crate::handoff) struct Record<'a> {
    map: &'a Value,
    /// The names of all fields, for who asks what stands beside them.
    known: &'a [&'a str],
}

impl<'a> Record<'a> {
    pub(in crate::handoff) fn of(map: &'a Value) -> Result<Self, Fault> {
        match map.as_map() {
            Some(_) => Ok(Self { map, known: &[] }),
            None => Err(Fault::wrong("a map", map)),
        }
    }

    pub(in crate::handoff) fn knowing(self, known: &'a [&'a str]) -> Self {
        Self { known, ..self }
    }

    fn find(&self, name: &str) -> Option<&'a Value> {
        self.map.get_symbol(name)
    }

    /// A field without which the record makes no sense.
    pub(in crate::handoff) fn need<T: Field>(&self, name: &str) -> Result<T, Fault> {
        match self.find(name) {
            Some(value) => self.read(name, value),
            None => Err(Fault::new("it is missing").within(format!(":{name}"))),
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
        T::from_value(value).map_err(|fault| fault.within(format!(":{name}")))
    }

    /// What stands under keys that are no field's.
    pub(in crate::handoff) fn others(&self) -> Vec<(Value, Value)> {
        let pairs = self.map.as_map().unwrap_or_default().iter();
        pairs.filter(|(key, _)| !key.as_symbol().is_some_and(|name| self.known.contains(&name))).cloned().collect()
    }
}

/// A map with one more pair in front.
pub(in crate::handoff) fn with_first(key: Value, value: Value, map: Value) -> Value {
    let pairs = map.as_map().unwrap_or_default().iter().cloned();
    Value::Map([(key, value)].into_iter().chain(pairs).collect())
}

/// `Type {` the fields, each with what it is when it is missing (`= default`), or without one: then it has been
/// there from the first, and must be. `} when_set {` fields that are not written while they are their default. `} others
/// field`: where to keep what stands under unknown keys.
macro_rules! record {
    ($record:ident { $($field:ident $(= $default:expr)?),+ $(,)? }
        $(when_set { $($sparse:ident = $unset:expr),+ $(,)? })? $(others $others:ident)?) => {
        impl $crate::handoff::field::Field for $record {
            fn to_value(&self) -> $crate::yaml::Value {
                #[allow(unused_mut, reason = "only some records have more than the first fields")]
                let mut pairs = vec![$(($crate::yaml::Value::symbol(stringify!($field)), self.$field.to_value())),+];
                $($(if self.$sparse != $unset {
                    pairs.push(($crate::yaml::Value::symbol(stringify!($sparse)), self.$sparse.to_value()));
                })+)?
                $(pairs.extend(self.$others.iter().cloned());)?
                $crate::yaml::Value::Map(pairs)
            }

            fn from_value(value: &$crate::yaml::Value) -> Result<Self, $crate::handoff::error::Fault> {
                let known = [$(stringify!($field),)+ $($(stringify!($sparse),)+)?];
                let record = $crate::handoff::record::Record::of(value)?.knowing(&known);
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

/// The same, with the record that has no field given as its `Default`.
macro_rules! record_with_default {
    ($record:ident { $($field:ident $(= $default:expr)?),+ $(,)? }
        $(when_set { $($sparse:ident = $unset:expr),+ $(,)? })? $(others $others:ident)?) => {
        $crate::handoff::record::record! {
            $record { $($field $(= $default)?),+ } $(when_set { $($sparse = $unset),+ })? $(others $others)?
        }

        impl Default for $record {
            fn default() -> Self {
                Self {
                    $($field: $crate::handoff::record::default!($($default)?),)+
                    $($($sparse: $unset,)+)?
                    $($others: Vec::new(),)?
                }
            }
        }
    };
}

macro_rules! default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

pub(in crate::handoff) use {default, field, record, record_with_default};
