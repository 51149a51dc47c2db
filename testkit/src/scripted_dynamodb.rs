use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use shared::dynamodb::connect_local;

use super::dynamodb_interceptor::{self as interceptor, Interceptor};

type Script = Box<dyn FnMut(&Value) -> Result<Value, &'static str> + Send>;

/// A client whose calls `script` answers: it gets the body of each call, and returns that of the response or
/// the code of an error. No socket takes part, so that a test may pause the time of the runtime.
pub fn scripted_dynamodb(
    script: impl FnMut(&Value) -> Result<Value, &'static str> + Send + 'static,
) -> Client {
    let script: Script = Box::new(script);
    let client = connect_local("http://127.0.0.1:1");
    interceptor::intercepted(&client, Scripted(Arc::new(Mutex::new(script))))
}

#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Interceptor for Scripted {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        let sent = serde_json::from_slice(body).unwrap_or_default();
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, body) = match script(&sent) {
            Ok(body) => (200, body),
            Err(code) => {
                let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
                (400, json!({"__type": code, "message": "planted"}))
            }
        };
        interceptor::response(status, body.to_string().into_bytes())
    }
}
