//! A cache of pages of lists, for identical requests that arrive within a second.
//!
//! Promise: no cached page is older than a second. Reads by id are never cached, so that a reader that
//! names a version never sees an older one.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use moka::sync::Cache;

/// How long a page is cached here, and how long clients may cache it.
pub const KEPT_FOR: Duration = Duration::from_secs(1);

/// The same as a header.
const CACHEABLE: &str = "public, max-age=1";

/// Size of all cached pages, in bytes.
const CAPACITY: u64 = 16 * 1024 * 1024;

/// Approximate size of a cached page without its body and its query, in bytes.
const OVERHEAD: usize = 512;

/// Caches pages by their query string. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages(Option<Cache<String, ReadyPage>>);

/// A serialised page with its headers.
#[derive(Clone, Debug)]
pub(crate) struct ReadyPage {
    headers: HeaderMap,
    body: Bytes,
}

impl Pages {
    /// Caches pages for `kept_for`.
    pub(crate) fn new(kept_for: Duration) -> Self {
        let weigh = |query: &String, page: &ReadyPage| {
            u32::try_from(query.len() + page.body.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(CAPACITY).weigher(weigh).time_to_live(kept_for);
        Self(Some(cache.build()))
    }

    pub(crate) fn find(&self, query: &str) -> Option<ReadyPage> {
        self.0.as_ref()?.get(query)
    }

    pub(crate) fn keep(&self, query: &str, page: &ReadyPage) {
        if let Some(cache) = &self.0 {
            cache.insert(query.to_owned(), page.clone());
        }
    }
}

impl ReadyPage {
    /// A page with the link to the next page.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn page_that_is_requested_all_the_time_expires() {
        let pages = Pages::new(Duration::from_millis(100));
        pages.keep("limit=2", &ReadyPage::new(HeaderMap::new(), b"{}".to_vec()));
        // Real time: the cache has a clock of its own. The limit ends a hang.
        let kept = Instant::now();
        while pages.find("limit=2").is_some() {
            assert!(kept.elapsed() < Duration::from_secs(30), "each request extends its life");
        }
    }

    #[test]
    fn cached_pages_take_sixteen_megabytes_at_most() {
        const MOST: usize = 16 << 20;
        for (count, query, body) in [(400, 10, 64 << 10), (40_000, 10, 0), (10_000, 2_000, 0)] {
            let pages = Pages::new(Duration::from_hours(1));
            let page = ReadyPage::new(HeaderMap::new(), vec![b' '; body]);
            let query = |nth: u32| format!("{nth:query$}");
            for nth in 0..count {
                pages.keep(&query(nth), &page);
            }
            pages.0.as_ref().unwrap().run_pending_tasks();
            let kept = (0..count).filter(|nth| pages.find(&query(*nth)).is_some()).count();
            // A page takes some memory even if it is empty.
            let bytes = kept * (body + query(0).len() + 500);
            assert!((MOST / 2..=MOST).contains(&bytes), "{bytes} bytes of {kept} pages");
        }
    }
}
