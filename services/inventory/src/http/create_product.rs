//! `POST /v1/products`

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::auth::Seller;
use shared::contract::product::Product;
use shared::door::{IdempotencyKey, Json};
use shared::problem::{Problem, ProblemDocument};
use shared::request::RequestContext;

use crate::App;
use crate::create::{Created, decide, outcome};
use crate::http::input::SentProduct;
use crate::http::product_response;
use crate::product::CreateProduct;
use crate::store::idempotency::KeyedRequest;
use crate::store::products::WriteError;

/// The route that an idempotency key of this endpoint belongs to.
const ROUTE: &str = "create_product";

pub(crate) static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Creates a product with its first stock.
#[utoipa::path(
    post, path = "/v1/products", tag = "products", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeat a request with the \
        same key and body, and it still has its effect once; kept for 24 hours")),
    request_body = SentProduct,
    responses(
        (status = 201, description = "Created, durably", body = Product, headers(
            ("Location"), ("ETag"), ("Idempotent-Replayed"))),
        (status = 409, description = "The SKU is taken", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create_product(
    State(app): State<App>,
    Seller(seller_id): Seller,
    IdempotencyKey(key): IdempotencyKey,
    request: RequestContext,
    body: Json<SentProduct>,
) -> Result<Response, Problem> {
    let command = CreateProduct::parse(body.value).map_err(Problem::invalid)?;
    let key = key.map(|key| KeyedRequest::new(ROUTE, key, &body.bytes));
    let row = decide(&app, command, seller_id, request, key)?;
    let inserted = match app.creates.insert(row.clone()).await {
        Ok(inserted) => inserted,
        Err(WriteError::SkuTaken | WriteError::KeyUsed) => false,
        Err(error) => return Err(error.into()),
    };
    app.committed.notify_one();
    Ok(created(&outcome(&app.pool, row, inserted).await?))
}

fn created(made: &Created) -> Response {
    let mut response = product_response(&made.product);
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/products/{}", made.product.id)) {
        headers.insert(header::LOCATION, location);
    }
    if made.replayed {
        headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    }
    response.into_response()
}
