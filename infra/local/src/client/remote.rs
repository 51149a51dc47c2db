//! The edition that an operator's command addresses: the one on the data folder, or a remote one.

use anyhow::Context as _;
use reqwest::Url;
use shared::config::{Secret, Settings};

use crate::client::Client;
use crate::client::demo_user::{self, DemoUser};
use crate::console::global::Global;
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::Part;

/// A variable rather than an argument, which every user of the machine could see in `ps`.
const TOKEN: &str = "VITRINA_TOKEN";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Remote {
    /// API of a remote edition, with an operator's token in `VITRINA_TOKEN`
    #[arg(long, global = true, env = "VITRINA_URL", value_parser = parse)]
    url: Option<Url>,
}

/// Reads the address of an API.
fn parse(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err("must begin with https:// or http://".to_owned())
    }
}

impl Remote {
    /// A client on behalf of an operator. An edition on the data folder must run `part`.
    pub(crate) fn operator(&self, global: &Global, part: Option<Part>) -> anyhow::Result<Client> {
        let Some(url) = &self.url else {
            if let Some(part) = part {
                DataFolder::at(&global.data)?.find_running_with(part)?;
            }
            return demo_user::act_as(global, DemoUser::Operator);
        };
        let settings = Settings::from_env();
        let token = settings.text(TOKEN).with_context(|| {
            format!("{TOKEN} is not set: a remote edition requires an operator's token")
        })?;
        Ok(Client::new(url.as_str())?.with_token(Secret::new(token.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_must_be_an_http_url_with_a_host() {
        parse("https://api.example.com/").unwrap();
        parse("http://127.0.0.1:8080").unwrap();
        for wrong in ["api.example.com", "ftp://api.example.com", "localhost:8080", "https://", ""]
        {
            parse(wrong).unwrap_err();
        }
    }
}
