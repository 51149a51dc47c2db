//! A planted fault: a patch with a head that says what it breaks and what must catch it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The file's name without its number and its end.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    /// The promise that it breaks, in a sentence.
    pub(crate) breaks: String,
    pub(crate) test: Test,
}

/// The test that must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) package: String,
    pub(crate) target: Target,
    /// The last part of its path.
    pub(crate) name: String,
}

/// Which of a package's test programs has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Lib,
    Test(String),
}

impl Target {
    /// How cargo is told.
    pub(crate) fn words(&self) -> Vec<&str> {
        match self {
            Self::Lib => vec!["--lib"],
            Self::Test(name) => vec!["--test", name],
        }
    }
}

/// Every fault, in the order of their numbers.
pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Fault>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> anyhow::Result<Fault> {
    let doing = || format!("reading {}", file.display());
    let stem = file.file_stem().and_then(|stem| stem.to_str()).with_context(doing)?;
    let (_, name) = stem.split_once('-').with_context(|| format!("{stem} has no number"))?;
    let text = fs::read_to_string(file).with_context(doing)?;
    let (breaks, test) = head(&text).with_context(doing)?;
    Ok(Fault { name: name.to_owned(), file: file.to_owned(), breaks, test })
}

/// What stands before the patch: the sentence, and behind `Caught by:` the test.
fn head(text: &str) -> anyhow::Result<(String, Test)> {
    let (head, _) = text.split_once("diff --git").context("there is no patch in it")?;
    let (breaks, test) = head.split_once("Caught by:").context("it names no test")?;
    let breaks = breaks.strip_prefix("Breaks:").context("it does not say what it breaks")?;
    let breaks = breaks.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = test.split_whitespace().collect();
    let (package, target, name) = match words[..] {
        ["-p", package, "--lib", name] => (package, Target::Lib, name),
        ["-p", package, "--test", target, name] => (package, Target::Test(target.into()), name),
        _ => bail!("`-p PACKAGE --lib NAME` or `-p PACKAGE --test TARGET NAME` must name its test"),
    };
    Ok((breaks, Test { package: package.to_owned(), target, name: name.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_breaks_and_which_test_must_fail() {
        let text =
            "Breaks: one\n  thing.\nCaught by: -p catalog --test it a_test\n\ndiff --git a b";
        let (breaks, test) = head(text).unwrap();
        assert_eq!(breaks, "one thing.");
        assert_eq!((test.package.as_str(), test.name.as_str()), ("catalog", "a_test"));
        assert_eq!(test.target.words(), ["--test", "it"]);
        for wrong in [
            "Breaks: a.\nCaught by: a_test\ndiff --git a b",
            "Breaks: a.\ndiff --git a b",
            "Caught by: -p a --lib b\ndiff --git a b",
            "Breaks: a.\nCaught by: -p a --lib b\n",
        ] {
            assert!(head(wrong).is_err(), "{wrong}");
        }
    }
}
