//! The documentation of the API: `/openapi.json`, `/docs`, and a page for each kind of problem.
//!
//! Everything is rendered from the OpenAPI document, which also lists the problems. So a function that
//! embeds the document can serve every page, and the `type` of each problem resolves in both editions.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::problem::{Kind, Problem};

/// The extension of the OpenAPI document that lists every kind of problem.
pub const PROBLEMS: &str = "x-problems";

/// Paths that a stage on AWS does not have: its identity provider is Cognito, and functions have no
/// health checks.
const NOT_ON_A_STAGE: &[&str] = &["/.well-known/", "/healthz", "/metrics", "/readyz", "/v1/auth/"];

/// A kind of problem in the OpenAPI document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DescribedProblem {
    code: String,
    status: u16,
    title: String,
    explanation: String,
}

impl From<&Kind> for DescribedProblem {
    fn from(kind: &Kind) -> Self {
        Self {
            code: kind.code.to_owned(),
            status: kind.status,
            title: kind.title.to_owned(),
            explanation: kind.explanation.to_owned(),
        }
    }
}

/// All pages of a stage on AWS, rendered from the OpenAPI document of the whole product.
pub fn stage_pages(document: &'static str) -> Router {
    Router::new()
        .route("/openapi.json", get(get_stage_document))
        .route("/docs", get(list_operations))
        .with_state(document)
        .merge(problem_pages(document.into()))
}

/// The pages of the problems in an OpenAPI document. The document is parsed for each page, since few
/// are requested, and a function should not parse it at each cold start.
pub fn problem_pages(document: Arc<str>) -> Router {
    Router::new()
        .route("/docs/problems", get(list_problems))
        .route("/docs/problems/{code}", get(get_problem))
        .with_state(document)
}

async fn get_stage_document(State(document): State<&'static str>) -> Result<Json<Value>, Problem> {
    stage_document(document).map(Json)
}

/// The document without the paths that a stage does not have.
fn stage_document(document: &str) -> Result<Value, Problem> {
    let mut document: Value = serde_json::from_str(document).map_err(Problem::internal)?;
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| !NOT_ON_A_STAGE.iter().any(|prefix| path.starts_with(prefix)));
    }
    Ok(document)
}

const STYLE: &str = "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
    <style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;\
    color:#1b1b1f}code{background:#eee;padding:.1em .3em;border-radius:3px}a{color:#0550ae}\
    td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>";

async fn list_operations(State(document): State<&'static str>) -> Result<Html<String>, Problem> {
    let document = stage_document(document)?;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><title>The API</title>{STYLE}<h1>The API</h1>\
         <p><a href=\"/openapi.json\">OpenAPI document</a> · \
         <a href=\"/docs/problems\">All problems</a><table>"
    );
    let nothing = Map::new();
    for (path, item) in document["paths"].as_object().unwrap_or(&nothing) {
        for (method, operation) in item.as_object().unwrap_or(&nothing) {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let _ = write!(
                page,
                "<tr><td>{}<td><code>{}</code><td>{}",
                method.to_uppercase(),
                escape(path),
                with_code(summary)
            );
        }
    }
    page.push_str("</table>");
    Ok(Html(page))
}

async fn list_problems(State(document): State<Arc<str>>) -> Result<Html<String>, Problem> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><title>Problems</title>{STYLE}<h1>Problems</h1><table>"
    );
    for DescribedProblem { code, status, title, .. } in problems_of(&document)? {
        let title = escape(&title);
        let _ = write!(
            page,
            "<tr><td>{status}<td><a href=\"/docs/problems/{code}\"><code>{code}</code></a><td>{title}"
        );
    }
    page.push_str("</table><p><a href=\"/docs\">The API</a>");
    Ok(Html(page))
}

async fn get_problem(
    State(document): State<Arc<str>>,
    Path(code): Path<String>,
) -> Result<Response, Problem> {
    let mut problems = problems_of(&document)?.into_iter();
    let Some(problem) = problems.find(|problem| problem.code == code) else {
        return Err(Problem::not_found());
    };
    let DescribedProblem { code, status, title, explanation } = problem;
    let (title, explanation) = (escape(&title), with_code(&explanation));
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><title>{title}</title>{STYLE}<h1>{title}</h1>\
         <p><code>{code}</code>, status {status}<p>{explanation}\
         <p><a href=\"/docs/problems\">All problems</a> · <a href=\"/docs\">The API</a>",
    ))
    .into_response())
}

fn problems_of(document: &str) -> Result<Vec<DescribedProblem>, Problem> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "x-problems")]
        problems: Vec<DescribedProblem>,
    }
    let document: Document = serde_json::from_str(document).map_err(Problem::internal)?;
    Ok(document.problems)
}

/// Escapes a text and turns the parts between backticks into code.
fn with_code(text: &str) -> String {
    let mut html = String::new();
    for (nth, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ =
            if nth % 2 == 1 { write!(html, "<code>{part}</code>") } else { write!(html, "{part}") };
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::problem::NOT_FOUND;

    const DOCUMENT: &str = r#"{
        "paths": {
            "/v1/catalog/products": {"get": {"summary": "Lists `active` products & prices."}},
            "/v1/auth/login": {"post": {"summary": "Logs in."}}
        },
        "x-problems": [
            {"code": "not_found", "status": 404, "title": "A < B", "explanation": "See `type`."}
        ]
    }"#;

    async fn page(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = stage_pages(DOCUMENT).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn type_of_a_problem_resolves_to_its_page() {
        let (status, text) = page(&NOT_FOUND.type_url()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("A &lt; B") && text.contains("<code>type</code>"), "{text}");
        let (_, list) = page("/docs/problems").await;
        assert!(list.contains(&NOT_FOUND.type_url()), "{list}");
        assert_eq!(page("/docs/problems/unknown").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn stage_documents_only_the_paths_that_it_has() {
        for path in ["/docs", "/openapi.json"] {
            let (status, text) = page(path).await;
            assert_eq!(status, StatusCode::OK);
            assert!(text.contains("/v1/catalog/products"), "{text}");
            assert!(!text.contains("/v1/auth/login"), "{text}");
        }
        assert!(page("/docs").await.1.contains("<code>active</code> products &amp; prices"));
    }
}
