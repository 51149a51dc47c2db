//! `GET /v1/products/{id}/history`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::contract::product::Product;
use shared::http::auth::Seller;
use shared::http::page::{Asked, Limit, Page};
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::{PathId, Query};

use crate::App;
use crate::http::product_response;
use crate::store::journal::{self, Entry};
use crate::store::products;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Answers the product as it was at this time (RFC 3339), instead of the list.
    as_of: Option<DateTime<Utc>>,
    /// 1 to 100, 20 unless said.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A list, or what there was at a time.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the two answers of one address")]
#[serde(untagged)]
enum History {
    Versions(Page<Entry>),
    AsOf(Product),
}

/// Lists who changed what and when: every version of one of your products, oldest first, also of
/// one that is deleted.
#[utoipa::path(
    get, path = "/v1/products/{id}/history", tag = "products", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Filter),
    responses(
        (status = 200, description = "A page of versions; with `as_of`, the product itself",
            body = History, headers(("Link"))),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn product_history(
    State(app): State<App>,
    Seller(seller_id): Seller,
    PathId(id): PathId,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    products::find_even_deleted(&app.pool, seller_id, id).await?.ok_or_else(Problem::not_found)?;
    if let Some(at) = filter.as_of {
        let entry = journal::find_as_of(&app.pool, id, at).await?.ok_or_else(Problem::not_found)?;
        return Ok(product_response(&entry.product));
    }
    let scope = format!("history#{id}");
    let asked = Asked::new(&scope, filter.limit);
    let after = asked.after(filter.cursor.as_deref())?.unwrap_or(0);
    let found = journal::list(&app.pool, id, after, asked.to_read()).await?;
    Ok(asked.answer(&uri, found, |entry| entry.version))
}
