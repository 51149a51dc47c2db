use serde_json::json;
use testkit::Call;

use crate::{TestService, assert_problem, path_of, post, shoe};

#[tokio::test]
async fn merge_patch_changes_named_fields_and_null_removes() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let patch = json!({
        "name": "Trail shoe", "description": "For mud.\nAnd rain.", "price": {"amount": 9990},
        "attributes": {"color": null, "size": 43, "new": "yes"}, "status": "archived",
    });
    let call = Call::patch(&path_of(&created)).header("if-match", "\"v1\"").json(&patch);
    let changed = service.send(call).await.expect(200);
    assert_eq!(changed.header("etag"), "\"v2\"");
    assert_eq!(changed.json["name"], "Trail shoe");
    assert_eq!(changed.json["description"], "For mud.\nAnd rain.");
    assert_eq!(changed.json["price"], json!({"amount": 9990, "currency": "BRL"}));
    let attributes = json!({"size": 43, "weight": 0.25, "waterproof": true, "new": "yes"});
    assert_eq!(changed.json["attributes"], attributes);
    assert_eq!(changed.json["status"], "archived");
    let call = Call::patch(&path_of(&created))
        .header("if-match", "\"v2\"")
        .json(&json!({"description": null, "attributes": null}));
    let changed = service.send(call).await.expect(200);
    assert_eq!(changed.json.get("description"), None);
    assert_eq!(changed.json["attributes"], json!({}));
    assert_eq!(service.send(Call::get(&path_of(&created))).await.json, changed.json);
}

#[tokio::test]
async fn patch_that_changes_nothing_makes_no_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let call = Call::patch(&path_of(&created))
        .header("if-match", "\"v1\"")
        .json(&json!({"name": "Running shoe", "attributes": {"absent": null}}));
    assert_eq!(service.send(call).await.expect(200).json, created.json);
    assert_eq!(service.count("outbox").await, 1);
}

#[tokio::test]
async fn required_field_cannot_be_removed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    for field in ["sku", "name", "category", "price", "status"] {
        let call = Call::patch(&path_of(&created))
            .header("if-match", "\"v1\"")
            .json(&json!({ field: null }));
        let refused = service.send(call).await.expect(422);
        assert_eq!(refused.json["errors"][0]["pointer"], format!("/{field}"));
    }
}

#[tokio::test]
async fn change_needs_the_current_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let patch = json!({"name": "Other"});
    let missing = service.send(Call::patch(&path).json(&patch)).await.expect(428);
    assert_eq!(missing.code(), "version_required");
    for stale in ["\"v2\"", "\"v0\"", "W/\"v1\"", "v1", "\"1\"", "\"v+1\"", "\"v01\"", "nonsense"] {
        let call = Call::patch(&path).header("if-match", stale).json(&patch);
        assert_eq!(service.send(call).await.expect(412).code(), "stale_version", "{stale}");
        service.send(Call::delete(&path).header("if-match", stale)).await.expect(412);
    }
    let call = Call::patch(&path).header("if-match", "*").json(&patch);
    service.send(call).await.expect(200);
}

#[tokio::test]
async fn change_succeeds_if_any_of_its_versions_is_current() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let change = |tags: &'static str| {
        Call::patch(&path_of(&created)).header("if-match", tags).json(&json!({"name": "Other"}))
    };
    service.send(change("\"v7\", \"v9\"")).await.expect(412);
    service.send(change("\"v7\", W/\"v1\"")).await.expect(412);
    service.send(change("\"v7\", \"v1\"")).await.expect(200);
}

#[tokio::test]
async fn one_of_several_changes_to_a_version_succeeds() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let change = |name: &'static str| {
        let call = Call::patch(&path).header("if-match", "\"v1\"").json(&json!({ "name": name }));
        service.send(call)
    };
    let responses = tokio::join!(change("A"), change("B"), change("C"), change("D"));
    let responses = [responses.0, responses.1, responses.2, responses.3];
    let (changed, refused): (Vec<_>, Vec<_>) =
        responses.into_iter().partition(|response| response.status == 200);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(refused.iter().all(|response| response.status == 412), "{refused:?}");
    assert_eq!(service.count("journal").await, 2);
    assert_eq!(service.send(Call::get(&path)).await.json, changed[0].json);
}

#[tokio::test]
async fn sixty_concurrent_changes_to_any_version_succeed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let change = |nth: usize| {
        let call = Call::patch(&path_of(&created)).header("if-match", "*");
        service.send(call.json(&json!({"name": format!("Shoe {nth}")})))
    };
    let mut products = Vec::new();
    for (nth, response) in
        futures::future::join_all((0..60).map(change)).await.into_iter().enumerate()
    {
        let product = response.expect(200).json;
        assert_eq!(product["name"], format!("Shoe {nth}"), "each gets its own response");
        products.push(product);
    }
    products.sort_by_key(|product| product["version"].as_i64());
    let versions = products.iter().map(|product| product["version"].as_i64().unwrap());
    assert_eq!(versions.collect::<Vec<_>>(), (2..=61).collect::<Vec<_>>());
    let product = service.send(Call::get(&path_of(&created))).await.expect(200);
    assert_eq!(Some(&product.json), products.last(), "the last change wins");
}

#[tokio::test]
async fn product_cannot_outgrow_its_event() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = created.header("location");
    let mut version = 1;
    let response = loop {
        let patch = json!({"attributes": {format!("a{version}"): "x".repeat(30_000)}});
        let tag = format!("\"v{version}\"");
        let response = service.send(Call::patch(path).header("if-match", &tag).json(&patch)).await;
        if response.status != 200 {
            break response;
        }
        version += 1;
    };
    assert_problem(&response, 422);
    assert_eq!(response.json["errors"][0]["code"], "too_large");
    assert!(version < 5);
}

#[tokio::test]
async fn largest_product_can_be_changed_and_deleted() {
    let service = TestService::new().await;
    let sized = |length: usize| {
        let mut body = shoe("LARGE");
        body["attributes"] = json!({"text": "x".repeat(length)});
        body
    };
    let (mut fits, mut too_large) = (60_000, 66_000);
    while too_large - fits > 1 {
        let middle = usize::midpoint(fits, too_large);
        let response = post(&service, sized(middle).to_string()).await;
        if response.status == 201 {
            let call = Call::delete(response.header("location")).header("if-match", "\"v1\"");
            service.send(call).await.expect(204);
            fits = middle;
        } else {
            too_large = middle;
        }
    }
    service.clock.advance(std::time::Duration::from_micros(123_456));
    let largest = post(&service, sized(fits).to_string()).await.expect(201);
    let path = largest.header("location");
    let call =
        Call::patch(path).header("if-match", "\"v1\"").json(&json!({"price": {"amount": 1}}));
    service.send(call).await.expect(200);
    service.send(Call::delete(path).header("if-match", "\"v2\"")).await.expect(204);
}

#[tokio::test]
async fn taken_sku_is_refused() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    let other = service.create("SHOE-2").await;
    let call = Call::patch(&path_of(&other)).header("if-match", "\"v1\"");
    let refused = service.send(call.json(&json!({"sku": "SHOE-1"}))).await;
    assert_problem(&refused, 409);
    assert_eq!(refused.code(), "sku_taken");
    assert_eq!(service.send(Call::get(&path_of(&other))).await.json, other.json);
}
