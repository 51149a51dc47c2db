//! A planted fault: a patch with a header that names the broken promise and the test that must fail.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The file name without its number and extension.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    /// The promise that the fault breaks, in one sentence.
    pub(crate) breaks: String,
    pub(crate) test: Test,
}

/// The test that must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) package: String,
    pub(crate) target: Target,
    /// The function name, without its module path.
    pub(crate) name: String,
}

/// The test program of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Lib,
    Test(String),
}

impl Target {
    /// The arguments that select it in cargo.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Lib => vec!["--lib"],
            Self::Test(name) => vec!["--test", name],
        }
    }
}

/// All faults, ordered by number.
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
    let (breaks, test) = header(&text).with_context(doing)?;
    Ok(Fault { name: name.to_owned(), file: file.to_owned(), breaks, test })
}

/// Parses the header: `Breaks:` with a sentence, then `Caught by:` with the test.
fn header(text: &str) -> anyhow::Result<(String, Test)> {
    let (header, _) = text.split_once("diff --git").context("it contains no patch")?;
    let (breaks, test) = header.split_once("Caught by:").context("it has no `Caught by:`")?;
    let breaks = breaks.strip_prefix("Breaks:").context("it has no `Breaks:`")?;
    let breaks = breaks.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = test.split_whitespace().collect();
    let (package, target, name) = match words[..] {
        ["-p", package, "--lib", name] => (package, Target::Lib, name),
        ["-p", package, "--test", target, name] => (package, Target::Test(target.into()), name),
        _ => bail!("`Caught by:` needs `-p PACKAGE --lib NAME` or `-p PACKAGE --test TARGET NAME`"),
    };
    Ok((breaks, Test { package: package.to_owned(), target, name: name.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_the_broken_promise_and_the_test() {
        let text =
            "Breaks: one\n  thing.\nCaught by: -p catalog --test it a_test\n\ndiff --git a b";
        let (breaks, test) = header(text).unwrap();
        assert_eq!(breaks, "one thing.");
        assert_eq!((test.package.as_str(), test.name.as_str()), ("catalog", "a_test"));
        assert_eq!(test.target.arguments(), ["--test", "it"]);
        for wrong in [
            "Breaks: a.\nCaught by: a_test\ndiff --git a b",
            "Breaks: a.\ndiff --git a b",
            "Caught by: -p a --lib b\ndiff --git a b",
            "Breaks: a.\nCaught by: -p a --lib b\n",
        ] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
