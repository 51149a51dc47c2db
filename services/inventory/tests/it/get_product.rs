use testkit::Call;

use crate::{TestService, path_of};

#[tokio::test]
async fn response_is_304_when_the_etag_matches() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let again = service.send(Call::get(&path).header("if-none-match", "\"v1\"")).await.expect(304);
    assert_eq!((again.header("etag"), again.text.as_str()), ("\"v1\"", ""));
    service.send(Call::get(&path).header("if-none-match", "\"v2\"")).await.expect(200);
}
