//! `DELETE /v1/products/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use shared::auth::Seller;
use shared::door::{IfMatch, PathId};
use shared::problem::{Problem, ProblemDocument};
use shared::request::RequestContext;

use crate::App;
use crate::http::{cause, stale};
use crate::product;
use crate::store::products;

/// Deletes one of your products. It can be restored; its SKU is free meanwhile.
#[utoipa::path(
    delete, path = "/v1/products/{id}", tag = "products", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path),
        ("If-Match" = String, Header, description = "The `ETag` of the version to delete"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete_product(
    State(app): State<App>,
    Seller(seller_id): Seller,
    PathId(id): PathId,
    IfMatch(expected): IfMatch,
    request: RequestContext,
) -> Result<StatusCode, Problem> {
    let product = products::find(&app.pool, seller_id, id).await?.ok_or_else(Problem::not_found)?;
    let deleted = product::delete(&product, expected, app.clock.now())?;
    let cause = cause(&app, seller_id, request);
    if !products::update(&app.pool, &deleted, "deleted", &cause).await? {
        return Err(stale(deleted.version));
    }
    app.committed.notify_one();
    Ok(StatusCode::NO_CONTENT)
}
