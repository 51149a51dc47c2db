//! `PUT /v1/products/{id}/stock`

use axum::extract::State;
use axum::response::Response;
use shared::database;
use shared::failpoint;
use shared::http::auth::Seller;
use shared::http::problem::{FieldError, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IfMatch, Json, PathId};

use crate::App;
use crate::http::{STOCK_BELOW_HELD, STOCK_OUT_OF_RANGE, StockView, cause, stale, stock_response};
use crate::stock::{self as rules, Refusal, SentStock};
use crate::store::stock;

/// Sets what there is of one of your products, as after counting.
#[utoipa::path(
    put, path = "/v1/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path),
        ("If-Match" = String, Header, description = "The `ETag` of the stock, not the product's"),
    ),
    request_body = SentStock,
    responses(
        (status = 200, description = "The stock as it is now", body = StockView,
            headers(("ETag"))),
        (status = 409, description = "Buyers hold more than that", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_stock(
    State(app): State<App>,
    Seller(seller_id): Seller,
    PathId(id): PathId,
    IfMatch(expected): IfMatch,
    request: RequestContext,
    body: Json<SentStock>,
) -> Result<Response, Problem> {
    let on_hand = rules::check_on_hand(body.value.on_hand)
        .map_err(|fault| Problem::invalid(vec![FieldError::new("/on_hand", "invalid", fault)]))?;
    let cause = cause(&app, seller_id, request);
    let mut transaction = database::begin(&app.pool).await?;
    let current =
        stock::lock(&mut transaction, seller_id, id).await?.ok_or_else(Problem::not_found)?;
    failpoint::reach("set_stock.locked").await;
    let Some(counted) = rules::set(&current, on_hand, &expected, app.clock.now())? else {
        return Ok(stock_response(&current));
    };
    if !stock::update(&mut transaction, id, &counted, "set", &cause, None).await? {
        return Err(Problem::internal("a locked stock was changed by somebody else"));
    }
    failpoint::reach("set_stock.written").await;
    transaction.commit().await?;
    failpoint::reach("set_stock.committed").await;
    app.committed.notify_one();
    Ok(stock_response(&counted))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale { current } => stale(current),
            Refusal::BelowHeld { held } => {
                STOCK_BELOW_HELD.because(format!("buyers hold {held} at present"))
            }
            Refusal::OutOfRange { would_be } => {
                STOCK_OUT_OF_RANGE.because(format!("on_hand would be {would_be}"))
            }
        }
    }
}
