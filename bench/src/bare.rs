//! The ceiling of HTTP: a server that only routes and writes JSON.

use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::Serialize;
use vitrina::console::exit::OK;
use vitrina::console::output::print;

use crate::server;

/// A product card as the catalogue returns it.
#[derive(Clone, Serialize)]
struct Card {
    id: String,
    seller_id: String,
    name: String,
    category: String,
    price: Price,
    in_stock: bool,
    version: u64,
    created_at: &'static str,
}

#[derive(Clone, Serialize)]
struct Price {
    amount: u64,
    currency: &'static str,
}

#[derive(Serialize)]
struct Page<'a> {
    data: &'a [Card],
    page: Info,
}

#[derive(Serialize)]
struct Info {
    next_cursor: &'static str,
    has_more: bool,
}

fn card(number: u64) -> Card {
    Card {
        id: format!("019b0000-0000-7000-8000-{number:012}"),
        seller_id: format!("019b0000-0000-7000-9000-{:012}", number % 7),
        name: format!("Product {number:07} blue widget"),
        category: format!("cat-{}", number % 50),
        price: Price { amount: 1990 + number, currency: "BRL" },
        in_stock: true,
        version: 1,
        created_at: "2026-01-01T00:00:00.000000Z",
    }
}

/// Serves `/hello` and `/list` on a free port until the parent process ends.
pub(crate) async fn run() -> anyhow::Result<u8> {
    server::end_with_parent();
    let cards: Vec<Card> = (0..20).map(card).collect();
    let list = move || {
        let info = Info { next_cursor: "eyJ2IjoxLCJmIjoxMjM0NTY3ODkwLCJrIjoiMCJ9", has_more: true };
        // Serialised for each request, like items from a store.
        let response = Json(Page { data: &cards, page: info }).into_response();
        async move { response }
    };
    let router = Router::new().route("/hello", get(|| async { "hello" })).route("/list", get(list));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    print(&format!("ready http://{}", listener.local_addr()?))?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(OK)
}
