//! A member of a JSON merge patch (RFC 7396).

use serde::{Deserialize, Deserializer};

/// What a patch does to one field. With `#[serde(default)]`, an absent member reads as
/// [`Patch::Keep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// The member is absent.
    #[default]
    Keep,
    /// The member is `null`.
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(f(value)),
        }
    }
}

/// A member that is present.
impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        name: Patch<String>,
    }

    #[test]
    fn absent_null_and_value_are_three_cases() {
        for (json, expected) in [
            ("{}", Patch::Keep),
            (r#"{"name": null}"#, Patch::Clear),
            (r#"{"name": "Shoe"}"#, Patch::Set("Shoe".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<Body>(json).unwrap().name, expected, "{json}");
        }
    }
}
