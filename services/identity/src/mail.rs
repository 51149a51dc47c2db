//! Mail, written to a directory: the local edition has no mail server.
//!
//! A mail is sent after its transaction has committed, in the background, so that a response takes
//! equally long whichever mail it causes. A mail that is lost with its process can be requested again:
//! signing up and resetting a password can be repeated.
//!
//! A text contains nothing that a client sent, not even a name. Otherwise a client could sign up with
//! another person's address and write to that person under our name.

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

/// A mail. Texts are ASCII in lines of at most 76 characters, as the 7-bit encoding requires, so that
/// the file contains them as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mail {
    /// Response to a sign-up; `again` if the address had been claimed before.
    Activation {
        code: String,
        again: bool,
    },
    /// Response to a sign-up with the address of an active account.
    AlreadyActive,
    Reset {
        code: String,
    },
}

impl Mail {
    fn subject(&self) -> &'static str {
        match self {
            Self::Activation { .. } => "Activate your account",
            Self::AlreadyActive => "You already have an account",
            Self::Reset { .. } => "Reset your password",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Activation { code, again } => {
                let warning = if *again {
                    "It was not the first sign-up with this address. The code activates the\n\
                     account with the password of this one. If that was not you, do not use\n\
                     the code, and sign up again.\n\n"
                } else {
                    ""
                };
                format!(
                    "This address was used to sign up to Vitrina.\n\n\
                     Activation code: {code}\n\n\
                     The code is valid for 15 minutes. Earlier codes are no longer valid.\n\n\
                     {warning}\
                     If you did not sign up, ignore this mail: without the code, the\n\
                     account cannot be used.\n"
                )
            }
            Self::AlreadyActive => {
                "There was an attempt to sign up to Vitrina with this address, which\n\
                 already has an account. Nothing has changed.\n\n\
                 If it was you, log in, or reset your password if you have forgotten it.\n\
                 If it was not you, ignore this mail.\n"
                    .to_owned()
            }
            Self::Reset { code } => format!(
                "A new password was requested for your Vitrina account.\n\n\
                 Reset code: {code}\n\n\
                 The code is valid for 15 minutes. If you did not request it, ignore this\n\
                 mail and do not share the code: your password stays as it is.\n"
            ),
        }
    }
}

/// Why a mail was not written.
#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error("reading the recipient's address")]
    Recipient(#[source] lettre::address::AddressError),
    #[error("composing a mail")]
    Compose(#[source] lettre::error::Error),
    #[error("encoding a mail as 7-bit text")]
    Encode,
    #[error("writing a mail")]
    Write(#[source] file::Error),
}

/// Writes each mail to a file `<directory>/<id>.eml`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    transport: AsyncFileTransport<Tokio1Executor>,
    directory: PathBuf,
    from: Address,
}

/// Why mail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    #[error("creating the mail directory {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("reading the sender's address")]
    Sender(#[from] lettre::address::AddressError),
}

impl Mailer {
    /// Creates the directory for its owner only: the codes in it open accounts.
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

    /// Sends a mail. No response may wait for it.
    pub(crate) async fn send(&self, to: &Email, mail: &Mail, now: DateTime<Utc>) {
        match self.write(to, mail, now).await {
            // There is no mailbox to open, so the log names the file.
            Ok(path) => tracing::info!(mail.path = %path.display(), "a mail was written"),
            Err(error) => tracing::error!(
                error = telemetry::causes(&error),
                "a mail was not written; its recipient can request another"
            ),
        }
    }

    async fn write(
        &self,
        to: &Email,
        mail: &Mail,
        now: DateTime<Utc>,
    ) -> Result<PathBuf, MailError> {
        let address = to.as_str().parse().map_err(MailError::Recipient)?;
        let body = Body::new_with_encoding(mail.text(), ContentTransferEncoding::SevenBit)
            .map_err(|_| MailError::Encode)?;
        let message = Message::builder()
            .from(Mailbox::new(Some("Vitrina".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, address))
            .date(now.into())
            .subject(mail.subject())
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
    use crate::codes;

    async fn written(mail: Mail) -> String {
        let directory = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&directory.path().join("mails")).unwrap();
        let to = Email::parse("Ana@example.com").unwrap();
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let path = mailer.write(&to, &mail, now).await.unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    /// Each mail as a whole, from its first header to its last line.
    fn expected(subject: &str, text: &str) -> String {
        let head = "From: Vitrina <no-reply@vitrina.example>\n\
                    To: ana@example.com\n\
                    Date: Sun, 01 Mar 2026 12:00:00 +0000\n";
        let kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n";
        format!("{head}Subject: {subject}\n{kind}\n{text}")
    }

    const FIRST_ACTIVATION: &str = "\
This address was used to sign up to Vitrina.

Activation code: 012345

The code is valid for 15 minutes. Earlier codes are no longer valid.

If you did not sign up, ignore this mail: without the code, the
account cannot be used.
";

    const LATER_ACTIVATION: &str = "\
This address was used to sign up to Vitrina.

Activation code: 012345

The code is valid for 15 minutes. Earlier codes are no longer valid.

It was not the first sign-up with this address. The code activates the
account with the password of this one. If that was not you, do not use
the code, and sign up again.

If you did not sign up, ignore this mail: without the code, the
account cannot be used.
";

    const ALREADY_ACTIVE: &str = "\
There was an attempt to sign up to Vitrina with this address, which
already has an account. Nothing has changed.

If it was you, log in, or reset your password if you have forgotten it.
If it was not you, ignore this mail.
";

    const RESET: &str = "\
A new password was requested for your Vitrina account.

Reset code: 012345

The code is valid for 15 minutes. If you did not request it, ignore this
mail and do not share the code: your password stays as it is.
";

    #[tokio::test]
    async fn every_mail_has_its_headers_and_its_text() {
        let code = || "012345".to_owned();
        let activation = |again| Mail::Activation { code: code(), again };
        for (mail, subject, text) in [
            (activation(false), "Activate your account", FIRST_ACTIVATION),
            (activation(true), "Activate your account", LATER_ACTIVATION),
            (Mail::AlreadyActive, "You already have an account", ALREADY_ACTIVE),
            (Mail::Reset { code: code() }, "Reset your password", RESET),
        ] {
            let has_code = !matches!(mail, Mail::AlreadyActive);
            let written = written(mail).await.replace("\r\n", "\n");
            assert_eq!(written, expected(subject, text));
            let minutes = format!("valid for {} minutes", codes::LIFETIME.num_minutes());
            assert_eq!(written.contains(&minutes), has_code, "{written}");
        }
    }

    #[test]
    fn directory_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let mails = directory.path().join("var/mails");
        Mailer::new(&mails).unwrap();
        Mailer::new(&mails).unwrap();
        let mode = std::fs::metadata(&mails).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
