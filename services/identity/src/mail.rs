//! Mails, written into a directory: what the local edition has instead of a mail server.
//!
//! Each is sent after the transaction that made it due, by a task of its own, so that an answer
//! takes as long whichever mail it causes. A mail that is lost with its process is asked for again
//! by its reader: signing up and forgetting a password can be repeated.
//!
//! Nothing that somebody typed goes into a text, not even a name: whoever signs up with another's
//! address would be writing to that person under our name.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox};
use lettre::transport::file;
use lettre::{Address, AsyncFileTransport, AsyncTransport as _, Message, Tokio1Executor};
use shared::telemetry;

use crate::account::Email;

/// What a mail says. Texts are ASCII in short lines, so that they stand in the file as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// To somebody who signed up; `again` if the address had been claimed before.
    Activation {
        code: String,
        again: bool,
    },
    /// To a user with whose address somebody signed up.
    AlreadyActive,
    Reset {
        code: String,
    },
}

impl Letter {
    fn subject(&self) -> &'static str {
        match self {
            Self::Activation { .. } => "Activate your account",
            Self::AlreadyActive => "You have an account already",
            Self::Reset { .. } => "Reset your password",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Activation { code, again } => {
                let warning = if *again {
                    "It was not the first time: the code activates the account with the\n\
                     password of this time. If that was not you, do not use the code, and\n\
                     sign up again.\n\n"
                } else {
                    ""
                };
                format!(
                    "Somebody signed up to Vitrina with this address.\n\n\
                     Activation code: {code}\n\n\
                     It is good for 15 minutes, and no older code is good any more.\n\n\
                     {warning}\
                     If you did not sign up, do nothing: nobody can log in without the code.\n"
                )
            }
            Self::AlreadyActive => {
                "Somebody tried to sign up to Vitrina with this address, which\n\
                 has an account already. Nothing has changed.\n\n\
                 If it was you, log in; if you do not know your password any more, ask for\n\
                 another. If it was not you, do nothing.\n"
                    .to_owned()
            }
            Self::Reset { code } => format!(
                "Somebody asked to set another password for your account at Vitrina.\n\n\
                 Reset code: {code}\n\n\
                 It is good for 15 minutes. If it was not you, do nothing and tell nobody\n\
                 the code: your password stays as it is.\n"
            ),
        }
    }
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error("reading the address of the recipient")]
    Recipient(#[source] lettre::address::AddressError),
    #[error("composing a mail")]
    Compose(#[source] lettre::error::Error),
    #[error("composing a mail: its text is not plain")]
    Encode,
    #[error("writing a mail")]
    Write(#[source] file::Error),
}

/// Writes each mail as one file `<directory>/<id>.eml`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    transport: AsyncFileTransport<Tokio1Executor>,
    directory: PathBuf,
    from: Address,
}

/// Why mails cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    #[error("creating the directory for mails {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("reading the address of the sender")]
    Sender(#[from] lettre::address::AddressError),
}

impl Mailer {
    /// Makes the directory, for its owner alone: the codes in it open accounts.
    pub fn new(directory: &Path) -> Result<Self, MailerError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| MailerError::Directory { path: directory.to_owned(), source })?;
        Ok(Self {
            transport: AsyncFileTransport::new(directory),
            directory: directory.to_owned(),
            from: Address::new("no-reply", "vitrina.example")?,
        })
    }

    /// Sends a mail without making anybody wait for it.
    pub(crate) fn send(&self, to: Email, letter: Letter, now: DateTime<Utc>) {
        let mailer = self.clone();
        tokio::spawn(async move {
            match mailer.write(&to, &letter, now).await {
                // The local edition has no mailbox to look into: its reader needs the path.
                Ok(path) => tracing::info!(mail.path = %path.display(), "a mail was written"),
                Err(error) => tracing::error!(
                    error = telemetry::causes(&error),
                    "a mail is lost; its reader can ask again"
                ),
            }
        });
    }

    async fn write(
        &self,
        to: &Email,
        letter: &Letter,
        now: DateTime<Utc>,
    ) -> Result<PathBuf, MailError> {
        let address = to.as_str().parse().map_err(MailError::Recipient)?;
        let body = Body::new_with_encoding(letter.text(), ContentTransferEncoding::SevenBit)
            .map_err(|_| MailError::Encode)?;
        let message = Message::builder()
            .from(Mailbox::new(Some("Vitrina".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, address))
            .date(now.into())
            .subject(letter.subject())
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(MailError::Compose)?;
        let id = self.transport.send(message).await.map_err(MailError::Write)?;
        Ok(self.directory.join(format!("{id}.eml")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn written(letter: Letter) -> String {
        let directory = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&directory.path().join("mails")).unwrap();
        let to = Email::parse("Ana@example.com").unwrap();
        let path = mailer.write(&to, &letter, DateTime::UNIX_EPOCH).await.unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[tokio::test]
    async fn the_code_stands_alone_on_a_line_of_the_file() {
        let code = "012345".to_owned();
        let activation = Letter::Activation { code: code.clone(), again: true };
        let mail = written(activation).await;
        assert!(mail.lines().any(|line| line == "Activation code: 012345"), "{mail}");
        assert!(mail.lines().any(|line| line == "To: ana@example.com"), "{mail}");
        assert!(mail.contains("Content-Transfer-Encoding: 7bit"), "{mail}");
        let mail = written(Letter::Reset { code }).await;
        assert!(mail.lines().any(|line| line == "Reset code: 012345"), "{mail}");
    }

    #[tokio::test]
    async fn who_is_active_already_gets_no_code() {
        let mail = written(Letter::AlreadyActive).await;
        assert!(mail.contains("tried to sign up"), "{mail}");
        assert!(!mail.contains("code:"), "{mail}");
    }

    #[test]
    fn nobody_else_can_look_into_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mails = directory.path().join("var/mails");
        Mailer::new(&mails).unwrap();
        Mailer::new(&mails).unwrap();
        let mode = std::fs::metadata(&mails).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
