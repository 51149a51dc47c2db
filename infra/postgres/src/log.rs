//! The log of the server: a file of bounded size. Errors quote its last lines.
//!
//! The server writes to it directly rather than through a pipe, so that it survives the process that
//! started it. Every writer appends, so the file can be truncated under a running server.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::Error;

/// Size in bytes at which the log is rotated; one old file is kept.
const LIMIT: u64 = 8 << 20;
/// How much of the end is quoted, in bytes and lines.
const TAIL_BYTES: u64 = 8 << 10;
const TAIL_LINES: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    limit: u64,
}

impl Log {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, limit: LIMIT }
    }

    /// Opens the log for a program to write to, and returns the position at which its output starts.
    pub(super) fn open(&self) -> Result<(File, u64), Error> {
        let failed = || Error::files("opening the log", &self.path);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(failed())?;
        let length = file.metadata().map_err(failed())?.len();
        Ok((file, length))
    }

    /// Rotates the log if it is too large. Lines written at that very moment may be lost.
    pub(super) fn bound(&self) -> io::Result<()> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if length > self.limit {
            fs::copy(&self.path, self.path.with_extension("log.old"))?;
            OpenOptions::new().write(true).open(&self.path)?.set_len(0)?;
        }
        Ok(())
    }

    /// The last lines written after position `from`.
    pub(super) fn tail(&self, from: u64) -> String {
        File::open(&self.path).map_or_else(
            |error| format!("(no log in {}: {error})", self.path.display()),
            |file| tail(&file, from, &self.path),
        )
    }
}

/// The last lines of `file` after byte `from`. `path` is for the error only.
pub(super) fn tail(file: &File, from: u64, path: &Path) -> String {
    let read = || -> io::Result<String> {
        let length = file.metadata()?.len();
        // The file may have been truncated since.
        let from = if from > length { 0 } else { from };
        let start = from.max(length.saturating_sub(TAIL_BYTES));
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
        let read = file.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
    };
    match read() {
        Ok(lines) if lines.is_empty() => format!("(nothing in the log {})", path.display()),
        Ok(lines) => lines,
        Err(error) => format!("(the log {} cannot be read: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn tail_starts_at_this_start_and_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::at(folder.path().join("server.log"));
        let (mut file, from) = log.open().unwrap();
        assert_eq!(from, 0);
        writeln!(file, "of an earlier start").unwrap();
        let (mut file, from) = log.open().unwrap();
        assert!(log.tail(from).contains("nothing in the log"));
        for line in 0..50 {
            writeln!(file, "line {line}").unwrap();
        }
        let tail = log.tail(from);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 49") && !tail.contains("earlier"), "{tail}");
    }

    #[test]
    fn tail_after_a_rotation_has_what_was_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::at(folder.path().join("server.log"));
        log.limit = 100;
        let (mut file, _) = log.open().unwrap();
        writeln!(file, "{}", "a".repeat(120)).unwrap();
        let (mut file, from) = log.open().unwrap();
        log.bound().unwrap();
        assert!(log.tail(from).contains("nothing in the log"));
        // The new log is still shorter than the old one was.
        writeln!(file, "why the server ended").unwrap();
        assert_eq!(log.tail(from), "why the server ended");
    }

    #[test]
    fn oversized_log_is_rotated_under_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::at(folder.path().join("server.log"));
        log.limit = 100;
        let (mut file, _) = log.open().unwrap();
        writeln!(file, "{}", "a".repeat(90)).unwrap();
        log.bound().unwrap();
        assert_eq!(fs::metadata(&log.path).unwrap().len(), 91);
        writeln!(file, "{}", "b".repeat(90)).unwrap();
        log.bound().unwrap();
        writeln!(file, "after").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "after\n");
        let old = fs::read_to_string(folder.path().join("server.log.old")).unwrap();
        assert_eq!(old.len(), 182);
    }
}
