//! The data folder: whether it is in use, its permissions, and free space.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use indicatif::DecimalBytes;
use rustix::fs::{Access, access, statvfs};

use super::report::Finding;
use crate::edition::data_folder::{DataFolder, FolderState};

const FOLDER: &str = "data folder";
const KEY: &str = "signing key";
const MAIL: &str = "mails";
const DISK: &str = "disk";

/// PostgreSQL stops when its write-ahead log has no room.
const MIN_FREE_BYTES: u64 = 200_000_000;
const LOW_FREE_BYTES: u64 = 1_000_000_000;

pub(super) fn check(folder: &DataFolder, state: &FolderState) -> Vec<Finding> {
    let mut findings = vec![check_use(folder, state), check_folder(folder.path())];
    findings.extend(check_private(
        KEY,
        &folder.signing_key(),
        "600",
        "its readers can sign tokens",
    ));
    findings.extend(check_private(MAIL, &folder.mail(), "700", "the codes in them open accounts"));
    findings.push(check_disk(folder.path()));
    findings
}

fn check_use(folder: &DataFolder, state: &FolderState) -> Finding {
    const WHAT: &str = "in use";
    match state {
        FolderState::Free => Finding::ok(WHAT, "no vitrina runs on the data folder"),
        FolderState::Running(running) => {
            Finding::ok(WHAT, format!("vitrina (process {}) runs at {}", running.pid, running.url))
        }
        FolderState::Taken => Finding::warning(
            WHAT,
            "a vitrina has locked the data folder and has not published its address",
            "it is starting or stopping: check again in a moment",
        ),
        FolderState::LeftBehind(running) => Finding::warning(
            WHAT,
            format!(
                "process {} was killed and left {} behind",
                running.pid,
                folder.running_file().display()
            ),
            "nothing is lost: the next `vitrina up` resumes from there",
        ),
    }
}

fn check_folder(path: &Path) -> Finding {
    let shown = path.display();
    let existing = nearest(path);
    if access(existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::failed(
            FOLDER,
            format!("this user cannot write to {}", existing.display()),
            "become its owner, or choose another folder with --data",
        );
    }
    if existing != path {
        return Finding::ok(FOLDER, format!("{shown} will be created at the first start"));
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Finding::failed(
            FOLDER,
            format!("{shown} is not a folder"),
            "choose another with --data",
        ),
        Ok(found) if found.permissions().mode() & 0o022 != 0 => Finding::warning(
            FOLDER,
            format!("other users can write to {shown}"),
            format!("chmod go-w '{shown}'"),
        ),
        Ok(_) => Finding::ok(FOLDER, format!("{shown} is writable")),
        Err(error) => {
            Finding::failed(FOLDER, format!("{shown}: {error}"), "choose another with --data")
        }
    }
}

/// Whether only the owner has access to `path`, if it exists.
fn check_private(what: &'static str, path: &Path, mode: &str, why: &str) -> Option<Finding> {
    let shown = path.display();
    let found = fs::metadata(path).ok()?;
    let others = found.permissions().mode() & 0o077;
    Some(if others == 0 {
        Finding::ok(what, format!("only its owner has access to {shown}"))
    } else {
        Finding::failed(
            what,
            format!("other users have access to {shown}, and {why}"),
            format!("chmod {mode} '{shown}'"),
        )
    })
}

fn check_disk(path: &Path) -> Finding {
    match statvfs(nearest(path)) {
        Ok(found) => judge_disk(found.f_bavail.saturating_mul(found.f_frsize), path),
        Err(error) => Finding::warning(
            DISK,
            format!("free space cannot be measured: {error}"),
            "check it with df",
        ),
    }
}

fn judge_disk(free: u64, path: &Path) -> Finding {
    let detail = format!("{} free for {}", DecimalBytes(free), path.display());
    let fix = "free some space, or choose another folder with --data";
    if free < MIN_FREE_BYTES {
        Finding::failed(DISK, detail, fix)
    } else if free < LOW_FREE_BYTES {
        Finding::warning(DISK, detail, fix)
    } else {
        Finding::ok(DISK, detail)
    }
}

/// `path`, or its nearest ancestor that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn missing_folder_is_ok() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(&parent.path().join("a/b")).unwrap();
        let findings = check(&folder, &folder.find_state());
        assert!(findings.iter().all(|one| one.state != State::Failed), "{findings:?}");
        assert_eq!(findings[1].state, State::Ok);
    }

    #[test]
    fn open_permissions_are_reported_with_a_fix() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path()).unwrap();
        fs::write(folder.signing_key(), "key").unwrap();
        set_mode(&folder.signing_key(), 0o640);
        fs::create_dir(folder.mail()).unwrap();
        set_mode(&folder.mail(), 0o755);
        set_mode(folder.path(), 0o775);
        let findings = check(&folder, &folder.find_state());
        let state = |what| findings.iter().find(|one| one.what == what).unwrap();
        assert_eq!(state(FOLDER).state, State::Warning);
        assert_eq!(state(KEY).state, State::Failed);
        assert!(state(KEY).fix.as_ref().unwrap().starts_with("chmod 600 "));
        // Mails have the codes with which passwords are reset.
        assert_eq!(state(MAIL).state, State::Failed);
        assert!(state(MAIL).fix.as_ref().unwrap().starts_with("chmod 700 "));
        set_mode(&folder.mail(), 0o700);
        for mode in [0o604, 0o601, 0o640, 0o610] {
            set_mode(&folder.signing_key(), mode);
            let findings = check(&folder, &folder.find_state());
            let key = findings.iter().find(|one| one.what == KEY).unwrap();
            assert_eq!(key.state, State::Failed, "{mode:o}");
        }
        set_mode(&folder.signing_key(), 0o600);
        let findings = check(&folder, &folder.find_state());
        assert!(findings.iter().all(|one| one.state != State::Failed), "{findings:?}");
    }

    #[test]
    fn low_disk_space_warns_and_very_low_fails() {
        let state = |free| judge_disk(free, Path::new("/data")).state;
        assert_eq!(state(5_000_000_000), State::Ok);
        assert_eq!(state(500_000_000), State::Warning);
        assert_eq!(state(50_000_000), State::Failed);
    }
}
