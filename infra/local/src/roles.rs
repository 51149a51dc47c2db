//! Which parts of Vitrina a process runs.

use std::collections::BTreeSet;
use std::str::FromStr;

/// One role of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

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
        let names: Vec<String> =
            self.0.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        f.write_str(&names.join(","))
    }
}
