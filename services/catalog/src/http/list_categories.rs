//! `GET /v1/catalog/categories`

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::http::problem::Problem;

use crate::App;
use crate::store::categories;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Categories {
    data: Vec<Category>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Category {
    #[schema(example = "shoes")]
    slug: String,
}

/// Lists the categories in use. The next reconciliation removes a category without products.
#[utoipa::path(
    get, path = "/v1/catalog/categories", tag = "catalogue",
    responses(
        (status = 200, description = "The categories in alphabetical order", body = Categories),
    ),
)]
pub(crate) async fn list_categories(State(app): State<App>) -> Result<Response, Problem> {
    let slugs = categories::list(&app.listings).await?;
    let data = slugs.into_iter().map(|slug| Category { slug }).collect();
    let cache = [(header::CACHE_CONTROL, "public, max-age=10")];
    Ok((cache, axum::Json(Categories { data })).into_response())
}
