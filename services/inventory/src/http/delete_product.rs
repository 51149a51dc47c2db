//! `DELETE /v1/products/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use shared::http::problem::Problem;
use shared::http::request::RequestContext;
use shared::http::{IfMatch, PathId};
use shared::id::{ProductId, Seller};

use crate::App;
use crate::product::{self, Product};
use crate::revise::Revision;

/// Deletes one of your products.
///
/// The product can be restored. Until then another product may use its SKU.
#[utoipa::path(
    delete, path = "/v1/products/{id}", tag = "products", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path),
        ("If-Match" = String, Header, description = "The `ETag` of the version to delete"),
    ),
    responses(
        (status = 204, description = "Deleted"),
    ),
)]
pub(crate) async fn delete_product(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    IfMatch(expected): IfMatch,
    request: RequestContext,
) -> Result<StatusCode, Problem> {
    let revision = Revision { seller, id, including_deleted: false, change: "deleted", request };
    let decide = |product: &Product| product::delete(product, &expected, app.clock.now()).map(Some);
    revision.apply(&app, decide).await?;
    Ok(StatusCode::NO_CONTENT)
}
