//! The OpenAPI document of the whole product, and its pages in the local edition.

use axum::Router;
use shared::http::docs::{self, DescribedProblem};
use shared::http::problem::{self, Kind, SHARED};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, Tag,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Completes the description of `routes` to the document of the product.
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
    let problems: Vec<_> = problems().into_iter().map(DescribedProblem::from).collect();
    let problems = serde_json::to_value(problems).unwrap_or_default();
    document.extensions = Some(Extensions::from_iter([(docs::PROBLEMS, problems)]));
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

/// Adds the refusals that follow from the parameters of an operation. The operation itself describes
/// its own refusals; those that any request may meet, such as 429 and 503, are left to the default.
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

/// Every kind of problem of the product.
fn problems() -> Vec<&'static Kind> {
    let mut kinds: Vec<_> =
        [SHARED, inventory::PROBLEMS, catalog::PROBLEMS, identity::PROBLEMS, sync::PROBLEMS]
            .concat();
    kinds.sort_unstable_by_key(|kind| kind.code);
    kinds
}

/// The pages: those of the problems, as on AWS, and Swagger UI to browse and try the API.
pub(crate) fn router(document: OpenApi) -> Router {
    let config = Config::new(["/openapi.json"])
        .use_base_layout()
        .try_it_out_enabled(true)
        // The badge would send the document to a host on the internet.
        .validator_url("none");
    let text = serde_json::to_string(&document).unwrap_or_default();
    Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(config))
        .merge(docs::problem_pages(text.into()))
}
