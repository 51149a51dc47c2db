//! The folder of the socket, which only the user of the server and root can enter.

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
    home::{create_private, fnv},
};

/// Maximum length of a socket path, in bytes, on the system with the lowest limit.
const SOCKET_PATH_LIMIT: usize = 103;
/// Base folder for sockets whose path would be too long. Not the configured temporary folder, which may
/// be long too.
const SHORT_BASE: &str = "/tmp";

/// The folder for the socket of the cluster in `location`, created if needed.
pub(super) fn directory(location: &Path, account: &Account) -> Result<PathBuf, Error> {
    let run = location.join("run");
    if !fits(&run) {
        return short_directory(location, account);
    }
    private(&run, account)?.ok_or_else(|| {
        Error::files("using for the socket", &run)(io::ErrorKind::PermissionDenied.into())
    })
}

/// A folder with a short path, stable for each `location`, that only the user of the server can enter.
pub(super) fn short_directory(location: &Path, account: &Account) -> Result<PathBuf, Error> {
    let hash = fnv(location);
    for attempt in 1..=16 {
        // Every user can write to the base folder, so a name may be taken.
        let path = Path::new(SHORT_BASE).join(format!("vitrina-{hash:016x}-{attempt}"));
        if let Some(path) = private(&path, account)? {
            return Ok(path);
        }
    }
    Err(Error::files("finding a name for the socket in", SHORT_BASE)(
        io::ErrorKind::AlreadyExists.into(),
    ))
}

/// Removes a socket folder outside the data folder. Leaves any other unchanged.
pub(super) fn remove_short_directory(path: &Path) {
    let ours = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"vitrina-"));
    if ours && path.parent() == Some(Path::new(SHORT_BASE)) {
        // The server has removed its socket. Otherwise the folder is not empty and stays for the next
        // start.
        fs::remove_dir(path).ok();
    }
}

/// Removes the socket of an exited server and its lock file.
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

/// Whether the socket can be in `directory`: its path is short and contains no character that separates
/// folders in the server's setting.
pub(super) fn fits(directory: &Path) -> bool {
    let bytes = directory.as_os_str().as_bytes();
    bytes.len() + format!("/.s.PGSQL.{PORT}").len() <= SOCKET_PATH_LIMIT
        && directory.to_str().is_some()
        && !bytes.iter().any(|byte| b",\"'\\".contains(byte) || byte.is_ascii_whitespace())
}

/// Makes sure that only the server's user can access folder `path`. `None` if it belongs to another
/// user.
fn private(path: &Path, account: &Account) -> Result<Option<PathBuf>, Error> {
    let failed = || Error::files("creating the folder of the socket", path);
    match create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).map_err(failed())?;
            let mine = account::effective_uid();
            let owner = Some(metadata.uid());
            if !metadata.is_dir() || (owner != mine && owner != account.uid()) {
                return Ok(None);
            }
        }
        created => created.map_err(failed())?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed())?;
    account.own(path)?;
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn long_socket_path_is_replaced_by_a_short_folder() {
        let base = super::super::tests::accessible_folder();
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
    fn socket_folder_that_others_could_enter_is_closed() {
        let base = super::super::tests::accessible_folder();
        let run = base.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(directory(base.path(), &Account::choose().unwrap()).unwrap(), run);
        assert_eq!(fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn socket_folder_that_is_a_link_is_not_used() {
        let base = super::super::tests::accessible_folder();
        let target = base.path().join("theirs");
        fs::create_dir(&target).unwrap();
        let link = base.path().join("run");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(private(&link, &Account::choose().unwrap()).unwrap(), None);
    }

    #[test]
    fn socket_folder_of_another_user_is_not_used() {
        let account = Account::choose().unwrap();
        let Some(server) = account.uid() else {
            // It belongs to root, and only root runs the server as another user.
            assert_eq!(private(Path::new("/usr"), &account).unwrap(), None);
            return;
        };
        let base = super::super::tests::accessible_folder();
        let run = base.path().join("run");
        fs::create_dir(&run).unwrap();
        for (owner, is_used) in [(server, true), (server + 1, false)] {
            chown(&run, Some(owner), None).unwrap();
            assert_eq!(private(&run, &account).unwrap().is_some(), is_used, "{owner}");
        }
    }

    #[test]
    fn socket_fits_where_nothing_separates_folders() {
        let fits = |path: &str| fits(Path::new(path));
        assert!(fits("/a-b") && !fits("/a,b") && !fits("/a b"));
    }
}
