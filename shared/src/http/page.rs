//! Pagination: a limit and a cursor, independent of the store.

use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};

use crate::http::problem::{self, Problem};

/// Number of items in a page: 1 to 100, 20 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    pub const MAX: u16 = 100;

    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u16::deserialize(deserializer)
            .map_err(|_| de::Error::custom("limit must be a whole number from 1 to 100"))?;
        if (1..=Self::MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(de::Error::custom("limit must be a whole number from 1 to 100"))
        }
    }
}

/// Pagination data of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PageInfo {
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
    pub has_more: bool,
}

impl PageInfo {
    pub fn new(next_cursor: Option<String>) -> Self {
        Self { has_more: next_cursor.is_some(), next_cursor }
    }

    /// `Link: <..>; rel="next"` (RFC 8288) for the list at `path`, with the query of the request.
    pub fn link(&self, path: &str, query: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(cursor) = &self.next_cursor else {
            return headers;
        };
        let mut next = format!("<{path}?");
        for pair in query.unwrap_or_default().split('&') {
            if !pair.is_empty() && !pair.starts_with("cursor=") {
                next.push_str(pair);
                next.push('&');
            }
        }
        next.push_str("cursor=");
        next.push_str(cursor);
        next.push_str(">; rel=\"next\"");
        if let Ok(value) = HeaderValue::from_str(&next) {
            headers.insert(header::LINK, value);
        }
        headers
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub page: PageInfo,
}

/// A requested page: its size and where it starts.
#[derive(Clone, Debug)]
pub struct PageRequest<'a> {
    scope: &'a str,
    limit: usize,
}

impl<'a> PageRequest<'a> {
    /// `scope` names the list and its filters.
    pub fn new(scope: &'a str, limit: Limit) -> Self {
        Self { scope, limit: limit.get() }
    }

    /// The sort key after which the page starts; `None` for the first page.
    pub fn after<K: FromStr>(&self, cursor: Option<&str>) -> Result<Option<K>, Problem> {
        cursor
            .map(|cursor| {
                let key = decode_cursor(self.scope, cursor)?;
                key.parse().map_err(|_| problem::INVALID_CURSOR.because("the cursor is damaged"))
            })
            .transpose()
    }

    /// Number of items to read: one more than the page shows, to know whether another follows.
    pub fn items_to_read(&self) -> i64 {
        i64::try_from(self.limit + 1).unwrap_or(i64::MAX)
    }

    /// Builds the response to a request for `uri` from the items read.
    pub fn respond<T: Serialize, K: ToString>(
        &self,
        uri: &Uri,
        mut data: Vec<T>,
        key_of: impl Fn(&T) -> K,
    ) -> Response {
        let has_more = data.len() > self.limit;
        data.truncate(self.limit);
        let last = data.last().filter(|_| has_more);
        let cursor = last.map(|last| encode_cursor(self.scope, &key_of(last).to_string()));
        let page = PageInfo::new(cursor);
        (page.link(uri.path(), uri.query()), axum::Json(Page { data, page })).into_response()
    }
}

/// Version of the cursor format.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    v: u8,
    /// Digest of the list and its filters, so that a cursor is refused with others.
    f: u64,
    /// The sort key of the last item returned.
    k: String,
}

/// Makes the cursor that continues after the sort key `last`.
pub fn encode_cursor(filter: &str, last: &str) -> String {
    let cursor = Cursor { v: VERSION, f: hash(filter), k: last.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

/// Decodes the sort key to continue after. The caller validates its form.
pub fn decode_cursor(filter: &str, cursor: &str) -> Result<String, Problem> {
    let refuse = || problem::INVALID_CURSOR.because("the cursor is damaged");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refuse())?;
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
    if cursor.v != VERSION {
        return Err(refuse());
    }
    if cursor.f != hash(filter) {
        return Err(problem::INVALID_CURSOR
            .because("the cursor belongs to another list or to other filters"));
    }
    Ok(cursor.k)
}

fn hash(filter: &str) -> u64 {
    let digest = Sha256::digest(filter.as_bytes());
    digest.iter().take(6).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_whole_number_from_1_to_100() {
        let limit = |text: &str| serde_json::from_str::<Limit>(text).map(Limit::get).ok();
        assert_eq!(["1", "20", "100"].map(limit), [Some(1), Some(20), Some(100)]);
        assert_eq!(["0", "101", "-1", "1.5", "\"5\""].map(limit), [None; 5]);
        assert_eq!(Limit::default().get(), 20);
    }

    #[tokio::test]
    async fn page_has_a_cursor_only_if_another_item_was_read() {
        let page = PageRequest::new("numbers", Limit(3));
        assert_eq!(page.items_to_read(), 4);
        let uri = Uri::from_static("/numbers?limit=3");
        for (read, shown, last) in
            [(vec![5, 7], 2, None), (vec![5, 7, 8], 3, None), (vec![5, 7, 8, 9], 3, Some(8))]
        {
            let response = page.respond(&uri, read.clone(), |number: &i64| *number);
            assert_eq!(response.headers().contains_key(header::LINK), last.is_some(), "{read:?}");
            let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
            let body: Page<i64> = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body.data[..], body.page.has_more), (&read[..shown], last.is_some()));
            let cursor = body.page.next_cursor;
            assert_eq!(page.after::<i64>(cursor.as_deref()).unwrap(), last, "{read:?}");
        }
    }

    /// A cursor stays valid across releases: clients may have kept it.
    #[test]
    fn cursor_has_the_digest_of_its_filter() {
        assert_eq!(hash("a=1"), 213_511_051_244_584);
    }

    #[test]
    fn cursor_round_trips() {
        assert_eq!(decode_cursor("a=1", &encode_cursor("a=1", "0007#x")).unwrap(), "0007#x");
    }

    #[test]
    fn cursor_of_another_filter_is_refused() {
        let problem = decode_cursor("a=2", &encode_cursor("a=1", "0007#x")).unwrap_err();
        assert_eq!(problem.kind, &problem::INVALID_CURSOR);
    }

    #[test]
    fn damaged_cursor_is_refused() {
        let good = encode_cursor("a=1", "0007#x");
        for broken in ["", "x", "%%%", &good[1..], &good[..good.len() - 2]] {
            let problem = decode_cursor("a=1", broken).unwrap_err();
            assert_eq!(problem.kind, &problem::INVALID_CURSOR, "{broken}");
        }
    }

    #[test]
    fn next_link_keeps_filters_and_replaces_cursor() {
        let page = PageInfo::new(Some("NEW".into()));
        let link = page.link("/v1/catalog/products", Some("category=shoes&cursor=OLD&limit=5"));
        assert_eq!(
            link[header::LINK],
            "</v1/catalog/products?category=shoes&limit=5&cursor=NEW>; rel=\"next\""
        );
    }
}
