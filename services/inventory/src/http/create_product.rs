//! `POST /v1/products`

use std::collections::HashSet;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::contract::product::Product;
use shared::failpoint;
use shared::http::auth::Seller;
use shared::http::problem::{self, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IdempotencyKey, Json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::App;
use crate::http::{SKU_TAKEN, cause, product_response};
use crate::product::{self, CreateProduct};
use crate::sent::SentProduct;
use crate::store::idempotency::{self, KeyedRequest};
use crate::store::journal;
use crate::store::products::{self, NewRow, WriteError};

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

/// What became of a product that was to be created.
pub(crate) struct Created {
    pub(crate) product: Product,
    /// Whether an earlier request with the same key had created it.
    pub(crate) replayed: bool,
}

pub(crate) fn decide(
    app: &App,
    command: CreateProduct,
    seller_id: Uuid,
    request: RequestContext,
    key: Option<KeyedRequest>,
) -> Result<NewRow, Problem> {
    let now = app.clock.now();
    let (product, stock) = product::create(command, seller_id, app.ids.next(now), now)?;
    Ok(NewRow { product, stock, cause: cause(app, seller_id, request), key })
}

/// Inserts rows together, each with its own result. Where a sku comes again among them, what becomes
/// of the first decides.
pub(crate) async fn insert(
    pool: &PgPool,
    rows: Vec<NewRow>,
) -> Result<Vec<Result<Created, Problem>>, Problem> {
    let mut skus = HashSet::with_capacity(rows.len());
    let is_first: Vec<bool> = rows.iter().map(|row| skus.insert(&*row.product.sku)).collect();
    let (first, again): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(nth, _)| is_first[*nth]);
    let (places, rows): (Vec<usize>, Vec<NewRow>) = first.into_iter().unzip();
    let inserted = insert_distinct(pool, &rows).await?;
    let mut made = Vec::with_capacity(is_first.len());
    for ((nth, row), inserted) in places.into_iter().zip(rows).zip(inserted) {
        made.push((nth, outcome(pool, row, inserted).await));
    }
    for (nth, row) in again {
        let inserted = insert_distinct(pool, std::slice::from_ref(&row)).await? == [true];
        made.push((nth, outcome(pool, row, inserted).await));
    }
    made.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

/// Inserts rows that have neither a sku nor a key in common, and says of each whether it was.
async fn insert_distinct(pool: &PgPool, rows: &[NewRow]) -> Result<Vec<bool>, WriteError> {
    // Where somebody took a sku or used a key at the same moment, the next statement sees it.
    for _ in 0..2 {
        let inserted = products::insert(pool, rows).await;
        failpoint::reach("batch.committed").await;
        match inserted {
            Err(WriteError::SkuTaken | WriteError::KeyUsed) => {}
            result => return result,
        }
    }
    let mut inserted = Vec::with_capacity(rows.len());
    for row in rows {
        inserted.push(match products::insert(pool, std::slice::from_ref(row)).await {
            Err(WriteError::SkuTaken | WriteError::KeyUsed) => false,
            result => result? == [true],
        });
    }
    Ok(inserted)
}

async fn outcome(pool: &PgPool, row: NewRow, inserted: bool) -> Result<Created, Problem> {
    if inserted {
        Ok(Created { product: row.product, replayed: false })
    } else {
        explain(pool, row).await
    }
}

/// Why a row was not inserted: its key was used before, and then the first answer is given again;
/// or its sku is taken.
async fn explain(pool: &PgPool, row: NewRow) -> Result<Created, Problem> {
    let taken =
        || SKU_TAKEN.because(format!("another of your products has the sku {:?}", row.product.sku));
    let Some(key) = &row.key else {
        return Err(taken());
    };
    let Some(used) = idempotency::find(pool, row.cause.actor, key).await? else {
        return Err(taken());
    };
    if used.request_hash != key.hash {
        return Err(problem::IDEMPOTENCY_KEY_REUSED.because(""));
    }
    let product = journal::find_product(pool, used.aggregate_id, used.version).await?;
    let product =
        product.ok_or_else(|| Problem::internal("the journal lost what a key points at"))?;
    Ok(Created { product, replayed: true })
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
