use futures::future::join_all;
use serde_json::json;
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

#[tokio::test]
async fn deletion_responds_with_204_once_and_then_with_404() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let delete = || service.send(Call::delete(&path).header("if-match", "*"));
    let deleted = delete().await.expect(204);
    assert_eq!((deleted.text.as_str(), deleted.header("etag")), ("", ""));
    assert_problem(&delete().await, 404);
    assert_eq!((service.count("journal").await, service.count("outbox").await), (2, 2));
}

#[tokio::test]
async fn deletion_needs_the_current_version() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let call = Call::patch(&path).header("if-match", "*").json(&json!({"name": "Other"}));
    service.send(call).await.expect(200);
    let missing = service.send(Call::delete(&path)).await;
    assert_problem(&missing, 428);
    assert_eq!(missing.code(), "version_required");
    let stale = service.send(Call::delete(&path).header("if-match", "\"v1\"")).await;
    assert_problem(&stale, 412);
    assert_eq!(stale.json["detail"], "the current version is \"v2\"");
    service.send(Call::delete(&path).header("if-match", "\"v2\"")).await.expect(204);
}

#[tokio::test]
async fn one_of_several_concurrent_deletions_succeeds() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let delete = || service.send(Call::delete(&path).header("if-match", "*"));
    let responses = join_all((0..4).map(|_| delete())).await;
    let mut statuses: Vec<u16> =
        responses.iter().map(|response| response.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404, 404, 404]);
    assert_eq!(service.count("journal").await, 2);
}
