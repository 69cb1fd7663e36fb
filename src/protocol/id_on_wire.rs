//! The id of a request in a handoff: as the YAML that it came in, for it may be any value. For a field:
//! `#[serde(with = "id_on_wire")]`. It decides nothing about ids.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::protocol::RequestId;
use crate::yaml::{self, Limits};

/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(id: &RequestId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&yaml::write(id))
}

/// # Errors
/// It is no YAML.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RequestId, D::Error> {
    let text = String::deserialize(deserializer)?;
    yaml::read(&text, Limits::TRUSTED).map_err(D::Error::custom)
}
