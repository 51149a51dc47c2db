//! Test programs of the copy: built by cargo, run without it, so that one which hangs can be ended.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::patch::Target;
use crate::say;
use crate::tree::{self, Copy};

/// Where test programs are built.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    pub(crate) copy: &'a Copy,
    /// Kept between runs.
    pub(crate) target: PathBuf,
}

/// What came of a build.
#[derive(Debug)]
pub(crate) enum Built {
    Program(Program),
    /// The compiler refused it, and has said why.
    Refused,
}

/// A test program.
#[derive(Debug)]
pub(crate) struct Program {
    executable: PathBuf,
    /// The package's own, where cargo would run it.
    folder: PathBuf,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many tests passed.
    pub(crate) passed: usize,
    pub(crate) failed: bool,
    pub(crate) hung: bool,
}

/// A line of cargo about something that it made.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Workshop<'_> {
    pub(crate) fn build(&self, package: &str, target: &Target) -> anyhow::Result<Built> {
        let built = tree::cargo()
            .current_dir(&self.copy.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .args(["test", "--quiet", "--locked", "--no-run"])
            .args(["--message-format", "json-render-diagnostics", "-p", package])
            .args(target.words())
            .output()
            .context("starting cargo")?;
        if !built.status.success() {
            say(String::from_utf8_lossy(&built.stderr).trim());
            return Ok(Built::Refused);
        }
        let lines = String::from_utf8(built.stdout).context("cargo wrote no text")?;
        let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
        let program = messages.filter(|message| message.profile.as_ref().is_some_and(|p| p.test));
        let mut program = program.filter_map(|message| {
            let folder = message.manifest_path?.parent()?.to_owned();
            Some(Program { executable: message.executable?, folder })
        });
        Ok(Built::Program(program.next_back().context("cargo built no test program")?))
    }
}

impl Program {
    /// Runs the tests with these names, and those whose names begin or go on like them.
    pub(crate) fn run(&self, names: &[&str], patience: Duration) -> anyhow::Result<Ended> {
        let mut child = Command::new(&self.executable)
            .current_dir(&self.folder)
            .env("RUST_BACKTRACE", "0")
            .args(names)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a test program")?;
        let mut stdout = child.stdout.take().context("a test program has no stdout")?;
        let reading = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stdout.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begun.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = reading.join().unwrap_or_default();
        Ok(Ended {
            passed: passed(&said),
            // A program that ends otherwise, without memory or a store, has caught nothing.
            failed: status.is_some_and(|status| !status.success())
                && names.iter().any(|name| has_failed(&said, name)),
            hung: status.is_none(),
        })
    }
}

/// Whether a test program says that a test of this name has failed.
fn has_failed(said: &str, name: &str) -> bool {
    let failed =
        said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.into_iter().any(|test| test.contains(name))
}

/// How many tests the last line of a test program says have passed.
fn passed(said: &str) -> usize {
    let result = said.lines().rev().find_map(|line| line.strip_prefix("test result: "));
    let count = result.and_then(|result| result.split_once(' ')?.1.split_once(" passed"));
    count.and_then(|(count, _)| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_test_has_passed_none() {
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored;\n";
        assert_eq!(passed(none), 0);
        let some = "test a ... ok\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured\n";
        assert_eq!(passed(some), 12);
        assert_eq!(passed("killed before it said anything"), 0);
    }
}
