//! `PUT /v1/products/{id}/stock`

use axum::extract::State;
use axum::response::Response;
use shared::http::problem::{FieldError, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IfMatch, Json, PathId};
use shared::id::{ProductId, Seller};

use crate::App;
use crate::change_stock;
use crate::http::input::SentStock;
use crate::http::responses::{StockView, stock_response};
use crate::stock::check_on_hand;

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
    seller: Seller,
    PathId(id): PathId<ProductId>,
    IfMatch(expected): IfMatch,
    request: RequestContext,
    body: Json<SentStock>,
) -> Result<Response, Problem> {
    let on_hand = check_on_hand(body.value.on_hand)
        .map_err(|fault| Problem::invalid(vec![FieldError::new("/on_hand", "invalid", fault)]))?;
    let stock = change_stock::set(&app, seller, id, on_hand, &expected, request).await?;
    Ok(stock_response(&stock))
}
