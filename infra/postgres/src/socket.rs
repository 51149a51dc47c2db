//! Where the server's socket is: in a folder that nobody but its user and root can enter.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::{
    Error, PORT,
    account::{self, Account},
    home::{fnv, make_private},
};

/// What a unix socket's path may be long, in bytes, on the system that allows least.
const SOCKET_PATH_LIMIT: usize = 103;
/// Where a socket goes whose path would be too long. Not the configured temporary folder: that may
/// be long too.
const SHORT_BASE: &str = "/tmp";

/// The folder for the socket of the cluster in `place`, made if need be.
pub(super) fn directory(place: &Path, account: &Account) -> Result<PathBuf, Error> {
    let run = place.join("run");
    if !fits(&run) {
        return short_directory(place, account);
    }
    private(&run, account)?.ok_or_else(|| {
        Error::files("taking for the socket", &run)(io::ErrorKind::PermissionDenied.into())
    })
}

/// A folder with a short path, the same each time for the same `place`, that only the server's user
/// can enter.
pub(super) fn short_directory(place: &Path, account: &Account) -> Result<PathBuf, Error> {
    let hash = fnv(place);
    for attempt in 1..=16 {
        // Everybody can write to the base, so somebody else may have taken a name.
        let path = Path::new(SHORT_BASE).join(format!("vitrina-{hash:016x}-{attempt}"));
        if let Some(path) = private(&path, account)? {
            return Ok(path);
        }
    }
    Err(Error::files("finding a name for the socket in", SHORT_BASE)(
        io::ErrorKind::AlreadyExists.into(),
    ))
}

/// Removes a socket folder that is outside the data folder, and leaves any other alone.
pub(super) fn remove_short_directory(path: &Path) {
    let ours = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"vitrina-"));
    if ours && path.parent() == Some(Path::new(SHORT_BASE)) {
        // The server removed its socket. If it did not, the folder is not empty and stays for the
        // next start.
        fs::remove_dir(path).ok();
    }
}

/// Removes the socket of a server that has ended, and the lock file that says whose it is.
pub(super) fn clear(directory: &Path) -> Result<(), Error> {
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::files("removing the old socket", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the server can have its socket in `directory`: a short path, and none of what the server
/// takes for punctuation in a list of folders.
pub(super) fn fits(directory: &Path) -> bool {
    let bytes = directory.as_os_str().as_bytes();
    bytes.len() + format!("/.s.PGSQL.{PORT}").len() <= SOCKET_PATH_LIMIT
        && directory.to_str().is_some()
        && !bytes.iter().any(|byte| b",\"'\\".contains(byte) || byte.is_ascii_whitespace())
}

/// Makes `path` a folder for the server's user alone, or finds that it is one; `None` when it is
/// somebody else's.
fn private(path: &Path, account: &Account) -> Result<Option<PathBuf>, Error> {
    let failed = || Error::files("making the folder of the socket", path);
    match make_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).map_err(failed())?;
            let mine = account::effective_uid();
            let owner = Some(metadata.uid());
            if !metadata.is_dir() || (owner != mine && owner != account.uid()) {
                return Ok(None);
            }
        }
        made => made.map_err(failed())?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed())?;
    account.own(path)?;
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_whose_path_is_too_long_goes_to_a_short_private_folder() {
        let base = super::super::tests::passable_folder();
        let account = Account::choose().unwrap();
        assert_eq!(directory(base.path(), &account).unwrap(), base.path().join("run"));
        let far = base.path().join("x".repeat(100));
        let short = directory(&far, &account).unwrap();
        assert!(fits(&short) && short.starts_with(SHORT_BASE));
        assert_eq!(fs::metadata(&short).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(directory(&far, &account).unwrap(), short);
        remove_short_directory(&short);
        assert!(!short.exists());
        remove_short_directory(&base.path().join("run"));
        assert!(base.path().join("run").exists());
    }

    #[test]
    fn a_name_for_the_socket_that_somebody_else_took_is_not_used() {
        let base = super::super::tests::passable_folder();
        let account = Account::choose().unwrap();
        let target = base.path().join("theirs");
        fs::create_dir(&target).unwrap();
        let link = base.path().join("run");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(private(&link, &account).unwrap(), None);
        assert!(!fits(Path::new("/a,b")) && !fits(Path::new("/a b")) && fits(Path::new("/a-b")));
    }
}
