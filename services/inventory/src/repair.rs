//! Repairs: announces under a new version what reconciliation found to be behind its listing.
//!
//! It takes no input: it looks at what is requested. Row, journal entry and outbox pointer are
//! written in the transaction that takes the request away, so each is done once, by the same rules
//! and statements as any other change.

use chrono::TimeDelta;
use shared::clock::Clock;
use shared::database;
use shared::failpoint;
use shared::host::tick::Progress;
use shared::http::request::RequestContext;
use shared::id::Ids;
use shared::telemetry;
use sqlx::{Acquire as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::store::products::WriteError;
use crate::store::repairs::{self, Part, Request};
use crate::store::{Cause, products, stock};
use crate::{product as product_rules, stock as stock_rules};

/// What the journal says of a version that nobody asked for.
const CHANGE: &str = "repaired";

/// How long a request that could not be done lets others go first.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(30);

/// Does one request. One that cannot be done for a reason of its own is put off, and keeps nobody
/// waiting.
pub(crate) async fn once(pool: &PgPool, clock: &Clock, ids: &Ids) -> Result<Progress, WriteError> {
    let mut transaction = database::begin(pool).await?;
    let Some(request) = repairs::claim(&mut transaction, clock.now()).await? else {
        return Ok(Progress::Idle);
    };
    failpoint::reach("repair.claimed").await;
    let cause = cause(clock, ids);
    let mut attempt = transaction.begin().await?;
    match perform(&mut attempt, &request, &cause).await {
        Ok(()) => attempt.commit().await?,
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            attempt.rollback().await?;
            telemetry::failed("repair", &error);
            let again = clock.now() + AFTER_FAILURE;
            repairs::put_off(&mut transaction, &request, again).await?;
        }
    }
    transaction.commit().await?;
    failpoint::reach("repair.committed").await;
    Ok(Progress::More)
}

/// Announces what is requested, and takes the request away.
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
                let gone = product_rules::never_was(id, seen, now);
                repairs::announce_absence(&mut *connection, &gone, cause).await?;
            }
            if let Some(row) = row
                && let Some(raised) = product_rules::raise(&row, seen, now)
            {
                let before = row.version;
                products::replace(&mut *connection, before, &raised, CHANGE, cause, false).await?;
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
    tracing::info!(product.id = %id, seen, ?part, "announced a product above what was seen");
    Ok(())
}

/// Nobody asked for it: the actor is nobody.
fn cause(clock: &Clock, ids: &Ids) -> Cause {
    let request = RequestContext::background(clock, ids);
    Cause { actor: Uuid::nil(), event_id: ids.next(request.requested_at), request, reason: None }
}
