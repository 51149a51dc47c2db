//! Intercepts the HTTP requests of the DynamoDB SDK.

use std::fmt;
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

/// Responds to intercepted requests.
pub(super) trait Interceptor: Clone + fmt::Debug + Send + Sync + 'static {
    fn respond(
        &self,
        request: HttpRequest,
    ) -> impl Future<Output = Result<HttpResponse, ConnectorError>> + Send;
}

#[derive(Clone, Debug)]
struct Connector<I>(I);

impl<I: Interceptor> HttpConnector for Connector<I> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let interceptor = self.0.clone();
        HttpConnectorFuture::new(async move { interceptor.respond(request).await })
    }
}

/// Sends the requests of `client` through `interceptor`. Retries as often as `client`, with a backoff that
/// starts at a millisecond.
pub(super) fn intercepted(client: &Client, interceptor: impl Interceptor) -> Client {
    let connector = SharedHttpConnector::new(Connector(interceptor));
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

/// Plain HTTP to this machine. Loading the system's certificates would take longer than a test.
pub(super) fn http() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().unwrap()
}

/// The operation of a request, such as `PutItem`.
pub(super) fn operation(request: &HttpRequest) -> &str {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default()
}

/// Sends `request` with `body`. Returns the status and body of the response.
pub(super) async fn forward(
    http: &reqwest::Client,
    request: &HttpRequest,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), ConnectorError> {
    forward_to(request.uri(), http, request, body).await
}

/// As [`forward`], to the store at `endpoint`.
pub(super) async fn forward_to(
    endpoint: &str,
    http: &reqwest::Client,
    request: &HttpRequest,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), ConnectorError> {
    let mut sent = http.post(endpoint);
    for (name, value) in request.headers() {
        // The HTTP client sets both.
        if !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("content-length") {
            sent = sent.header(name, value);
        }
    }
    let other = |error: reqwest::Error| ConnectorError::io(error.into());
    let response = sent.body(body).send().await.map_err(other)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(other)?;
    Ok((status, body.to_vec()))
}

pub(super) fn response(status: u16, body: Vec<u8>) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(status).map_err(|e| ConnectorError::other(e.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}
