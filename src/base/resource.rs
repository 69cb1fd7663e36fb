//! Resource limits by their names, as configuration, handoff and messages have them. Decides no limit.

use std::fmt;

use nix::sys::resource::Resource as Number;
use serde::{Deserialize, Serialize};

/// The names of systemd and limits.conf in lower case, without their prefix.
const NAMES: [(&str, Number); 16] = [
    ("as", Number::RLIMIT_AS),
    ("core", Number::RLIMIT_CORE),
    ("cpu", Number::RLIMIT_CPU),
    ("data", Number::RLIMIT_DATA),
    ("fsize", Number::RLIMIT_FSIZE),
    ("locks", Number::RLIMIT_LOCKS),
    ("memlock", Number::RLIMIT_MEMLOCK),
    ("msgqueue", Number::RLIMIT_MSGQUEUE),
    ("nice", Number::RLIMIT_NICE),
    ("nofile", Number::RLIMIT_NOFILE),
    ("nproc", Number::RLIMIT_NPROC),
    ("rss", Number::RLIMIT_RSS),
    ("rtprio", Number::RLIMIT_RTPRIO),
    ("rttime", Number::RLIMIT_RTTIME),
    ("sigpending", Number::RLIMIT_SIGPENDING),
    ("stack", Number::RLIMIT_STACK),
];

/// One of the things that getrlimit(2) limits. A handoff has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Resource(Number);

impl Resource {
    /// `nofile` for RLIMIT_NOFILE; None for a name that is not known, or not in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }

    /// All that [`Self::from_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    pub fn number(self) -> Number {
        self.0
    }

    /// Its place among the names, which a child can send through a pipe.
    pub fn index(self) -> Option<u8> {
        NAMES.iter().position(|(_, number)| *number == self.0).and_then(|index| u8::try_from(index).ok())
    }

    pub fn from_index(index: u8) -> Option<Self> {
        NAMES.get(usize::from(index)).map(|(_, number)| Self(*number))
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.to_string()
    }
}

impl TryFrom<String> for Resource {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name).ok_or_else(|| format!("the handoff has an unknown limit {name:?}"))
    }
}

impl fmt::Display for Resource {
    /// As [`Resource::from_name`] takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, number)| *number == self.0).map_or("", |(name, _)| name))
    }
}

/// What a child shall have of a resource, in the resource's unit, see getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    pub resource: Resource,
    /// `u64::MAX` for no limit, like `hard`.
    pub soft: u64,
    pub hard: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_that_of_its_constant() {
        for (name, number) in NAMES {
            assert_eq!(format!("RLIMIT_{}", name.to_uppercase()), format!("{number:?}"));
            let resource = Resource::from_name(name).unwrap();
            assert_eq!((resource, resource.to_string().as_str()), (Resource(number), name));
        }
        for unknown in ["", "NOFILE", "rlimit_nofile", "swap"] {
            assert_eq!(Resource::from_name(unknown), None);
        }
    }
}
