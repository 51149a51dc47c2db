//! Errors of a private server. Each message says what was being attempted.

use std::{io, path::PathBuf, time::Duration};

/// Why a private PostgreSQL could not be found, created, started or stopped.
///
/// The reason of the operating system, if any, is the `source()`. Output of the server, if any, is at
/// the end of the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No searched place contains `initdb` and `postgres`.
    #[error("PostgreSQL is not installed on this machine: {advice}")]
    NotFound {
        /// The command that installs PostgreSQL here, and the alternative.
        advice: String,
    },

    /// The given directory does not contain `initdb` and `postgres`.
    #[error(
        "{} has no initdb and postgres in it: point VITRINA_POSTGRES_BIN at a folder that has, or \
         unset it",
        .directory.display()
    )]
    NoPrograms {
        /// The given directory.
        directory: PathBuf,
    },

    /// `postgres --version` printed no version.
    #[error("reading the version of {}: it printed {output:?}", .program.display())]
    NoVersion {
        /// The program.
        program: PathBuf,
        /// The start of its output.
        output: String,
    },

    /// A program did not start.
    #[error("running {} as user {user}", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The user to run it as.
        user: String,
        /// Why the operating system refused.
        source: io::Error,
    },

    /// A file operation failed, for example because of a full disk or missing permission.
    #[error("{doing} {}", .path.display())]
    Files {
        /// What was being attempted, as the start of a sentence.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why the operating system refused.
        source: io::Error,
    },

    /// The user of this process could not be determined, or no user can run the server.
    #[error("finding a user to run PostgreSQL as: {reason}")]
    NoUser {
        /// What is missing.
        reason: &'static str,
    },

    /// The user that must run the server cannot enter the data folder.
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

    /// Another process uses the same data folder.
    #[error(
        "{} is in use by another vitrina process: stop that one first, or choose another folder",
        .directory.display()
    )]
    InUse {
        /// The data folder.
        directory: PathBuf,
    },

    /// The data folder records another location for its data, which does not exist.
    #[error(
        "the data of {} is in {}, which no longer exists: restore it, or delete {} to start empty",
        .directory.display(), .location.display(), .record.display()
    )]
    LocationGone {
        /// The given data folder.
        directory: PathBuf,
        /// The recorded location of its data.
        location: PathBuf,
        /// The file with that record.
        record: PathBuf,
    },

    /// The data folder contains something other than a cluster. It was left unchanged.
    #[error(
        "{} is not empty and holds no PostgreSQL data: move it away, or choose another data folder",
        .directory.display()
    )]
    NotACluster {
        /// The folder for the data.
        directory: PathBuf,
    },

    /// Another major version of PostgreSQL created the data. It was left unchanged.
    #[error(
        "the data in {} was created by PostgreSQL {created_by}, and {} is PostgreSQL {found}: install \
         PostgreSQL {created_by} or point VITRINA_POSTGRES_BIN at it, or move the folder away to start \
         empty",
        .directory.display(), .program.display()
    )]
    OtherMajor {
        /// The folder that holds the data.
        directory: PathBuf,
        /// The major version that created it.
        created_by: String,
        /// The server program.
        program: PathBuf,
        /// The major version of that program.
        found: String,
    },

    /// `initdb` failed.
    #[error("creating a new cluster in {}, initdb failed ({status}): {log}", .directory.display())]
    Initdb {
        /// The folder for the data.
        directory: PathBuf,
        /// Its exit status.
        status: String,
        /// The last lines of its output.
        log: String,
    },

    /// The server exited during its start.
    #[error("starting PostgreSQL on {}, the server exited ({status}): {log}", .directory.display())]
    Exited {
        /// The folder that holds the data.
        directory: PathBuf,
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },

    /// The server is still recovering from a crash. It keeps running, and a later start waits for it.
    #[error(
        "PostgreSQL on {} still recovers from a crash after {} s: start again to wait further",
        .directory.display(), .waited.as_secs()
    )]
    StillRecovering {
        /// The folder that holds the data.
        directory: PathBuf,
        /// The time waited.
        waited: Duration,
    },

    /// The server runs but does not respond.
    #[error(
        "starting PostgreSQL on {}, the server did not respond within {} s: {log}",
        .directory.display(), .waited.as_secs()
    )]
    Silent {
        /// The folder that holds the data.
        directory: PathBuf,
        /// The time waited.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },

    /// The server kept running after every attempt to stop it.
    #[error(
        "stopping PostgreSQL (process {pid}): it still ran after {} s",
        .waited.as_secs()
    )]
    Unstoppable {
        /// The process id.
        pid: u32,
        /// The time waited.
        waited: Duration,
    },

    /// The caller no longer waits for the server.
    #[error("starting PostgreSQL was cancelled")]
    Cancelled,

    /// The background task is gone, because the runtime is shutting down or because of a bug.
    #[error("waiting for the work on PostgreSQL")]
    Work(#[from] tokio::task::JoinError),
}

impl Error {
    /// For `map_err` on file operations: `doing` starts the sentence and `path` ends it.
    pub(super) fn files(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { doing, path, source }
    }
}
