//! The name of a resource: `namespace/name`. No I/O.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A resource's namespace and name, in one text: `mail/edge`. Compares by namespace first, then by name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceName(Box<str>);

/// A text that names no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource is named namespace/name")]
pub struct ParseResourceError;

impl ResourceName {
    /// A name from its two parts: neither empty, neither with a slash or a space.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ParseResourceError> {
        let is_part = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '/' || c <= ' ');
        if is_part(namespace) && is_part(name) {
            Ok(Self(format!("{namespace}/{name}").into()))
        } else {
            Err(ParseResourceError)
        }
    }

    /// The whole: `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, "")) // the constructor put a slash there
    }
}

impl PartialOrd for ResourceName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ResourceName {
    type Err = ParseResourceError;

    fn from_str(text: &str) -> Result<Self, ParseResourceError> {
        let (namespace, name) = text.split_once('/').ok_or(ParseResourceError)?;
        Self::new(namespace, name)
    }
}

impl Serialize for ResourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ResourceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_ordered_by_namespace_then_name() {
        let [a, b]: [ResourceName; 2] = ["a-b/z", "a/z"].map(|text| text.parse().unwrap());
        assert!(b < a, "the namespace a comes before a-b, though '-' sorts before '/'");
        assert_eq!((b.namespace(), b.name()), ("a", "z"));
        for text in ["", "a", "/", "a/", "/b", "a/b/c", "a /b"] {
            assert!(text.parse::<ResourceName>().is_err(), "{text}");
        }
    }
}
