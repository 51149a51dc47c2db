//! PostgreSQL: whether it is installed, and whether it responds.

use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use local_postgres::{self as postgres, Binaries, Search};
use shared::clock::Clock;
use shared::telemetry::causes;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::clock::Reading;
use super::report::Finding;
use super::settings::database_name;
use crate::edition::data_folder::{DataFolder, Running};
use crate::edition::database::{NAME, Source};

const PROGRAMS: &str = "PostgreSQL programs";
const SERVER: &str = "PostgreSQL server";

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn check(
    source: &Source,
    folder: &DataFolder,
    running: Option<&Running>,
) -> (Vec<Finding>, Option<Reading>) {
    match source {
        Source::Url(url) => {
            let (finding, reading) = ask(
                url.expose(),
                &format!(" at {}", database_name(url.expose())),
                "start it, correct DATABASE_URL, or unset it to use a private PostgreSQL",
            )
            .await;
            (vec![finding], reading)
        }
        Source::Private(search) => {
            let programs = check_programs(search, folder);
            let (server, reading) = check_private(folder, running).await;
            (vec![programs, server], reading)
        }
    }
}

fn check_programs(search: &Search, folder: &DataFolder) -> Finding {
    match Binaries::find_for(search, &folder.postgres()) {
        Ok(found) => {
            let detail = format!("version {} in {}", found.major(), found.directory().display());
            match postgres::major_version_of(&folder.postgres()) {
                Some(creator) if creator != found.major() => Finding::failed(
                    PROGRAMS,
                    format!("{detail}, but the data was created by version {creator}"),
                    format!(
                        "install PostgreSQL {creator}, or set VITRINA_POSTGRES_BIN to its folder"
                    ),
                ),
                _ => Finding::ok(PROGRAMS, detail),
            }
        }
        Err(postgres::Error::NotFound { advice }) => {
            Finding::failed(PROGRAMS, "PostgreSQL is not installed on this machine", advice)
        }
        Err(error) => Finding::failed(
            PROGRAMS,
            causes(&error),
            "set VITRINA_POSTGRES_BIN to the folder with initdb and postgres",
        ),
    }
}

async fn check_private(
    folder: &DataFolder,
    running: Option<&Running>,
) -> (Finding, Option<Reading>) {
    let log = folder.postgres().join("server.log");
    match (postgres::find_running(&folder.postgres(), NAME), running) {
        (Ok(Some(url)), _) => {
            let left = match running {
                Some(_) => "",
                None => ", left by an edition that was killed; the next edition takes it over",
            };
            ask(&url, left, &format!("see {}", log.display())).await
        }
        (Ok(None), None) => {
            let detail = "not running; `vitrina up` starts it";
            (Finding::ok(SERVER, detail), None)
        }
        (Ok(None), Some(_)) => {
            let finding = Finding::failed(
                SERVER,
                "not running, although an edition is",
                format!("the edition restarts it; if it does not, see {}", log.display()),
            );
            (finding, None)
        }
        (Err(error), _) => {
            let fix = "run this command as the user of the edition";
            (Finding::failed(SERVER, causes(&error), fix), None)
        }
    }
}

/// Asks for the version and the time. `more` is appended to what is said of the server.
async fn ask(url: &str, more: &str, fix: &str) -> (Finding, Option<Reading>) {
    let response = tokio::time::timeout(TIMEOUT, version_and_time(url)).await;
    match response {
        Ok(Ok((version, reading))) => {
            let finding = Finding::ok(SERVER, format!("version {version} responds{more}"));
            (finding, Some(reading))
        }
        Ok(Err(error)) => {
            let detail = format!("it does not respond{more}: {}", causes(&error));
            (Finding::failed(SERVER, detail, fix), None)
        }
        Err(_) => {
            let seconds = TIMEOUT.as_secs();
            let detail = format!("it does not respond within {seconds} s{more}");
            (Finding::failed(SERVER, detail, fix), None)
        }
    }
}

async fn version_and_time(url: &str) -> Result<(String, Reading), sqlx::Error> {
    let mut connection =
        PgConnectOptions::from_str(url)?.application_name("vitrina doctor").connect().await?;
    let (version, there): (String, DateTime<Utc>) =
        sqlx::query_as("select current_setting('server_version'), clock_timestamp()")
            .fetch_one(&mut connection)
            .await?;
    let here = Clock::System.now();
    // The response is complete, so a failure to close does not matter.
    let _ = connection.close().await;
    let reading = Reading { of: "PostgreSQL", here, there };
    Ok((version, reading))
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[tokio::test]
    async fn missing_postgresql_is_reported_with_advice() {
        let empty = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(&empty.path().join("data")).unwrap();
        let search = Search { root: empty.path().to_owned(), ..Search::default() };
        let (findings, reading) = check(&Source::Private(search), &folder, None).await;
        assert_eq!(findings[0].state, State::Failed);
        assert!(findings[0].fix.is_some());
        assert_eq!((findings[1].state, reading), (State::Ok, None));
    }

    #[tokio::test]
    async fn unreachable_database_fails_without_showing_its_password() {
        let folder = DataFolder::at(std::path::Path::new("/nonexistent")).unwrap();
        let url = "postgres://me:hunter2@127.0.0.1:1/shop".to_owned();
        let source = Source::Url(shared::config::Secret::new(url));
        let (findings, _) = check(&source, &folder, None).await;
        assert_eq!(findings[0].state, State::Failed);
        assert!(!format!("{findings:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn private_server_must_run_if_its_edition_does() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(folder.path()).unwrap();
        let running: Running = serde_json::from_value(serde_json::json!({
            "pid": 1, "url": "http://127.0.0.1:1", "dynamodb": "http://127.0.0.1:1",
        }))
        .unwrap();
        let source = Source::Private(Search::default());
        for (running, state) in [(None, State::Ok), (Some(&running), State::Failed)] {
            let (findings, _) = check(&source, &folder, running).await;
            assert_eq!(findings[1].state, state, "{findings:?}");
        }
    }

    #[tokio::test]
    async fn data_of_another_version_fails_with_both_versions() {
        let base = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(base.path()).unwrap();
        let data = folder.postgres().join("data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("PG_VERSION"), "9.2\n").unwrap();
        let source = Source::Private(Search::default());
        let (findings, _) = check(&source, &folder, None).await;
        assert_eq!(findings[0].state, State::Failed, "{findings:?}");
        let installed = Binaries::find(&Search::default()).unwrap();
        assert!(findings[0].detail.contains(&format!("version {} ", installed.major())));
        assert!(findings[0].detail.ends_with("created by version 9.2"), "{findings:?}");
        assert!(findings[0].fix.as_ref().unwrap().contains("PostgreSQL 9.2"), "{findings:?}");
    }
}
