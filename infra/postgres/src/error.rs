//! What can go wrong with a private server, each said as what was being done.

use std::{io, path::PathBuf, time::Duration};

/// Why a private PostgreSQL could not be found, made, started or stopped.
///
/// The operating system's own reason, where there is one, is the `source()`; the server's own
/// words, where it said any, are at the end of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No `initdb` and `postgres` in any of the places that were looked at.
    #[error("PostgreSQL is not installed on this machine: {advice}")]
    NotFound {
        /// The one command that obtains it here, and the other way out.
        advice: String,
    },

    /// The directory that was named holds no `initdb` and `postgres`.
    #[error(
        "{} has no initdb and postgres in it: point VITRINA_POSTGRES_BIN at a folder that has, or \
         unset it",
        .directory.display()
    )]
    NotThere {
        /// The directory as it was given.
        directory: PathBuf,
    },

    /// `postgres --version` answered something that is not a version.
    #[error("asking {} for its version, it said {answer:?}", .program.display())]
    NoVersion {
        /// The program that was asked.
        program: PathBuf,
        /// The beginning of what it printed.
        answer: String,
    },

    /// A program did not start.
    #[error("running {} as user {user}", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The user it was to run as.
        user: String,
        /// Why the operating system refused.
        source: io::Error,
    },

    /// Work on a file or a folder failed: a full disk and a missing permission arrive here.
    #[error("{doing} {}", .path.display())]
    Files {
        /// What was being done, as the beginning of a sentence.
        doing: &'static str,
        /// What it was being done to.
        path: PathBuf,
        /// Why the operating system refused.
        source: io::Error,
    },

    /// The user this process runs as could not be found out, or there is none to run the server as.
    #[error("finding a user to run PostgreSQL as: {reason}")]
    NoUser {
        /// What is missing.
        reason: &'static str,
    },

    /// The user that must run the server cannot enter the folder that holds its data.
    #[error(
        "user {user} runs PostgreSQL and cannot enter {}: run `chmod o+x` on that folder and \
         those above it, or choose another data folder",
        .directory.display()
    )]
    Unreachable {
        /// The folder that holds the data.
        directory: PathBuf,
        /// The user that runs the server.
        user: String,
    },

    /// Another process works on the same data folder.
    #[error(
        "{} is in use by another vitrina process: stop that one first, or choose another folder",
        .directory.display()
    )]
    InUse {
        /// The data folder.
        directory: PathBuf,
    },

    /// The data folder says that its data is elsewhere, and there it is not.
    #[error(
        "the data of {} was put into {}, which is gone: bring it back, or delete {} to begin empty",
        .directory.display(), .place.display(), .record.display()
    )]
    PlaceGone {
        /// The data folder as it was given.
        directory: PathBuf,
        /// Where its data was put.
        place: PathBuf,
        /// The file that says so.
        record: PathBuf,
    },

    /// The folder for the data has something in it that is not a cluster; it was left alone.
    #[error(
        "{} is not empty and holds no PostgreSQL data: move it away, or choose another data folder",
        .directory.display()
    )]
    NotACluster {
        /// The folder that was to hold the data.
        directory: PathBuf,
    },

    /// The data was made by another major version of PostgreSQL; it was left alone.
    #[error(
        "the data in {} was made by PostgreSQL {made}, and {} is PostgreSQL {found}: install \
         PostgreSQL {made} or point VITRINA_POSTGRES_BIN at it, or move the folder away to begin \
         empty",
        .directory.display(), .program.display()
    )]
    OtherMajor {
        /// The folder that holds the data.
        directory: PathBuf,
        /// The major version that made it.
        made: String,
        /// The program that was to serve it.
        program: PathBuf,
        /// That program's major version.
        found: String,
    },

    /// `initdb` ended without having made a cluster.
    #[error("making a new cluster in {}, initdb failed ({status}): {log}", .directory.display())]
    Initdb {
        /// The folder that was to hold the data.
        directory: PathBuf,
        /// How it ended.
        status: String,
        /// The last lines it wrote.
        log: String,
    },

    /// The server ended while it was being started.
    #[error("starting PostgreSQL on {}, it ended ({status}): {log}", .directory.display())]
    Ended {
        /// The folder that holds the data.
        directory: PathBuf,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },

    /// The server still recovers from a crash. It was left to it: a later start waits further.
    #[error(
        "PostgreSQL on {} still recovers from a crash after {} s: start again to wait further",
        .directory.display(), .waited.as_secs()
    )]
    StillRecovering {
        /// The folder that holds the data.
        directory: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },

    /// The server runs and does not answer.
    #[error(
        "starting PostgreSQL on {}, it gave no answer in {} s: {log}",
        .directory.display(), .waited.as_secs()
    )]
    Silent {
        /// The folder that holds the data.
        directory: PathBuf,
        /// How long it was waited for.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },

    /// The server outlived every way of stopping it.
    #[error(
        "stopping PostgreSQL (process {pid}), it was still there after {} s",
        .waited.as_secs()
    )]
    Unstoppable {
        /// The process.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
    },

    /// Whoever asked for the server no longer waits for it.
    #[error("starting PostgreSQL was called off")]
    CalledOff,

    /// The task that did the work is gone, because the runtime shuts down or because of a bug.
    #[error("waiting for the work on PostgreSQL")]
    Work(#[from] tokio::task::JoinError),
}

impl Error {
    /// For `map_err` on work with files: `doing` begins the sentence that `path` ends.
    pub(super) fn files(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { doing, path, source }
    }
}
