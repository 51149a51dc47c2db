//! `cargo xtask check`: runs what a small change needs, and stops at the first failure.
//!
//! It replaces no full run: `.ci/run` does everything.

mod plan;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use cargo_metadata::{MetadataCommand, TargetKind};

use crate::{print, say, tree};
use plan::Package;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Check what has changed since HEAD left this branch or commit [default: main]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Print the commands without running them
    #[arg(long)]
    list: bool,
}

/// Returns whether every check passed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root();
    let base = base(&root, args.base.as_deref())?;
    let changed = changed_files(&root, &base)?;
    let plan = plan::plan(&changed, &packages(&root)?, &planted(&root)?);
    say(&format!("{} files have changed since {base}", changed.len()));
    if args.list {
        plan.run.iter().for_each(|command| print(command));
    } else {
        for (nth, command) in (1..).zip(&plan.run) {
            say(&format!("{nth}/{} {command}", plan.run.len()));
            let begun = Instant::now();
            let is_success = execute(&root, command)?;
            let seconds = begun.elapsed().as_secs();
            say(&format!("  {} ({seconds} s)", if is_success { "passed" } else { "FAILED" }));
            if !is_success {
                print(&format!("failed; to repeat it:\n  {command}"));
                return Ok(false);
            }
        }
    }
    for command in &plan.not_run {
        print(&format!("not run; run with: {command}"));
    }
    Ok(true)
}

/// Runs a command of the plan: its words contain no blanks and no quotes.
fn execute(root: &Path, command: &str) -> anyhow::Result<bool> {
    let mut words = command.split(' ');
    let mut process = match words.next() {
        Some("cargo") => tree::cargo(),
        Some(script) => Command::new(root.join(script)),
        None => return Ok(true),
    };
    let status = process.current_dir(root).args(words).status();
    Ok(status.with_context(|| format!("starting {command}"))?.success())
}

/// The commit that HEAD and the branch or commit `other` have in common.
fn base(root: &Path, other: Option<&str>) -> anyhow::Result<String> {
    let base = match other {
        Some(other) => git(root, &["merge-base", "HEAD", other]),
        // A clone of a single branch may have no `main`: then only uncommitted changes count.
        None => git(root, &["merge-base", "HEAD", "main"])
            .or_else(|_| git(root, &["rev-parse", "HEAD"])),
    };
    Ok(base?.trim().to_owned())
}

/// Files that differ from `base`, committed or not, and untracked ones.
fn changed_files(root: &Path, base: &str) -> anyhow::Result<Vec<PathBuf>> {
    let tracked = git(root, &["diff", "--name-only", "--no-renames", "-z", base, "--"])?;
    let untracked = git(root, &["ls-files", "-z", "--others", "--exclude-standard"])?;
    let paths = tracked.split_terminator('\0').chain(untracked.split_terminator('\0'));
    Ok(paths.map(PathBuf::from).collect())
}

fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output();
    let output = output.context("starting git")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), error.trim());
    String::from_utf8(output.stdout).context("git wrote a path that is not UTF-8")
}

fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let members = metadata.workspace_packages();
    let mut packages = Vec::new();
    for member in &members {
        let folder = member.manifest_path.parent().context("a manifest has no folder")?;
        let inside = member.dependencies.iter().filter(|dependency| dependency.path.is_some());
        let tests = member.targets.iter().filter(|target| target.is_kind(TargetKind::Test));
        packages.push(Package {
            name: member.name.to_string(),
            folder: folder.strip_prefix(&metadata.workspace_root)?.as_std_path().to_owned(),
            dependencies: inside.map(|dependency| dependency.name.clone()).collect(),
            has_library: member.targets.iter().any(|target| target.is_kind(TargetKind::Lib)),
            has_binary: member.targets.iter().any(|target| target.is_kind(TargetKind::Bin)),
            tests: tests.map(|target| target.name.clone()).collect(),
        });
    }
    Ok(packages)
}

/// The files that planted faults patch.
fn planted(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root.join("xtask/mutants")).context("reading xtask/mutants")? {
        let patch = fs::read_to_string(entry?.path())?;
        files.extend(
            patch.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(PathBuf::from),
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_test_program_and_module_exists() {
        let root = tree::root();
        let packages = packages(&root).unwrap();
        // Every package has changed, and every file that has a check of its own.
        let mut changed: Vec<PathBuf> =
            packages.iter().map(|package| package.folder.join("src/lib.rs")).collect();
        let patterns = plan::CHECKS.iter().flat_map(|(patterns, _)| *patterns);
        changed.extend(patterns.map(|pattern| pattern.replace("**", "shared").into()));
        let plan = plan::plan(&changed, &packages, &planted(&root).unwrap());
        for command in plan.run.iter().chain(&plan.not_run) {
            let words: Vec<&str> = command.split(' ').collect();
            let after = |flag: &str| -> Vec<&str> {
                words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect()
            };
            let tests = after("--test");
            let Some(test) = tests.first() else { continue };
            let [name] = after("-p")[..] else { panic!("{command} needs one package") };
            let package = packages.iter().find(|package| package.name == name).unwrap();
            assert!(
                tests.iter().all(|test| package.tests.iter().any(|own| own == test)),
                "{command}"
            );
            let folder = root.join(&package.folder).join("tests");
            let modules = words.iter().filter_map(|word| word.strip_suffix("::"));
            for module in modules {
                let declares = |test: &&str| {
                    let main = fs::read_to_string(folder.join(test).join("main.rs")).unwrap();
                    main.lines().any(|line| line == format!("mod {module};"))
                };
                assert!(tests.iter().any(declares), "{module} is not in {test}: {command}");
            }
        }
    }
}
