//! Health checks of the local edition.

use futures::future::join_all;
use testkit::eventually;

use crate::process::Process;

#[tokio::test]
async fn rate_limit_applies_to_the_api_but_not_to_health_checks() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start_with(data.path(), &[("VITRINA_RATE_LIMIT", "1")]).await;
    // At once: one after the other, each might come a second later.
    let ask = async |path: &str| -> Vec<u16> {
        let url = format!("{}{path}", process.url);
        let responses = join_all((0..20).map(|_| reqwest::get(&url))).await;
        responses.into_iter().map(|response| response.unwrap().status().as_u16()).collect()
    };
    for path in ["/v1/catalog/products", "/docs", "/unknown"] {
        eventually("a refusal", async || ask(path).await.contains(&429).then_some(())).await;
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(path).await, [200; 20], "{path}");
    }
    process.terminate().await;
}
