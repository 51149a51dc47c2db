//! `POST /v1/products/{id}/stock/adjustments`

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use serde::Deserialize;
use shared::http::problem::{FieldError, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{Faults, IdempotencyKey, Json, PathId};
use shared::id::{ProductId, Seller};
use shared::text::{self, Lines};

use crate::App;
use crate::change_stock::{self, Adjusted, Adjustment};
use crate::http::create_product::REPLAYED;
use crate::http::responses::{StockView, stock_response};
use crate::store::idempotency::KeyedRequest;

/// The route that an idempotency key of this endpoint belongs to.
const ROUTE: &str = "adjust_stock";

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Adjustment)]
pub(crate) struct SentAdjustment {
    /// Pieces added (positive) or removed (negative).
    #[schema(example = -2)]
    delta: i64,
    /// 1 to 200 characters; kept in the journal.
    #[schema(min_length = 1, max_length = 200, example = "broken in the warehouse")]
    reason: String,
}

/// Adds or removes pieces for another reason than a sale.
#[utoipa::path(
    post, path = "/v1/products/{id}/stock/adjustments", tag = "stock",
    security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = SentAdjustment,
    responses(
        (status = 200, description = "The stock after the adjustment", body = StockView,
            headers(("ETag"), ("Idempotent-Replayed"))),
        (status = 409, description = "Stock would be negative or above the maximum",
            body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn adjust_stock(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    IdempotencyKey(key): IdempotencyKey,
    request: RequestContext,
    body: Json<SentAdjustment>,
) -> Result<Response, Problem> {
    let SentAdjustment { delta, reason } = body.value;
    check(delta, &reason).map_err(Problem::invalid)?;
    // A key stands for the product as well as for the body.
    let key = key.map(|key| {
        KeyedRequest::new(ROUTE, key, &[id.uuid().as_bytes().as_slice(), &body.bytes].concat())
    });
    let adjustment = Adjustment { seller, id, delta, reason, request, key };
    let Adjusted { stock, replayed } = change_stock::adjust(&app, adjustment).await?;
    let mut response = stock_response(&stock);
    if replayed {
        response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn check(delta: i64, reason: &str) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    if delta == 0 {
        faults.add("/delta", "must not be 0");
    }
    faults.check("/reason", text::check(reason, 200, Lines::One));
    faults.or(())
}
