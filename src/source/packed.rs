//! A value as its JSON text: a tenth of the memory of a tree of maps.
//!
//! For objects that are kept for a long time and looked into rarely. Equal values have equal texts,
//! since the keys of an object are sorted.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Arc<str>);

impl Packed {
    /// The value again.
    pub fn unpack(&self) -> Value {
        // The text is what a value was printed as.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<&Value> for Packed {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As a string: all of a directory's objects are written for each change, and none is parsed for it.
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value: Value = serde_json::from_str(&text).map_err(D::Error::custom)?;
        Ok(Self::from(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_values_have_one_text() {
        let (a, b): (Value, Value) =
            (serde_json::from_str(r#"{"b":1,"a":[null,"x"]}"#).unwrap(), json!({"a": [null, "x"], "b": 1}));
        assert_eq!(Packed::from(&a), Packed::from(&b));
        assert_eq!(Packed::from(&a).unpack(), b);
    }
}
