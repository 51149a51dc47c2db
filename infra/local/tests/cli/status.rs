//! `vitrina status` shows the numbers of a situation in which each is different.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{TestEdition, dlq};

/// How long ago the oldest of the pending events was committed.
const AGE: u64 = 1_000;

/// Nothing publishes and nothing projects, so that what is planted stays.
const PLANTED: &str = "
    update inventory.outbox set committed_at = now() - interval '1000 s'
    where position = (select max(position) from inventory.outbox);
    insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
    select gen_random_uuid(), 'product', 1, now() from generate_series(1, 5);
    insert into bus.messages (queue, event_id, event_type, subject, body, sent_at, visible_at)
    select 'catalog', gen_random_uuid(), 'ProductUpdated', gen_random_uuid(), '{', now(),
           now() + case when nth <= 3 then interval '0' else interval '1 minute' end
    from generate_series(1, 5) as nth;
    insert into bus.dead_letters
        (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at, dead_at)
    values (77, 'catalog', gen_random_uuid(), 'ProductUpdated', gen_random_uuid(), '{', 'planted',
            5, now(), now());
    insert into sync.runs (id, requested_by, deep, requested_at, started_at, finished_at, missing,
                           stock, moving, repaired)
    values ('01890000-0000-7000-8000-000000000001', gen_random_uuid(), false,
            '2026-01-01 01:00Z', '2026-01-01 02:00Z', '2026-01-01 03:00Z', 6, 2, 40, 50)";

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_each_number_of_a_known_situation() {
    let edition = TestEdition::start_with("inventory,catalog,sync".parse().unwrap()).await;
    edition.run(&["seed", "--products", "4"]).await.expect(0);
    let mut database = dlq::database(edition.data.path()).await;
    // Real time: the age of what is planted may be this much greater.
    let planted = Instant::now();
    sqlx::raw_sql(PLANTED).execute(&mut database).await.unwrap();
    let mut status = loop {
        // Real time: the messages in flight are so for a minute.
        let hidden = Instant::now();
        let hide = "update bus.messages set visible_at = now() + interval '1 minute'
                    where visible_at > sent_at";
        sqlx::raw_sql(hide).execute(&mut database).await.unwrap();
        let status = edition.run(&["status", "-o", "json"]).await.expect(3).json();
        if hidden.elapsed() < Duration::from_mins(1) {
            break status;
        }
    };
    // The commands use the clock of the machine.
    let age = status["outbox_oldest_age"].take().as_u64().unwrap();
    assert!((AGE..=AGE + planted.elapsed().as_secs() + 1).contains(&age), "{age}");
    // Editions of other tests in this process measure their lag in the same histogram.
    for lag in ["lag_p50", "lag_p99"] {
        status.get_mut(lag).unwrap().take();
    }
    let expected = json!({
        "outbox_pending": 4, "outbox_oldest_age": null, "repairs_pending": 5, "queue_visible": 3,
        "queue_in_flight": 2, "dead_letters": 1, "lag_p50": null, "lag_p99": null,
        "last_reconciliation": "2026-01-01T03:00:00Z", "last_differences": 8,
    });
    assert_eq!(status, expected);
    edition.stop().await;
}
