//! `GET /v1/catalog/products`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::contract::listing::Availability;
use shared::http::page::{self, Limit, Page, PageInfo};
use shared::http::problem::{FieldError, INVALID_CURSOR, Problem, ProblemDocument};
use shared::http::{Query, optional_id};
use shared::id::SellerId;
use shared::money::Currency;

use crate::App;
use crate::pages::ReadyPage;
use crate::store::card::ProductCard;
use crate::store::queries::{GREATEST_AMOUNT, List, Order, Place, Scope};

/// The longest slug of a category, in bytes.
const MAX_SLUG: usize = 64;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Slug of a category. Cannot be combined with `seller`.
    category: Option<String>,
    /// Id of a seller. Cannot be combined with `category`.
    #[serde(default, deserialize_with = "optional_id")]
    #[param(value_type = Option<Uuid>)]
    seller: Option<SellerId>,
    /// ISO 4217 code. Defaults to the currency of the marketplace.
    currency: Option<Currency>,
    /// Lowest price in minor units, inclusive.
    #[param(minimum = 0)]
    price_min: Option<i64>,
    /// Highest price in minor units, inclusive.
    #[param(minimum = 0)]
    price_max: Option<i64>,
    /// `true` for products that can be bought now, `false` for products that are sold out.
    in_stock: Option<bool>,
    #[param(inline)]
    sort: Option<Sort>,
    /// Products per page, 1 to 100. Defaults to 20.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the previous page.
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

/// Lists products, newest first by default.
///
/// A page may lag behind the products by two seconds, plus the short delay of an index: the service
/// caches a page for one second, and `Cache-Control` allows others to cache it for another. With
/// `price_min` or `price_max` in order of creation, a page may be short and still have a next page.
#[utoipa::path(
    get, path = "/v1/catalog/products", tag = "catalogue",
    params(Filter),
    responses(
        (status = 200, description = "A page of products", body = Page<ProductCard>,
            headers(("Link"), ("Cache-Control"))),
        (status = 422, description = "The filters are invalid or cannot be combined", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_products(State(app): State<App>, uri: Uri) -> Result<Response, Problem> {
    let query = uri.query().unwrap_or_default();
    if let Some(page) = app.pages.find(query) {
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
    let json =
        serde_json::to_vec(&Page { data: found.cards, page: info }).map_err(Problem::internal)?;
    let page = ReadyPage::new(link, json);
    app.pages.keep(query, &page);
    Ok(page.into_response())
}

/// The requested list, and the scope that its cursors are bound to.
fn read(filter: &Filter, default_currency: Currency) -> Result<(List, String), Problem> {
    let mut faults = Vec::new();
    if filter.category.is_some() && filter.seller.is_some() {
        let detail = "cannot be combined with seller";
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
        faults.push(FieldError::new("category", "invalid", "is not a valid category slug"));
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
    // Part of every cursor: renaming a variant or a field of `List` invalidates cursors in use.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(sort: Option<Sort>, cursor: Option<String>) -> Filter {
        Filter {
            category: None,
            seller: None,
            currency: None,
            price_min: None,
            price_max: None,
            in_stock: None,
            sort,
            limit: Limit::default(),
            cursor,
        }
    }

    #[test]
    fn forged_place_in_a_cursor_is_refused() {
        let id = "01890000-0000-7000-8000-000000000001";
        let last = "ffffffff-ffff-ffff-ffff-ffffffffffff";
        for sort in [None, Some(Sort::Cheapest), Some(Sort::Dearest), Some(Sort::Newest)] {
            let (list, scope) = read(&filter(sort, None), Currency::default()).unwrap();
            assert_eq!(list.after, None);
            let after = |key: &str| {
                let cursor = Some(page::encode_cursor(&scope, key));
                read(&filter(sort, cursor), Currency::default())
            };
            for key in [
                format!("{}#{last}", i64::MAX),
                format!("10000000000000#{id}"),
                format!("-1#{id}"),
                format!("9223372036854775808#{id}"),
                format!("x#{id}"),
                format!("#{id}"),
                "5#x".to_owned(),
                "5#".to_owned(),
                "5".to_owned(),
                "#".to_owned(),
                String::new(),
                id.to_owned(),
            ] {
                let problem = after(&key).expect_err(&key);
                assert_eq!(problem.kind.code, "invalid_cursor", "{key}");
                assert_eq!(problem.detail, "the cursor cannot be read", "{key}");
            }
            for (amount, id) in [(0, id), (5, id), (9_999_999_999_999, last)] {
                let (list, _) = after(&format!("{amount}#{id}")).unwrap();
                assert_eq!(list.after, Some(Place { amount, id: id.parse().unwrap() }));
            }
        }
    }
}
