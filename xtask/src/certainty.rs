//! `cargo xtask certainty`: what shows that nothing is lost and nothing is wrong, as one table.
//!
//! Each line is a command that anybody can type; here they have names, and take how much is to be
//! done and from which seed.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;

use crate::{print, say, tree};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to show; all of it one after the other with `all`, which takes hours
    #[arg(value_name = "ID", ignore_case = true, value_parser = names())]
    ids: Vec<String>,
    /// How much: of seeds, requests, kills or cases; as much as in every run of the tests unless said
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// One thing that can be shown.
#[derive(Clone, Copy, Debug)]
struct Showing {
    id: &'static str,
    what: &'static str,
    /// What `--count` counts; nothing where it says nothing.
    counts: &'static str,
    by: By,
}

#[derive(Clone, Copy, Debug)]
enum By {
    /// A package, one of its test programs, and what the names of the tests begin with.
    Test(&'static str, &'static str, &'static str),
    /// A script, which takes `--cases` and `--seed`.
    Script(&'static str),
    /// A command of this program.
    Xtask(&'static str),
}

const SHOWINGS: &[Showing] = &[
    Showing {
        id: "R1",
        what: "Simulations of the whole path, with faults, come to listings that equal the products",
        counts: "seeds",
        by: By::Test("vitrina", "simulation", "converge"),
    },
    Showing {
        id: "R2",
        what: "A flood of events, doubled, reordered, delayed and dead, ends field by field as it should",
        counts: "events",
        by: By::Test("vitrina", "simulation", "flood"),
    },
    Showing {
        id: "R3",
        what: "A crash between any two effects loses nothing",
        counts: "",
        by: By::Test("vitrina", "simulation", "crash"),
    },
    Showing {
        id: "R3",
        what: "Every acknowledged write is listed, however often processes are killed",
        counts: "kills",
        by: By::Test("vitrina", "it", "kills"),
    },
    Showing {
        id: "R7",
        what: "A create that is sent many times at once happens once",
        counts: "requests",
        by: By::Test("vitrina", "it", "repeats"),
    },
    Showing {
        id: "R8",
        what: "Of a batch, whatever part of it fails, only that comes back",
        counts: "",
        by: By::Test("vitrina", "simulation", "subset"),
    },
    Showing {
        id: "R9",
        what: "Poison is buried, blocks nobody, and can be sent again",
        counts: "messages",
        by: By::Test("vitrina", "it", "poison"),
    },
    Showing {
        id: "R10",
        what: "A store that fails, before or after it did what it was asked, loses nothing",
        counts: "kinds of fault at each call",
        by: By::Test("vitrina", "simulation", "store_errors"),
    },
    Showing {
        id: "R11",
        what: "Reconciliation under live writes mends drift and overwrites nothing newer",
        counts: "products",
        by: By::Test("sync", "it", "live"),
    },
    Showing {
        id: "R11",
        what: "A reconciler that is dropped anywhere is resumed, and no bucket is left out",
        counts: "crashes",
        by: By::Test("sync", "it", "crashes"),
    },
    Showing {
        id: "R11",
        what: "A reconciliation goes on where it was when its process is killed",
        counts: "kills",
        by: By::Test("vitrina", "it", "resumed"),
    },
    Showing {
        id: "R12",
        what: "Requests that nobody means, made from the description of the API, are refused",
        counts: "cases",
        by: By::Script(".ci/fuzz-http"),
    },
    Showing {
        id: "R13",
        what: "Every route refuses every role that it is not for, and foreign objects are not there",
        counts: "",
        by: By::Test("vitrina", "it", "authorisation"),
    },
    Showing {
        id: "R15",
        what: "Faults that are planted into the code are caught by the tests",
        counts: "",
        by: By::Xtask("mutants"),
    },
];

fn names() -> PossibleValuesParser {
    let mut names: Vec<&str> = SHOWINGS.iter().map(|showing| showing.id).collect();
    names.dedup();
    names.push("all");
    PossibleValuesParser::new(names)
}

/// Returns whether everything that was asked for was shown.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    if args.ids.is_empty() {
        print(&list());
        return Ok(true);
    }
    let wanted = |showing: &&Showing| {
        args.ids.iter().any(|id| id == "all" || id.eq_ignore_ascii_case(showing.id))
    };
    let mut failed = Vec::new();
    for showing in SHOWINGS.iter().filter(wanted) {
        let Showing { id, what, .. } = showing;
        say(&format!("{id}: {what}\n  {}", showing.line(args)));
        let begun = Instant::now();
        let done = showing.command(args).status().with_context(|| format!("starting {id}"))?;
        let seconds = begun.elapsed().as_secs();
        say(&format!("{id}: {} ({seconds} s)", if done.success() { "shown" } else { "NOT SHOWN" }));
        if !done.success() {
            failed.push(*id);
        }
    }
    if !failed.is_empty() {
        print(&format!("not shown: {}", failed.join(", ")));
    }
    Ok(failed.is_empty())
}

impl Showing {
    fn command(&self, args: &Args) -> Command {
        let words = self.words(args);
        let mut command = match self.by {
            By::Script(path) => Command::new(tree::root().join(path)),
            By::Test(..) | By::Xtask(_) => tree::cargo(),
        };
        command.current_dir(tree::root()).args(words).envs(self.settings(args));
        command
    }

    /// What is said to cargo, or to the script.
    fn words(&self, args: &Args) -> Vec<String> {
        let words = match self.by {
            By::Test(package, target, name) => {
                vec!["test", "--quiet", "-p", package, "--test", target, name, "--", "--nocapture"]
            }
            By::Xtask(command) => vec!["xtask", command],
            By::Script(_) => Vec::new(),
        };
        let mut words: Vec<String> = words.into_iter().map(ToOwned::to_owned).collect();
        if let By::Script(_) = self.by {
            for (flag, value) in [("--cases", args.count), ("--seed", args.seed)] {
                words.extend(value.into_iter().flat_map(|n| [flag.to_owned(), n.to_string()]));
            }
        }
        words
    }

    /// What tests read how much they are to do from.
    fn settings(&self, args: &Args) -> Vec<(&'static str, String)> {
        let By::Test(..) = self.by else { return Vec::new() };
        let asked = [("VITRINA_TEST_COUNT", args.count), ("VITRINA_TEST_SEED", args.seed)];
        asked.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))).collect()
    }

    /// The same as somebody would type it.
    fn line(&self, args: &Args) -> String {
        let mut line = String::new();
        for (name, value) in self.settings(args) {
            let _ = write!(line, "{name}={value} ");
        }
        line.push_str(match self.by {
            By::Script(path) => path,
            By::Test(..) | By::Xtask(_) => "cargo",
        });
        for word in self.words(args) {
            let _ = write!(line, " {word}");
        }
        line
    }
}

fn list() -> String {
    let nothing = Args { ids: Vec::new(), count: None, seed: None };
    let mut lines = String::new();
    for showing in SHOWINGS {
        let Showing { id, what, counts, .. } = showing;
        let counts =
            if counts.is_empty() { String::new() } else { format!(" (--count: {counts})") };
        let _ = writeln!(lines, "{id:<4} {what}{counts}\n     {}", showing.line(&nothing));
    }
    lines.push_str("\ncargo xtask certainty ID.. shows some, `all` everything.");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_there_to_be_run() {
        for showing in SHOWINGS {
            let By::Test(package, target, name) = showing.by else { continue };
            let folder = match package {
                "vitrina" => "infra/local".to_owned(),
                service => format!("services/{service}"),
            };
            let tests = tree::root().join(folder).join("tests").join(target);
            let main = std::fs::read_to_string(tests.join("main.rs")).unwrap();
            let is_there = main.lines().any(|line| line.starts_with(&format!("mod {name}")));
            assert!(is_there, "{package} has no tests in {target} whose names begin with {name}");
        }
    }

    #[test]
    fn what_is_shown_is_a_command_that_anybody_can_type() {
        let args = Args { ids: Vec::new(), count: Some(100), seed: Some(7) };
        let line = |id: &str| SHOWINGS.iter().find(|one| one.id == id).unwrap().line(&args);
        assert_eq!(
            line("R1"),
            "VITRINA_TEST_COUNT=100 VITRINA_TEST_SEED=7 cargo test --quiet -p vitrina \
             --test simulation converge -- --nocapture"
        );
        assert_eq!(line("R12"), ".ci/fuzz-http --cases 100 --seed 7");
        assert_eq!(line("R15"), "cargo xtask mutants");
    }
}
