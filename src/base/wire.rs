//! Bytes that need not be text (paths, arguments, what a client has sent), as serde writes them into a handoff: as a string where
//! people can read them, else as `{"hex": "ff61"}`. For a field: `#[serde(with = "wire")]`, which knows options, lists and pairs, too.
//! Nothing is lost on the way.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is bytes, or is made of such.
pub trait Raw: Sized {
    /// # Errors
    /// The serializer's.
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// # Errors
    /// It is neither a string nor bytes in hexadecimal digits.
    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// # Errors
/// The serializer's.
pub fn serialize<T: Raw, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.put(serializer)
}

/// # Errors
/// It is not what [`serialize`] writes.
pub fn deserialize<'de, T: Raw, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::take(deserializer)
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes<'a> {
    Text(Cow<'a, str>),
    Other { hex: Cow<'a, str> },
}

impl Raw for Vec<u8> {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        put_bytes(self, serializer)
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Bytes::deserialize(deserializer)? {
            Bytes::Text(text) => Ok(text.into_owned().into_bytes()),
            Bytes::Other { hex } => from_hex(&hex).ok_or_else(|| Error::custom("need pairs of hexadecimal digits")),
        }
    }
}

impl Raw for OsString {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        put_bytes(self.as_bytes(), serializer)
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::take(deserializer).map(Self::from_vec)
    }
}

impl Raw for PathBuf {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        put_bytes(self.as_os_str().as_bytes(), serializer)
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OsString::take(deserializer).map(Self::from)
    }
}

/// Control characters would take more room as escapes than as digits.
fn put_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text = std::str::from_utf8(bytes).ok();
    let readable = text.filter(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')));
    let written = match readable {
        Some(text) => Bytes::Text(text.into()),
        None => Bytes::Other { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into() },
    };
    written.serialize(serializer)
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| byte(pair).filter(|_| pair.len() == 2 && pair[0] != b'+')).collect()
}

/// Serde's own way to read and write what is made of several.
struct Part<T>(T);

impl<T: Raw> Serialize for Part<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.put(serializer)
    }
}

impl<'de, T: Raw> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::take(deserializer).map(Self)
    }
}

impl<T: Raw> Raw for Option<T> {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Part).serialize(serializer)
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Part<T>>::deserialize(deserializer)?.map(|part| part.0))
    }
}

impl<T: Raw> Raw for Vec<T> {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Part))
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Part<T>>::deserialize(deserializer)?.into_iter().map(|part| part.0).collect())
    }
}

impl<T: Raw, U: Raw> Raw for (T, U) {
    fn put<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Part(&self.0), Part(&self.1)).serialize(serializer)
    }

    fn take<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (one, other) = <(Part<T>, Part<U>)>::deserialize(deserializer)?;
        Ok((one.0, other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        #[serde(with = "wire")]
        bytes: Vec<u8>,
        #[serde(with = "wire")]
        path: PathBuf,
        #[serde(default, with = "wire")]
        none: Option<OsString>,
        #[serde(with = "wire")]
        pairs: Vec<(OsString, OsString)>,
    }

    #[test]
    fn bytes_come_back_whatever_they_are() {
        let odd = || OsString::from_vec(b"\xffa".to_vec());
        for bytes in [b"".as_slice(), b"plain", "é\n\t\"\\".as_bytes(), b"\x00", b"\xff\xfe", b"\x1b[0m"] {
            let pairs = vec![("LANG".into(), odd()), (odd(), "x".into())];
            let written = Everything { bytes: bytes.to_vec(), path: odd().into(), none: None, pairs };
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<Everything>(&text).unwrap(), written, "{text}");
        }
    }

    #[test]
    fn text_is_written_as_text_and_the_rest_in_digits() {
        let written = Everything { bytes: b"\x00\xff".to_vec(), path: "/é".into(), none: None, pairs: Vec::new() };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(text, r#"{"bytes":{"hex":"00ff"},"path":"/é","none":null,"pairs":[]}"#);
        let least = r#"{"bytes":{"hex":"00fF"},"path":"/é","pairs":[]}"#;
        assert_eq!(serde_json::from_str::<Everything>(least).unwrap(), written);
    }

    #[test]
    fn what_is_no_bytes_is_refused() {
        for bytes in [r#"{"hex":"0"}"#, r#"{"hex":"+1"}"#, r#"{"hex":"éé"}"#, "1", "[1]", "{}", "null"] {
            let text = format!(r#"{{"bytes":{bytes},"path":"","pairs":[]}}"#);
            assert!(serde_json::from_str::<Everything>(&text).is_err(), "{text}");
        }
    }
}
