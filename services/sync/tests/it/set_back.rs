//! A clock that was ahead leaves times in the future, which hold nothing up once it is set back.

use std::time::Duration;

use chrono::TimeDelta;
use shared::id::{LeaseId, RunId};
use sync::{Settings, State};
use testkit::set_back;

use crate::test_bed::{OPERATOR, TestBed, s, settings};

const DAY: Duration = Duration::from_hours(24);

async fn buckets_done(bed: &TestBed) -> i64 {
    let done = sqlx::query_scalar("select count(*) from sync.buckets where done");
    done.fetch_one(&bed.database.pool).await.unwrap()
}

/// Leases buckets, as a worker does that crashes before it releases them.
async fn lease(bed: &TestBed, run: RunId, bucket: i32, left: TimeDelta) {
    let lease =
        "update sync.buckets set run_id = $1, lease = $2, lease_until = $3 where bucket = $4";
    sqlx::query(lease)
        .bind(run)
        .bind(LeaseId::nil())
        .bind(bed.clock.now() + left)
        .bind(bucket)
        .execute(&bed.database.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn background_pass_goes_on_when_the_clock_is_set_back() {
    let bed = TestBed::new().await;
    bed.clock.advance(DAY);
    for expected in [8, 8] {
        bed.round().await;
        assert_eq!(buckets_done(&bed).await, expected);
    }
    // A worker crashes with the next ones.
    let run = sqlx::query_scalar("select id from sync.runs");
    let run = run.fetch_one(&bed.database.pool).await.unwrap();
    for bucket in 8..16 {
        lease(&bed, run, bucket, TimeDelta::seconds(60)).await;
    }
    set_back(&bed.clock, DAY);
    for expected in [16, 16] {
        bed.round().await;
        assert_eq!(buckets_done(&bed).await, expected, "after the clock was set back");
    }
    bed.clock.advance(Duration::from_mins(10));
    bed.round().await;
    assert_eq!(buckets_done(&bed).await, 24, "later");
    // Set back a little, a comparison still counts, as does one of a worker whose clock is ahead.
    set_back(&bed.clock, Duration::from_secs(59));
    bed.round().await;
    assert_eq!(buckets_done(&bed).await, 24, "a comparison of 59 s ahead");
    set_back(&bed.clock, Duration::from_secs(1));
    bed.round().await;
    assert_eq!(buckets_done(&bed).await, 32, "a comparison of a minute ahead");
}

#[tokio::test]
async fn lease_ends_when_no_clock_can_have_set_it() {
    let bed = TestBed::new().await;
    let (second, minute) = (TimeDelta::seconds(1), TimeDelta::minutes(1));
    let micro = TimeDelta::microseconds(1);
    let leases = [
        (-second, true),
        (TimeDelta::zero(), true),
        (micro, false),
        (minute, false),
        // Another worker's clock may be ahead of this one's.
        (minute + second, false),
        (minute * 2, false),
        (minute * 2 + micro, true),
        (TimeDelta::hours(24), true),
    ];
    let run = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let buckets: Vec<i32> = (0..).take(leases.len()).collect();
    bed.leave_only(run, &buckets).await;
    for (bucket, (left, _)) in buckets.iter().zip(leases) {
        lease(&bed, run, *bucket, left).await;
    }
    bed.round().await;
    let left = "select bucket from sync.buckets where not done order by bucket";
    let left: Vec<i32> = sqlx::query_scalar(left).fetch_all(&bed.database.pool).await.unwrap();
    let expected = buckets.iter().zip(leases).filter(|(_, (_, ended))| !ended);
    assert_eq!(left, expected.map(|(bucket, _)| *bucket).collect::<Vec<_>>());
    bed.clock.advance(Duration::from_mins(2));
    bed.round().await;
    assert_eq!(bed.run(run).await.state, State::Finished);
}

#[tokio::test]
async fn background_pass_is_deep_after_the_clock_was_set_back() {
    let (mut bed, ids) = TestBed::with_products(2).await;
    let all_at_once = Settings { slice: 1024, ..settings() };
    bed.reconciler = bed.reconciler.clone().with_settings(all_at_once);
    bed.round().await;
    bed.overwrite_attribute(ids[0], "name", s("Stolen shoe")).await;
    // The clock of the worker that finished the deep pass may have been a minute ahead.
    for expected in [0, 1] {
        set_back(&bed.clock, Duration::from_mins(1));
        bed.round().await;
        let last =
            sqlx::query_scalar("select altered from sync.runs order by requested_at limit 1");
        let altered: i64 = last.fetch_one(&bed.database.pool).await.unwrap();
        assert_eq!(altered, expected);
    }
}
