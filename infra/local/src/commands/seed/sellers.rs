//! The sellers that demo products belong to: they sign up like anybody else, and stay for the next
//! run.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::Method;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use shared::config::Secret;
use tokio::time::Instant;

use crate::client::Client;
use crate::client::demo_user::{self, DemoUser};
use crate::edition::data_folder::{DataFolder, Running};

/// Sellers that sign up at once: hashing a password takes a whole core.
const AT_ONCE: usize = 4;

/// How long a mail may take.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);
const MAIL_PAUSE: Duration = Duration::from_millis(20);

/// `count` sellers: the demo seller first, for whom the folder signs, and others who log in; who is
/// not there yet signs up.
pub(super) async fn log_in(
    folder: &DataFolder,
    running: &Running,
    count: u32,
) -> anyhow::Result<Vec<Client>> {
    let mut sellers = vec![demo_user::sign_for(folder, running, DemoUser::Seller)?];
    if count == 1 {
        return Ok(sellers);
    }
    let client = &Client::new(&running.url)?;
    // Whoever signs up here has the password of the demo users, and is one of them in effect.
    let password = &folder.demo_password()?;
    let mails = &folder.mail();
    let others: Vec<Client> = stream::iter(2..=count)
        .map(|number| async move {
            let email = address(number);
            let seller = match client.log_in(&email, password).await {
                Err(error) if error.is("invalid_credentials") => {
                    sign_up(client, mails, number, password).await?;
                    client.log_in(&email, password).await
                }
                logged_in => logged_in,
            };
            seller.with_context(|| format!("logging {email} in"))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    sellers.extend(others);
    Ok(sellers)
}

fn address(number: u32) -> String {
    format!("seller{number}@demo.vitrina.example")
}

async fn sign_up(
    client: &Client,
    mails: &Path,
    number: u32,
    password: &Secret<String>,
) -> anyhow::Result<()> {
    let email = address(number);
    let doing = || format!("signing {email} up");
    let before = names(mails).with_context(doing)?;
    let body = json!({
        "email": email,
        "password": password.expose(),
        "name": format!("Demo Seller {number}"),
        "role": "seller",
    });
    // A second mail would bring a second code, and only one of them is good: not repeatable.
    let _: serde_json::Value = client.post("/v1/auth/signup", &body).await.with_context(doing)?;
    let code = code(mails, &before, &email).await.with_context(doing)?;
    client
        .call(Method::POST, "/v1/auth/activate")
        .json(&json!({"email": email, "code": code}))
        .send::<()>()
        .await
        .with_context(doing)
}

fn names(mails: &Path) -> std::io::Result<BTreeSet<OsString>> {
    fs::read_dir(mails)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// The code in a mail to `email` that was not there before.
async fn code(mails: &Path, before: &BTreeSet<OsString>, email: &str) -> anyhow::Result<String> {
    let deadline = Instant::now() + MAIL_TIMEOUT;
    loop {
        for name in names(mails)?.difference(before) {
            // A mail is read again until it is whole.
            let mail = fs::read_to_string(mails.join(name)).unwrap_or_default();
            if let Some(code) = activation_code(&mail, email) {
                return Ok(code.to_owned());
            }
        }
        if Instant::now() > deadline {
            anyhow::bail!(
                "no mail with an activation code came to {} within {} s",
                mails.display(),
                MAIL_TIMEOUT.as_secs()
            );
        }
        tokio::time::sleep(MAIL_PAUSE).await;
    }
}

/// The code in `mail`, if it is to `email` and is there as a whole line.
fn activation_code<'a>(mail: &'a str, email: &str) -> Option<&'a str> {
    let to = mail.lines().find_map(|line| line.strip_prefix("To: "))?;
    if to.trim_matches(['<', '>']) != email {
        return None;
    }
    mail.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .find_map(|line| line.strip_prefix("Activation code: "))
        .map(str::trim_end)
        .filter(|code| code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: Vitrina <no-reply@vitrina.example>\r\nTo: a@b.example\r\n\r\n\
                        Somebody signed up.\r\n\r\nActivation code: 012345\r\n\r\nIt is good.\r\n";

    #[test]
    fn the_code_is_read_from_the_mail_to_the_very_address() {
        assert_eq!(activation_code(MAIL, "a@b.example"), Some("012345"));
        assert_eq!(activation_code(MAIL, "x@b.example"), None);
    }

    #[test]
    fn a_mail_that_is_still_being_written_has_no_code_yet() {
        let end = MAIL.find("012345").unwrap();
        for written in [0, 40, end, end + 3, end + 6] {
            assert_eq!(activation_code(&MAIL[..written], "a@b.example"), None);
        }
    }
}
