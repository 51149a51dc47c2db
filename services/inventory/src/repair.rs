//! Repairs: announces under a new version what reconciliation found to be behind its listing.
//!
//! It takes no input: it looks at what is requested. Row, journal entry and outbox pointer are
//! written in the transaction that takes the request away, so each is done once, by the same rules
//! and statements as any other change.

use shared::clock::Clock;
use shared::database;
use shared::failpoint;
use shared::host::tick::Progress;
use shared::id::Ids;
use shared::request::RequestContext;
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::products::WriteError;
use crate::store::repairs::{self, Part, Request};
use crate::store::{Cause, products, stock};
use crate::{product as product_rules, stock as stock_rules};

/// What the journal says of a version that nobody asked for.
const CHANGE: &str = "repaired";

/// Does one request.
pub(crate) async fn once(pool: &PgPool, clock: &Clock, ids: &Ids) -> Result<Progress, WriteError> {
    let mut transaction = database::begin(pool).await?;
    let Some(request) = repairs::claim(&mut transaction).await? else {
        return Ok(Progress::Idle);
    };
    failpoint::reach("repair.claimed").await;
    let Request { product_id: id, part, seen } = request;
    let cause = cause(clock, ids);
    let now = cause.request.requested_at;
    match part {
        Part::Product => {
            let row = products::lock(&mut transaction, id).await?;
            if row.is_none() {
                let gone = product_rules::never_was(id, seen, now);
                repairs::announce_absence(&mut transaction, &gone, &cause).await?;
            }
            if let Some(row) = row
                && let Some(raised) = product_rules::raise(&row, seen, now)
            {
                let connection = &mut *transaction;
                products::replace(connection, row.version, &raised, CHANGE, &cause, false).await?;
            }
        }
        Part::Stock => {
            if let Some(row) = stock::lock_any(&mut transaction, id).await?
                && let Some(raised) = stock_rules::raise(&row, seen, now)
            {
                let connection = &mut transaction;
                let before = row.version;
                stock::replace(connection, id, before, &raised, CHANGE, &cause, None).await?;
            }
        }
    }
    failpoint::reach("repair.announced").await;
    repairs::delete(&mut transaction, &request).await?;
    failpoint::reach("repair.deleted").await;
    transaction.commit().await?;
    failpoint::reach("repair.committed").await;
    tracing::info!(product.id = %id, seen, ?part, "announced a product above what was seen");
    Ok(Progress::More)
}

/// Nobody asked for it: the actor is nobody.
fn cause(clock: &Clock, ids: &Ids) -> Cause {
    let request = RequestContext::background(clock, ids);
    Cause { actor: Uuid::nil(), event_id: ids.next(request.requested_at), request, reason: None }
}
