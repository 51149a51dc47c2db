//! Test programs of the copy. They run without cargo, so that a hanging one can be killed.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::patch::Target;
use crate::say;
use crate::tree::{self, Copy};

/// Builds test programs.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) copy: &'a Copy,
    /// Kept between runs.
    pub(crate) target: PathBuf,
}

/// The result of a build.
#[derive(Debug)]
pub(crate) enum Built {
    Program(Program),
    /// It does not compile.
    Failed,
}

/// A test program.
#[derive(Debug)]
pub(crate) struct Program {
    executable: PathBuf,
    /// The package's folder, where cargo would run it.
    folder: PathBuf,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Number of tests that passed.
    pub(crate) passed: usize,
    pub(crate) failed: bool,
    pub(crate) hung: bool,
}

/// A message of cargo about an artifact.
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

impl Builder<'_> {
    pub(crate) fn build(&self, package: &str, target: &Target) -> anyhow::Result<Built> {
        let built = tree::cargo()
            .current_dir(&self.copy.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            // These programs are not debugged, and linking line tables would take most of the time of a build.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["test", "--quiet", "--locked", "--no-run"])
            .args(["--message-format", "json-render-diagnostics", "-p", package])
            .args(target.arguments())
            .output()
            .context("starting cargo")?;
        if !built.status.success() {
            say(String::from_utf8_lossy(&built.stderr).trim());
            return Ok(Built::Failed);
        }
        let lines =
            String::from_utf8(built.stdout).context("cargo wrote output that is not UTF-8")?;
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
    /// Runs the tests that contain one of these names.
    pub(crate) fn run(&self, names: &[&str], timeout: Duration) -> anyhow::Result<Outcome> {
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
            let mut output = Vec::new();
            let _ = stdout.read_to_end(&mut output);
            String::from_utf8_lossy(&output).into_owned()
        });
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begun.elapsed() > timeout {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let output = reading.join().unwrap_or_default();
        Ok(Outcome {
            passed: passed(&output),
            // A program may also fail for lack of memory or a store: that catches nothing.
            failed: status.is_some_and(|status| !status.success())
                && names.iter().any(|name| has_failed(&output, name)),
            hung: status.is_none(),
        })
    }
}

/// Whether the output of a test program reports a failed test of this name.
fn has_failed(output: &str, name: &str) -> bool {
    let failed =
        output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.into_iter().any(|test| test.rsplit("::").next() == Some(name))
}

/// The number of passed tests in the last line of a test program's output.
fn passed(output: &str) -> usize {
    let result = output.lines().rev().find_map(|line| line.strip_prefix("test result: "));
    let count = result.and_then(|result| result.split_once(' ')?.1.split_once(" passed"));
    count.and_then(|(count, _)| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_test_has_failed() {
        let output = "test a::waits ... ok\ntest a::waits_twice ... FAILED\ntest b ... FAILED\n";
        let has_failed = ["waits", "waits_twice", "b"].map(|name| has_failed(output, name));
        assert_eq!(has_failed, [false, true, true]);
    }

    #[test]
    fn passed_is_zero_when_no_test_ran() {
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored;\n";
        assert_eq!(passed(none), 0);
        let some = "test a ... ok\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured\n";
        assert_eq!(passed(some), 12);
        assert_eq!(passed("killed before any output"), 0);
    }
}
