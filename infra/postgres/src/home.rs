//! The data folder: its lock, the places of its parts, and their fallback if the user of the server
//! cannot enter it.
//!
//! ```text
//! <folder>/lock          locked while a process uses the folder
//! <folder>/server.log    the log of the server
//! <folder>/location      the other location of `data` and `run`, if they are not here
//! <folder>/data          PostgreSQL's own data directory
//! <folder>/run           the socket, accessible only to the user of the server
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::{
    Error,
    account::{self, Account},
    binaries::Binaries,
    location::{record, recorded},
};

/// A data folder that this process has locked.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    location: PathBuf,
    account: Account,
    // One on the folder and one on the location, because a copied folder names the same location.
    _locks: Vec<Lock>,
}

impl Home {
    /// Creates `folder` if needed, locks it, and decides where its data is. `fallback` is where root
    /// puts the data if the user of the server cannot enter the folder.
    pub(super) fn open(folder: &Path, fallback: &Path) -> Result<Self, Error> {
        let new = !folder.exists();
        fs::create_dir_all(folder).map_err(Error::files("creating the data folder", folder))?;
        let folder = fs::canonicalize(folder).map_err(Error::files("finding", folder))?;
        if new {
            // If root starts the server as another user, that user must be able to pass through.
            let mode = if account::is_root() { 0o711 } else { 0o700 };
            fs::set_permissions(&folder, Permissions::from_mode(mode))
                .map_err(Error::files("setting the permissions of", &folder))?;
        }
        let mut locks = vec![lock(&folder, &folder)?];
        let location = location(&folder, fallback)?;
        if location != folder {
            locks.push(lock(&location, &folder)?);
        }
        let data = location.join("data");
        let account = if data.exists() { Account::of(&data)? } else { Account::choose()? };
        if !account.can_enter(&location)? {
            return Err(Error::Unreachable {
                directory: location,
                user: account.name().to_owned(),
            });
        }
        Ok(Self { folder, location, account, _locks: locks })
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// The folder of the data and the socket.
    pub(super) fn location(&self) -> &Path {
        &self.location
    }

    pub(super) fn data(&self) -> PathBuf {
        self.location.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Whether a cluster exists. An empty data folder does not count and is removed.
    pub(super) fn has_cluster(&self) -> Result<bool, Error> {
        let data = self.data();
        let mut entries = match fs::read_dir(&data) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::files("reading the folder", data)(error)),
        };
        if data.join("PG_VERSION").exists() {
            return Ok(true);
        }
        if entries.next().is_some() {
            return Err(Error::NotACluster { directory: data });
        }
        fs::remove_dir(&data).map_err(Error::files("removing the empty folder", &data))?;
        Ok(false)
    }

    /// Checks that `binaries` have the major version that created the cluster.
    pub(super) fn check_major(&self, binaries: &Binaries) -> Result<(), Error> {
        let path = self.data().join("PG_VERSION");
        let created_by = fs::read_to_string(&path).map_err(Error::files("reading", &path))?;
        let created_by = created_by.trim();
        if created_by == binaries.major() {
            return Ok(());
        }
        Err(Error::OtherMajor {
            directory: self.data(),
            created_by: created_by.to_owned(),
            program: binaries.postgres.clone(),
            found: binaries.major().to_owned(),
        })
    }

    /// Creates a staging folder for `initdb` next to the final one, and removes those of killed attempts.
    /// An orphaned `initdb` may still write to one, so names are never reused.
    pub(super) fn staging_folder(&self) -> Result<PathBuf, Error> {
        const PREFIX: &str = "data.new-";
        let failed = || Error::files("reading the folder", &self.location);
        for entry in fs::read_dir(&self.location).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!(
                    path = %entry.path().display(),
                    error = &error as &dyn std::error::Error,
                    "could not remove the leftovers of an unfinished initdb",
                );
            }
        }
        let random = RandomState::new().build_hasher().finish();
        let path = self.location.join(format!("{PREFIX}{random:016x}"));
        create_private(&path).map_err(Error::files("creating", &path))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Moves the finished staging folder into place, durably.
    pub(super) fn move_into_place(&self, staging: &Path) -> Result<(), Error> {
        fs::rename(staging, self.data()).map_err(Error::files("moving into place", staging))?;
        File::open(&self.location)
            .and_then(|location| location.sync_all())
            .map_err(Error::files("syncing", &self.location))
    }
}

/// Creates a folder that only its owner can access.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// A lock file, unlocked on drop.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing is not enough: a child that another thread is spawning has the file open too, until it
    /// executes its program.
    fn drop(&mut self) {
        // Fails only if the file system has no locks; then closing is enough.
        self.0.unlock().ok();
    }
}

fn lock(location: &Path, folder: &Path) -> Result<Lock, Error> {
    let path = location.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(Error::files("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { directory: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::files("locking", path)(error)),
    }
}

/// Decides where the data of `folder` is: inside it, unless root must start the server as a user that
/// cannot enter it.
fn location(folder: &Path, fallback: &Path) -> Result<PathBuf, Error> {
    if let Some(location) = recorded(folder)? {
        return if location.is_dir() {
            Ok(location)
        } else {
            let record = folder.join("location");
            Err(Error::LocationGone { directory: folder.to_owned(), location, record })
        };
    }
    let account = Account::choose()?;
    // Existing data stays in place, even if its user can no longer enter: an empty cluster would be
    // worse.
    if account == Account::Own || folder.join("data").exists() || account.can_enter(folder)? {
        return Ok(folder.to_owned());
    }
    let failed = || Error::files("creating a folder for the data in", fallback);
    let new = !fallback.exists();
    fs::create_dir_all(fallback).map_err(failed())?;
    let fallback = fs::canonicalize(fallback).map_err(failed())?;
    let accessible = Permissions::from_mode(0o711);
    if new {
        fs::set_permissions(&fallback, accessible.clone()).map_err(failed())?;
    }
    let hash = fnv(folder);
    for attempt in 1_u64.. {
        // A taken name belongs to a data folder that was deleted since, in order to start empty.
        let location = fallback.join(format!("{hash:016x}-{attempt}"));
        match create_private(&location) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.map_err(failed())?,
        }
        fs::set_permissions(&location, accessible).map_err(failed())?;
        record(folder, &location)?;
        tracing::info!(
            folder = %folder.display(),
            location = %location.display(),
            user = account.name(),
            "the user that runs PostgreSQL cannot enter the data folder; its data is stored in the \
             fallback location",
        );
        return Ok(location);
    }
    Err(failed()(io::ErrorKind::AlreadyExists.into()))
}

/// FNV-1a. Names must be stable, and the hash of the standard library may change.
pub(super) fn fnv(path: &Path) -> u64 {
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn second_process_on_one_folder_is_refused() {
        let base = super::super::tests::accessible_folder();
        let first = Home::open(&base.path().join("pg"), &base.path().join("fallback")).unwrap();
        let error = Home::open(&base.path().join("pg"), &base.path().join("fallback")).unwrap_err();
        assert!(matches!(&error, Error::InUse { .. }), "{error}");
        assert!(error.to_string().contains("another vitrina process"));
        drop(first);
        Home::open(&base.path().join("pg"), &base.path().join("fallback")).unwrap();
    }

    #[test]
    fn folder_with_other_content_is_left_unchanged() {
        let base = super::super::tests::accessible_folder();
        let home = Home::open(base.path(), Path::new("/nowhere")).unwrap();
        assert!(!home.has_cluster().unwrap());
        fs::create_dir(home.data()).unwrap();
        assert!(!home.has_cluster().unwrap());
        assert!(!home.data().exists(), "an empty folder is in the way of the rename");
        fs::create_dir(home.data()).unwrap();
        fs::write(home.data().join("thesis.tex"), "").unwrap();
        assert!(matches!(home.has_cluster(), Err(Error::NotACluster { .. })));
        assert!(home.data().join("thesis.tex").exists());
    }

    #[test]
    fn leftovers_of_a_killed_initdb_are_removed() {
        let base = super::super::tests::accessible_folder();
        let home = Home::open(base.path(), Path::new("/nowhere")).unwrap();
        let first = home.staging_folder().unwrap();
        fs::write(first.join("half"), "").unwrap();
        let second = home.staging_folder().unwrap();
        assert!(!first.exists() && second.exists());
        assert_ne!(first, second);
        assert_eq!(mode(&second), 0o700);
        home.move_into_place(&second).unwrap();
        assert!(home.data().exists() && !second.exists());
    }

    #[test]
    fn root_puts_the_data_where_the_server_can_enter() {
        let base = super::super::tests::accessible_folder();
        let shut = tempfile::tempdir().unwrap();
        fs::set_permissions(shut.path(), Permissions::from_mode(0o700)).unwrap();
        let folder = shut.path().join("pg");
        let fallback = base.path().join("fallback");
        let home = Home::open(&folder, &fallback).unwrap();
        if !account::is_root() {
            assert_eq!(home.location, fs::canonicalize(&folder).unwrap());
            return;
        }
        let location = home.location.clone();
        assert!(
            location.starts_with(fs::canonicalize(&fallback).unwrap()),
            "{}",
            location.display()
        );
        assert!(home.account().can_enter(&location).unwrap());
        drop(home);
        assert_eq!(Home::open(&folder, &fallback).unwrap().location, location);
        fs::create_dir(location.join("data")).unwrap();
        fs::write(location.join("data/PG_VERSION"), "15\n").unwrap();
        assert_eq!(super::super::major_version_of(&folder).as_deref(), Some("15"));

        // A deleted folder starts empty. A folder without its recorded data is an error.
        fs::remove_dir_all(&folder).unwrap();
        let second = Home::open(&folder, &fallback).unwrap();
        assert_ne!(second.location, location);
        fs::remove_dir_all(&second.location).unwrap();
        drop(second);
        let error = Home::open(&folder, &fallback).unwrap_err();
        assert!(matches!(error, Error::LocationGone { .. }), "{error}");
    }

    #[test]
    fn copied_folder_cannot_share_the_place_of_its_original() {
        let base = super::super::tests::accessible_folder();
        let location = base.path().join("location");
        fs::create_dir(&location).unwrap();
        for folder in ["one", "copy"] {
            fs::create_dir(base.path().join(folder)).unwrap();
            record(&base.path().join(folder), &location).unwrap();
        }
        let _first = Home::open(&base.path().join("one"), Path::new("/nowhere")).unwrap();
        let error = Home::open(&base.path().join("copy"), Path::new("/nowhere")).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
    }
}
