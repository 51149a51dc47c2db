//! Finds PostgreSQL's programs on this machine.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Error, account, location, obtain,
    search::{Search, program},
};

/// Folders in which installers put PostgreSQL, relative to the root; `*` stands for a version.
const PLACES: [&str; 13] = [
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/lib/postgresql*/bin",
    "usr/lib64/postgresql*/bin",
    "usr/libexec/postgresql*",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/bin",
    "usr/local/bin",
    "usr/bin",
];

/// The programs of one PostgreSQL installation. Symlinks are resolved, because the programs find their
/// `share` folder relative to their own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    major: String,
}

impl Binaries {
    /// Finds the first installation in the order of `search`; among the usual places, the newest version
    /// in the first place that has one.
    ///
    /// Runs only `postgres --version`. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrograms`] if the given directory lacks the programs, [`Error::NotFound`], with the
    /// command that installs them, if no place has them.
    pub fn find(search: &Search) -> Result<Self, Error> {
        Self::find_preferring(search, None)
    }

    /// Like [`Binaries::find`], but prefers the major version that created the data in `directory` (the
    /// later [`StartOptions::directory`](super::StartOptions::directory)), so that installing a newer
    /// PostgreSQL does not make the data unusable.
    ///
    /// # Errors
    ///
    /// As [`Binaries::find`].
    pub fn find_for(search: &Search, directory: &Path) -> Result<Self, Error> {
        Self::find_preferring(search, location::major_version_of(directory).as_deref())
    }

    fn find_preferring(search: &Search, preferred: Option<&str>) -> Result<Self, Error> {
        if let Some(directory) = &search.explicit {
            return Self::inside(directory)?
                .ok_or_else(|| Error::NoPrograms { directory: directory.clone() });
        }
        let mut first = None;
        for directory in places(search) {
            // A broken installation is skipped. If it is the only one, the search finds nothing.
            let found = match Self::inside(&directory) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(
                        directory = %directory.display(),
                        error = &error as &dyn std::error::Error,
                        "skipped a PostgreSQL installation that does not run",
                    );
                    continue;
                }
            };
            if preferred.is_none_or(|major| major == found.major) {
                return Ok(found);
            }
            first.get_or_insert(found);
        }
        first.ok_or_else(|| Error::NotFound { advice: obtain::advice(search, account::is_root()) })
    }

    /// The major version: `15`, or `9.6` before version 10.
    pub fn major(&self) -> &str {
        &self.major
    }

    /// The directory that contains the server program.
    pub fn directory(&self) -> &Path {
        self.postgres.parent().unwrap_or(&self.postgres)
    }

    /// Returns `None` if `directory` lacks the programs, and an error if they do not run.
    fn inside(directory: &Path) -> Result<Option<Self>, Error> {
        let (Some(initdb), Some(postgres)) =
            (program(directory, "initdb"), program(directory, "postgres"))
        else {
            return Ok(None);
        };
        // It refuses to serve as root, but prints its version for every user.
        let output = Command::new(&postgres)
            .arg("--version")
            .stdin(Stdio::null())
            .env("LC_ALL", "C")
            .output()
            .map_err(|source| Error::Run {
                program: postgres.clone(),
                user: "of this process".to_owned(),
                source,
            })?;
        let output = String::from_utf8_lossy(&output.stdout);
        match major_of(&output) {
            Some(major) => Ok(Some(Self { initdb, postgres, major })),
            None => Err(Error::NoVersion {
                program: postgres,
                output: output.trim().chars().take(80).collect(),
            }),
        }
    }
}

/// Parses the output: `postgres (PostgreSQL) 15.14 (Debian ..)` is 15, `18beta2` is 18, `9.6.24` is 9.6.
fn major_of(output: &str) -> Option<String> {
    let version = output.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(version);
    match major.parse::<u32>().ok()? {
        0..10 => {
            Some(format!("{major}.{}", version.split('.').nth(1).map(digits).unwrap_or_default()))
        }
        10.. => Some(major),
    }
}

fn places(search: &Search) -> Vec<PathBuf> {
    let path = search.path.as_deref().unwrap_or(OsStr::new(""));
    // A relative entry would make the result depend on the current folder.
    let mut all: Vec<_> = std::env::split_paths(path).filter(|entry| entry.is_absolute()).collect();
    for place in PLACES {
        all.extend(expand(&search.root, place));
    }
    all
}

/// Expands the `*` in `place`, newest version first.
fn expand(root: &Path, place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![root.join(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let after = after.trim_start_matches('/');
    let Ok(entries) = fs::read_dir(root.join(parent)) else {
        return Vec::new();
    };
    let mut versions: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            let numbers = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
            Some((numbers, entry.path().join(after)))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Creates an executable script below a fake root.
    pub(in super::super) fn put(root: &Path, path: &str, script: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn install(root: &Path, directory: &str, version: &str) {
        put(root, &format!("{directory}/initdb"), "exit 1");
        put(
            root,
            &format!("{directory}/postgres"),
            &format!("echo 'postgres (PostgreSQL) {version}'"),
        );
    }

    pub(in super::super) fn beneath(root: &Path) -> Search {
        Search { explicit: None, path: None, root: root.to_owned() }
    }

    #[test]
    fn newest_major_version_is_found_first() {
        let root = tempfile::tempdir().unwrap();
        for major in ["9.6", "17", "15"] {
            install(root.path(), &format!("usr/lib/postgresql/{major}/bin"), &format!("{major}.3"));
        }
        assert_eq!(Binaries::find(&beneath(root.path())).unwrap().major(), "17");
    }

    #[test]
    fn version_that_created_the_data_is_preferred() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/17/bin", "17.1");
        install(root.path(), "opt/homebrew/opt/postgresql@15/bin", "15.4 (Homebrew)");
        let data = root.path().join("data-folder");
        fs::create_dir_all(data.join("data")).unwrap();
        fs::write(data.join("data/PG_VERSION"), "15\n").unwrap();
        assert_eq!(Binaries::find_for(&beneath(root.path()), &data).unwrap().major(), "15");
        fs::write(data.join("data/PG_VERSION"), "12\n").unwrap();
        assert_eq!(Binaries::find_for(&beneath(root.path()), &data).unwrap().major(), "17");
    }

    #[test]
    fn explicit_directory_is_the_only_one_searched() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/17/bin", "17.1");
        install(root.path(), "mine", "14.2");
        let mut search = beneath(root.path());
        search.explicit = Some(root.path().join("mine"));
        assert_eq!(Binaries::find(&search).unwrap().major(), "14");
        search.explicit = Some(root.path().join("empty"));
        let message = Binaries::find(&search).unwrap_err().to_string();
        assert!(message.contains("VITRINA_POSTGRES_BIN") && message.contains("empty"), "{message}");
    }

    #[test]
    fn symlink_on_the_path_is_resolved() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "opt/pg/bin", "16.1");
        let links = root.path().join("links");
        fs::create_dir(&links).unwrap();
        for name in ["initdb", "postgres"] {
            std::os::unix::fs::symlink(root.path().join("opt/pg/bin").join(name), links.join(name))
                .unwrap();
        }
        let mut search = beneath(root.path());
        search.path = Some(links.into_os_string());
        let found = Binaries::find(&search).unwrap();
        assert_eq!(found.directory(), fs::canonicalize(root.path().join("opt/pg/bin")).unwrap());
    }

    #[test]
    fn broken_installation_is_skipped() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/15/bin", "15.1");
        put(root.path(), "usr/lib/postgresql/17/bin/initdb", "");
        put(root.path(), "usr/lib/postgresql/17/bin/postgres", "exit 127");
        assert_eq!(Binaries::find(&beneath(root.path())).unwrap().major(), "15");
    }

    #[test]
    fn major_version_is_parsed_from_every_format() {
        let major = |version: &str| major_of(&format!("postgres (PostgreSQL) {version}\n"));
        assert_eq!(major("15.14 (Debian 15.14-0+deb12u1)").as_deref(), Some("15"));
        assert_eq!(major("18beta2").as_deref(), Some("18"));
        assert_eq!(major("9.6.24").as_deref(), Some("9.6"));
        assert_eq!(major("unknown"), None);
        assert_eq!(major_of("no database here"), None);
    }
}
