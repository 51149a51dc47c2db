//! The recorded location of the data, if it is not in the data folder itself.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::Error;

/// The major version that created the data of `folder`, if it is known.
pub fn major_version_of(folder: &Path) -> Option<String> {
    let version = fs::read_to_string(data_of(folder).ok()?.join("PG_VERSION")).ok()?;
    Some(version.trim().to_owned())
}

/// The location of the data of `folder`, whether or not it exists.
pub(super) fn data_of(folder: &Path) -> Result<PathBuf, Error> {
    let location = recorded(folder)?.unwrap_or_else(|| folder.to_owned());
    Ok(location.join("data"))
}

pub(super) fn recorded(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let path = folder.join("location");
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::files("reading", path)(error)),
    }
}

pub(super) fn record(folder: &Path, location: &Path) -> Result<(), Error> {
    let path = folder.join("location");
    let new = folder.join("location.new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(location.as_os_str().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::files("recording where the data is in", &path))
}
