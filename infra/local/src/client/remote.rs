//! Whom an operator's command is for: the edition on the data folder, or one that is elsewhere.

use anyhow::Context as _;
use reqwest::Url;
use shared::config::{Secret, Settings};

use crate::client::Client;
use crate::client::demo_user::{self, DemoUser};
use crate::console::global::Global;
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::Part;

/// Not an argument: those are seen by whoever lists the processes of a machine.
const TOKEN: &str = "VITRINA_TOKEN";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Remote {
    /// The API of an edition elsewhere, such as a stage of AWS; an operator's token for it is in
    /// `VITRINA_TOKEN`
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
    /// A client on behalf of an operator, of an edition that must have `role` if it is on the data
    /// folder.
    pub(crate) fn operator(&self, global: &Global, part: Option<Part>) -> anyhow::Result<Client> {
        let Some(url) = &self.url else {
            if let Some(part) = part {
                DataFolder::at(&global.data)?.find_running_with(part)?;
            }
            return demo_user::act_as(global, DemoUser::Operator);
        };
        let settings = Settings::from_env();
        let token = settings.text(TOKEN).with_context(|| {
            format!("{TOKEN} is not set: an edition elsewhere wants an operator's token")
        })?;
        Ok(Client::new(url.as_str())?.with_token(Secret::new(token.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_an_api() {
        parse("https://api.example.com/").unwrap();
        parse("http://127.0.0.1:8080").unwrap();
        for wrong in ["api.example.com", "ftp://api.example.com", "localhost:8080", "https://", ""]
        {
            parse(wrong).unwrap_err();
        }
    }
}
