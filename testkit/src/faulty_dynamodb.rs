use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::Faults;
use super::dynamodb_interceptor::{self as interceptor, Interceptor};

/// A fault of a call to DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamoFault {
    /// The request never arrives.
    RequestLost,
    /// The request takes effect, but the response never arrives.
    ResponseLost,
    /// The request has no effect; the response has this status and code.
    Refused(u16, &'static str),
    /// The request takes effect, but the response is truncated.
    Garbled,
}

impl DynamoFault {
    pub const THROTTLED: Self = Self::Refused(400, "ProvisionedThroughputExceededException");
    pub const INTERNAL: Self = Self::Refused(500, "InternalServerError");
    /// The caller lacks permission: not a fault of the store.
    pub const DENIED: Self = Self::Refused(400, "AccessDeniedException");

    /// One fault of each kind.
    pub const ALL: [Self; 7] = [
        Self::RequestLost,
        Self::ResponseLost,
        Self::THROTTLED,
        Self::INTERNAL,
        Self::Refused(503, "ServiceUnavailable"),
        Self::DENIED,
        Self::Garbled,
    ];
}

/// Injects `faults` into the calls of `client`. A plan sees each call as its operation and body:
/// `PutItem {..}`. Retries as often as `client`, with a backoff that starts at a millisecond.
pub fn faulty_dynamodb(client: &Client, faults: &Faults<DynamoFault>) -> Client {
    interceptor::intercepted(client, Faulty { http: interceptor::http(), faults: faults.clone() })
}

#[derive(Clone, Debug)]
struct Faulty {
    http: reqwest::Client,
    faults: Faults<DynamoFault>,
}

impl Interceptor for Faulty {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let operation = interceptor::operation(&request);
        let call = format!("{operation} {}", String::from_utf8_lossy(&body));
        let fault = self.faults.decide(&call);
        match fault {
            Some(DynamoFault::RequestLost) => return Err(reset()),
            Some(DynamoFault::Refused(status, code)) => {
                let body = format!(
                    r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"planted"}}"#
                );
                return interceptor::response(status, body.into_bytes());
            }
            Some(DynamoFault::ResponseLost | DynamoFault::Garbled) | None => {}
        }
        let (status, body) = interceptor::forward(&self.http, &request, body).await?;
        match fault {
            Some(DynamoFault::ResponseLost) => Err(reset()),
            Some(DynamoFault::Garbled) => interceptor::response(status, b"{\"Item".to_vec()),
            _ => interceptor::response(status, body),
        }
    }
}

fn reset() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}
