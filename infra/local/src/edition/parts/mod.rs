//! The services of the edition, one file each, and the parts of them that a process runs.
//!
//! A new service adds its file here and one line to `SERVICES`.

pub mod catalog;
pub mod identity;
pub mod inventory;
mod service;
pub mod sync;

use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub(crate) use service::{Context, Producer};
pub use service::{Part, ServiceError};

/// Every service, in the order in which they start.
pub(crate) static SERVICES: [&service::Service; 4] =
    [&inventory::SERVICE, &catalog::SERVICE, &identity::SERVICE, &sync::SERVICE];

/// The paths of all services on which a request costs more than one in the rate limit.
pub(crate) static EXPENSIVE_PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    SERVICES.iter().flat_map(|service| service.expensive_paths).copied().collect()
});

/// The parts that a process runs, in the order of `SERVICES`; all by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<&'static str>")]
pub struct Parts(Vec<Part>);

impl Parts {
    pub fn all() -> Self {
        Self(SERVICES.iter().flat_map(|service| service.parts).copied().collect())
    }

    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let all = Self::all();
        let mut chosen = Vec::new();
        for name in names {
            let part = all.0.iter().find(|part| part.name().eq_ignore_ascii_case(name));
            chosen.push(*part.ok_or_else(|| format!("{name:?} is not one of {}", all.list()))?);
        }
        Ok(Self(all.0.into_iter().filter(|part| chosen.contains(part)).collect()))
    }

    /// The names, for a sentence.
    pub(crate) fn list(&self) -> String {
        self.names().join(", ")
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|part| part.name()).collect()
    }

    pub(crate) fn to_vec(&self) -> Vec<Part> {
        self.0.clone()
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for Parts {
    type Err = String;

    /// `all`, or names separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" { Ok(Self::all()) } else { Self::named(text.split(',')) }
    }
}

impl TryFrom<Vec<String>> for Parts {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        Self::named(names.iter().map(String::as_str))
    }
}

impl From<Parts> for Vec<&'static str> {
    fn from(parts: Parts) -> Self {
        parts.names()
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::all() {
            return f.write_str("all");
        }
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_by_name_in_any_order_and_case() {
        let parts: Parts = "Sync,inventory".parse().unwrap();
        assert_eq!(parts.to_string(), "inventory,sync");
        assert!(parts.has(sync::SYNC) && !parts.has(inventory::RELAY));
        assert_eq!("all".parse::<Parts>().unwrap().to_string(), "all");
        for wrong in ["", "sync,", "orders", "all,sync"] {
            assert!(wrong.parse::<Parts>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parts_are_stored_as_a_list_of_names() {
        let stored = serde_json::to_string(&Parts::all()).unwrap();
        let names = r#"["inventory","relay","catalog","projector","identity","sync"]"#;
        assert_eq!(stored, names);
        assert_eq!(serde_json::from_str::<Parts>(names).unwrap(), Parts::all());
        assert!(serde_json::from_str::<Parts>(r#"["orders"]"#).is_err());
    }
}
