//! What a queue does with its messages.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::bus::message::QueueDepth;
use shared::contract::routes::CATALOG_QUEUE;
use shared::host::intake::Failure;
use testkit::eventually;

use super::test_bed::TestBed;
use crate::handlers::{ByPosition, inventory_event};

pub(super) async fn every_published_event_is_handled_and_then_gone(bed: TestBed) {
    bed.publish(1..=25).await;
    let accepting = ByPosition::new(|_| Ok(()));
    // At least once: SQS may duplicate.
    let seen = || BTreeSet::from_iter(accepting.seen());
    bed.rounds(&accepting, || seen().len() >= 25).await;
    assert_eq!(seen(), (1..=25).collect());
    bed.becomes_empty().await;
    assert_eq!(bed.dead_letters().await, []);
}

pub(super) async fn message_is_redelivered_after_its_consumer_crashed(bed: TestBed) {
    bed.publish([1]).await;
    assert_eq!(bed.receive_some().await, [inventory_event(1)]);
    assert_eq!(bed.receive().await, Vec::<Value>::new(), "it is invisible");
    bed.end_visibility().await;
    assert_eq!(bed.receive_some().await, [inventory_event(1)]);
}

pub(super) async fn only_failed_messages_of_a_batch_are_redelivered(bed: TestBed) {
    bed.publish(1..=6).await;
    let picky = ByPosition::new(|position| match position % 3 {
        0 => Err(Failure::Failed("a multiple of three".to_owned())),
        _ => Ok(()),
    });
    // Without a backoff, failed messages return at once: handle until all were seen.
    bed.rounds(&picky, || (1..=6).all(|position| picky.seen().contains(&position))).await;
    let accepting = ByPosition::new(|_| Ok(()));
    // Queues promise no order, and SQS may duplicate.
    let seen = || BTreeSet::from_iter(accepting.seen());
    bed.rounds(&accepting, || seen().len() >= 2).await;
    assert_eq!(seen(), BTreeSet::from([3, 6]));
    bed.becomes_empty().await;
}

pub(super) async fn unreadable_message_is_a_dead_letter_and_blocks_no_other(bed: TestBed) {
    bed.plant(CATALOG_QUEUE, "no event").await;
    bed.publish([2]).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    bed.round(&accepting).await;
    assert_eq!(accepting.seen(), [2]);
    let dead_letters = bed.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    assert!(dead_letters[0].reason.starts_with("unreadable: "), "{}", dead_letters[0].reason);
    let (_, body) = bed.dead_letters.find(dead_letters[0].id).await.unwrap().unwrap();
    assert_eq!(body, "no event");
    bed.becomes_empty().await;
}

pub(super) async fn event_of_unknown_type_is_ignored(bed: TestBed) {
    let unknown = inventory_event(1).to_string().replace("ProductUpdated", "FromTheFuture");
    bed.plant(CATALOG_QUEUE, &unknown).await;
    bed.publish([2]).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    bed.becomes_empty().await;
    assert_eq!((accepting.seen(), bed.dead_letters().await), (vec![2], vec![]));
}

pub(super) async fn depth_counts_visible_in_flight_and_dead_messages(bed: TestBed) {
    bed.make_dead_letters(&["no event"]).await;
    // The counts of SQS are delayed.
    let becomes = async |what: &str, is_so: fn(&QueueDepth) -> bool| {
        eventually(what, async || {
            let depth = bed.dead_letters.depths().await.unwrap().remove(0);
            (is_so(&depth) && depth.dead_letters == 1).then_some(())
        })
        .await;
    };
    becomes("one dead letter alone", |depth| depth.visible + depth.in_flight == 0).await;
    bed.publish(1..=3).await;
    becomes("three that wait", |depth| (depth.visible, depth.in_flight) == (3, 0)).await;
    bed.receive_some().await;
    let in_flight =
        |depth: &QueueDepth| depth.in_flight > 0 && depth.visible + depth.in_flight == 3;
    becomes("some in flight", in_flight).await;
}

pub(super) async fn long_outage_of_a_store_makes_no_dead_letter(bed: TestBed) {
    bed.publish([1]).await;
    let unavailable = ByPosition::new(|_| Err(Failure::Unavailable("no response".to_owned())));
    bed.rounds(&unavailable, || unavailable.seen().len() >= 20).await;
    assert_eq!(bed.dead_letters().await, []);
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    bed.becomes_empty().await;
}
