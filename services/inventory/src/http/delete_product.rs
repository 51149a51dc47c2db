//! `DELETE /v1/products/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use shared::http::auth::Seller;
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IfMatch, PathId};

use crate::App;
use crate::http::Revision;
use crate::product;

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
    let change = "deleted";
    let revision = Revision { seller_id, id, even_deleted: false, change, request };
    let now = || app.clock.now();
    revision.make(&app, |product| product::delete(product, &expected, now()).map(Some)).await?;
    Ok(StatusCode::NO_CONTENT)
}
