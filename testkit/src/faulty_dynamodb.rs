use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::{Faults, dynamodb_wire as wire};

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
    /// Not the fault of the store: the caller lacks permission.
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
    wire::through(client, Faulty { http: wire::http(), faults: faults.clone() })
}

#[derive(Clone, Debug)]
struct Faulty {
    http: reqwest::Client,
    faults: Faults<DynamoFault>,
}

impl wire::Wire for Faulty {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let operation = wire::operation(&request);
        let call = format!("{operation} {}", String::from_utf8_lossy(&body));
        let fault = self.faults.decide(&call);
        match fault {
            Some(DynamoFault::Lost) => return Err(reset()),
            Some(DynamoFault::Refused(status, code)) => {
                let body = format!(
                    r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"planted"}}"#
                );
                return wire::response(status, body.into_bytes());
            }
            Some(DynamoFault::Unanswered | DynamoFault::Garbled) | None => {}
        }
        let (status, body) = wire::forward(&self.http, &request, body).await?;
        match fault {
            Some(DynamoFault::Unanswered) => Err(reset()),
            Some(DynamoFault::Garbled) => wire::response(status, b"{\"Item".to_vec()),
            _ => wire::response(status, body),
        }
    }
}

fn reset() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}
