use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use super::Faults;

/// What may become of a call to DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamoFault {
    /// It never arrives.
    Lost,
    /// It has its effect, and the answer never arrives.
    Unanswered,
    /// It has no effect, and is answered with this status and this code.
    Refused(u16, &'static str),
    /// It has its effect, and what is answered cannot be read.
    Garbled,
}

impl DynamoFault {
    pub const THROTTLED: Self = Self::Refused(400, "ProvisionedThroughputExceededException");
    pub const INTERNAL: Self = Self::Refused(500, "InternalServerError");
    /// Not the store's fault: who asks may not.
    pub const DENIED: Self = Self::Refused(400, "AccessDeniedException");

    /// One of each kind.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Unanswered,
        Self::THROTTLED,
        Self::INTERNAL,
        Self::Refused(503, "ServiceUnavailable"),
        Self::DENIED,
        Self::Garbled,
    ];
}

/// `client` with `faults` on its way, each call of which is named by its operation and its body:
/// `PutItem {..}`. It tries as often as `client` does, without the pauses.
pub fn faulty_dynamodb(client: &Client, faults: &Faults<DynamoFault>) -> Client {
    // Plain HTTP to this machine: reading the system's certificates would take longer than a test.
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let faults = faults.clone();
    let connector = SharedHttpConnector::new(Connector { http, faults });
    let attempts = client.config().retry_config().map_or(3, RetryConfig::max_attempts);
    let retry = RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(1));
    let config = client.config().to_builder();
    let config = config
        .retry_config(retry)
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    Client::from_conf(config)
}

#[derive(Clone, Debug)]
struct Connector {
    http: reqwest::Client,
    faults: Faults<DynamoFault>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.answer(request).await })
    }
}

impl Connector {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let call = format!("{operation} {}", String::from_utf8_lossy(&body));
        let fault = self.faults.decide(&call);
        match fault {
            Some(DynamoFault::Lost) => return Err(reset()),
            Some(DynamoFault::Refused(status, code)) => {
                let body = format!(
                    r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"planted"}}"#
                );
                return response(status, body.into_bytes());
            }
            Some(DynamoFault::Unanswered | DynamoFault::Garbled) | None => {}
        }
        let mut sent = self.http.post(request.uri());
        for (name, value) in request.headers() {
            // Both are the transport's to say.
            if !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("content-length") {
                sent = sent.header(name, value);
            }
        }
        let other = |error: reqwest::Error| ConnectorError::io(error.into());
        let answer = sent.body(body).send().await.map_err(other)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(other)?;
        match fault {
            Some(DynamoFault::Unanswered) => Err(reset()),
            Some(DynamoFault::Garbled) => response(status, b"{\"Item".to_vec()),
            _ => response(status, body.to_vec()),
        }
    }
}

fn reset() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

fn response(status: u16, body: Vec<u8>) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(status).map_err(|e| ConnectorError::other(e.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}
