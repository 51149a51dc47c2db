use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_interceptor::{self as interceptor, Interceptor};

/// Changes an operation's body, which the store then gets.
type Edit = dyn Fn(&str, &mut Value) + Send + Sync;

/// Lets `edit` change each call of `client`, given its operation and its body.
pub fn edited_dynamodb(
    client: &Client,
    edit: impl Fn(&str, &mut Value) + Send + Sync + 'static,
) -> Client {
    interceptor::intercepted(client, Edited { http: interceptor::http(), edit: Arc::new(edit) })
}

#[derive(Clone)]
struct Edited {
    http: reqwest::Client,
    edit: Arc<Edit>,
}

impl fmt::Debug for Edited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edited").finish_non_exhaustive()
    }
}

impl Interceptor for Edited {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        let mut sent: Value = serde_json::from_slice(body).unwrap();
        (self.edit)(interceptor::operation(&request), &mut sent);
        let body = serde_json::to_vec(&sent).unwrap();
        let (status, body) = interceptor::forward(&self.http, &request, body).await?;
        interceptor::response(status, body)
    }
}
