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
use crate::http::answers::{StockView, stock_response};
use crate::http::input::SentStock;
use crate::stock as rules;
use crate::store::{doing, stock};

/// Sets the pieces on hand of one of your products, as after a count.
#[utoipa::path(
    put, path = "/v1/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path),
        ("If-Match" = String, Header, description = "The `ETag` of the stock, not of the product"),
    ),
    request_body = SentStock,
    responses(
        (status = 200, description = "The stock after the change", body = StockView,
            headers(("ETag"))),
        (status = 409, description = "New stock is below the held quantity", body = ProblemDocument,
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
    let cause = app.cause(seller_id, request);
    let begun = database::begin(&app.pool).await;
    let mut transaction = begun.map_err(doing("beginning a change of inventory.stock"))?;
    let current =
        stock::lock(&mut transaction, seller_id, id).await?.ok_or_else(Problem::not_found)?;
    failpoint::reach("set_stock.locked").await;
    let Some(counted) = rules::set(&current, on_hand, &expected.into(), app.clock.now())? else {
        return Ok(stock_response(&current));
    };
    if !stock::update(&mut transaction, id, &counted, "set", &cause, None).await? {
        return Err(Problem::internal("a locked stock was changed concurrently"));
    }
    failpoint::reach("set_stock.written").await;
    let committed = transaction.commit().await;
    committed.map_err(doing("committing a change of inventory.stock"))?;
    failpoint::reach("set_stock.committed").await;
    app.committed.notify_one();
    Ok(stock_response(&counted))
}
