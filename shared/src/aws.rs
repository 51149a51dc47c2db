//! Configuration of AWS clients, from `AWS_*` and `AWS_ENDPOINT_URL[_SERVICE]`.

use aws_config::{BehaviorVersion, SdkConfig};
use tokio::sync::OnceCell;

/// The configuration in the environment. Loaded once, so that all clients of the process share
/// credentials and connections.
pub async fn environment() -> &'static SdkConfig {
    static ENVIRONMENT: OnceCell<SdkConfig> = OnceCell::const_new();
    ENVIRONMENT
        .get_or_init(async || aws_config::load_defaults(BehaviorVersion::latest()).await)
        .await
}
