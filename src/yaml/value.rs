//! A YAML value of the types that einhorn's documents use, with accessors. Knows nothing of how values are spelled.
//!
//! Equality and order are by content and see through [`Value::Shared`]; the order of a map's pairs counts. The order of values means
//! nothing: it lets a value be a key.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::yaml::time::Time;

/// One value, as Ruby has it after `YAML.load`.
#[derive(Clone, Debug)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    /// An integer that does not fit [`Value::Int`]: decimal digits, with `-` before them when negative.
    BigInt(String),
    Float(f64),
    Str(String),
    /// A string that is not text (`!binary`), for instance an argument that is not UTF-8.
    Bytes(Vec<u8>),
    Symbol(String),
    Time(Time),
    Seq(Vec<Value>),
    /// Pairs in the order of insertion; the reader leaves no key twice.
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    /// An object that may stand in several places. Written as `&1` and `*1` when the same `Arc` is met twice and holds a
    /// time or a collection, as Psych does; otherwise as what it holds. Read with [`Value::plain`] or the accessors.
    Shared(Arc<Value>),
}

impl Value {
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    pub fn symbol(name: impl Into<String>) -> Self {
        Self::Symbol(name.into())
    }

    /// A map with string keys.
    pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::str(key), value)).collect())
    }

    /// A map with symbol keys, as einhorn's state is.
    pub fn symbol_map<const N: usize>(pairs: [(&str, Value); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::symbol(key), value)).collect())
    }

    /// The value as an object whose clones are all the same object.
    pub fn share(self) -> Self {
        match self {
            Self::Shared(_) => self,
            other => Self::Shared(Arc::new(other)),
        }
    }

    /// What a shared object holds; any other value itself.
    pub fn plain(&self) -> &Self {
        let mut value = self;
        while let Self::Shared(inner) = value {
            value = inner;
        }
        value
    }

    /// The value under a string key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.find(|candidate| candidate.as_str() == Some(key))
    }

    /// The value under a symbol key of a map.
    pub fn get_symbol(&self, key: &str) -> Option<&Self> {
        self.find(|candidate| candidate.as_symbol() == Some(key))
    }

    fn find(&self, is_key: impl Fn(&Self) -> bool) -> Option<&Self> {
        self.as_map()?.iter().find(|(key, _)| is_key(key)).map(|(_, value)| value)
    }

    /// Sets a key of a map in its old place, or at the end when it is new. Asserts that this is a map of one's own making.
    pub fn insert(&mut self, key: Self, value: Self) {
        let Self::Map(pairs) = self else { panic!("cannot insert a key: {} is not a map", self.kind()) };
        match pairs.iter_mut().find(|(old, _)| *old == key) {
            Some((_, slot)) => *slot = value,
            None => pairs.push((key, value)),
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self.plain(), Self::Nil)
    }

    pub fn is_number(&self) -> bool {
        matches!(self.plain(), Self::Int(_) | Self::BigInt(_) | Self::Float(_))
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(yes) = self.plain() { Some(*yes) } else { None }
    }

    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self.plain() { Some(*number) } else { None }
    }

    /// A float, or an integer as a float: Ruby's arithmetic takes either.
    pub fn as_float(&self) -> Option<f64> {
        match self.plain() {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self.plain() { Some(text) } else { None }
    }

    /// A string's bytes, whether or not it is text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.plain() {
            Self::Str(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn as_symbol(&self) -> Option<&str> {
        if let Self::Symbol(name) = self.plain() { Some(name) } else { None }
    }

    pub fn as_time(&self) -> Option<Time> {
        if let Self::Time(time) = self.plain() { Some(*time) } else { None }
    }

    pub fn as_seq(&self) -> Option<&[Self]> {
        if let Self::Seq(items) = self.plain() { Some(items) } else { None }
    }

    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        if let Self::Map(pairs) = self.plain() { Some(pairs) } else { None }
    }

    pub fn as_set(&self) -> Option<&[Self]> {
        if let Self::Set(members) = self.plain() { Some(members) } else { None }
    }

    /// The values that stand directly in a collection: its items, or its keys and values by turns. `None`: it is no collection.
    pub fn parts(&self) -> Option<impl Iterator<Item = &Self>> {
        let (items, pairs): (&[Self], &[(Self, Self)]) = match self.plain() {
            Self::Seq(items) | Self::Set(items) => (items, &[]),
            Self::Map(pairs) => (&[], pairs),
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::BigInt(_) | Self::Float(_) => return None,
            Self::Str(_) | Self::Bytes(_) | Self::Symbol(_) | Self::Time(_) | Self::Shared(_) => return None,
        };
        Some(items.iter().chain(pairs.iter().flat_map(|(key, value)| [key, value])))
    }

    /// The value's type in words, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::BigInt(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Bytes(_) => "a binary string",
            Self::Symbol(_) => "a symbol",
            Self::Time(_) => "a time",
            Self::Seq(_) => "a list",
            Self::Map(_) => "a map",
            Self::Set(_) => "a set",
            Self::Shared(inner) => inner.kind(),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),+) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

from!(bool => Bool, i64 => Int, f64 => Float, &str => Str, String => Str, Time => Time);

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Seq(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// The bits that tell floats apart: one zero, and one NaN that equals itself, so that a document equals its copy.
fn float_key(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.plain(), other.plain()) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => float_key(*a).cmp(&float_key(*b)),
            (Self::BigInt(a), Self::BigInt(b)) | (Self::Str(a), Self::Str(b)) | (Self::Symbol(a), Self::Symbol(b)) => {
                a.cmp(b)
            }
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Seq(a), Self::Seq(b)) | (Self::Set(a), Self::Set(b)) => a.cmp(b),
            (Self::Map(a), Self::Map(b)) => a.cmp(b),
            // A big integer is of the same kind as another, and never equal to it.
            (a, b) => (a.kind(), matches!(a, Self::BigInt(_))).cmp(&(b.kind(), matches!(b, Self::BigInt(_)))),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}
