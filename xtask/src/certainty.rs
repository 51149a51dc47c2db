//! `cargo xtask certainty`: the commands that verify the promises of the project, as one table.
//!
//! Each is an ordinary command. The table gives it an id, and passes a count and a seed to it.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;

use crate::{print, say, tree};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Ids of the promises to verify; `all` verifies every one, which takes hours
    #[arg(value_name = "ID", ignore_case = true, value_parser = names())]
    ids: Vec<String>,
    /// Number of seeds, requests, kills or cases; by default that of an ordinary test run
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// A promise and the command that verifies it.
#[derive(Clone, Copy, Debug)]
struct Promise {
    id: &'static str,
    what: &'static str,
    /// The unit of `--count`. Empty: the command takes no count.
    unit: &'static str,
    check: Check,
}

#[derive(Clone, Copy, Debug)]
enum Check {
    /// A package, one of its test programs, and the prefix of the test names.
    Test(&'static str, &'static str, &'static str),
    /// A script that takes `--cases` and `--seed`.
    Script(&'static str),
    /// A command of this program.
    Xtask(&'static str),
}

const PROMISES: &[Promise] = &[
    Promise {
        id: "R1",
        what: "Simulations of the whole path with faults end with listings that equal the products",
        unit: "seeds",
        check: Check::Test("vitrina", "simulation", "converge"),
    },
    Promise {
        id: "R2",
        what: "A flood of repeated, reordered, delayed and dead-lettered events ends in correct listings",
        unit: "events",
        check: Check::Test("vitrina", "simulation", "flood"),
    },
    Promise {
        id: "R3",
        what: "A crash between any two effects loses nothing",
        unit: "",
        check: Check::Test("vitrina", "simulation", "crash"),
    },
    Promise {
        id: "R3",
        what: "Every acknowledged write is listed, however often processes are killed",
        unit: "kills",
        check: Check::Test("vitrina", "it", "kills"),
    },
    Promise {
        id: "R7",
        what: "A create that is sent many times at once has one effect",
        unit: "requests",
        check: Check::Test("vitrina", "it", "repeats"),
    },
    Promise {
        id: "R8",
        what: "After a partial failure of a batch, only the failed messages are delivered again",
        unit: "",
        check: Check::Test("vitrina", "simulation", "subset"),
    },
    Promise {
        id: "R9",
        what: "Messages that always fail become dead letters, block no others, and can be redriven",
        unit: "messages",
        check: Check::Test("vitrina", "it", "poison"),
    },
    Promise {
        id: "R10",
        what: "A store call that fails, before or after its effect, loses nothing",
        unit: "kinds of fault at each call",
        check: Check::Test("vitrina", "simulation", "store_errors"),
    },
    Promise {
        id: "R11",
        what: "Reconciliation under live writes repairs drift and overwrites nothing newer",
        unit: "products",
        check: Check::Test("sync", "it", "live"),
    },
    Promise {
        id: "R11",
        what: "A reconciler that stops at any point resumes and skips no bucket",
        unit: "crashes",
        check: Check::Test("sync", "it", "crashes"),
    },
    Promise {
        id: "R11",
        what: "A reconciliation resumes where it was after its process is killed",
        unit: "kills",
        check: Check::Test("vitrina", "it", "resumed"),
    },
    Promise {
        id: "R12",
        what: "Generated requests that violate the API description are refused",
        unit: "cases",
        check: Check::Script(".ci/fuzz-http"),
    },
    Promise {
        id: "R13",
        what: "Every route refuses all other roles, and products of other sellers are not found",
        unit: "",
        check: Check::Test("vitrina", "it", "authorisation"),
    },
    Promise {
        id: "R15",
        what: "The tests catch faults that are planted in the code",
        unit: "",
        check: Check::Xtask("mutants"),
    },
    Promise {
        id: "R16",
        what: "Every interval has its value, and a test that sees it",
        unit: "",
        check: Check::Test("vitrina", "it", "intervals"),
    },
    Promise {
        id: "R16",
        what: "Every branch that only a race or an outage reaches is reached by a test",
        unit: "",
        check: Check::Test("vitrina", "it", "rare_paths"),
    },
    Promise {
        id: "R16",
        what: "Every column, attribute and header that is written is read back by a test",
        unit: "",
        check: Check::Test("vitrina", "it", "read_back"),
    },
    Promise {
        id: "R16",
        what: "Every metric, field for operators and attribute of an event is asserted by value",
        unit: "",
        check: Check::Test("vitrina", "it", "numbers"),
    },
    Promise {
        id: "R16",
        what: "Every command ends with its exit code in each situation",
        unit: "",
        check: Check::Test("vitrina", "cli", "exit_codes"),
    },
];

fn names() -> PossibleValuesParser {
    let mut names: Vec<&str> = PROMISES.iter().map(|promise| promise.id).collect();
    names.dedup();
    names.push("all");
    PossibleValuesParser::new(names)
}

/// Returns whether every selected promise was verified.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    if args.ids.is_empty() {
        print(&list());
        return Ok(true);
    }
    let is_selected = |promise: &&Promise| {
        args.ids.iter().any(|id| id == "all" || id.eq_ignore_ascii_case(promise.id))
    };
    let mut failed = Vec::new();
    for promise in PROMISES.iter().filter(is_selected) {
        let Promise { id, what, .. } = promise;
        say(&format!("{id}: {what}\n  {}", promise.command_line(args)));
        let begun = Instant::now();
        let status = promise.command(args).status().with_context(|| format!("starting {id}"))?;
        let seconds = begun.elapsed().as_secs();
        say(&format!(
            "{id}: {} ({seconds} s)",
            if status.success() { "verified" } else { "FAILED" }
        ));
        if !status.success() {
            failed.push(*id);
        }
    }
    if !failed.is_empty() {
        print(&format!("failed: {}", failed.join(", ")));
    }
    Ok(failed.is_empty())
}

impl Promise {
    fn command(&self, args: &Args) -> Command {
        let arguments = self.arguments(args);
        let mut command = match self.check {
            Check::Script(path) => Command::new(tree::root().join(path)),
            Check::Test(..) | Check::Xtask(_) => tree::cargo(),
        };
        command.current_dir(tree::root()).args(arguments).envs(self.environment(args));
        command
    }

    /// The arguments of cargo or of the script.
    fn arguments(&self, args: &Args) -> Vec<String> {
        let words = match self.check {
            Check::Test(package, target, name) => {
                vec!["test", "--quiet", "-p", package, "--test", target, name, "--", "--nocapture"]
            }
            Check::Xtask(command) => vec!["xtask", command],
            Check::Script(_) => Vec::new(),
        };
        let mut arguments: Vec<String> = words.into_iter().map(ToOwned::to_owned).collect();
        if let Check::Script(_) = self.check {
            for (flag, value) in [("--cases", args.count), ("--seed", args.seed)] {
                arguments.extend(value.into_iter().flat_map(|n| [flag.to_owned(), n.to_string()]));
            }
        }
        arguments
    }

    /// The environment variables that pass the count and the seed to tests.
    fn environment(&self, args: &Args) -> Vec<(&'static str, String)> {
        let Check::Test(..) = self.check else { return Vec::new() };
        let variables = [("VITRINA_TEST_COUNT", args.count), ("VITRINA_TEST_SEED", args.seed)];
        variables.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))).collect()
    }

    /// The command as typed in a shell.
    fn command_line(&self, args: &Args) -> String {
        let mut line = String::new();
        for (name, value) in self.environment(args) {
            let _ = write!(line, "{name}={value} ");
        }
        line.push_str(match self.check {
            Check::Script(path) => path,
            Check::Test(..) | Check::Xtask(_) => "cargo",
        });
        for word in self.arguments(args) {
            let _ = write!(line, " {word}");
        }
        line
    }
}

fn list() -> String {
    let defaults = Args { ids: Vec::new(), count: None, seed: None };
    let mut lines = String::new();
    for promise in PROMISES {
        let Promise { id, what, unit, .. } = promise;
        let count = if unit.is_empty() { String::new() } else { format!(" (--count: {unit})") };
        let _ = writeln!(lines, "{id:<4} {what}{count}\n     {}", promise.command_line(&defaults));
    }
    lines.push_str(
        "\n`cargo xtask certainty ID..` verifies some promises, `all` verifies every one.",
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_test_module_exists() {
        for promise in PROMISES {
            let Check::Test(package, target, name) = promise.check else { continue };
            let folder = match package {
                "vitrina" => "infra/local".to_owned(),
                service => format!("services/{service}"),
            };
            let tests = tree::root().join(folder).join("tests").join(target);
            let main = std::fs::read_to_string(tests.join("main.rs")).unwrap();
            let exists = main.lines().any(|line| line.starts_with(&format!("mod {name}")));
            assert!(exists, "{package} has no module {name}.. in {target}");
        }
    }

    #[test]
    fn command_line_can_be_typed_in_a_shell() {
        let args = Args { ids: Vec::new(), count: Some(100), seed: Some(7) };
        let line = |id: &str| PROMISES.iter().find(|one| one.id == id).unwrap().command_line(&args);
        assert_eq!(
            line("R1"),
            "VITRINA_TEST_COUNT=100 VITRINA_TEST_SEED=7 cargo test --quiet -p vitrina \
             --test simulation converge -- --nocapture"
        );
        assert_eq!(line("R12"), ".ci/fuzz-http --cases 100 --seed 7");
        assert_eq!(line("R15"), "cargo xtask mutants");
    }
}
