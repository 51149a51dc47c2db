//! The port, and the edition that runs on the data folder.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Method, header};
use chrono::DateTime;
use shared::clock::Clock;

use super::clock::Reading;
use super::report::Finding;
use crate::client::Client;
use crate::edition::data_folder::Running;
use crate::edition::port::{self, PortError};

const PORT: &str = "port";
const EDITION: &str = "edition";

/// Whether the edition can listen on `address`.
pub(super) async fn check_port(address: SocketAddr, running: Option<&Running>) -> Finding {
    let ours = running.and_then(|running| running.url.rsplit(':').next()?.parse().ok());
    match port::listen(address).await {
        Ok(_) => Finding::ok(PORT, format!("{address} is free")),
        Err(PortError::Taken { .. }) if ours == Some(address.port()) => Finding::ok(
            PORT,
            format!("{address} is held by the edition that runs on the data folder"),
        ),
        Err(PortError::Taken { address, holder }) => Finding::failed(
            PORT,
            format!("{address} is taken by {holder}"),
            "stop it, or choose another address with --listen",
        ),
        Err(PortError::Listen { address, source }) => Finding::failed(
            PORT,
            format!("cannot listen on {address}: {source}"),
            "choose an address of this machine with --listen",
        ),
    }
}

/// Whether the edition is ready, and the time of its clock.
pub(super) async fn check(running: &Running) -> (Finding, Option<Reading>) {
    let asked = ask(running).await;
    let fix = format!("see the log of process {}, or restart it", running.pid);
    match asked {
        Ok((ready, time)) => {
            let finding = match ready {
                Ok(()) => Finding::ok(EDITION, format!("{} responds and is ready", running.url)),
                Err(why) => Finding::failed(EDITION, why, fix),
            };
            (finding, time)
        }
        Err(why) => (Finding::failed(EDITION, why, fix), None),
    }
}

type Ready = Result<(), String>;

async fn ask(running: &Running) -> Result<(Ready, Option<Reading>), String> {
    let describe = |error: &crate::client::ClientError| shared::telemetry::causes(error);
    let client = Client::new(&running.url)
        .map_err(|error| describe(&error))?
        .with_retries_for(Duration::ZERO);
    let alive =
        client.call(Method::GET, "/healthz").send_raw().await.map_err(|error| describe(&error))?;
    let here = Clock::System.now();
    let time = alive
        .headers
        .get(header::DATE)
        .and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok())
        .map(|there| Reading { of: "the edition", here, there: there.to_utc() });
    let ready = client.call(Method::GET, "/readyz").send_raw().await;
    let ready = match ready {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(503) => Err(format!(
            "{} responds, but one of its stores does not ({}/readyz says which)",
            running.url, running.url
        )),
        Err(error) => Err(describe(&error)),
    };
    Ok((ready, time))
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;
    use crate::edition::parts::Parts;

    #[tokio::test]
    async fn taken_port_is_reported_with_its_holder() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let finding = check_port(address, None).await;
        assert_eq!(finding.state, State::Failed);
        assert!(finding.detail.contains(&std::process::id().to_string()), "{finding:?}");
        let running = running(format!("http://{address}"));
        assert_eq!(check_port(address, Some(&running)).await.state, State::Ok);
        drop(listener);
        assert_eq!(check_port(address, None).await.state, State::Ok);
    }

    fn running(url: String) -> Running {
        Running {
            pid: 7,
            url,
            dynamodb: String::new(),
            currency: shared::money::Currency::default(),
            parts: Parts::all(),
            demo_users: Vec::new(),
        }
    }

    #[tokio::test]
    async fn edition_that_does_not_respond_fails() {
        let (finding, time) = check(&running("http://127.0.0.1:1".to_owned())).await;
        assert_eq!((finding.state, time), (State::Failed, None));
    }

    #[tokio::test]
    async fn edition_without_one_of_its_stores_fails() {
        use axum::http::StatusCode;
        use axum::routing::get;
        let cases = [
            (StatusCode::OK, State::Ok, "responds and is ready"),
            (StatusCode::SERVICE_UNAVAILABLE, State::Failed, "one of its stores does not"),
            (StatusCode::NOT_FOUND, State::Failed, "404"),
        ];
        for (status, state, detail) in cases {
            let router = axum::Router::new()
                .route("/healthz", get(async || ([("date", "Sun, 01 Mar 2026 12:00:00 GMT")], "")))
                .route("/readyz", get(move || std::future::ready(status)));
            let running = running(testkit::serve(router).await);
            let (finding, time) = check(&running).await;
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.detail.contains(detail), "{finding:?}");
            assert_eq!(time.unwrap().there.to_rfc3339(), "2026-03-01T12:00:00+00:00");
        }
    }
}
