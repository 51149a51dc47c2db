//! `POST /v1/products/{id}/stock/adjustments`

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use serde::Deserialize;
use shared::database;
use shared::failpoint;
use shared::http::auth::Seller;
use shared::http::problem::{self, FieldError, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IdempotencyKey, Json, PathId};
use shared::text::{self, Lines};
use sqlx::PgConnection;

use crate::App;
use crate::http::create_product::REPLAYED;
use crate::http::{StockView, cause, stock_response};
use crate::stock as rules;
use crate::store::idempotency::{self, KeyedRequest};
use crate::store::{Cause, journal, stock};

/// The route that an idempotency key of this endpoint belongs to.
const ROUTE: &str = "adjust_stock";

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adjustment {
    /// Pieces that came (above 0) or went (below 0).
    #[schema(example = -2)]
    delta: i64,
    /// 1 to 200 characters; kept in the journal.
    #[schema(min_length = 1, max_length = 200, example = "broken in the warehouse")]
    reason: String,
}

/// Adds or takes pieces that came or went otherwise than by a sale.
#[utoipa::path(
    post, path = "/v1/products/{id}/stock/adjustments", tag = "stock",
    security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Adjustment,
    responses(
        (status = 200, description = "The stock as it is now", body = StockView,
            headers(("ETag"), ("Idempotent-Replayed"))),
        (status = 409, description = "There would be less than nothing, or too much", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn adjust_stock(
    State(app): State<App>,
    Seller(seller_id): Seller,
    PathId(id): PathId,
    IdempotencyKey(key): IdempotencyKey,
    request: RequestContext,
    body: Json<Adjustment>,
) -> Result<Response, Problem> {
    let Adjustment { delta, reason } = body.value;
    check(delta, &reason).map_err(Problem::invalid)?;
    // The product is part of what the key stands for, as the body is.
    let key = key.map(|key| {
        KeyedRequest::new(ROUTE, key, &[id.as_bytes().as_slice(), &body.bytes].concat())
    });
    let cause = Cause { reason: Some(reason), ..cause(&app, seller_id, request) };
    let mut transaction = database::begin(&app.pool).await?;
    if let Some(response) = replay(&mut transaction, seller_id, key.as_ref()).await? {
        return Ok(response);
    }
    let current =
        stock::lock(&mut transaction, seller_id, id).await?.ok_or_else(Problem::not_found)?;
    failpoint::reach("adjust_stock.locked").await;
    // Whoever had the lock before may have been the same request.
    if let Some(response) = replay(&mut transaction, seller_id, key.as_ref()).await? {
        return Ok(response);
    }
    let adjusted = rules::adjust(&current, delta, app.clock.now())?;
    let change = "adjusted";
    let stored =
        stock::update(&mut transaction, id, &adjusted, change, &cause, key.as_ref()).await?;
    failpoint::reach("adjust_stock.written").await;
    transaction.commit().await?;
    failpoint::reach("adjust_stock.committed").await;
    if stored {
        app.committed.notify_one();
        return Ok(stock_response(&adjusted));
    }
    // The row was locked, so only the key can have been in the way: the same request was faster.
    let mut connection = app.pool.acquire().await?;
    match replay(&mut connection, seller_id, key.as_ref()).await? {
        Some(response) => Ok(response),
        None => Err(Problem::internal("a locked stock was changed by somebody else")),
    }
}

fn check(delta: i64, reason: &str) -> Result<(), Vec<FieldError>> {
    let mut faults = Vec::new();
    if delta == 0 {
        faults.push(FieldError::new("/delta", "invalid", "must not be 0"));
    }
    if let Err(fault) = text::check(reason, 200, Lines::One) {
        faults.push(FieldError::new("/reason", "invalid", fault.to_string()));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The first answer again, if the key was used before. It is read over the caller's connection: one
/// who holds a lock and waits for another connection would keep it from whoever waits for the lock.
async fn replay(
    connection: &mut PgConnection,
    seller_id: uuid::Uuid,
    key: Option<&KeyedRequest>,
) -> Result<Option<Response>, Problem> {
    let Some(key) = key else { return Ok(None) };
    let Some(used) = idempotency::find(&mut *connection, seller_id, key).await? else {
        return Ok(None);
    };
    if used.request_hash != key.hash {
        return Err(problem::IDEMPOTENCY_KEY_REUSED.because(""));
    }
    let stock = journal::find_stock(&mut *connection, used.aggregate_id, used.version).await?;
    let stock = stock.ok_or_else(|| Problem::internal("the journal lost what a key points at"))?;
    let mut response = stock_response(&stock);
    response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    Ok(Some(response))
}
