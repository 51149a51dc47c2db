//! `cargo xtask mutants`: checks that the tests catch planted faults.
//!
//! Promise: a fault counts as caught only if the test that it names passes without the fault and
//! fails with it. A patch that does not apply or compile is reported and does not count as caught.

mod patch;
mod program;
mod query_data;

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use comfy_table::{Table, presets};

use crate::tree::{self, Copy};
use crate::{print, say};
use patch::{Fault, Target};
use program::{Builder, Built, Outcome, Program};
use query_data::QueryData;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only faults with names that contain this
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the faults without planting them
    #[arg(long)]
    list: bool,
}

/// Time limit of a test. Longer than the one that a test sets itself: what a test waits for without a limit is
/// no sign of a fault.
const TIMEOUT: Duration = Duration::from_mins(8);

/// The result of planting a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Caught,
    Missed,
    /// The test does not end. A busy machine may be the reason.
    Hung,
    DoesNotCompile,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::Hung => "THE TEST HANGS",
            Self::DoesNotCompile => "DOES NOT COMPILE",
        }
    }

    fn is_caught(self) -> bool {
        self == Self::Caught
    }
}

/// Returns whether every fault was caught.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root();
    let mut faults = patch::read_all(&root.join("xtask/mutants"))?;
    if !args.only.is_empty() {
        faults.retain(|fault| args.only.iter().any(|part| fault.name.contains(part.as_str())));
    }
    ensure!(!faults.is_empty(), "no fault has such a name");
    if args.list {
        print(&list(&faults));
        return Ok(true);
    }
    let mut cache = tree::target()?.into_os_string();
    cache.push("-mutants");
    let cache = std::path::PathBuf::from(cache);
    std::fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    // Two runs at once would change each other's copy.
    let lock = File::create(cache.join("lock")).context("locking the copy")?;
    lock.try_lock().context("another run is in progress")?;
    let copy = Copy::of(&root, &cache.join("tree"))?;
    let builder = Builder { copy: &copy, target: cache.join("target") };
    check_unbroken(&builder, &faults)?;
    let mut rows = Vec::new();
    for (nth, fault) in faults.iter().enumerate() {
        let begun = Instant::now();
        let verdict = plant(&builder, fault).with_context(|| fault.name.clone())?;
        let seconds = begun.elapsed().as_secs();
        let (name, verdict_is) = (&fault.name, verdict.as_str());
        say(&format!("{}/{} {name}: {verdict_is} ({seconds} s)", nth + 1, faults.len()));
        rows.push((fault, verdict, seconds));
    }
    print(&table(&rows));
    let caught = rows.iter().filter(|(_, verdict, _)| verdict.is_caught()).count();
    print(&format!("{caught} of {} faults caught", rows.len()));
    Ok(caught == rows.len())
}

/// Checks that the named tests pass without a fault.
fn check_unbroken(builder: &Builder<'_>, faults: &[Fault]) -> anyhow::Result<()> {
    let mut programs: BTreeMap<(&str, &Target), Vec<&str>> = BTreeMap::new();
    for Fault { test, .. } in faults {
        let names = programs.entry((&test.package, &test.target)).or_default();
        if !names.contains(&test.name.as_str()) {
            names.push(&test.name);
        }
    }
    for ((package, target), names) in programs {
        let begun = Instant::now();
        let Built::Program(program) = builder.build(package, target)? else {
            anyhow::bail!("{package} does not compile without a fault");
        };
        let Outcome { passed, failed, hung } = program.run(&names, TIMEOUT)?;
        ensure!(
            !failed && !hung && passed >= names.len(),
            "the tests of {package} fail without a fault"
        );
        let (count, seconds) = (names.len(), begun.elapsed().as_secs());
        say(&format!(
            "{package} {}: {count} tests pass ({seconds} s)",
            target.arguments().join(" ")
        ));
    }
    Ok(())
}

/// Plants a fault, runs its test, and removes the fault.
fn plant(builder: &Builder<'_>, fault: &Fault) -> anyhow::Result<Verdict> {
    let patch = std::fs::read_to_string(&fault.file)?;
    let query_data = QueryData::write(&builder.copy.folder, &patch)?;
    builder.copy.apply(&fault.file, false)?;
    let verdict = judge(builder, fault);
    drop(query_data);
    builder.copy.apply(&fault.file, true)?;
    verdict
}

fn judge(builder: &Builder<'_>, fault: &Fault) -> anyhow::Result<Verdict> {
    let test = &fault.test;
    let program: Program = match builder.build(&test.package, &test.target)? {
        Built::Program(program) => program,
        Built::Failed => return Ok(Verdict::DoesNotCompile),
    };
    let Outcome { passed, failed, hung } = program.run(&[&test.name], TIMEOUT)?;
    ensure!(passed > 0 || failed || hung, "no test is called {}", test.name);
    Ok(match (failed, hung) {
        (true, _) => Verdict::Caught,
        (false, true) => Verdict::Hung,
        (false, false) => Verdict::Missed,
    })
}

fn table(rows: &[(&Fault, Verdict, u64)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["fault", "test", "", "s"]);
    for (fault, verdict, seconds) in rows {
        let test = format!("{}: {}", fault.test.package, fault.test.name);
        table.add_row([&fault.name, &test, verdict.as_str(), &seconds.to_string()]);
    }
    table.to_string()
}

fn list(faults: &[Fault]) -> String {
    let lines = faults.iter().map(|fault| format!("{}: {}", fault.name, fault.breaks));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// The folder with the sources of a test program.
    fn sources(package: &str, target: &Target) -> PathBuf {
        let root = tree::root();
        let places = [root.join(package), root.join("services").join(package)];
        let infra = ["infra/local", "infra/postgres"].map(|folder| root.join(folder));
        let places = places.into_iter().chain(infra);
        let manifest = format!("name = \"{package}\"\n");
        let is_package = |place: &PathBuf| {
            let read = fs::read_to_string(place.join("Cargo.toml"));
            read.is_ok_and(|text| text.contains(&manifest))
        };
        let folder = places.into_iter().find(is_package).expect(package);
        match target {
            Target::Lib => folder.join("src"),
            Target::Test(name) => folder.join("tests").join(name),
        }
    }

    fn has(folder: &Path, text: &str) -> bool {
        fs::read_dir(folder).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return has(&path, text);
            }
            fs::read_to_string(path).is_ok_and(|source| source.contains(text))
        })
    }

    #[test]
    fn every_fault_applies_and_names_an_existing_test() {
        let root = tree::root();
        let faults = patch::read_all(&root.join("xtask/mutants")).unwrap();
        assert!(faults.len() >= 20, "only {} faults", faults.len());
        for fault in &faults {
            tree::apply(&root, &fault.file, &["--check"]).unwrap();
            let (test, name) = (&fault.test, &fault.name);
            let folder = sources(&test.package, &test.target);
            assert!(has(&folder, &format!("fn {}(", test.name)), "{name} names a missing test");
        }
    }

    #[test]
    fn only_a_test_that_fails_catches_a_fault() {
        let others = [Verdict::Missed, Verdict::Hung, Verdict::DoesNotCompile];
        assert!(Verdict::Caught.is_caught() && !others.into_iter().any(Verdict::is_caught));
    }
}
