//! The tree: where the project lies, and copies of it in which something may be broken.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context as _, ensure};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Cargo, as whoever started this calls it.
pub(crate) fn cargo() -> Command {
    Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where builds of copies of the project go, unless somebody says otherwise: beside those of `.ci/run`.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    if let Some(said) = variable("CARGO_TARGET_DIR") {
        return std::path::absolute(said).context("CARGO_TARGET_DIR is no path");
    }
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    Ok(caches.context("there is no HOME")?.join("vitrina").join("target"))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A copy of what git tracks, and of what it would if it was told.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) folder: PathBuf,
}

impl Copy {
    /// Brings the copy in `folder` up to date. A file that is there already and the same is left
    /// alone, so that cargo builds nothing twice.
    pub(crate) fn of(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let wanted = files(root)?;
        for path in &wanted {
            let bring = || bring(&root.join(path), &folder.join(path));
            bring().with_context(|| format!("copying {}", path.display()))?;
        }
        for path in walk(folder)? {
            if !wanted.contains(&path) {
                fs::remove_file(folder.join(&path))
                    .with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Applies a patch, or takes it back.
    pub(crate) fn apply(&self, patch: &Path, reverse: bool) -> anyhow::Result<()> {
        apply(&self.folder, patch, if reverse { &["--reverse"] } else { &[] })
    }
}

/// Has git apply a patch to `folder`.
pub(crate) fn apply(folder: &Path, patch: &Path, options: &[&str]) -> anyhow::Result<()> {
    let applied = Command::new("git")
        .current_dir(folder)
        // The folder is a tree of its own, even where it lies in another one.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .arg("apply")
        .args(options)
        .arg(patch)
        .output()
        .context("starting git")?;
    let said = String::from_utf8_lossy(&applied.stderr);
    ensure!(applied.status.success(), "{} does not apply: {}", patch.display(), said.trim());
    Ok(())
}

/// Every file of the project, by its path from `root` on.
pub(crate) fn files(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("starting git")?;
    ensure!(listed.status.success(), "{} is no checkout", root.display());
    let names = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    let names = names.split_terminator('\0').map(PathBuf::from);
    // What was deleted and not yet committed is listed all the same.
    Ok(names.filter(|path| root.join(path).is_file()).collect())
}

fn bring(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    Ok(())
}

/// Every file beneath `folder`.
fn walk(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = left.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
