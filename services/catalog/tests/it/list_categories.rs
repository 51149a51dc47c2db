use serde_json::json;

use crate::{Catalogue, filled};

#[tokio::test]
async fn categories_in_use_are_listed_in_order() {
    let catalogue = Catalogue::new().await;
    filled(&catalogue, 30).await;
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    let expected = json!([{"slug": "hats"}, {"slug": "shoes"}, {"slug": "toys"}]);
    assert_eq!(categories.json["data"], expected);
}

#[tokio::test]
async fn categories_may_be_cached_for_ten_seconds() {
    let catalogue = Catalogue::new().await;
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json, json!({"data": []}));
    assert_eq!(categories.header("cache-control"), "public, max-age=10");
}
