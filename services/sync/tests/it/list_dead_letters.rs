use std::time::Duration;

use serde_json::json;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, TestBed};

#[tokio::test]
async fn dead_letters_are_listed_oldest_first_with_their_reason() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    let created_at = bed.clock.now();
    bed.make_dead_letters().await;
    bed.clock.advance(Duration::from_mins(1));
    bed.set_stock(id, 9).await;
    bed.make_dead_letters().await;
    // The entry of the product comes before that of its stock.
    let events: Vec<String> = sqlx::query_scalar(
        "select event_id::text from inventory.journal where aggregate_id = $1 order by aggregate",
    )
    .bind(id)
    .fetch_all(&bed.database.pool)
    .await
    .unwrap();
    assert_eq!(events.len(), 2);
    let listed = bed.ask_as_operator(Call::get(DEAD_LETTERS)).await.expect(200);
    let expected = |nth: usize, event_type, at| {
        json!({
            "id": listed.json["data"][nth]["id"], "queue": "catalog", "event_id": events[nth],
            "event_type": event_type, "subject": id, "attempts": 1, "sent_at": at, "dead_at": at,
            "reason": "unreadable: reading an event: expected value at line 1 column 1",
        })
    };
    let letters =
        [expected(0, "ProductCreated", created_at), expected(1, "StockChanged", bed.clock.now())];
    let expected = json!({"data": letters, "page": {"next_cursor": null, "has_more": false}});
    assert_eq!(listed.json, expected);
}

#[tokio::test]
async fn dead_letters_are_filtered_by_every_field() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let all = bed.dead_letters().await;
    bed.clock.advance(Duration::from_secs(30));
    for (filter, expected) in [
        ("queue=catalog", json!(all)),
        ("type=ProductCreated", json!([all[0]])),
        ("type=StockChanged", json!([all[1]])),
        ("type=ProductDeleted", json!([])),
        ("reason=unreadable", json!(all)),
        ("reason=timeout", json!([])),
        ("older_than=60", json!([all[0]])),
        ("older_than=20", json!(all)),
        ("older_than=60&type=StockChanged", json!([])),
    ] {
        let call = Call::get(&format!("{DEAD_LETTERS}?{filter}"));
        let listed = bed.ask_as_operator(call).await.expect(200);
        assert_eq!(listed.json["data"], expected, "{filter}");
    }
}

#[tokio::test]
async fn next_page_continues_after_the_last_dead_letter() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let all = bed.dead_letters().await;
    let call = Call::get(&format!("{DEAD_LETTERS}?limit=1&reason=unreadable"));
    let first = bed.ask_as_operator(call).await.expect(200);
    assert_eq!(first.json["data"], json!([all[0]]));
    let next = first.header("link").split(['<', '>']).nth(1).unwrap();
    let last = bed.ask_as_operator(Call::get(next)).await.expect(200);
    assert_eq!(last.json["data"], json!([all[1]]));
    assert_eq!((&last.json["page"]["has_more"], last.header("link")), (&json!(false), ""));
    let cursor = first.json["page"]["next_cursor"].as_str().unwrap();
    for filter in ["", "&reason=unreadable&queue=catalog"] {
        let other = Call::get(&format!("{DEAD_LETTERS}?limit=1&cursor={cursor}{filter}"));
        assert_eq!(bed.ask_as_operator(other).await.expect(400).code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn invalid_filters_of_dead_letters_are_refused() {
    let bed = TestBed::new().await;
    for query in ["limit=0", "limit=101", "older_than=-1", "older_than=x", "unknown=1"] {
        let call = Call::get(&format!("{DEAD_LETTERS}?{query}"));
        let refused = bed.ask_as_operator(call).await.expect(400);
        assert_eq!(refused.code(), "malformed_request", "{query}");
        let name = query.split('=').next().unwrap();
        assert!(refused.json["detail"].as_str().unwrap().contains(name), "{}", refused.text);
    }
    let call = Call::get(&format!("{DEAD_LETTERS}?queue=returns"));
    let refused = bed.ask_as_operator(call).await.expect(400);
    assert_eq!(refused.json["detail"], "queue: is not a queue; the queues are catalog");
    let call = Call::get(&format!("{DEAD_LETTERS}?cursor=x"));
    assert_eq!(bed.ask_as_operator(call).await.expect(400).code(), "invalid_cursor");
}
