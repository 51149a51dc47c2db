//! `cargo xtask mutants`: are the tests good for anything?
//!
//! Promise: a fault counts as caught only if the very test that must catch it fails, having passed
//! without the fault. A patch that does not apply or does not compile shows nothing, and is said.

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
use program::{Built, Ended, Program, Workshop};
use query_data::QueryData;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only faults with this in their names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only say which faults there are
    #[arg(long)]
    list: bool,
}

/// How long a test may take that passes in seconds. What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Caught,
    Missed,
    /// The test does not end: that shows, too, that something is wrong.
    Hung,
    DoesNotCompile,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::Hung => "caught (the test hangs)",
            Self::DoesNotCompile => "DOES NOT COMPILE",
        }
    }

    fn is_caught(self) -> bool {
        matches!(self, Self::Caught | Self::Hung)
    }
}

/// Returns whether each fault was caught.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root();
    let mut faults = patch::read_all(&root.join("xtask/mutants"))?;
    if !args.only.is_empty() {
        faults.retain(|fault| args.only.iter().any(|part| fault.name.contains(part.as_str())));
    }
    ensure!(!faults.is_empty(), "there is no such fault");
    if args.list {
        print(&list(&faults));
        return Ok(true);
    }
    let mut own = tree::target()?.into_os_string();
    own.push("-mutants");
    let own = std::path::PathBuf::from(own);
    std::fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
    // Two at once would break each other's copy.
    let lock = File::create(own.join("lock")).context("locking the copy")?;
    lock.try_lock().context("another run is going on")?;
    let copy = Copy::of(&root, &own.join("tree"))?;
    let workshop = Workshop { copy: &copy, target: own.join("target") };
    check_unbroken(&workshop, &faults)?;
    let mut rows = Vec::new();
    for (nth, fault) in faults.iter().enumerate() {
        let begun = Instant::now();
        let verdict = plant(&workshop, fault).with_context(|| fault.name.clone())?;
        let seconds = begun.elapsed().as_secs();
        let (name, verdict_is) = (&fault.name, verdict.as_str());
        say(&format!("{}/{} {name}: {verdict_is} ({seconds} s)", nth + 1, faults.len()));
        rows.push((fault, verdict, seconds));
    }
    print(&table(&rows));
    let caught = rows.iter().filter(|(_, verdict, _)| verdict.is_caught()).count();
    print(&format!("{caught} of {} faults were caught", rows.len()));
    Ok(caught == rows.len())
}

/// Every test that must catch something passes as long as nothing is planted.
fn check_unbroken(workshop: &Workshop<'_>, faults: &[Fault]) -> anyhow::Result<()> {
    let mut programs: BTreeMap<(&str, &Target), Vec<&str>> = BTreeMap::new();
    for Fault { test, .. } in faults {
        let names = programs.entry((&test.package, &test.target)).or_default();
        if !names.contains(&test.name.as_str()) {
            names.push(&test.name);
        }
    }
    for ((package, target), names) in programs {
        let begun = Instant::now();
        let Built::Program(program) = workshop.build(package, target)? else {
            anyhow::bail!("{package} does not compile even without a fault");
        };
        let Ended { passed, failed, hung } = program.run(&names, PATIENCE)?;
        ensure!(
            !failed && !hung && passed >= names.len(),
            "the tests of {package} do not pass even without a fault"
        );
        let (count, seconds) = (names.len(), begun.elapsed().as_secs());
        say(&format!("{package} {}: {count} tests pass ({seconds} s)", target.words().join(" ")));
    }
    Ok(())
}

/// Plants a fault, looks whether its test fails, and takes the fault out again.
fn plant(workshop: &Workshop<'_>, fault: &Fault) -> anyhow::Result<Verdict> {
    let patch = std::fs::read_to_string(&fault.file)?;
    let query_data = QueryData::write(&workshop.copy.folder, &patch)?;
    workshop.copy.apply(&fault.file, false)?;
    let verdict = judge(workshop, fault);
    drop(query_data);
    workshop.copy.apply(&fault.file, true)?;
    verdict
}

fn judge(workshop: &Workshop<'_>, fault: &Fault) -> anyhow::Result<Verdict> {
    let test = &fault.test;
    let program: Program = match workshop.build(&test.package, &test.target)? {
        Built::Program(program) => program,
        Built::Refused => return Ok(Verdict::DoesNotCompile),
    };
    let Ended { passed, failed, hung } = program.run(&[&test.name], PATIENCE)?;
    ensure!(passed > 0 || failed || hung, "there is no test {}", test.name);
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
        let places = places.into_iter().chain([root.join("infra/local")]);
        let manifest = format!("name = \"{package}\"\n");
        let is_its_own = |place: &PathBuf| {
            let read = fs::read_to_string(place.join("Cargo.toml"));
            read.is_ok_and(|text| text.contains(&manifest))
        };
        let folder = places.into_iter().find(is_its_own).expect(package);
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
    fn every_fault_can_be_planted_and_names_a_test_that_there_is() {
        let root = tree::root();
        let faults = patch::read_all(&root.join("xtask/mutants")).unwrap();
        assert!(faults.len() >= 20, "there are only {}", faults.len());
        for fault in &faults {
            tree::apply(&root, &fault.file, &["--check"]).unwrap();
            let (test, name) = (&fault.test, &fault.name);
            let folder = sources(&test.package, &test.target);
            assert!(has(&folder, &format!("fn {}(", test.name)), "{name} names no test");
        }
    }

    #[test]
    fn what_does_not_compile_is_not_caught() {
        assert!(!Verdict::DoesNotCompile.is_caught() && !Verdict::Missed.is_caught());
        assert!(Verdict::Caught.is_caught());
    }
}
