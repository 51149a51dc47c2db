//! The source tree: its location, and copies of it that faults can be planted in.

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

/// The cargo that started this program, else the one in PATH.
pub(crate) fn cargo() -> Command {
    Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The target folder for builds of copies: `CARGO_TARGET_DIR`, else the one that `.ci/run` uses.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    if let Some(path) = variable("CARGO_TARGET_DIR") {
        return std::path::absolute(path).context("CARGO_TARGET_DIR is not a valid path");
    }
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    Ok(caches.context("HOME is not set")?.join("vitrina").join("target"))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A copy of the files that git tracks or could track.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) folder: PathBuf,
}

impl Copy {
    /// Brings the copy in `folder` up to date. An unchanged file keeps its modification time, so
    /// that cargo does not rebuild it.
    pub(crate) fn of(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let wanted = files(root)?;
        for path in &wanted {
            let update = || update(&root.join(path), &folder.join(path));
            update().with_context(|| format!("copying {}", path.display()))?;
        }
        for path in walk(folder)? {
            if !wanted.contains(&path) {
                fs::remove_file(folder.join(&path))
                    .with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Applies a patch, or reverts it.
    pub(crate) fn apply(&self, patch: &Path, reverse: bool) -> anyhow::Result<()> {
        apply(&self.folder, patch, if reverse { &["--reverse"] } else { &[] })
    }
}

/// Applies a patch to `folder` with `git apply`.
pub(crate) fn apply(folder: &Path, patch: &Path, options: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("git")
        .current_dir(folder)
        // The folder may lie inside another repository, which git must not use.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .arg("apply")
        .args(options)
        .arg(patch)
        .output()
        .context("starting git")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} does not apply: {}", patch.display(), error.trim());
    Ok(())
}

/// Every file of the project, relative to `root`: tracked, or untracked and not ignored.
pub(crate) fn files(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("starting git")?;
    ensure!(listed.status.success(), "{} is not a git checkout", root.display());
    let names = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
    let names = names.split_terminator('\0').map(PathBuf::from);
    // git also lists tracked files that were deleted and not committed yet.
    Ok(names.filter(|path| root.join(path).is_file()).collect())
}

fn update(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = fs::read(from)?;
    if fs::read(to).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    Ok(())
}

/// Every file below `folder`.
fn walk(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut pending) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = pending.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                pending.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
