//! The user that runs the server. PostgreSQL refuses to run as root, so root starts it as another user.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown, lchown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use super::Error;

/// Environment variables that would change how the server or `initdb` works.
const REMOVED_VARIABLES: [&str; 7] =
    ["PGDATA", "PGPORT", "PGTZ", "PGDATESTYLE", "PGCLIENTENCODING", "PG_GRANDPARENT_PID", "TZ"];

/// The user that runs the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// The user of this process.
    Own,
    /// Another user, because this process is root.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// The user of this process. For root: `postgres`, otherwise `nobody`.
    pub(super) fn choose() -> Result<Self, Error> {
        if !is_root() {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd")
            .map_err(Error::files("reading the users of this machine in", "/etc/passwd"))?;
        ["postgres", "nobody"].iter().find_map(|name| named(&passwd, name)).ok_or(Error::NoUser {
            reason: "root may not run it, and there is no user `postgres` or `nobody`",
        })
    }

    /// The user that runs the server on existing `data`: its owner, so that a start with `sudo` keeps
    /// working on an ordinary user's data. Data that belongs to root is first given to the right
    /// user.
    pub(super) fn of(data: &Path) -> Result<Self, Error> {
        if !is_root() {
            return Ok(Self::Own);
        }
        let metadata = fs::metadata(data).map_err(Error::files("finding the owner of", data))?;
        if metadata.uid() != 0 {
            let (uid, gid) = (metadata.uid(), metadata.gid());
            return Ok(Self::Other { name: format!("number {uid}"), uid, gid });
        }
        let account = Self::choose()?;
        account.own_all(data)?;
        Ok(account)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own => "of this process",
            Self::Other { name, .. } => name,
        }
    }

    pub(super) fn uid(&self) -> Option<u32> {
        match self {
            Self::Own => None,
            Self::Other { uid, .. } => Some(*uid),
        }
    }

    /// Makes this user the owner of `path` itself.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .map_err(Error::files("changing the owner of", path)),
        }
    }

    /// Makes this user the owner of `path` and everything in it. Does not follow symlinks.
    fn own_all(&self, path: &Path) -> Result<(), Error> {
        let Self::Other { uid, gid, .. } = self else {
            return Ok(());
        };
        let failed = || Error::files("changing the owner of", path);
        lchown(path, Some(*uid), Some(*gid)).map_err(failed())?;
        if fs::symlink_metadata(path).map_err(failed())?.is_dir() {
            for entry in fs::read_dir(path).map_err(failed())? {
                self.own_all(&entry.map_err(failed())?.path())?;
            }
        }
        Ok(())
    }

    /// A command that runs as this user, in its own process group: Ctrl-C in the terminal reaches only
    /// this process, which then stops the server.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The server reads the current folder, which this user may not be allowed to enter.
        command.current_dir("/").stdin(Stdio::null()).process_group(0).env("LC_ALL", "C");
        for name in REMOVED_VARIABLES {
            command.env_remove(name);
        }
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Whether this user can enter `directory`. Asks the operating system rather than computing it from
    /// permission bits, because of access control lists.
    pub(super) fn can_enter(&self, directory: &Path) -> Result<bool, Error> {
        self.check("cd \"$1\"", directory)
    }

    /// Whether this user can create and remove entries in `directory`.
    pub(super) fn can_write(&self, directory: &Path) -> Result<bool, Error> {
        self.check("cd \"$1\" && test -w .", directory)
    }

    fn check(&self, script: &str, directory: &Path) -> Result<bool, Error> {
        if *self == Self::Own {
            return Ok(true);
        }
        let shell = Path::new("/bin/sh");
        self.command(shell)
            .args(["-c", script, "sh"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map(|status| status.success())
            .map_err(|source| self.refused(shell, source))
    }

    /// The error for a program that did not start as this user.
    pub(super) fn refused(&self, program: &Path, source: std::io::Error) -> Error {
        Error::Run { program: program.to_owned(), user: self.name().to_owned(), source }
    }
}

/// Whether the effective user of this process is root.
pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

/// Linux has it in a file. The owner of `/proc/self` is not reliable: it is root if the user may not
/// read the program that it runs. Other systems have a command.
pub(super) fn effective_uid() -> Option<u32> {
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        return line.split_whitespace().nth(1)?.parse().ok();
    }
    let output = Command::new("id").arg("-u").stdin(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Finds a user other than root by name.
fn named(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Account::Other { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn user_is_found_by_exact_name_and_root_is_refused() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:5:5::/:/bin/sh\n\
                      postgres:x:104:107:PostgreSQL:/var/lib/postgresql:/bin/bash\n\
                      runner:x:0:0::/:/bin/false\n";
        let postgres = Account::Other { name: "postgres".to_owned(), uid: 104, gid: 107 };
        assert_eq!(named(passwd, "postgres"), Some(postgres));
        assert_eq!(named(passwd, "runner"), None);
        assert_eq!(named(passwd, "absent"), None);
    }

    #[test]
    fn root_runs_the_server_as_another_user() {
        let own_file = tempfile::NamedTempFile::new().unwrap();
        let uid = own_file.as_file().metadata().unwrap().uid();
        assert_eq!(effective_uid(), Some(uid));
        let account = Account::choose().unwrap();
        assert_eq!(account == Account::Own, uid != 0);
        assert_ne!(account.uid(), Some(0));
    }

    #[test]
    fn command_runs_as_the_account() {
        let account = Account::choose().unwrap();
        let output = account.command(Path::new("/bin/sh")).args(["-c", "id -u"]).output().unwrap();
        let uid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(account.uid().or(effective_uid()), Some(uid));
        assert_ne!(uid, 0);
    }

    #[test]
    fn private_folder_of_another_user_is_unreachable() {
        let account = Account::choose().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(account.can_enter(folder.path()).unwrap(), account == Account::Own);
        account.own(folder.path()).unwrap();
        assert!(account.can_enter(folder.path()).unwrap());
        assert!(account.can_write(folder.path()).unwrap());
    }
}
