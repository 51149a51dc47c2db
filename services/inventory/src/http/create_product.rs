//! `POST /v1/products`

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IdempotencyKey, Json};
use shared::id::Seller;

use crate::App;
use crate::create::{self, Created};
use crate::http::input::SentProduct;
use crate::http::responses::{ProductView, product_response};
use crate::product::CreateProduct;
use crate::store::idempotency::KeyedRequest;

/// The route that an idempotency key of this endpoint belongs to.
const ROUTE: &str = "create_product";

pub(crate) static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Creates a product with its first stock.
#[utoipa::path(
    post, path = "/v1/products", tag = "products", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A request \
        that is retried with the same key and body takes effect once. Keys are kept for 24 hours")),
    request_body = SentProduct,
    responses(
        (status = 201, description = "The created product, stored durably", body = ProductView, headers(
            ("Location"), ("ETag"), ("Idempotent-Replayed"))),
        (status = 409, description = "The SKU is taken", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create_product(
    State(app): State<App>,
    seller: Seller,
    IdempotencyKey(key): IdempotencyKey,
    request: RequestContext,
    body: Json<SentProduct>,
) -> Result<Response, Problem> {
    let command = CreateProduct::check(body.value.into()).map_err(Problem::invalid)?;
    let key = key.map(|key| KeyedRequest::new(ROUTE, key, &body.bytes));
    let row = create::decide(&app, command, seller, request, key)?;
    Ok(created(create::create_one(&app, row).await?))
}

fn created(created: Created) -> Response {
    let location = HeaderValue::from_str(&format!("/v1/products/{}", created.product.id));
    let mut response = product_response(created.product);
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    if let Ok(location) = location {
        headers.insert(header::LOCATION, location);
    }
    if created.replayed {
        headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    }
    response
}
