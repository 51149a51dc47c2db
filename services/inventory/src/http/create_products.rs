//! `POST /v1/products/batch`

use axum::extract::State;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::http::MAX_BODY;
use shared::http::problem::{self, FieldError, Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{self, IdempotencyKey, LargeJson};
use shared::id::{ProductId, Seller, SellerId};

use crate::App;
use crate::create::{self, Created};
use crate::http::input::SentProduct;
use crate::http::responses::ProductView;
use crate::product::{self, CreateProduct};
use crate::store::idempotency::KeyedRequest;

/// The route that an idempotency key of this endpoint belongs to.
const ROUTE: &str = "create_products";

const MAX_ITEMS: usize = 100;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// 1 to 100 products. Each is validated separately, so an invalid one does not affect the others.
    #[schema(value_type = Vec<SentProduct>, min_items = 1, max_items = 100)]
    items: Vec<Box<RawValue>>,
}

/// The results of a batch.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchResults {
    /// One result for each item, in order.
    pub results: Vec<ItemResult>,
}

/// The result of an item of a batch.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ItemResult {
    /// The status that a request with this item alone would have.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub product: Option<ProductView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<ProblemDocument>,
    /// Present if an earlier request with the same key created the product.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// Creates up to 100 products, each with its own result.
///
/// An `Idempotency-Key` applies to each item by its position in the batch.
#[utoipa::path(
    post, path = "/v1/products/batch", tag = "products", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Batch,
    responses(
        (status = 200, description = "A result for each item, in order", body = BatchResults),
    ),
)]
pub(crate) async fn create_products(
    State(app): State<App>,
    seller: Seller,
    IdempotencyKey(key): IdempotencyKey,
    request: RequestContext,
    LargeJson(batch): LargeJson<Batch>,
) -> Result<axum::Json<BatchResults>, Problem> {
    let items = batch.items;
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        let detail = format!("must have 1 to {MAX_ITEMS} items");
        return Err(Problem::invalid(vec![FieldError::new("/items", "invalid", detail)]));
    }
    let mut results: Vec<Option<Result<Created, Problem>>> = Vec::with_capacity(items.len());
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for (place, item) in items.iter().enumerate() {
        let key = key
            .as_ref()
            .map(|key| KeyedRequest::new(ROUTE, format!("{key}#{place}"), item.get().as_bytes()));
        let row = read(item.get().as_bytes()).and_then(|command| {
            create::decide(&app, command, seller, request.clone(), key).map_err(Problem::from)
        });
        match row {
            Ok(row) => {
                rows.push(row);
                places.push(place);
                results.push(None);
            }
            Err(problem) => results.push(Some(Err(problem))),
        }
    }
    if !rows.is_empty() {
        let created = create::create_batch(&app.pool, rows).await?;
        app.committed.notify_one();
        for (place, created) in places.into_iter().zip(created) {
            results[place] = Some(created.map_err(Problem::from));
        }
    }
    let results = results
        .into_iter()
        .map(|result| {
            let missing = || Err(Problem::internal("an item of a batch got no result"));
            item_result(result.unwrap_or_else(missing), &request)
        })
        .collect();
    Ok(axum::Json(BatchResults { results }))
}

fn read(item: &[u8]) -> Result<CreateProduct, Problem> {
    if item.len() > MAX_BODY {
        return Err(problem::PAYLOAD_TOO_LARGE.because("an item may have 64 KiB"));
    }
    let sent: SentProduct = http::parse(item)?;
    CreateProduct::check(sent.into()).map_err(Problem::invalid)
}

/// Checks an item as far as that is possible without the store.
pub(crate) fn check(item: &[u8]) -> Result<(), Problem> {
    let command = read(item)?;
    product::create(command, SellerId::nil(), ProductId::nil(), DateTime::UNIX_EPOCH)?;
    Ok(())
}

fn item_result(result: Result<Created, Problem>, request: &RequestContext) -> ItemResult {
    match result {
        Ok(Created { product, replayed }) => {
            ItemResult { status: 201, product: Some(product.into()), problem: None, replayed }
        }
        Err(problem) => {
            problem.log();
            ItemResult {
                status: problem.kind.status,
                product: None,
                problem: Some(problem.to_document(Some(request.id))),
                replayed: false,
            }
        }
    }
}
