//! `GET /v1/catalog/products`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::contract::listing::Availability;
use shared::http::page::{self, Limit, Page, PageInfo};
use shared::http::problem::{FieldError, INVALID_CURSOR, Problem, ProblemDocument};
use shared::http::{Query, optional_id};
use shared::money::{Currency, Money};
use uuid::Uuid;

use crate::App;
use crate::pages::ReadyPage;
use crate::store::card::Card;
use crate::store::queries::{GREATEST_AMOUNT, List, Order, Place, Scope};

/// The longest slug of a category, in bytes.
const MAX_SLUG: usize = 64;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// A slug; not together with `seller`.
    category: Option<String>,
    /// Not together with `category`.
    #[serde(default, deserialize_with = "optional_id")]
    seller: Option<Uuid>,
    /// ISO 4217; the marketplace's own unless said.
    currency: Option<Currency>,
    /// Minor units, included.
    #[param(minimum = 0)]
    price_min: Option<i64>,
    /// Minor units, included.
    #[param(minimum = 0)]
    price_max: Option<i64>,
    /// `true`: only what can be bought now; `false`: only what is sold out.
    in_stock: Option<bool>,
    #[param(inline)]
    sort: Option<Sort>,
    /// 1 to 100, 20 unless said.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
enum Sort {
    #[serde(rename = "price")]
    Cheapest,
    #[serde(rename = "-price")]
    Dearest,
    #[serde(rename = "-created_at")]
    Newest,
}

/// A product in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProductCard {
    id: Uuid,
    seller_id: Uuid,
    name: String,
    category: String,
    price: Money,
    in_stock: bool,
    version: i64,
    created_at: DateTime<Utc>,
}

impl From<Card> for ProductCard {
    fn from(card: Card) -> Self {
        Self {
            id: card.id,
            seller_id: card.seller_id,
            name: card.name,
            category: card.category,
            price: Money { amount: card.amount, currency: card.currency },
            in_stock: card.in_stock,
            version: card.product_version,
            created_at: card.created_at,
        }
    }
}

/// Lists products, newest first unless said.
///
/// A page may be older than the products by two seconds (one that it is kept here, and one that
/// `Cache-Control` lets others keep it) and the moments that an index lags. With `price_min` or
/// `price_max` in the order of creation, a page may be short and still have a next one.
#[utoipa::path(
    get, path = "/v1/catalog/products", tag = "catalogue",
    params(Filter),
    responses(
        (status = 200, description = "A page of products", body = Page<ProductCard>,
            headers(("Link"), ("Cache-Control"))),
        (status = 422, description = "The filters do not go together", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_products(State(app): State<App>, uri: Uri) -> Result<Response, Problem> {
    let asked = uri.query().unwrap_or_default();
    if let Some(page) = app.pages.find(asked) {
        return Ok(page.into_response());
    }
    let Query(filter) = Query::<Filter>::read(&uri)?;
    let (list, scope) = read(&filter, app.currency)?;
    let found = app.listings.list(&list, filter.limit.get()).await?;
    let next = found
        .next
        .map(|place| page::encode_cursor(&scope, &format!("{}#{}", place.amount, place.id)));
    let info = PageInfo::new(next);
    let link = info.link(uri.path(), uri.query());
    let data: Vec<ProductCard> = found.cards.into_iter().map(ProductCard::from).collect();
    let json = serde_json::to_vec(&Page { data, page: info }).map_err(Problem::internal)?;
    let page = ReadyPage::new(link, json);
    app.pages.keep(asked, &page);
    Ok(page.into_response())
}

/// The list that is asked for, and what its cursors belong to.
fn read(filter: &Filter, default_currency: Currency) -> Result<(List, String), Problem> {
    let mut faults = Vec::new();
    if filter.category.is_some() && filter.seller.is_some() {
        let detail = "cannot be together with seller";
        faults.push(FieldError::new("category", "invalid", detail));
    }
    let amounts = (filter.price_min.is_some() || filter.price_max.is_some()).then(|| {
        (filter.price_min.unwrap_or(0), filter.price_max.unwrap_or(i64::MAX).min(GREATEST_AMOUNT))
    });
    for (name, amount) in [("price_min", filter.price_min), ("price_max", filter.price_max)] {
        if amount.is_some_and(|amount| amount < 0) {
            faults.push(FieldError::new(name, "invalid", "must not be below 0"));
        }
    }
    if filter.category.as_ref().is_some_and(|category| category.len() > MAX_SLUG) {
        faults.push(FieldError::new("category", "invalid", "is no slug of a category"));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let scope = match (&filter.category, filter.seller) {
        (Some(category), _) => Scope::Category(category.clone()),
        (None, Some(seller)) => Scope::Seller(seller),
        (None, None) => Scope::All,
    };
    let mut list = List {
        scope,
        order: match filter.sort {
            None | Some(Sort::Newest) => Order::Newest,
            Some(Sort::Cheapest) => Order::Cheapest,
            Some(Sort::Dearest) => Order::Dearest,
        },
        currency: filter.currency.unwrap_or(default_currency),
        availability: filter.in_stock.map(|in_stock| {
            if in_stock { Availability::InStock } else { Availability::OutOfStock }
        }),
        amounts,
        after: None,
    };
    let scope = format!("catalogue#{list:?}");
    if let Some(cursor) = &filter.cursor {
        let key = page::decode_cursor(&scope, cursor)?;
        let place = key.split_once('#').and_then(|(amount, id)| {
            Some(Place { amount: amount.parse().ok()?, id: id.parse().ok()? })
        });
        let place = place.filter(|place| (0..=GREATEST_AMOUNT).contains(&place.amount));
        list.after =
            Some(place.ok_or_else(|| INVALID_CURSOR.because("the cursor cannot be read"))?);
    }
    Ok((list, scope))
}
