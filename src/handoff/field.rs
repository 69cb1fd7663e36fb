//! Single values: numbers, words, bytes, moments, ids, and lists of them, each between its own type and YAML. What does not
//! fit the type is refused; nothing is rounded, cut or guessed.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::{Pid, Signal, Version, Wall, WorkerIndex};
use crate::handoff::error::Fault;
use crate::yaml::{Time, Value};

/// The descriptors below are the standard ones.
const FD_FIRST: i32 = 3;

/// A descriptor by its number, open in the process that the document is for; never 0, 1 or 2. The number alone closes
/// nothing: the reader of the document makes an `OwnedFd` of it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32")]
pub struct Fd(pub i32);

/// A number as Ruby has it: one without a fraction may be either.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// What has a form in YAML.
pub(in crate::handoff) trait Field: Sized {
    fn to_value(&self) -> Value;
    fn from_value(value: &Value) -> Result<Self, Fault>;
}

fn from_whole(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::BigInt(number.to_string()), Value::Int)
}

fn to_whole(value: &Value) -> Result<i128, Fault> {
    let found = match value.plain() {
        Value::Int(number) => Some(i128::from(*number)),
        Value::BigInt(digits) => digits.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| Fault::wrong("a number", value))
}

macro_rules! integers {
    ($($integer:ty),+) => {$(
        impl Field for $integer {
            fn to_value(&self) -> Value {
                from_whole(i128::from(*self))
            }

            fn from_value(value: &Value) -> Result<Self, Fault> {
                let range = || Fault::wrong(&format!("a number from {} to {}", Self::MIN, Self::MAX), value);
                Self::try_from(to_whole(value)?).map_err(|_| range())
            }
        }
    )+};
}

integers!(u16, u32, u64, i32, i64);

/// Ids that are any number of their type.
macro_rules! ids {
    ($($id:ident),+) => {$(
        impl Field for $id {
            fn to_value(&self) -> Value {
                self.0.to_value()
            }

            fn from_value(value: &Value) -> Result<Self, Fault> {
                Field::from_value(value).map(Self)
            }
        }
    )+};
}

ids!(Version, WorkerIndex);

/// A signal to 0, -1 or 1 would reach every process but a worker.
impl Field for Pid {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let pid = i32::from_value(value)?;
        if pid > 1 { Ok(Self(pid)) } else { Err(Fault::wrong("a process id above 1", value)) }
    }
}

impl Field for Fd {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        Self::try_from(i32::from_value(value)?).map_err(Fault::new)
    }
}

/// By its name, as einhorn has it; a real-time signal has none but its number.
impl Field for Signal {
    fn to_value(&self) -> Value {
        let name = self.to_string();
        if Self::from_name(&name).is_some() { Value::Str(name) } else { self.number().to_value() }
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let by_number = || value.as_int().and_then(|number| Self::from_number(i32::try_from(number).ok()?));
        let found = value.as_str().map_or_else(by_number, Self::from_name);
        found.ok_or_else(|| Fault::wrong("a signal", value))
    }
}

impl TryFrom<i32> for Fd {
    type Error = String;

    fn try_from(number: i32) -> Result<Self, String> {
        if number >= FD_FIRST { Ok(Self(number)) } else { Err(format!("need a descriptor from 3 on, found {number}")) }
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Field for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        value.as_bool().ok_or_else(|| Fault::wrong("true or false", value))
    }
}

/// einhorn's defaults are integers and what is given are floats, and `state` shows which.
impl Field for Number {
    fn to_value(&self) -> Value {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Float(number) => Value::Float(*number),
        }
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        match value.plain() {
            Value::Int(number) => Ok(Self::Int(*number)),
            Value::Float(number) if number.is_finite() => Ok(Self::Float(*number)),
            _ => Err(Fault::wrong("a number", value)),
        }
    }
}

/// The zone is only how a moment is shown: Ruby's is its machine's, ours none.
impl Field for Wall {
    fn to_value(&self) -> Value {
        Value::Time(Time::local(self.seconds, self.nanos, 0))
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let time = value.as_time().ok_or_else(|| Fault::wrong("a time", value))?;
        Ok(Self { seconds: time.seconds, nanos: time.nanos })
    }
}

impl Field for String {
    fn to_value(&self) -> Value {
        Value::str(self.as_str())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        value.as_str().map(str::to_owned).ok_or_else(|| Fault::wrong("a string", value))
    }
}

/// Bytes are a string as long as they are text, so that people can read them.
impl Field for Vec<u8> {
    fn to_value(&self) -> Value {
        std::str::from_utf8(self).map_or_else(|_| Value::Bytes(self.clone()), Value::str)
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        value.as_bytes().map(<[u8]>::to_vec).ok_or_else(|| Fault::wrong("a string", value))
    }
}

impl Field for OsString {
    fn to_value(&self) -> Value {
        self.as_bytes().to_vec().to_value()
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        Vec::<u8>::from_value(value).map(Self::from_vec)
    }
}

impl Field for PathBuf {
    fn to_value(&self) -> Value {
        self.as_os_str().as_bytes().to_vec().to_value()
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        OsString::from_value(value).map(Self::from)
    }
}

/// Whatever it is, it is kept: a client's request id, what einhorn keeps and we do not know.
impl Field for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        Ok(value.clone())
    }
}

impl<T: Field> Field for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Nil, T::to_value)
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        if value.is_nil() { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: Field> Field for Vec<T> {
    fn to_value(&self) -> Value {
        Value::Seq(self.iter().map(T::to_value).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let items = value.as_seq().ok_or_else(|| Fault::wrong("a list", value))?;
        items.iter().enumerate().map(|(at, item)| T::from_value(item).map_err(|fault| fault.within(at))).collect()
    }
}
