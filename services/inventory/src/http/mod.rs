//! The seller's API: one file an endpoint.

mod adjust_stock;
mod change_product;
mod create_product;
mod create_products;
mod delete_product;
mod get_outbox;
mod get_product;
mod get_stock;
mod list_products;
mod product_history;
mod restore_product;
mod set_stock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use shared::contract::product::Product;
use shared::contract::stock::Stock;
use shared::database;
use shared::failpoint;
use shared::http::etag;
use shared::http::problem::{Kind, Problem, STALE_VERSION};
use shared::http::request::RequestContext;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::App;
use crate::product::Refusal;
use crate::store::Cause;
use crate::store::products::{self, WriteError};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_product::create_product, list_products::list_products))
        .routes(routes!(create_products::create_products))
        .routes(routes!(
            get_product::get_product,
            change_product::change_product,
            delete_product::delete_product
        ))
        .routes(routes!(restore_product::restore_product))
        .routes(routes!(product_history::product_history))
        .routes(routes!(get_stock::get_stock, set_stock::set_stock))
        .routes(routes!(adjust_stock::adjust_stock))
        .routes(routes!(get_outbox::get_outbox))
}

pub(crate) use create_products::check as check_product;

/// The kinds of problems that only this service answers with.
pub static PROBLEMS: &[&Kind] = &[&SKU_TAKEN, &STOCK_BELOW_HELD, &STOCK_OUT_OF_RANGE];

static SKU_TAKEN: Kind = Kind {
    code: "sku_taken",
    status: 409,
    title: "The SKU is taken",
    explanation: "Another of your products that is not deleted has this `sku`. Take another one, or \
                  change or delete the product that has it: `GET /v1/products?sku=` finds it.",
};

static STOCK_BELOW_HELD: Kind = Kind {
    code: "stock_below_held",
    status: 409,
    title: "Buyers hold more than that",
    explanation: "`on_hand` cannot be set below what buyers hold at present. If pieces were lost, \
                  say so with an adjustment: it may go below, and flags the orders that it breaks.",
};

static STOCK_OUT_OF_RANGE: Kind = Kind {
    code: "stock_out_of_range",
    status: 409,
    title: "There would be less than nothing, or too much",
    explanation: "After the adjustment `on_hand` would be below 0 or above 10^9.",
};

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::SkuTaken => SKU_TAKEN.because("another of your products has this sku"),
            WriteError::Database(error) => error.into(),
            again @ (WriteError::KeyUsed | WriteError::Busy | WriteError::Silent) => {
                Self::unavailable(again)
            }
            lost @ WriteError::Lost => Self::internal(lost),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale { current } => stale(current),
            Refusal::Invalid(errors) => Self::invalid(errors),
        }
    }
}

fn stale(current: i64) -> Problem {
    STALE_VERSION.because(format!("the current version is {}", etag(current)))
}

fn cause(app: &App, actor: Uuid, request: RequestContext) -> Cause {
    let event_id = app.ids.next(request.requested_at);
    Cause { actor, event_id, request, reason: None }
}

/// How often somebody else may be faster before the product is locked.
const MAX_RACES: usize = 3;

/// A change of a product that is there.
struct Revision {
    seller_id: Uuid,
    id: Uuid,
    /// Whether a deleted product counts as there.
    even_deleted: bool,
    /// The journal's word for it.
    change: &'static str,
    request: RequestContext,
}

impl Revision {
    /// Makes of a product what `decide` says, unless that is nothing new. Where somebody else was
    /// faster it is decided anew, in the end behind a lock: so a named version is refused then, and
    /// any version is not.
    async fn make(
        self,
        app: &App,
        decide: impl Fn(&Product) -> Result<Option<Product>, Refusal>,
    ) -> Result<Product, Problem> {
        let cause = cause(app, self.seller_id, self.request);
        for _ in 0..MAX_RACES {
            let found = if self.even_deleted {
                products::find_even_deleted(&app.pool, self.seller_id, self.id).await?
            } else {
                products::find(&app.pool, self.seller_id, self.id).await?
            };
            let product = found.ok_or_else(Problem::not_found)?;
            let Some(revised) = decide(&product)? else { return Ok(product) };
            failpoint::reach("change.read").await;
            if products::update(&app.pool, &revised, self.change, &cause, self.even_deleted).await?
            {
                failpoint::reach("change.committed").await;
                app.committed.notify_one();
                return Ok(revised);
            }
        }
        let mut transaction = database::begin(&app.pool).await?;
        let locked = products::lock(&mut transaction, self.id).await?;
        failpoint::reach("change.locked").await;
        let own = locked.filter(|product| {
            product.seller_id == self.seller_id
                && (self.even_deleted || product.deleted_at.is_none())
        });
        let product = own.ok_or_else(Problem::not_found)?;
        let Some(revised) = decide(&product)? else { return Ok(product) };
        let (before, with_stock) = (product.version, self.even_deleted);
        if !products::replace(&mut *transaction, before, &revised, self.change, &cause, with_stock)
            .await?
        {
            return Err(Problem::internal("a locked product was changed by somebody else"));
        }
        failpoint::reach("change.written_behind_lock").await;
        transaction.commit().await?;
        failpoint::reach("change.committed_behind_lock").await;
        app.committed.notify_one();
        Ok(revised)
    }
}

/// A product with the `ETag` of its version.
fn product_response(product: &Product) -> Response {
    ([(header::ETAG, etag(product.version))], axum::Json(product)).into_response()
}

/// What the API says about stock.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Stock)]
struct StockView {
    /// Pieces that you have.
    on_hand: i64,
    /// Pieces of those that buyers hold.
    held: i64,
    /// Pieces that can still be bought.
    available: i64,
    /// Has nothing to do with the product's version.
    version: i64,
}

fn stock_response(stock: &Stock) -> Response {
    let view = StockView {
        on_hand: stock.on_hand,
        held: stock.held,
        available: stock.available(),
        version: stock.version,
    };
    ([(header::ETAG, etag(stock.version))], axum::Json(view)).into_response()
}
