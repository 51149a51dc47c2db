//! The API's description: `/openapi.json`, `/docs` to browse it without a network, and a page for
//! every kind of problem.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use shared::http::problem::{self, Kind, Problem, SHARED};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, Tag,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// What the description says beside the routes.
pub(crate) fn describe(routes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Vitrina")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A marketplace: sellers write products, buyers read a catalogue that is never wrong \
             for long. Every refusal is a problem document (RFC 9457) with a stable `code`.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    let mut document = OpenApiBuilder::from(routes).info(info).build();
    document.tags =
        Some(["products", "stock", "catalogue", "identity", "operators"].map(Tag::new).to_vec());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    document
        .components
        .get_or_insert_default()
        .security_schemes
        .insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            describe_refusals(path, operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    [get, put, post, patch, delete].into_iter().flatten()
}

/// Adds how an operation is refused for what it takes; refusals that are its own, it names itself.
/// What any request may be answered with, such as 429 and 503, is left to the default.
fn describe_refusals(path: &str, operation: &mut Operation) {
    let mut refusals: Vec<&Kind> = Vec::new();
    if operation.security.is_some() {
        refusals.extend([&problem::UNAUTHENTICATED, &problem::FORBIDDEN]);
    }
    if path.contains('{') {
        refusals.push(&problem::NOT_FOUND);
    }
    if operation.request_body.is_some() {
        refusals.extend([
            &problem::MALFORMED_REQUEST,
            &problem::PAYLOAD_TOO_LARGE,
            &problem::UNSUPPORTED_MEDIA_TYPE,
            &problem::INVALID_REQUEST,
        ]);
    }
    for parameter in operation.parameters.iter().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        match (&parameter.parameter_in, parameter.name.as_str()) {
            (ParameterIn::Query, _) | (_, "Idempotency-Key") => {
                refusals.push(&problem::MALFORMED_REQUEST);
            }
            (_, "If-Match") => {
                refusals.extend([&problem::STALE_VERSION, &problem::VERSION_REQUIRED]);
            }
            _ => {}
        }
    }
    let named = refusals.into_iter().map(|kind| (kind.status.to_string(), kind.title));
    let responses = &mut operation.responses.responses;
    for (status, description) in named.chain([("default".to_owned(), "A problem")]) {
        responses.entry(status).or_insert_with(|| {
            let document = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new().description(description);
            response.content("application/problem+json", document).build().into()
        });
    }
}

/// Every kind of problem that the edition can answer with.
pub(crate) fn problems() -> Vec<&'static Kind> {
    let mut kinds: Vec<_> =
        [SHARED, inventory::PROBLEMS, catalog::PROBLEMS, identity::PROBLEMS, sync::PROBLEMS]
            .concat();
    kinds.sort_unstable_by_key(|kind| kind.code);
    kinds
}

/// The pages.
pub(crate) fn router(document: OpenApi) -> Router {
    let config = Config::new(["/openapi.json"])
        .use_base_layout()
        .try_it_out_enabled(true)
        // The badge would ask a host outside what it thinks of the description.
        .validator_url("none");
    Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(config))
        .route("/docs/problems", get(list_problems))
        .route("/docs/problems/{code}", get(show_problem))
}

const STYLE: &str = "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
    <style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;\
    color:#1b1b1f}code{background:#eee;padding:.1em .3em;border-radius:3px}a{color:#0550ae}\
    td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>";

async fn list_problems() -> Html<String> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><title>Problems</title>{STYLE}<h1>Problems</h1><table>"
    );
    for kind in problems() {
        let _ = write!(
            page,
            "<tr><td>{}<td><a href=\"{}\"><code>{}</code></a><td>{}",
            kind.status,
            kind.type_url(),
            kind.code,
            kind.title
        );
    }
    page.push_str("</table><p><a href=\"/docs\">The API</a>");
    Html(page)
}

async fn show_problem(Path(code): Path<String>) -> Response {
    let Some(kind) = problems().into_iter().find(|kind| kind.code == code) else {
        return Problem::not_found().into_response();
    };
    let mut explanation = String::new();
    // What stands between backticks in the explanations is code.
    for (nth, part) in kind.explanation.split('`').enumerate() {
        let part = part.replace('&', "&amp;").replace('<', "&lt;");
        let _ = if nth % 2 == 1 {
            write!(explanation, "<code>{part}</code>")
        } else {
            write!(explanation, "{part}")
        };
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><title>{title}</title>{STYLE}<h1>{title}</h1>\
         <p><code>{code}</code>, status {status}<p>{explanation}\
         <p><a href=\"/docs/problems\">All problems</a> · <a href=\"/docs\">The API</a>",
        title = kind.title,
        code = kind.code,
        status = kind.status,
    ))
    .into_response()
}
