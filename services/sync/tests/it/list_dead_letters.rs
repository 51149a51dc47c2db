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
    let listed = bed.ask_as_operator(Call::get(DEAD_LETTERS)).await.expect(200);
    let expected = |nth: usize, event_type, at| {
        let (letter, event) =
            (&listed.json["data"][nth]["id"], &listed.json["data"][nth]["event_id"]);
        json!({
            "id": letter, "queue": "catalog", "event_id": event, "event_type": event_type,
            "subject": id, "attempts": 1, "sent_at": at, "dead_at": at,
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
        ("queue=returns", json!([])),
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
    for query in ["limit=0", "limit=101", "older_than=-1", "older_than=x", "unknown=1", "cursor=x"]
    {
        let call = Call::get(&format!("{DEAD_LETTERS}?{query}"));
        bed.ask_as_operator(call).await.expect(400);
    }
}
