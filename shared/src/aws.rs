//! Clients of AWS, or of whatever speaks its API at an endpoint: `AWS_*`, with
//! `AWS_ENDPOINT_URL[_SERVICE]`.

use aws_config::{BehaviorVersion, SdkConfig};
use tokio::sync::OnceCell;

/// What the environment says. Read once: every client of the process shares its credentials and its
/// connections.
pub async fn environment() -> &'static SdkConfig {
    static ENVIRONMENT: OnceCell<SdkConfig> = OnceCell::const_new();
    ENVIRONMENT
        .get_or_init(async || aws_config::load_defaults(BehaviorVersion::latest()).await)
        .await
}
