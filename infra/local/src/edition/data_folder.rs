//! The data folder: all files of a local edition. Commands find the running edition through it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rand::seq::IndexedRandom as _;
use serde::{Deserialize, Serialize};
use shared::config::Secret;
use shared::http::auth;
use shared::id::UserId;
use shared::money::Currency;

use super::parts::{Part, Parts};

/// Letters and digits without those that look alike.
const PASSWORD_LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

const PASSWORD_LENGTH: usize = 16;

/// A data folder.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

/// What a running edition publishes about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    /// The URL of its API.
    pub url: String,
    /// The endpoint of its DynamoDB API.
    pub dynamodb: String,
    /// The currency of prices for readers that choose none.
    #[serde(default)]
    pub currency: Currency,
    /// The parts that it runs.
    #[serde(default, rename = "roles")]
    pub parts: Parts,
    /// The users for which commands sign tokens.
    #[serde(default)]
    pub demo_users: Vec<Account>,
}

/// The user of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub email: String,
    pub id: UserId,
    pub roles: BTreeSet<auth::Role>,
}

/// Whether an edition uses a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// No edition uses it.
    Free,
    /// No edition uses it; this one was killed.
    LeftBehind(Running),
    /// An edition is starting or stopping on it.
    Taken,
    Running(Running),
}

impl FolderState {
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) => Some(running),
            _ => None,
        }
    }
}

/// A problem with the data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("using the data folder {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("another vitrina (process {pid}) runs on {}; stop it, or choose another folder with --data", .path.display())]
    InUse { path: PathBuf, pid: String },
    #[error("the vitrina that runs on {} does not run `{part}`; start it with `--roles all`", .path.display())]
    WithoutPart { path: PathBuf, part: Part },
    #[error(
        "the demo password in {} {fault}: delete the file to generate a new one, or write one into it",
        .path.display()
    )]
    Password { path: PathBuf, fault: &'static str },
    #[error(
        "the vitrina that runs on {} does not list the demo user {email}; restart it",
        .path.display()
    )]
    UnknownUser { path: PathBuf, email: &'static str },
    #[error(
        "there is no signing key {}; restart the vitrina that runs on this folder",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error("no vitrina runs on {}; start it with `vitrina up --data {}`", .0.display(), .0.display())]
    NotRunning(PathBuf),
}

/// Exclusive use of the data folder, until dropped.
#[derive(Debug)]
pub struct Claim {
    folder: DataFolder,
    _lock: File,
}

impl DataFolder {
    /// The folder at `path`, which need not exist yet.
    pub fn at(path: &Path) -> Result<Self, DataError> {
        let path = std::path::absolute(path)
            .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn postgres(&self) -> PathBuf {
        self.0.join("postgres")
    }

    pub fn listings(&self) -> PathBuf {
        self.0.join("dynamodb.sqlite")
    }

    pub fn mail(&self) -> PathBuf {
        self.0.join("mail")
    }

    pub(crate) fn signing_key(&self) -> PathBuf {
        self.0.join("identity.pk8")
    }

    pub(crate) fn demo_password_file(&self) -> PathBuf {
        self.0.join("demo-password")
    }

    /// The password of the demo users of this folder. The first call generates it, in a file that
    /// only its owner can read, since one of the users is an operator. A password that sign-up
    /// would refuse is an error: an emptied file must not leave the operator without a password.
    pub fn demo_password(&self) -> Result<Secret<String>, DataError> {
        let file = self.demo_password_file();
        match fs::read_to_string(&file) {
            Ok(password) => {
                return identity::check_password(password.trim().to_owned())
                    .map_err(|fault| DataError::Password { path: file, fault });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.io()(error)),
        }
        let mut rng = rand::rng();
        let letters = (0..PASSWORD_LENGTH).filter_map(|_| PASSWORD_LETTERS.choose(&mut rng));
        let password: String = letters.map(|letter| char::from(*letter)).collect();
        write_private(&file, password.as_bytes()).map_err(self.io())?;
        Ok(Secret::new(password))
    }

    pub(crate) fn running_file(&self) -> PathBuf {
        self.0.join("running.json")
    }

    fn io(&self) -> impl FnOnce(io::Error) -> DataError {
        let path = self.0.clone();
        move |source| DataError::Io { path, source }
    }

    /// Creates the folder and locks it for this process.
    pub fn claim(&self) -> Result<Claim, DataError> {
        fs::create_dir_all(&self.0).map_err(self.io())?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.0.join("lock"))
            .map_err(self.io())?;
        match lock.try_lock() {
            Ok(()) => Ok(Claim { folder: self.clone(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let pid = self.read().map_or_else(|| "unknown".into(), |r| r.pid.to_string());
                Err(DataError::InUse { path: self.0.clone(), pid })
            }
            Err(TryLockError::Error(source)) => Err(self.io()(source)),
        }
    }

    fn read(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(self.running_file()).ok()?).ok()
    }

    /// The edition that runs on this folder.
    pub fn find_running(&self) -> Result<Running, DataError> {
        match self.find_state() {
            FolderState::Running(running) => Ok(running),
            _ => Err(DataError::NotRunning(self.0.clone())),
        }
    }

    /// The edition that runs on this folder, if it runs `part`.
    pub(crate) fn find_running_with(&self, part: Part) -> Result<Running, DataError> {
        let running = self.find_running()?;
        if running.parts.has(part) {
            Ok(running)
        } else {
            Err(DataError::WithoutPart { path: self.0.clone(), part })
        }
    }

    /// Whether an edition uses this folder.
    pub(crate) fn find_state(&self) -> FolderState {
        let announced = self.read();
        let lock = File::open(self.0.join("lock"));
        // A killed process leaves its file behind, but not its lock.
        let taken =
            lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)));
        match (taken, announced) {
            (true, Some(running)) => FolderState::Running(running),
            (true, None) => FolderState::Taken,
            (false, Some(running)) => FolderState::LeftBehind(running),
            (false, None) => FolderState::Free,
        }
    }
}

/// Writes a whole file that only its owner can read, so that it survives a power cut.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    // A leftover may have other permissions.
    let _ = fs::remove_file(&unfinished);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    // Otherwise the name may reach the disk before the content.
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

impl Claim {
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Publishes where this edition is, for other commands.
    pub fn announce(&self, running: &Running) -> Result<(), DataError> {
        let file = self.folder.running_file();
        let whole = serde_json::to_vec_pretty(running)
            .map_err(io::Error::other)
            .and_then(|bytes| write_private(&file, &bytes));
        whole.map_err(self.folder.io())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.running_file());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(directory.path()).unwrap();
        (directory, folder)
    }

    #[test]
    fn new_demo_password_is_private_and_is_kept() {
        let (directory, folder) = folder();
        let password = folder.demo_password().unwrap();
        assert_eq!(password.expose().len(), PASSWORD_LENGTH);
        assert_eq!(folder.demo_password().unwrap(), password);
        let mode = fs::metadata(folder.demo_password_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn unacceptable_demo_password_is_refused_and_kept() {
        let (_directory, folder) = folder();
        let file = folder.demo_password_file();
        for content in ["", " \n\t\n", "seven77\n"] {
            fs::write(&file, content).unwrap();
            let error = folder.demo_password().unwrap_err().to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
            assert!(error.contains("must be at least 8 characters: delete the file"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        fs::write(&file, "eight888\n").unwrap();
        assert_eq!(folder.demo_password().unwrap().expose(), "eight888");
    }
}
