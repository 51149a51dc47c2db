//! The sellers of the demo products. They sign up as any user does, and later runs reuse them.

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

/// Sellers that log in at a time: hashing a password takes a whole core.
const CONCURRENCY: usize = 4;

/// How long to wait for a mail.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);
const MAIL_PAUSE: Duration = Duration::from_millis(20);

/// Clients for `count` sellers. The first is the demo seller, with tokens signed by the key of the
/// folder. The others log in, and sign up first if they do not exist.
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
    // The other sellers have the password of the demo users, too.
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
            seller.with_context(|| format!("logging in {email}"))
        })
        .buffered(CONCURRENCY)
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
    let doing = || format!("signing up {email}");
    let before = names(mails).with_context(doing)?;
    let body = json!({
        "email": email,
        "password": password.expose(),
        "name": format!("Demo Seller {number}"),
        "role": "seller",
    });
    // Not repeatable: a second mail would bring a second code, and only one of them is valid.
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

/// The code in a new mail to `email`.
async fn code(mails: &Path, before: &BTreeSet<OsString>, email: &str) -> anyhow::Result<String> {
    let deadline = Instant::now() + MAIL_TIMEOUT;
    loop {
        for name in names(mails)?.difference(before) {
            // A mail that is still being written is read again later.
            let mail = fs::read_to_string(mails.join(name)).unwrap_or_default();
            if let Some(code) = activation_code(&mail, email) {
                return Ok(code.to_owned());
            }
        }
        if Instant::now() > deadline {
            anyhow::bail!(
                "no mail with an activation code arrived in {} within {} s",
                mails.display(),
                MAIL_TIMEOUT.as_secs()
            );
        }
        tokio::time::sleep(MAIL_PAUSE).await;
    }
}

/// The code in `mail`, if it is addressed to `email` and the line of the code is complete.
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
                        You signed up.\r\n\r\nActivation code: 012345\r\n\r\nIt is good.\r\n";

    #[test]
    fn code_is_read_only_from_a_mail_to_the_address() {
        assert_eq!(activation_code(MAIL, "a@b.example"), Some("012345"));
        assert_eq!(activation_code(MAIL, "x@b.example"), None);
    }

    #[test]
    fn incomplete_mail_has_no_code() {
        let end = MAIL.find("012345").unwrap();
        for written in [0, 40, end, end + 3, end + 6] {
            assert_eq!(activation_code(&MAIL[..written], "a@b.example"), None);
        }
    }
}
