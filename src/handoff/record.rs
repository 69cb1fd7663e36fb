//! The maps of einhorn's part. One list of fields makes the struct, its reader, its writer and its default.

use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::yaml::Value;

/// A map that is being read.
pub(in crate::handoff) struct Record<'a>(&'a Value);

impl<'a> Record<'a> {
    pub(in crate::handoff) fn of(map: &'a Value) -> Result<Self, Fault> {
        if map.as_map().is_some() { Ok(Self(map)) } else { Err(Fault::wrong("a map", map)) }
    }

    /// A field; without a default it must be there.
    pub(in crate::handoff) fn field<T: Field>(&self, name: &str, default: Option<T>) -> Result<T, Fault> {
        let found = match self.0.get_symbol(name) {
            Some(value) => T::from_value(value),
            None => default.ok_or_else(|| Fault::new("it is missing")),
        };
        found.map_err(|fault| fault.within(format!(":{name}")))
    }

    /// What stands under keys that are none of these names.
    pub(in crate::handoff) fn others(&self, known: &[&str]) -> Vec<(Value, Value)> {
        let pairs = self.0.as_map().unwrap_or_default().iter();
        pairs.filter(|(key, _)| !key.as_symbol().is_some_and(|name| known.contains(&name))).cloned().collect()
    }
}

/// A map with one more pair in front.
pub(in crate::handoff) fn with_first(key: &str, value: Value, map: Value) -> Value {
    let pairs = map.as_map().unwrap_or_default().iter().cloned();
    Value::Map([(Value::symbol(key), value)].into_iter().chain(pairs).collect())
}

/// A struct whose fields are the symbols of a map, in the order in which they are written.
///
/// `field: Type` must be there. `field: Type = default` may be missing. `field: Type => default` may be missing, and is not written
/// while it has its default. `others field` behind the struct adds a field for the pairs under unknown keys. `default` before the
/// struct derives `Default` from the defaults of the fields.
macro_rules! record {
    (default $($record:tt)+) => {
        record! { $($record)+ }
        record! { @default $($record)+ }
    };
    (@default $(#[$attribute:meta])* pub struct $record:ident {
        $($(#[$about:meta])* pub $field:ident: $type:ty $(= $default:expr)? $(=> $unset:expr)?,)+
    } $(others $others:ident)?) => {
        impl Default for $record {
            fn default() -> Self {
                Self {
                    $($field: default_of!(@value $($default)? $($unset)?),)+
                    $($others: Vec::new(),)?
                }
            }
        }
    };
    ($(#[$attribute:meta])* pub struct $record:ident {
        $($(#[$about:meta])* pub $field:ident: $type:ty $(= $default:expr)? $(=> $unset:expr)?,)+
    } $(others $others:ident)?) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $record {
            $($(#[$about])* pub $field: $type,)+
            $(/// What stands under keys that we do not know.
            pub $others: Vec<(Value, Value)>,)?
        }

        impl Field for $record {
            fn to_value(&self) -> Value {
                let mut pairs = Vec::new();
                $(if !(false $(|| self.$field == $unset)?) {
                    pairs.push((Value::symbol(stringify!($field)), self.$field.to_value()));
                })+
                $(pairs.extend(self.$others.iter().cloned());)?
                Value::Map(pairs)
            }

            fn from_value(value: &Value) -> Result<Self, Fault> {
                let record = Record::of(value)?;
                let _known = [$(stringify!($field)),+];
                Ok(Self {
                    $($field: record.field(stringify!($field), default_of!($($default)? $($unset)?))?,)+
                    $($others: record.others(&_known),)?
                })
            }
        }

        #[cfg(test)]
        impl $crate::handoff::testing::Random for $record {
            fn random(dice: &mut $crate::handoff::testing::Dice) -> Self {
                Self {
                    $($field: $crate::handoff::testing::Random::random(dice),)+
                    $($others: dice.unknown_pairs(),)?
                }
            }
        }
    };
}

macro_rules! default_of {
    (@value) => {
        Default::default()
    };
    (@value $default:expr) => {
        $default
    };
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}

pub(in crate::handoff) use {default_of, record};
