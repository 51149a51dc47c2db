//! The arguments that all commands share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Data folder of the edition
    #[arg(long, global = true, env = "VITRINA_DATA", default_value = ".vitrina")]
    pub data: PathBuf,
    #[arg(skip)]
    pub sources: Sources,
}

/// The source of each argument's value.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, &'static str>);

impl Sources {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        // The matches of a subcommand include the global arguments.
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        let source = |id: &str| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let ids = matches.ids().map(clap::Id::as_str);
        // A group of arguments has no single source.
        let arguments = ids.filter(|id| matches.try_contains_id(id).unwrap_or(false));
        Self(arguments.map(|id| (id.to_owned(), source(id))).collect())
    }

    /// `flag`, `environment` or `default`.
    pub(crate) fn of_argument(&self, id: &str) -> &'static str {
        self.0.get(id).copied().unwrap_or("default")
    }
}
