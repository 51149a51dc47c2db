//! Which parts of Vitrina a process runs.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One role of one service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The seller's API.
    Inventory,
    /// Publishes what is committed.
    Relay,
    /// The public catalogue.
    Catalog,
    /// Projects events into listings.
    Projector,
    /// Sign-up, log-in and the key set.
    Identity,
    /// Compares the two stores and has mended what differs.
    Sync,
}

/// Some roles; all unless said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles(BTreeSet<Role>);

impl Default for Roles {
    fn default() -> Self {
        Self::all()
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Roles {
    pub fn all() -> Self {
        Self(<Role as clap::ValueEnum>::value_variants().iter().copied().collect())
    }

    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl FromStr for Roles {
    type Err = String;

    /// `all`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::all());
        }
        text.split(',')
            .map(|name| <Role as clap::ValueEnum>::from_str(name, true))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::all() {
            return f.write_str("all");
        }
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}
