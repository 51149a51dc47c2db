//! What operators see and do with dead letters, of one queue and of several.

use shared::bus::selection::{Action, Selection};
use shared::contract::routes::{self, CATALOG_QUEUE};
use shared::host::intake::Failure;
use testkit::eventually;

use super::test_bed::{OPERATOR, TestBed};
use crate::handlers::ByPosition;
use crate::second_producer::{PARCEL_QUEUE, TWO_PRODUCERS};

pub(super) async fn message_that_keeps_failing_is_a_dead_letter_with_reason(bed: TestBed) {
    bed.publish([1]).await;
    let failing =
        ByPosition::new(|_| Err(Failure::Failed("it cannot be \u{0}\u{ffff}".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    bed.becomes_empty().await;
    assert_eq!(failing.seen().len(), 5);
    let dead_letters = bed.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    let dead_letter = &dead_letters[0];
    assert!(dead_letter.reason.starts_with("it cannot be "), "{}", dead_letter.reason);
    let about = (dead_letter.attempts, dead_letter.event_type.as_str());
    assert_eq!(about, (5, "ProductUpdated"));
    assert!(dead_letter.dead_at >= dead_letter.sent_at);
}

pub(super) async fn redriven_dead_letter_gets_all_its_attempts_again(bed: TestBed) {
    bed.publish([1]).await;
    let failing = ByPosition::new(|_| Err(Failure::Failed("not yet".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    let dead_letter = bed.dead_letters().await.remove(0);
    let all = Selection::default();
    let now = bed.clock.now();
    let settled =
        bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    assert_eq!((settled, bed.dead_letters().await), (1, vec![]));
    assert_eq!(bed.audit().await, [(OPERATOR.to_string(), "redrive".to_owned(), dead_letter.id)]);
    // Attempts are counted from one again.
    let failing = ByPosition::new(|_| Err(Failure::Failed("not yet".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    let again = bed.dead_letters().await.remove(0);
    assert_eq!((again.attempts, again.event_id), (5, dead_letter.event_id));
    bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    bed.becomes_empty().await;
}

pub(super) async fn only_selected_dead_letters_are_settled(bed: TestBed) {
    let typed = |name: &str| format!(r#"{{"specversion": "1.0", "type": "{name}"}}"#);
    let bodies = [typed("StockChanged"), typed("ProductUpdated"), "no JSON".to_owned()];
    bed.make_dead_letters(&[&bodies[0], &bodies[1], &bodies[2], &bodies[0]]).await;
    let dead_letters = bed.dead_letters().await;
    assert!(dead_letters.is_sorted_by_key(|dead| dead.id));
    let stock = Selection { reason: Some("missing field".to_owned()), ..Selection::default() };
    assert_eq!(bed.dead_letters.count(&stock).await.unwrap(), 3);
    let one = Selection { ids: Some(vec![dead_letters[2].id]), ..Selection::default() };
    let now = bed.clock.now();
    let discard = Action::Discard;
    assert_eq!(bed.dead_letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 1);
    assert_eq!(bed.dead_letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 0);
    assert_eq!(bed.dead_letters.settle(&stock, Some(2), discard, OPERATOR, now).await.unwrap(), 2);
    let left: Vec<i64> = bed.dead_letters().await.iter().map(|dead| dead.id).collect();
    assert_eq!(left, [dead_letters[3].id], "the oldest are settled first");
    let before = Selection { before: Some(dead_letters[3].dead_at), ..Selection::default() };
    assert_eq!(bed.dead_letters.count(&before).await.unwrap(), 0);
    assert_eq!(bed.audit().await.len(), 3);
    // A discarded message is not redelivered.
    bed.becomes_empty().await;
}

pub(super) async fn reading_dead_letters_does_not_change_them(bed: TestBed) {
    bed.make_dead_letters(&["one", "two"]).await;
    let first = bed.dead_letters().await;
    for _ in 0..8 {
        assert_eq!(bed.dead_letters().await, first);
    }
    let page = bed.dead_letters.list(&Selection::default(), first[0].id, 10).await.unwrap();
    assert_eq!(page, first[1..]);
    assert_eq!(bed.dead_letters.find(i64::MAX).await.unwrap(), None);
}

/// The queue and the body of each dead letter, oldest first.
async fn dead_letters_in_order(bed: &TestBed) -> Vec<(String, String)> {
    let mut found_all = Vec::new();
    for dead_letter in bed.dead_letters().await {
        let (found, body) = bed.dead_letters.find(dead_letter.id).await.unwrap().unwrap();
        assert_eq!(found, dead_letter);
        found_all.push((found.queue, body));
    }
    found_all
}

fn dead_letter(queue: &str, body: &str) -> (String, String) {
    (queue.to_owned(), body.to_owned())
}

pub(super) async fn dead_letters_of_every_queue_are_listed_oldest_first(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    bed.make_dead_letters(&["three"]).await;
    let all = [
        dead_letter(CATALOG_QUEUE, "one"),
        dead_letter(PARCEL_QUEUE, "two"),
        dead_letter(CATALOG_QUEUE, "three"),
    ];
    assert_eq!(dead_letters_in_order(&bed).await, all);
    // In pages of one, each after the last id of the page before.
    let (mut after, mut pages) = (0, Vec::new());
    while let Some(dead) =
        bed.dead_letters.list(&Selection::default(), after, 1).await.unwrap().pop()
    {
        after = dead.id;
        pages.push(dead.queue);
    }
    assert_eq!(pages, [CATALOG_QUEUE, PARCEL_QUEUE, CATALOG_QUEUE]);
}

pub(super) async fn dead_letters_of_every_queue_are_redriven_to_their_own(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    let (all, now) = (Selection::default(), bed.clock.now());
    let redriven = bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await;
    assert_eq!((redriven.unwrap(), bed.dead_letters().await), (2, vec![]));
    assert_eq!(bed.receive_bodies(CATALOG_QUEUE).await, ["one"]);
    assert_eq!(bed.receive_bodies(PARCEL_QUEUE).await, ["two"]);
    assert_eq!(audited_queues(&bed).await, [CATALOG_QUEUE, PARCEL_QUEUE]);
}

/// The queue of each row of the audit.
async fn audited_queues(bed: &TestBed) -> Vec<String> {
    sqlx::query_scalar("select queue from bus.dead_letter_audit order by id")
        .fetch_all(&bed.database.pool)
        .await
        .unwrap()
}

pub(super) async fn only_dead_letters_of_the_selected_queue_are_settled(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    let parcels = Selection { queue: Some(PARCEL_QUEUE.to_owned()), ..Selection::default() };
    let listed = bed.dead_letters.list(&parcels, 0, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].queue.as_str()), (1, PARCEL_QUEUE));
    assert_eq!(bed.dead_letters.count(&parcels).await.unwrap(), 1);
    let now = bed.clock.now();
    let discarded = bed.dead_letters.settle(&parcels, None, Action::Discard, OPERATOR, now).await;
    assert_eq!(discarded.unwrap(), 1);
    assert_eq!(dead_letters_in_order(&bed).await, [dead_letter(CATALOG_QUEUE, "one")]);
    assert_eq!(audited_queues(&bed).await, [PARCEL_QUEUE]);
    let unknown = Selection { queue: Some("unknown".to_owned()), ..Selection::default() };
    assert_eq!(bed.dead_letters.list(&unknown, 0, 10).await.unwrap(), []);
}

pub(super) async fn each_queue_has_its_own_depth(bed: TestBed) {
    bed.make_dead_letter_in(PARCEL_QUEUE, "dead").await;
    bed.plant(CATALOG_QUEUE, "waits").await;
    // The counts of SQS are delayed.
    eventually("the depths of all queues", async || {
        let depths = bed.dead_letters.depths().await.unwrap();
        let queues: Vec<&str> = depths.iter().map(|depth| depth.queue.as_str()).collect();
        assert_eq!(queues, routes::queues(TWO_PRODUCERS));
        let counts: Vec<_> =
            depths.iter().map(|depth| (depth.visible, depth.dead_letters)).collect();
        (counts == [(1, 0), (0, 1), (0, 0)]).then_some(())
    })
    .await;
}
