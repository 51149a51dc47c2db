//! Repairs: announces, at a new version, each product or stock that reconciliation found to differ
//! from its listing.
//!
//! It takes no input: it reads the pending requests. Row, journal entry and outbox pointer are
//! written in the transaction that deletes the request, by the same rules and statements as any
//! other change. So each request is done once.

use chrono::TimeDelta;
use shared::clock::Clock;
use shared::failpoint;
use shared::host::tick::Progress;
use shared::http::request::RequestContext;
use shared::id::{Ids, UserId};
use shared::telemetry;
use sqlx::{Acquire as _, PgConnection, PgPool};

use crate::event::EventRef;
use crate::store::repairs::{self, Part, Request};
use crate::store::{Cause, WriteError, doing, products, stock};
use crate::{product as product_rules, stock as stock_rules};

/// The journal's word for a version that a repair created.
const CHANGE: &str = "repaired";

/// How long a failed request is postponed, so that it does not block the others.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(30);

/// Does one request. A request that fails for a reason of its own is postponed; it does not block
/// the requests behind it.
pub(crate) async fn once(pool: &PgPool, clock: &Clock, ids: &Ids) -> Result<Progress, WriteError> {
    let begun = pool.begin().await;
    let mut transaction = begun.map_err(doing("beginning a repair"))?;
    let now = clock.now();
    let claimed = repairs::claim(&mut transaction, now, now + AFTER_FAILURE).await?;
    let Some(request) = claimed else {
        return Ok(Progress::Idle);
    };
    failpoint::reach("repair.claimed").await;
    let cause = cause(clock, ids);
    let mut attempt = transaction.begin().await.map_err(doing("beginning a repair"))?;
    match perform(&mut attempt, &request, &cause).await {
        Ok(()) => attempt.commit().await.map_err(doing("committing a repair"))?,
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            attempt.rollback().await.map_err(doing("rolling a repair back"))?;
            telemetry::failed("repair", &error);
            let again = clock.now() + AFTER_FAILURE;
            repairs::postpone(&mut transaction, &request, again).await?;
        }
    }
    transaction.commit().await.map_err(doing("committing a repair"))?;
    failpoint::reach("repair.committed").await;
    Ok(Progress::More)
}

/// Announces the requested part, and deletes the request.
async fn perform(
    connection: &mut PgConnection,
    request: &Request,
    cause: &Cause,
) -> Result<(), WriteError> {
    let Request { product_id: id, part, seen } = *request;
    let now = cause.request.requested_at;
    match part {
        Part::Product => {
            let row = products::lock(&mut *connection, id).await?;
            if row.is_none() {
                let gone = product_rules::tombstone_for_orphan(id, seen, now);
                let event = EventRef::changed(&gone);
                repairs::announce_absence(&mut *connection, &gone, &event, cause).await?;
            }
            if let Some(row) = row
                && let Some(raised) = product_rules::raise(&row, seen, now)
            {
                let (before, event) = (row.version, EventRef::changed(&raised));
                products::replace(&mut *connection, before, &raised, &event, CHANGE, cause, false)
                    .await?;
            }
        }
        Part::Stock => {
            if let Some(row) = stock::lock_any(&mut *connection, id).await?
                && let Some(raised) = stock_rules::raise(&row, seen, now)
            {
                let before = row.version;
                stock::replace(&mut *connection, id, before, &raised, CHANGE, cause, None).await?;
            }
        }
    }
    failpoint::reach("repair.announced").await;
    repairs::delete(&mut *connection, request).await?;
    failpoint::reach("repair.deleted").await;
    tracing::info!(product.id = %id, seen, ?part, "announced a product above the version in its listing");
    Ok(())
}

/// No user asked for a repair, so the actor is the nil UUID.
fn cause(clock: &Clock, ids: &Ids) -> Cause {
    let request = RequestContext::background(clock, ids);
    Cause { actor: UserId::nil(), event_id: ids.next(request.requested_at), request, reason: None }
}
