//! The arguments that every command takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The data folder of the edition
    #[arg(long, global = true, env = "VITRINA_DATA", default_value = ".vitrina")]
    pub data: PathBuf,
    #[arg(skip)]
    pub sources: Sources,
}

/// Where the values of arguments come from.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, &'static str>);

impl Sources {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        // Global arguments are in the matches of the command, too.
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        let source = |id: &str| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let ids = matches.ids().map(clap::Id::as_str);
        // Of a group of arguments there is no one source.
        let arguments = ids.filter(|id| matches.try_contains_id(id).unwrap_or(false));
        Self(arguments.map(|id| (id.to_owned(), source(id))).collect())
    }

    /// `flag`, `environment` or `default`.
    pub fn of_argument(&self, id: &str) -> &'static str {
        self.0.get(id).copied().unwrap_or("default")
    }
}
