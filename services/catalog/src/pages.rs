//! Pages that were given out a moment ago: who asks for the same one again gets it as it was.
//!
//! Promise: no page is given out again that is older than it may be, a second. What is read by its id
//! is never kept, so no reader who names a version sees an older one.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use moka::sync::Cache;

/// How long a page is given out again, and how long whoever got it may do the same.
pub const KEPT_FOR: Duration = Duration::from_secs(1);

/// The same, to others.
const CACHEABLE: &str = "public, max-age=1";

/// What all kept pages may take, in bytes.
const CAPACITY: u64 = 16 * 1024 * 1024;

/// What a page takes beside its body and its parameters, about.
const OVERHEAD: usize = 512;

/// Keeps pages by the parameters that they were asked for with. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages(Option<Cache<String, ReadyPage>>);

/// A page as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct ReadyPage {
    headers: HeaderMap,
    body: Bytes,
}

impl Pages {
    /// Keeps pages for `kept_for`.
    pub(crate) fn new(kept_for: Duration) -> Self {
        let weigh = |asked: &String, page: &ReadyPage| {
            u32::try_from(asked.len() + page.body.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(CAPACITY).weigher(weigh).time_to_live(kept_for);
        Self(Some(cache.build()))
    }

    pub(crate) fn find(&self, asked: &str) -> Option<ReadyPage> {
        self.0.as_ref()?.get(asked)
    }

    pub(crate) fn keep(&self, asked: &str, page: &ReadyPage) {
        if let Some(cache) = &self.0 {
            cache.insert(asked.to_owned(), page.clone());
        }
    }
}

impl ReadyPage {
    /// A page with the link to the next one.
    pub(crate) fn new(link: HeaderMap, json: Vec<u8>) -> Self {
        let mut headers = link;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHEABLE));
        Self { headers, body: json.into() }
    }
}

impl IntoResponse for ReadyPage {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.headers_mut() = self.headers;
        response
    }
}
